"""What every node kind means, a file for each: the value, and beside it variance, samples, range and exactness.

The docstrings of the functions `value` are the specification. A new kind is a file with a `Kind` and an entry in KINDS;
a new function of a number is an entry in `activation.FUNCTIONS`.

Conventions. A tensor is an array of shape C x H x W (the batch is always 1); `x` is what the node reads.
Inputs and parameters are float32 and are converted to float64 exactly. A node's result is the real number its
definition names; its variance says how far a float32 evaluation may lie from it, its mask where nothing is promised.

Rules that hold for every kind:

* Parameters must be finite; results that depend on a parameter that is not are unspecified.
* Non-finite tensor values follow IEEE 754 (inf - inf, 0 * inf and anything with NaN are NaN) unless a docstring says
  otherwise.
* -0 and +0 are the same number: no node promises the sign of a zero.
* A result beyond the float32 range, or one whose evaluation in some order passes beyond it, is unspecified.
* Numbers in a graph file (slopes) are the float32 nearest to the text.

Source of the definitions: the graph language of NN-512 (nn-512.com) with the gaps in it filled as stated here.
"""

from __future__ import annotations

from typing import Any

from nn512.graph.nodes import Layer
from reference.kinds.activation import ActivationKind
from reference.kinds.add import AddKind
from reference.kinds.batch_norm import BatchNormKind
from reference.kinds.concat import ConcatKind
from reference.kinds.conv import ConvKind
from reference.kinds.div import DivKind
from reference.kinds.fully_connected import FullyConnectedKind
from reference.kinds.kind import Kind
from reference.kinds.layer_norm import LayerNormKind
from reference.kinds.lrn import LRNKind
from reference.kinds.max import MaxKind
from reference.kinds.min import MinKind
from reference.kinds.mul import MulKind
from reference.kinds.pooling import PoolingKind
from reference.kinds.rms_norm import RMSNormKind
from reference.kinds.shuffle import ShuffleKind
from reference.kinds.slice import SliceKind
from reference.kinds.softmax import SoftmaxKind
from reference.kinds.sub import SubKind

KINDS: tuple[Kind[Any], ...] = (
    ConvKind(),
    FullyConnectedKind(),
    BatchNormKind(),
    LayerNormKind(),
    RMSNormKind(),
    LRNKind(),
    ActivationKind(),
    AddKind(),
    SubKind(),
    MulKind(),
    DivKind(),
    MaxKind(),
    MinKind(),
    ConcatKind(),
    SliceKind(),
    ShuffleKind(),
    PoolingKind(),
    SoftmaxKind(),
)
"""All kinds of nodes between the inputs and the outputs; a test finds what is missing."""

_BY_NODE = {kind.node: kind for kind in KINDS}


def kind_of(layer: Layer) -> Kind[Any]:
    """The kind of a layer."""
    return _BY_NODE[type(layer)]
