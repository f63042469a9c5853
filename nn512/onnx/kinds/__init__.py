"""How each kind of layer is written in ONNX, and which operators are read as it, one file per kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nn512.graph import (
    LRN,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Div,
    FullyConnected,
    LayerNorm,
    Max,
    Min,
    Mul,
    Pooling,
    RMSNorm,
    Shuffle,
    Slice,
    Softmax,
    Sub,
)
from nn512.onnx.kinds.activation import ACTIVATION, ACTIVATION_RULES
from nn512.onnx.kinds.batch_norm import BATCH_NORM, BATCH_NORM_RULES
from nn512.onnx.kinds.binary import ADD_RULES, BINARY, DIV_RULES, MAX_RULES, MIN_RULES, MUL_RULES, SUB_RULES
from nn512.onnx.kinds.concat import CONCAT, CONCAT_RULES
from nn512.onnx.kinds.conv import CONV, CONV_RULES
from nn512.onnx.kinds.fully_connected import FULLY_CONNECTED, FULLY_CONNECTED_RULES
from nn512.onnx.kinds.layer_norm import LAYER_NORM, LAYER_NORM_RULES
from nn512.onnx.kinds.lrn import LRN_EXPORT, LRN_RULES
from nn512.onnx.kinds.pooling import POOLING, POOLING_RULES
from nn512.onnx.kinds.rms_norm import RMS_NORM, RMS_NORM_RULES
from nn512.onnx.kinds.shuffle import SHUFFLE, SHUFFLE_RULES
from nn512.onnx.kinds.slice import SLICE, SLICE_RULES
from nn512.onnx.kinds.softmax import SOFTMAX, SOFTMAX_RULES
from nn512.onnx.maker import Export
from nn512.onnx.rules import Rule

__all__ = ["EXPORTS", "RULES"]

EXPORTS: Mapping[type, Export] = MappingProxyType(
    {
        Conv: CONV,
        FullyConnected: FULLY_CONNECTED,
        BatchNorm: BATCH_NORM,
        Activation: ACTIVATION,
        Add: BINARY,
        Sub: BINARY,
        Mul: BINARY,
        Div: BINARY,
        Max: BINARY,
        Min: BINARY,
        Concat: CONCAT,
        Slice: SLICE,
        Shuffle: SHUFFLE,
        Pooling: POOLING,
        Softmax: SOFTMAX,
        LayerNorm: LAYER_NORM,
        RMSNorm: RMS_NORM,
        LRN: LRN_EXPORT,
    }
)
"""By kind of layer."""

RULES: Mapping[type, tuple[Rule, ...]] = MappingProxyType(
    {
        Conv: CONV_RULES,
        FullyConnected: FULLY_CONNECTED_RULES,
        BatchNorm: BATCH_NORM_RULES,
        Activation: ACTIVATION_RULES,
        Add: ADD_RULES,
        Sub: SUB_RULES,
        Mul: MUL_RULES,
        Div: DIV_RULES,
        Max: MAX_RULES,
        Min: MIN_RULES,
        Concat: CONCAT_RULES,
        Slice: SLICE_RULES,
        Shuffle: SHUFFLE_RULES,
        Pooling: POOLING_RULES,
        Softmax: SOFTMAX_RULES,
        LayerNorm: LAYER_NORM_RULES,
        RMSNorm: RMS_NORM_RULES,
        LRN: LRN_RULES,
    }
)
"""Operators that become layers, by the kind that they mostly become."""
