"""Whether all systems compute the same: asked before anything is said about their speed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn512.errors import Nn512Error

SINGLE = 1e-3
"""Largest error allowed of a system that computes in float32, relative to the largest element of the output or logit.

Measured on the logits of ResNet50, DenseNet121 and EfficientNetB0 with random parameters: float32 9e-7 to 1.2e-6,
bfloat16 3e-3 to 3.2e-2 (OpenVINO on EfficientNetB0), one tap of a convolution in mid-net left out 0.064 to 0.28.
"""

HALF_WEIGHTS = 3e-3
"""The same where weights may be stored in half precision; measured: 7e-4."""

BFLOAT16 = 5e-2
"""The same where products are of bfloat16; measured: 4e-2 of twelve convolutions in a row by F(4x4)."""

LEAST_PROBABILITY = 1e-30
"""Smaller probabilities are taken for that: near 1e-38 their logarithm loses its digits in float32."""


class DisagreementError(Nn512Error):
    """A system computes something else than the reference: its speed says nothing."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest error of each system over all outputs, relative to the largest element, and what was allowed.

    Of an output that is a Softmax, the error is that of the logits.
    """

    errors: Mapping[str, float]
    bounds: Mapping[str, float]


def agree(
    expected: Mapping[str, NDArray[Any]],
    answers: Mapping[str, Mapping[str, NDArray[Any]]],
    bounds: Mapping[str, float],
    probabilities: Collection[str] = (),
) -> Agreement:
    """Hold the outputs of every system to the `expected` ones, within the bound of that system.

    `probabilities` names the outputs that are computed by a Softmax, channels first: exp turns an error of its logits
    into one that depends on how far apart they are, so they are compared as logits.
    Raises DisagreementError, which lists who is wrong, and also where agreement would show nothing.
    """
    for name, value in expected.items():
        if not np.isfinite(value).all() or not value.any():
            raise DisagreementError(f"output {name!r} is all zeros or not finite: nothing would be shown by agreeing")
    off_by = {name: logit_error if name in probabilities else relative_error for name in expected}
    errors = {
        system: max(off_by[name](value, outputs[name]) for name, value in expected.items())
        for system, outputs in answers.items()
    }
    wrong = {system: error for system, error in errors.items() if not error <= bounds[system]}
    if wrong:
        told = ", ".join(f"{name} by {error:.2g} ({bounds[name]:g} allowed)" for name, error in wrong.items())
        raise DisagreementError(f"no times: off the reference, relative to the largest output or logit: {told}")
    return Agreement(errors, dict(bounds))


def relative_error(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """Largest difference over the largest magnitude of `expected`; infinite where `got` is not finite."""
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def logit_error(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """The same of the logits behind probabilities: their logarithms, the middle of which counts as 0.

    Relative to the largest of them, or to 1 where all are smaller. Infinite where `got` is no probability.
    """
    if not (np.isfinite(got).all() and (got >= 0).all()):
        return float("inf")
    logits = np.log(expected[expected > 0])
    largest = (logits.max() - logits.min()) / 2
    off = np.log(np.maximum(got, LEAST_PROBABILITY)) - np.log(np.maximum(expected, LEAST_PROBABILITY))
    return float(np.abs(off).max() / max(largest, 1))
