"""Functions of two tensors, element by element: what their kinds have in common.

The second tensor has the extents of the first, or 1 where one element of it meets all of the first.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import numpy as np

from nn512.graph.nodes import Binary
from reference import domain
from reference.accumulation import started
from reference.evaluation import NOTHING, Evaluation
from reference.kinds.kind import Kind
from reference.roundoff import ROUNDING
from reference.stepping import Stepped, Stepping, step_of
from reference.tensor import Tensor
from reference.windows import Array, Mask

B = TypeVar("B", bound=Binary)


class PairKind(Kind[B]):
    """A function that no accumulation takes in: its operands stand for themselves."""

    @abstractmethod
    def of(self, x1: Array, x2: Array) -> Array:
        """The function."""

    @abstractmethod
    def variance(self, x1: Array, x2: Array, before: tuple[Array, Array], *, correlated: bool) -> Array:
        """Variance of the result, of which `before` are those of the operands."""

    def errors(self, x1: Array, x2: Array, errors: tuple[Array, Array], y: Array) -> Array:
        """Samples of the error that come from those of the operands, all C x S x H x W but for y = of(x1, x2)."""
        return self.of(x1[:, np.newaxis] + errors[0], x2[:, np.newaxis] + errors[1]) - y[:, np.newaxis]

    def unspecified(self, x1: Tensor, x2: Tensor) -> Mask:
        """Elements with an unspecified operand."""
        return x1.unspecified | x2.unspecified

    def exact(self, x1: Array, x2: Array, y: Array) -> Mask:
        """Where y is a float32 that every evaluation gives, if x1 and x2 are."""
        del x1, x2
        return np.asarray(y.astype(np.float32) == y)

    def evaluate(self, at: Evaluation[B]) -> Tensor:
        """See `Kind`."""
        x1, x2 = at.reads
        y, correlated = self.of(x1.value, x2.value), have_common_errors(x1, x2)

        def evaluated(before1: Array, before2: Array) -> Array:
            return self.variance(x1.value, x2.value, (before1, before2), correlated=correlated)

        errors = self.errors(x1.value, x2.value, (x1.errors, x2.errors), y)
        derived, own = evaluated(x1.derived, x2.derived), evaluated(NOTHING, NOTHING)
        return at.finish(y, derived, (errors, own), self.unspecified(x1, x2))

    def step(self, at: Stepping[B]) -> Stepped:
        """See `Kind`."""
        x1, x2 = at.reads
        y = self.of(x1.value, x2.value)
        exact = x1.exact & x2.exact & self.exact(x1.value, x2.value, y)
        return Stepped.leaf(y, exact & (np.abs(y) <= np.ldexp(at.limit, step_of(y[exact]))))


class SumKind(Kind[B]):
    """x1 + x2 or x1 - x2: an accumulation behind either may start at the other."""

    sign = 1.0

    def evaluate(self, at: Evaluation[B]) -> Tensor:
        """See `Kind`."""
        x1, x2 = at.reads
        first, second = x1.value, self.sign * x2.value
        correlated = have_common_errors(x1, x2)
        alike = first.shape == second.shape  # else nothing starts at the first
        terms = x1.terms, x2.terms if alike else 0

        def evaluated(before1: Array, before2: Array) -> Array:
            return sum_variance(first, second, (before1, before2), terms, correlated=correlated)

        derived, own = evaluated(x1.derived, x2.derived), evaluated(NOTHING, NOTHING)
        y, sampled = first + second, (x1.errors + self.sign * x2.errors, own)
        return at.finish(
            y, derived, sampled, _sum_unspecified(x1, x2), terms=max(x1.terms, x2.terms), peak=x1.peak + x2.peak
        )

    def step(self, at: Stepping[B]) -> Stepped:
        """See `Kind`."""
        x1, x2 = at.reads
        exact, bound = x1.exact & x2.exact, x1.bound + x2.bound
        return Stepped.of_sum(x1.value + self.sign * x2.value, exact, bound, min(x1.step, x2.step), at.limit)


def sum_variance(
    x1: Array, x2: Array, before: tuple[Array, Array], terms: tuple[int, int], *, correlated: bool
) -> Array:
    """Variance of a sum: V1 + V2 (any correlation: (sqrt V1 + sqrt V2)^2) plus one rounding.

    `terms` are the lengths of the accumulations that produced `x1` and `x2`, or 0: the other summand may have been
    fused into either as its start.
    """
    after = before[0] + before[1]
    if correlated:
        after = after + 2 * np.sqrt(before[0]) * np.sqrt(before[1])
    y = x1 + x2
    return after + ROUNDING * np.square(y) + started(y, x2, terms[0]) + started(y, x1, terms[1])


def _sum_unspecified(x1: Tensor, x2: Tensor) -> Mask:
    """Elements with an unspecified summand or where the sum, or the accumulation behind a summand, may overflow.

    Into an accumulation the other summand may have been fused.
    """
    mask = x1.unspecified | x2.unspecified
    if x1.peak + x2.peak > domain.SAFE:
        magnitudes = domain.finite_magnitude(x1.value), domain.finite_magnitude(x2.value)
        accumulated = (x1.peak if x1.terms else 0.0, x2.peak if x2.terms else 0.0)
        largest = np.maximum(magnitudes[0] + accumulated[1], magnitudes[1] + accumulated[0])
        mask = mask | (np.maximum(largest, sum(magnitudes)) > domain.SAFE)
    return mask


def have_common_errors(x1: Tensor, x2: Tensor) -> bool:
    """Whether an element of one tensor may have an error in common with the element of the other that it meets.

    One channel of the second tensor may meet all of the first: then it is enough that the error is the same somewhere.
    """
    if x1.value.shape[0] == x2.value.shape[0]:
        return bool(x1.origins & x2.origins)
    return bool({name for name, _ in x1.origins} & {name for name, _ in x2.origins})


def together(*deviations: Array, correlated: bool) -> Array:
    """The variance of a sum of errors, which are independent or of any correlation."""
    if correlated:
        return np.asarray(np.square(sum(deviations)))
    return np.asarray(sum(map(np.square, deviations)))
