"""One layer while a graph is evaluated: what a kind is given, and how its result is completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from nn512.graph.nodes import Layer
from reference import domain, samples
from reference.accumulation import Affine
from reference.folding import Norm
from reference.rounding import DEFAULT, Rounding
from reference.samples import Sampler
from reference.tensor import Result, Tensor
from reference.windows import Array, Mask, Single

NOTHING: Array = np.zeros((1, 1, 1))
"""The variance of what is read when only a layer's own errors are asked for; any shape."""

L = TypeVar("L", bound=Layer)


@dataclass(frozen=True, slots=True)
class Evaluation(Generic[L]):
    """A layer with what it reads. Made by the interpreter for the kind of the layer.

    params: all parameters of the graph.
    norms: batch norms behind the layer that may be folded into it.
    """

    layer: L
    reads: Sequence[Tensor]
    sampler: Sampler
    params: Mapping[str, Single]
    rounding: Rounding = DEFAULT
    norms: Sequence[Norm] = ()

    def single(self, suffix: str) -> Single:
        """A parameter as it was given."""
        return self.params[self.layer.to_tensor + suffix]

    def parameter(self, suffix: str) -> Array:
        """A parameter in float64."""
        return self.single(suffix).astype(np.float64)

    def on(self, x: Tensor) -> Evaluation[L]:
        """The same layer on another tensor, without samples."""
        return replace(self, reads=[x], sampler=self.sampler.without_samples)

    def finish(
        self,
        value: Array,
        derived: Array,
        sampled: tuple[Array, Array],
        unspecified: Mask,
        *,
        terms: int = 0,
        peak: float | None = None,
        affine: Affine | None = None,
        origins: frozenset[tuple[str, int]] | None = None,
    ) -> Tensor:
        """The tensor a layer produces, completed by what is the same for all kinds.

        `sampled` are the errors that come from what the layer reads, and the variance of those of its own. `origins`
        are those of everything that is read, and the tensor itself, unless given. Of a result with an infinite variance
        nothing is promised.
        """
        finite = np.isfinite(value)
        unspecified = unspecified | (finite & np.isposinf(derived))
        derived = np.where(finite & np.isfinite(derived), derived, 0.0)
        errors, own = sampled
        self.sampler.add_own(errors, np.where(finite & np.isfinite(own), own, 0.0), value)
        if not (finite.all() and np.isfinite(errors.sum())):
            errors[~(np.isfinite(errors) & finite[:, np.newaxis])] = 0.0
        whole = np.fmax(derived, samples.mean_square(errors))
        unspecified = np.broadcast_to(unspecified, value.shape) | domain.out_of_range(value, whole)
        bound = domain.peak(value) if peak is None else peak
        if origins is None:
            origins = self.own_origin.union(*(x.origins for x in self.reads))
        return Tensor(Result(value, whole, unspecified), derived, errors, origins, terms, bound, affine)

    @property
    def own_origin(self) -> frozenset[tuple[str, int]]:
        """The origins (see Tensor) of a result that has errors of its own alone."""
        return frozenset(((self.layer.to_tensor, 0),))
