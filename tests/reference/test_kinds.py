"""The definitions against scalar loops written from the language's prose, and the fast path against the definitions."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from nn512.graph import (
    KINDS,
    LRN,
    POOLINGS,
    BatchNorm,
    Config,
    Conv,
    Input,
    LayerNorm,
    Output,
    Pooling,
    RMSNorm,
    Slice,
    parse,
)
from reference import fast, functions, kinds
from reference.kinds.pooling import Pool
from reference.windows import Array, Window

SPECIALS = (math.nan, math.inf, -math.inf, 0.0, -0.0)


def tensor(rng: np.random.Generator, *shape: int, specials: bool = False) -> Array:
    """Small multiples of 1/4, so that sums are exact in any order; sometimes NaN, infinities and zeros."""
    x = rng.integers(-9, 10, shape) / 4
    if specials:
        planted = rng.random(shape) < rng.choice([0.0, 0.02, 0.2])
        x[planted] = rng.choice(SPECIALS, planted.sum())
    return x


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Conv, Array, Array, Array]:
    """Any legal convolution of tiny extent, padding beyond the filter included, with its operands."""
    small = st.integers(1, 3)
    groups, per_group, filters = draw(small), draw(small), draw(small)
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    filter_h, filter_w = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation_h, dilation_w = draw(small), draw(small)
    top, left = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    bottom = draw(st.integers(0, 5)) + max(0, 1 + (filter_h - 1) * dilation_h - height - top)
    right = draw(st.integers(0, 5)) + max(0, 1 + (filter_w - 1) * dilation_w - width - left)
    node = Conv(
        "x",
        "y",
        groups * filters,
        filter_h,
        filter_w,
        draw(st.integers(1, 4)),
        draw(st.integers(1, 4)),
        padding_top=top,
        padding_bottom=bottom,
        padding_left=left,
        padding_right=right,
        dilation_h=dilation_h,
        dilation_w=dilation_w,
        groups=groups,
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = tensor(rng, groups * per_group, height, width, specials=True)
    return node, x, tensor(rng, node.to_channels, per_group, filter_h, filter_w), tensor(rng, node.to_channels)


@st.composite
def poolings(draw: st.DrawFn) -> tuple[Pooling, Array]:
    """Any legal pooling of a tiny tensor."""
    kind = draw(st.sampled_from(POOLINGS))
    named = Pooling("x", "y", kind)
    window = named.window_h
    shape = [draw(st.integers(1, n)) for n in (3, 8, 8)]
    paddings = [0, 0]
    if not named.is_global:
        for axis in (0, 1):
            least = max(0, math.ceil((window - shape[1 + axis]) / 2))
            paddings[axis] = draw(st.integers(least, window - 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Pooling("x", "y", kind, paddings[0], paddings[1]), tensor(rng, *shape, specials=True)


def conv_by_loops(node: Conv, x: Array, weights: Array, biases: Array) -> Any:
    """The double sum, one number at a time; cells outside the tensor are zeros."""
    channels, height, width = x.shape
    per_group, per_filter = channels // node.groups, node.to_channels // node.groups
    room_h = height + node.padding_top + node.padding_bottom - (1 + (node.filter_h - 1) * node.dilation_h)
    room_w = width + node.padding_left + node.padding_right - (1 + (node.filter_w - 1) * node.dilation_w)
    out_h, out_w = room_h // node.stride_h + 1, room_w // node.stride_w + 1
    y = [[[float(biases[k])] * out_w for _ in range(out_h)] for k in range(node.to_channels)]
    for k, p, q in itertools.product(range(node.to_channels), range(out_h), range(out_w)):
        for c, i, j in itertools.product(range(per_group), range(node.filter_h), range(node.filter_w)):
            row = p * node.stride_h - node.padding_top + i * node.dilation_h
            column = q * node.stride_w - node.padding_left + j * node.dilation_w
            if 0 <= row < height and 0 <= column < width:
                y[k][p][q] += float(weights[k, c, i, j]) * float(x[k // per_filter * per_group + c, row, column])
    return y


@given(convolutions())
def test_conv_is_the_double_sum(case: tuple[Conv, Array, Array, Array]) -> None:
    node, x, weights, biases = case
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(kinds.conv.value(x, weights, biases, node), conv_by_loops(*case))


def quick_conv(x: Array, weights: Array, biases: Array, node: Conv) -> Array:
    return fast.correlate(x, weights, kinds.conv.window_of(node)) + biases[:, np.newaxis, np.newaxis]


@given(convolutions(), st.sampled_from((1, 50, 1 << 22)))
def test_fast_conv_is_conv(case: tuple[Conv, Array, Array, Array], block: int) -> None:
    node, x, weights, biases = case
    with pytest.MonkeyPatch.context() as patch, np.errstate(invalid="ignore"):
        patch.setattr(fast, "BLOCK", block)
        np.testing.assert_array_equal(quick_conv(x, weights, biases, node), kinds.conv.value(x, weights, biases, node))


@given(convolutions(), st.integers(0, 3), st.sampled_from((1, 50, 1 << 22)))
def test_several_images_at_once(case: tuple[Conv, Array, Array, Array], images: int, block: int) -> None:
    node, x, weights, _ = case
    several = np.stack([x * (image + 1) for image in range(images)] or [x], axis=1)[:, :images]
    with pytest.MonkeyPatch.context() as patch, np.errstate(invalid="ignore"):
        patch.setattr(fast, "BLOCK", block)
        together = fast.correlate(several, weights, kinds.conv.window_of(node))
        whole = np.ones((2, *x.shape)) * np.arange(float(x.shape[-1]))
        projected = fast.project(several, whole)
        assert together.shape[1] == projected.shape[1] == images
        for image in range(images):
            np.testing.assert_array_equal(
                together[:, image], fast.correlate(several[:, image], weights, kinds.conv.window_of(node))
            )
            np.testing.assert_array_equal(projected[:, image], fast.project(several[:, image], whole))


@given(convolutions())
def test_touched_is_where_a_marked_cell_arrives(case: tuple[Conv, Array, Array, Array]) -> None:
    node, x, weights, biases = case
    mask = ~np.isfinite(x)
    arrives = kinds.conv.value(mask.astype(np.float64), np.ones_like(weights), np.zeros_like(biases), node) > 0
    np.testing.assert_array_equal(
        fast.touched(mask, node.to_channels, node.groups, kinds.conv.window_of(node)), arrives
    )


def test_conv_by_hand() -> None:
    # A 1x3 row and a filter of two taps, one cell of padding: the filter is not flipped and the padding is zero.
    node = Conv("x", "y", 1, 1, 2, padding_w=1)
    y = kinds.conv.value(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[[10.0, 1.0]]]]), np.array([0.5]), node)
    np.testing.assert_array_equal(y, [[[1.5, 12.5, 23.5, 30.5]]])
    # Causal: no result sees what comes later.
    causal = replace(node, padding_right=0)
    y = kinds.conv.value(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[[10.0, 1.0]]]]), np.array([0.5]), causal)
    np.testing.assert_array_equal(y, [[[1.5, 12.5, 23.5]]])


def test_a_zero_weight_does_not_hide_an_infinity() -> None:
    node = Conv("x", "y", 1, 1, 1)
    for evaluate in (kinds.conv.value, quick_conv):
        with np.errstate(invalid="ignore"):
            y = evaluate(np.array([[[math.inf, 1.0]]]), np.zeros((1, 1, 1, 1)), np.array([2.0]), node)
        np.testing.assert_array_equal(y, [[[math.nan, 2.0]]])


@given(st.tuples(*[st.integers(1, 4)] * 4), st.integers(0, 2**32), st.sampled_from((1, 20, 1 << 22)))
def test_fully_connected_is_a_convolution_of_everything(sizes: tuple[int, ...], seed: int, block: int) -> None:
    filters, *shape = sizes
    rng = np.random.default_rng(seed)
    x, weights = tensor(rng, *shape, specials=True), tensor(rng, filters, *shape)
    biases = tensor(rng, filters)
    with pytest.MonkeyPatch.context() as patch, np.errstate(invalid="ignore"):
        patch.setattr(fast, "BLOCK", block)
        y = kinds.fully_connected.value(x, weights, biases)
        np.testing.assert_array_equal(y, conv_by_loops(Conv("x", "y", filters, shape[1], shape[2]), x, weights, biases))
        quick = fast.project(x, weights.astype(np.float32)) + biases[:, np.newaxis, np.newaxis]
        np.testing.assert_array_equal(quick, y)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32), st.sampled_from((0.0, 1e-5, 2.0)))
def test_batch_norm_is_its_formula(channels: int, width: int, seed: int, epsilon: float) -> None:
    rng = np.random.default_rng(seed)
    x = tensor(rng, channels, 2, width, specials=True)
    means, scales, shifts = (tensor(rng, channels) for _ in range(3))
    variances = rng.uniform(0.1, 3.0, channels)
    with np.errstate(invalid="ignore"):
        y = kinds.batch_norm.value(x, means, variances, scales, shifts, BatchNorm("x", "y", epsilon))
        for c, p, q in np.ndindex(x.shape):
            expected = scales[c] * (x[c, p, q] - means[c]) / math.sqrt(variances[c] + epsilon) + shifts[c]
            np.testing.assert_allclose(y[c, p, q], expected, rtol=1e-14, atol=1e-14)


@given(st.data())
def test_concat_slice_and_shuffle_move_what_they_say(data: st.DataObject) -> None:
    """One number at a time; NaN, infinities and zeros are moved as everything is."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    axis, extent = data.draw(st.integers(0, 2)), data.draw(st.integers(1, 7))
    xs = [tensor(rng, *(extent + i if a == axis else 2 for a in range(3)), specials=True) for i in range(3)]
    y = kinds.concat.value(*xs, axis=axis)
    lines = [line for x in xs for line in np.moveaxis(x, axis, 0)]
    np.testing.assert_array_equal(np.moveaxis(y, axis, 0), lines)
    first, step = data.draw(st.integers(0, extent - 1)), data.draw(st.integers(1, 3))
    count = data.draw(st.integers(1, (extent - 1 - first) // step + 1))
    node = Slice("x", "y", first, count, step, axis=("Channels", "Height", "Width")[axis])
    expected = [np.moveaxis(xs[0], axis, 0)[first + i * step] for i in range(count)]
    np.testing.assert_array_equal(np.moveaxis(kinds.slice.value(xs[0], node), axis, 0), expected)
    groups, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    x = tensor(rng, groups * size, 2, 3, specials=True)
    shuffled = kinds.shuffle.value(x, groups)
    for j, i in itertools.product(range(size), range(groups)):
        np.testing.assert_array_equal(shuffled[j * groups + i], x[i * size + j])


BINARIES: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if b else math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * sign(b),
    "max": lambda a, b: math.nan if math.isnan(a) or math.isnan(b) else max(a, b),
    "min": lambda a, b: math.nan if math.isnan(a) or math.isnan(b) else min(a, b),
}


def sign(number: float) -> float:
    return math.copysign(1.0, number)


@pytest.mark.parametrize("kind", BINARIES)
@given(st.data())
def test_functions_of_two_tensors_by_loops(kind: str, data: st.DataObject) -> None:
    """The second tensor has the extents of the first, or 1."""
    shape = tuple(data.draw(st.integers(1, 3)) for _ in range(3))
    spread = tuple(data.draw(st.sampled_from((1, extent))) for extent in shape)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x1, x2 = tensor(rng, *shape, specials=True), tensor(rng, *spread, specials=True)
    with np.errstate(all="ignore"):
        y = getattr(kinds, kind).value(x1, x2)
    assert y.shape == shape
    for c, h, w in np.ndindex(shape):
        other = x2[c % spread[0], h % spread[1], w % spread[2]]
        np.testing.assert_array_equal(y[c, h, w], BINARIES[kind](float(x1[c, h, w]), float(other)))


def test_add_and_concat() -> None:
    one, two = np.array([[[1.0, math.inf]]]), np.array([[[3.0, -math.inf]]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(kinds.add.value(one, two), [[[4.0, math.nan]]])
    np.testing.assert_array_equal(kinds.concat.value(one, two), [[[1.0, math.inf]], [[3.0, -math.inf]]])


def cells(node: Pooling, x: Array, p: int, q: int) -> Iterator[tuple[int, int]]:
    """The real cells of the window of output p, q."""
    if node.is_global:
        yield from itertools.product(range(x.shape[1]), range(x.shape[2]))
        return
    for i, j in itertools.product(range(node.window_h), range(node.window_w)):
        row, column = 2 * p - node.padding_h + i, 2 * q - node.padding_w + j
        if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
            yield row, column


@given(poolings())
def test_pooling_by_loops(case: tuple[Pooling, Array]) -> None:
    node, x = case
    with np.errstate(invalid="ignore"):
        y = kinds.pooling.value(x, node)
    if node.is_global:
        assert y.shape == (len(x), 1, 1)
    else:
        out_h = (x.shape[1] + 2 * node.padding_h - node.window_h) // 2 + 1
        assert y.shape == (len(x), out_h, (x.shape[2] + 2 * node.padding_w - node.window_w) // 2 + 1)
    for c, p, q in np.ndindex(y.shape):
        values = [float(x[c, row, column]) for row, column in cells(node, x, p, q)]
        if node.is_max:
            expected = math.nan if any(map(math.isnan, values)) else max(values)
        else:
            expected = sum(values) / len(values)
        np.testing.assert_allclose(y[c, p, q], expected, rtol=1e-14)


def test_poolings_by_hand() -> None:
    """Windows of 2x2 on 1, 2 / 3, 4 with a column of padding left and a row below."""
    x = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    sides: dict[str, Any] = {"padding_left": 1, "padding_bottom": 1}

    def values(kind: str, **fields: Any) -> Any:
        return kinds.pooling.value(x, Pooling("x", "y", kind, window_h=2, window_w=2, **fields, **sides))[0].tolist()

    assert values("Max") == [[3.0, 4.0], [3.0, 4.0]]
    assert values("Avg") == [[2.0, 2.5], [3.0, 3.5]]
    assert values("Avg", count_padding=1) == [[1.0, 2.5], [0.75, 1.75]]
    assert values("Avg", stride_h=3) == [[2.0, 2.5]]


def test_pooling_ignores_padding() -> None:
    x = np.array([[[-4.0, -2.0], [-8.0, -6.0]]])
    largest = kinds.pooling.value(x, Pooling("x", "y", "Max2x2Stride2", 1, 1))
    np.testing.assert_array_equal(largest, [[[-4.0, -2.0], [-8.0, -6.0]]])
    np.testing.assert_array_equal(kinds.pooling.value(x, Pooling("x", "y", "Avg3x3Stride2", 1, 1)), [[[-5.0]]])


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32))
def test_softmax_by_loops(channels: int, width: int, seed: int) -> None:
    x = tensor(np.random.default_rng(seed), channels, 2, width, specials=True) * 40
    with np.errstate(invalid="ignore"):
        y = kinds.softmax.value(x)
    for p, q in np.ndindex(x.shape[1:]):
        column = [float(v) for v in x[:, p, q]]
        if any(math.isnan(v) or v == math.inf for v in column) or max(column) == -math.inf:
            assert np.isnan(y[:, p, q]).all()
        else:
            powers = [math.exp(v - max(column)) for v in column]
            np.testing.assert_allclose(y[:, p, q], [v / sum(powers) for v in powers], rtol=1e-12)


def test_softmax_of_large_numbers_does_not_overflow() -> None:
    y = kinds.softmax.value(np.array([1e30, 1e30, -1e30]).reshape(3, 1, 1))
    np.testing.assert_array_equal(y.ravel(), [0.5, 0.5, 0.0])


@given(st.integers(1, 20), st.integers(1, 4), st.sampled_from((1e-5, 0.5)), st.integers(0, 2**32))
def test_normalized_channels_by_loops(channels: int, width: int, epsilon: float, seed: int) -> None:
    """One number that is not finite makes a layer norm NaN; an infinity makes the others 0 in a division by the RMS."""
    rng = np.random.default_rng(seed)
    x = tensor(rng, channels, 2, width, specials=True) + 3
    scales, shifts = rng.standard_normal((2, channels))
    with np.errstate(invalid="ignore"):
        centred = kinds.layer_norm.value(x, scales, shifts, LayerNorm("x", "y", epsilon))
        plain = kinds.rms_norm.value(x, scales, RMSNorm("x", "y", epsilon))
    for p, q in np.ndindex(x.shape[1:]):
        column = [float(v) for v in x[:, p, q]]
        if all(map(math.isfinite, column)):
            mean = math.fsum(column) / channels
            spread = math.sqrt(math.fsum((v - mean) ** 2 for v in column) / channels + epsilon)
            wanted = [(v - mean) / spread * a + b for v, a, b in zip(column, scales, shifts, strict=True)]
            root = math.sqrt(math.fsum(v * v for v in column) / channels + epsilon)
            np.testing.assert_allclose(centred[:, p, q], wanted, rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(plain[:, p, q], [v / root * a for v, a in zip(column, scales, strict=True)])
        else:
            assert np.isnan(centred[:, p, q]).all()
            some = any(map(math.isnan, column))
            wanted = [math.nan if some or math.isinf(v) else 0.0 for v in column]
            np.testing.assert_array_equal(plain[:, p, q], wanted)


NORMED = """
Config Input ToTensor=x Channels=3 Height=1 Width=4 {kind} FromTensor=x ToTensor=y Epsilon={epsilon}
Output FromTensor=y
"""


@pytest.mark.parametrize(
    ("epsilon", "centred", "plain"),
    [
        (0.0, [False, True, True, True], [False, False, True, True]),
        (0.1, [False, False, True, False], [False, False, True, False]),
    ],
)
def test_where_no_normalization_is_promised(epsilon: float, centred: list[bool], plain: list[bool]) -> None:
    """Of 1 2 3, of three ones, of what overflows in squares, and of what vanishes in them."""
    columns = np.array([[1, 1, 3e19, 1e-25], [2, 1, -3e19, 2e-25], [3, 1, 1, 3e-25]], np.float32)[:, np.newaxis]
    params = {"yScales": np.ones(3, np.float32), "yShifts": np.zeros(3, np.float32)}
    for kind, wanted in (("LayerNorm", centred), ("RMSNorm", plain)):
        graph = parse(NORMED.format(kind=kind, epsilon=epsilon))
        needed = {parameter.name: params[parameter.name] for parameter in graph.parameters}
        result = reference.run(graph, needed, {"x": columns})["y"]
        assert result.unspecified.tolist() == [[wanted]] * 3


@given(st.integers(1, 20), st.integers(1, 33), st.sampled_from((0.5, 0.75, 1.3)), st.integers(0, 2**32))
def test_local_responses_by_loops(channels: int, size: int, beta: float, seed: int) -> None:
    """As ONNX has it: of an even window, the larger half is behind the channel."""
    rng = np.random.default_rng(seed)
    x = tensor(rng, channels, 2, 2, specials=True)
    with np.errstate(invalid="ignore"):
        y = kinds.lrn.value(x, LRN("x", "y", size, 2.0, beta, 0.5))
    for p, q in np.ndindex(x.shape[1:]):
        for c in range(channels):
            window = x[max(0, c - (size - 1) // 2) : c + size // 2 + 1, p, q]
            with np.errstate(invalid="ignore"):
                wanted = x[c, p, q] / (0.5 + 2 / size * np.square(window).sum()) ** float(np.float32(beta))
            np.testing.assert_allclose(y[c, p, q], wanted, rtol=1e-12)


def test_equal_channels_are_normalized_to_anything() -> None:
    """What the mean of equal numbers errs by is all there is; it is never more than the root of their number."""
    graph = parse(NORMED.format(kind="LayerNorm", epsilon="0.00001"))
    params = {"yScales": np.ones(3, np.float32), "yShifts": np.zeros(3, np.float32)}
    x = np.array([1.1, 11.1, 111.1, 1e6], np.float32) * np.ones((3, 1, 1), np.float32)
    result = reference.run(graph, params, {"x": x})["y"]
    sigma = np.sqrt(result.variance[0, 0])
    assert (np.diff(sigma) > 0).all()
    assert sigma[0] < 1e-3
    assert 1 < sigma[-1] <= 3


def test_every_kind_of_layer_has_one_entry() -> None:
    layers = {kind for kind in KINDS if kind not in (Config, Input, Output)}
    entries = [kind.node for kind in kinds.KINDS]
    assert len(entries) == len(set(entries))
    assert set(entries) == layers


def test_the_docstrings_of_the_values_are_the_specification() -> None:
    for kind in kinds.KINDS:
        module = sys.modules[type(kind).__module__]
        assert module.value.__doc__, module.__name__
    for function in functions.FUNCTIONS:
        assert (type(function).value.__doc__ or "").startswith(f"{function.kind}: ")


@st.composite
def pools(draw: st.DrawFn) -> tuple[Pool, Array]:
    """Any window, stride and four paddings, each smaller than the window; with specials or without."""
    size = [draw(st.integers(1, 5)) for _ in range(2)]
    pads = [draw(st.integers(0, extent - 1)) for extent in (size[0], size[0], size[1], size[1])]
    least = [max(1, size[0] - pads[0] - pads[1]), max(1, size[1] - pads[2] - pads[3])]
    shape = [draw(st.integers(low, low + 6)) for low in least]
    stride = [draw(st.integers(1, 4)) for _ in range(2)]
    window = Window(size[0], size[1], stride[0], stride[1], 1, 1, pads[0], pads[1], pads[2], pads[3])
    x = tensor(np.random.default_rng(draw(st.integers(0, 1000))), 2, *shape, specials=draw(st.booleans()))
    return Pool(window, is_max=draw(st.booleans()), count_padding=draw(st.booleans())), x


@given(pools())
def test_pooling_of_any_numbers_by_loops(case: tuple[Pool, Array]) -> None:
    pool, x = case
    window, (_, height, width) = pool.window, x.shape
    with np.errstate(all="ignore"):
        y = pool.of(x)
    rows = (height + window.top + window.bottom - window.height) // window.stride_h + 1
    columns = (width + window.left + window.right - window.width) // window.stride_w + 1
    assert y.shape == (2, rows, columns)
    for c, p, q in np.ndindex(y.shape):
        top, left = p * window.stride_h - window.top, q * window.stride_w - window.left
        inside = [
            float(x[c, i, j])
            for i in range(max(top, 0), min(top + window.height, height))
            for j in range(max(left, 0), min(left + window.width, width))
        ]
        if any(map(math.isnan, inside)):
            assert math.isnan(y[c, p, q])
        elif pool.is_max:
            assert y[c, p, q] == max(inside)
        elif math.inf in inside and -math.inf in inside:
            assert math.isnan(y[c, p, q])
        else:
            cells = window.height * window.width if pool.count_padding else len(inside)
            assert y[c, p, q] == pytest.approx(sum(inside) / cells)


@given(pools())
def test_variance_of_pooling_of_any_numbers(case: tuple[Pool, Array]) -> None:
    """Float32 sums of the cells stay within it, and the maximum has the variance of a cell that can win."""
    pool, x = case
    x = np.where(np.isfinite(x), x, 1.0)
    before = np.full(x.shape, 1e-4)
    y = pool.of(x)
    found = kinds.pooling.variance(x, before, y, pool)
    assert found.shape == y.shape
    if pool.is_max:
        assert (found == 1e-4).all()
        return
    real = pool.window.real_cells(x)
    assert found == pytest.approx(np.broadcast_to(1e-4 * (real / pool.cells(x)) ** 2, y.shape), rel=1e-3)
    own = kinds.pooling.averaging(x, y, pool)
    rounded = pool.window.taps(x).astype(np.float32).sum(axis=(-2, -1), dtype=np.float32) / pool.cells(x)
    assert (np.abs(rounded - pool.of(x.astype(np.float32).astype(np.float64))) <= 8 * np.sqrt(own)).all()


def test_a_window_that_is_the_tensor_is_the_whole() -> None:
    x = np.random.default_rng(8).standard_normal((3, 5, 7))
    for is_max in (False, True):
        window, whole = Pool(Window(5, 7), is_max), Pool(Window(5, 7), is_max, whole=True)
        assert window.of(x) == pytest.approx(whole.of(x))
        assert window.cells(x) == pytest.approx(whole.cells(x))
        before = np.square(x)
        of_window, of_whole = (kinds.pooling.variance(x, before, pool.of(x), pool) for pool in (window, whole))
        assert of_window == pytest.approx(of_whole)
