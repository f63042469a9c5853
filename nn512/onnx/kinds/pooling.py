"""Pooling in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Pooling
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: Pooling) -> Iterator[Any]:
    if layer.is_global:
        yield maker.last("GlobalMaxPool" if layer.is_max else "GlobalAveragePool", [layer.from_tensor])
        return
    attributes: dict[str, object] = {} if layer.is_max else {"count_include_pad": layer.count_padding}
    yield maker.last(
        "MaxPool" if layer.is_max else "AveragePool",
        [layer.from_tensor],
        kernel_shape=[layer.window_h, layer.window_w],
        strides=[layer.stride_h, layer.stride_w],
        pads=[layer.padding_top, layer.padding_left, layer.padding_bottom, layer.padding_right],
        ceil_mode=0,
        **attributes,
    )


POOLING = Export(_nodes)
