"""Softplus: log(1 + exp(x))."""

from __future__ import annotations

from nn512.kernels.chain.code import called
from nn512.kernels.elementary import SOFTPLUS

CODE = called(SOFTPLUS.routine, "softplus", "softplus")
