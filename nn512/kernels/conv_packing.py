"""Packing of a convolution's weights: which field each weight goes to, and the batch norms folded into it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from nn512.cgen.writer import Writer
from nn512.graph.nodes import BatchNorm, Conv
from nn512.kernels.layer import Context, WeightField
from nn512.kernels.packing import Channel, begin_pack, each_channel, fold_channel, pack_signature
from nn512.plan.layout import Layout, blocks_of


@dataclass(frozen=True, slots=True)
class Panels:
    """Output blocks computed `width` at a time: `count` panels from `first_block` on, their weights in `field`."""

    width: int
    count: int
    first_block: int
    field: str


@dataclass(frozen=True, slots=True)
class ConvWeights:
    """The packed weights of one convolution.

    `layout` is that of the input channels of one group. `masked` weights belong to groups that share output blocks: they
    are stored by input channel of the group, and every lane holds the weight of its own output's group.
    """

    node: Conv
    inputs: int
    layout: Layout
    panels: tuple[Panels, ...]
    masked: bool
    normalized: tuple[BatchNorm, ...]
    folded: tuple[BatchNorm, ...]

    @property
    def biases(self) -> str:
        """Name of the field of the biases."""
        return f"{self.node.to_tensor}Biases"

    def fields(self) -> tuple[WeightField, ...]:
        """Arrays in the packed net: biases, then weights in the order in which they are read."""
        biases = WeightField(self.biases, (blocks_of(self.node.to_channels), 16), "[block][lane]")
        taps = (self.node.filter_h, self.node.filter_w)
        if self.masked:
            order = "[out block][channel of the group][row][column][out lane]"
            return biases, *(WeightField(p.field, (p.count, self.inputs, *taps, 16), order) for p in self.panels)
        blocks = len(self.layout.blocks)
        order = "[panel][in block][row][column][in lane][out block][out lane]"
        return biases, *(WeightField(p.field, (p.count, blocks, *taps, 16, p.width, 16), order) for p in self.panels)

    def panel_start(self, panels: Panels, panel: str) -> str:
        """Pointer to the first weight of a panel."""
        return f"net->{panels.field}[{panel}]" + "[0]" * (3 if self.masked else 5)

    def write_pack(self, context: Context) -> str:
        """Text of the packing function; its items are output blocks."""
        writer = Writer()
        node = self.node
        with writer.block(pack_signature(context.prefix, node.to_tensor)):
            begin_pack(writer, context.prefix)
            extents = f"[{self.inputs}][{node.filter_h}][{node.filter_w}]"
            writer.line(f"const float (*weights){extents} = (const void *)params->{node.to_tensor}Weights;")
            with writer.block(f"for (ptrdiff_t k = first * 16; k < last * 16 && k < {node.to_channels}; k++)"):
                self._write_bias(writer, context)
                for number, panels in enumerate(self.panels):
                    self._write_panels(writer, context, panels, number)
        return writer.text()

    def _write_bias(self, writer: Writer, context: Context) -> None:
        to = f"net->{self.biases}[k / 16][k % 16]"
        bias = f"params->{self.biases}[k]"
        if self.normalized:
            writer.line(f"double bias = {bias};")
            with writer.block(f"for (ptrdiff_t c = 0; c < {self.inputs}; c++)"):
                fold_channel(writer, context, self.normalized, self._source_channel("c"))
                writer.line("double sum = 0;")
                taps = self.node.filter_h * self.node.filter_w
                writer.line(f"for (ptrdiff_t i = 0; i < {taps}; i++) sum += weights[k][c][0][i];")
                writer.line("bias += shift * sum;")
                writer.line("(void)scale;")
            bias = "bias"
        if self.folded:
            fold_channel(writer, context, self.folded, "k")
            bias = f"(float)({bias} * scale + shift)"
        elif self.normalized:
            bias = "(float)bias"
        writer.line(f"{to} = {bias};")

    def _source_channel(self, channel: str) -> str:
        """Number of a group's input channel in the whole tensor, for output channel k."""
        if self.node.groups == 1:
            return channel
        return f"k / {self.node.to_channels // self.node.groups} * {self.inputs} + {channel}"

    def _write_panels(self, writer: Writer, context: Context, panels: Panels, number: int) -> None:
        guard = ""
        if len(self.panels) > 1:
            boundary = self.panels[number].first_block * 16 if number else self.panels[1].first_block * 16
            guard = f"if (k {'>=' if number else '<'} {boundary})"
        panel = f"k / {16 * panels.width}" if panels.count > 1 else "0"
        block = f"k / 16 % {panels.width}" if panels.width > 1 else "0"
        layout = Layout((self.inputs,)) if self.masked else self.layout
        with writer.block(guard) if guard else contextlib.nullcontext(), each_channel(writer, layout) as channel:
            if self.masked:
                to = f"net->{panels.field}[k / 16][{channel.number}][i][j][k % 16]"
            else:
                to = f"net->{panels.field}[{panel}][{channel.block}][i][j][{channel.lane}][{block}][k % 16]"
            self._write_taps(writer, context, to, channel)

    def _write_taps(self, writer: Writer, context: Context, to: str, channel: Channel) -> None:
        value = f"weights[k][{channel.number}][i][j]"
        factor = "scale * " if self.folded else ""
        if self.normalized:
            name = "norm_scale"
            _write_input_scale(writer, context, self.normalized, self._source_channel(channel.number), name)
            factor += f"{name} * "
        writer.line(f"for (ptrdiff_t i = 0; i < {self.node.filter_h}; i++)")
        with writer.indented():
            writer.line(f"for (ptrdiff_t j = 0; j < {self.node.filter_w}; j++)")
            with writer.indented():
                writer.line(f"{to} = {f'(float)({factor}{value})' if factor else value};")


def _write_input_scale(
    writer: Writer, context: Context, norms: Sequence[BatchNorm], channel: str, name: str
) -> None:
    writer.line(f"double {name} = 1;")
    with writer.block():
        fold_channel(writer, context, norms, channel)
        writer.line(f"{name} = scale;")
        writer.line("(void)shift;")
