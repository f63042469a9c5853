"""Mish: x * tanh(log(1 + exp(x)))."""

from __future__ import annotations

from nn512.kernels.chain.code import called
from nn512.kernels.elementary import MISH

CODE = called(MISH.routine, "mish", "Mish")
