"""Running a driver program in a child process: nothing the net does there can hurt the tester.

The driver checks everything but values (driver/); this module tells it what to do, bounds its time and memory, and
reads what it wrote.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fuzz.run import protocol
from fuzz.run.build import Executable
from fuzz.run.checks import Checks
from fuzz.run.outcome import FloatArray, RunReport, read_report
from fuzz.run.process import fill, memory_file, run_program
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.toolchain import BuildCache

MOST_ARGUMENTS = 5000
"""Inputs and outputs of a net that can be run: each is memory with guard pages, of which a process has only so many."""

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
    BuildCache.mark(executable.path)  # a case may take minutes, and others fill the cache meanwhile
    start = time.perf_counter()
    limit = _time_limit(executable, checks)
    with memory_file("job") as job:
        _write_job(job, executable, params, data_sets, checks)
        ended = run_program(executable.runner, executable.path, job, limit)
    if ended.returncode == -signal.SIGKILL and not ended.hung:
        _check_killed(ended.used, _processor_limit(executable, checks, len(data_sets)))
    hang = (protocol.unpack_progress(ended.result[: protocol.PAGE]) or _NOT_BEGUN) if ended.hung else None
    text = ended.log.decode("utf-8", "replace")
    records = memoryview(ended.result)
    report = read_report(
        executable.interface,
        executable.taps,
        records,
        text,
        ended.returncode,
        hang=hang,
        start=start,
        portable=executable.runner.portable,
    )
    return report.with_noise() if executable.runner.is_quiet else report


def _time_limit(executable: Executable, checks: Checks) -> float:
    """Seconds without progress that mean a hang."""
    interface = executable.interface
    elements = interface.parameter_elements + sum(argument.elements for argument in interface.arguments)
    return (checks.timeout + elements * 4e-6 / 2) * executable.runner.slowdown


def _processor_limit(executable: Executable, checks: Checks, data_sets: int) -> int:
    """Seconds of processor time after which the system ends a driver."""
    return int(_time_limit(executable, checks) * (4 + data_sets)) + 1


def _check_killed(used: float, limit: int) -> None:
    """MachineError if a driver was killed that had processor time left."""
    if used < limit:
        raise MachineError("the system killed the program under test, most probably because memory ran out")


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
        | protocol.CHECK_PROCESS * checks.process
        | protocol.CHECK_SHARING * checks.sharing
        | protocol.CHECK_FAILURES * checks.failures
        | protocol.CATCH_SIGNALS * runner.catches_signals
        | protocol.CHECK_PROMISES * checks.promises
        | protocol.CHECK_ENDURANCE * checks.endurance
        | protocol.PORTABLE * runner.portable
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
    fill(job, [head, *(part.data for part in parts)])
