"""Conv in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import Conv
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: Conv) -> Iterator[Any]:
    yield maker.last(
        "Conv",
        [layer.from_tensor, maker.parameter("Weights"), maker.parameter("Biases")],
        kernel_shape=[layer.filter_h, layer.filter_w],
        strides=[layer.stride_h, layer.stride_w],
        pads=[layer.padding_h, layer.padding_w] * 2,
        dilations=[layer.dilation_h, layer.dilation_w],
        group=layer.groups,
    )


CONV = Export(_nodes)
