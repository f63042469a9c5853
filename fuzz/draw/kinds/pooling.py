"""Poolings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from fuzz.draw.grower import LAYER_WORK, TENSOR_ELEMENTS, Grower
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.sizes import OUTPUTS, SOURCES
from nn512.graph import POOLINGS, Pooling, Shape


@dataclass(frozen=True, slots=True)
class PoolingWish(LayerWish):
    """A pooling."""

    kind: str
    padding_h: int = 0
    padding_w: int = 0

    def grow(self, grower: Grower) -> None:
        """With padding that is legal."""
        source = grower.pick(self.source)
        shape = grower.shapes[source]
        node = Pooling(source, "", self.kind)
        if node.is_global:
            layer = Pooling(source, grower.name(), self.kind)
            grower.add_layer(layer, Shape(shape.channels, 1, 1), output=self.output)
            return
        (padding_h, _), (padding_w, _) = (
            _sides(size, window, padding, padding)
            for size, window, padding in (
                (shape.height, node.window_h, self.padding_h),
                (shape.width, node.window_w, self.padding_w),
            )
        )
        layer = Pooling(source, grower.name(), self.kind, padding_h, padding_w)
        grower.add_layer(layer, layer.shape(grower.shapes), output=self.output)


@dataclass(frozen=True, slots=True)
class WindowsWish(LayerWish):
    """A pooling of any window, with padding of any sides; `counted` is whether an average counts it."""

    kind: str
    window_h: int
    window_w: int
    stride_h: int = 1
    stride_w: int = 1
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0
    counted: int = 0

    def grow(self, grower: Grower) -> None:
        """With the padding that it takes, and a stride that is long enough for little work."""
        source = grower.pick(self.source)
        shape = grower.shapes[source]
        top, bottom = _sides(shape.height, self.window_h, self.top, self.bottom)
        left, right = _sides(shape.width, self.window_w, self.left, self.right)
        wanted = Pooling(
            source, grower.name(), self.kind,
            window_h=self.window_h, window_w=self.window_w, stride_h=self.stride_h, stride_w=self.stride_w,
            padding_top=top, padding_bottom=bottom, padding_left=left, padding_right=right,
            count_padding=0 if self.kind == "Max" else self.counted,
        )  # fmt: skip
        while True:
            result = wanted.shape(grower.shapes)
            work = result.elements * self.window_h * self.window_w
            if result.pixels == 1 or (work <= LAYER_WORK and result.elements <= TENSOR_ELEMENTS):
                break
            wanted = replace(wanted, stride_h=wanted.stride_h + 1, stride_w=wanted.stride_w + 1)
        grower.add_layer(wanted, result, output=self.output)


def _sides(size: int, window: int, before: int, after: int) -> tuple[int, int]:
    """Padding of the two ends of an axis: as it is wanted where it is legal, more where the window needs it."""
    before, after = min(before, window - 1), min(after, window - 1)
    lacking = max(0, window - size - before - after)
    more = min((lacking + 1) // 2, window - 1 - before) if before == after else 0
    return before + more, max(after, window - size - before - more)


class PoolingKind(Kind[Pooling]):
    """Poolings."""

    node = Pooling

    def strategies(self) -> tuple[st.SearchStrategy[Wish], ...]:
        """The kinds that are named, with every legal padding; and windows of all sorts.

        Windows are small, or too wide for unrolled code, or larger than most pictures; strides shorter and longer.
        """
        padding, sides = st.integers(0, 2), st.sampled_from((0, 0, 1, 1, 2, 3, 6, 20))
        window, stride = st.sampled_from((1, 2, 3, 3, 5, 9, 14, 21)), st.sampled_from((1, 1, 2, 3, 5))
        numbers = (window, window, stride, stride, sides, sides, sides, sides)
        free = st.sampled_from(("Max", "Avg"))
        return (
            st.builds(PoolingWish, SOURCES, st.sampled_from(POOLINGS), padding, padding, output=OUTPUTS),
            st.builds(WindowsWish, SOURCES, free, *numbers, st.integers(0, 1), output=OUTPUTS),
        )
