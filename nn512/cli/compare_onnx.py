"""Holds a graph to the ONNX model that it came from: emitted C, reference and ONNX Runtime on the same numbers."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import reference
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import GIVEN, DataSet
from fuzz.judge.checker import check_case
from fuzz.run.checks import checks_for
from fuzz.run.runners import Runner, runner_for
from fuzz.run.standalone import infer
from nn512.compiler import compile as compile_graph
from nn512.errors import CannotRunError, UsageError
from nn512.graph import Graph, Output, build
from nn512.onnx import Imported, Seen
from nn512.onnx.view import elements
from nn512.options import Options
from nn512.params import Params, tensor_of

MOST_SIGMA = 16.0
"""ONNX Runtime folds, fuses and reorders as it likes, so it is held to a looser limit than our own C."""

SLACK = 1e-6
"""Of the largest element: what it may be off besides, for functions that it approximates."""

HALF_SLACK = 2e-2
"""The same for models that compute in float16 or bfloat16, which are float32 here."""

_HALVES = {10, 16}
"""Types of ONNX of half precision."""

Arrays = Mapping[str, NDArray[np.float32]]
Peer = Callable[[Arrays, Sequence[Seen]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison showed, in one line."""

    agrees: bool
    text: str

    def __str__(self) -> str:
        return f"{'verified' if self.agrees else 'NOT verified'}: {self.text}"


def compare(
    imported: Imported,
    graph: Graph,
    params: Params,
    model: Path,
    *,
    seed: int = 0,
    inputs: Arrays | None = None,
    options: Options | None = None,
    threads: int = 1,
) -> Verdict:
    """Run all three; where they differ, the verdict names the first tensor that does.

    Our C runs with 1 to `threads` threads.
    `graph` may have been edited since it was imported as long as its inputs and outputs kept their names. Inputs that
    are not given are drawn.
    """
    _check_ends(imported, graph)
    data = _draw(graph, seed) | dict(inputs or {})
    given = DataSet(GIVEN, seed, params, data)
    case = Case(graph.source.text, (options or Options()).to_dict(), "-O2", (DataSeed(GIVEN, seed),))
    runner = runner_for()
    report = check_case(case, [given], runner, checks_for(graph, threads))
    names = ", ".join(output.from_tensor for output in graph.outputs)
    if report.problems:
        first = _first_difference(imported, graph, params, data, model, runner)
        return Verdict(agrees=False, text=f"{names}: the emitted C: {report.problems[0].detail.splitlines()[0]}{first}")
    worst = max((v.max_sigma for verdicts in report.verdicts.values() for v in verdicts), default=0.0)
    ours = f"{names}: emitted C within {worst:.2g} sigma of the reference"
    try:
        peer, version = runtime(model, imported)
    except ImportError:
        return Verdict(agrees=report.verified, text=f"{ours}; ONNX Runtime is not installed and was not asked")
    expected = reference.run(graph, params, data)
    try:
        answers = peer(_tensors(graph, data), imported.outputs)
    except Exception as error:  # noqa: BLE001 - of its own kinds
        told = str(error).splitlines()[0][:200]
        return Verdict(agrees=report.verified, text=f"{ours}; ONNX Runtime {version} cannot run the model: {told}")
    slack = HALF_SLACK if has_halves(model) else SLACK
    off = {seen.tensor: off_by(expected[seen.tensor], answers[seen.onnx], seen, slack) for seen in imported.outputs}
    far = max(off.values(), default=0.0)
    if far <= MOST_SIGMA:
        shown = "" if report.verified else "; the numbers show nothing of some output (all zeros, or not finite)"
        return Verdict(agrees=True, text=f"{ours}, ONNX Runtime {version} within {far:.2g}{shown}")
    first = _first_difference(imported, graph, params, data, model, None)
    wrong = ", ".join(name for name, sigmas in off.items() if not sigmas <= MOST_SIGMA)
    return Verdict(agrees=False, text=f"{wrong}: ONNX Runtime {version} is {far:.3g} sigma off the reference{first}")


def _check_ends(imported: Imported, graph: Graph) -> None:
    """UsageError where a graph has other inputs and outputs than the model."""
    ours = {node.to_tensor for node in graph.inputs} | {node.from_tensor for node in graph.outputs}
    theirs = {seen.tensor for seen in (*imported.inputs, *imported.outputs)}
    if ours != theirs:
        names = ", ".join(sorted(ours ^ theirs))
        raise UsageError(f"the graph is not what the model is imported as with these options: {names} differ")


def _draw(graph: Graph, seed: int) -> dict[str, NDArray[np.float32]]:
    """Standard normal values."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in graph.input_shapes.items()}


def _tensors(graph: Graph, data: Arrays) -> Arrays:
    """The inputs as channels x height x width."""
    return {node.to_tensor: tensor_of(node, data[node.to_tensor]) for node in graph.inputs}


def has_halves(model: Path) -> bool:
    """Whether a model holds or makes numbers of half precision."""
    proto = importlib.import_module("onnx").load(model, load_external_data=False)
    graph = proto.graph
    types = {tensor.data_type for tensor in graph.initializer}
    types |= {info.type.tensor_type.elem_type for info in (*graph.input, *graph.output)}
    types |= {a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"}
    return bool(types & _HALVES)


def off_by(expected: reference.Result, got: Any, seen: Seen, slack: float = SLACK) -> float:  # noqa: ANN401
    """How far an ONNX tensor is from the reference: the largest error in sigma, infinite for other shapes.

    `slack` is what it may be off besides, as a share of the largest element.
    """
    value = elements(seen.dims, expected.value)
    if got.shape != value.shape:
        return math.inf
    skipped = elements(seen.dims, expected.unspecified)
    finite = np.abs(expected.value[np.isfinite(expected.value)])
    allowed = slack * float(finite.max(initial=0.0)) / MOST_SIGMA
    sigma = np.sqrt(elements(seen.dims, expected.variance)) + allowed
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(np.float64) - value)
        same = (got == value) | (np.isnan(got) & np.isnan(value)) | skipped
        sigmas = np.where(same, 0.0, np.where(np.isfinite(error) & (sigma > 0), error / sigma, math.inf))
    return float(sigmas.max(initial=0.0))


def runtime(model: Path, imported: Imported, inner: Collection[str] = ()) -> tuple[Peer, str]:
    """ONNX Runtime on the part of the model that was imported; tensors of `inner` are outputs too.

    It is given inputs as channels x height x width.

    Raises ImportError where it is not installed.
    """
    ort = importlib.import_module("onnxruntime")
    onnx = importlib.import_module("onnx")

    def run(data: Arrays, wanted: Sequence[Seen]) -> dict[str, Any]:
        names = [seen.onnx for seen in wanted]
        part = _part(onnx, model, imported, [*names, *inner])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(part, options, providers=["CPUExecutionProvider"])
        feeds = {
            seen.onnx: elements(seen.dims, data[seen.tensor]).astype(seen.type, copy=False) for seen in imported.inputs
        }
        return dict(zip(names, session.run(names, feeds), strict=True))

    return run, str(ort.__version__)


def _part(onnx: Any, model: Path, imported: Imported, wanted: Sequence[str]) -> bytes:  # noqa: ANN401
    """The model from the imported inputs to the wanted tensors, as the bytes of a model."""
    proto = onnx.load(model)
    starts = {seen.onnx for seen in imported.inputs}
    needed, nodes = set(wanted), []
    writers = {name: node for node in proto.graph.node for name in node.output if name}
    waiting, kept = [name for name in wanted if name not in starts], set()
    while waiting:
        node = writers.get(waiting.pop())
        if node is None or id(node) in kept:
            continue
        kept.add(id(node))
        needed.update(node.input)
        waiting += [name for name in node.input if name and name not in starts]
    nodes = [node for node in proto.graph.node if id(node) in kept]
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    known = {info.name: info for info in proto.graph.input}
    initial = {tensor.name for tensor in proto.graph.initializer}
    inputs = [info for name, info in known.items() if name in needed and (name in starts or name not in initial)]
    inputs += [helper.make_tensor_value_info(name, kind, None) for name in starts if name not in known]
    outputs = [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(wanted)]  # of whatever type they are
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in needed]
    body = helper.make_graph(nodes, "part", inputs, outputs, tensors)
    made = helper.make_model(body, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    made.functions.extend(proto.functions)
    return bytes(made.SerializeToString())


def _first_difference(
    imported: Imported, graph: Graph, params: Params, data: Arrays, model: Path, runner: Runner | None
) -> str:
    """Words about the first tensor, in the order of the graph, in which any two differ; empty where there is none.

    The C is looked at if there is a `runner` for it, and where it does not run to its end, the others alone.
    """
    ends = {output.from_tensor for output in graph.outputs}
    order = [layer.to_tensor for layer in graph.layers]
    expected = reference.run(graph, params, data, keep=order)
    ours: Mapping[str, NDArray[np.float32]] = {}
    if runner is not None:
        watched = build([graph.config, *graph.inputs, *graph.layers, *map(Output, order)])
        with contextlib.suppress(CannotRunError):
            ours = infer(watched, compile_graph(watched, Options(weights="fp32")), params, data, runner)
    seen = {each.tensor: each for each in reversed((*imported.inner, *imported.outputs)) if each.tensor in expected}
    try:
        peer, _ = runtime(model, imported)
        answers = peer(_tensors(graph, data), [seen[name] for name in order if name in seen])
    except Exception:  # noqa: BLE001 - then the C alone is looked at
        answers = {}
    for name in order:
        sides = []
        if name in ours and not off_by(expected[name], ours[name], _plain(name, graph)) <= MOST_SIGMA:
            sides.append("the emitted C")
        if name in seen and seen[name].onnx in answers:
            sigmas = off_by(expected[name], answers[seen[name].onnx], seen[name])
            if not sigmas <= MOST_SIGMA:
                sides.append(f"ONNX Runtime ({sigmas:.3g} sigma)")
        if sides:
            called = f", {seen[name].onnx!r} of the model" if name in seen else ""
            output = "" if name in ends else "the first tensor that differs is "
            return f"; {output}{name}{called}: {' and '.join(sides)}"
    return ""


def _plain(name: str, graph: Graph) -> Seen:
    """Our own tensor, as it stands."""
    from nn512.onnx.view import AXES, whole

    shape = graph.shapes[name]
    return Seen(name, name, tuple(whole(axis, size) for axis, size in zip(AXES, shape, strict=True)))
