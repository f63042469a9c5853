"""ONNX files become graphs: what is exported comes back, and what a node means is what ONNX Runtime says."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
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
from nn512.graph import Graph, RMSNorm
from nn512.onnx import Imported, UnsupportedError, export_onnx, from_onnx
from nn512.onnx.kinds import EXPORTS
from nn512.onnx.view import elements
from nn512.params import tensor_of

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs

GRAPHS = 200
"""Random graphs that go out and come back."""

MODELS = 600
"""Random models of one or two nodes."""

OPSETS = (7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22)


def need(*modules: str, cases: int) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed: {cases} models not imported")


ONE_WAY = (RMSNorm,)
"""Kinds that operator set 17 has in parts alone, which are not put together again."""


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
    """Most as the same nodes with the same numbers in the same order, all as the same function in no more layers.

    Layers that change nothing are gone then, movements of channels are one or in the order of weights, and functions
    that were spelled in parts are recognized.
    """
    need("onnx", cases=GRAPHS)
    path = tmp_path_factory.mktemp("import") / "net.onnx"
    same = 0
    kinds: set[type] = set()

    @settings(max_examples=GRAPHS, suppress_health_check=list(HealthCheck))
    @given(draw.graphs(max_layers=8), st.integers(0, 999))
    def there_and_back(graph: Graph, seed: int) -> None:
        nonlocal same
        data = regimes.draw(graph, "gaussian", seed)
        export_onnx(path, graph, data.params)
        kinds.update(map(type, graph.layers))
        try:
            net = from_onnx(path)
        except UnsupportedError:
            assert any(isinstance(layer, ONE_WAY) for layer in graph.layers)
            return
        if normal(net.graph) == normal(graph):
            ours, theirs = (
                [p.name for layer in g.layers for p in layer.parameters(g.shapes)] for g in (net.graph, graph)
            )
            for mine, yours in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(net.params[mine], data.params[yours])
            same += 1
        assert len(net.graph.layers) <= len(graph.layers)
        check_values(net, graph, data)

    there_and_back()
    assert same > GRAPHS / 2
    assert len(kinds) > 0.8 * len(EXPORTS)


def check_values(net: Imported, graph: Graph, data: regimes.DataSet) -> None:
    """Whether a graph that came back computes what it did, in float64, in which sums may stand in another order."""
    inputs = {}
    for seen in net.inputs:  # whose channels may be in another order, too
        shape = net.graph.shapes[seen.tensor]
        places = elements(seen.dims, np.arange(shape.elements).reshape(shape))
        planes = data.inputs[seen.onnx].reshape(-1)[np.argsort(places.reshape(-1))].reshape(shape)
        is_planes = net.graph.input_shapes[seen.tensor] == shape and not seen.is_interleaved
        inputs[seen.tensor] = planes if is_planes else np.ascontiguousarray(planes.transpose(1, 2, 0))
    unused = [name for name in data.inputs if name not in {seen.onnx for seen in net.inputs}]
    assert tuple(sorted(unused)) == net.unused
    found, expected = reference.run(net.graph, net.params, inputs), reference.run(graph, data.params, data.inputs)
    for seen in net.outputs:
        value = expected[seen.onnx].value
        most = np.abs(value[np.isfinite(value)]).max(initial=0.0)
        np.testing.assert_allclose(elements(seen.dims, found[seen.tensor].value), value[None], 1e-9, 1e-12 * most)


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


Nodes = list[tuple[Any, ...]]
Family = Callable[[st.DrawFn, int, tuple[int, ...], Callable[..., Any]], tuple[Nodes, dict[str, Any]]]
"""Draws nodes from x to y and their constants, for an operator set and the shape of x."""


def convolutions(draw_: st.DrawFn, _: int, shape: tuple[int, ...], numbers: Callable[..., Any]) -> Any:
    attributes, channels = draw_(windows(len(shape) - 2, pool=False)), shape[1]
    groups = draw_(st.sampled_from([g for g in (1, 2, 3, channels) if channels % g == 0]))
    weights = numbers(2 * groups, channels // groups, *attributes["kernel_shape"])
    reads = "x,w" + draw_(st.sampled_from(("", ",b")))
    return [("Conv", reads, "y", attributes | {"group": groups})], {"w": weights, "b": numbers(2 * groups)}


def poolings(draw_: st.DrawFn, opset: int, shape: tuple[int, ...], _: Callable[..., Any]) -> Any:
    attributes = draw_(windows(len(shape) - 2, pool=True))
    operator = draw_(st.sampled_from(("AveragePool", "MaxPool")))
    if opset >= 10 and draw_(st.booleans()):
        attributes["ceil_mode"] = 1
    if operator == "AveragePool" and draw_(st.booleans()):
        attributes["count_include_pad"] = 1
    return [(operator, "x", "y", attributes)], {}


def paddings(draw_: st.DrawFn, opset: int, shape: tuple[int, ...], numbers: Callable[..., Any]) -> Any:
    """Before operator set 11 the pads were an attribute."""
    rank = len(shape) - 2
    before, after = (draw_(st.tuples(*[st.integers(0, 2)] * rank)) for _ in range(2))
    pads = (0, 0, *before, 0, 0, *draw_(st.sampled_from((before, after))))
    window, behind = draw_(windows(rank, pool=True)), draw_(st.sampled_from(("MaxPool", "AveragePool", "Conv")))
    if behind == "AveragePool" and draw_(st.booleans()):
        window["count_include_pad"] = 1
    pad = ("Pad", "r", "p", {"pads": pads}) if opset < 11 else ("Pad", "r,pads", "p")
    nodes = [
        (draw_(st.sampled_from(("Relu", "Identity"))), "x", "r"),
        pad,
        (behind, "p,w" if behind == "Conv" else "p", "y", window),
    ]
    return nodes, {"pads": np.array(pads), "w": numbers(2, shape[1], *window["kernel_shape"])}


def products(draw_: st.DrawFn, _: int, shape: tuple[int, ...], numbers: Callable[..., Any]) -> Any:
    inputs, transposed = int(np.prod(shape)), draw_(st.booleans())
    attributes = {"transB": int(transposed), "alpha": draw_(st.sampled_from((1.0, 0.5))), "beta": 2.0}
    order = (0, *draw_(st.permutations(range(1, len(shape)))))
    nodes = [
        ("Transpose", "x", "t", {"perm": order}),
        ("Flatten", "t", "f", {"axis": 1}),
        ("Gemm", "f,w,b", "y", attributes),
    ]
    return nodes, {"w": numbers(3, inputs) if transposed else numbers(inputs, 3), "b": numbers(3)}


def shares(draw_: st.DrawFn, _: int, shape: tuple[int, ...], __: Callable[..., Any]) -> Any:
    return [("Softmax", "x", "y", {"axis": draw_(st.sampled_from((1, -1, 1 - len(shape), 2)))})], {}


def scalings(draw_: st.DrawFn, _: int, shape: tuple[int, ...], numbers: Callable[..., Any]) -> Any:
    ones = (1,) * (len(shape) - 2)
    size = draw_(st.sampled_from(((1,), (shape[1], *ones), (1, shape[1], *ones), (shape[-1],))))
    first, second = draw_(st.tuples(*[st.sampled_from(("Mul", "Add", "Sub", "Div"))] * 2))
    reads = draw_(st.sampled_from(("x,a", "a,x")))
    return [(first, reads, "m"), (second, "m,b", "y")], {"a": numbers(*size), "b": numbers(*size)}


def reductions(draw_: st.DrawFn, opset: int, shape: tuple[int, ...], _: Callable[..., Any]) -> Any:
    """Since operator set 18 the axes are an input."""
    axes = tuple(sorted(draw_(st.sets(st.integers(1, len(shape) - 1), min_size=1))))
    operator, kept = draw_(st.sampled_from(("ReduceMean", "ReduceMax"))), draw_(st.integers(0, 1))
    if opset < 18:
        return [(operator, "x", "y", {"axes": axes, "keepdims": kept})], {}
    return [(operator, "x,axes", "y", {"keepdims": kept})], {"axes": np.array(axes)}


def turns(draw_: st.DrawFn, _: int, shape: tuple[int, ...], __: Callable[..., Any]) -> Any:
    order = (0, *draw_(st.permutations(range(1, len(shape)))))
    return [("Transpose", "x", "t", {"perm": order}), ("Relu", "t", "y")], {}


def rows(draw_: st.DrawFn, _: int, shape: tuple[int, ...], numbers: Callable[..., Any]) -> Any:
    order = (0, *draw_(st.permutations(range(1, len(shape)))))
    weights = numbers(shape[order[-1]], 3)
    nodes = [("Transpose", "x", "t", {"perm": order}), ("MatMul", "t,w", "m"), ("Add", "m,b", "y")]
    return nodes, {"w": weights, "b": numbers(3)}


FAMILIES: tuple[Family, ...] = (
    *(convolutions, poolings, paddings, products, shares, scalings, reductions, turns, rows),
)


@st.composite
def models(draw_: st.DrawFn) -> tuple[int, Nodes, tuple[int, ...], dict[str, Any]]:
    """An operator set, nodes from x to y, the shape of x, and constants."""
    opset = draw_(st.sampled_from(OPSETS))
    channels, height, width = (draw_(st.sampled_from((1, 2, 3, 4, 6))) for _ in range(3))
    shape = draw_(st.sampled_from(((1, channels, height, width), (1, channels, height, width), (1, channels, width))))
    rng = np.random.default_rng(draw_(st.integers(0, 99)))

    def numbers(*size: int) -> Any:
        return rng.normal(size=size).astype(np.float32)

    nodes, constants = draw_(st.sampled_from(FAMILIES))(draw_, opset, shape, numbers)
    return opset, nodes, shape, constants


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
        return session.run(["y"], {"x": elements(seen.dims, tensor_of(net.graph.inputs[0], data[seen.tensor]))})[0]
    except Exception:  # noqa: BLE001 - of its own kinds
        return None


def test_half_precision_is_no_false_alarm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of float16 is read as float32, and held to what float16 can do."""
    need("onnx", "onnxruntime", cases=1)
    onnx = importlib.import_module("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT16
    weights = np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype(np.float16)
    body = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])],
        "half",
        [helper.make_tensor_value_info("x", kind, (1, 4, 8, 8))],
        [helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "half.onnx"
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    out = [str(tmp_path / "net.graph"), "--params", str(tmp_path / "net.npz")]
    assert main(["import", str(path), "-o", *out]) == 0
    assert re.search(r"^verified: .*, ONNX Runtime \S+ within", capsys.readouterr().out, re.MULTILINE)
    np.testing.assert_array_equal(from_onnx(path).params["cWeights"], weights)


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


# --- channels at the end ----------------------------------------------------------------------------------------------

SLICED = {"first": np.array([1]), "end": np.array([4]), "last": np.array([-1])}

ON_THE_LAST_AXIS: Mapping[str, Nodes] = {
    "Add": [("Add", "t,a", "u")],
    "Mul": [("Mul", "a,t", "u")],
    "Div": [("Div", "t,a", "u")],
    "PRelu": [("PRelu", "t,a", "u")],
    "norm": [("Sub", "t,a", "p"), ("Div", "p,b", "q"), ("Mul", "q,a", "r"), ("Add", "r,b", "u")],
    "Softmax": [("Softmax", "t", "u", {"axis": -1})],
    "Concat": [("Relu", "t", "r"), ("Concat", "t,r", "u", {"axis": 3})],
    "Slice": [("Slice", "t,first,end,last", "s"), ("Add", "s,three", "u")],
    "LayerNormalization": [("Relu", "t", "r"), ("LayerNormalization", "r,a,b", "u", {"axis": -1})],
    "ReduceMean": [("ReduceMean", "t", "u", {"axes": [1, 2]})],
    "excitation": [("ReduceMean", "t", "m", {"axes": [1, 2]}), ("Sigmoid", "m", "s"), ("Mul", "t,s", "u")],
    "MatMul": [("Relu", "t", "r"), ("MatMul", "r,w", "m"), ("Add", "m,b", "u")],
}


@pytest.mark.parametrize("behind", ["nothing", "Transpose", "Conv"])
@pytest.mark.parametrize("declared_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", ON_THE_LAST_AXIS)
def test_channels_at_the_end_directly_behind_the_input(
    name: str, behind: str, tmp_path: Path, *, declared_last: bool
) -> None:
    """Whether they are declared there, or a Transpose puts them there, and whoever reads the result."""
    need("onnx", "onnxruntime", cases=1)
    rng = np.random.default_rng(0)
    vectors = {"a": 5, "b": 5, "three": 3}
    constants = SLICED | {key: rng.uniform(0.5, 2, size).astype(np.float32) for key, size in vectors.items()}
    constants["w"] = rng.normal(size=(5, 5)).astype(np.float32)
    nodes: Nodes = [("Identity", "x", "t") if declared_last else ("Transpose", "x", "t", {"perm": [0, 2, 3, 1]})]
    nodes += ON_THE_LAST_AXIS[name]
    if behind == "nothing":
        nodes[-1] = (nodes[-1][0], nodes[-1][1], "y", *nodes[-1][3:])
    else:
        nodes.append(("Transpose", "u", "y" if behind == "Transpose" else "v", {"perm": [0, 3, 1, 2]}))
    if behind == "Conv":
        channels = {"Concat": 10, "Slice": 3}.get(name, 5)
        constants["k"] = rng.normal(size=(2, channels, 1, 1)).astype(np.float32)
        nodes.append(("Conv", "v,k", "y"))
    path = tmp_path / "net.onnx"
    write_model(path, 17, nodes, (1, 11, 13, 5) if declared_last else (1, 5, 11, 13), constants)
    net = from_onnx(path)
    data = regimes.draw(net.graph, "gaussian", 0).inputs
    got = by_onnxruntime(path, net, data)
    (seen,) = net.outputs
    expected = reference.run(net.graph, net.params, data)[seen.tensor]
    assert got.shape == elements(seen.dims, expected.value).shape
    assert off_by(expected, got, seen) <= MOST_SIGMA
