"""The layout that each operation gives its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from nn512.graph.axes import AXES
from nn512.graph.nodes import Shape
from nn512.ir import ConcatOp, ConvOp, Joined, LoadOp, Op, PickOp
from nn512.plan.layout import LANES, Layout, crowded, joined, natural, part_of
from nn512.plan.planes import given_layout


class _Derived(NamedTuple):
    """How a tensor that no operation writes gets its layout: of which others, and from theirs."""

    tensors: Sequence[str]
    layout: Callable[[Sequence[Layout]], Layout]


class Layouts:
    """Layouts of the tensors seen so far; a joined whole has one as soon as its parts do, a view as what it is of."""

    def __init__(
        self, shapes: Mapping[str, Shape], wholes: Iterable[Joined] = (), views: Iterable[PickOp] = ()
    ) -> None:
        self._shapes = shapes
        self._derived: dict[str, _Derived] = {}
        self._known: dict[str, Layout] = {}
        for whole in wholes:
            self.join(whole)
        for view in views:
            self.view(view)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Layout:
        waiting = [name]
        while name not in self._known:
            tensors, layout = self._derived[waiting[-1]]
            unknown = [tensor for tensor in tensors if tensor not in self._known]
            waiting.extend(unknown)
            if not unknown:
                self._known[waiting.pop()] = layout([self._known[tensor] for tensor in tensors])
        return self._known[name]

    def __setitem__(self, name: str, layout: Layout) -> None:
        self._known[name] = layout

    def join(self, whole: Joined) -> None:
        """One more joined whole."""
        self._derived[whole.writes] = _Derived(whole.parts, lambda parts: joined(*parts))

    def view(self, pick: PickOp) -> None:
        """One more slice that is read where it stands."""
        (run,) = pick.picks(self._shapes)
        self._derived[pick.writes] = _Derived(pick.sources, lambda whole: part_of(whole[0], run.first, run.number))

    def begins_a_block(self, pick: PickOp) -> bool:
        """Whether the channels of a slice are neighbours, and the first of them is in the first lane of a block."""
        if len(pick.sources) > 1:
            return False
        run, *others = pick.picks(self._shapes)
        layout = self[pick.sources[0]]
        return not others and run.step == 1 and layout.lanes == LANES and not layout.position(run.first)[1]

    def see(self, op: Op) -> None:
        """Give the results of an operation their layouts: that of what it reads, where channels stay in their lanes."""
        if isinstance(op, ConcatOp):
            layouts = [self[name] for name in op.sources]
            self._known[op.writes] = _of_few(layouts) if op.node.axis == AXES[0] else layouts[0]
        elif isinstance(op, LoadOp) and op.columns is not None:
            self._known[op.writes] = given_layout(op.node)
        else:
            for name in op.tensors_written:
                stays = op.channels_stay or self._is_depthwise(op)
                self._known[name] = self[op.tensors_read[0]] if stays else natural(self._shapes[name].channels)

    def _is_depthwise(self, op: Op) -> bool:
        """Whether every output of a convolution is made of one channel of its own, and can have the place of that."""
        if not isinstance(op, ConvOp) or op.node.groups == 1:
            return False
        return op.node.groups == op.node.to_channels == self._shapes[op.source].channels


def _of_few(parts: Sequence[Layout]) -> Layout:
    """The layout of a concatenation, whose parts are copied to one segment where there would be too many."""
    too_many = zip(parts, crowded(*parts), strict=True)
    return joined(*(natural(part.channels) if many else part for part, many in too_many))
