"""Convolutions of the same geometry that read the same tensor run as one, with stacked output channels.

Condition: same source, filter, stride, padding and dilation, one group each; what their epilogues read exists before
the first of them; and they do not meet in one sum (which either of them could take into its epilogue instead). ResNet's
projection and the first 1x1 of a stage are such a pair.

Filters that tile algorithms can compute stay apart: these algorithms take one convolution at a time and save half of
the multiplications or more, while merged convolutions save no more than to read a tensor twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

from nn512.algebra.cook_toom import is_known
from nn512.graph.nodes import Conv
from nn512.ir import ConvBranch, ConvOp, ElementwiseOp, Op, Program
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass
from nn512.passes.rewriting import readers, writers


class Merging(Decision):
    """What becomes of a convolution that reads what one before it reads."""

    MERGED = "merged with one before it"
    TILES = "apart: a tile algorithm could compute it alone"
    NORMS = "apart: one of both reads what is normalized"
    MEET = "apart: they meet in one sum"


def merge_convs(program: Program, decided: Decided = unheard) -> Program:
    """The program with similar convolutions merged into the first of them."""
    firsts: dict[Hashable, int] = {}
    plain: set[Hashable] = set()
    branches: dict[int, list[ConvBranch]] = {}
    together: dict[int, set[int]] = {}
    ops: list[Op | None] = list(program.ops)
    uses = readers(program.ops)
    made = writers(program.ops)
    for number, op in enumerate(program.ops):
        if not isinstance(op, ConvOp) or len(op.branches) != 1 or op.node.groups != 1:
            continue
        if _fits_tiles(op.node):
            decided(Merging.TILES)
            continue
        (branch,) = op.branches
        first = firsts.setdefault(_key(op), number)
        users = uses.get(branch.writes, ())
        without_norms = _key(dataclasses.replace(op, normalized=()))
        if first == number:
            if without_norms in plain:
                decided(Merging.NORMS)
            plain.add(without_norms)
            branches[first], together[first] = [branch], set(users)
            continue
        operands = [operand for step in branch.epilogue for operand in step.operands]
        if any(made[operand] >= first for operand in operands):  # of steps fused before: not in the usual order
            continue
        if any(user in together[first] and isinstance(ops[user], ElementwiseOp) for user in users):
            decided(Merging.MEET)
            continue
        decided(Merging.MERGED)
        branches[first].append(branch)
        together[first].update(users)
        ops[number] = None
    for first, merged in branches.items():
        target = ops[first]
        assert isinstance(target, ConvOp)
        ops[first] = dataclasses.replace(target, branches=tuple(merged))
    return dataclasses.replace(program, ops=tuple(op for op in ops if op is not None))


def _key(op: ConvOp) -> Hashable:
    """What two convolutions that can be merged agree in: everything but weights, output channels and what follows."""
    return op.source, op.normalized, op.prologue, dataclasses.replace(op.node, to_channels=1).key


def _fits_tiles(node: Conv) -> bool:
    """Whether a tile algorithm can compute results of several taps together: of neighbouring pixels, at stride 1."""
    taps = (node.filter_h, node.filter_w)
    steps = (node.stride_h, node.stride_w, node.dilation_h, node.dilation_w)
    return max(taps) > 1 and max(steps) == 1 and all(count == 1 or is_known(2, count) for count in taps)


PASS = Pass("merge_convs", merge_convs, "a tensor is read once for several convolutions", Merging)
