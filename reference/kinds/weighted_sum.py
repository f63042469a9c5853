"""What convolutions and fully connected layers have in common: biases plus weighted sums of what is read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reference import bfloat16, domain, lifting, samples
from reference.accumulation import (
    Affine,
    Excess,
    accumulated,
    product_variance,
    wandering,
    weight_floor,
)
from reference.evaluation import NOTHING, Evaluation, L
from reference.grid import CERTAIN
from reference.kinds.kind import Kind
from reference.residues import Dependent, Folded
from reference.rounding import DEFAULT, Rounding
from reference.roundoff import ROUNDING
from reference.runs import Walk
from reference.stepping import SMALLEST_NORMAL_STEP, Stepped, Stepping, step_of, storable
from reference.tensor import Tensor
from reference.windows import Array, Mask

Weights = npt.NDArray[np.floating]

MIXING = 8
"""A sum of this many products leaves so little of each single error that it counts as independent of what it reads."""


def variance(
    apply: Callable[[Array, Callable[[Array], Array]], Array],
    x: Array,
    before: Array,
    y: Array,
    weights: Weights,
    biases: Array,
    rounding: Rounding,
    affine: Affine | None,
    excess: Excess,
) -> Array:
    """Variance of a weighted sum: w^2 applied to V, plus the accumulation, plus the rounding of stored weights.

    The stored weights may have been rounded once (batch normalization folded in, or a narrow format):
    weight_error^2/3 * Q. Both that and Q of the accumulation are w^2 applied to something, so one application does for
    all three. `excess` is what is added to Q where the signs of products are not random.

    `affine` is given where the layer reads a batch normalization x = s x' + h that may be folded into its weights:
    y = sum (w s) x' + (b + sum w h). The products and the start of that sum may be much larger than those of w x and
    b, as s x' and h may cancel. The larger variance of the two ways is taken.
    """
    terms = weights[0].size

    def squares(block: Array) -> Array:
        return np.square(block) + weight_floor(block, rounding)

    def evaluated(x: Array, start: Array, more: Array | float) -> Array:
        source = product_variance(terms, rounding) * np.square(x) + before
        own = accumulated(y, start, terms, rounding) + wandering(terms, rounding) * more
        return apply(source, squares) + own

    start = biases[:, np.newaxis, np.newaxis]
    after = evaluated(x, start, excess.read)
    if affine is None:
        return after
    start = start + apply(affine.shifts, np.positive)
    return np.fmax(after, evaluated(affine.product, start, excess.product) + ROUNDING * np.square(start))


class ErrorsOfSums(NamedTuple):
    """The variance of results, samples of what their errors have in common, and the variance of the rest.

    Layers behind read samples with more, `behind`, if that is not None (see `reference.running`).
    """

    derived: Array
    common: Array
    own: Array
    behind: Array | None = None


class WeightedSum(Kind[L]):
    """A kind of weighted sums. `Weights` has the output channels first, `Biases` one number for each."""

    is_long_sum = True

    @abstractmethod
    def apply(self, layer: L, x: Array, weights: Weights, of: Callable[[Array], Array] = np.positive) -> Array:
        """The sums of the products of of(weights) with `x`, or with S tensors C x S x H x W at once."""

    @abstractmethod
    def touched(self, layer: L, mask: Mask) -> Mask:
        """Outputs that see a cell of `mask`."""

    @abstractmethod
    def walk(self, layer: L, x: Array, weights: Weights) -> Walk | None:
        """How the partial sums wander, by `reference.runs`."""

    @abstractmethod
    def dependent(
        self, at: Evaluation[L], x: Array, weights: Weights, climb: Array, ways: Sequence[Folded]
    ) -> Dependent | None:
        """What dependent roundings do, by `reference.residues`."""

    @abstractmethod
    def running(self, layer: L, x: Array, weights: Weights, ways: Sequence[Folded]) -> Array | None:
        """What sums in one order err by, by `reference.running`."""

    @abstractmethod
    def crowd(self, layer: L, x: Array, weights: Weights, largest: Array) -> Array | None:
        """The variance of products of which many are equal, by `reference.residues`."""

    @abstractmethod
    def shares(self, at: Evaluation[L], x: Array, weights: Weights) -> Array | None:
        """What errors of outputs have in common, by `reference.shares`."""

    @abstractmethod
    def stored(self, layer: L, x: Array, weights: Weights, rounding: Rounding, ways: Sequence[Folded]) -> Array:
        """What the rounding of stored weights does, by `reference.residues`."""

    @abstractmethod
    def folds_forward(self, layer: L) -> bool:
        """Whether a batch norm that the layer reads may be folded into it: cells of padding are zeros behind it."""

    def weights(self, at: Evaluation[L]) -> Weights:
        """The weights; float64 where they are few."""
        return at.parameter("Weights")

    def multiplied(self, at: Evaluation[L]) -> Weights:
        """The weights that are multiplied, where it is known what they are rounded to; those of tiles are others."""
        weights = self.weights(at)
        if not at.rounding.weights_bfloat16 or at.rounding.tiles is not None:
            return weights
        rows = (bfloat16.rounded(row.astype(np.float64)) for row in weights)  # of as many as there may be, one by one
        return np.stack([row.astype(weights.dtype) for row in rows])

    def errors_of_weights(
        self, at: Evaluation[L], x: Array, affine: Affine | None, weights: Weights
    ) -> tuple[Array | None, Rounding]:
        """Samples of what coarsely stored weights do, and the rounding that is then left to single outputs."""
        del x, affine, weights
        return None, at.rounding

    def evaluate(self, at: Evaluation[L]) -> Tensor:
        """See `Kind`."""
        if at.rounding.reads_bfloat16 and at.rounding.tiles is None:
            at = replace(at, reads=[bfloat16.narrowed(x) for x in at.reads])
        weights, biases = self.multiplied(at), at.parameter("Biases")
        y = self.sums(at, weights) + biases[:, np.newaxis, np.newaxis]
        derived, errors, own, behind = self.errors(at, y, weights, biases)
        peak = self.peak(at, weights, biases)
        unspecified = self.unspecified(at, weights, biases, peak)
        terms = weights[0].size
        origins = at.own_origin if terms >= MIXING else None
        done = at.finish(y, derived, (errors, own), unspecified, terms=terms, peak=peak, origins=origins)
        return done if behind is None else replace(done, errors=done.errors + behind)

    def sums(self, at: Evaluation[L], weights: Weights) -> Array:
        """What the layer computes, but for its biases."""
        return self.apply(at.layer, at.reads[0].value, weights)

    def peak(self, at: Evaluation[L], weights: Weights, biases: Array) -> float:
        """Bound on every partial sum."""
        return domain.sum_peak(at.reads[0].value, weights, biases)

    def errors(self, at: Evaluation[L], y: Array, weights: Weights, biases: Array) -> ErrorsOfSums:
        """The errors of the result `y`."""
        (x,), layer = at.reads, at.layer
        affine = x.affine if self.folds_forward(layer) else None
        by_data = not at.sampler.independent
        walk = self.walk(layer, x.value, weights) if by_data else None
        folded = self.walk(layer, affine.product, weights) if by_data and affine is not None else None
        excess = Excess.of(walk, folded)

        def apply(x: Array, of: Callable[[Array], Array]) -> Array:
            return self.apply(layer, x, weights, of)

        def evaluated(before: Array, rounding: Rounding) -> Array:
            return variance(apply, x.value, before, y, weights, biases, rounding, affine, excess)

        none = np.zeros((len(y), at.sampler.count, *y.shape[1:]))
        errors = self.apply(layer, x.errors, weights) if x.errors.any() else none
        of_weights, left = self.errors_of_weights(at, x.value, affine, weights)
        if of_weights is not None:
            errors += of_weights
        derived, own = evaluated(x.mixed_variance, at.rounding), evaluated(NOTHING, left)
        ways = ways_of(at, biases)
        certain: list[Dependent | None] = []
        if walk is not None:
            certain.append(self.dependent(at, x.value, weights, walk.climb, ways))
            crowd = self.crowd(layer, x.value, weights, _largest(ways, walk, folded))
            if crowd is not None:
                derived, own = derived + crowd, own + crowd
        if affine is not None and folded is not None:
            start = biases + self.apply(layer, affine.shifts, weights).max(axis=(1, 2))
            certain.append(self.dependent(at, affine.product, weights, folded.climb, ways_of(at, start)))
        if samples.coarse(at.rounding):
            stored = self.stored(layer, x.value, weights, at.rounding, ways)
            certain.append(Dependent(stored, at.sampler.common(stored)))
        derived, dependent = _with_certain(derived, certain)
        if dependent is not None:
            errors += dependent / CERTAIN
        shares = self.shares(at, x.value, weights)
        if shares is not None:
            errors += shares * np.sqrt(np.where(np.isfinite(own), own, 0.0))[:, np.newaxis]
            own = np.where(shares.any(axis=1), 0.0, own)
        known = None
        if dependent is not None and dependent.any():
            known = self.running(layer, x.value, weights, ways)
        if known is None:
            return ErrorsOfSums(derived, errors, own)
        return ErrorsOfSums(derived, errors, own, at.sampler.common(np.where(np.isfinite(y), known, 0.0)))

    def unspecified(self, at: Evaluation[L], weights: Weights, biases: Array, bound: float) -> Mask:
        """Outputs that see an unspecified cell, may overflow (`bound`: peak) or have broken parameters."""
        (x,), layer = at.reads, at.layer
        mask = domain.broken(weights, biases)
        if at.rounding.tiles is None and at.rounding.weight_limit < np.inf:
            largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
            mask = mask | (largest > at.rounding.weight_limit)[:, np.newaxis, np.newaxis]
        if x.unspecified.any():
            mask = mask | self.touched(layer, x.unspecified)
        if bound > domain.SAFE:
            magnitude = self.apply(layer, domain.finite_magnitude(x.value), weights, domain.finite_magnitude)
            mask = mask | (magnitude + domain.finite_magnitude(biases)[:, np.newaxis, np.newaxis] > domain.SAFE)
        if at.rounding.tiles is None and at.rounding.scales_weights:
            affine = x.affine if self.folds_forward(layer) else None
            for operand, multiplied in lifting.ways(x.value, affine, weights):
                if domain.peak(operand) * lifting.LARGEST * weights[0].size > domain.SAFE:
                    lifted = lifting.stored(multiplied.reshape(len(weights), -1)).reshape(weights.shape)
                    mask = mask | (self.apply(layer, domain.finite_magnitude(operand), lifted) > domain.SAFE)
        return mask

    def step(self, at: Stepping[L]) -> Stepped:
        """See `Kind`. Weights that the format in `rounding` cannot hold make nothing exact."""
        (x,), layer, weights = at.reads, at.layer, at.parameter("Weights")
        if at.rounding.tiles is None:
            if at.rounding.reads_bfloat16:
                x = Stepped.leaf(bfloat16.rounded(x.value), x.exact)
            if at.rounding.weights_bfloat16:
                weights = bfloat16.rounded(weights)
        start = at.parameter("Biases")[:, np.newaxis, np.newaxis]
        sizes, of_operand = np.abs(x.value), step_of(x.value[x.exact])
        if x.apart is not None and self.folds_forward(layer):
            sizes, of_operand = np.maximum(sizes, x.apart[0]), min(of_operand, x.apart[1])
        value = self.apply(layer, x.value, weights) + start
        bound = self.apply(layer, sizes, weights, np.abs) + np.abs(start)
        exact = np.broadcast_to(~self.touched(layer, ~x.exact), value.shape)
        step = min(of_operand + step_of(weights), step_of(start))
        if at.rounding.reads_bfloat16 and step < SMALLEST_NORMAL_STEP:  # subnormal sums are zeros
            exact = np.zeros_like(exact)
        direct = Stepped.of_sum(value, exact, bound, step, at.limit)
        narrow = at.rounding.weight_bits < DEFAULT.weight_bits
        return replace(self.stepped(at, direct, sizes, of_operand), narrow=narrow)

    def stepped(self, at: Stepping[L], direct: Stepped, sizes: Array, step: int) -> Stepped:
        """The layer, exact as far as its sums are in any order, with what its algorithm and stored weights do to that.

        `sizes` bound what is added up of the operand, in multiples of 2^`step`.
        """
        del sizes, step
        if at.rounding.weight_bits >= DEFAULT.weight_bits:
            return direct
        kept = storable(at.parameter("Weights"), at.rounding).reshape(-1, 1, 1)
        return replace(direct, exact=direct.exact & kept)

    def response(self, at: Evaluation[L], errors: Array) -> Array:
        """See `Kind`."""
        return self.apply(at.layer, errors, self.multiplied(at))


def ways_of(at: Evaluation[L], start: Array) -> list[Folded]:
    """The layer as it stands, and with the batch norms behind it folded in."""
    folded = [Folded(norm.factor, norm.factor * start + norm.shift) for norm in at.norms]
    return [Folded.plain(start), *folded]


def _largest(ways: Sequence[Folded], *walks: Walk | None) -> Array:
    """The largest partial sum of each output."""
    climbs = np.maximum.reduce([walk.climb for walk in walks if walk is not None])
    starts = [way.start / np.where(way.factor == 0, 1.0, way.factor) for way in ways]
    return np.asarray(climbs + np.abs(starts).max(axis=0)[:, np.newaxis, np.newaxis])


def _with_certain(derived: Array, certain: Sequence[Dependent | None]) -> tuple[Array, Array | None]:
    """The variance with errors that are certain to stay below bounds (see `residues`); samples of them, if any."""
    together: Array | None = None
    for found in certain:
        if found is not None:
            derived = derived + np.square(np.where(np.isfinite(found.bound), found.bound / CERTAIN, 0.0))
            errors = np.where(np.isfinite(found.errors), found.errors, 0.0)
            together = errors if together is None else together + errors
    return derived, together
