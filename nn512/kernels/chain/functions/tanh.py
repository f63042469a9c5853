"""Hyperbolic tangent."""

from __future__ import annotations

from nn512.kernels.chain.code import called
from nn512.kernels.elementary import TANH

CODE = called(TANH.routine, "tanh", "tanh")
