"""Slices of tensors."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import EDGE_SIZES, OUTPUTS, SOURCES
from nn512.graph import Slice
from nn512.graph.axes import AXES, extent_of, with_extent

TO_THE_END = 0
"""The count of a slice of all that is left."""


@dataclass(frozen=True, slots=True)
class SliceWish(LayerWish):
    """A slice from `first` on, which is taken modulo the extent, as far as it reaches; step 1 if it is too large.

    `halves` asks for one of two halves instead, the second one if `first` is odd: a Split.
    """

    first: int
    count: int
    step: int = 1
    axis: str = AXES[0]
    halves: bool = False

    def grow(self, grower: Grower) -> None:
        """There is always something to slice."""
        source = grower.pick(self.source)
        shape = grower.shapes[source]
        extent = extent_of(shape, self.axis)
        step = self.step if self.step < extent else 1
        first, count = self.first % extent, self.count
        if self.halves and extent > 1:
            step, first, count = 1, self.first % 2 * (extent // 2), extent // 2
        most = (extent - 1 - first) // step + 1
        count = most if count == TO_THE_END else min(count, most)
        layer = Slice(source, grower.name(), first, count, step, axis=self.axis)
        grower.add_layer(layer, with_extent(shape, self.axis, count), output=self.output)


class SliceKind(Kind[Slice]):
    """Slices of tensors."""

    node = Slice

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """Channels on and off blocks, halves, and pictures cropped and sampled."""
        edges = st.sampled_from((0, *EDGE_SIZES))
        channels = st.builds(SliceWish, SOURCES, edges, edges, st.sampled_from((1, 1, 1, 2, 3)), output=OUTPUTS)
        halves = st.builds(
            SliceWish,
            SOURCES,
            st.integers(0, 1),
            edges,
            axis=st.sampled_from(AXES),
            halves=st.just(value=True),
            output=OUTPUTS,
        )
        pictures = st.builds(
            SliceWish,
            SOURCES,
            st.integers(0, 5),
            st.sampled_from((TO_THE_END, TO_THE_END, *EDGE_SIZES[:12])),
            st.sampled_from((1, 2, 3)),
            st.sampled_from(AXES[1:]),
            output=OUTPUTS,
        )
        return (channels | halves | pictures,)
