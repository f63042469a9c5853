"""Whether compiling takes as long, and emits as much, as nets are large: `python -m nn512.bench.scaling [WORD...]`.

Prints a line for every family of graphs (those whose names have all the words): CPU seconds of parsing, compiling and
explaining, and emitted lines, at its two sizes, of which one is four times the other, and how many times as much the
second takes. Where only pixels or channels grow that should be nothing, and at most six times else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nn512.bench.families import FAMILIES, Family
from nn512.compiler import compile as compile_graph
from nn512.graph import parse
from nn512.plan.explain import explain

MOST = 6.0
"""How many times as much four times the nodes may take."""

SHORT = 0.1
"""Seconds below which ratios say nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one graph takes."""

    seconds: float
    lines: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What a family takes at both sizes."""

    name: str
    family: Family
    few: Cost
    many: Cost

    @property
    def excessive(self) -> bool:
        """Whether the cost grows more than it may."""
        if self.many.lines > (1 if self.family.wide else MOST) * self.few.lines + (50 if self.family.wide else 0):
            return True
        return self.many.seconds > max(SHORT, (1.5 if self.family.wide else MOST) * self.few.seconds)

    def row(self) -> str:
        """A line of the table."""
        sizes = " ".join(f"{size:>6,}" for size in self.family.sizes)
        seconds = f"{self.few.seconds:8.3f} {self.many.seconds:8.3f} {self.many.seconds / self.few.seconds:6.1f}"
        lines = f"{self.few.lines:8,} {self.many.lines:8,} {self.many.lines / self.few.lines:6.1f}"
        return f"{self.name:<48} {sizes} {seconds} {lines}{'   too much' if self.excessive else ''}"


HEAD = f"{'family':<48} {'size':>6} {'4 x':>6}" + "".join(
    f" {what:>8} {'4 x':>8} {'ratio':>6}" for what in ("seconds", "lines")
)


def cost(text: str) -> Cost:
    """What a graph takes, from its text to all that is emitted and explained."""
    start = time.process_time()
    emitted = compile_graph(parse(text))
    explained = explain(emitted.plan)
    seconds = time.process_time() - start
    return Cost(seconds, sum(written.count("\n") for written in (emitted.header, emitted.source, explained)))


def growths(words: Sequence[str] = ()) -> Iterator[Growth]:
    """The families whose names have all the words, measured."""
    for name, family in FAMILIES.items():
        if all(word in name for word in words):
            few, many = (cost(family.text(size)) for size in family.sizes)
            yield Growth(name, family, few, many)


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 where a family takes too much."""
    parser = argparse.ArgumentParser(prog="python -m nn512.bench.scaling", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="families whose names have all the words")
    words = parser.parse_args(arguments).words
    sys.stdout.write(f"{HEAD}\n")
    excessive = 0
    for growth in growths(words):
        sys.stdout.write(f"{growth.row()}\n")
        sys.stdout.flush()
        excessive += growth.excessive
    return int(excessive > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
