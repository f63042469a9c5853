"""Softmax in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Softmax
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: Softmax) -> Iterator[Any]:
    yield maker.last("Softmax", [layer.from_tensor], axis=1)


SOFTMAX = Export(_nodes)
