"""Writes a net node by node: each method adds one node and returns the name of the tensor it produces."""

from __future__ import annotations

from nn512.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Input,
    Node,
    Output,
    Pooling,
    Softmax,
)
from nn512.graph.printer import format_node

CLASSES = 1000
IMAGE_SIZE = 224


class Builder:
    """Collects nodes and blank lines between groups of them."""

    def __init__(self, prefix: str) -> None:
        self._paragraphs: list[list[Node]] = [[Config(prefix=prefix)]]

    def text(self) -> str:
        """The graph so far, a blank line between its parts."""
        parts = ("".join(format_node(node) + "\n" for node in nodes) for nodes in self._paragraphs)
        return "\n".join(parts)

    def part(self) -> None:
        """Begin a new part of the net."""
        self._paragraphs.append([])

    def _add(self, node: Node) -> None:
        self._paragraphs[-1].append(node)

    def image(self) -> str:
        """The input: a colour image."""
        self._add(Input("image", 3, IMAGE_SIZE, IMAGE_SIZE))
        return "image"

    def conv(self, source: str, name: str, channels: int, size: int, *, stride: int = 1, groups: int = 1) -> str:
        """A square convolution, padded so that stride 1 keeps height and width."""
        pad = size // 2
        self._add(Conv(source, name, channels, size, size, stride, stride, pad, pad, groups=groups))
        return name

    def norm(self, source: str, name: str) -> str:
        """Batch normalization."""
        self._add(BatchNorm(source, name))
        return name

    def relu(self, source: str, name: str) -> str:
        """ReLU."""
        self._add(Activation(source, name, "ReLU"))
        return name

    def add(self, first: str, second: str, name: str) -> str:
        """Element-wise sum."""
        self._add(Add(first, second, name))
        return name

    def concat(self, first: str, second: str, name: str) -> str:
        """Channels of both."""
        self._add(Concat(first, second, name))
        return name

    def pool(self, source: str, name: str, kind: str, padding: int = 0) -> str:
        """Pooling."""
        self._add(Pooling(source, name, kind, padding, padding))
        return name

    def stem(self) -> str:
        """The first layers of all these nets: 7x7 convolution and 3x3 pooling, each of stride 2, to 64x56x56."""
        tensor = self.image()
        tensor = self.conv(tensor, "stemConv", 64, 7, stride=2)
        tensor = self.norm(tensor, "stemNorm")
        tensor = self.relu(tensor, "stemReLU")
        return self.pool(tensor, "stemPool", "Max3x3Stride2", 1)

    def classifier(self, source: str) -> str:
        """The last layers of all these nets: global average, fully connected layer, Softmax."""
        self.part()
        self.pool(source, "average", "AvgGlobal")
        self._add(FullyConnected("average", "logits", CLASSES))
        self._add(Softmax("logits", "probabilities"))
        self._add(Output("probabilities"))
        return "probabilities"
