"""Writes a net node by node: each method adds one node or a few and returns the name of the tensor they produce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from nn512.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Input,
    Layer,
    Node,
    Output,
    Pooling,
    Softmax,
)
from nn512.graph.printer import format_node

CLASSES = 1000
IMAGE_SIZE = 224

Size: TypeAlias = int | tuple[int, int]
"""Of something square, or its rows and columns."""


class Builder:
    """Collects nodes and blank lines between groups of them, below lines of comment."""

    def __init__(self, prefix: str, comment: Sequence[str] = ()) -> None:
        self._comment = "".join(f"# {line}\n" for line in comment)
        self._paragraphs: list[list[Node]] = [[Config(prefix=prefix)]]

    def text(self) -> str:
        """The graph so far, a blank line between its parts."""
        parts = ("".join(format_node(node) + "\n" for node in nodes) for nodes in self._paragraphs)
        return self._comment + "\n".join(parts)

    def part(self) -> None:
        """Begin a new part of the net."""
        self._paragraphs.append([])

    def _add(self, node: Node) -> None:
        self._paragraphs[-1].append(node)

    def image(self, size: int = IMAGE_SIZE) -> str:
        """The input: a colour image."""
        return self.input("image", 3, size, size)

    def input(self, name: str, channels: int, height: int, width: int) -> str:
        """Any input."""
        self._add(Input(name, channels, height, width))
        return name

    def output(self, source: str) -> None:
        """An output."""
        self._add(Output(source))

    def conv(
        self,
        source: str,
        name: str,
        channels: int,
        size: Size,
        *,
        stride: int = 1,
        groups: int = 1,
        padded: bool = True,
    ) -> str:
        """A convolution, padded so that stride 1 keeps height and width, or not at all."""
        rows, columns = _pair(size)
        pad = (rows // 2, columns // 2) if padded else (0, 0)
        self._add(Conv(source, name, channels, rows, columns, stride, stride, *pad, groups=groups))
        return name

    def norm(self, source: str, name: str, epsilon: float = 0.00001) -> str:
        """Batch normalization."""
        self._add(BatchNorm(source, name, epsilon))
        return name

    def relu(self, source: str, name: str) -> str:
        """ReLU."""
        return self.layer(Activation(source, name, "ReLU"))

    def layer(self, node: Layer) -> str:
        """Any layer."""
        self._add(node)
        assert node.writes is not None
        return node.writes

    def add(self, first: str, second: str, name: str) -> str:
        """Element-wise sum."""
        self._add(Add(first, second, name))
        return name

    def concat(self, first: str, second: str, name: str) -> str:
        """Channels of both."""
        self._add(Concat(first, second, name))
        return name

    def join(self, sources: Sequence[str], name: str) -> str:
        """Channels of all, one after another."""
        joined = sources[0]
        for number, source in enumerate(sources[1:], 1):
            joined = self.concat(joined, source, name if number == len(sources) - 1 else f"{name}join{number}")
        return joined

    def pool(self, source: str, name: str, kind: str, padding: int = 0) -> str:
        """Pooling of a kind that names its window."""
        self._add(Pooling(source, name, kind, padding, padding))
        return name

    def halve(self, source: str, name: str) -> str:
        """Maximum of 3x3 at stride 2, with as much padding behind as an odd number of rows and columns takes."""
        self._add(Pooling(source, name, "Max3x3Stride2", padding_bottom=1, padding_right=1))
        return name

    def slide(self, source: str, name: str, kind: str, *, count_padding: int = 0) -> str:
        """Max or Avg of 3x3 at stride 1."""
        node = Pooling(
            source,
            name,
            kind,
            window_h=3,
            window_w=3,
            stride_h=1,
            stride_w=1,
            padding_h=1,
            padding_w=1,
            count_padding=count_padding,
        )
        return self.layer(node)

    def stem(self) -> str:
        """The first layers of ResNet, ResNeXt and DenseNet: 7x7 convolution and 3x3 pooling, stride 2, to 64x56x56."""
        tensor = self.image()
        tensor = self.conv(tensor, "stemConv", 64, 7, stride=2)
        tensor = self.norm(tensor, "stemNorm")
        tensor = self.relu(tensor, "stemReLU")
        return self.pool(tensor, "stemPool", "Max3x3Stride2", 1)

    def full(self, source: str, name: str, channels: int) -> str:
        """A fully connected layer."""
        self._add(FullyConnected(source, name, channels))
        return name

    def classifier(self, source: str) -> str:
        """The last layers of most nets: global average, fully connected layer, Softmax."""
        self.part()
        self.pool(source, "average", "AvgGlobal")
        return self.answer(self.full("average", "logits", CLASSES))

    def answer(self, source: str) -> str:
        """Probabilities, the output."""
        self._add(Softmax(source, "probabilities"))
        self.output("probabilities")
        return "probabilities"


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
