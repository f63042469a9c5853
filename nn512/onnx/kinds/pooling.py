"""Pooling in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Pooling
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: Pooling) -> Iterator[Any]:
    if layer.window is None:
        yield maker.last("GlobalMaxPool" if layer.is_max else "GlobalAveragePool", [layer.from_tensor])
        return
    attributes: dict[str, object] = {} if layer.is_max else {"count_include_pad": 0}
    yield maker.last(
        "MaxPool" if layer.is_max else "AveragePool",
        [layer.from_tensor],
        kernel_shape=[layer.window, layer.window],
        strides=[2, 2],
        pads=[layer.padding_h, layer.padding_w] * 2,
        ceil_mode=0,
        **attributes,
    )


POOLING = Export(_nodes)
