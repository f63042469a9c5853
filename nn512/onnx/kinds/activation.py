"""Activation in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nn512.graph import Activation
from nn512.onnx.maker import Export, NodeMaker


def _nodes(maker: NodeMaker, layer: Activation) -> Iterator[Any]:
    slope = float(np.float32(layer.param))
    if slope == 0:
        yield maker.last("Relu", [layer.from_tensor])
    else:  # alpha * x below zero, for an alpha of any size and sign
        yield maker.last("LeakyRelu", [layer.from_tensor], alpha=slope)


ACTIVATION = Export(_nodes)
