"""Element-wise functions: one object for each `Kind` of Activation.

function.py    what every function says
pieces.py      those that consist of pieces, such as ReLU
single.py      those of one operation
smooth.py      transcendental ones; gates.py, those that go with GELU
"""

from __future__ import annotations

from nn512.graph.nodes import Activation
from reference.functions.function import Function
from reference.functions.gates import Elu, Gelu, GeluTanh, Mish, Softplus
from reference.functions.pieces import Clip, HardSigmoid, HardSwish, PRelu, Relu
from reference.functions.single import Abs, Neg, Reciprocal, Sqrt, Square
from reference.functions.smooth import Exp, Log, Sigmoid, Silu, Tanh

FUNCTIONS: tuple[Function, ...] = (
    *(Relu(), PRelu(), Clip(), Sigmoid(), HardSigmoid(), Silu(), HardSwish(), Tanh(), Gelu(), GeluTanh(), Elu()),
    *(Softplus(), Mish(), Exp(), Log(), Sqrt(), Square(), Abs(), Neg(), Reciprocal()),
)
"""All functions; a test finds what is missing."""

_BY_KIND = {function.kind: function for function in FUNCTIONS}


def function_of(node: Activation) -> Function:
    """The function of a node."""
    return _BY_KIND[node.kind]
