"""What the tester must know of a kind of layer: how it is wished for, and what each kind of data does about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeAlias, TypeVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuzz.draw.grower import Grower
from nn512.graph import Layer, Shape, layer_parameters

Floats: TypeAlias = NDArray[np.float32]
Arrays: TypeAlias = dict[str, Floats]
Shapes: TypeAlias = Mapping[str, Shape]

WIDE = 6.0
"""Decades by which wide data scale one layer's weights, and the inputs, up or down at most."""


class Wish(ABC):
    """Something to be added to a graph, made of small integers: it means the same wherever it stands."""

    __slots__ = ()

    @abstractmethod
    def grow(self, grower: Grower) -> None:
        """Add what is asked for, or the nearest legal thing; nothing where even that would be too large."""


@dataclass(frozen=True, slots=True)
class LayerWish(Wish):
    """A layer that reads the tensor `source`, by recency; `output` hands its result to the caller as well."""

    source: int
    output: bool = field(default=False, kw_only=True)


L = TypeVar("L", bound=Layer)


class Kind(ABC, Generic[L]):
    """One kind of layer. What stands here holds for one without parameters whose results are as large as its operands.

    A data regime draws the parameters of a graph layer by layer and asks the kind for what is special about it.
    """

    node: ClassVar[type[Layer]]

    grows: ClassVar[bool] = False
    """Whether results may be larger than operands: exact data leave room for that."""

    seldom: ClassVar[bool] = False
    """Whether all kinds that say so are drawn as often together as another one is alone."""

    @abstractmethod
    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """Wishes for this kind of layer, each as likely as any of another kind."""

    def weights(self, layer: L, params: Arrays) -> Floats | None:  # noqa: ARG002 - most kinds have no weights
        """The weights (results x channels x height x width) where results are sums of products with them, else None."""
        return None

    def make_exact(self, layer: L, params: Arrays, rng: np.random.Generator, shift: int) -> None:
        """Set what there is besides weights, zeros so far, such that arithmetic is exact; shifts go up to `shift`."""

    def exact(
        self,
        layer: L,
        shapes: Shapes,
        params: Arrays,
        rng: np.random.Generator,
        read: Sequence[float],
        limit: float,
    ) -> float:
        """Draw integer parameters; returns the bound on results.

        `read` are the bounds of the tensors read, `limit` is the bound that results should keep to.
        """
        for parameter in layer_parameters(layer, shapes):
            params[parameter.name] = np.zeros(parameter.shape, np.float32)
        self.make_exact(layer, params, rng, self.exact_shift(read))
        return self.bound(layer, read, limit)

    def exact_shift(self, read: Sequence[float]) -> int:
        """The largest shift that exact data add."""
        return int(min(max(read), 3))

    def bound(self, layer: L, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see `exact`
        """The largest magnitude of results of exact data."""
        return max(read)

    def scale_wide(self, layer: L, params: Arrays, rng: np.random.Generator, decade: float) -> float:  # noqa: ARG002
        """Scale parameters drawn for magnitudes near 1 to operands near 10^`decade`; returns the decade of results."""
        return decade

    def rescale(self, layer: L, params: Arrays, factor: float) -> float:  # noqa: ARG002
        """Scale what is added to operands that have been scaled by a factor; returns the factor of results, or 1."""
        return factor

    def join(self, first: str, second: str, to: str) -> Layer | None:  # noqa: ARG002 - most kinds join nothing
        """A layer that depends on two tensors of one shape; the reducer connects parts of a graph with it."""
        return None


def as_rows(weights: Floats) -> Floats:
    """Weights as a matrix with a row per result; a view."""
    return weights.reshape(len(weights), -1)


def integers(rng: np.random.Generator, shape: Shape | tuple[int, ...], largest: int) -> Floats:
    """Integers of magnitude up to `largest`."""
    return rng.integers(-largest, largest + 1, shape).astype(np.float32)
