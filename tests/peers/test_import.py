"""ONNX files become graphs: what is exported comes back, what a node means is what ONNX Runtime says, broken files are
told and never a traceback."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reference
from fuzz import draw
from fuzz.draw import regimes
from nn512.cli import main
from nn512.cli.compare_onnx import MOST_SIGMA, off_by
from nn512.errors import Nn512Error, UsageError
from nn512.graph import Graph, parse
from nn512.onnx import Imported, UnsupportedError, export_onnx, from_onnx
from nn512.onnx.load import load_model
from nn512.onnx.view import elements

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs

GRAPHS = 200
"""Random graphs that go out and come back."""

MODELS = 600
"""Random models of one or two nodes."""

MUTANTS = 500
"""Models with something broken in them."""

OPSETS = (7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22)


def need(*modules: str, cases: int) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed: {cases} models not imported")


def normal(graph: Graph) -> list[object]:
    """A graph without names: every node with the numbers of those that it reads."""
    numbers: dict[str, int] = {}
    nodes: list[object] = []
    for node in (*graph.inputs, *graph.layers, *graph.outputs):
        nodes.append((node.key, tuple(numbers[name] for name in node.reads)))
        if node.writes is not None:
            numbers[node.writes] = len(nodes)
    return nodes


def test_what_goes_out_comes_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    need("onnx", cases=GRAPHS)
    path = tmp_path_factory.mktemp("import") / "net.onnx"
    imported = 0

    @settings(max_examples=GRAPHS, suppress_health_check=list(HealthCheck))
    @given(draw.graphs(max_layers=8), st.integers(0, 999))
    def there_and_back(graph: Graph, seed: int) -> None:
        nonlocal imported
        data = regimes.draw(graph, "gaussian", seed)
        export_onnx(path, graph, data.params)
        net = from_onnx(path)
        assert normal(net.graph) == normal(graph)
        ours, theirs = ([p.name for layer in g.layers for p in layer.parameters(g.shapes)] for g in (net.graph, graph))
        for mine, yours in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(net.params[mine], data.params[yours])
        imported += 1

    there_and_back()
    assert imported >= GRAPHS


# --- single nodes -----------------------------------------------------------------------------------------------------


@st.composite
def windows(draw_: st.DrawFn, rank: int, *, pool: bool) -> dict[str, Any]:
    """Attributes of a window over so many axes."""
    sizes = st.tuples(*[st.integers(1, 3)] * rank)
    attributes: dict[str, Any] = {"kernel_shape": draw_(sizes)}
    if draw_(st.booleans()):
        attributes["strides"] = draw_(sizes)
    mode = draw_(st.sampled_from(("NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")))
    if mode != "NOTSET":
        attributes["auto_pad"] = mode
    elif draw_(st.booleans()):
        attributes["pads"] = draw_(st.tuples(*[st.integers(0, 2)] * (2 * rank)))
    if not pool and draw_(st.booleans()):
        attributes["dilations"] = draw_(st.tuples(*[st.integers(1, 2)] * rank))
    return attributes


@st.composite
def models(draw_: st.DrawFn) -> tuple[int, list[tuple[Any, ...]], tuple[int, ...], dict[str, Any]]:
    """An operator set, nodes from x to y, the shape of x, and constants."""
    opset = draw_(st.sampled_from(OPSETS))
    channels, height, width = (draw_(st.sampled_from((1, 2, 3, 4, 6))) for _ in range(3))
    rank = draw_(st.sampled_from((1, 2, 2)))
    shape = (1, channels, height, width) if rank == 2 else (1, channels, width * 2)
    rng = np.random.default_rng(draw_(st.integers(0, 99)))

    def numbers(*size: int) -> Any:
        return rng.normal(size=size).astype(np.float32)

    kind = draw_(st.sampled_from(("conv", "pool", "gemm", "shares", "affine", "reduce", "views", "pad")))
    match kind:
        case "conv":
            attributes = draw_(windows(rank, pool=False))
            groups = draw_(st.sampled_from([g for g in (1, 2, 3, channels) if channels % g == 0]))
            weights = numbers(2 * groups, channels // groups, *attributes["kernel_shape"])
            node = ("Conv", "x,w" + draw_(st.sampled_from(("", ",b"))), "y", attributes | {"group": groups})
            return opset, [node], shape, {"w": weights, "b": numbers(2 * groups)}
        case "pool":
            attributes = draw_(windows(rank, pool=True))
            average = draw_(st.booleans())
            if opset >= 10 and draw_(st.booleans()):
                attributes["ceil_mode"] = 1
            if average and draw_(st.booleans()):
                attributes["count_include_pad"] = 1
            return opset, [("AveragePool" if average else "MaxPool", "x", "y", attributes)], shape, {}
        case "pad":
            # ONNX before 11 had the pads as an attribute.
            pads = (0, 0, *draw_(st.tuples(*[st.integers(0, 2)] * rank))) * 2
            attributes = {"pads": pads} if opset < 11 else {}
            window = draw_(windows(rank, pool=True))
            behind = draw_(st.sampled_from(("MaxPool", "AveragePool", "Conv")))
            if behind == "AveragePool" and draw_(st.booleans()):
                window["count_include_pad"] = 1
            first = [("Relu", "x", "r")] if draw_(st.booleans()) else [("Identity", "x", "r")]
            reads = "p,w" if behind == "Conv" else "p"
            constants = {"pads": np.array(pads), "w": numbers(2, channels, *window["kernel_shape"])}
            pad = ("Pad", "r" if opset < 11 else "r,pads", "p", attributes)
            return opset, [*first, pad, (behind, reads, "y", window)], shape, constants
        case "gemm":
            elements_ = int(np.prod(shape))
            transposed = draw_(st.booleans())
            weights = numbers(3, elements_) if transposed else numbers(elements_, 3)
            attributes = {"transB": int(transposed), "alpha": draw_(st.sampled_from((1.0, 0.5))), "beta": 2.0}
            turn = ("Transpose", "x", "t", {"perm": draw_(st.permutations(range(rank + 2)))})
            turn = ("Transpose", "x", "t", {"perm": (0, *[axis for axis in turn[3]["perm"] if axis])})
            nodes = [turn, ("Flatten", "t", "f", {"axis": 1}), ("Gemm", "f,w,b", "y", attributes)]
            return opset, nodes, shape, {"w": weights, "b": numbers(3)}
        case "shares":
            axis = draw_(st.sampled_from((1, -1, -rank - 1, 2)))
            return opset, [("Softmax", "x", "y", {"axis": axis})], shape, {}
        case "affine":
            one = draw_(st.sampled_from(((1,), (channels, *[1] * rank), (1, channels, *[1] * rank), (shape[-1],))))
            first, second = draw_(st.tuples(*[st.sampled_from(("Mul", "Add", "Sub", "Div"))] * 2))
            reads = draw_(st.sampled_from(("x,a", "a,x")))
            return opset, [(first, reads, "m"), (second, "m,b", "y")], shape, {"a": numbers(*one), "b": numbers(*one)}
        case "reduce":
            axes = draw_(st.sets(st.integers(1, rank + 1), min_size=1))
            operator = draw_(st.sampled_from(("ReduceMean", "ReduceMax")))
            given_ = {"axes": tuple(sorted(axes)), "keepdims": draw_(st.integers(0, 1))}
            return min(opset, 17), [(operator, "x", "y", given_)], shape, {}
        case _:
            perm = (0, *draw_(st.permutations(range(1, rank + 2))))
            nodes = [("Transpose", "x", "t", {"perm": perm}), ("Relu", "t", "y")]
            return opset, nodes, shape, {}


def write_model(
    path: Path, opset: int, nodes: Sequence[tuple[Any, ...]], shape: Sequence[int], constants: Mapping[str, Any]
) -> None:
    """A model from x to y."""
    onnx = importlib.import_module("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    made = [
        helper.make_node(node[0], node[1].split(","), node[2].split(","), **(node[3] if len(node) > 3 else {}))
        for node in nodes
    ]
    read = {name for node in made for name in node.input}
    body = helper.make_graph(
        made,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items() if name in read],
    )
    imports = [helper.make_opsetid("", opset)]
    path.write_bytes(helper.make_model(body, opset_imports=imports, ir_version=8).SerializeToString())


def by_onnxruntime(path: Path, net: Imported, data: Mapping[str, Any]) -> Any:
    """The output y of ONNX Runtime; None where it does not take the model."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (seen,) = net.inputs
        return session.run(["y"], {"x": elements(seen.dims, data[seen.tensor])})[0]
    except Exception:  # noqa: BLE001 - of its own kinds
        return None


def test_nodes_mean_what_onnxruntime_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    need("onnx", "onnxruntime", cases=MODELS)
    path = tmp_path_factory.mktemp("import") / "net.onnx"
    compared, refused = 0, 0

    @settings(max_examples=MODELS, suppress_health_check=list(HealthCheck))
    @given(models())
    def compare(model: tuple[int, list[tuple[Any, ...]], tuple[int, ...], dict[str, Any]]) -> None:
        nonlocal compared, refused
        write_model(path, *model)
        try:
            net = from_onnx(path)
        except UnsupportedError:
            refused += 1
            return
        data = regimes.draw(net.graph, "gaussian", 0).inputs
        got = by_onnxruntime(path, net, data)
        if got is None:
            return
        expected = reference.run(net.graph, net.params, data)
        (seen,) = net.outputs
        assert got.shape == elements(seen.dims, expected[seen.tensor].value).shape
        assert off_by(expected[seen.tensor], got, seen) <= MOST_SIGMA
        compared += 1

    compare()
    assert compared > MODELS / 4
    assert refused > MODELS / 20
