"""What the mapping of a kind is given to make ONNX nodes with, and what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nn512.graph import Layer, Parameter


@dataclass(frozen=True, slots=True)
class NodeMaker:
    """Makes the ONNX nodes of one layer; `onnx` is that package.

    Names with an underscore are ours alone: those of a graph have letters and digits.
    """

    onnx: Any
    layer: Layer

    def last(self, operator: str, reads: Sequence[str], **attributes: object) -> Any:  # noqa: ANN401
        """The node that writes the layer's tensor and bears its name."""
        to = self.layer.to_tensor
        return self.onnx.helper.make_node(operator, reads, [to], name=to, **attributes)

    def inner(self, operator: str, name: str, reads: Sequence[str], writes: str, **attributes: object) -> Any:  # noqa: ANN401
        """A node before the last; `name` and `writes` are what its name and its tensor append to the layer's."""
        return self.onnx.helper.make_node(operator, reads, [self.own(writes)], name=self.own(name), **attributes)

    def own(self, what: str) -> str:
        """A name within the layer."""
        return f"{self.layer.to_tensor}_{what}"

    def parameter(self, suffix: str) -> str:
        """The name of a parameter of the layer."""
        return self.layer.to_tensor + suffix


def _as_it_is(parameter: Parameter) -> tuple[int, ...]:
    return parameter.shape


@dataclass(frozen=True, slots=True)
class Export:
    """How layers of one kind are written.

    `nodes` makes their nodes, the last of which is `maker.last(...)`; `declared` says under which shape the model has
    a parameter.
    """

    nodes: Callable[[NodeMaker, Any], Iterable[Any]]
    declared: Callable[[Parameter], tuple[int, ...]] = _as_it_is
