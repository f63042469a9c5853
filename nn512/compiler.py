"""The compiler as a function: graph in, header, source and plan out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nn512.account import account
from nn512.cgen.comments import LayerComment, comment_of
from nn512.cgen.header import write_header
from nn512.cgen.net import write_source
from nn512.errors import cannot_write
from nn512.graph import parse
from nn512.graph.graph import Graph
from nn512.ir import ConvOp, Op, PoolOp, Program
from nn512.ir.decision import Decided, Decision, unheard
from nn512.kernels.emitting import emit_layers
from nn512.kernels.interface import Choice, Place, Setting
from nn512.kernels.selection import choose, resolve_forced
from nn512.kernels.storing import stored_as_pairs
from nn512.options import Options
from nn512.passes.pipeline import stages
from nn512.plan.laying import lay_out
from nn512.plan.placing import Placement, place_tensors
from nn512.plan.plan import Plan, PlannedLayer
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

    def write(self, directory: str | os.PathLike[str], **beside: str) -> tuple[Path, ...]:
        """Write the three files into a directory, which is made if it is missing. Gives their paths.

        `beside` are texts of further files by their names.
        """
        folder = Path(directory)
        texts = dict(zip(file_names(self.prefix), (self.header, self.source, self.plan_json), strict=True)) | beside
        partial = {folder / f"{name}.part": text for name, text in texts.items()}
        paths = tuple(folder / name for name in texts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, text in partial.items():
                path.write_text(text)
            for path, final in zip(partial, paths, strict=True):
                path.replace(final)
        except OSError as error:
            raise cannot_write(f"to {folder}", error) from error
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
    if options.platform:
        graph = graph.on(options.platform)
    decisions = set[Decision]()
    programs = list(stages(graph, options.without_passes, decisions.add))
    _, program = programs[-1]
    decided = decide(program, options, decisions.add)
    places = decided.setting.places
    layers, library, bodies = emit_layers(decided.placement.ops, decided.setting, decided.choices)
    plan = account(decided.placement, decided.choices, layers, programs, decisions, options.threads)
    comments = [
        _comment(op, planned, places, shares_body=op.name in bodies)
        for op, planned in zip(decided.placement.ops, plan.layers, strict=True)
    ]
    source = write_source(decided.placement, plan, layers, comments, library)
    return Emitted(graph.config.prefix, write_header(graph), source, plan)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What is decided about a program before any code is written: kernels, working memory, places of all tensors."""

    setting: Setting
    choices: Mapping[str, Choice]
    placement: Placement


def decide(program: Program, options: Options, heard: Decided = unheard) -> Decisions:
    """Lay out a program, choose a kernel for every operation, and give every tensor its place.

    Which convolutions read a tensor of the caller as it is depends on their kernels, and the layout on that: so these
    are chosen first, on a draft. So is what may be stored as pairs of bfloat16: what that spares counts in prices.
    `heard` hears what is decided about layouts.
    """
    draft = lay_out(program)
    setting = Setting.of(draft, options.weights, options.threads)
    forced = resolve_forced(draft.ops, setting, options.force)
    choices = choose(draft.ops, setting, forced)
    if storable := stored_as_pairs(draft, choices, setting):  # then kernels that read pairs cost less
        setting = Setting.of(dataclasses.replace(draft, paired=storable), options.weights, options.threads)
        choices = choose(draft.ops, setting, forced)
    convolutions = _of_convolutions(draft.ops, choices)
    in_planes = {name: choice.kernel for name, choice in convolutions.items() if choice.kernel.planes}
    laid = lay_out(program, in_planes, [name for name, kernel in in_planes.items() if kernel.pads], heard)
    setting = Setting.of(laid, options.weights, options.threads)
    choices = choose(laid.ops, setting, forced, convolutions)
    laid = dataclasses.replace(laid, paired=stored_as_pairs(laid, choices, decided=heard))
    setting = Setting.of(laid, options.weights, options.threads)
    workspaces = {op.name: choices[op.name].kernel.workspace(op, setting) for op in laid.ops}
    complete = laid.with_workspaces(workspaces)
    return Decisions(
        Setting.of(complete, options.weights, options.threads), choices, place_tensors(complete, workspaces)
    )


def _of_convolutions(ops: Iterable[Op], choices: Mapping[str, Choice]) -> Mapping[str, Choice]:
    """The choices on which the layout of the net depends: a convolution may read the caller's tensor as it is."""
    return {op.name: choices[op.name] for op in ops if isinstance(op, ConvOp)}


def _comment(op: Op, planned: PlannedLayer, places: Mapping[str, Place], *, shares_body: bool) -> LayerComment:
    """The comment of a layer: with what it reads and writes, each with its shape."""
    sources, results = (
        [f"{name} {places[name].shape}" for name in dict.fromkeys(names)]
        for names in (op.tensors_read, op.tensors_written)
    )
    if isinstance(op, ConvOp) and op.caller is not None:
        sources.insert(0, f"caller's {op.caller.to_tensor} {places[op.source].shape}")
    flow = f"{' + '.join(sources) or 'caller'}  ->  {', '.join(results) or 'caller'}"
    remark = f", moved before {' and '.join(op.ahead_of)}" if isinstance(op, PoolOp) and op.ahead_of else ""
    return comment_of(planned, flow, remark, shares_body=shares_body)
