"""Grouped convolution on pairs of bfloat16, for the platform AVX512BFloat16: 2, 4, 8 or 16 inputs per group.

A pair of channels takes the place of a float (see `paired_source`), so this is the grouped kernel on half as many
inputs per group (see `sliding`): of two inputs, which are one pair, a permutation makes copies; of more there is a
permutation for every pair. Outputs per group are a multiple of its pairs. Groups of 32 and more are those of
`bfloat16`.

3x3 on 256 channels at 14x14 with 4, 8 and 16 inputs per group takes 55, 88 and 152 us, and 40, 60 and 82 in floats (one
core of a busy Sapphire Rapids, half as fast with pairs as with floats). The prices are those of a Zen 4, on which it
has not been measured.

Averages that moved before the convolution are not taken: it would round what the graph does not have.
"""

from __future__ import annotations

from dataclasses import replace

from nn512.cgen.code import LayerCode
from nn512.ir import ConvBranch, ConvOp
from nn512.ir.decision import Decision
from nn512.kernels import sliding
from nn512.kernels.deciding import Choosing, Pairing
from nn512.kernels.edges import OUTPUT_TAIL, Edges
from nn512.kernels.elementwise import Store
from nn512.kernels.interface import Context, Kernel, Setting, adding
from nn512.kernels.paired_source import (
    RESULT,
    SOURCE,
    PairStore,
    Rounding,
    paired_name,
    paired_source,
    pairing_classes,
    rounded,
    rounding_bytes,
    rounding_refuses,
)
from nn512.kernels.paired_weights import PairedWeights
from nn512.kernels.sliding import EDGES, FAR, SlidingLayer, sliding_refuses, sliding_work
from nn512.kernels.tiles import BFLOAT16
from nn512.plan.accuracy import BFLOAT16_ERROR
from nn512.plan.cost import Work
from nn512.plan.layout import natural
from nn512.plan.workspace import Workspace

GROUP_INPUTS = Edges("pairs of inputs of a group", (1, 2, 4, 8))


class Refusing(Decision):
    """Why this kernel does not take a layer that slides."""

    WHOLE = "refused: there is one group"
    ODD = "refused: the inputs of a group do not pair up"


def _refuses(op: ConvOp, setting: Setting) -> Decision | None:
    if op.node.groups == 1:
        return Refusing.WHOLE
    if reason := rounding_refuses(op, setting):
        return reason
    if setting.places[op.source].shape.channels // op.node.groups % 2:
        return Refusing.ODD
    return sliding_refuses(op, setting, channels=2)


def _workspace(op: ConvOp, setting: Setting) -> Workspace:
    return paired_source(op.name, setting.places[op.source])


def _work(op: ConvOp, setting: Setting) -> Work:
    """Products of pairs, and the pass that rounds the source."""
    work = sliding_work(op, setting, channels=2)
    return replace(work, tensor_bytes=work.tensor_bytes + rounding_bytes(setting.places[op.source]))


def _emit(op: ConvOp, context: Context) -> LayerCode:
    context.library.use(BFLOAT16)
    return _PairedLayer(op, context, "grouped-bf16").emit()


class _PairedLayer(SlidingLayer):
    """A layer whose source is rounded to pairs first."""

    pairs = True

    @property
    def scratch(self) -> str:
        return paired_name(self.op.name)

    @property
    def fills_scratch(self) -> bool:
        return not self.given.pairs

    def store(self) -> Store:
        return PairStore(self.given.layout)

    def packed(self, branch: ConvBranch) -> PairedWeights:
        taps = self.rows.taps, self.columns.taps
        layout = natural(2 * self.inputs)
        return PairedWeights(self.node, taps, self.inputs, layout, 1, branch.folded, columns=self.columns.taps)

    def algorithm(self) -> str:
        return f"{super().algorithm()}, {rounded(self.given)}"

    def group_classes(self) -> set[str]:
        return {GROUP_INPUTS(self.inputs)} | pairing_classes(self.given, self.result)


KERNEL = Kernel(
    "grouped-bf16",
    ConvOp,
    _work,
    _emit,
    _refuses,
    _workspace,
    weights="bf16",
    arithmetic="bfloat16",
    edges=(*EDGES, FAR, GROUP_INPUTS, OUTPUT_TAIL, SOURCE, RESULT),
    decisions=(
        Choosing.PLATFORM,
        *Refusing,
        *Rounding,
        *sliding.Refusing,
        *sliding.DECISIONS,
        Pairing.STORED,
        Pairing.ROUNDED,
    ),
    platform="AVX512BFloat16",
    added_error=adding(BFLOAT16_ERROR),
    reads_pairs=True,
    writes_pairs=True,
)
