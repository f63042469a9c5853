"""Any generator of C with the API as a target: a command that reads a graph and writes `<Prefix>.h` and `.c`."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fuzz.problem import Problem
from fuzz.targets.base import Sources
from fuzz.targets.folder import Folder
from nn512.errors import CannotRunError, UsageError
from nn512.graph import Graph
from nn512.options import Options
from nn512.signals import signal_name
from nn512.toolchain import run_bounded

TIMEOUT = 120.0
"""Seconds that a generator may take for one graph, where nobody has said otherwise."""

MEMORY_KIB = 16 << 20
"""Memory that a generator may take."""

_LAST_WORDS = 2000
_NOT_STARTED = (126, 127)  # what a shell says of a program that it cannot start


@dataclass(frozen=True, slots=True)
class Command:
    """A command line in which `{graph}` stands for the file of the graph and `{dir}` for the folder to write to.

    It may take `seconds` for a graph; 0 stands for `TIMEOUT`.
    """

    text: str
    profile: str = "direct"
    strict: bool = False
    skips: frozenset[str] = frozenset()
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Raises UsageError for a command line that cannot work."""
        try:
            words = shlex.split(self.text)
        except ValueError as error:
            raise UsageError(f"command:{self.text!r}: {error}") from error
        if not words or "{graph}" not in self.text:
            raise UsageError(f"command:{self.text!r} must name a program and {{graph}}, the file that it reads")

    @property
    def name(self) -> str:
        """The command line."""
        return f"command:{self.text}"

    def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
        """What the command writes. Raises CannotRunError where it cannot be started."""
        limit = self.seconds or TIMEOUT
        with tempfile.TemporaryDirectory(prefix="nn512-target-") as scratch:
            folder = Path(scratch)
            file = folder / "net.graph"
            file.write_text(graph.source.text, encoding="utf-8")
            words = [word.replace("{graph}", str(file)).replace("{dir}", scratch) for word in shlex.split(self.text)]
            try:
                status, said, timed_out = run_bounded(words, timeout=limit, cwd=folder, memory_kib=MEMORY_KIB)
            except OSError as error:
                raise CannotRunError(f"cannot start {words[0]!r}: {error.strerror}") from error
            last_words = said.strip()[-_LAST_WORDS:]
            if timed_out:
                return Problem("timeout", f"the generator did not end within {limit:g} s\n{last_words}")
            if status in _NOT_STARTED:
                raise CannotRunError(f"cannot start {words[0]!r}\n{last_words}")
            if status:
                how = signal_name(-status) if status < 0 else f"exit code {status}"
                why = next((f": {line.strip()}" for line in reversed(last_words.splitlines()) if line.strip()), "")
                return Problem("emit", f"the generator ended with {how}{why}\n{last_words}")
            try:
                return Folder(folder, self.profile).prepare(graph, options)
            except UsageError as error:
                return Problem("emit", f"the generator left no C with the API: {error}\n{last_words}")
