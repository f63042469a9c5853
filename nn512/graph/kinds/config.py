"""The node Config: settings for the whole file."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.graph.fields import ValueType, cache_size, declare
from nn512.graph.node import Node

PLATFORMS = ("AVX512Float32", "AVX512BFloat16")


@dataclass(frozen=True, slots=True)
class Config(Node):
    """Settings for the whole file, exactly one per graph.

    They are the prefix of every emitted name, the target, and the cache sizes that guide blocking.
    """

    prefix: str = declare(
        "Prefix", ValueType.NAME, "Begins the names of the emitted files and of every symbol in them.", "NN512"
    )
    platform: str = declare(
        "Platform",
        ValueType.CHOICE,
        "Instruction set and arithmetic of the emitted code. Tensors and sums are float32 on both platforms. With"
        " AVX512BFloat16 convolutions and fully connected layers may round what they read, and their weights, to"
        " bfloat16, to nearest even, where that takes less time; the processor then needs AVX512_BF16.",
        PLATFORMS[0],
        choices=PLATFORMS,
    )
    l1_data_cache_per_thread: int = cache_size(
        "L1DataCachePerThread", "Bytes of level 1 data cache a thread has to itself.", 32 << 10
    )
    l2_cache_per_thread: int = cache_size(
        "L2CachePerThreadExL1", "Bytes of level 2 cache a thread has, not counting level 1.", 960 << 10
    )
    l3_cache_per_thread: int = cache_size(
        "L3CachePerThreadExL1L2",
        "Bytes of level 3 cache a thread has, not counting levels 1 and 2.",
        1408 << 10,
    )

    def describe(self) -> str:
        """The kind and the prefix."""
        return f"Config {self.prefix}"
