"""Element-wise steps on values in registers, as C.

chain.py             steps one after another: what they read, as parameters and arguments
code.py              what every sort of step must say
norm.py, binary.py   batch norm; sums, products and the like with another tensor
functions/           activation functions, one module each
"""

from __future__ import annotations

from nn512.kernels.chain.chain import ChainCode
from nn512.kernels.chain.code import Operand, Parameters
from nn512.kernels.chain.steps import calls_of

__all__ = ["ChainCode", "Operand", "Parameters", "calls_of"]
