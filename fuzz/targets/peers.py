"""Other systems as targets. Each answers in a program of its own, `systems.py`, from the ONNX model of a graph."""

from __future__ import annotations

import atexit
import importlib.util
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fuzz.problem import FAILED, Problem
from fuzz.targets.base import Answers, Arrays, Refused
from nn512.arrays import load_arrays, save_arrays
from nn512.bench.worker import Worker, WorkerError
from nn512.errors import INSTALL_PEERS, CannotRunError
from nn512.graph import Graph
from nn512.onnx import export_onnx
from nn512.options import Options

ANSWER_TIMEOUT = 60.0
"""Seconds after which a system hangs, where nobody has said otherwise; random graphs take milliseconds, a C compiler
between seconds."""

UNDEFINED = frozenset({"nonfinite", "nan", "infinite"})
"""Data regimes of which ONNX does not say what becomes of them."""

PROGRAM = Path(__file__).with_name("systems.py")


@dataclass(frozen=True, slots=True)
class Peer:
    """A system, the Python package that it is, and by which algorithms it computes.

    One that builds what it runs may take `slowness` times as long as others. For an answer that is `seconds`; 0 stands
    for `ANSWER_TIMEOUT`, which it always has to start.
    """

    name: str
    package: str
    profile: str = "direct"
    slowness: float = 1.0
    strict: bool = False
    skips: frozenset[str] = UNDEFINED
    seconds: float = 0.0

    def prepare(self, graph: Graph, options: Options) -> Answers:  # noqa: ARG002 - part of the protocol
        """The system, which takes each data set with a model of its own. Raises CannotRunError where it is missing."""
        missing = [name for name in (self.package, "onnx") if importlib.util.find_spec(name) is None]
        if missing:
            raise CannotRunError(f"not installed: {', '.join(missing)}; {INSTALL_PEERS}")
        return _Model(self.name, self.slowness, self.profile, graph, self.seconds)


@dataclass(frozen=True, slots=True)
class _Model:
    """A graph in the hands of a system."""

    name: str
    slowness: float
    profile: str
    graph: Graph
    seconds: float

    def outputs(self, params: Arrays, inputs: Arrays) -> Arrays | Refused | Problem:
        """What the system computes, or what became of it. Raises CannotRunError where it does not start."""
        with tempfile.TemporaryDirectory(prefix="nn512-target-") as scratch:
            model, given, answers = (Path(scratch) / name for name in ("net.onnx", "inputs.npz", "outputs.npz"))
            export_onnx(model, self.graph, params)
            save_arrays(given, inputs)
            system = _at_work(self.name, self.slowness)
            worker = system.worker  # a system that does not even start is missing, not wrong
            try:
                said = worker.ask(f"{model}\t{given}\t{answers}", self.seconds * self.slowness or None).data
            except WorkerError as error:
                system.end()
                return Problem("timeout" if "did not answer" in str(error) else "crash", str(error))
            if said:
                return Refused(said["refused"]) if "refused" in said else Problem(FAILED, said["failed"])
            found = load_arrays(answers)
        wanted = {node.from_tensor: self.graph.shapes[node.from_tensor] for node in self.graph.outputs}
        shapes = {name: array.shape for name, array in found.items()}
        if shapes != wanted:
            return Problem("shapes", f"outputs of other names or shapes\n{_told(shapes)} for {_told(wanted)}")
        return found


def _told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


class _AtWork:
    """The program in which a system answers: started when it is first asked, and again after it died."""

    def __init__(self, name: str, slowness: float) -> None:
        self._name = name
        self._slowness = slowness
        self._stack = ExitStack()
        self._worker: Worker | None = None

    @property
    def worker(self) -> Worker:
        """The program, ready to be asked."""
        if self._worker is None:
            # -P: the folder of the script is no place to import from; its modules would hide others of the same name.
            command = [sys.executable, "-P", str(PROGRAM), self._name]
            worker = Worker(self._name, command, timeout=ANSWER_TIMEOUT * self._slowness)
            self._worker = self._stack.enter_context(worker)
        return self._worker

    def end(self) -> None:
        """End the program."""
        self._stack.close()
        self._worker = None


@cache
def _at_work(name: str, slowness: float) -> _AtWork:
    system = _AtWork(name, slowness)
    _STARTED.append(system)
    return system


_STARTED: list[_AtWork] = []


@atexit.register
def end_all() -> None:
    """End the programs of all systems."""
    for system in _STARTED:
        system.end()
