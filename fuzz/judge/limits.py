"""How many sigma the error of emitted code may have: one table, per algorithm, with the measurement it stands on.

Sigma is the square root of the variance that the reference gives each element (see `reference`): with it one limit
serves every depth, size and kind of data. `python -m fuzz.campaign.measure` measures the table anew on emitted code,
prints what it saw beside what is allowed, and ends with 1 where the code now errs more than that. A limit is raised
only together with the explanation why correct code errs that much; a dropped filter tap gives 1e2 to 1e5 sigma.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nn512.errors import UsageError


@dataclass(frozen=True, slots=True)
class Limit:
    """Largest error over sigma allowed for one element, and for the rms over an output of `rms_from` values or more.

    `exact_steps`: in sums of up to so many steps (see `reference.exactness`) the algorithm makes no error. What an
    algorithm does to the steps the reference knows.
    """

    maximum: float
    rms: float
    exact_steps: float
    measured: str
    rms_from: int = 64


LIMITS: Mapping[str, Limit] = {
    "direct": Limit(
        maximum=12.0,
        rms=6.0,
        exact_steps=2.0**24,
        measured="200 random graphs on 4 kinds of data, 5.6 million elements: max 5.6, rms of an output 1.26",
    ),
    "winograd": Limit(
        maximum=12.0,
        rms=6.0,
        exact_steps=2.0**24,
        measured="310 random graphs with a kernel forced on 4 kinds of data, 0.86 million elements: max 4.6, rms 1.71",
    ),
    "bfloat16": Limit(
        maximum=12.0,
        rms=6.0,
        exact_steps=2.0**24,
        measured="150 random graphs with the kernel forced on all kinds of data: max 4.9",
    ),
    "fourier": Limit(
        maximum=12.0,
        rms=6.0,
        exact_steps=2.0**24,
        measured="emulated in float32 (see `reference.tiled`): max 3.9, rms of an output 1.03; equal terms 6.8 and 4.4",
    ),
}
"""Limits by algorithm, all alike: the variance of the reference is that of the algorithm of each layer.

"direct" is whatever sums products as they stand, in any order, and "bfloat16" the same of numbers that are rounded
before, as the reference knows. One limit judges an output: a layer behind it that is computed tile by tile widens what
the output may err by in proportion to what that layer contributes to its variance.
"""


def limit_of(algorithms: Iterable[str]) -> Limit:
    """The widest of the limits of the algorithms behind an output. Raises UsageError for unknown algorithms."""
    limits = [LIMITS["direct"]]
    for algorithm in algorithms:
        if algorithm not in LIMITS:
            raise UsageError(f"no error limit for the algorithm {algorithm!r}; there are {', '.join(LIMITS)}")
        limits.append(LIMITS[algorithm])
    return Limit(
        maximum=max(limit.maximum for limit in limits),
        rms=max(limit.rms for limit in limits),
        exact_steps=min(limit.exact_steps for limit in limits),
        measured="",
        rms_from=max(limit.rms_from for limit in limits),
    )
