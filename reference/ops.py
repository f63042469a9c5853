"""What every node kind means: one function per kind, in float64. The docstrings are the specification.

Conventions of this file. A tensor is an array of shape C x H x W (the batch is always 1); `x` is what the node reads.
Inputs and parameters are float32 and are converted to float64 exactly. A node's result is the real number its
definition names; `reference.variance` says how far a float32 evaluation may lie from it, `reference.domain` where
nothing is promised.

Rules that hold for every kind:

* Parameters must be finite; results that depend on a parameter that is not are unspecified.
* Non-finite tensor values follow IEEE 754 (inf - inf, 0 * inf and anything with NaN are NaN) unless a docstring says
  otherwise.
* -0 and +0 are the same number: no node promises the sign of a zero.
* A result beyond the float32 range, or one whose evaluation in some order passes beyond it, is unspecified.
* Numbers in a graph file (slopes) are the float32 nearest to the text.

Source of the definitions: the graph language of NN-512 (nn-512.com) with the gaps in it filled as stated here.
"""

from __future__ import annotations

from typing import Any, TypeAlias, assert_never

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from nn512.graph.nodes import Activation, BatchNorm, Conv, Pooling

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]


def conv(x: Array, weights: Array, biases: Array, node: Conv) -> Array:
    """Cross-correlation (the filter is not flipped) with zero padding, plus a bias per output channel.

    `x` is C x H x W, `weights` K x C/G x FH x FW, `biases` K; G divides C and K. The result is K x OH x OW with OH =
    floor((H + 2 PH - (1 + (FH-1) DH)) / SH) + 1 and likewise OW. Output channel k belongs to group g = k div (K/G)
    and sees input channels g C/G to (g+1) C/G - 1 only:

        y[k,p,q] = biases[k] + sum over c,i,j of weights[k,c,i,j] * padded[g*C/G + c, p*SH + i*DH, q*SW + j*DW]

    Cells of the padding are zeros, so with finite weights it does not matter whether an implementation multiplies
    them or skips them. A weight of zero does not hide an infinity: 0 * inf is NaN. The padding may be larger than the
    filter; the remainder of the division by the stride leaves rows and columns at the bottom and right unread.
    """
    taps = windows(pad(x, node, 0.0), node)
    grouped = taps.reshape(node.groups, -1, *taps.shape[1:])
    filters = weights.reshape(node.groups, -1, *weights.shape[1:])
    y = np.einsum("gcpqij,gkcij->gkpq", grouped, filters)
    return np.asarray(y.reshape(len(weights), *y.shape[2:]) + biases[:, np.newaxis, np.newaxis])


def fully_connected(x: Array, weights: Array, biases: Array) -> Array:
    """Weighted sums of the whole tensor: y[k] = biases[k] + sum over c,h,w of weights[k,c,h,w] * x[c,h,w].

    `weights` is K x C x H x W, `biases` K, the result K x 1 x 1. A weight of zero does not hide an infinity.
    """
    return np.asarray(np.einsum("chw,kchw->k", x, weights) + biases)[:, np.newaxis, np.newaxis]


def batch_norm(x: Array, means: Array, variances: Array, scales: Array, shifts: Array, node: BatchNorm) -> Array:
    """Per channel c: scales[c] * (x[c] - means[c]) / sqrt(variances[c] + Epsilon) + shifts[c]; shape unchanged.

    variances[c] + Epsilon must be positive, otherwise channel c is unspecified. A scale of zero does not hide an
    infinity. Folding the node into a neighbouring convolution is legal.
    """
    factor = (scales / np.sqrt(variances + node.epsilon))[:, np.newaxis, np.newaxis]
    return factor * (x - means[:, np.newaxis, np.newaxis]) + shifts[:, np.newaxis, np.newaxis]


def activation(x: Array, node: Activation) -> Array:
    """ReLU: x where x > 0, otherwise Param * x, with Param rounded to float32; shape unchanged.

    NaN stays NaN. Param 0 means max(x, 0), so -inf gives 0 (the product would be NaN); any other slope is the product.
    """
    match node.kind:
        case "ReLU":
            slope = slope_of(node)
            return np.maximum(x, 0.0) if slope == 0 else np.where(x > 0, x, slope * x)
        case _:
            raise NotImplementedError(node.kind)


def add(x1: Array, x2: Array) -> Array:
    """Element-wise sum of two tensors of the same shape, which may be the same tensor."""
    return x1 + x2


def concat(x1: Array, x2: Array) -> Array:
    """The channels of `x1` followed by those of `x2`; both have the same height and width."""
    return np.concatenate((x1, x2))


def pooling(x: Array, node: Pooling) -> Array:
    """Maximum or average over windows, channel by channel.

    Windows are 2x2 or 3x3 with stride 2, or the whole tensor (the result is then C x 1 x 1). Otherwise the result has
    height floor((H + 2 PH - window) / 2) + 1, likewise the width. Cells of the padding take no part: the maximum
    ignores them and the average divides by the number of real cells. The padding is smaller than the window, so every
    window has a real cell. NaN in a window makes the maximum NaN. The maximum of -inf alone is -inf. To take an average
    before the 1x1 convolution whose result it reads, and before batch normalization behind that, is legal.
    """
    if node.window is None:
        whole = x.max(axis=(1, 2)) if node.is_max else x.mean(axis=(1, 2))
        return np.asarray(whole)[:, np.newaxis, np.newaxis]
    if node.is_max:
        return np.asarray(windows(pad(x, node, -np.inf), node).max(axis=(-2, -1)))
    return np.asarray(windows(pad(x, node, 0.0), node).sum(axis=(-2, -1))) / real_cells(x, node)


def softmax(x: Array) -> Array:
    """At every position exp(x - m) / sum over channels of exp(x - m), m the maximum over channels; shape unchanged.

    As numpy evaluates it: a position that holds NaN or +inf, or nothing but -inf, is NaN in every channel; otherwise
    -inf gives 0.
    """
    powers = np.exp(x - x.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def slope_of(node: Activation) -> float:
    """The slope for x <= 0: the float32 nearest to Param."""
    return float(np.float32(node.param))


def geometry(node: Conv | Pooling) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Filter, stride and dilation of a node with windows, each as rows, columns."""
    match node:
        case Conv():
            return (node.filter_h, node.filter_w), (node.stride_h, node.stride_w), (node.dilation_h, node.dilation_w)
        case Pooling():
            window = node.window or 0  # global pooling has no windows and does not come here
            return (window, window), (2, 2), (1, 1)
        case _:
            assert_never(node)


def pad(x: Array, node: Conv | Pooling, fill: float) -> Array:
    """`x` with PaddingH rows above and below and PaddingW columns left and right, holding `fill`."""
    margins = ((0, 0), (node.padding_h, node.padding_h), (node.padding_w, node.padding_w))
    return np.pad(x, margins, constant_values=fill)


def windows(padded: npt.NDArray[np.generic], node: Conv | Pooling) -> npt.NDArray[Any]:
    """A view of shape C x OH x OW x FH x FW: the taps of every window of an already padded C x H x W array."""
    (filter_h, filter_w), (stride_h, stride_w), (dilation_h, dilation_w) = geometry(node)
    reach = (1 + (filter_h - 1) * dilation_h, 1 + (filter_w - 1) * dilation_w)
    dense = sliding_window_view(padded, reach, axis=(1, 2))
    return dense[:, ::stride_h, ::stride_w, ::dilation_h, ::dilation_w]


def real_cells(x: Array, node: Pooling) -> Array:
    """How many cells of each window lie inside the tensor: 1 x OH x OW."""
    return np.asarray(windows(pad(np.ones((1, *x.shape[1:])), node, 0.0), node).sum(axis=(-2, -1)))
