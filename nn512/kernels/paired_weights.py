"""The packed weights of sums over pairs of bfloat16 as Python sees them; `packing_pairs` has the C."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nn512.cgen.code import PackCall, PackedArray
from nn512.cgen.expressions import Expression, extent
from nn512.graph.nodes import BatchNorm, Conv, FullyConnected, Shuffle
from nn512.kernels.packing import ROUTINES, conv_arguments, norms_of, segments_of
from nn512.plan.layout import LANES, Layout, blocks_of


@dataclass(frozen=True, slots=True)
class PairedWeights:
    """The packed weights of one convolution, or of a layer whose filter is the whole picture.

    `taps` are the rows and columns of the filter, `pairs` those of the input channels of one group, which a convolution
    may round up to whole blocks of 16; `layout` is that of these channels before they became pairs, `panel` the output
    blocks computed together. What is read may stand in the order before a shuffle, `shuffled`. `columns` of the filter
    follow each other before the next pair does. Only channels of one `run` of so many pair up, if it is not 0; the last
    of an odd number is the upper half of a pair of its own.
    """

    node: Conv | FullyConnected
    taps: tuple[int, int]
    pairs: int
    layout: Layout
    panel: int
    folded: tuple[BatchNorm, ...]
    shuffled: Shuffle | None = None
    columns: int = 1
    run: int = 0

    @property
    def blocks(self) -> int:
        """Output blocks."""
        return blocks_of(self.node.to_channels)

    @property
    def block_extent(self) -> Expression:
        """Pairs of one output block as it is written in C: pairs of inputs * filter rows * filter columns * lanes."""
        return extent(*self._block_extents)

    @property
    def extent(self) -> Expression:
        """All pairs, likewise."""
        return extent(self.blocks, *self._block_extents)

    @property
    def _block_extents(self) -> tuple[int, ...]:
        return (self.pairs, *self.taps, LANES)

    def fields(self) -> tuple[PackedArray, ...]:
        """Arrays in the packed net; a pair takes the place of a float."""
        name, lanes = self.node.to_tensor, self.blocks * LANES
        pairs = lanes * self.pairs * math.prod(self.taps)
        return (
            PackedArray(f"{name}Biases", f"[{lanes}]", lanes),
            PackedArray(f"{name}Weights", f"[{self.extent}]", pairs),
        )

    def pack(self) -> PackCall:
        """The call that packs them."""
        arguments = [
            conv_arguments(self.node, self.layout.channels, self.taps),
            f".pairs = {self.pairs}",
            f".columns = {self.columns}",
            f".panel = {self.panel}",
            *([f".run = {self.run}"] if self.run else []),
            *segments_of(self.layout, self.shuffled),
        ]
        if self.folded:
            arguments.append(f".after = {norms_of(self.folded)}")
        return PackCall(ROUTINES["pack_pairs"], tuple(arguments), self.blocks)
