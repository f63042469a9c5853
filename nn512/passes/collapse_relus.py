"""Steps in a row become one where one does the same: two ReLUs are one with the product of their slopes.

Steps that change nothing go. Which steps compose is their own knowledge (see `nn512.ir.steps`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nn512.ir import Chain, ElementwiseOp, ElementwiseStep, Op, Program
from nn512.passes.rewrite import Pass


def collapse_relus(program: Program) -> Program:
    """The program with runs of ReLUs collapsed in every chain."""
    return dataclasses.replace(program, ops=tuple(_collapse(op) for op in program.ops))


def _collapse(op: Op) -> Op:
    shorter = op.with_chains(lambda chain, _: _shortest(chain))
    if isinstance(shorter, ElementwiseOp) and not shorter.chain:  # the result must still be written
        last = op.steps[-1].as_identity()
        assert last is not None, "what is an identity can be written as one"
        return dataclasses.replace(shorter, chain=(last,))
    return shorter


def _shortest(chain: Chain) -> Chain:
    result: list[ElementwiseStep] = []
    for step in chain:
        together = result[-1].then(step) if result else None
        if together is None:
            result.append(step)
        else:
            result[-1] = together
    return tuple(step for step in result if not step.is_identity)


def _gone(program: Program) -> Mapping[str, str]:
    why = "one ReLU together with its neighbour, or of slope 1"
    return {step.node.to_tensor: why for op in program.ops for step in op.steps}


PASS = Pass("collapse_relus", collapse_relus, "steps in a row become one", exact=False, gone=_gone)
