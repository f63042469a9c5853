"""Normalizations over channels, and slopes of channels: which axes of ONNX they may be, and their parameters."""

from __future__ import annotations

import numpy as np
import pytest

from nn512.graph import LRN, Activation, LayerNorm, RMSNorm
from nn512.onnx.refusal import UnsupportedError
from reference import run
from tests.onnx.conftest import Import

SCALES, SHIFTS = np.arange(1, 5, dtype=np.float32), np.array([0.5, -1, 0, 2], np.float32)
X = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)


def expected(x: np.ndarray, epsilon: float, shifts: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=0)
    scaled = SCALES[:, None, None] * centred / np.sqrt((centred**2).mean(axis=0) + epsilon)
    return np.asarray(scaled + shifts[:, None, None])


@pytest.mark.parametrize("shifted", [True, False])
def test_over_channels_that_were_turned_to_the_end(shifted: bool, imported: Import) -> None:  # noqa: FBT001
    """As torchvision's ConvNeXt has it."""
    net = imported(
        ("Transpose", "x", "t", {"perm": (0, 2, 3, 1)}),
        ("LayerNormalization", "t,s,b" if shifted else "t,s", "n", {"axis": -1, "epsilon": 1e-6}),
        ("Transpose", "n", "y", {"perm": (0, 3, 1, 2)}),
        constants={"s": SCALES, "b": SHIFTS},
    )
    (layer,) = net.graph.layers
    assert layer == LayerNorm("x", layer.to_tensor, 1e-6)
    y = run(net.graph, net.params, {"x": X})[layer.to_tensor]
    wanted = expected(X.astype(np.float64), 1e-6, SHIFTS if shifted else np.zeros(4))
    np.testing.assert_allclose(y.value, wanted, rtol=1e-12, atol=1e-12)


def test_over_tokens(imported: Import) -> None:
    """The last axis of an input that nobody else has read are its channels."""
    net = imported(
        ("RMSNormalization", "x,s", "n", {"epsilon": 0.25}),
        ("SimplifiedLayerNormalization", "n,s", "y", {"axis": -1, "stash_type": 1}),
        x=(1, 7, 4),
        constants={"s": SCALES},
    )
    first, second = net.graph.layers
    assert first == RMSNorm("x", first.to_tensor, 0.25)
    assert second == RMSNorm(first.to_tensor, second.to_tensor, 1e-5)
    assert net.graph.shapes[second.to_tensor] == (4, 1, 7)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (("LayerNormalization", "x,s", "y", {"axis": 2}), "axis=2 of 1x4x5x6; accepted: the axis of channels"),
        (("LayerNormalization", "r,s", "y", {"axis": 1, "stash_type": 10}), "stash_type=10; accepted: stash_type=1"),
        (
            ("LayerNormalization", "r,s", "y,m", {"axis": 1}),
            "the mean or the factor ('m'); accepted: only the first output",
        ),
        (("LayerNormalization", "r,x", "y", {"axis": 1}), "scales ('x') depend on an input; accepted: constants"),
        (("RMSNormalization", "r,s", "y", {"axis": 1, "epsilon": -1.0}), "epsilon=-1; accepted: 0 and more"),
        (("RMSNormalization", "r,s", "y", {"axis": 4}), "axis=4 of a tensor with 4 axes; accepted: -4 to 3"),
        (("LayerNormalization", "r,short", "y", {"axis": 1}), "Scales have 3 numbers; accepted: 4, which is 4"),
    ],
)
def test_what_is_refused(node: tuple[object, ...], told: str, imported: Import) -> None:
    """`r` is x with a picture of one pixel."""
    with pytest.raises(UnsupportedError) as error:
        imported(
            ("Relu", "x", "z"),
            ("GlobalAveragePool", "z", "r"),
            node,
            constants={"s": SCALES, "short": SCALES[:3]},
        )
    assert told in str(error.value)


def test_of_an_input_of_one_channel_that_was_turned_to_the_end(imported: Import) -> None:
    net = imported(
        ("Transpose", "x", "t", {"perm": (0, 2, 3, 1)}),
        ("LayerNormalization", "t,s,s", "n", {"axis": -1}),
        ("Transpose", "n", "y", {"perm": (0, 3, 1, 2)}),
        x=(1, 1, 2, 1),
        constants={"s": np.ones(1, np.float32)},
    )
    assert net.graph.shapes["x"] == (1, 2, 1)


def test_local_responses(imported: Import) -> None:
    net = imported(("LRN", "x", "y", {"size": 3, "alpha": float(np.float32(0.1)), "bias": 2.0}))
    (layer,) = net.graph.layers
    assert layer == LRN("x", layer.to_tensor, 3, 0.1, 0.75, 2.0)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({}, "Size would be 0; accepted: 1 to 33"),
        ({"size": 35}, "Size would be 35; accepted: 1 to 33"),
        ({"size": 3, "beta": 9.0}, "Beta is 9; 8 is the largest exponent"),
        ({"size": 3, "alpha": 0.0}, "alpha=0; accepted: above 0"),
        ({"size": 3, "bias": -1.0}, "bias=-1; accepted: above 0"),
    ],
)
def test_local_responses_that_are_refused(attributes: dict[str, object], told: str, imported: Import) -> None:
    with pytest.raises(UnsupportedError) as error:
        imported(("LRN", "x", "y", attributes))
    assert told in str(error.value)


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1)])
def test_slopes_of_channels(shape: tuple[int, ...], imported: Import) -> None:
    slopes = np.array([0.5, 0, -1, 2], np.float32)
    net = imported(("PRelu", "x,s", "y"), constants={"s": slopes.reshape(shape)})
    (layer,) = net.graph.layers
    assert layer == Activation("x", layer.to_tensor, "PReLU")
    y = run(net.graph, net.params, {"x": X})[layer.to_tensor]
    np.testing.assert_array_equal(y.value, np.where(X > 0, X, slopes[:, None, None] * X))


def test_slopes_along_other_axes_are_refused(imported: Import) -> None:
    with pytest.raises(UnsupportedError, match="one number, or one for every channel"):
        imported(("PRelu", "x,s", "y"), constants={"s": np.ones((1, 5, 1), np.float32)})


def spelled(power: tuple[str, str], *, plain: bool = False, axis: int = 1) -> list[tuple[object, ...]]:
    """A normalization in parts, the way exporters before operator set 17 wrote it."""
    reduce = {"axes": (axis,), "keepdims": 1}
    centre = [] if plain else [("ReduceMean", "x", "m", reduce), ("Sub", "x,m", "d")]
    d = "x" if plain else "d"
    return [
        *centre,
        (power[0], power[1].replace("d", d), "p"),
        ("ReduceMean", "p", "v", reduce),
        ("Add", "v,e", "t"),
        ("Sqrt", "t", "r"),
        ("Div", f"{d},r", "n"),
        ("Mul", "n,s", "c"),
    ]


PARTS = {"e": np.float32(1e-5), "two": np.float32(2), "s": SCALES[:, None, None], "b": SHIFTS[:, None, None]}


@pytest.mark.parametrize("power", [("Pow", "d,two"), ("Mul", "d,d")])
def test_a_normalization_in_parts(power: tuple[str, str], imported: Import) -> None:
    net = imported(*spelled(power), ("Add", "c,b", "y"), constants=PARTS)
    (layer,) = net.graph.layers
    assert layer == LayerNorm("x", layer.to_tensor, 1e-5)
    y = run(net.graph, net.params, {"x": X})[layer.to_tensor]
    np.testing.assert_allclose(y.value, expected(X.astype(np.float64), 1e-5, SHIFTS), rtol=1e-12, atol=1e-12)


def test_a_root_mean_square_in_parts(imported: Import) -> None:
    """As this is exported; a shift behind it is none of its own."""
    net = imported(*spelled(("Mul", "d,d"), plain=True), ("Relu", "c", "y"), constants=PARTS)
    first, _ = net.graph.layers
    assert first == RMSNorm("x", first.to_tensor, 1e-5)
    np.testing.assert_array_equal(net.params[f"{first.to_tensor}Scales"], SCALES)
    shifted = imported(*spelled(("Mul", "d,d"), plain=True), ("Add", "c,b", "y"), constants=PARTS)
    assert [type(layer).__name__ for layer in shifted.graph.layers] == ["RMSNorm", "BatchNorm"]


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        (spelled(("Pow", "d,two"), axis=2), "LayerNormalization in parts 'n': axes=2 of 1x4x5x6"),
        (spelled(("Pow", "d,three")), "ReduceMean"),
        (spelled(("Mul", "d,x")), "ReduceMean"),
    ],
)
def test_parts_of_something_else(nodes: list[tuple[object, ...]], told: str, imported: Import) -> None:
    with pytest.raises(UnsupportedError) as error:
        imported(*nodes, ("Add", "c,b", "y"), constants={**PARTS, "three": np.float32(3)})
    assert told in str(error.value)
