"""A tensor while a graph is evaluated: what `reference.run` returns of it, and what later nodes must know."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from reference.accumulation import Affine
from reference.exchange import Linear
from reference.windows import Array, Mask


@dataclass(frozen=True, slots=True)
class Result:
    """One tensor: three arrays of its shape C x H x W.

    value: float64, the real result; NaN and infinities are part of the specification.
    variance: float64, variance of the error of a float32 evaluation; 0 where the value is not finite.
    unspecified: True where nothing is promised about the value.
    """

    value: Array
    variance: Array
    unspecified: Mask


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor during evaluation: its Result and what later nodes must know about its errors.

    derived: the variance by the kinds' formulas.
    errors: samples of the error, C x S x H x W, by `reference.samples`.
    origins: tensors whose errors reach this one element by element, each with the channel at which its channel 0 lies
        here. Two tensors with one in common have correlated errors; one name at several channels is the same error
        several times.
    terms: length of the accumulation this is a linear function of, element by element (a later node may be fused into
    it); else 0.
    peak: bound on the magnitude of every partial sum behind the finite elements.
    affine: of the result of a BatchNorm what a later layer may read instead of it.
    linear: how to compute this on averages of what it was computed from, if an average may come of it.
    """

    result: Result
    derived: Array
    errors: Array
    origins: frozenset[tuple[str, int]]
    terms: int
    peak: float
    affine: Affine | None = None
    linear: Linear[Tensor] | None = None

    @property
    def value(self) -> Array:
        """The real result."""
        return self.result.value

    @property
    def unspecified(self) -> Mask:
        """Where nothing is promised."""
        return self.result.unspecified

    @property
    def mixed_variance(self) -> Array:
        """The variance to use in a sum over channels: n copies of an error add up to n^2 times its variance, not n."""
        copies = Counter(name for name, _ in self.origins)
        return max(copies.values(), default=1) * self.derived
