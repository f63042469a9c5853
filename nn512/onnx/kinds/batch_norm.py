"""BatchNorm in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import BatchNorm
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: BatchNorm) -> Iterator[Any]:
    parameters = [maker.parameter(suffix) for suffix in ("Scales", "Shifts", "Means", "Variances")]
    yield maker.last("BatchNormalization", [layer.from_tensor, *parameters], epsilon=layer.epsilon)


BATCH_NORM = Export(_nodes)
