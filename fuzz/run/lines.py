"""Which lines of emitted C runs execute, as gcov, which comes with gcc, counts them."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from fuzz.run.build import UNIT, Executable, build_net
from fuzz.run.runners import Runner, runner_for, with_bfloat16
from nn512.errors import CannotRunError
from nn512.graph import Graph
from nn512.toolchain import Compiler, CompilerKind, run_bounded

# Without optimization every line has code of its own. Updates are atomic because threads share the counters.
_FLAGS = ("-O0", "--coverage", "-fprofile-update=atomic")
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the emitted source that has code: its number from 1, its function, and whether it was executed."""

    number: int
    function: str
    executed: bool


class CountedLines:
    """A driver program for one net that counts which lines of the source it executes, while it is a context.

    `executable` is what to run, as often as wanted; `lines` then tells of all runs together.
    """

    def __init__(self, graph: Graph, header: str, source: str, runner: Runner) -> None:
        """Build it. Raises CannotRunError where gcov cannot be had, BuildError where the source does not build."""
        runner = counting(runner)
        self._gcov = gcov_of(runner)
        self._source = f"{graph.config.prefix}.c"
        built = build_net(graph, header, source, runner, flags=_FLAGS, precompile=False)
        self._folder = tempfile.TemporaryDirectory(prefix="nn512-lines-")
        # The runtime of gcc would write beside the program, in the cache.
        where = {"GCOV_PREFIX": self._folder.name, "GCOV_PREFIX_STRIP": "99"}
        self.executable: Executable = replace(
            built, runner=replace(runner, environment={**runner.environment, **where})
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def lines(self) -> list[Line]:
        """The lines that have code; none where no run came to its end. Raises CannotRunError where gcov fails."""
        folder = Path(self._folder.name)
        notes = f"{self.executable.path.name}-{Path(UNIT).stem}.gcno"
        if not (folder / notes).with_suffix(".gcda").exists():
            return []
        shutil.copy(self.executable.path.parent / notes, folder)
        status, text, late = run_bounded([self._gcov, "--json-format", notes], timeout=_TIMEOUT, cwd=folder)
        written = [json.loads(gzip.decompress(file.read_bytes())) for file in folder.glob("*.gcov.json.gz")]
        if late or status or not written:
            raise CannotRunError(f"{self._gcov} does not tell which lines were executed: {text}".rstrip(" :"))
        return list(_lines(written[0], self._source))


def _lines(told: Mapping[str, Any], source: str) -> Iterator[Line]:
    for file in told["files"]:
        if Path(file["file"]).name != source:
            continue
        # A line does not always have the name of its function, but functions have their first and last lines.
        starts = sorted((function["start_line"], function["name"]) for function in file["functions"])
        for line in file["lines"]:
            number = line["line_number"]
            yield Line(number, starts[max(0, bisect(starts, (number + 1,)) - 1)][1], line["count"] > 0)


def counting(runner: Runner) -> Runner:
    """The runner, or the same one with gcc unless $CC is another compiler. Raises CannotRunError."""
    if runner.compiler.kind is CompilerKind.GCC:
        return runner
    other = runner_for("gcc")
    return with_bfloat16(other) if runner.bfloat16 else other


def gcov_of(runner: Runner) -> str:
    """The gcov of a runner's compiler. Raises CannotRunError where there is none, or programs run somewhere else."""
    if runner.machine is not None:
        raise CannotRunError(f"lines are counted in files beside the program, which runner {runner.name} does not keep")
    compiler = runner.compiler
    found = shutil.which(_named_by(compiler)) if compiler.kind is CompilerKind.GCC else None
    if found is None:
        raise CannotRunError(f"lines are counted by gcc and its gcov; {compiler.path} has none: set CC=gcc")
    return found


def _named_by(compiler: Compiler) -> str:
    """The name or path of the gcov that belongs to a gcc, by what it says itself."""
    name = run_bounded([*compiler.command, "-print-prog-name=gcov"], timeout=_TIMEOUT)[1].strip()
    program = Path(compiler.path).name
    # gcc-12 answers "gcov", and that may be another version's.
    versioned = program.replace("gcc", "gcov") if "gcc" in program else name
    return versioned if "/" not in name and shutil.which(versioned) else name
