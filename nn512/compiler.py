"""The compiler as a function: graph in, header, source and plan out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nn512.account import account
from nn512.cgen.comments import LayerComment, comment_of
from nn512.cgen.header import write_header
from nn512.cgen.net import write_source
from nn512.errors import UsageError
from nn512.graph import parse
from nn512.graph.graph import Graph, argument_name
from nn512.ir import ConvOp, Op, PoolOp
from nn512.kernels import emit_layer, shared_bodies
from nn512.kernels.layer import Context, Library, Place
from nn512.kernels.selection import choose_convs, resolve_forced
from nn512.options import Options
from nn512.passes.pipeline import stages
from nn512.plan.cost import Machine
from nn512.plan.layout import Layout
from nn512.plan.plan import Plan, PlannedLayer
from nn512.plan.planes import planes_readers
from nn512.plan.planner import Placement, place_tensors
from nn512.plan.serial import plan_json


@dataclass(frozen=True, slots=True)
class Emitted:
    """The result of a compilation: texts of `<prefix>.h` and `<prefix>.c`, and the plan."""

    prefix: str
    header: str
    source: str
    plan: Plan

    @property
    def plan_json(self) -> str:
        """Text of `<prefix>.plan.json`."""
        return plan_json(self.plan)

    def write(self, directory: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write the three files into a directory, which is made if it is missing. Gives their paths."""
        folder = Path(directory)
        texts = dict(zip(file_names(self.prefix), (self.header, self.source, self.plan_json), strict=True))
        partial = {folder / f"{name}.part": text for name, text in texts.items()}
        paths = tuple(folder / name for name in texts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, text in partial.items():
                path.write_text(text)
            for path, final in zip(partial, paths, strict=True):
                path.replace(final)
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
        finally:
            for path in partial:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        return paths


def file_names(prefix: str) -> tuple[str, str, str]:
    """Names of the three files that a compilation writes."""
    return f"{prefix}.h", f"{prefix}.c", f"{prefix}.plan.json"


def compile(graph: Graph | str, options: Options | None = None) -> Emitted:  # noqa: A001 - the natural name
    """Compile a graph (or its text) to C. Raises GraphError where the text is not a legal graph."""
    if isinstance(graph, str):
        graph = parse(graph)
    options = options or Options()
    programs = list(stages(graph, options.without_passes))
    _, program = programs[-1]
    placement = place_tensors(program)
    context = _context(placement, options.weights, dict(options.force))
    context = replace(context, force=resolve_forced(placement.ops, context))
    choices = choose_convs(placement.ops, context)
    first_results = [op.branches[0].writes for op in placement.ops if isinstance(op, ConvOp) and op.prologue]
    in_tiles = [name for name in first_results if not choices[name].kernel.scratch]
    in_planes = [name for name, choice in choices.items() if choice.kernel.planes]
    if in_tiles or in_planes:
        placement = place_tensors(program, in_tiles, in_planes)
    context = replace(_context(placement, options.weights, context.force), choices=choices)
    context = replace(context, bodies=shared_bodies(placement.ops, context))
    layers = [emit_layer(op, context) for op in placement.ops]
    plan = account(placement, layers, programs)
    comments = [_comment(op, planned, context) for op, planned in zip(placement.ops, plan.layers, strict=True)]
    return Emitted(
        graph.config.prefix,
        write_header(graph),
        write_source(placement, plan, layers, comments, context.library),
        plan,
    )


def _context(placement: Placement, weights: str, force: Mapping[str, str]) -> Context:
    graph = placement.program.graph
    places = {t.name: Place(t.name, t.shape, t.layout, t.offset) for t in placement.tensors.values()}
    for op in placement.ops:
        if isinstance(op, ConvOp) and op.caller is not None:
            shape = graph.shapes[op.caller.to_tensor]
            layout = Layout((shape.channels,), lanes=1)
            places[op.source] = Place(op.source, shape, layout, 0, argument_name(op.caller))
    planes = planes_readers(placement.program)
    return Context(graph, places, Library(), Machine.of(graph.config), force, weights, planes)


def _comment(op: Op, planned: PlannedLayer, context: Context) -> LayerComment:
    """The comment of a layer: with what it reads and writes, each with its shape."""
    sources, results = (
        [f"{name} {context.places[name].shape}" for name in dict.fromkeys(names)]
        for names in (op.tensors_read, op.tensors_written)
    )
    if isinstance(op, ConvOp) and op.caller is not None:
        sources.insert(0, f"caller's {op.caller.to_tensor} {context.places[op.source].shape}")
    flow = f"{' + '.join(sources) or 'caller'}  ->  {', '.join(results) or 'caller'}"
    remark = f", moved before {' and '.join(op.ahead_of)}" if isinstance(op, PoolOp) and op.ahead_of else ""
    return comment_of(planned, flow, remark, shares_body=planned.name in context.bodies)
