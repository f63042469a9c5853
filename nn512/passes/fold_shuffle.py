"""Shuffles become the order of weights: what reads one takes the channels from where they stand before it.

Every reader must be a convolution of one group or a fully connected layer. Its weights are packed for the channels in
the order in which they stand in memory, and nothing is moved. Steps in between have no value of their own for each
channel: those would have to be packed in that order, too. Norms that are folded into the weights may be there.

A shuffle stays where it puts the parts of a concatenation into fewer blocks: kernels that compute whole blocks of
inputs would compute more of them. 1x1 convolutions and fully connected layers in single precision skip empty lanes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nn512.graph.nodes import Shuffle
from nn512.ir import ConvOp, FullyConnectedOp, Op, PickOp, Program
from nn512.passes.rewrite import Decided, Decision, Pass, unheard
from nn512.passes.rewriting import readers
from nn512.plan.layout import natural
from nn512.plan.layouts import Layouts

_Weighted = ConvOp | FullyConnectedOp


class Unmoving(Decision):
    """What becomes of a shuffle."""

    FOLDED = "the order of the weights of the only layer that reads it"
    SHARED = "the order of the weights of several layers that read it"
    OUTPUT = "computed, as it is an output"
    OTHERS = "computed, as something without weights reads it"
    GROUPS = "computed, as a grouped convolution reads it"
    STEPS = "computed, as steps on what a convolution reads differ from channel to channel"
    AGAIN = "computed, as another shuffle is the order of the weights behind it"
    BLOCKS = "computed, as it makes fewer blocks of what it reads"


def fold_shuffle(program: Program, decided: Decided = unheard) -> Program:
    """The program without the shuffles that can be the order of weights."""
    users = readers(program.ops)
    layouts = Layouts(program.shapes, program.joined, program.views)
    for op in program.ops:
        layouts.see(op)
    ops: list[Op | None] = list(program.ops)
    for number, op in reversed(list(enumerate(program.ops))):  # of two in a row the last is nearer to the weights
        if not isinstance(op, PickOp) or not isinstance(shuffle := op.layers[0], Shuffle):
            continue
        behind = {user: reader for user in users[op.writes] if (reader := ops[user]) is not None}
        decision = _decision(op, tuple(behind.values()), program, layouts)
        decided(decision)
        if decision in {Unmoving.FOLDED, Unmoving.SHARED}:
            ops[number] = None
            for user, reader in behind.items():
                assert isinstance(reader, _Weighted)
                ops[user] = dataclasses.replace(reader, source=op.sources[0], shuffled=shuffle)
            users[op.sources[0]].extend(behind)
    return dataclasses.replace(program, ops=tuple(op for op in ops if op is not None))


def _decision(op: PickOp, behind: Sequence[Op], program: Program, layouts: Layouts) -> Unmoving:
    """What becomes of a shuffle, of which the operations behind it are the readers."""
    if op.writes in program.outputs:
        return Unmoving.OUTPUT
    refused = (_refused(reader, op.writes) for reader in behind)
    why = next((reason for reason in refused if reason is not None), None)
    if why is not None:
        return why
    source = layouts[op.sources[0]]
    if source.block_count > natural(source.channels).block_count and not all(_skips_lanes(r, program) for r in behind):
        return Unmoving.BLOCKS
    return Unmoving.FOLDED if len(behind) == 1 else Unmoving.SHARED


def _refused(reader: Op, shuffled: str) -> Unmoving | None:
    """Why a reader cannot take the channels from where they stand before the shuffle; None if it can."""
    if not isinstance(reader, _Weighted) or reader.tensors_read.count(shuffled) > 1 or reader.source != shuffled:
        return Unmoving.OTHERS
    if reader.shuffled is not None:
        return Unmoving.AGAIN
    if isinstance(reader, ConvOp) and reader.node.groups > 1:
        return Unmoving.GROUPS
    if isinstance(reader, ConvOp) and any(step.has_parameters or step.operands_in_lanes for step in reader.prologue):
        return Unmoving.STEPS
    return None


def _skips_lanes(reader: Op, program: Program) -> bool:
    """Whether inputs cost no more where they stand in more blocks: lanes without a channel are skipped.

    Pairs are made of all lanes.
    """
    single = program.graph.config.platform != "AVX512BFloat16"
    return single and (isinstance(reader, FullyConnectedOp) or (isinstance(reader, ConvOp) and reader.is_pointwise))


PASS = Pass("fold_shuffle", fold_shuffle, "a shuffle moves nothing as the order of weights", Unmoving)
