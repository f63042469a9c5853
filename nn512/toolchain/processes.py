"""Commands run within bounds: of time, memory and output, and nothing of them is left afterwards."""

from __future__ import annotations

import functools
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from nn512.toolchain.machine import machine_faults

_MESSAGE_LIMIT = 64 << 10
_LONGEST = 1e6
"""Seconds that a poll waits at most: it counts milliseconds in 32 bits."""


def run_bounded(
    command: Sequence[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    stdin: Path | None = None,
    memory_kib: int | None = None,
    temporary: Path | None = None,
) -> tuple[int, str, bool]:
    """Exit status, merged output and whether time ran out, of a command run in a process group of its own.

    The whole group is ended on time-out and on any exception, so that nothing (a cc1, say) outlives a Ctrl-C; where
    `memory_kib` bounds its memory, the group also ends soon after this process does, however that ends.
    `temporary` is where it makes its own temporary files, which nobody removes where it is ended.
    Output goes through a file: a command that writes without end cannot fill our memory, and cannot block either.
    """
    descriptors: tuple[int, ...] = ()
    if memory_kib is not None:
        command, descriptors = watched(command, f"ulimit -v {memory_kib}; ulimit -f 4194304; ")
    with (stdin or Path(os.devnull)).open("rb") as source, _output() as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"LC_ALL": "C"} | ({} if temporary is None else {"TMPDIR": str(temporary)}),
            process_group=0,
            pass_fds=descriptors,
        )
        try:
            timed_out = not ended(process, timeout)
        finally:
            end_group(process)
        output.seek(0)
        text = output.read(_MESSAGE_LIMIT).decode("utf-8", "replace")
    return process.returncode, text, timed_out


def watched(command: Sequence[str], before: str = "") -> tuple[list[str], tuple[int, ...]]:
    """`command` in a shell that does `before` first, and the descriptors to be passed on.

    Started with these in a process group of its own, it is ended soon after this process has, however that ends.
    """
    if not _WATCHED:
        return ["/bin/sh", "-c", before + 'exec "$@"', "sh", *command], ()
    lifeline = _lifeline()
    return ["/bin/sh", "-c", _WATCH.format(lifeline) + before + 'exec "$@"', "sh", *command], (lifeline,)


def _output() -> IO[bytes]:
    with machine_faults("cannot make a temporary file"):
        return tempfile.TemporaryFile()


_WATCHED = sys.platform == "linux"
"""Elsewhere `end_group` might not reach a watcher, for want of a way to wait for a process without collecting it."""

_WATCH = "{{ read -r _; kill -KILL 0; }} 2>/dev/null >/dev/null </dev/fd/{0} & "
"""A second process of the group: it waits for the end of the file, which comes when nobody can write to it any more.

A process that is killed outright can end nobody. PR_SET_PDEATHSIG would reach the one process that we start, while a
compiler works in others (cc1, as, ld), and setting it means to run Python between fork and exec.
"""


@functools.cache
def _lifeline() -> int:
    """A descriptor to be passed on to children. They see the end of its file when this process has ended."""
    reading, _ = os.pipe()  # the other end stays open, and nobody else gets it
    return reading


def ended(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether `process` has ended, at the latest after `timeout` seconds.

    It is not collected where that can be avoided, so that `end_group` can still end what it left behind; and where a
    process has a descriptor there is no sleeping and polling as in Popen.wait, which costs 25 ms on average.
    """
    if process.returncode is None and hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            pass  # an old kernel, or a sandbox that forbids it
        else:
            try:
                poller = select.poll()
                poller.register(descriptor, select.POLLIN)
                return bool(poller.poll(min(timeout, _LONGEST) * 1000))
            finally:
                os.close(descriptor)
    if process.returncode is None and hasattr(os, "waitid"):
        deadline = time.monotonic() + timeout
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process group that `process` leads, and collect `process`."""
    if process.returncode is None:
        # Not yet waited for, so the id cannot have been given to anybody else.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
        process.wait()
