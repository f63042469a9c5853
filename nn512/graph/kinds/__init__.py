"""The node kinds of the graph language, one per file: fields, shape, parameters, work and words of a kind stand there.

`KINDS` is what the parser, the manual and everybody else who walks over kinds goes by.
"""

from __future__ import annotations

from typing import TypeAlias

from nn512.graph.kinds.activation import ACTIVATIONS, Activation
from nn512.graph.kinds.add import Add
from nn512.graph.kinds.batch_norm import BatchNorm
from nn512.graph.kinds.concat import Concat
from nn512.graph.kinds.config import PLATFORMS, Config
from nn512.graph.kinds.conv import Conv
from nn512.graph.kinds.div import Div
from nn512.graph.kinds.fully_connected import FullyConnected
from nn512.graph.kinds.input import Input
from nn512.graph.kinds.layer_norm import LayerNorm
from nn512.graph.kinds.lrn import LRN
from nn512.graph.kinds.max import Max
from nn512.graph.kinds.min import Min
from nn512.graph.kinds.mul import Mul
from nn512.graph.kinds.output import Output
from nn512.graph.kinds.pooling import POOLINGS, Pooling
from nn512.graph.kinds.rms_norm import RMSNorm
from nn512.graph.kinds.shuffle import Shuffle
from nn512.graph.kinds.slice import Slice
from nn512.graph.kinds.softmax import Softmax
from nn512.graph.kinds.sub import Sub

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "LRN",
    "PLATFORMS",
    "POOLINGS",
    "Activation",
    "Add",
    "AnyBinary",
    "AnyLayer",
    "AnyNode",
    "BatchNorm",
    "Concat",
    "Config",
    "Conv",
    "Div",
    "FullyConnected",
    "Input",
    "LayerNorm",
    "Max",
    "Min",
    "Mul",
    "Output",
    "Pooling",
    "RMSNorm",
    "Shuffle",
    "Slice",
    "Softmax",
    "Sub",
]

AnyBinary: TypeAlias = Add | Sub | Mul | Div | Max | Min
"""Every kind of function of two tensors, element by element."""

AnyLayer: TypeAlias = (
    Conv
    | FullyConnected
    | BatchNorm
    | LayerNorm
    | RMSNorm
    | LRN
    | Activation
    | AnyBinary
    | Concat
    | Slice
    | Shuffle
    | Pooling
    | Softmax
)
"""Every kind of layer, for a `match` that is closed by `assert_never`."""

AnyNode: TypeAlias = Config | Input | Output | AnyLayer
"""Every kind of node, likewise."""

KINDS: tuple[type[AnyNode], ...] = (
    Config,
    Input,
    Output,
    Conv,
    FullyConnected,
    BatchNorm,
    LayerNorm,
    RMSNorm,
    LRN,
    Activation,
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Concat,
    Slice,
    Shuffle,
    Pooling,
    Softmax,
)
"""In the order of the manual."""
