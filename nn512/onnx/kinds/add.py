"""Add in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Add
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: Add) -> Iterator[Any]:
    yield maker.last("Add", [layer.from_tensor1, layer.from_tensor2])


ADD = Export(_nodes)
