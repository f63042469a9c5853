"""Equal operations are computed once, and identities vanish.

Condition: the operation has no parameters of its own (two convolutions never share weights), reads the same tensors as
an earlier one (a sum or the like in either order), and its result is not an Output the user asked for. A ReLU of slope
1 is an identity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping

from nn512.ir import ElementwiseOp, Op, Program
from nn512.ir.decision import Decided, Decision, unheard
from nn512.passes.rewrite import Pass


class Sharing(Decision):
    """What becomes of an operation without parameters."""

    SHARED = "computed once for several nodes"
    SHARED_OUTPUT = "computed again, as the result is an output"
    IDENTITY = "an identity is gone"
    IDENTITY_OUTPUT = "an identity stays, as the result is an output"


def dedup(program: Program, decided: Decided = unheard) -> Program:
    """The program without repeated operations and identities."""
    return _rewrite(program, decided)[0]


def _rewrite(program: Program, decided: Decided = unheard) -> tuple[Program, Mapping[str, str]]:
    names: dict[str, str] = {}
    seen: dict[Hashable, str] = {}
    ops: list[Op] = []
    outputs = program.outputs
    for original in program.ops:
        op = original.reading(names)
        if isinstance(op, ElementwiseOp):
            op = op.without_self_operand()
        key = op.key
        if key is None:
            ops.append(op)
            continue
        needed = op.name in outputs
        if isinstance(op, ElementwiseOp) and all(step.is_identity for step in op.chain):
            decided(Sharing.IDENTITY_OUTPUT if needed else Sharing.IDENTITY)
            if not needed:
                names[op.name] = op.source
                continue
        elif key in seen:
            decided(Sharing.SHARED_OUTPUT if needed else Sharing.SHARED)
            if not needed:
                names[op.name] = seen[key]
                continue
        seen.setdefault(key, op.name)
        ops.append(op)
    return dataclasses.replace(program, ops=tuple(ops)), names


def _gone(program: Program) -> Mapping[str, str]:
    return {name: f"the same as {other}" for name, other in _rewrite(program)[1].items()}


PASS = Pass("dedup", dedup, "what is equal is computed once", Sharing, gone=_gone)
