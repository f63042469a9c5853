"""Medians, quartiles, and ratios of what was measured in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of some values, all in their unit: half of the values lie from `lower` to `upper`."""

    median: float
    lower: float
    upper: float
    least: float
    count: int

    def scaled(self, factor: float) -> Spread:
        """The spread of the values times a positive `factor`."""
        return Spread(self.median * factor, self.lower * factor, self.upper * factor, self.least * factor, self.count)


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value; ValueError for none."""
    if not values:
        raise ValueError("no values have no spread")
    ordered = sorted(values)
    return Spread(median(ordered), quantile(ordered, 0.25), quantile(ordered, 0.75), ordered[0], len(ordered))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a `share` of the sorted values lies, interpolated between neighbours (as numpy does)."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def ratio_by_round(above: Sequence[Sequence[float]], below: Sequence[Sequence[float]]) -> Spread:
    """How many times larger `above` is than `below`: medians divided round by round, values of one round each.

    What slows the whole machine for a while slows both in the same rounds, and leaves the ratio alone.
    """
    return spread([median(a) / median(b) for a, b in zip(above, below, strict=True)])
