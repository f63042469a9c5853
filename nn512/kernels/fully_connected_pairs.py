"""Fully connected layers on pairs of bfloat16, for the platform AVX512BFloat16.

What is read is rounded to pairs in a first step (see `paired_source`), weights when they are packed, after a batch norm
of the result is folded in. A pair takes the place of a float, so a layer on pairs is one of half as many inputs.

Weights that come from memory take no less time than halves, which err less: those are then taken, if they are not
forbidden. Four layers 4096 -> 4096 take 10.0 to 12.4 ms, with halves 8.3 to 9.4, with floats 17.7 to 19.2. From a level
2 cache 512 -> 512 takes 11.1 us, and 13.4 and 12.8, of which the call is 5.7. (One core of a busy Sapphire Rapids, the
best of many calls in turns; it begins a product of pairs every other cycle.)
"""

from __future__ import annotations

from dataclasses import replace

from nn512.cgen.code import InferenceStep, LayerCode, PackCall, PackedArray
from nn512.ir import FullyConnectedOp
from nn512.kernels.bodies import Body
from nn512.kernels.chain import ChainCode
from nn512.kernels.deciding import Choosing
from nn512.kernels.elementwise import write_chain_step
from nn512.kernels.full_panel import Stored
from nn512.kernels.fully_connected import DECISIONS, EDGES, FullyConnectedLayer, fully_connected_work
from nn512.kernels.interface import Context, Kernel, Place, Setting, adding
from nn512.kernels.paired_source import (
    PAIRS,
    PairStore,
    paired_name,
    paired_source,
    pairing,
    pairs_of,
    rounding_bytes,
)
from nn512.kernels.paired_weights import PairedWeights
from nn512.kernels.tiles import BFLOAT16
from nn512.plan.accuracy import BFLOAT16_ERROR
from nn512.plan.cost import Work
from nn512.plan.workspace import Workspace


def _workspace(op: FullyConnectedOp, setting: Setting) -> Workspace:
    return paired_source(op.writes, setting.places[op.source])


def _work(op: FullyConnectedOp, setting: Setting) -> Work:
    source = setting.places[op.source]
    work = fully_connected_work(op, setting, 2)
    macs = work.macs * pairs_of(source.layout) / source.shape.channels
    return replace(work, macs=macs, tensor_bytes=work.tensor_bytes + rounding_bytes(source))


def _emit(op: FullyConnectedOp, context: Context) -> LayerCode:
    context.library.use(BFLOAT16)
    return _PairedLayer(op, context, Stored.PAIRS).emit()


KERNEL = Kernel(
    "fully_connected_bf16",
    FullyConnectedOp,
    _work,
    _emit,
    workspace=_workspace,
    weights="bf16",
    arithmetic="bfloat16",
    edges=(*EDGES, PAIRS),
    decisions=(Choosing.PLATFORM, *DECISIONS, Body.OWN),
    platform="AVX512BFloat16",
    added_error=adding(BFLOAT16_ERROR),
)


class _PairedLayer(FullyConnectedLayer):
    """A layer whose source is rounded to pairs first: `source` is these, `given` what they are made of."""

    @property
    def given(self) -> Place:
        """The source as floats."""
        return self.context.places[self.op.source]

    def read(self) -> Place:
        return self.context.places[paired_name(self.op.writes)]

    def algorithm(self) -> str:
        return f"{super().algorithm()}, inputs rounded to pairs of it"

    def steps(self) -> tuple[InferenceStep, ...]:
        return (InferenceStep(self.source.name, self.given.layout.block_count), *super().steps())

    def text(self) -> str:
        store = PairStore(self.given.layout)
        rounding = write_chain_step(self.context, self.given, self.source, ChainCode(()), store)
        return f"{rounding}\n{super().text()}"

    @property
    def _packed(self) -> PairedWeights:
        shape = self.source.shape
        taps = shape.height, shape.width
        return PairedWeights(
            self.op.node, taps, shape.channels, self.given.layout, self.width, self.op.folded, self.op.shuffled
        )

    def fields(self) -> tuple[PackedArray, ...]:
        return self._packed.fields()

    def pack(self) -> PackCall:
        return self._packed.pack()

    def edge_classes(self) -> set[str]:
        return super().edge_classes() | {pairing(self.given.layout)}
