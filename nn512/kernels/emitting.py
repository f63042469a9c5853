"""The layers of a net as C: each is written by its kernel; those with the same body but for names share it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from nn512.cgen.code import LayerCode, Library
from nn512.ir import ConvOp, ElementwiseOp, Op
from nn512.ir.decision import Decision
from nn512.kernels.chain import calls_of
from nn512.kernels.interface import Choice, Context, Setting
from nn512.kernels.sharing import Candidates, Sharing


def emit_layers(
    ops: Iterable[Op], setting: Setting, choices: Mapping[str, Choice]
) -> tuple[tuple[LayerCode, ...], Library, Mapping[str, Sharing]]:
    """The code of all operations, the routines that they share, and the step functions that share their bodies."""
    ops = tuple(ops)
    bodies = _shared_bodies(ops, setting, choices)
    context = Context(setting, Library(), bodies)
    layers = []
    for op in ops:
        for routine in calls_of(op.steps):
            context.library.use(routine)
        made = set[Decision]()
        kernel = choices[op.name].kernel
        code = kernel.emit(op, dataclasses.replace(context, decided=made.add))
        layers.append(dataclasses.replace(code, decisions=kernel.stated(made)))
    return tuple(layers), context.library, bodies


def _shared_bodies(ops: Iterable[Op], setting: Setting, choices: Mapping[str, Choice]) -> Mapping[str, Sharing]:
    """The step functions that have the same body as others, by their names, and what those that share it differ in."""
    candidates = Candidates()
    context = Context(setting, Library(), {}, candidates)
    for op in ops:
        if isinstance(op, ConvOp | ElementwiseOp):
            choices[op.name].kernel.emit(op, context)
    return candidates.shared()
