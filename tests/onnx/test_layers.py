"""What operators that make layers become, on models made here; the reference says what a graph gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn512.graph import BatchNorm, Conv, FullyConnected, Input, Pooling, Shape
from nn512.graph.windows import padding_of
from tests.onnx.reading import Import, kinds, numbers, refusals, run


def test_a_convolution_without_biases_has_zeros(imported: Import) -> None:
    weights = numbers(6, 2, 3, 1)
    attributes = {"group": 2, "strides": (2, 1), "pads": (1, 0, 1, 0), "dilations": (1, 2), "kernel_shape": (3, 1)}
    net = imported(("Conv", "x,w", "y", attributes), constants={"w": weights})
    (layer,) = net.graph.layers
    assert layer == Conv("x", "y", 6, 3, 1, 2, 1, 1, 0, 1, 2, 2)
    np.testing.assert_array_equal(net.params["yWeights"], weights)
    assert not net.params["yBiases"].any()


def test_four_paddings(imported: Import) -> None:
    weights = numbers(2, 4, 3, 3)
    net = imported(("Conv", "x,w", "y", {"pads": (4, 0, 1, 2)}), constants={"w": weights})
    (layer,) = net.graph.layers
    assert isinstance(layer, Conv)
    assert padding_of(layer) == (4, 1, 0, 2)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("SAME_UPPER", (1, 2, 0, 1)), ("SAME_LOWER", (2, 1, 1, 0)), ("VALID", (0, 0, 0, 0))],
)
def test_automatic_padding_of_a_convolution(mode: str, expected: tuple[int, ...], imported: Import) -> None:
    """Of 3 taps two cells apart at stride 2, and of 2 at stride 1."""
    attributes = {"auto_pad": mode, "strides": (2, 1), "dilations": (2, 1)}
    net = imported(("Conv", "x,w", "y", attributes), x=(1, 4, 6, 5), constants={"w": numbers(2, 4, 3, 2)})
    (layer,) = net.graph.layers
    assert isinstance(layer, Conv)
    assert padding_of(layer) == expected


@pytest.mark.parametrize(
    ("mode", "expected"), [("SAME_UPPER", (0, 1)), ("SAME_LOWER", (1, 0)), ("VALID", (0, 0)), ("NOTSET", (0, 0))]
)
def test_automatic_padding(mode: str, expected: tuple[int, int], imported: Import) -> None:
    attributes = {"auto_pad": mode, "kernel_shape": (3, 1), "strides": (2, 1)}
    (layer,) = imported(("MaxPool", "x", "y", attributes), x=(1, 4, 6, 5)).graph.layers
    assert isinstance(layer, Pooling)
    assert (layer.padding_top, layer.padding_bottom) == expected


@pytest.mark.parametrize(
    ("extent", "pads", "bottom", "rows"),
    [(6, 0, 1, 3), (7, 0, 0, 3), (6, 1, 2, 4), (5, 1, 1, 3)],
)
def test_numbers_of_windows_rounded_up_are_padding(
    extent: int, pads: int, bottom: int, rows: int, imported: Import
) -> None:
    """A window that would begin behind the tensor is none."""
    attributes = {"ceil_mode": 1, "kernel_shape": (3, 1), "strides": (2, 1), "pads": (pads, 0, pads, 0)}
    net = imported(("MaxPool", "x", "y", attributes), x=(1, 4, extent, 5))
    (layer,) = net.graph.layers
    assert isinstance(layer, Pooling)
    assert layer.padding_bottom == bottom
    assert net.graph.shapes["y"].height == rows


def test_padding_goes_into_the_layer_behind(imported: Import) -> None:
    pad = ("Pad", "x,p", "padded")
    pads = np.array([0, 0, 1, 2, 0, 0, 1, 2])
    attributes = {"pads": (1, 0, 1, 0)}
    net = imported(pad, ("Conv", "padded,w", "y", attributes), constants={"p": pads, "w": numbers(2, 4, 3, 3)})
    assert net.graph.layers == (Conv("x", "y", 2, 3, 3, 1, 1, 2, 2),)
    average = ("AveragePool", "padded", "y", {"kernel_shape": (3, 3)})
    (layer,) = imported(pad, average, constants={"p": pads}).graph.layers
    assert isinstance(layer, Pooling)
    assert (layer.padding_h, layer.padding_top, layer.padding_left, layer.count_padding) == (0, 1, 2, 1)


def test_uneven_padding_goes_into_the_layer_behind(imported: Import) -> None:
    """As TensorFlow pads before a convolution at stride 2; what the convolution pads comes on top."""
    pads = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    constants = {"p": pads, "w": numbers(2, 4, 3, 3)}
    attributes = {"strides": (2, 2), "pads": (0, 1, 0, 0)}
    net = imported(("Pad", "x,p", "padded"), ("Conv", "padded,w", "y", attributes), constants=constants)
    (layer,) = net.graph.layers
    assert isinstance(layer, Conv)
    assert padding_of(layer) == (0, 1, 1, 1)


def test_padding_around_padding_goes_into_the_layer_behind(imported: Import) -> None:
    constants = {"p": [0, 0, 1, 0, 0, 0, 0, 2], "q": [0, 1, 1, 0], "axes": [2, 3], "w": numbers(2, 4, 3, 3)}
    two = ("Pad", "x,p", "once"), ("Pad", "once,q,,axes", "twice")
    (layer,) = imported(*two, ("Conv", "twice,w", "y"), constants=constants).graph.layers
    assert isinstance(layer, Conv)
    assert padding_of(layer) == (1, 1, 1, 2)
    other = ("Pad", "once,q,v,axes", "twice")
    text, _ = refusals(imported, two[0], other, ("Conv", "twice,w", "y"), constants={**constants, "v": np.float32(1)})
    assert text.startswith("Pad 'once'")


def test_averages_that_are_rounded_up_count_what_they_should(imported: Import) -> None:
    """Cells behind the padding are not counted; where there is no padding, those are all that is outside."""
    attributes = {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1, "count_include_pad": 1}
    (layer,) = imported(("AveragePool", "x", "y", attributes), x=(1, 4, 6, 7)).graph.layers
    assert isinstance(layer, Pooling)
    assert (padding_of(layer), layer.count_padding) == ((0, 1, 0, 0), 0)
    padded = ("AveragePool", "x", "y", attributes | {"pads": (1, 1, 1, 1)})
    (layer,) = imported(padded, x=(1, 4, 7, 7)).graph.layers  # no window is added
    assert layer.count_padding == 1  # type: ignore[union-attr]
    pad = ("Pad", "x,p", "padded")
    constants = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    exact = ("AveragePool", "padded", "y", {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1})
    (layer,) = imported(pad, exact, x=(1, 4, 7, 7), constants=constants).graph.layers
    assert layer.count_padding == 1  # type: ignore[union-attr]
    assert len(imported(pad, exact, x=(1, 4, 6, 7), constants=constants).graph.layers) > 1


def averages(x: np.ndarray[Any, Any], taps: int, stride: int, before: int, after: int) -> np.ndarray[Any, Any]:
    """Averages along the last axis that count padding, the number of windows rounded up: the definition."""
    padded = np.pad(x, ((0, 0),) * 3 + ((before, after),))
    starts = range(0, padded.shape[3] - taps + stride, stride)
    windows = [padded[..., start : start + taps] for start in starts if start < before + x.shape[3]]
    return np.stack([window.mean(axis=3) for window in windows], axis=3)


@pytest.mark.parametrize(
    ("extents", "taps", "strides", "pads", "count"),
    [
        ((6, 7), (3, 3), (2, 2), (1, 1, 1, 1), 4),  # a row is added
        ((7, 6), (3, 3), (2, 2), (1, 1, 1, 1), 4),  # a column
        ((6, 6), (3, 3), (2, 2), (1, 1, 1, 1), 10),  # both
        ((9, 8), (5, 4), (4, 3), (2, 0, 1, 3), 4),
        ((2, 2), (4, 4), (3, 3), (3, 3, 1, 0), 7),  # the last window begins in the padding
        ((3, 8), (3, 3), (4, 4), (2, 0, 0, 1), 4),
    ],
)
def test_windows_that_are_added_count_less(
    extents: tuple[int, int],
    taps: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    count: int,
    imported: Import,
) -> None:
    attributes = {"kernel_shape": taps, "strides": strides, "pads": pads, "ceil_mode": 1, "count_include_pad": 1}
    net = imported(("AveragePool", "x", "y", attributes), x=(1, 4, *extents))
    assert len(net.graph.layers) == count
    x = numbers(1, 4, *extents).astype(np.float64)
    columns = averages(x, taps[1], strides[1], pads[1], pads[3])
    expected = averages(columns.swapaxes(2, 3), taps[0], strides[0], pads[0], pads[2]).swapaxes(2, 3)
    np.testing.assert_allclose(run(net, x=x)["y"], expected, atol=1e-12)


def test_zeros_around_a_maximum_need_values_above(imported: Import) -> None:
    pads, largest = np.array([0, 0, 1, 1, 0, 0, 1, 1]), ("MaxPool", "padded", "y", {"kernel_shape": (2, 2)})
    (text,) = refusals(imported, ("Pad", "x,p", "padded"), largest, constants={"p": pads})
    assert "zeros behind a ReLU, or -inf" in text
    net = imported(("Relu", "x", "r"), ("Pad", "r,p", "padded"), largest, constants={"p": pads})
    assert kinds(net) == "Activation Pooling"
    net = imported(("Pad", "x,p,v", "padded"), largest, constants={"p": pads, "v": np.float32(-np.inf)})
    assert kinds(net) == "Pooling"


def test_padding_that_nobody_takes_in(imported: Import) -> None:
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    (text,) = refusals(imported, ("Pad", "x,p", "a"), ("Relu", "a", "y"), constants={"p": pads})
    assert text.startswith("Pad 'a': what reads it is no convolution or pooling")
    (text,) = refusals(imported, ("Pad", "x,p", "y"), constants={"p": pads})
    assert text.startswith("Pad 'y': nothing pads behind the last layer")


@pytest.mark.parametrize("flat", ["Flatten", "Reshape"])
@pytest.mark.parametrize("last", [False, True])
def test_flattened_products(flat: str, last: bool, imported: Import) -> None:  # noqa: FBT001
    """Rows of a matrix are permuted where ONNX has channels last."""
    x, weights, bias = numbers(1, 4, 5, 6), numbers(7, 120), numbers(7)
    turn = [("Transpose", "x", "t", {"perm": (0, 2, 3, 1)})] if last else [("Identity", "x", "t")]
    flatten = ("Flatten", "t", "f") if flat == "Flatten" else ("Reshape", "t,s", "f")
    product = ("Gemm", "f,w,b", "y", {"transB": 1, "alpha": 2.0, "beta": 0.5})
    constants = {"w": weights, "b": bias, "s": np.array([0, -1])}
    net = imported(
        ("Relu", "x", "r"),
        ("Add", "r,r", "x2"),
        *[(n[0], n[1].replace("x", "x2"), *n[2:]) for n in turn],
        flatten,
        product,
        constants=constants,
    )
    assert isinstance(net.graph.layers[-1], FullyConnected)
    seen = 2 * np.maximum(x, 0)
    seen = (seen.transpose(0, 2, 3, 1) if last else seen).reshape(1, -1)
    np.testing.assert_allclose(run(net, x=x)["y"], 2 * seen @ weights.T + 0.5 * bias)


def test_rows_of_pixels_are_a_convolution(imported: Import) -> None:
    x, weights, bias = numbers(1, 4, 5, 6), numbers(4, 3), numbers(3)
    net = imported(
        ("Transpose", "x", "t", {"perm": (0, 2, 3, 1)}),
        ("Reshape", "t,s", "r"),
        ("MatMul", "r,w", "m"),
        ("Add", "b,m", "y"),
        x=(1, 4, 5, 6),
        constants={"s": np.array([1, 30, 4]), "w": weights, "b": bias},
    )
    assert net.graph.layers == (Conv("x", "y", 3, 1, 1),)
    np.testing.assert_allclose(run(net, x=x)["y"], x.transpose(0, 2, 3, 1).reshape(1, 30, 4) @ weights + bias)


def test_factors_of_more_axes_make_more_axes(imported: Import) -> None:
    x, weights = numbers(1, 4), numbers(1, 4, 3)
    net = imported(("MatMul", "x,w", "y"), x=(1, 4), constants={"w": weights})
    np.testing.assert_array_equal(run(net, x=x)["y"], x @ weights)


def test_channels_last_until_the_first_transposition(imported: Import) -> None:
    """An input of N x H x W x C is an input of C x H x W here, and its mean is one per channel."""
    x, mean, weights = numbers(1, 5, 6, 3), numbers(3), numbers(2, 3, 1, 1)
    net = imported(
        ("Sub", "x,m", "c"),
        ("Transpose", "c", "t", {"perm": (0, 3, 1, 2)}),
        ("Conv", "t,w", "o"),
        ("Transpose", "o", "y", {"perm": (0, 2, 3, 1)}),
        x=(1, 5, 6, 3),
        constants={"m": mean, "w": weights},
    )
    assert net.graph.shapes["x"] == Shape(3, 5, 6)
    assert net.graph.inputs == (Input("x", 3, 5, 6, "HWC"),)
    assert "Order=HWC  # x: 1x5x6x3\n" in net.text
    assert "y: 1x5x6x2 of other order: 1 x H x W x C" in net.text
    np.testing.assert_allclose(run(net, x=x)["y"], (x - mean) @ weights[:, :, 0, 0].T)


@pytest.mark.parametrize(
    ("shape", "order"),
    [((1, 4, 5, 1), "HWC"), ((1, 1, 1, 3), "HWC"), ((1, 1, 5, 3), "HWC"), ((1, 5, 1, 1), "HWC"), ((1, 1, 1, 1), "CHW")],
)
def test_channels_last_of_thin_pictures(shape: tuple[int, ...], order: str, imported: Import) -> None:
    """The array that a user has is that of the model without its batch, whatever has extent 1."""
    weights = numbers(2, shape[3], 1, 1)
    turn = ("Transpose", "x", "t", {"perm": (0, 3, 1, 2)})
    net = imported(turn, ("Conv", "t,w", "y"), x=shape, constants={"w": weights})
    assert net.graph.inputs[0].order == order
    assert net.graph.inputs[0].array_shape == shape[1:]
    plain = imported(("Conv", "x,w", "y"), x=(1, shape[3], *shape[1:3]), constants={"w": weights})
    assert plain.graph.inputs[0].order == "CHW"


def test_channels_last_through_all_that_leaves_axes_in_place(imported: Import) -> None:
    """As TensorFlow writes nets: blue before red, a mean each, padding for a stride of 2, biases beside channels."""
    x, mean, weights, biases = numbers(1, 6, 8, 3), numbers(3), numbers(2, 3, 3, 3), numbers(2)
    net = imported(
        ("Split", "x", "r,g,b", {"axis": 3}),
        ("Concat", "b,g,r", "bgr", {"axis": 3}),
        ("Sub", "bgr,m", "c"),
        ("Pad", "c,p", "padded"),
        ("Transpose", "padded", "t", {"perm": (0, 3, 1, 2)}),
        ("Conv", "t,w", "o", {"strides": (2, 2)}),
        ("Transpose", "o", "back", {"perm": (0, 2, 3, 1)}),
        ("Add", "back,bias", "y"),
        x=x.shape,
        constants={"m": mean, "p": np.array([0, 0, 0, 0, 0, 1, 1, 0]), "w": weights, "bias": biases},
    )
    assert net.graph.inputs == (Input("x", 3, 6, 8, "HWC"),)
    conv = net.graph.layers[-1]
    assert isinstance(conv, Conv)
    assert padding_of(conv) == (0, 1, 0, 1)
    padded = np.pad(x[0, :, :, ::-1] - mean, ((0, 1), (0, 1), (0, 0)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))[::2, ::2]
    expected = np.einsum("hwcij,kcij->hwk", seen, weights) + biases
    np.testing.assert_allclose(run(net, x=x)["y"][0], expected)


def test_one_dimension_has_one_row(imported: Import) -> None:
    net = imported(
        ("Conv", "x,w", "c", {"pads": (2, 2), "dilations": (2,)}),
        ("MaxPool", "c", "p", {"kernel_shape": (2,), "strides": (2,)}),
        ("ReduceMean", "p", "y", {"axes": (-1,), "keepdims": 0}),
        x=(1, 4, 9),
        constants={"w": numbers(6, 4, 3)},
    )
    assert net.graph.layers[0] == Conv("x", "c", 6, 1, 3, 1, 1, 0, 2, 1, 2)
    assert net.graph.shapes == {"x": (4, 1, 9), "c": (6, 1, 9), "p": (6, 1, 4), "y": (6, 1, 1)}


def test_factors_and_summands_join_the_layer_before(imported: Import) -> None:
    x, weights, scale, bias = numbers(1, 4, 5, 6), numbers(3, 4, 1, 1), numbers(3, 1, 1), numbers(1, 3, 1, 1)
    constants = {"w": weights, "s": scale, "b": bias}
    net = imported(("Conv", "x,w", "c"), ("Add", "c,b", "y"), constants=constants)
    assert kinds(net) == "Conv"
    np.testing.assert_array_equal(net.params["yBiases"], bias.reshape(-1))
    net = imported(("Conv", "x,w", "c"), ("Mul", "c,s", "m"), ("Add", "m,b", "y"), constants=constants)
    assert kinds(net) == "Conv BatchNorm"
    expected = np.einsum("kc,nchw->nkhw", weights[:, :, 0, 0], x) * scale + bias
    np.testing.assert_allclose(run(net, x=x)["y"], expected)
    shared = imported(("Conv", "x,w", "c"), ("Add", "c,b", "d"), ("Add", "c,d", "y"), constants=constants)
    assert kinds(shared) == "Conv BatchNorm Add"


def test_scales_behind_a_batch_norm_join_it(imported: Import) -> None:
    words = {name: np.abs(numbers(4)) + 1 for name in "abcd"}
    net = imported(
        ("BatchNormalization", "x,a,b,c,d", "n", {"epsilon": float(np.float32(1e-5))}),
        ("Unsqueeze", "s", "u", {"axes": (1, 2)}),
        ("Mul", "u,n", "m"),
        ("Div", "m,two", "y"),
        opset=9,
        constants={**words, "s": numbers(4), "two": np.float32(2)},
    )
    (layer,) = net.graph.layers
    assert layer == BatchNorm("x", layer.to_tensor, 1e-5)


def test_sums_of_many_are_chains_and_joins_take_many(imported: Import) -> None:
    net = imported(("Relu", "x", "r"), ("Sum", "x,r,x", "s"), ("Concat", "s,r,s", "y", {"axis": -3}))
    assert kinds(net) == "Activation Add Add Concat"
    assert net.graph.shapes["y"] == Shape(12, 5, 6)
    x = numbers(1, 4, 5, 6)
    total = 2 * x + np.maximum(x, 0)
    np.testing.assert_array_equal(run(net, x=x)["y"], np.concatenate([total, np.maximum(x, 0), total], 1))


@pytest.mark.parametrize(
    ("opset", "axis", "shape", "legal"),
    [
        (12, None, (1, 4), True),
        (12, 1, (1, 4, 1, 1), True),
        (12, 1, (1, 4, 5, 6), False),  # one axis of 120 then
        (13, 1, (1, 4, 5, 6), True),
        (13, None, (1, 4, 5, 6), True),  # channels are last then
        (13, 2, (1, 4, 5, 6), False),
        (13, -3, (1, 4, 5, 6), True),
    ],
)
def test_axes_of_shares(opset: int, axis: int | None, shape: tuple[int, ...], legal: bool, imported: Import) -> None:  # noqa: FBT001
    node = ("Softmax", "x", "y", {} if axis is None else {"axis": axis})
    if legal:
        assert kinds(imported(node, x=shape, opset=opset)) == "Softmax"
    else:
        assert "the axis of channels" in refusals(imported, node, x=shape, opset=opset)[0]
