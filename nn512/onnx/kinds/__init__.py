"""How each kind of layer is written in ONNX, one file per kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nn512.graph import Activation, Add, BatchNorm, Concat, Conv, FullyConnected, Pooling, Softmax
from nn512.onnx.kinds.activation import ACTIVATION
from nn512.onnx.kinds.add import ADD
from nn512.onnx.kinds.batch_norm import BATCH_NORM
from nn512.onnx.kinds.concat import CONCAT
from nn512.onnx.kinds.conv import CONV
from nn512.onnx.kinds.fully_connected import FULLY_CONNECTED
from nn512.onnx.kinds.pooling import POOLING
from nn512.onnx.kinds.softmax import SOFTMAX
from nn512.onnx.maker import Export

__all__ = ["EXPORTS"]

EXPORTS: Mapping[type, Export] = MappingProxyType(
    {
        Conv: CONV,
        FullyConnected: FULLY_CONNECTED,
        BatchNorm: BATCH_NORM,
        Activation: ACTIVATION,
        Add: ADD,
        Concat: CONCAT,
        Pooling: POOLING,
        Softmax: SOFTMAX,
    }
)
"""By kind of layer."""
