"""The same layer once more, or nearly: what looks equal to a pass or a kernel, and may differ in one thing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import LayerWish
from nn512.graph import Binary


@dataclass(frozen=True, slots=True)
class AgainWish(LayerWish):
    """What makes the tensor `source`, once more; a function of two tensors of one shape the other way round if asked.

    Nothing where that is an input.
    """

    swap: bool = False

    def grow(self, grower: Grower) -> None:
        """It reads the same tensors, and costs as much again."""
        name = grower.pick(self.source)
        layer = grower.layer(name)
        if layer is None or not grower.afford(layer.multiply_accumulates(grower.shapes)):
            return
        if self.swap and isinstance(layer, Binary):
            first, second = layer.reads
            if grower.shapes[first] == grower.shapes[second]:
                layer = layer.with_tensors((second, first))
        grower.add_layer(replace(layer, to_tensor=grower.name()), grower.shapes[name], output=self.output)
