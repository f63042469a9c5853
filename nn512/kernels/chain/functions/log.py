"""The natural logarithm."""

from __future__ import annotations

from nn512.kernels.chain.code import called
from nn512.kernels.elementary import LOG

CODE = called(LOG.routine, "log", "logarithm")
