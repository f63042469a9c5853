"""The C of every sort of element-wise step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from nn512.cgen.code import Routine
from nn512.ir import ActivationStep, BinaryStep, ElementwiseStep, NormStep
from nn512.kernels.chain import binary, norm
from nn512.kernels.chain.code import StepCode
from nn512.kernels.chain.functions import FUNCTIONS

STEPS: Mapping[type[ElementwiseStep], StepCode] = MappingProxyType({NormStep: norm.CODE, BinaryStep: binary.CODE})
"""Those that are no activation functions."""


def code_of(step: ElementwiseStep) -> StepCode:
    """How a step is written."""
    return FUNCTIONS[step.node.kind] if isinstance(step, ActivationStep) else STEPS[type(step)]


def calls_of(steps: Iterable[ElementwiseStep]) -> tuple[Routine, ...]:
    """The routines that some steps call, each once."""
    return tuple(dict.fromkeys(routine for step in steps for routine in code_of(step).calls))
