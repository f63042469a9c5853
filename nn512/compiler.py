"""The compiler as a function: graph in, header, source and plan out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nn512.cgen.header import write_header
from nn512.cgen.net import Layer, write_source
from nn512.cgen.writer import WIDTH, sentence
from nn512.errors import UsageError
from nn512.graph import parse
from nn512.graph.describe import describe
from nn512.graph.graph import Graph, argument_name, multiply_accumulates
from nn512.graph.nodes import Input, Output
from nn512.kernels import emit_layer, shared_bodies
from nn512.kernels.layer import Context, LayerCode, Library, Place
from nn512.kernels.selection import choose_convs, resolve_forced
from nn512.options import Options
from nn512.passes.pipeline import stages
from nn512.passes.pixels import Pixels
from nn512.passes.program import SAMPLING, ConvOp, LoadOp, Op, PoolOp, nodes_of, tensors_read, tensors_written
from nn512.plan.cost import Machine, Work, microseconds
from nn512.plan.layout import Layout
from nn512.plan.planes import planes_readers
from nn512.plan.planner import Plan, make_plan
from nn512.plan_data import graph_lines, plan_data

# A step handed to the team costs about a microsecond; work below this many is done by the caller alone.
SMALLEST_SPLIT_MICROSECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Emitted:
    """The result of a compilation: texts of `<prefix>.h` and `<prefix>.c`, and the plan as plain data."""

    prefix: str
    header: str
    source: str
    plan: dict[str, Any]

    @property
    def plan_json(self) -> str:
        """Text of `<prefix>.plan.json`."""
        return json.dumps(self.plan, indent=1) + "\n"

    def write(self, directory: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write the three files into a directory, which is made if it is missing. Gives their paths."""
        folder = Path(directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths = []
            for suffix, text in ((".h", self.header), (".c", self.source), (".plan.json", self.plan_json)):
                path = folder / f"{self.prefix}{suffix}"
                partial = path.with_name(path.name + ".part")
                partial.write_text(text)
                partial.replace(path)
                paths.append(path)
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
        return tuple(paths)


def compile(graph: Graph | str, options: Options | None = None) -> Emitted:  # noqa: A001 - the natural name
    """Compile a graph (or its text) to C. Raises GraphError where the text is not a legal graph."""
    if isinstance(graph, str):
        graph = parse(graph)
    options = options or Options()
    programs = list(stages(graph, options.without_passes))
    _, program = programs[-1]
    plan = make_plan(program)
    context = _context(plan, options.weights, dict(options.force))
    context = replace(context, force=resolve_forced(plan.ops, context))
    choices = choose_convs(plan.ops, context)
    first_results = [op.branches[0].writes for op in plan.ops if isinstance(op, ConvOp) and op.prologue]
    in_tiles = [name for name in first_results if not choices[name].kernel.scratch]
    in_planes = [name for name, choice in choices.items() if choice.kernel.planes]
    if in_tiles or in_planes:
        plan = make_plan(program, in_tiles, in_planes)
    context = replace(_context(plan, options.weights, context.force), choices=choices)
    context = replace(context, bodies=shared_bodies(plan.ops, context))
    library = context.library
    pixels = Pixels(program)
    layers = [_layer(op, emit_layer(op, context), context, plan, pixels.of(op)) for op in plan.ops]
    return Emitted(
        graph.config.prefix,
        write_header(graph),
        write_source(plan, layers, library),
        plan_data(plan, layers, programs),
    )


def _context(plan: Plan, weights: str, force: Mapping[str, str]) -> Context:
    graph = plan.program.graph
    places = {t.name: Place(t.name, t.shape, t.layout, t.offset) for t in plan.tensors.values()}
    for op in plan.ops:
        if isinstance(op, ConvOp) and op.caller is not None:
            shape = graph.shapes[op.caller.to_tensor]
            layout = Layout((shape.channels,), lanes=1)
            places[op.source] = Place(op.source, shape, layout, 0, argument_name(op.caller))
    planes = planes_readers(plan.program)
    return Context(graph, places, Library(), Machine.of(graph.config), force, weights, planes)


def _layer(op: Op, code: LayerCode, context: Context, plan: Plan, pixels: str) -> Layer:
    graph, shapes = plan.program.graph, plan.program.shapes
    nodes = nodes_of(op)
    macs = sum(multiply_accumulates(n, shapes) for n in nodes if not isinstance(n, Input | Output))
    moved = sum(plan.tensors[name].vectors * 64 for name in _tensors_moved(op))
    predicted = dict(code.prices).get(code.kernel)
    if predicted is None:
        work = Work(macs, 1.0, code.weight_bytes + _bytes_loaded(op, graph), moved)
        predicted = microseconds(work, Machine.of(graph.config))
    sources = [f"{n} {plan.tensors[n].shape}" for n in dict.fromkeys(tensors_read(op))]
    if isinstance(op, ConvOp) and op.caller is not None:
        sources.insert(0, f"caller's {op.caller.to_tensor} {graph.shapes[op.caller.to_tensor]}")
    read = " + ".join(sources)
    written = ", ".join(f"{n} {plan.tensors[n].shape}" for n in tensors_written(op))
    lines = graph_lines(op, graph)
    figures = [f"{macs / 1e6:.2f} MMAC"] if macs else []
    figures += [f"{code.weight_bytes:,} bytes of weights ({code.weights})"] if code.weight_bytes else []
    flow = f"{read or 'caller'}  ->  {written or 'caller'}"
    if code.name in context.bodies:  # which has a comment that says more
        how = _prices(code, named=True) or f"{sentence(code.kernel)}."
    else:
        how = f"{sentence(code.algorithm)}. {_prices(code)}".rstrip()
    beside = f"{flow}     {', '.join(figures)}"
    if not figures:
        below = [flow, how]
    elif len(f"{beside}. {how}") <= WIDTH - len(" *  */"):
        below = [f"{beside}. {how}"]
    elif len(beside) <= WIDTH - len(" *  */"):
        below = [beside, how]
    else:
        below = [flow, f"{', '.join(figures)}. {how}"]
    ahead = f", moved before {' and '.join(op.ahead_of)}" if isinstance(op, PoolOp) and op.ahead_of else ""
    comment = [f"{', '.join(describe(node) for node in nodes)}{ahead}", *below]
    if pixels:
        comment.append(f"{sentence(pixels)}.")
    where = f"   (graph line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))})" if lines else ""
    split = max(part.items for part in code.steps) > 1 and predicted > SMALLEST_SPLIT_MICROSECONDS
    return Layer(code, f"{code.name}{where}", tuple(comment), macs / 1e6, split, predicted, pixels)


def _tensors_moved(op: Op) -> tuple[str, ...]:
    """Tensors that are read or written whole; what takes samples of one reads no more of it than it writes."""
    if isinstance(op, PoolOp) and op.node.kind == SAMPLING:
        return (*tensors_read(op)[1:], op.writes, op.writes)
    return (*tensors_read(op), *tensors_written(op))


def _bytes_loaded(op: Op, graph: Graph) -> int:
    """What is read of a caller's tensor: from memory, as it was not there before."""
    if not isinstance(op, LoadOp):
        return 0
    shape = graph.shapes[op.node.to_tensor]
    return 4 * shape.channels * shape.pixels


def _prices(code: LayerCode, *, named: bool = False) -> str:
    """Why this kernel (which the sentence before names, or this): what it and others that could do the same take."""
    prices = dict(code.prices)
    if code.kernel not in prices or len(prices) < 2:
        return ""
    chosen = f"{f'{code.kernel} ' if named else ''}{_amount(prices[code.kernel])} us"
    others = (f"{name} {_amount(price)}" for name, price in code.prices if name != code.kernel)
    return f"{'Forced' if code.forced else 'Predicted'}: {', '.join((chosen, *others))}."


def _amount(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
