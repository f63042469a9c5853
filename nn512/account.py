"""The account of a compilation: the plan, put together from what passes, kernels and the placing of tensors decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from nn512.cgen.code import LayerCode
from nn512.graph.describe import describe
from nn512.graph.graph import Graph, argument_tensor, multiply_accumulates
from nn512.graph.nodes import Input, Output
from nn512.ir import Op, Program
from nn512.ir.decision import Decision
from nn512.kernels.interface import Choice
from nn512.kernels.storing import Storing
from nn512.passes.effects import effects
from nn512.passes.pipeline import PASSES
from nn512.passes.pixels import Pixels
from nn512.passes.roles import Role, occurrences, roles_of, vanished
from nn512.plan.cost import SMALLEST_SPLIT_MICROSECONDS
from nn512.plan.laying import Laying
from nn512.plan.placing import Placement
from nn512.plan.plan import PassEffect, Plan, PlannedLayer, PlannedNode, PlannedStep, PlannedTensor


def account(
    placement: Placement,
    choices: Mapping[str, Choice],
    layers: Sequence[LayerCode],
    programs: Sequence[tuple[str, Program]],
    decisions: Collection[Decision],
    threads: int,
) -> Plan:
    """The plan of a net, made for so many threads.

    `choices` and `layers` are those of its operations, `programs` those of `stages`, `decisions` all that
    were made by passes and about layouts.
    """
    program = placement.program
    graph = program.graph
    counts = occurrences(program)
    pixels = Pixels(program)
    return Plan(
        prefix=graph.config.prefix,
        threads=threads,
        layers=tuple(
            _layer(op, code, choices[op.name], program, counts, pixels.of(op))
            for op, code in zip(placement.ops, layers, strict=True)
        ),
        tensors=tuple(
            PlannedTensor(
                name=tensor.name,
                shape=tuple(tensor.shape),
                segments=tensor.layout.segments,
                lanes=tensor.layout.lanes,
                offset_bytes=tensor.offset * 64,
                bytes=tensor.vectors * 64,
                first_layer=tensor.first_step + 1,
                last_layer=tensor.last_step + 1,
                pairs=tensor.pairs,
            )
            for tensor in placement.tensors.values()
        ),
        arena_bytes=placement.arena.size * 64,
        arena_lower_bound_bytes=placement.arena.lower_bound * 64,
        thread_bytes=placement.thread_vectors * 64,
        passes=tuple(
            PassEffect(e.name, e.before, e.after, e.text, _made(PASSES[e.name].decisions, decisions))
            for e in effects(programs)
        ),
        layouts=_made((*Laying, *Storing), decisions),
        dropped_nodes=tuple(_node(role, graph) for role in vanished(programs)),
    )


def _made(possible: Iterable[Decision], decisions: Collection[Decision]) -> tuple[str, ...]:
    """Those of the possible decisions that were made, in their order."""
    return tuple(str(decision) for decision in possible if decision in decisions)


def _layer(
    op: Op, code: LayerCode, choice: Choice, program: Program, counts: Mapping[str, int], pixels: str
) -> PlannedLayer:
    graph = program.graph
    layers = (node for node in op.nodes if not isinstance(node, Input | Output))
    macs = sum(multiply_accumulates(node, program.shapes) for node in layers)
    kernel, predicted = choice.kernel, dict(choice.prices)[choice.kernel.name]
    lines = (graph.line_of(node) for node in op.nodes)
    return PlannedLayer(
        name=code.name,
        kernel=kernel.name,
        algorithm=code.algorithm,
        reads=op.tensors_read,
        writes=op.tensors_written,
        covers=tuple(argument_tensor(n) if isinstance(n, Input | Output) else n.to_tensor for n in op.nodes),
        lines=tuple(sorted({line for line in lines if line is not None})),
        nodes=tuple(_node(role, graph) for role in roles_of(op, counts)),
        reason=op.reason,
        pixels=pixels,
        mmac=round(macs / 1e6, 6),
        weight_bytes=code.weight_bytes,
        predicted_microseconds=round(predicted, 6),
        prices={name: round(price, 6) for name, price in choice.prices},
        added_errors={name: float(f"{error:.6g}") for name, error in choice.errors},
        verdicts=_verdicts(choice),
        decisions=tuple(map(str, code.decisions)),
        forced=choice.forced,
        weights=kernel.weights,
        steps=tuple(PlannedStep(step.name, step.items) for step in code.steps),
        shared_by_threads=max(step.items for step in code.steps) > 1 and choice.alone > SMALLEST_SPLIT_MICROSECONDS,
        arithmetic=kernel.arithmetic,
        tiles=code.tiles,
        edge_classes=code.edge_classes,
    )


def _verdicts(choice: Choice) -> Mapping[str, tuple[str, ...]]:
    """The kernels by what became of them."""
    found: dict[str, tuple[str, ...]] = {}
    for name, verdict in choice.verdicts.items():
        found[str(verdict)] = (*found.get(str(verdict), ()), name)
    return found


def _node(role: Role, graph: Graph) -> PlannedNode:
    return PlannedNode(describe(role.node), graph.line_of(role.node), role.why)
