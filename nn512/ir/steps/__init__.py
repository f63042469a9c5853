"""Element-wise steps: what can be done to a value while it is in registers. One module per sort.

    step.py         what every step answers
    norm.py         batch norm
    binary.py       sums, products and the like with another tensor, or with the value itself
    activation.py   activation functions; those with an algebra of their own, such as ReLU, have a class here

`activation_step` finds the step of an activation function; the C of a step is in `nn512.kernels.chain`.
"""

from __future__ import annotations

from nn512.ir.steps.activation import ActivationStep, ReluStep, activation_step
from nn512.ir.steps.binary import WHOLE, BinaryStep, Spread, binary_step
from nn512.ir.steps.norm import NormStep
from nn512.ir.steps.step import Chain, ElementwiseStep, nearest_single

__all__ = [
    "WHOLE",
    "ActivationStep",
    "BinaryStep",
    "Chain",
    "ElementwiseStep",
    "NormStep",
    "ReluStep",
    "Spread",
    "activation_step",
    "binary_step",
    "nearest_single",
]
