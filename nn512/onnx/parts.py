"""Normalizations over an axis that a model spells in their parts, as one node: exporters had no other way before 2023.

The mean square of x, or of x minus its mean, plus a number; its root; what is divided by that. Scales and shifts behind
it are read as they stand: they become those of the layer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nn512.arrays import Array
from nn512.onnx.model import OnnxNode

CENTRED, PLAIN = "LayerNormalization in parts", "RMSNormalization in parts"
"""The operators of these nodes, which have no scales; `axes` are those that they normalize over."""


def joined(nodes: Sequence[OnnxNode], constants: Mapping[str, Array], starts: Collection[str]) -> list[OnnxNode]:
    """The nodes with one in place of every division that completes a normalization.

    Its parts stay, for others that may read them; nobody needs them any more. No part is looked for before `starts`.
    """
    parts = _Parts({name: node for node in nodes for name in node.writes if name not in starts}, constants)
    return [parts.norm(node) or node for node in nodes]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is looked up while nodes are matched."""

    writer: Mapping[str, OnnxNode]
    constants: Mapping[str, Array]

    def made_by(self, name: str, *operators: str) -> OnnxNode | None:
        """The node that writes a tensor, if it is one of these."""
        node = self.writer.get(name)
        return node if node is not None and node.operator in operators else None

    def number(self, name: str) -> float | None:
        """A constant that is one number."""
        array = self.constants.get(name)
        if array is None:
            node = self.made_by(name, "Constant")
            if node is None:
                return None
            array = np.asarray(next(iter(node.attributes.values()), ()))
        return float(array.reshape(())) if array.size == 1 else None

    def axes(self, node: OnnxNode) -> tuple[int, ...] | None:
        """The axes of a ReduceMean that keeps them."""
        if node.attributes.get("keepdims", 1) != 1 or node.attributes.get("noop_with_empty_axes", 0):
            return None
        if node.has(1):
            array = self.constants.get(node.reads[1])
            source = self.made_by(node.reads[1], "Constant")
            if array is None and source is not None:
                array = np.asarray(next(iter(source.attributes.values()), ()))
            return None if array is None else tuple(int(axis) for axis in array.reshape(-1))
        axes = node.attributes.get("axes")
        return axes if isinstance(axes, tuple) else None

    def norm(self, node: OnnxNode) -> OnnxNode | None:
        """The normalization that a division completes; None where it does not."""
        if node.operator != "Div" or len(node.reads) != 2:
            return None
        root = self.made_by(node.reads[1], "Sqrt")
        total = None if root is None else self.made_by(root.reads[0], "Add")
        if total is None:
            return None
        if len(total.reads) != 2:
            return None
        for mean_name, number_name in (total.reads, total.reads[::-1]):
            mean, epsilon = self.made_by(mean_name, "ReduceMean"), self.number(number_name)
            if mean is not None and epsilon is not None and self._is_square(mean.reads[0], node.reads[0]):
                return self._of(node, self.axes(mean), epsilon)
        return None

    def _is_square(self, name: str, of: str) -> bool:
        """Whether a tensor has the squares of another."""
        node = self.made_by(name, "Mul", "Pow")
        if node is None or len(node.reads) != 2 or node.reads[0] != of:
            return False
        return node.reads[1] == of if node.operator == "Mul" else self.number(node.reads[1]) == 2

    def _of(self, node: OnnxNode, axes: tuple[int, ...] | None, epsilon: float) -> OnnxNode | None:
        """The normalization of what is divided: of what it was centred from, where it was over the same axis."""
        if axes is None or len(axes) != 1:
            return None
        attributes = {"axes": axes, "epsilon": epsilon}
        centred = self.made_by(node.reads[0], "Sub")
        mean = None if centred is None else self.made_by(centred.reads[1], "ReduceMean")
        if centred is not None and mean is not None and mean.reads[0] == centred.reads[0] and self.axes(mean) == axes:
            return OnnxNode(CENTRED, (centred.reads[0],), node.writes, node.name, attributes)
        return OnnxNode(PLAIN, (node.reads[0],), node.writes, node.name, attributes)
