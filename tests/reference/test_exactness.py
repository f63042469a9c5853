"""reference.exactness: it promises only what holds for every order of summation, and enough to be useful."""

from __future__ import annotations

import itertools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from nn512.graph import Graph, parse
from reference.stepping import step_of, storable

Single: TypeAlias = npt.NDArray[np.float32]


def graph_of(text: str, channels: int = 1, height: int = 1, width: int = 1) -> Graph:
    return parse(
        f"Input ToTensor=x Channels={channels} Height={height} Width={width}\n{text}\nOutput FromTensor=y Config"
    )


def exact(graph: Graph, x: npt.ArrayLike, **params: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    shape = tuple(graph.shapes["x"])
    arrays = {p.name: np.broadcast_to(np.asarray(params[p.name], np.float32), p.shape) for p in graph.parameters}
    return reference.exactness(graph, arrays, {"x": np.asarray(x, np.float32).reshape(shape)})["y"].ravel()


@pytest.mark.parametrize(
    ("values", "step"),
    [([1.0], 0), ([12.0, 8.0], 2), ([0.75, 4.0], -2), ([0.0], 1000), ([np.nan, np.inf, 2.0], 1), ([1e-45], -149)],
)
def test_step_of(values: list[float], step: int) -> None:
    assert step_of(np.array(values, np.float32).astype(np.float64)) == step


@given(
    st.lists(st.tuples(st.integers(-3000, 3000), st.integers(-4000, 4000)), min_size=1, max_size=4), st.integers(-9, 9)
)
def test_a_promise_holds_in_every_order(terms: list[tuple[int, int]], bias: int) -> None:
    graph = graph_of("Conv FromTensor=x ToTensor=y ToChannels=1 FilterH=1 FilterW=1", channels=len(terms))
    x, weights = np.array(terms, np.float32).T
    promised = exact(graph, x, yWeights=weights.reshape(1, -1, 1, 1), yBiases=bias).item()
    sums = set()
    for order in itertools.permutations([np.float32(bias), *(weights * x)]):
        total = np.float32(0)
        for term in order:
            total = np.float32(total + term)
        sums.add(float(total))
    true = float(bias + sum(a * b for a, b in terms))
    if promised:
        assert sums == {true}
    # 2^24 steps are allowed, and small integers are a step each.
    magnitude = abs(bias) + sum(abs(a * b) for a, b in terms)
    assert promised or magnitude > 2**24


def test_limit_leaves_room_for_transforms() -> None:
    graph = graph_of("Conv FromTensor=x ToTensor=y ToChannels=1 FilterH=1 FilterW=1")
    params = {"yWeights": np.full((1, 1, 1, 1), 1024, np.float32), "yBiases": np.zeros(1, np.float32)}
    x = {"x": np.full((1, 1, 1), 1025, np.float32)}
    assert reference.exactness(graph, params, x)["y"].all()
    assert reference.exactness(graph, params, x, limit=2.0**20)["y"].all()  # 1025 steps of 1024
    params["yBiases"] += 1
    assert not reference.exactness(graph, params, x, limit=2.0**20)["y"].any()


def test_inexact_cells_spoil_only_what_sees_them() -> None:
    graph = graph_of(
        """BatchNorm FromTensor=x ToTensor=b Epsilon=0
        Conv FromTensor=b ToTensor=y ToChannels=1 FilterH=1 FilterW=2""",
        width=4,
    )
    bn = {"bMeans": 1, "bVariances": 4, "bScales": 2, "bShifts": 0}
    x = [2.0**24, 1, 2, 3]
    np.testing.assert_array_equal(exact(graph, x, yWeights=1, yBiases=0, **bn), [False, True, True])
    bn["bVariances"] = 3
    assert not exact(graph, x, yWeights=1, yBiases=0, **bn).any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Activation FromTensor=x ToTensor=y Kind=ReLU", [True] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=ReLU Param=-2", [True] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=ReLU Param=0.1", [True, True, True, False]),
        ("Activation FromTensor=x ToTensor=y Kind=Clip Min=-0.5 Max=6", [True] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=HardSwish", [True] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=HardSigmoid Alpha=0.25 Beta=0.5", [True] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=HardSigmoid Alpha=0.1 Beta=0.75", [True, True, True, False]),
        ("Activation FromTensor=x ToTensor=y Kind=SiLU", [False, True, False, False]),
        ("Activation FromTensor=x ToTensor=y Kind=Sigmoid", [False] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=ELU", [True, True, True, False]),
        ("Activation FromTensor=x ToTensor=y Kind=GELU", [False, True, False, False]),
        ("Activation FromTensor=x ToTensor=y Kind=Square", [True] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=Abs", [True] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=Neg", [True] * 4),
        ("Activation FromTensor=x ToTensor=y Kind=Reciprocal", [False] * 4),
        ("Add FromTensor1=x FromTensor2=x ToTensor=y", [True] * 4),
        ("Concat FromTensor1=x FromTensor2=x ToTensor=y", [True] * 8),
        ("Concat FromTensor1=x FromTensor2=x ToTensor=y Axis=Height", [True] * 8),
        ("Slice FromTensor=x ToTensor=y From=1 Count=2 Step=2 Axis=Width", [True] * 2),
        ("Shuffle FromTensor=x ToTensor=y Groups=1", [True] * 4),
        ("Pooling FromTensor=x ToTensor=y Kind=MaxGlobal", [True]),
        ("Pooling FromTensor=x ToTensor=y Kind=AvgGlobal", [True]),
        ("Pooling FromTensor=x ToTensor=y Kind=Avg3x3Stride2 PaddingW=1 PaddingH=1", [True, False]),
        ("Softmax FromTensor=x ToTensor=y", [False] * 4),
        ("FullyConnected FromTensor=x ToTensor=y ToChannels=1", [True]),
    ],
)
def test_every_kind(text: str, expected: list[bool]) -> None:
    params = {"yWeights": 3, "yBiases": 1}
    np.testing.assert_array_equal(exact(graph_of(text, width=4), [5, 0, 7, -3], **params), expected)


def test_fused_sums_count_together() -> None:
    # Each convolution is exact alone; with the residual as the start of the accumulation a partial sum is not.
    graph = graph_of(
        """Conv FromTensor=x ToTensor=a ToChannels=1 FilterH=1 FilterW=1
        Conv FromTensor=x ToTensor=b ToChannels=1 FilterH=1 FilterW=1
        Add FromTensor1=a FromTensor2=b ToTensor=y"""
    )
    params = {"aBiases": 1, "bBiases": 0}
    assert exact(graph, [1], aWeights=2**23, bWeights=-(2**22), **params).all()
    assert not exact(graph, [1], aWeights=2**24 - 1, bWeights=-(2**24) + 2, **params).any()


def test_what_is_not_finite_is_not_exact() -> None:
    graph = graph_of("Activation FromTensor=x ToTensor=y Kind=ReLU", width=3)
    np.testing.assert_array_equal(exact(graph, [np.nan, np.inf, 1]), [False, False, True])


@pytest.mark.parametrize(("layer", "promised"), [("PaddingH=0", False), ("PaddingH=1", True)])
def test_a_batch_norm_may_be_folded_forward_where_there_is_no_padding(layer: str, promised: bool) -> None:  # noqa: FBT001
    """In each channel x - mean is 1, but three of both have too many bits to be added up exactly."""
    graph = graph_of(
        "BatchNorm FromTensor=x ToTensor=n Epsilon=0\n"
        f"Conv FromTensor=n ToTensor=y ToChannels=1 FilterH=1 FilterW=1 {layer}",
        channels=3,
    )
    norm = {"nMeans": 2**22, "nVariances": 1, "nScales": 1, "nShifts": 0}
    found = exact(graph, [2**22 + 1] * 3, yWeights=1, yBiases=0, **norm)
    assert found.all() == promised
    # Small numbers are exact either way.
    norm = {"nMeans": 5, "nVariances": 4, "nScales": 3, "nShifts": -2}
    assert exact(graph, [7, 1, -9], yWeights=3, yBiases=1, **norm).all()


def halves(text: str, weights: list[float], **params: npt.ArrayLike) -> bool:
    """Whether one output is exact whose weights are stored as fp16; the inputs are ones."""
    graph = graph_of(text, channels=len(weights))
    given = {"fWeights": np.reshape(weights, (1, -1, 1, 1)), "fBiases": np.float32(0), **params}
    arrays = {p.name: np.broadcast_to(np.asarray(given[p.name], np.float32), p.shape) for p in graph.parameters}
    x = {"x": np.ones((len(weights), 1, 1), np.float32)}
    return bool(reference.exactness(graph, arrays, x, rounding={"f": reference.HALF_WEIGHTS})["y"].item())


def test_half_weights_hold_eleven_bits_of_a_limited_range() -> None:
    rows = [[2047, -3, 0], [2048, 4094, 1], [2049, 1, 0], [2.0**-20, 3 * 2.0**-22, 0], [2.0**28, 1, 0], [2.0**29, 1, 0]]
    kept = storable(np.array(rows, np.float64), reference.HALF_WEIGHTS)
    np.testing.assert_array_equal(kept, [True, True, False, True, True, False])
    assert storable(np.array(rows, np.float64), reference.Rounding()).all()


def test_sums_of_half_weights() -> None:
    text = "FullyConnected FromTensor=x ToTensor=f ToChannels=1 Activation FromTensor=f ToTensor=y Kind=ReLU"
    assert halves(text, [2047.0, -3.0])
    assert not halves(text, [2049.0, -3.0])


@pytest.mark.parametrize(("scale", "kept"), [("2", "exact"), ("0.25", "exact"), ("3", "")])
def test_a_norm_that_may_be_folded_into_half_weights(scale: str, kept: str) -> None:
    """1023 fits 11 bits, 3 * 1023 does not: only powers of two are safe."""
    text = "FullyConnected FromTensor=x ToTensor=f ToChannels=1 BatchNorm FromTensor=f ToTensor=y Epsilon=0.5"
    norm = {"yMeans": 1.0, "yVariances": 0.5, "yScales": float(scale), "yShifts": 4.0}
    assert halves(text, [1023.0, 5.0], **norm) == bool(kept)
