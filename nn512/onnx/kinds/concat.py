"""Concat in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Concat
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: Concat) -> Iterator[Any]:
    yield maker.last("Concat", [layer.from_tensor1, layer.from_tensor2], axis=1)


CONCAT = Export(_nodes)
