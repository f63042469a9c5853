"""Activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import Activation


def relu(slope: float) -> Activation:
    """A ReLU of any tensor."""
    return Activation("", "", "ReLU", slope)


FUNCTIONS: tuple[tuple[Activation, ...], ...] = (
    tuple(relu(slope) for slope in (0.0, 0.1, 1.0, -1.0, 2.0, 0.5, -0.25)),
)
"""The functions, each with every sort of parameters; of tensors without names."""


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

    def bound(self, layer: Activation, read: Sequence[float], limit: float) -> float:  # noqa: ARG002 - see Kind.exact
        """The slope may enlarge."""
        return max(read) * max(1.0, abs(layer.param))
