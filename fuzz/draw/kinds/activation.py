"""Activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Arrays, Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import Activation

_BOUNDS = (
    *((0.0, 6.0), (0.0, 1.0), (-1.0, 1.0), (-3.0, 2.0)),  # on integers, data are at the bounds, too
    *((-0.25, 0.1), (-4.0, -0.5), (1.0, 100.0)),  # zero is in the middle, above, below
    *((1.0, 1.0000001), (-1e-40, 1e-39), (0.5, 0.5 + 1e-12)),  # next to each other, subnormal, the same to float32
    *((-2.0, 3.4e38), (-3.4e38, 2.0)),  # one-sided
)


_LEAST, _GREATEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

_LINES = ((0.16666667, 0.5), (0.2, 0.5), (0.25, -1.0), (1.0, 0.0), (8.0, 100.0), (1e-39, 1e-38))
"""On integers, some of them are exact, at the bounds, too; one is 1 nearly everywhere, one subnormal."""


_PLAIN = (
    *("PReLU", "Sigmoid", "SiLU", "HardSwish", "Tanh", "GELU", "GELUTanh", "Softplus", "Mish"),
    *("Exp", "Log", "Sqrt", "Square", "Abs", "Neg", "Reciprocal"),
)
"""Functions without fields."""


def hard_sigmoid(alpha: float, beta: float) -> Activation:
    """A hard sigmoid of any tensor."""
    return Activation("", "", "HardSigmoid", alpha=alpha, beta=beta)


def relu(slope: float) -> Activation:
    """A ReLU of any tensor."""
    return Activation("", "", "ReLU", slope)


def clip(least: float, greatest: float) -> Activation:
    """A clip of any tensor."""
    return Activation("", "", "Clip", min=least, max=greatest)


FUNCTIONS: tuple[tuple[Activation, ...], ...] = (
    tuple(relu(slope) for slope in (0.0, 0.1, 1.0, -1.0, 2.0, 0.5, -0.25)),
    tuple(clip(*bounds) for bounds in _BOUNDS),
    tuple(hard_sigmoid(*line) for line in _LINES),
    tuple(Activation("", "", "ELU", factor) for factor in (1.0, 0.5, 1.6732632, -2.0)),
    *((Activation("", "", kind),) for kind in _PLAIN),
)
"""The functions, each with every sort of parameters; of tensors without names."""


_SLOPES = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
"""Those of PReLU in exact data."""


@dataclass(frozen=True, slots=True)
class ActivationWish(LayerWish):
    """A function of every element, given as a node that names no tensors."""

    function: Activation

    def grow(self, grower: Grower) -> None:
        """Always legal."""
        source = grower.pick(self.source)
        layer = self.function.with_tensors([source], grower.name())
        grower.add_layer(layer, grower.shapes[source], output=self.output)


class ActivationKind(Kind[Activation]):
    """Functions with every sort of parameters."""

    node = Activation

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """Each function is as likely; all of them are one form of layer, so that others do not get rare."""
        functions = st.sampled_from(FUNCTIONS).flatmap(st.sampled_from)
        return (st.builds(ActivationWish, SOURCES, functions, output=OUTPUTS),)

    def make_exact(self, layer: Activation, params: Arrays, rng: np.random.Generator, shift: int) -> None:  # noqa: ARG002
        """Slopes that round nothing, of both signs, zero and one among them."""
        for kind in layer.parameter_kinds:
            name = layer.to_tensor + kind.suffix
            params[name] = rng.choice(_SLOPES, params[name].shape).astype(np.float32)

    def bound(self, layer: Activation, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """A slope may enlarge, and so may a bound that is far from zero."""
        if layer.parameter_kinds:
            return max(read) * max(_SLOPES)
        return _largest(layer, max(read))

    def rescale(self, layer: Activation, params: Arrays, factor: float) -> float:  # noqa: ARG002
        """Functions other than those with a slope on either side have a scale of their own."""
        return factor if layer.kind in {"ReLU", "PReLU"} else 1.0

    def scale_wide(
        self,
        layer: Activation,
        params: Arrays,  # noqa: ARG002 - there are none
        rng: np.random.Generator,  # noqa: ARG002
        decade: float,
    ) -> float:
        """What is bounded has the decade of the bounds; a slope is not followed; zeros have that of the least float."""
        if layer.kind in {"ReLU", "PReLU"}:
            return decade
        return math.log10(min(max(_largest(layer, 10.0**decade), _LEAST), _GREATEST))


def _largest(layer: Activation, largest: float) -> float:
    """The largest magnitude of the function of data of magnitudes up to `largest`, or somewhat more."""
    return max(abs(layer.of(x)) for x in (-largest, 0.0, largest))
