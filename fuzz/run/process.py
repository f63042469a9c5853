"""A program run to its end: in a process here, under an emulator, or in a machine that is one.

Every program gets its job as standard input and, as its first argument, the number of the open file for its results:
the tester's driver and the drivers that users get (nn512/cgen/driver.py) alike.
"""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from fuzz.run import protocol
from fuzz.run.ended import Ended
from fuzz.run.runners import Runner
from nn512.errors import CannotRunError
from nn512.toolchain import NATIVE_FLAGS, end_group, why_broken
from nn512.toolchain import ended as has_ended

_LOG_LIMIT = 64 << 10


def run_program(runner: Runner, program: Path, job: IO[bytes], limit: float) -> Ended:
    """Run a program as `runner` does. `job` is what it reads, `limit` the seconds without progress that mean a hang.

    Progress is seen where a result begins with a page that counts it (protocol.py). Raises CannotRunError where the
    program cannot be started, or an emulator is broken that nothing was heard through.
    """
    if runner.machine is not None:
        return runner.machine(runner.compiler, program, _read_all(job.fileno()), limit)
    used_before = _processor_seconds()
    with memory_file("result") as result, memory_file("log") as log:
        process = _start(runner, program, job, result, log)
        try:
            hung = _wait(process, result.fileno(), limit)
        finally:
            end_group(process)
        used = _processor_seconds() - used_before
        written = _read_all(result.fileno())
        ended = Ended(written, os.pread(log.fileno(), _LOG_LIMIT, 0), process.returncode, hung, used)
    if runner.wrapper and len(written) <= protocol.PAGE and (hung or process.returncode or not written):
        _check_emulator(runner)
    return ended


def memory_file(name: str) -> IO[bytes]:
    """A file without a name, in memory where the system can; nothing is left of it, however the tester ends."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(f"nn512-{name}"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def fill(file: IO[bytes], parts: Iterable[bytes | memoryview]) -> None:
    """Write all parts, and stand at the beginning again."""
    for part in parts:
        data = memoryview(part).cast("B")
        while data:
            data = data[file.write(data) :]
    os.lseek(file.fileno(), 0, os.SEEK_SET)


def _processor_seconds() -> float:
    """Processor time of all children so far that have been collected."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _start(runner: Runner, program: Path, job: IO[bytes], result: IO[bytes], log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [*runner.wrapper, str(program), str(result.fileno())]
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


def _check_emulator(runner: Runner) -> None:
    """CannotRunError if a program whose answer is known fares no better than one that gave no result."""
    avx512 = set(NATIVE_FLAGS) <= set(runner.net_flags)
    if broken := why_broken(runner.compiler, runner.wrapper, runner.link_flags, avx512=avx512):
        command = shlex.join(runner.wrapper)
        raise CannotRunError(f"the emulator is broken: under {command} a program whose answer is known {broken}")


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
