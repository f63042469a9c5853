"""Pointwise convolution, pixel tiles outermost: a tile of the input is read once and meets all weights.

Good where the weights fit into the level 2 cache and the picture does not, and where element-wise steps precede the
convolution: they are computed once per tile, into a buffer of the thread's own that stays in its nearest caches.
Arithmetic is that of the direct kernel's tile routines.
"""

from __future__ import annotations

import contextlib

from nn512.cgen.code import LayerCode
from nn512.cgen.expressions import ZERO, Conditional, Constant, Expression, Name
from nn512.cgen.writer import Writer
from nn512.ir import ConvOp
from nn512.ir.decision import Decision
from nn512.kernels.bodies import Body
from nn512.kernels.conv_blocking import FAR, INPUTS, INSIDE, MERGED, PANEL, ROW_TILE, Branch, Panels
from nn512.kernels.conv_cost import padded_macs, tensor_bytes, weight_bytes
from nn512.kernels.conv_deciding import BLOCKED, Dividing, Fetching, Stacking
from nn512.kernels.conv_tile import Channels
from nn512.kernels.convolution import Choice, ConvLayer
from nn512.kernels.deciding import Chaining, Packing, Pairing
from nn512.kernels.edges import OUTPUT_TAIL, SHUFFLED, Edges
from nn512.kernels.interface import Context, Kernel, Place, Setting
from nn512.plan.conv_geometry import TILE_PIXELS
from nn512.plan.cost import Work
from nn512.plan.layout import LANES
from nn512.plan.workspace import NO_WORKSPACE, Workspace

MOST_BUFFER_BYTES = 256 << 10  # a part of the level 2 cache


class Refusing(Decision):
    """Why this kernel does not take a layer."""

    FILTER = "refused: an output sees more than its own pixel"
    GROUPS = "refused: there are groups"
    BUFFER = "refused: steps before it would take too large a buffer"


def _refuses(op: ConvOp, setting: Setting) -> Refusing | None:
    if not op.is_pointwise:
        return Refusing.FILTER
    if op.node.groups > 1:
        return Refusing.GROUPS
    large = op.prologue and 64 * _buffer_vectors(setting.places[op.source]) > MOST_BUFFER_BYTES
    return Refusing.BUFFER if large else None


def _buffer_vectors(source: Place) -> int:
    """Size of the buffer: a tile of all input blocks."""
    return source.layout.block_count * TILE_PIXELS


def _workspace(op: ConvOp, setting: Setting) -> Workspace:
    return Workspace(thread_vectors=_buffer_vectors(setting.places[op.source])) if op.prologue else NO_WORKSPACE


def _work(op: ConvOp, setting: Setting) -> Work:
    """Writing to many planes at once costs something, weights that do not stay in the level 2 cache cost much."""
    weights = weight_bytes(op, setting)
    resident = weights <= setting.machine.l2_bytes / 2
    return Work(padded_macs(op, setting), 0.93 if resident else 0.7, weights, tensor_bytes(op, setting))


def _emit(op: ConvOp, context: Context) -> LayerCode:
    return _PointwiseLayer(op, context).emit()


KERNEL = Kernel(
    "pointwise",
    ConvOp,
    _work,
    _emit,
    _refuses,
    _workspace,
    edges=(
        PANEL,
        ROW_TILE,
        INSIDE,
        Edges("threads share", ("pixels",)),
        FAR,
        *(INPUTS[channels] for channels in (Channels.WHOLE, Channels.TAIL, Channels.TABLE)),
        OUTPUT_TAIL,
        MERGED,
        SHUFFLED,
    ),
    decisions=(
        *(
            *Refusing,
            Stacking.WIDE,
            Stacking.FULL,
            *BLOCKED,
            Dividing.ONCE,
            Fetching.FAR,
            Fetching.NEAR,
            Fetching.BUFFER,
        ),
        *(Packing.SHUFFLED, Packing.BEFORE, Chaining.READING, Pairing.RESULT, Body.VARYING),
    ),
    writes_pairs=True,
)


class _PointwiseLayer(ConvLayer):
    """A layer whose items are tiles of pixels."""

    kernel = "pointwise"

    input_in_scratch = False
    names_net = True
    only_pixels = True

    def algorithm(self) -> str:
        return f"{super().algorithm()}, pixels outermost"

    def _dividing(self) -> Dividing:
        return Dividing.ONCE

    def write_body(self, writer: Writer) -> None:
        self.write_sizes(writer)
        with writer.block("for (ptrdiff_t tile = share.first; tile < share.last; tile++)"):
            indices = [f"x = {self.first_pixel()}"]
            if self._panels_alike:
                after = self._weights_after(self.branches[0], self.branches[0].panels[0])
                indices.append(f"nextWeights = {after}")
            writer.line(f"const ptrdiff_t {', '.join(indices)};")
            self._write_tile_calls(writer)

    @property
    def _panels_alike(self) -> bool:
        """Whether all calls prefetch weights from the same distance."""
        return len(self.branches) == 1 and len(self.branches[0].panels) == 1

    def _weights_after(self, branch: Branch, panels: Panels) -> Expression:
        """Where a tile's share of the weights begins that are read after this layer's."""
        size = branch.weights.extent
        if self.body.varying:
            size = Constant(branch.weights.blocks) * Name("channels") * LANES
        return self.next_weights(size, panels, Name("x"))

    def _write_tile_calls(self, writer: Writer) -> None:
        """Write the calls for one tile."""
        x = Name("x")
        picture = self.body.tensor(self.source).at(0, x)
        for branch in self.branches:
            for panels in branch.panels:
                start = panels.first_block
                block: Expression = Constant(start)
                first = panels is self.branches[0].panels[0]
                loop: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
                if panels.count > 1:
                    end = start + panels.count * panels.width
                    loop = writer.loop(f"for (ptrdiff_t block = {start}; block < {end}; block += {panels.width})")
                    block = Name("block")
                with loop:
                    where: Expression = picture if first or not self.prologue.steps else Name("NULL")
                    if first and self.prologue.steps and panels.count > 1:
                        where = Conditional(block, Name("NULL"), picture)
                    arguments: list[Expression] = [
                        where,
                        *self.weights(branch, block),
                        self.body.result_at(branch.result, block, x),
                    ]
                    if self.prologue.steps:
                        arguments += [Name("input").at(0, 0), *self.prologue.arguments(ZERO, x)]
                    arguments += branch.chain.arguments(block, x)
                    alike = self._panels_alike
                    arguments.append(Name("nextWeights") if alike else self._weights_after(branch, panels))
                    choices = (Choice(*choice, arguments) for choice in self.by_tile(branch, panels))
                    self.write_call(writer, choices)
