"""How soon the fuzzer finds bugs of the compiler: each is planted in a copy of nn512, which gets a campaign's graphs.

`python -m fuzz.mutation.compiler` prints for every bug and seed after how many graphs it was found, and ends with 1
if one in twenty was not. A bug counts as found if 250 graphs show it, about a minute of one core.

The graphs are drawn once for each seed, and compiled without a bug. Where the compiler with the bug emits the same C
and the same plan for one, the verdict would be the same: it is neither built nor run. Levels of optimisation that take
the C compiler long are not taken: no bug of ours depends on them.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import nn512
from fuzz.campaign.explore import Explorer
from fuzz.campaign.worker import Settings, chunk_at, chunk_count, regimes_for
from fuzz.case import OPTIMISATIONS, SLOW, Case, load_json
from fuzz.judge.report import Report
from fuzz.mutation.compiler_bugs import BUGS, Bug
from fuzz.run.runners import choose_runner
from fuzz.targets import OURS, Sources
from nn512.errors import CannotRunError
from nn512.graph import parse
from nn512.options import Options
from nn512.plan.serial import plan_json
from nn512.signals import until_ended

GRAPHS = 250
"""Graphs after which a bug counts as missed."""

ENOUGH = 0.95
"""The part of all bugs and seeds that must be found."""


def drawn(seed: int, graphs: int) -> list[Case]:
    """The random cases of a campaign in their order; none is checked."""
    seen: list[Report] = []
    settings = Settings(Path(), seed, examples=graphs, regimes=regimes_for(choose_runner()))
    explorer = Explorer(
        settings.directory,
        seen.append,
        check=lambda case: Report(case, parse(case.graph), "none"),
        regimes=settings.regimes,
    )
    for number in range(chunk_count(settings) or 0):
        chunk = chunk_at(settings, number)
        explorer.chunk(chunk.seed, chunk.examples)
    return [
        replace(report.case, optimisation=OPTIMISATIONS[0]) if report.case.optimisation in SLOW else report.case
        for report in seen
    ]


def emitted(case: Case) -> str:
    """What the compiler makes of a case, in hexadecimal digits."""
    made = OURS.prepare(parse(case.graph), Options.from_dict(dict(case.options)))
    if not isinstance(made, Sources):
        return "nothing"
    texts = (made.header, made.source, "" if made.plan is None else plan_json(made.plan))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


@contextmanager
def graphs_of(seed: int, graphs: int) -> Iterator[Path]:
    """A file with the cases of a campaign, and what the compiler as it is makes of each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cases.json")
        file.write_text(json.dumps([[case.to_dict(), emitted(case)] for case in drawn(seed, graphs)]))
        yield file


def hunt(file: Path) -> tuple[int, str]:
    """Check the cases in a file of which the compiler makes something else; after how many one failed, and how.

    0 and nothing, if none did. As in a campaign, one that the tester itself stumbles over has failed.
    """
    cases = load_json(file)
    assert isinstance(cases, list)
    look = Explorer(file.parent, lambda _: None).look
    for number, (data, before) in enumerate(cases, 1):
        case = Case.from_dict(data, str(file))
        if emitted(case) != before and (problems := look(case).problems):
            return number, str(problems[0])
    return 0, ""


@contextmanager
def planted(bug: Bug) -> Iterator[Path]:
    """A folder with an nn512 that has the bug: links, and one file of its own.

    Raises ValueError if the right text is not there once.
    """
    package = Path(nn512.__file__).parent
    text = (package / bug.file).read_text(encoding="utf-8")
    if text.count(bug.right) != 1:
        raise ValueError(f"{bug.name}: its text stands {text.count(bug.right)} times in {bug.file}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, package.name)
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"), copy_function=_link)
        module = copy / bug.file
        module.unlink()
        module.write_text(text.replace(bug.right, bug.wrong), encoding="utf-8")
        yield Path(folder)


def _link(source: str, place: str) -> None:
    Path(place).symlink_to(source)


def hunted(bug: Bug, file: Path) -> tuple[int, str]:
    """What `hunt` gives in a process that has the bug. Raises CannotRunError where it cannot run cases."""
    with planted(bug) as folder:
        path = os.pathsep.join([str(folder), str(Path(nn512.__file__).parents[1])])
        run = subprocess.run(
            [sys.executable, "-m", "fuzz.mutation.compiler", "--hunt", str(file)],
            env={**os.environ, "PYTHONPATH": path},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if not run.stdout or run.returncode not in (0, 1):
        raise CannotRunError(f"{bug.name}: the hunt ended with {run.returncode}\n{run.stderr}")
    count, _, how = run.stdout.partition(" ")
    return int(count), how.strip()


def main(arguments: Sequence[str] | None = None, stream: TextIO = sys.stdout) -> int:
    """Hunt all bugs, or those with a name; 0 if enough were found, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.mutation.compiler", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("bugs", nargs="*", metavar="BUG", help="bugs by a part of their names (default: all)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds of each (default: 1)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them (default: 0)")
    parser.add_argument("--graphs", type=int, default=GRAPHS, metavar="N", help=f"graphs (default: {GRAPHS})")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="bugs at a time (default: 1)")
    parser.add_argument("--hunt", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.hunt is not None:
        count, how = hunt(options.hunt)
        stream.write(f"{count} {how}\n")
        return int(bool(count))
    bugs = [bug for bug in BUGS if not options.bugs or any(part in bug.name for part in options.bugs)]
    if not bugs:
        parser.error("no bug has such a name")
    found, rounds = 0, 0
    for seed in range(options.first, options.first + options.seeds):
        with graphs_of(seed, options.graphs) as file, ThreadPoolExecutor(options.jobs) as pool:
            for bug, (count, how) in zip(bugs, pool.map(hunted, bugs, itertools.repeat(file)), strict=True):
                found, rounds = found + bool(count), rounds + 1
                words = f"after {count} graphs: {how.splitlines()[0][:100]}" if count else "NOT FOUND"
                stream.write(f"{bug.name}, seed {seed}: {words}\n")
                stream.flush()
    stream.write(f"{found} of {rounds} found within {options.graphs} graphs, {found / rounds:.1%}\n")
    return int(found < ENOUGH * rounds)


if __name__ == "__main__":
    sys.exit(until_ended("fuzz.mutation.compiler", main))
