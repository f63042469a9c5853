"""reference.run: what it returns, what it refuses, and where it promises nothing."""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

import reference
from nn512.errors import UsageError
from nn512.graph import Graph, example, parse
from reference import Rounding

Single: TypeAlias = npt.NDArray[np.float32]

TWO_LAYERS = """
Config
Input ToTensor=x Channels=1 Height=3 Width=3
Conv FromTensor=x ToTensor=c ToChannels=2 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=c ToTensor=y Kind=ReLU
Output FromTensor=y
"""


def f32(*values: float) -> Single:
    return np.array(values, np.float32)


def params_of(graph: Graph, **given: npt.ArrayLike) -> dict[str, Single]:
    """Ones for weights, variances and scales, zeros for the rest, but for what is given."""
    params = {}
    for p in graph.parameters:
        value: npt.ArrayLike = 1.0 if p.name.endswith(("Weights", "Variances", "Scales")) else 0.0
        params[p.name] = np.broadcast_to(np.asarray(given.get(p.name, value), np.float32), p.shape)
    return params


def layers(text: str, channels: int = 1, height: int = 1, width: int = 2, output: str = "y") -> Graph:
    head = f"Config\nInput ToTensor=x Channels={channels} Height={height} Width={width}\n"
    return parse(f"{head}{text}\nOutput FromTensor={output}")


def image(*values: float) -> dict[str, Single]:
    return {"x": f32(*values).reshape(1, 1, -1)}


def test_values_and_shapes() -> None:
    graph = parse(TWO_LAYERS)
    x = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    params = params_of(graph, cBiases=f32(0.0, -20.0))
    result = reference.run(graph, params, {"x": x})["y"]
    np.testing.assert_array_equal(result.value[0], [[8, 15, 12], [21, 36, 27], [20, 33, 24]])
    np.testing.assert_array_equal(result.value[1], [[0, 0, 0], [1, 16, 7], [0, 13, 4]])
    assert result.variance.shape == result.unspecified.shape == (2, 3, 3)
    assert (result.variance >= 0).all()
    assert not result.unspecified.any()


def test_keep_names_any_tensor() -> None:
    graph = parse(TWO_LAYERS)
    params, inputs = params_of(graph), {"x": np.full((1, 3, 3), 0.1, np.float32)}
    results = reference.run(graph, params, inputs, keep=["c", "x"])
    assert list(results) == ["c", "x"]
    assert results["c"].value[0, 0, 0] == pytest.approx(0.4)
    np.testing.assert_array_equal(results["x"].value, inputs["x"].astype(np.float64))
    assert not results["x"].variance.any()
    assert reference.run(graph, params, inputs, keep=[]) == {}


def test_an_output_that_is_read_again_is_kept() -> None:
    text = """Activation FromTensor=x ToTensor=a Kind=ReLU
        Add FromTensor1=a FromTensor2=a ToTensor=y Output FromTensor=a"""
    results = reference.run(layers(text), {}, image(3, -1))
    np.testing.assert_array_equal(results["a"].value, [[[3, 0]]])
    np.testing.assert_array_equal(results["y"].value, [[[6, 0]]])


def test_every_fault_is_named() -> None:
    graph = parse(TWO_LAYERS)
    params: dict[str, npt.ArrayLike] = {
        "cWeights": np.zeros((2, 1, 3), np.float32),
        "cBiases": np.zeros(2),
        "dBiases": f32(1),
    }
    with pytest.raises(UsageError) as caught:
        reference.run(graph, params, {"x": np.zeros((1, 3, 3), np.float32)})
    message = str(caught.value)
    assert "there is no parameter 'dBiases'" in message
    assert "parameter 'cWeights' is 2x1x3, not 2x1x3x3" in message
    assert "parameter 'cBiases' is float64, not float32" in message


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'x' (1x3x3) is missing"),
        ({"x": np.zeros((1, 1, 3, 3), np.float32)}, "input 'x' is 1x1x3x3, not 1x3x3"),
        ({"x": np.zeros((1, 3, 3), np.float64)}, "input 'x' is float64, not float32"),
        ({"x": np.zeros((1, 3, 3), np.float32), "z": f32(1)}, "there is no input 'z'"),
        ({"x": np.float32(1)}, "input 'x' is a single number, not 1x3x3"),
    ],
)
def test_wrong_inputs(inputs: dict[str, Any], message: str) -> None:
    graph = parse(TWO_LAYERS)
    with pytest.raises(UsageError, match=re.escape(message)):
        reference.run(graph, params_of(graph), inputs)


def test_unknown_names() -> None:
    graph = parse(TWO_LAYERS)
    with pytest.raises(UsageError, match="no tensor named 'z'"):
        reference.run(graph, params_of(graph), {"x": np.zeros((1, 3, 3), np.float32)}, keep=["z"])
    with pytest.raises(UsageError, match="rounding is given for 'y'"):
        reference.run(graph, params_of(graph), {"x": np.zeros((1, 3, 3), np.float32)}, rounding={"y": Rounding()})


def test_planted_values_are_specified() -> None:
    graph = layers("Conv FromTensor=x ToTensor=y ToChannels=1 FilterH=1 FilterW=2", width=4)
    result = reference.run(graph, params_of(graph, yWeights=f32(0, 1)), image(1, math.inf, 2, math.nan))["y"]
    np.testing.assert_array_equal(result.value, [[[math.inf, math.nan, math.nan]]])
    assert not result.unspecified.any()
    assert not result.variance.any()


def test_tiles_spread_what_is_not_finite() -> None:
    graph = layers("Conv FromTensor=x ToTensor=y ToChannels=2 FilterH=1 FilterW=2", width=8)
    inputs = image(1, 1, 1, math.inf, 1, 1, 1, 1)
    rounding = {"y": Rounding(tiles=reference.Fourier((1, 3), (1, 4)))}
    result = reference.run(graph, params_of(graph), inputs, rounding=rounding)["y"]
    # Outputs 2 and 3 see the infinity; they lie in the tiles 0..2 and 3..5, the last output is a tile of its own.
    np.testing.assert_array_equal(result.unspecified, [[[True] * 6 + [False]]] * 2)


def test_overflow_is_unspecified_and_so_is_what_depends_on_it() -> None:
    graph = layers(
        """Conv FromTensor=x ToTensor=c ToChannels=1 FilterH=1 FilterW=2 PaddingW=1
        Pooling FromTensor=c ToTensor=p Kind=Max2x2Stride2 PaddingH=1 PaddingW=1
        Softmax FromTensor=p ToTensor=y""",
        width=6,
    )
    # The products cancel, but a partial sum passes 3.4e38 on the way.
    inputs = image(1, 1, 3e38, -3e38, 1, 1)
    results = reference.run(graph, params_of(graph), inputs, keep=["c", "p", "y"])
    np.testing.assert_array_equal(results["c"].unspecified, [[[False, False, True, True, True, False, False]]])
    np.testing.assert_array_equal(results["p"].unspecified, [[[False, True, True, False]]])
    np.testing.assert_array_equal(results["y"].unspecified, [[[False, True, True, False]]])


def test_overflow_in_other_nodes() -> None:
    inputs = image(3e38, 1)
    add = layers("Add FromTensor1=x FromTensor2=x ToTensor=y")
    np.testing.assert_array_equal(reference.run(add, {}, inputs)["y"].unspecified, [[[True, False]]])
    steep = layers("Activation FromTensor=x ToTensor=y Kind=ReLU Param=4")
    result = reference.run(steep, {}, image(-3e38, -1))["y"]
    np.testing.assert_array_equal(result.unspecified, [[[True, False]]])
    mean = layers("Pooling FromTensor=x ToTensor=y Kind=AvgGlobal")
    assert reference.run(mean, {}, inputs)["y"].unspecified.all()
    total = layers("FullyConnected FromTensor=x ToTensor=y ToChannels=2")
    weights = np.array([[3, 1], [0, 1]], np.float32).reshape(2, 1, 1, 2)
    result = reference.run(total, params_of(total, yWeights=weights), inputs)["y"]
    np.testing.assert_array_equal(result.unspecified.ravel(), [True, False])


def test_folding_may_overflow_where_the_definition_does_not() -> None:
    graph = layers(
        """Conv FromTensor=x ToTensor=c ToChannels=2 FilterH=1 FilterW=1
        BatchNorm FromTensor=c ToTensor=y"""
    )
    weights = np.full((2, 1, 1, 1), 1e30, np.float32)
    params = params_of(graph, cWeights=weights, yScales=f32(1e20, 1))
    result = reference.run(graph, params, image(1e-30, 0))["y"]
    np.testing.assert_array_equal(result.unspecified, [[[True, True]], [[False, False]]])


@pytest.mark.parametrize(
    "given",
    [
        {"cWeights": np.array([math.nan, 1], np.float32).reshape(2, 1, 1, 1)},
        {"cBiases": f32(math.inf, 0)},
        {"yScales": f32(math.nan, 1)},
        {"yVariances": f32(-1, 1)},
        {"yShifts": f32(-math.inf, 1)},
    ],
    ids=lambda given: next(iter(given)),
)
def test_broken_parameters_break_their_channel(given: dict[str, npt.ArrayLike]) -> None:
    graph = layers(
        """Conv FromTensor=x ToTensor=c ToChannels=2 FilterH=1 FilterW=1
        BatchNorm FromTensor=c ToTensor=y"""
    )
    result = reference.run(graph, params_of(graph, **given), image(1, 2))["y"]
    assert not result.unspecified[1].any()
    assert result.unspecified[0].all()


def test_groups_do_not_see_each_other() -> None:
    graph = layers("Conv FromTensor=x ToTensor=y ToChannels=2 FilterH=1 FilterW=1 Groups=2", channels=2, width=1)
    inputs = {"x": f32(math.nan, 5).reshape(2, 1, 1)}
    result = reference.run(graph, params_of(graph), inputs)["y"]
    np.testing.assert_array_equal(result.value.ravel(), [math.nan, 5])


def test_inputs_are_not_changed() -> None:
    graph = layers("Activation FromTensor=x ToTensor=y Kind=ReLU")
    inputs = image(-1, 2)
    inputs["x"].setflags(write=False)
    result = reference.run(graph, {}, inputs)["y"]
    np.testing.assert_array_equal(result.value, [[[0, 2]]])


@pytest.mark.slow
def test_a_whole_net_at_full_size() -> None:
    graph = parse(example("ResNet50"))
    rng = np.random.default_rng(0)
    params = params_of(graph)
    for p in graph.parameters:
        if p.name.endswith("Weights"):
            params[p.name] = rng.standard_normal(p.shape, np.float32) * np.float32((2 / np.prod(p.shape[1:])) ** 0.5)
    node = graph.inputs[0]
    image = rng.standard_normal(tuple(graph.shapes[node.to_tensor]), np.float32)
    result = reference.run(graph, params, {node.to_tensor: image})[graph.outputs[0].from_tensor]
    assert result.value.shape == (1000, 1, 1)
    assert result.value.sum() == pytest.approx(1)
    assert not result.unspecified.any()
    assert (np.sqrt(result.variance) < 1e-3).all()
