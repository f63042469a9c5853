"""What a run showed: read from what the driver wrote, and from how it ended."""

from __future__ import annotations

import enum
import re
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fuzz.run import protocol
from fuzz.run.interface import Argument, Interface, Tap
from nn512.signals import signal_name

FloatArray = npt.NDArray[np.float32]


class Kind(enum.StrEnum):
    """What can be wrong besides values."""

    OUT_OF_BOUNDS = "out-of-bounds"
    INPUT_MODIFIED = "input-modified"
    PARAMS_USED_LATE = "params-used-late"
    UNWRITTEN = "unwritten"
    UNINITIALIZED = "uninitialized"
    HEAP = "heap"
    LEAK = "leak"
    THREADS = "threads"
    NOT_REPEATABLE = "not-repeatable"
    VARIES = "varies"
    VARIES_WITH_THREADS = "varies-with-threads"
    VARIES_WITH_SHARING = "varies-with-sharing"
    VARIES_WITH_HISTORY = "varies-with-history"
    ARENA = "arena"
    NET_MODIFIED = "net-modified"
    FORK = "fork"
    PROCESS = "process"
    STATIC_DATA = "static-data"
    MXCSR = "mxcsr"
    API = "api"
    CREATE_FAILED = "create-failed"
    FAILURE = "failure"
    RUNAWAY_ALLOCATION = "runaway-allocation"
    SANITIZER = "sanitizer"
    CRASH = "crash"
    HANG = "hang"
    DRIVER = "driver"


class Status(enum.StrEnum):
    """How a run ended."""

    OK = "ok"
    VIOLATION = "violation"
    CRASH = "crash"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Violation:
    """Something wrong besides values; `detail` is a sentence for people.

    `tensor` is the output it is about and `elements` which of its elements (CxHxW), where it is about some. `layer` is
    the one that was under way, counted from 1, where the net tells; else 0.
    """

    kind: Kind
    detail: str
    data_set: int
    layer: int = 0
    tensor: str = ""
    elements: npt.NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run showed.

    `outputs`: for each data set that was computed before the end, arrays by tensor name. `nanoseconds`: the faster of
    the repeated inferences of each of them. `taps`: for each data set the net's own tensors, as they lie in its memory,
    where they were asked for. `log`: what the net or a sanitizer wrote to standard output and error.
    """

    status: Status
    outputs: tuple[Mapping[str, FloatArray], ...]
    violations: tuple[Violation, ...]
    nanoseconds: tuple[int, ...]
    seconds: float
    taps: Mapping[int, Mapping[Tap, FloatArray]]
    log: str = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything ran and nothing was wrong."""
        return self.status is Status.OK

    def with_noise(self) -> RunReport:
        """The report, in which text that a net has printed is a violation; a net that was at fault may say so."""
        if not self.log or self.violations:
            return self
        said = Violation(Kind.PROCESS, f"the net prints {self.log[:80]!r}", 0)
        return replace(self, status=Status.VIOLATION, violations=(said,))


_SANITIZER = re.compile(r"^.*(?:(?:ERROR|WARNING): \w+Sanitizer: |runtime error: ).*$", re.MULTILINE)

_TRAPS = frozenset((signal.SIGILL, signal.SIGTRAP))
"""Signals of __builtin_trap on processors; a driver that catches signals tells of it itself (report.c)."""

_DRIVER_PROBLEMS = {
    2: "was started wrongly",
    86: "was ended by a sanitizer",
    87: "was built for other parameters",
    88: "was built for other inputs",
    89: "got a job of the wrong size",
    90: "got no job",
    98: "could not write its results: the net has used up the space",
}
_CLOSED = 99
"""How a driver ends whose net has closed the file for results, where that cannot be opened anew."""


def read_report(
    interface: Interface,
    taps: Sequence[Tap],
    result: memoryview,
    log: str,
    returncode: int,
    *,
    hang: protocol.Progress | None,
    start: float,
    portable: bool,
) -> RunReport:
    """What a driver of `interface` with `taps` wrote to its result file and to `log`, and how it ended.

    `hang` is what it was doing when it made no progress any more, `start` the time when the run began. `portable`
    intrinsics trap where an instruction would demand alignment.
    """
    outputs: dict[int, dict[str, FloatArray]] = {}
    tapped: dict[int, dict[Tap, FloatArray]] = {}
    times: list[int] = []
    violations: list[Violation] = []
    done = False
    for record in protocol.unpack_records(result[protocol.PAGE :]):
        match record.type:
            case protocol.RECORD_OUTPUT:
                argument = interface.arguments[record.argument]
                array = np.frombuffer(record.payload, np.float32).reshape(argument.shape)
                outputs.setdefault(record.data_set, {})[argument.tensor] = array
            case protocol.RECORD_VIOLATION:
                kind, _, detail = bytes(record.payload).decode("utf-8", "replace").partition("\0")
                violations.append(Violation(Kind(kind), detail, record.data_set, record.argument))
            case protocol.RECORD_MARKS:
                violations[-1] = _with_elements(violations[-1], interface.arguments[record.argument], record.payload)
            case protocol.RECORD_TAP:
                tapped.setdefault(record.data_set, {})[taps[record.argument]] = np.frombuffer(
                    record.payload, np.float32
                )
            case protocol.RECORD_TIME:
                times.append(int.from_bytes(record.payload, "little"))
            case protocol.RECORD_DONE:
                done = True
            case _:
                violations.append(Violation(Kind.DRIVER, f"unknown record {record.type}", 0))
    progress = protocol.unpack_progress(bytes(result[: protocol.PAGE]))
    traps = _TRAPS if portable else frozenset[int]()
    violations += _ending(progress, log, returncode, done=done, hang=hang, known=bool(violations), traps=traps)
    complete = tuple(
        MappingProxyType(outputs[i]) for i in range(len(outputs)) if len(outputs.get(i, ())) == len(interface.outputs)
    )
    seconds = time.perf_counter() - start
    status = _status(violations, done=done, returncode=returncode)
    return RunReport(status, complete, tuple(violations), tuple(times), seconds, tapped, log)


def _with_elements(violation: Violation, argument: Argument, marks: memoryview) -> Violation:
    bits = np.unpackbits(np.frombuffer(marks, np.uint8), count=argument.elements, bitorder="little")
    return replace(violation, tensor=argument.tensor, elements=bits.reshape(argument.shape).astype(np.bool_))


def _status(violations: Sequence[Violation], *, done: bool, returncode: int) -> Status:
    if any(violation.kind is Kind.HANG for violation in violations):
        return Status.HANG
    if returncode < 0 or not done:
        return Status.CRASH if returncode != 97 else Status.VIOLATION
    return Status.VIOLATION if violations else Status.OK


def _ending(
    progress: protocol.Progress | None,
    log: str,
    returncode: int,
    *,
    done: bool,
    hang: protocol.Progress | None,
    known: bool,
    traps: frozenset[int],
) -> list[Violation]:
    """What the way the driver ended says, beyond what it reported itself."""
    where = f"  [{progress}]" if progress else ""
    data_set = progress.data_set if progress else 0
    sanitizer = _SANITIZER.search(log)
    if hang is not None:
        return [Violation(Kind.HANG, f"no progress within the time limit  [{hang}]", hang.data_set, hang.layer)]
    if sanitizer:
        return [Violation(Kind.SANITIZER, sanitizer.group().strip() + where, data_set)]
    if done and returncode == 0:
        return []
    if known:
        return []  # the driver has said what happened
    if returncode < 0:
        told = ": an intrinsic that demands alignment, or a trap in the code" if -returncode in traps else ""
        return [_death(-returncode, told + where, data_set)]
    if returncode == _CLOSED:
        return [Violation(Kind.PROCESS, f"the net closes the file that results go to{where}", data_set)]
    if returncode in _DRIVER_PROBLEMS:
        return [Violation(Kind.DRIVER, f"the driver {_DRIVER_PROBLEMS[returncode]}{where}", data_set)]
    return [Violation(Kind.CRASH, f"the process ended by itself with status {returncode}{where}", data_set)]


def _death(number: int, where: str, data_set: int) -> Violation:
    name = signal_name(number)
    if number in {signal.SIGXCPU, signal.SIGKILL}:
        return Violation(Kind.HANG, f"ended by {name}: out of processor time{where}", data_set)
    return Violation(Kind.CRASH, f"ended by {name}{where}", data_set)
