"""The verdict on one output of a net: what the C computed against what the reference says it may compute.

Where the data make the arithmetic exact, every element must be equal. Elsewhere the reference gives each element the
variance that evaluation in float32 may have, and the error is judged in units of its square root, sigma, by the limits
of `fuzz.judge.limits`. Negative and positive zero are equal; NaN must meet NaN and an infinity itself.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fuzz.judge.limits import Limit
from fuzz.judge.pattern import Grid, Pattern, pattern_of
from fuzz.judge.window import window_around


class Outcome(enum.Enum):
    """What was found out about an output."""

    EXACT = "exact"
    """Every element compared had to equal the reference, and did."""
    WITHIN = "within limits"
    """Every error is within the limits of the tolerance."""
    VACUOUS = "vacuous"
    """Nothing wrong, but nothing shown either: no element compared, or zeros everywhere."""
    WRONG = "wrong"
    """Some element is unequal, beyond the limits, or not the NaN or infinity it should be."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comparing one output showed. Errors are in units of sigma; `worst` is the index c, y, x of the largest.

    Of what is wrong, `pattern` says what it has in common, and `window` shows what is around the worst element. Wrong
    ones are marked in `elements`.
    """

    output: str
    outcome: Outcome
    compared: int
    wrong: int
    max_sigma: float
    rms_sigma: float
    worst: tuple[int, ...] | None
    detail: str
    pattern: Pattern | None = None
    window: tuple[str, ...] = ()
    elements: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing wrong was found."""
        return self.outcome is not Outcome.WRONG

    def __str__(self) -> str:
        if self.outcome is Outcome.VACUOUS:
            return f"{self.output}: vacuous: {self.detail}"
        if self.outcome is Outcome.EXACT:
            return f"{self.output}: exact, {self.compared} elements equal"
        spread = f"max error {self.max_sigma:.3g} sigma, rms {self.rms_sigma:.3g}, {self.compared} elements"
        if self.outcome is Outcome.WITHIN:
            return f"{self.output}: within limits: {spread}"
        if self.pattern is None:
            return f"{self.output}: WRONG: {self.detail}; {spread}"
        return f"{self.output}: WRONG: {self.pattern}; {self.detail}; {spread}"


def judge(
    output: str,
    got: NDArray[np.float32],
    value: NDArray[np.float64],
    variance: NDArray[np.float64],
    unspecified: NDArray[np.bool_],
    exact: NDArray[np.bool_],
    limit: Limit,
    grid: Grid | None = None,
) -> Verdict:
    """The verdict on output `got`, all arrays CxHxW; elements marked `exact` must be equal, whatever their variance.

    `grid` says how the layer divides its work that computes the output: patterns refer to it.
    """
    if got.shape != value.shape:
        raise ValueError(f"{output}: got shape {got.shape}, the reference has {value.shape}")
    finite = np.isfinite(value)
    with np.errstate(all="ignore"):
        sigma = np.where(exact, 0.0, np.sqrt(variance))
        compared = ~unspecified
        equal = (got == value) | (np.isnan(got) & np.isnan(value))
        error = np.abs(got.astype(np.float64) - value)
        # A NaN or an infinity that should not be, or an error where there is no variance, is infinitely wrong.
        in_sigma = np.where(equal, 0.0, np.where(finite & np.isfinite(got) & (sigma > 0), error / sigma, np.inf))
    in_sigma = np.where(compared, in_sigma, 0.0)
    count = int(compared.sum())
    bad = in_sigma > limit.maximum
    maximum = float(in_sigma.max(initial=0.0))
    worst = _worst(in_sigma, error) if count else None
    with np.errstate(all="ignore"):
        rms = float(np.sqrt(np.square(in_sigma).sum() / max(count, 1)))
    if bad.any() and worst is not None:
        detail = _describe(worst, got, value, sigma, in_sigma, limit)
        pattern, window = pattern_of(bad, compared, grid), window_around(worst, got, value, bad)
        return Verdict(output, Outcome.WRONG, count, int(bad.sum()), maximum, rms, worst, detail, pattern, window, bad)
    # Equal elements were computed from equal terms, and err alike: many of them are a single one.
    if rms > limit.rms and len(np.unique(value[compared])) >= limit.rms_from:
        detail = f"rms error of {rms:.3g} sigma is above the limit of {limit.rms:g}"
        return Verdict(output, Outcome.WRONG, count, count, maximum, rms, worst, detail)
    if count == 0:
        return Verdict(output, Outcome.VACUOUS, 0, 0, 0.0, 0.0, None, "no element could be compared")
    if not np.any(value[compared] != 0):
        return Verdict(output, Outcome.VACUOUS, count, 0, maximum, rms, worst, "all zeros")
    outcome = Outcome.EXACT if not np.any(sigma[compared & finite] > 0) else Outcome.WITHIN
    return Verdict(output, outcome, count, 0, maximum, rms, worst, "")


def _worst(in_sigma: NDArray[np.float64], error: NDArray[np.float64]) -> tuple[int, ...]:
    """The first of the elements that err most; of those that are infinitely wrong, the one that is farthest off."""
    order = in_sigma
    if np.isinf(in_sigma).any():
        order = np.where(np.isinf(in_sigma), np.where(np.isfinite(error), error, np.inf), -1.0)
    return tuple(int(index) for index in np.unravel_index(int(order.argmax()), order.shape))


def _describe(
    worst: tuple[int, ...],
    got: NDArray[np.float32],
    value: NDArray[np.float64],
    sigma: NDArray[np.float64],
    in_sigma: NDArray[np.float64],
    limit: Limit,
) -> str:
    where = ", ".join(f"{axis}={index}" for axis, index in zip("cyx", worst, strict=True))
    want = f"{value[worst]:.9g}"
    if not sigma[worst] > 0:
        return f"at {where} got {got[worst]:.9g}, expected {want} exactly"
    far = f", {in_sigma[worst]:.3g} sigma away" if np.isfinite(in_sigma[worst]) else ""
    return f"at {where} got {got[worst]:.9g}{far}, expected {want} +- {limit.maximum:g} x {sigma[worst]:.3g}"


def worst_sigma(verdicts: Iterable[Verdict]) -> float:
    """The largest error over sigma among verdicts that were judged within limits; 0 where there is none."""
    return max((v.max_sigma for v in verdicts if v.outcome is Outcome.WITHIN), default=0.0)
