"""What a layer costs: arithmetic at a kernel's efficiency, weights from memory, tensors through the caches.

Figures are those of the machine on which kernels were measured (AMD EPYC, Zen 4, one core at 3.7 GHz; see the
benchmarks); what matters for the choice between kernels is how they relate: much the same on other processors.
"""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.nodes import Config

# Tensors that stream beside arithmetic cost this much less than those that stream alone.
EXPOSED = 4

SMALLEST_SPLIT_MICROSECONDS = 4.0
"""A step handed to the team costs about a microsecond; work below this many is done by the caller alone."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A team of threads, each on a core of its own.

    Of one core: fused multiply-adds in GFLOP/s, and streams in GB/s from the three levels that tensors come from.
    `vector_nanoseconds` is what an operation on a vector of 16 floats takes in the transforms of tiles. Cores add up in
    arithmetic and in what they read from caches, but share the memory: `memory_gbs` is that of the team. (Zen 4: one
    thread reads 107 to 117 GB/s from level 2, 99 from level 3, and 34 from memory in large pages, half of it in small
    ones. Figures below are lower, since streams are mixed with stores and arithmetic.)
    """

    peak_gflops: float = 118.0
    memory_gbs: float = 26.0
    l3_gbs: float = 32.0
    l2_gbs: float = 80.0
    l2_bytes: int = 960 << 10
    vector_nanoseconds: float = 0.34
    threads: int = 1

    @classmethod
    def of(cls, config: Config, threads: int = 1) -> Machine:
        """The machine with the cache sizes that the user gave."""
        return cls(l2_bytes=config.l2_cache_per_thread, threads=threads)


@dataclass(frozen=True, slots=True)
class Work:
    """What a kernel does for one layer.

    `macs`: multiply-accumulates really executed, padding lanes included, per 16-lane efficiency `efficiency` (1 is the
    peak). `weight_bytes`: read once, from memory. `tensor_bytes`: read and written, through the cache they fit.
    `vector_operations`: of transforms, before and after the arithmetic. `items`: equal parts that threads share; 0
    where there are so many that their number does not matter.
    """

    macs: float
    efficiency: float
    weight_bytes: float
    tensor_bytes: float
    vector_operations: float = 0.0
    items: int = 0

    def cores(self, threads: int) -> float:
        """How many times as fast so many threads are as one: the last of the items may leave some without any."""
        return self.items / -(-self.items // threads) if self.items else float(threads)


def microseconds(work: Work, machine: Machine) -> float:
    """Time of one layer on all threads of a machine; too little work is done by one of them."""
    alone = _time(work, machine, 1)
    if machine.threads == 1 or alone <= SMALLEST_SPLIT_MICROSECONDS:
        return alone
    return _time(work, machine, work.cores(machine.threads))


def _time(work: Work, machine: Machine, cores: float) -> float:
    """Time on so many cores: three quarters of the stream of weights hide behind arithmetic, as measured on nets."""
    arithmetic = 2 * work.macs / (machine.peak_gflops * 1e3 * work.efficiency) / cores
    weights = work.weight_bytes / (machine.memory_gbs * 1e3)
    speed = machine.l2_gbs if work.tensor_bytes <= machine.l2_bytes else machine.l3_gbs
    tensors = work.tensor_bytes / (speed * 1e3) / cores
    if not work.macs:
        return tensors + weights
    transforms = work.vector_operations * machine.vector_nanoseconds / 1e3 / cores
    return max(arithmetic + 0.25 * weights, weights) + tensors / EXPOSED + transforms
