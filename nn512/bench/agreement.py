"""Whether all systems compute the same: asked before anything is said about their speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn512.errors import Nn512Error

BOUND = 1e-3
"""Largest error allowed, relative to the largest element of the output: what weights stored in half precision may cost.

Float32 throughout gives about 1e-5 in nets of a hundred layers, a wrong tap or border 1e-2 and more.
"""


class DisagreementError(Nn512Error):
    """A system computes something else than the reference: its speed says nothing."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest error of each system over all outputs, relative to the largest element of the output."""

    errors: Mapping[str, float]
    bound: float = BOUND


def agree(expected: Mapping[str, NDArray[Any]], answers: Mapping[str, Mapping[str, NDArray[Any]]]) -> Agreement:
    """Hold the outputs of every system to the `expected` ones. Raises DisagreementError, which lists who is wrong."""
    for name, value in expected.items():
        if not np.isfinite(value).all() or not value.any():
            raise DisagreementError(f"output {name!r} is all zeros or not finite: nothing would be shown by agreeing")
    errors = {
        system: max(relative_error(value, outputs[name]) for name, value in expected.items())
        for system, outputs in answers.items()
    }
    wrong = {system: error for system, error in errors.items() if not error <= BOUND}
    if wrong:
        told = ", ".join(f"{system} by {error:.2g}" for system, error in wrong.items())
        raise DisagreementError(
            f"no times: off the reference, relative to the largest output, where {BOUND:g} is allowed: {told}"
        )
    return Agreement(errors)


def relative_error(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """Largest difference over the largest magnitude of `expected`; infinite where `got` is not finite."""
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max() / np.abs(expected).max())
