"""Batch normalization with fixed statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nn512.graph.nodes import BatchNorm
from reference import domain
from reference.accumulation import Affine, started
from reference.evaluation import NOTHING, Evaluation
from reference.exchange import Role
from reference.folding import Norm
from reference.kinds.kind import Kind
from reference.roundoff import ROUNDING, SMALLEST_NORMAL, TINY, U
from reference.stepping import Stepped, Stepping, step_of
from reference.tensor import Tensor
from reference.windows import Array, Mask, Single

PARAMETERS = ("Means", "Variances", "Scales", "Shifts")


def value(x: Array, means: Array, variances: Array, scales: Array, shifts: Array, node: BatchNorm) -> Array:
    """Per channel c: scales[c] * (x[c] - means[c]) / sqrt(variances[c] + Epsilon) + shifts[c]; shape unchanged.

    variances[c] + Epsilon must be positive, otherwise channel c is unspecified. A scale of zero does not hide an
    infinity. Folding the node into a neighbouring convolution is legal.
    """
    factor = (scales / np.sqrt(variances + node.epsilon))[:, np.newaxis, np.newaxis]
    return factor * (x - means[:, np.newaxis, np.newaxis]) + shifts[:, np.newaxis, np.newaxis]


def variance(x: Array, before: Array, y: Array, factor: Array, means: Array, shift: Array, terms: int) -> Array:
    """Variance of x * factor + shift: factor = scale / sqrt(variance + epsilon), shift = the given one - mean * factor.

    The factor has three roundings (sum and root count half and one, division one; relative variance u^2 covers
    these), the shift is rounded, and where the two cancel their errors do not: they count relative to |x factor|,
    |mean factor| and |shift|, not to |y|. `terms` is the length of the accumulation that produced `x`, or 0: when the
    node is folded into it, the shift is where that accumulation starts.
    """
    own = U**2 * (np.square(factor) + SMALLEST_NORMAL**2) * np.square(x)
    own += ROUNDING * (np.square(y) + np.square(shift) + np.square(means * factor)) + TINY**2
    return np.square(factor) * before + own + started(y, shift, terms)


def unspecified(before: Mask, factor: Array, shift: Array, peak: float) -> Mask:
    """Channels whose factor or shift float32 cannot hold or that may overflow; `peak` is that of what is read."""
    usable = np.isfinite(factor) & np.isfinite(shift)
    fits = (np.abs(factor) <= domain.SAFE) & (np.abs(factor) * peak + np.abs(shift) <= domain.SAFE)
    return before | ~(usable & fits)


class BatchNormKind(Kind[BatchNorm]):
    """BatchNorm: see `value`."""

    node = BatchNorm

    def evaluate(self, at: Evaluation[BatchNorm]) -> Tensor:
        """See `Kind`."""
        (x,), layer = at.reads, at.layer
        means, variances, scales, shifts = (at.parameter(name) for name in PARAMETERS)
        y = value(x.value, means, variances, scales, shifts, layer)
        factor = (scales / np.sqrt(variances + layer.epsilon))[:, np.newaxis, np.newaxis]
        mean = means[:, np.newaxis, np.newaxis]
        shift = shifts[:, np.newaxis, np.newaxis] - mean * factor

        def evaluated(before: Array) -> Array:
            return variance(x.value, before, y, factor, mean, shift, x.terms)

        errors = x.errors * factor[:, np.newaxis]
        mask = unspecified(x.unspecified, factor, shift, x.peak)
        peak = x.peak * domain.peak(factor) + domain.peak(shift)
        affine = (Affine(x.value) if x.affine is None else x.affine).then(factor, shift)
        derived, own = evaluated(x.derived), evaluated(NOTHING)
        return at.finish(y, derived, (errors, own), mask, terms=x.terms, peak=peak, affine=affine)

    def step(self, at: Stepping[BatchNorm]) -> Stepped:
        """See `Kind`. Exact where the root is a power of two: every way to compute the factor then gives the same."""
        (x,), layer = at.reads, at.layer
        means, variances, scales, shifts = (at.parameter(name) for name in PARAMETERS)
        root = np.sqrt(variances + layer.epsilon)
        tidy = (np.frexp(root)[0] == 0.5) & (root * root == variances + layer.epsilon)
        tidy &= float(np.float32(layer.epsilon)) == layer.epsilon
        if x.narrow:
            tidy &= np.frexp(np.abs(scales))[0] == 0.5
        factor, mean, shift = (a[:, np.newaxis, np.newaxis] for a in (scales / root, means, shifts))
        y = value(x.value, means, variances, scales, shifts, layer)
        bound = np.abs(factor) * (x.bound + np.abs(mean)) + np.abs(shift)
        steps = step_of(factor[tidy]) + min(x.step, step_of(means))
        exact = x.exact & tidy[:, np.newaxis, np.newaxis]
        sizes, step = x.apart or (np.abs(x.value), step_of(x.value[x.exact]))
        step = min(step_of(factor[tidy]) + min(step, step_of(means)), step_of(shifts))
        apart = np.abs(factor) * (sizes + np.abs(mean)) + np.abs(shift), step
        done = Stepped.of_sum(y, exact, bound, min(steps, step_of(shifts)), at.limit)
        return replace(done, narrow=x.narrow, apart=apart)

    def role(self, layer: BatchNorm) -> Role:
        """See `Kind`."""
        del layer
        return Role.AFTER

    def norm(self, layer: BatchNorm, params: Mapping[str, Single]) -> Norm | None:
        """See `Kind`."""
        means, variances, scales, shifts = (params[layer.to_tensor + name].astype(np.float64) for name in PARAMETERS)
        factor = scales / np.sqrt(variances + layer.epsilon)
        return Norm(factor, shifts - means * factor)

    def response(self, at: Evaluation[BatchNorm], errors: Array) -> Array:
        """See `Kind`."""
        scales, variances = at.parameter("Scales"), at.parameter("Variances")
        factor = (scales / np.sqrt(variances + at.layer.epsilon)).reshape(-1, 1, 1, 1)
        return errors * factor
