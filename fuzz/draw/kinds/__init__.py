"""The kinds of layers, one per file: how each is wished for, how a wish becomes a legal node, what data do about it.

A new kind is one file here and one entry in `KINDS`. What a node reads and writes follows from its fields, and so does
how the reducer shrinks it.
"""

from __future__ import annotations

from typing import Any

from fuzz.draw.kinds.activation import ActivationKind, ActivationWish, relu
from fuzz.draw.kinds.base import Kind, LayerWish, Wish
from fuzz.draw.kinds.batch_norm import BatchNormKind
from fuzz.draw.kinds.binary import AddKind, DivKind, MaxKind, MinKind, MulKind, SubKind
from fuzz.draw.kinds.concat import ConcatKind
from fuzz.draw.kinds.conv import ConvKind
from fuzz.draw.kinds.fully_connected import FullyConnectedKind
from fuzz.draw.kinds.layer_norm import LayerNormKind
from fuzz.draw.kinds.lrn import LRNKind
from fuzz.draw.kinds.pooling import PoolingKind
from fuzz.draw.kinds.rms_norm import RMSNormKind
from fuzz.draw.kinds.shuffle import ShuffleKind
from fuzz.draw.kinds.slice import SliceKind
from fuzz.draw.kinds.softmax import SoftmaxKind
from nn512.graph import Layer

__all__ = ["KINDS", "SIMPLEST", "Kind", "LayerWish", "Wish", "kind_of"]

KINDS: tuple[Kind[Any], ...] = (
    ActivationKind(),
    ConvKind(),
    PoolingKind(),
    AddKind(),
    ConcatKind(),
    SliceKind(),
    ShuffleKind(),
    BatchNormKind(),
    FullyConnectedKind(),
    SoftmaxKind(),
    LayerNormKind(),
    RMSNormKind(),
    LRNKind(),
    MulKind(),
    SubKind(),
    MaxKind(),
    MinKind(),
    DivKind(),
)
"""All kinds of layers. The first ones are what failures shrink to."""

SIMPLEST = ActivationWish(0, relu(0.0))
"""A layer for graphs that would have none."""

_BY_NODE = {kind.node: kind for kind in KINDS}


def kind_of(layer: Layer) -> Kind[Any]:
    """What the tester knows of the kind of a layer."""
    return _BY_NODE[type(layer)]
