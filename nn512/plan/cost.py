"""What a layer costs: arithmetic at a kernel's efficiency, weights from memory, tensors through the caches.

Figures are those of the machine on which kernels were measured (AMD EPYC, Zen 4, one core at 3.7 GHz; see the
benchmarks); what matters for the choice between kernels is how they relate: much the same on other processors.
"""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.nodes import Config

# Tensors that stream beside arithmetic cost this much less than those that stream alone.
EXPOSED = 4


@dataclass(frozen=True, slots=True)
class Machine:
    """One core: fused multiply-adds in GFLOP/s, and streams in GB/s from the three levels that tensors come from.

    `vector_nanoseconds` is what an operation on a vector of 16 floats takes in the transforms of tiles.
    """

    peak_gflops: float = 118.0
    memory_gbs: float = 18.0
    l3_gbs: float = 32.0
    l2_gbs: float = 80.0
    l2_bytes: int = 960 << 10
    vector_nanoseconds: float = 0.34

    @classmethod
    def of(cls, config: Config) -> Machine:
        """The machine with the cache sizes that the user gave."""
        return cls(l2_bytes=config.l2_cache_per_thread)


@dataclass(frozen=True, slots=True)
class Work:
    """What a kernel does for one layer.

    `macs`: multiply-accumulates really executed, padding lanes included, per 16-lane efficiency `efficiency` (1 is the
    peak). `weight_bytes`: read once, from memory. `tensor_bytes`: read and written, through the cache they fit.
    `vector_operations`: of transforms, before and after the arithmetic.
    """

    macs: float
    efficiency: float
    weight_bytes: float
    tensor_bytes: float
    vector_operations: float = 0.0


def microseconds(work: Work, machine: Machine) -> float:
    """Time of one layer on one core: half of the streams hides behind arithmetic (measured on three example nets)."""
    arithmetic = 2 * work.macs / (machine.peak_gflops * 1e3 * work.efficiency)
    weights = work.weight_bytes / (machine.memory_gbs * 1e3)
    speed = machine.l2_gbs if work.tensor_bytes <= machine.l2_bytes else machine.l3_gbs
    tensors = work.tensor_bytes / (speed * 1e3)
    if not work.macs:
        return tensors + weights
    transforms = work.vector_operations * machine.vector_nanoseconds / 1e3
    return max(arithmetic + 0.5 * weights, weights) + tensors / EXPOSED + transforms
