"""GELU by a hyperbolic tangent."""

from __future__ import annotations

from nn512.kernels.chain.code import called
from nn512.kernels.elementary import GELU_TANH

CODE = called(GELU_TANH.routine, "gelutanh", "GELU by tanh")
