"""How soon the fuzzer finds bugs of the compiler: each is planted in a copy of nn512, and a campaign runs on that.

`python -m fuzz.mutation.compiler` prints for every bug and seed after how many graphs it was found, and ends with 1
if one in twenty was not. A bug counts as found if 250 graphs show it, about a minute of one core.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import nn512
from fuzz.campaign.explore import Explorer
from fuzz.campaign.worker import Settings, chunk_at, chunk_count, regimes_for
from fuzz.case import Case
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from fuzz.mutation.compiler_bugs import BUGS, Bug
from fuzz.run.runners import choose_runner
from nn512.errors import CannotRunError

GRAPHS = 250
"""Graphs after which a bug counts as missed."""

ENOUGH = 0.95
"""The part of all bugs and seeds that must be found."""


def hunt(seed: int, graphs: int) -> tuple[int, str]:
    """Check the graphs of a campaign, with the compiler as it is; after how many one failed, and how.

    0 and nothing, if none did.
    """
    seen: list[Report] = []
    failed: list[Report] = []

    def check(case: Case) -> Report:
        report = check_case(case)
        if report.problems:
            failed.append(report)
        return replace(report, problems=())  # one is enough: nothing need be shrunk

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), seed, examples=graphs, regimes=regimes_for(choose_runner()))
        explorer = Explorer(
            settings.directory, seen.append, lambda: bool(failed), check=check, regimes=settings.regimes
        )
        for number in range(chunk_count(settings) or 0):
            chunk = chunk_at(settings, number)
            explorer.chunk(chunk.seed, chunk.examples)
            if failed:
                return len(seen), str(failed[0].problems[0])
    return 0, ""


@contextmanager
def planted(bug: Bug) -> Iterator[Path]:
    """A folder with a copy of nn512 that has the bug. Raises ValueError if the right text is not there once."""
    package = Path(nn512.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, package.name)
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
        module = copy / bug.file
        text = module.read_text(encoding="utf-8")
        if text.count(bug.right) != 1:
            raise ValueError(f"{bug.name}: its text stands {text.count(bug.right)} times in {bug.file}")
        module.write_text(text.replace(bug.right, bug.wrong), encoding="utf-8")
        yield Path(folder)


def hunted(bug: Bug, seed: int, graphs: int = GRAPHS) -> tuple[int, str]:
    """What `hunt` gives in a process that has the bug. Raises CannotRunError where it cannot run cases."""
    with planted(bug) as folder:
        path = os.pathsep.join([str(folder), str(Path(nn512.__file__).parents[1])])
        command = [sys.executable, "-m", "fuzz.mutation.compiler", "--hunt", str(seed), "--graphs", str(graphs)]
        run = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, cwd=folder, capture_output=True, text=True, check=False
        )
    if run.returncode not in (0, 1):
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
    parser.add_argument("--hunt", type=int, metavar="SEED", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.hunt is not None:
        count, how = hunt(options.hunt, options.graphs)
        stream.write(f"{count} {how}\n")
        return int(bool(count))
    bugs = [bug for bug in BUGS if not options.bugs or any(part in bug.name for part in options.bugs)]
    if not bugs:
        parser.error("no bug has such a name")
    found, rounds = 0, 0
    for bug in bugs:
        for seed in range(options.first, options.first + options.seeds):
            count, how = hunted(bug, seed, options.graphs)
            found, rounds = found + bool(count), rounds + 1
            words = f"after {count} graphs: {how.splitlines()[0][:100]}" if count else "NOT FOUND"
            stream.write(f"{bug.name}, seed {seed}: {words}\n")
            stream.flush()
    stream.write(f"{found} of {rounds} found within {options.graphs} graphs, {found / rounds:.1%}\n")
    return int(found < ENOUGH * rounds)


if __name__ == "__main__":
    sys.exit(main())
