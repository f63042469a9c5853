"""The packed weights of a grouped or depthwise convolution as Python sees them; `packing_grouped` has the C."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.cgen.code import PackCall, PackedArray
from nn512.cgen.expressions import Expression, extent
from nn512.graph.nodes import BatchNorm, Conv, Shuffle
from nn512.kernels.packing import ROUTINES, conv_arguments, norms_of, segments_of
from nn512.plan.layout import LANES, Layout, blocks_of


@dataclass(frozen=True, slots=True)
class GroupedWeights:
    """Weights in the order [output block][filter row][input][filter column][output lane].

    `inputs` is the number of inputs of a group, `layout` that of the outputs. These may stand in the order before a
    shuffle, `shuffled`.
    """

    node: Conv
    inputs: int
    layout: Layout
    shuffled: Shuffle | None
    normalized: tuple[BatchNorm, ...]
    folded: tuple[BatchNorm, ...]

    @property
    def name(self) -> str:
        """The name before `Weights` and `Biases`."""
        return self.node.to_tensor

    @property
    def block_floats(self) -> int:
        """Weights of one output block."""
        return self.inputs * self.node.filter_h * self.node.filter_w * LANES

    @property
    def block_extent(self) -> Expression:
        """The same as it is written in C: filter rows * inputs * filter columns * output lanes."""
        return extent(self.node.filter_h, self.inputs, self.node.filter_w, LANES)

    def fields(self) -> tuple[PackedArray, ...]:
        """Arrays in the packed net."""
        blocks = self.layout.block_count
        factors = (blocks, self.node.filter_h, self.inputs, self.node.filter_w, LANES)
        return (
            PackedArray(f"{self.name}Biases", f"[{blocks * LANES}]", blocks * LANES),
            PackedArray(f"{self.name}Weights", f"[{extent(*factors)}]", blocks * self.block_floats),
        )

    def pack(self) -> PackCall:
        """The call that packs them."""
        node = self.node
        arguments = [
            conv_arguments(node, self.inputs, (node.filter_h, node.filter_w)),
            f".columns = {node.filter_w}",
            *segments_of(self.layout, self.shuffled),
        ]
        if self.normalized:
            arguments.append(f".groupOutputs = {node.to_channels // node.groups}")
            arguments.append(f".before = {norms_of(self.normalized)}")
        if self.folded:
            arguments.append(f".after = {norms_of(self.folded)}")
        return PackCall(ROUTINES["pack_grouped"], tuple(arguments), blocks_of(node.to_channels))
