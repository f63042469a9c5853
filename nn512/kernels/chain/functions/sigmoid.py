"""Sigmoid: 1 / (1 + exp(-x))."""

from __future__ import annotations

from nn512.kernels.chain.code import called
from nn512.kernels.elementary import SIGMOID

CODE = called(SIGMOID.routine, "sigmoid", "sigmoid")
