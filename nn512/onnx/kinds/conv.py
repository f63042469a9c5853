"""Conv in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nn512.graph import Conv
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import ANY, Rule, integer
from nn512.onnx.windows import WINDOW_ATTRIBUTES, axes_of, no_other_padding
from nn512.onnx.work import Tensor, Work
from nn512.params import show_shape


def _nodes(maker: NodeMaker, layer: Conv) -> Iterator[Any]:
    yield maker.last(
        "Conv",
        [layer.from_tensor, maker.parameter("Weights"), maker.parameter("Biases")],
        kernel_shape=[layer.filter_h, layer.filter_w],
        strides=[layer.stride_h, layer.stride_w],
        pads=[layer.padding_top, layer.padding_left, layer.padding_bottom, layer.padding_right],
        dilations=[layer.dilation_h, layer.dilation_w],
        group=layer.groups,
    )


CONV = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read(work: Work, node: OnnxNode) -> Tensor:
    """A convolution; biases that are not there are zeros."""
    x = work.image(node, padded=True)
    weights = work.constant(node, 1, "weights")
    if weights.ndim != len(x.dims):
        raise RefusedError(f"weights are {show_shape(weights.shape)}", f"{len(x.dims)} axes, as what it reads has")
    if x.padding is not None:
        no_other_padding(x.padding, 0.0)
    shape = work.shapes[x.name]
    rows, columns = axes_of(node, x, weights.shape[2:])
    bare = not node.has(2)
    biases = np.zeros(len(weights), np.float32) if bare else work.constant(node, 2, "biases")
    groups = integer(node, "group", 1)
    channels = weights.shape[1]
    if groups < 1 or channels * groups != shape.channels:
        told = f"group={groups} with weights {show_shape(weights.shape)} over {shape.channels} channels"
        raise RefusedError(told, "weights of channels / group")

    def make(to: str) -> Conv:
        return Conv(
            x.name,
            to,
            len(weights),
            rows.taps,
            columns.taps,
            stride_h=rows.stride,
            stride_w=columns.stride,
            padding_h=rows.before,
            padding_w=columns.before,
            padding_bottom=rows.after,
            padding_right=columns.after,
            dilation_h=rows.dilation,
            dilation_w=columns.dilation,
            groups=groups,
        )

    params = {"Weights": weights, "Biases": biases}
    return work.image_of(work.emit(node, make, params, stem=node.reads[1], bare=bare), len(x.dims))


CONV_RULES = (
    Rule(
        "Conv",
        _read,
        "Conv, of 1 x C x W with one row; Pad in front of it is taken in",
        WINDOW_ATTRIBUTES | {"dilations": ANY, "group": ANY},
        inputs=3,
    ),
)
