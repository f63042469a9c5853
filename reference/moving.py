"""Results that are elements of what is read, each moved to another place with all that is known of its error."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from reference.evaluation import Evaluation, L
from reference.stepping import Stepped
from reference.tensor import Tensor

Move = Callable[[Sequence[Any], tuple[int, int, int]], Any]
"""Elements of arrays to one array, given which of its axes are channels, rows and columns."""

Origins = frozenset[tuple[str, int]]

_PLAIN, _SAMPLED = (0, 1, 2), (0, 2, 3)
"""Channels, rows and columns of a tensor and of samples of its error, C x S x H x W."""


def moved(at: Evaluation[L], move: Move, origins: Origins) -> Tensor:
    """The result: nothing is computed, so nothing is added to the variance, and NaN and infinities stay as they are."""
    reads = at.reads
    y = move([x.value for x in reads], _PLAIN)
    derived = move([x.derived for x in reads], _PLAIN)
    unspecified = move([x.unspecified for x in reads], _PLAIN)
    sampled = (move([x.errors for x in reads], _SAMPLED), np.zeros_like(derived))
    terms, peak = max(x.terms for x in reads), max(x.peak for x in reads)
    return at.finish(y, derived, sampled, unspecified, terms=terms, peak=peak, origins=origins)


def moved_step(reads: Sequence[Stepped], move: Move) -> Stepped:
    """The same of a tensor whose elements are exact or not."""
    value = move([x.value for x in reads], _PLAIN)
    exact = move([x.exact for x in reads], _PLAIN)
    bound = move([x.bound for x in reads], _PLAIN)
    return Stepped(value, exact, bound, min(x.step for x in reads))


def shifted(origins: Iterable[tuple[str, int]], channels: int) -> Origins:
    """Origins of a tensor whose channels stand so many later in the result."""
    return frozenset((name, channel + channels) for name, channel in origins)


def elsewhere(origins: Iterable[tuple[str, int]], how: object) -> Origins:
    """Origins of a tensor whose elements do not stay side by side: alike only where the same was done to both."""
    return frozenset((name, 1 << 40 | zlib.crc32(repr((channel, how)).encode())) for name, channel in origins)
