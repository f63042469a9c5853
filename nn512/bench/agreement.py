"""Whether all systems compute the same: asked before anything is said about their speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn512.errors import Nn512Error

SINGLE = 1e-3
"""Largest error allowed of a system that computes in float32, relative to the largest element of the output.

Measured on ResNet50 and DenseNet121 with random parameters: float32 2e-7 to 8e-6, bfloat16 7e-3 to 1e-2, one tap of a
convolution in mid-net left out 0.09 to 0.5.
"""

HALF_WEIGHTS = 3e-3
"""The same where weights may be stored in half precision; measured: 7e-4."""

BFLOAT16 = 3e-2
"""The same where products are of bfloat16."""


class DisagreementError(Nn512Error):
    """A system computes something else than the reference: its speed says nothing."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest error of each system over all outputs, relative to the largest element, and what was allowed."""

    errors: Mapping[str, float]
    bounds: Mapping[str, float]


def agree(
    expected: Mapping[str, NDArray[Any]],
    answers: Mapping[str, Mapping[str, NDArray[Any]]],
    bounds: Mapping[str, float],
) -> Agreement:
    """Hold the outputs of every system to the `expected` ones, within the bound of that system.

    Raises DisagreementError, which lists who is wrong, and also where agreement would show nothing.
    """
    for name, value in expected.items():
        if not np.isfinite(value).all() or not value.any():
            raise DisagreementError(f"output {name!r} is all zeros or not finite: nothing would be shown by agreeing")
    errors = {
        system: max(relative_error(value, outputs[name]) for name, value in expected.items())
        for system, outputs in answers.items()
    }
    wrong = {system: error for system, error in errors.items() if not error <= bounds[system]}
    if wrong:
        told = ", ".join(f"{name} by {error:.2g} ({bounds[name]:g} allowed)" for name, error in wrong.items())
        raise DisagreementError(f"no times: off the reference, relative to the largest output: {told}")
    return Agreement(errors, dict(bounds))


def relative_error(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """Largest difference over the largest magnitude of `expected`; infinite where `got` is not finite."""
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max() / np.abs(expected).max())
