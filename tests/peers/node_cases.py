"""Random nodes of every kind, with the numbers they work on: mostly small integers, so that sums are exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from nn512.graph import (
    ACTIVATIONS,
    LRN,
    POOLINGS,
    Activation,
    Add,
    BatchNorm,
    Binary,
    Concat,
    Conv,
    Div,
    FullyConnected,
    Layer,
    LayerNorm,
    Max,
    Min,
    Mul,
    Pooling,
    RMSNorm,
    Shuffle,
    Slice,
    Softmax,
    Sub,
)
from nn512.graph.axes import AXES
from reference.windows import Array

EXACT = ("Abs", "Clip", "Neg", "PReLU", "ReLU")
"""Activation functions that choose between numbers, rather than compute."""

Arrays = list[Array]
Case = tuple[Layer, Arrays]
"""A node, and the arrays it works on: what it reads, then its parameters in the order of `ops`."""


def integers(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-8, 9, shape).astype(np.float64)


def conv_case(rng: np.random.Generator) -> Case:
    groups, per_group, filters, stride_h, stride_w, dilation_h, dilation_w = rng.integers(1, 4, 7).tolist()
    filter_h, filter_w, height, width = rng.integers(1, 5, 2).tolist() + rng.integers(1, 9, 2).tolist()
    reach = (1 + (filter_h - 1) * dilation_h, 1 + (filter_w - 1) * dilation_w)
    top, left, *more = rng.integers(0, 5, 4).tolist()
    bottom, right = (
        n + max(0, r - size - before)
        for n, r, size, before in zip(more, reach, (height, width), (top, left), strict=True)
    )
    node = Conv(
        "x",
        "y",
        groups * filters,
        filter_h,
        filter_w,
        stride_h,
        stride_w,
        padding_top=top,
        padding_bottom=bottom,
        padding_left=left,
        padding_right=right,
        dilation_h=dilation_h,
        dilation_w=dilation_w,
        groups=groups,
    )
    weights = integers(rng, node.to_channels, per_group, filter_h, filter_w)
    return node, [integers(rng, groups * per_group, height, width), weights, integers(rng, node.to_channels)]


def fully_connected_case(rng: np.random.Generator) -> Case:
    channels, height, width, filters = rng.integers(1, 6, 4).tolist()
    node = FullyConnected("x", "y", filters)
    x, weights = integers(rng, channels, height, width), integers(rng, filters, channels, height, width)
    return node, [x, weights, integers(rng, filters)]


def batch_norm_case(rng: np.random.Generator) -> Case:
    x = any_shape(rng)
    epsilon = float(rng.choice([1e-5, 1e-3, 0.5]))
    means, scales, shifts = (integers(rng, len(x)) for _ in range(3))
    return BatchNorm("x", "y", epsilon), [x, means, rng.integers(1, 9, len(x)).astype(np.float64), scales, shifts]


def activation_case(kind: str) -> Callable[[np.random.Generator], Case]:
    """Of float32, large and small; integers where nothing is rounded."""

    def case(rng: np.random.Generator) -> Case:
        x = any_shape(rng)
        if kind not in EXACT:
            x = (rng.standard_normal(x.shape) * rng.choice([0.01, 1, 8])).astype(np.float32).astype(np.float64)
        match kind:
            case "ReLU":
                return Activation("x", "y", kind, float(rng.choice([0, 0.25, -1, 1, 2, -0.5]))), [x]
            case "ELU":
                return Activation("x", "y", kind, float(rng.choice([0.25, 1, 2]))), [x]
            case "Clip":  # the bounds are operands in ONNX
                least, greatest = float(rng.choice([-2, -0.5, 0])), float(rng.choice([0.25, 1, 6]))
                return Activation("x", "y", kind, min=least, max=greatest), [x, np.array(least), np.array(greatest)]
            case "PReLU":
                return Activation("x", "y", kind), [x, integers(rng, len(x), 1, 1)]
            case "HardSigmoid":
                alpha, beta = float(rng.choice([0.125, 0.25, 1])), float(rng.choice([-1, 0, 0.5]))
                return Activation("x", "y", kind, alpha=alpha, beta=beta), [x]
            case _:
                return Activation("x", "y", kind), [x]

    return case


def binary_case(kind: type[Binary]) -> Callable[[np.random.Generator], Case]:
    """With a second tensor that has extents of 1 in places; what divides are powers of two."""

    def case(rng: np.random.Generator) -> Case:
        x = any_shape(rng)
        other = integers(rng, *(int(rng.choice([1, n, n])) for n in x.shape))
        return kind("x", "z", "y"), [x, np.exp2(np.round(other)) if kind is Div else other]

    return case


def concat_case(rng: np.random.Generator) -> Case:
    x, axis = any_shape(rng), int(rng.integers(3))
    extents = list(x.shape)
    extents[axis] = int(rng.integers(1, 5))
    return Concat("x", "z", "y", axis=AXES[axis]), [x, integers(rng, *extents)]


def slice_case(rng: np.random.Generator) -> Case:
    x, axis, step = any_shape(rng), int(rng.integers(3)), int(rng.integers(1, 4))
    first = int(rng.integers(x.shape[axis]))
    count = int(rng.integers(1, (x.shape[axis] - 1 - first) // step + 2))
    return Slice("x", "y", first, count, step, axis=AXES[axis]), [x]


def shuffle_case(rng: np.random.Generator) -> Case:
    groups, height, width = rng.integers(1, 5, 3)
    return Shuffle("x", "y", int(groups)), [integers(rng, int(groups * rng.integers(1, 6)), int(height), int(width))]


def pooling_case(rng: np.random.Generator) -> Case:
    kind = str(rng.choice(POOLINGS))
    node, x = Pooling("x", "y", kind), any_shape(rng)
    if node.is_global:
        return node, [x]
    if rng.integers(2):
        least = [max(0, math.ceil((node.window_h - n) / 2)) for n in x.shape[1:]]
        paddings = [int(rng.integers(n, node.window_h)) for n in least]
        return Pooling("x", "y", kind, paddings[0], paddings[1]), [x]
    window = rng.integers(1, 6, 2)
    sides = [(int(rng.integers(0, w)), int(rng.integers(0, w))) for w in window]
    x = integers(rng, 3, *[max(int(rng.integers(1, 9)), int(w) - sum(s)) for w, s in zip(window, sides, strict=True)])
    strides, is_max = rng.integers(1, 5, 2), bool(rng.integers(2))
    node = Pooling(
        "x", "y", "Max" if is_max else "Avg",
        window_h=int(window[0]), window_w=int(window[1]), stride_h=int(strides[0]), stride_w=int(strides[1]),
        padding_top=sides[0][0], padding_bottom=sides[0][1], padding_left=sides[1][0], padding_right=sides[1][1],
        count_padding=0 if is_max else int(rng.integers(2)),
    )  # fmt: skip
    return node, [x]


def softmax_case(rng: np.random.Generator) -> Case:
    return Softmax("x", "y"), [any_shape(rng) * float(rng.choice([0.25, 1, 20]))]


def layer_norm_case(rng: np.random.Generator) -> Case:
    x = any_shape(rng) * float(rng.choice([0.25, 1, 20])) + float(rng.choice([0, 30]))
    return LayerNorm("x", "y", float(rng.choice([1e-5, 0.5]))), [x, *(integers(rng, len(x)) for _ in range(2))]


def rms_norm_case(rng: np.random.Generator) -> Case:
    x = any_shape(rng) * float(rng.choice([0.25, 1, 20]))
    return RMSNorm("x", "y", float(rng.choice([1e-5, 0.5]))), [x, integers(rng, len(x))]


def lrn_case(rng: np.random.Generator) -> Case:
    numbers = (float(rng.choice(some)) for some in ([0.5, 2], [0.5, 0.75, 1, 1.5], [0.25, 1, 2]))
    return LRN("x", "y", int(rng.choice([1, 2, 3, 4, 5, 7, 9])), *numbers), [any_shape(rng)]


def any_shape(rng: np.random.Generator) -> Array:
    return integers(rng, *rng.integers(1, 9, 3))


KINDS: dict[str, Callable[[np.random.Generator], Case]] = {
    "Conv": conv_case,
    "FullyConnected": fully_connected_case,
    "BatchNorm": batch_norm_case,
    **{kind: activation_case(kind) for kind in ACTIVATIONS},
    **{kind.__name__: binary_case(kind) for kind in (Add, Sub, Mul, Div, Max, Min)},
    "Concat": concat_case,
    "Slice": slice_case,
    "Shuffle": shuffle_case,
    "Pooling": pooling_case,
    "Softmax": softmax_case,
    "LayerNorm": layer_norm_case,
    "RMSNorm": rms_norm_case,
    "LRN": lrn_case,
}


def cases(kind: str, count: int) -> Iterator[Case]:
    """The first `count` cases of a node kind, the same in every run."""
    rng = np.random.default_rng(list(KINDS).index(kind))
    for _ in range(count):
        yield KINDS[kind](rng)
