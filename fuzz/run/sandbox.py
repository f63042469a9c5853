"""Running a driver program in a child process: nothing the net does there can hurt the tester.

The driver checks everything but values (driver/); this module starts it, bounds its time and memory, and collects what
it wrote.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fuzz.run import protocol
from fuzz.run.build import Executable
from fuzz.run.checks import Checks
from fuzz.run.ended import Ended
from fuzz.run.outcome import FloatArray, RunReport, read_report
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.toolchain import end_group
from nn512.toolchain import ended as has_ended

MOST_ARGUMENTS = 5000
"""Inputs and outputs of a net that can be run: each is memory with guard pages, of which a process has only so many."""

_LOG_LIMIT = 64 << 10

_NOT_BEGUN = protocol.Progress(0, 0, 0, 0, 0, 0, 0, "start")
"""What a driver does that has not said anything yet."""


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
    limit = _time_limit(executable, checks)
    with _memory_file("job") as job:
        _write_job(job, executable, params, data_sets, checks)
        if executable.runner.machine is None:
            ended = _run_here(executable, job, limit)
        else:
            data = _read_all(job.fileno())
            ended = executable.runner.machine(executable.runner.compiler, executable.path, data, limit)
    if ended.returncode == -signal.SIGKILL and not ended.hung:
        _check_killed(ended.used, _processor_limit(executable, checks, len(data_sets)))
    hang = (protocol.unpack_progress(ended.result[: protocol.PAGE]) or _NOT_BEGUN) if ended.hung else None
    text = ended.log.decode("utf-8", "replace")
    records = memoryview(ended.result)
    report = read_report(executable.interface, executable.taps, records, text, ended.returncode, hang=hang, start=start)
    return report.with_noise() if executable.runner.is_quiet else report


def _run_here(executable: Executable, job: IO[bytes], limit: float) -> Ended:
    """Run the driver in a process of this machine; `limit`: seconds without progress."""
    used_before = _processor_seconds()
    with _memory_file("result") as result, _memory_file("log") as log:
        process = _start(executable, job, result, log)
        try:
            hung = _wait(process, result.fileno(), limit)
        finally:
            end_group(process)
        used = _processor_seconds() - used_before
        written = _read_all(result.fileno())
        return Ended(written, os.pread(log.fileno(), _LOG_LIMIT, 0), process.returncode, hung, used)


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
        | protocol.CHECK_PROMISES * checks.promises
    )
    tap_bytes = len(data_sets) * 4 * sum(tap.elements for tap in executable.taps)
    # What the driver itself needs: the job, the expected outputs, and two sets of tensors.
    own = 2 * parameter_bytes + (len(data_sets) + 4) * (input_bytes + output_bytes) + (512 << 20)
    head = protocol.pack_job(
        flags=flags,
        heap_bytes=checks.heap_bytes,
        # Twice the heap: released memory keeps its addresses for a while.
        address_space=2 * checks.heap_bytes + own if runner.limits_memory else 0,
        cpu_seconds=_processor_limit(executable, checks, len(data_sets)),
        file_bytes=2 * output_bytes + tap_bytes + (16 << 20),  # and which elements of outputs were wrong
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


def _wait(process: subprocess.Popen[bytes], result: int, timeout: float) -> bool:
    """Wait for the end of the driver. Whether it hangs: it made no progress for `timeout` seconds."""
    steps = -1
    while not has_ended(process, timeout):
        progress = protocol.unpack_progress(os.pread(result, protocol.PAGE, 0))
        if progress is None or progress.steps == steps:
            return True
        steps = progress.steps
    return False


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
