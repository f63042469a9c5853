"""GELU: x times the normal distribution below x."""

from __future__ import annotations

from nn512.kernels.chain.code import called
from nn512.kernels.elementary import GELU

CODE = called(GELU.routine, "gelu", "GELU")
