"""Convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from nn512.graph.nodes import Conv
from reference import by_tiles, fast, residues, running, runs, samples, shares, tiled_exact
from reference.accumulation import Affine
from reference.evaluation import Evaluation
from reference.exchange import Role
from reference.kinds.weighted_sum import ErrorsOfSums, WeightedSum, Weights, ways_of
from reference.residues import Dependent, Folded
from reference.rounding import Rounding
from reference.runs import Walk
from reference.stepping import Stepped, Stepping
from reference.windows import Array, Mask, Window


def value(x: Array, weights: Array, biases: Array, node: Conv) -> Array:
    """Cross-correlation (the filter is not flipped) with zero padding, plus a bias per output channel.

    `x` is C x H x W, `weights` K x C/G x FH x FW, `biases` K; G divides C and K. The result is K x OH x OW with OH =
    floor((H + PT + PB - (1 + (FH-1) DH)) / SH) + 1 and likewise OW. Output channel k belongs to group g = k div (K/G)
    and sees input channels g C/G to (g+1) C/G - 1 only. With PT, PB, PL, PR cells of padding at the top, the bottom,
    the left and the right of x:

        y[k,p,q] = biases[k] + sum over c,i,j of weights[k,c,i,j] * padded[g*C/G + c, p*SH + i*DH, q*SW + j*DW]

    Cells of the padding are zeros, so with finite weights it does not matter whether an implementation multiplies
    them or skips them. A weight of zero does not hide an infinity: 0 * inf is NaN. The padding of a side may be larger
    than the filter, and need not be that of the other side; the remainder of the division by the stride leaves rows and
    columns at the bottom and right unread.
    """
    taps = window_of(node).taps(x)
    grouped = taps.reshape(node.groups, -1, *taps.shape[1:])
    filters = weights.reshape(node.groups, -1, *weights.shape[1:])
    y = np.einsum("gcpqij,gkcij->gkpq", grouped, filters)
    return np.asarray(y.reshape(len(weights), *y.shape[2:]) + biases[:, np.newaxis, np.newaxis])


def window_of(node: Conv) -> Window:
    """The filters of a convolution as a window."""
    size, stride = (node.filter_h, node.filter_w), (node.stride_h, node.stride_w)
    dilation = (node.dilation_h, node.dilation_w)
    sides = (node.padding_top, node.padding_bottom, node.padding_left, node.padding_right)
    return Window(*size, *stride, *dilation, *sides)


class ConvKind(WeightedSum[Conv]):
    """Conv: see `value`."""

    node = Conv

    def apply(self, layer: Conv, x: Array, weights: Weights, of: Callable[[Array], Array] = np.positive) -> Array:
        """See `WeightedSum`."""
        return fast.correlate(x, of(_wide(weights)), window_of(layer))

    def touched(self, layer: Conv, mask: Mask) -> Mask:
        """See `WeightedSum`."""
        return fast.touched(mask, layer.to_channels, layer.groups, window_of(layer))

    def walk(self, layer: Conv, x: Array, weights: Weights) -> Walk | None:
        """See `WeightedSum`."""
        return runs.conv(x, _wide(weights), window_of(layer))

    def dependent(
        self, at: Evaluation[Conv], x: Array, weights: Weights, climb: Array, ways: Sequence[Folded]
    ) -> Dependent | None:
        """See `WeightedSum`."""
        return residues.conv(x, _wide(weights), window_of(at.layer), climb, ways, at.sampler)

    def running(self, layer: Conv, x: Array, weights: Weights, ways: Sequence[Folded]) -> Array | None:
        """See `WeightedSum`."""
        return running.conv(x, _wide(weights), window_of(layer), ways)

    def crowd(self, layer: Conv, x: Array, weights: Weights, largest: Array) -> Array | None:
        """See `WeightedSum`."""
        return residues.crowd(x, _wide(weights), window_of(layer), largest)

    def shares(self, at: Evaluation[Conv], x: Array, weights: Weights) -> Array | None:
        """See `WeightedSum`."""
        return shares.conv(x, _wide(weights), window_of(at.layer), at.sampler.multipliers)

    def stored(self, layer: Conv, x: Array, weights: Weights, rounding: Rounding, ways: Sequence[Folded]) -> Array:
        """See `WeightedSum`."""
        return residues.stored_weights(x, _wide(weights), window_of(layer), rounding, ways)

    def folds_forward(self, layer: Conv) -> bool:
        """See `WeightedSum`."""
        return not window_of(layer).padded

    def errors_of_weights(
        self, at: Evaluation[Conv], x: Array, affine: Affine | None, weights: Weights
    ) -> tuple[Array | None, Rounding]:
        """See `WeightedSum`. An error of a weight is the same at every pixel."""
        if not (at.sampler.count and samples.coarse(at.rounding)):
            return None, at.rounding
        factor = x
        if affine is not None:
            factor = np.where(np.abs(affine.product) > np.abs(x), affine.product, x)
        factor = np.where(np.isfinite(factor), factor, 0.0)
        errors = at.sampler.stored_weights(factor, _wide(weights), window_of(at.layer), at.rounding)
        return errors, replace(at.rounding, weight_error=0.0)

    def sums(self, at: Evaluation[Conv], weights: Weights) -> Array:
        """See `WeightedSum`."""
        direct = super().sums(at, weights)
        if at.rounding.tiles is None or not at.rounding.reads_bfloat16:
            return direct
        return by_tiles.rounded_sums(at, direct, _wide(weights), window_of(at.layer))

    def errors(self, at: Evaluation[Conv], y: Array, weights: Weights, biases: Array) -> ErrorsOfSums:
        """See `WeightedSum`."""
        if at.rounding.tiles is None:
            return super().errors(at, y, weights, biases)
        return ErrorsOfSums(*by_tiles.errors(at, y, _wide(weights), ways_of(at, biases), window_of(at.layer)))

    def peak(self, at: Evaluation[Conv], weights: Weights, biases: Array) -> float:
        """See `WeightedSum`."""
        direct = super().peak(at, weights, biases)
        tiles, window = at.rounding.tiles, window_of(at.layer)
        return direct if tiles is None else direct * by_tiles.growth(tiles, window)

    def unspecified(self, at: Evaluation[Conv], weights: Weights, biases: Array, bound: float) -> Mask:
        """See `WeightedSum`."""
        mask = super().unspecified(at, weights, biases, bound)
        if at.rounding.tiles is None:
            return mask
        return mask | by_tiles.unspecified(at, _wide(weights), window_of(at.layer), bound)

    def stepped(self, at: Stepping[Conv], direct: Stepped, sizes: Array, step: int) -> Stepped:
        """See `WeightedSum`."""
        if at.rounding.tiles is None:
            return super().stepped(at, direct, sizes, step)
        return tiled_exact.step(at, direct, sizes, step, window_of(at.layer))

    def role(self, layer: Conv) -> Role:
        """See `Kind`."""
        return Role.POINTWISE if window_of(layer).pixelwise else Role.NONE


def _wide(weights: Weights) -> Array:
    """The same in float64, as the weights of convolutions are already."""
    return weights.astype(np.float64, copy=False)
