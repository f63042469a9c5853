"""Activation in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nn512.graph import Activation
from nn512.onnx.maker import Export, NodeMaker


def _relu(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    slope = float(np.float32(layer.param))
    if slope == 0:
        yield maker.last("Relu", [layer.from_tensor])
    else:  # alpha * x below zero, for an alpha of any size and sign
        yield maker.last("LeakyRelu", [layer.from_tensor], alpha=slope)


def _clip(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.inner("Constant", "min", [], "min", value_float=layer.min)
    yield maker.inner("Constant", "max", [], "max", value_float=layer.max)
    yield maker.last("Clip", [layer.from_tensor, maker.own("min"), maker.own("max")])


def _hard_swish(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    yield maker.last("HardSwish", [layer.from_tensor])


FUNCTIONS = {"ReLU": _relu, "Clip": _clip, "HardSwish": _hard_swish}
"""By Kind."""


def _nodes(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    return FUNCTIONS[layer.kind](maker, layer)


ACTIVATION = Export(_nodes)
