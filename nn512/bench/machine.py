"""The machine that is measured: its name, and which of its processors to use."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nn512.errors import CannotRunError, UsageError


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name, family and model of the processor, such as `AMD EPYC 9654, family 25 model 17`."""
    facts: dict[str, str] = {}
    try:
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), " ".join(value.split()))
    except OSError:
        pass
    name = facts.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in facts and "model" in facts:
        name += f", family {facts['cpu family']} model {facts['model']}"
    return name


def choose_cpus(threads: int) -> tuple[int, ...]:
    """A processor for each thread, on cores of their own as far as there are any.

    Raises UsageError where this process may not use so many.
    """
    if not hasattr(os, "sched_getaffinity"):
        raise CannotRunError("this system cannot pin programs to processors, and nothing else would be comparable")
    allowed = os.sched_getaffinity(0)
    if not 1 <= threads <= len(allowed):
        raise UsageError(f"--threads must be from 1 to {len(allowed)}, the processors at hand, not {threads}")
    return pick_cpus(threads, allowed, {cpu: _siblings(cpu) for cpu in allowed})


def pick_cpus(threads: int, allowed: Collection[int], siblings: Mapping[int, Collection[int]]) -> tuple[int, ...]:
    """The first `threads` of the `allowed` processors, those first that share no core with an earlier one."""
    alone: list[int] = []
    shared: list[int] = []
    taken: set[int] = set()
    for cpu in sorted(allowed):
        (shared if cpu in taken else alone).append(cpu)
        taken.update(siblings[cpu])
    return tuple((alone + shared)[:threads])


def _siblings(cpu: int) -> set[int]:
    """The processors on the core of `cpu`, itself included."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return parse_cpu_list(path.read_text("ascii").strip())
    except (OSError, ValueError):
        return {cpu}


def parse_cpu_list(text: str) -> set[int]:
    """Processors in the notation of Linux: `0-2,8`."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def cpu_list(cpus: Sequence[int]) -> str:
    """Processors as the measured programs take them: `0,1`."""
    return ",".join(map(str, cpus))
