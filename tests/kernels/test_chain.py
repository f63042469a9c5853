"""Every element-wise step can be written in C."""

from __future__ import annotations

from nn512.graph import ACTIVATIONS
from nn512.ir import ActivationStep, ElementwiseStep
from nn512.kernels.chain.functions import FUNCTIONS
from nn512.kernels.chain.steps import STEPS


def test_every_activation_function_has_code() -> None:
    assert set(FUNCTIONS) == set(ACTIVATIONS)


def test_every_other_step_has_code() -> None:
    kinds = {
        kind.__qualname__: kind for kind in ElementwiseStep.__subclasses__() if kind.__module__.startswith("nn512.ir")
    }
    others = {name for name, kind in kinds.items() if not issubclass(kind, ActivationStep) and name != "ActivationStep"}
    assert {kind.__qualname__ for kind in STEPS} == others
