"""Element-wise functions: one object for each `Kind` of Activation.

function.py    what every function says
pieces.py      those that consist of pieces, such as ReLU
smooth.py      transcendental ones
"""

from __future__ import annotations

from nn512.graph.nodes import Activation
from reference.functions.function import Function
from reference.functions.pieces import Clip, HardSigmoid, HardSwish, PRelu, Relu
from reference.functions.smooth import Sigmoid, Silu, Tanh

FUNCTIONS: tuple[Function, ...] = (Relu(), PRelu(), Clip(), Sigmoid(), HardSigmoid(), Silu(), HardSwish(), Tanh())
"""All functions; a test finds what is missing."""

_BY_KIND = {function.kind: function for function in FUNCTIONS}


def function_of(node: Activation) -> Function:
    """The function of a node."""
    return _BY_KIND[node.kind]
