"""Running a driver program in a child process: nothing the net does there can hurt the tester.

The driver checks everything but values (fuzz/driver); this module starts it, bounds its time and memory, and turns what
it wrote, and how it ended, into a report.
"""

from __future__ import annotations

import enum
import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fuzz import protocol
from fuzz.build import Executable
from fuzz.interface import Interface
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.toolchain import end_group, ended

FloatArray = npt.NDArray[np.float32]

MOST_ARGUMENTS = 5000
"""Inputs and outputs of a net that can be run: each is memory with guard pages, of which a process has only so many."""

_LOG_LIMIT = 64 << 10


class Placement(enum.IntEnum):
    """Where caller buffers lie: against the page after them, against the page before, or 4 bytes past a cache line."""

    AT_END = 0
    AT_BEGIN = 1
    UNALIGNED = 2


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
class Configuration:
    """One net and one engine, created with `threads`; every data set is inferred `repeats` times."""

    threads: int
    placement: Placement
    repeats: int = 2


FULL = (
    Configuration(1, Placement.AT_END),
    Configuration(2, Placement.AT_BEGIN),
    Configuration(3, Placement.UNALIGNED),
    Configuration(4, Placement.AT_END, repeats=1),
    Configuration(1, Placement.AT_BEGIN, repeats=1),
)
"""Every check of the sandbox."""

QUICK = (Configuration(1, Placement.AT_END), Configuration(2, Placement.AT_BEGIN, repeats=1))
"""Guard pages on both sides and two thread counts: for large nets and for reducing a finding."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What to check, and the bounds of a run.

    `api`: EnginePthreadT, Destroy(NULL). `sharing`: two engines on one net at the same time. `failures`: every
    allocation and thread refused in turn. `timeout`: seconds without progress, on the processor itself; slower runners
    get their multiple, and large nets half a second more per megabyte. `heap_bytes`: what the net may allocate.
    """

    configurations: tuple[Configuration, ...] = FULL
    api: bool = True
    sharing: bool = True
    failures: bool = True
    timeout: float = 20.0
    heap_bytes: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Violation:
    """Something wrong besides values; `detail` is a sentence for people."""

    kind: Kind
    detail: str
    data_set: int

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run showed.

    `outputs`: for each data set that was computed before the end, arrays by tensor name. `nanoseconds`: the faster of
    the repeated inferences of each of them. `log`: what the net or a sanitizer wrote to standard output and error.
    """

    status: Status
    outputs: tuple[Mapping[str, FloatArray], ...]
    violations: tuple[Violation, ...]
    nanoseconds: tuple[int, ...]
    seconds: float
    log: str = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything ran and nothing was wrong."""
        return self.status is Status.OK


def execute(
    executable: Executable,
    params: Mapping[str, npt.ArrayLike],
    data_sets: Sequence[Mapping[str, npt.ArrayLike]],
    checks: Checks | None = None,
) -> RunReport:
    """Run every data set (input tensor name to array) through the net, in all configurations of `checks`.

    Arrays must have the shapes of the graph; they are converted to float32. Raises UsageError for wrong names or
    shapes, CannotRunError when the driver cannot be started, MachineError when the system kills it; whatever the net
    does is in the report.
    """
    checks = Checks() if checks is None else checks
    if not checks.configurations:
        raise UsageError("a run without configurations checks nothing")
    if len(executable.interface.arguments) > MOST_ARGUMENTS:
        raise CannotRunError(
            f"the sandbox has guard pages for {MOST_ARGUMENTS:,} inputs and outputs; "
            f"this net has {len(executable.interface.arguments):,}"
        )
    start = time.perf_counter()
    used_before = _processor_seconds()
    with _memory_file("job") as job, _memory_file("result") as result, _memory_file("log") as log:
        _write_job(job, executable, params, data_sets, checks)
        process = _start(executable, job, result, log)
        try:
            hang = _wait(process, result.fileno(), _time_limit(executable, checks))
        finally:
            end_group(process)
        if process.returncode == -signal.SIGKILL and hang is None:
            _check_killed(_processor_seconds() - used_before, _processor_limit(executable, checks, len(data_sets)))
        records = memoryview(_read_all(result.fileno()))
        text = os.pread(log.fileno(), _LOG_LIMIT, 0).decode("utf-8", "replace")
    return _report(executable.interface, records, text, process.returncode, hang=hang, start=start)


def _time_limit(executable: Executable, checks: Checks) -> float:
    """Seconds without progress that mean a hang."""
    interface = executable.interface
    elements = interface.parameter_elements + sum(argument.elements for argument in interface.arguments)
    return (checks.timeout + elements * 4e-6 / 2) * executable.runner.slowdown


def _processor_limit(executable: Executable, checks: Checks, data_sets: int) -> int:
    """Seconds of processor time after which the system ends a driver."""
    return int(_time_limit(executable, checks) * (4 + data_sets)) + 1


def _processor_seconds() -> float:
    """Processor time of all children so far that have been collected."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _check_killed(used: float, limit: int) -> None:
    """MachineError if a driver was killed that had processor time left."""
    if used < limit:
        raise MachineError("the system killed the program under test, most probably because memory ran out")


def _memory_file(name: str) -> IO[bytes]:
    """A file without a name, in memory where the system can; nothing is left of it, however the tester ends."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(f"nn512-{name}"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _checked(name: str, array: npt.ArrayLike, shape: Sequence[int]) -> FloatArray:
    converted = np.ascontiguousarray(array, dtype=np.float32)
    if converted.shape != tuple(shape):
        raise UsageError(f"{name} must have shape {tuple(shape)}, not {converted.shape}")
    return converted


def _check_names(what: str, given: Mapping[str, Any], wanted: Sequence[str]) -> None:
    if set(given) != set(wanted):
        missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
        raise UsageError(f"{what}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}")


def _write_job(
    job: IO[bytes],
    executable: Executable,
    params: Mapping[str, npt.ArrayLike],
    data_sets: Sequence[Mapping[str, npt.ArrayLike]],
    checks: Checks,
) -> None:
    interface, runner = executable.interface, executable.runner
    _check_names("parameters", params, [name for name, _ in interface.parameters])
    parts = [_checked(name, params[name], shape) for name, shape in interface.parameters]
    for data_set in data_sets:
        _check_names("inputs", data_set, [argument.tensor for argument in interface.inputs])
        parts += [_checked(a.tensor, data_set[a.tensor], a.shape) for a in interface.inputs]
    parameter_bytes = 4 * interface.parameter_elements
    input_bytes = 4 * sum(argument.elements for argument in interface.inputs)
    output_bytes = len(data_sets) * 4 * sum(argument.elements for argument in interface.outputs)
    flags = (
        protocol.CHECK_API * checks.api
        | protocol.CHECK_SHARING * checks.sharing
        | protocol.CHECK_FAILURES * checks.failures
        | protocol.CATCH_SIGNALS * runner.catches_signals
    )
    # What the driver itself needs: the job, the expected outputs, and two sets of tensors.
    own = 2 * parameter_bytes + (len(data_sets) + 4) * (input_bytes + output_bytes) + (512 << 20)
    head = protocol.pack_job(
        flags=flags,
        heap_bytes=checks.heap_bytes,
        # Twice the heap: released memory keeps its addresses for a while.
        address_space=2 * checks.heap_bytes + own if runner.limits_memory else 0,
        cpu_seconds=_processor_limit(executable, checks, len(data_sets)),
        file_bytes=output_bytes + (16 << 20),
        data_sets=len(data_sets),
        configurations=[(c.threads, int(c.placement), c.repeats) for c in checks.configurations],
        parameter_bytes=parameter_bytes,
        input_bytes=input_bytes,
    )
    job.write(head)
    for part in parts:
        data = part.data.cast("B")
        while data:
            data = data[job.write(data) :]
    os.lseek(job.fileno(), 0, os.SEEK_SET)


def _start(executable: Executable, job: IO[bytes], result: IO[bytes], log: IO[bytes]) -> subprocess.Popen[bytes]:
    runner = executable.runner
    command = [*runner.wrapper, str(executable.path), str(result.fileno())]
    try:
        return subprocess.Popen(
            command,
            stdin=job,
            stdout=log,
            stderr=log,
            pass_fds=(result.fileno(),),
            cwd="/",
            env={**os.environ, **runner.environment} if runner.environment else None,
            process_group=0,
        )
    except OSError as error:
        raise CannotRunError(f"cannot start {command[0]}: {error.strerror}") from error


def _wait(process: subprocess.Popen[bytes], result: int, timeout: float) -> protocol.Progress | None:
    """Wait for the end of the driver. What it was doing, if it made no progress for `timeout` seconds."""
    steps = -1
    while not ended(process, timeout):
        progress = protocol.unpack_progress(os.pread(result, protocol.PAGE, 0))
        if progress is None:
            return protocol.Progress(0, 0, 0, 0, 0, 0, "start")
        if progress.steps == steps:
            return progress
        steps = progress.steps
    return None


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    chunks, at = [], 0
    while at < size:
        chunk = os.pread(descriptor, size - at, at)
        if not chunk:
            break
        chunks.append(chunk)
        at += len(chunk)
    return b"".join(chunks)


_SANITIZER = re.compile(r"^.*(?:ERROR: \w+Sanitizer: |WARNING: ThreadSanitizer: |runtime error: ).*$", re.MULTILINE)

_DRIVER_PROBLEMS = {
    2: "was started wrongly",
    86: "was ended by a sanitizer",
    87: "was built for other parameters",
    88: "was built for other inputs",
    89: "got a job of the wrong size",
    90: "got no job",
    98: "could not write its results: the net has used up the space or closed the file",
}


def _report(
    interface: Interface,
    result: memoryview,
    log: str,
    returncode: int,
    *,
    hang: protocol.Progress | None,
    start: float,
) -> RunReport:
    outputs: dict[int, dict[str, FloatArray]] = {}
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
                violations.append(Violation(Kind(kind), detail, record.data_set))
            case protocol.RECORD_TIME:
                times.append(int.from_bytes(record.payload, "little"))
            case protocol.RECORD_DONE:
                done = True
            case _:
                violations.append(Violation(Kind.DRIVER, f"unknown record {record.type}", 0))
    progress = protocol.unpack_progress(bytes(result[: protocol.PAGE]))
    violations += _ending(progress, log, returncode, done=done, hang=hang, known=bool(violations))
    complete = tuple(
        MappingProxyType(outputs[i]) for i in range(len(outputs)) if len(outputs.get(i, ())) == len(interface.outputs)
    )
    seconds = time.perf_counter() - start
    status = _status(violations, done=done, returncode=returncode)
    return RunReport(status, complete, tuple(violations), tuple(times), seconds, log)


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
) -> list[Violation]:
    """What the way the driver ended says, beyond what it reported itself."""
    where = f"  [{progress}]" if progress else ""
    data_set = progress.data_set if progress else 0
    sanitizer = _SANITIZER.search(log)
    if hang is not None:
        return [Violation(Kind.HANG, f"no progress within the time limit  [{hang}]", hang.data_set)]
    if sanitizer:
        return [Violation(Kind.SANITIZER, sanitizer.group().strip() + where, data_set)]
    if done and returncode == 0:
        return []
    if known:
        return []  # the driver has said what happened
    if returncode < 0:
        return [_death(-returncode, where, data_set)]
    if returncode in _DRIVER_PROBLEMS:
        return [Violation(Kind.DRIVER, f"the driver {_DRIVER_PROBLEMS[returncode]}{where}", data_set)]
    return [Violation(Kind.CRASH, f"the process ended by itself with status {returncode}{where}", data_set)]


def _death(number: int, where: str, data_set: int) -> Violation:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number in {signal.SIGXCPU, signal.SIGKILL}:
        return Violation(Kind.HANG, f"ended by {name}: out of processor time{where}", data_set)
    return Violation(Kind.CRASH, f"ended by {name}{where}", data_set)
