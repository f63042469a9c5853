"""SiLU: x / (1 + exp(-x))."""

from __future__ import annotations

from nn512.kernels.chain.code import called
from nn512.kernels.elementary import SILU

CODE = called(SILU.routine, "silu", "SiLU")
