"""Steps in a row become one where one does the same: two ReLUs are one with the product of their slopes.

Steps that change nothing go. Which steps compose is their own knowledge (see `nn512.ir.steps`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nn512.ir import Chain, ElementwiseOp, ElementwiseStep, Op, Program
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass


class Collapsing(Decision):
    """What becomes of the steps of a chain."""

    TOGETHER = "two steps are one"
    GONE = "a step that changes nothing is gone"
    KEPT = "no step changes anything, and the last one stays to write the result"


def collapse_relus(program: Program, decided: Decided = unheard) -> Program:
    """The program with runs of ReLUs collapsed in every chain."""
    return dataclasses.replace(program, ops=tuple(_collapse(op, decided) for op in program.ops))


def _collapse(op: Op, decided: Decided) -> Op:
    shorter = op.with_chains(lambda chain, _: _shortest(chain, decided))
    if isinstance(shorter, ElementwiseOp) and not shorter.chain:  # the result must still be written
        decided(Collapsing.KEPT)
        last = op.steps[-1].as_identity()
        assert last is not None, "what is an identity can be written as one"
        return dataclasses.replace(shorter, chain=(last,))
    return shorter


def _shortest(chain: Chain, decided: Decided) -> Chain:
    result: list[ElementwiseStep] = []
    for step in chain:
        together = result[-1].then(step) if result else None
        if together is None:
            result.append(step)
        else:
            decided(Collapsing.TOGETHER)
            result[-1] = together
    left = tuple(step for step in result if not step.is_identity)
    if len(left) < len(result):
        decided(Collapsing.GONE)
    return left


def _gone(program: Program) -> Mapping[str, str]:
    why = "one ReLU together with its neighbour, or of slope 1"
    return {step.node.to_tensor: why for op in program.ops for step in op.steps}


PASS = Pass("collapse_relus", collapse_relus, "steps in a row become one", Collapsing, exact=False, gone=_gone)
