"""The layout that each operation gives its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nn512.graph.axes import AXES
from nn512.graph.nodes import Shape
from nn512.ir import ConcatOp, Joined, LoadOp, Op
from nn512.plan.layout import Layout, joined, natural
from nn512.plan.planes import given_layout


class Layouts:
    """Layouts of the tensors seen so far; a joined whole has one as soon as its parts do."""

    def __init__(self, shapes: Mapping[str, Shape], wholes: Iterable[Joined] = ()) -> None:
        self._shapes = shapes
        self._parts = {whole.writes: whole.parts for whole in wholes}
        self._known: dict[str, Layout] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Layout:
        waiting = [name]
        while name not in self._known:
            parts = self._parts[waiting[-1]]
            unknown = [part for part in parts if part not in self._known]
            waiting.extend(unknown)
            if not unknown:
                self._known[waiting.pop()] = joined(*(self._known[part] for part in parts))
        return self._known[name]

    def __setitem__(self, name: str, layout: Layout) -> None:
        self._known[name] = layout

    def join(self, whole: Joined) -> None:
        """One more joined whole."""
        self._parts[whole.writes] = whole.parts

    def see(self, op: Op) -> None:
        """Give the results of an operation their layouts: that of what it reads, where channels stay in their lanes."""
        if isinstance(op, ConcatOp):
            layouts = [self[name] for name in op.sources]
            self._known[op.writes] = joined(*layouts) if op.node.axis == AXES[0] else layouts[0]
        elif isinstance(op, LoadOp) and op.columns is not None:
            self._known[op.writes] = given_layout(op.node)
        else:
            for name in op.tensors_written:
                stays = op.channels_stay
                self._known[name] = self[op.tensors_read[0]] if stays else natural(self._shapes[name].channels)
