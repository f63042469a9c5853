"""What a run checks, in which configurations, and within which bounds."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fuzz.run.outcome import Kind
from nn512.graph import Graph, multiply_accumulates


class Placement(enum.IntEnum):
    """Where caller buffers lie: against the page after them, against the page before, or 4 bytes past a cache line."""

    AT_END = 0
    AT_BEGIN = 1
    UNALIGNED = 2


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
    Configuration(7, Placement.AT_BEGIN, repeats=1),
    Configuration(1, Placement.AT_BEGIN, repeats=1),
)
"""Every check of the sandbox."""

QUICK = (Configuration(1, Placement.AT_END), Configuration(2, Placement.AT_BEGIN, repeats=1))
"""Guard pages on both sides and two thread counts: for large nets and for reducing a finding."""


TIMEOUT = 20.0
"""Seconds without progress that are a hang."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What to check, and the bounds of a run.

    `api`: EnginePthreadT. `process`: signals, files and all else that belongs to the program. `sharing`: several
    engines on one net, at the same time and in other orders. `failures`: every allocation and thread refused in turn.
    `turns`: other inputs before and after, on the same engine. `endurance`: hundreds of inferences, up to 16 threads,
    and waits that end without a reason. `promises`: what our own C promises and others need not (see
    `fuzz.run.demands`). `waived`: violations that are let pass. `timeout`: seconds without progress, on the processor
    itself; slower runners get their multiple, and large nets half a second more per megabyte. `heap_bytes`: what the
    net may allocate.
    """

    configurations: tuple[Configuration, ...] = FULL
    api: bool = True
    process: bool = True
    sharing: bool = True
    failures: bool = True
    turns: bool = True
    endurance: bool = True
    promises: bool = True
    waived: frozenset[Kind] = frozenset()
    timeout: float = TIMEOUT
    heap_bytes: int = 4 << 30


SHORT_MAC = 3e6
"""Multiply-accumulates up to which nets have to endure: hundreds of inferences take them hardly longer."""

LARGE_MAC = 30e6
"""Multiply-accumulates from which a net is large: each inference is then repeated less often."""

VAST_MAC = 1e9
"""Those from which allocations are not refused in turn, which packs the parameters as often."""

LIGHT = Checks(
    configurations=QUICK,
    api=False,
    process=False,
    sharing=False,
    failures=False,
    turns=False,
    endurance=False,
    promises=False,
)
"""What is checked on all data sets but the first, which gets everything."""


USUAL_THREADS, MANY_THREADS = 4, 7
"""Up to how many threads nets are run for users by default, and with how many besides: shares are uneven there."""


def work_of(graph: Graph) -> int:
    """Multiply-accumulates of an inference."""
    return sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers)


def checks_for(graph: Graph, threads: int, timeout: float = TIMEOUT) -> Checks:
    """What to check for a user: 1 to `threads` threads, and MANY_THREADS if those are as many as usual or more.

    Large nets run less often, and the largest are refused nothing.
    """
    work = work_of(graph)
    small = work < LARGE_MAC
    placements = tuple(Placement)
    configurations = tuple(
        Configuration(count, placements[(count - 1) % len(placements)], repeats=2 if small or count == 1 else 1)
        for count in range(1, threads + 1)
    )
    if USUAL_THREADS <= threads < MANY_THREADS:
        configurations += (Configuration(MANY_THREADS, Placement.AT_BEGIN, repeats=1),)
    return Checks(configurations, failures=work < VAST_MAC, timeout=timeout)
