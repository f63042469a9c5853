"""What wrong elements of an output have in common: the pattern that tells a fault from another at a glance.

Elements are looked at along channels, rows and columns, each in several ways: a channel is also a lane of a block of 16
and a channel of a group, a row is also a row of a tile, a pixel also one of the last. Of the ways along each of them
the one is taken that leaves out most of what is right, for as few words as possible.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Labels = NDArray[np.intp]

LANES = 16

_MOST = 0.9
"""Of the wrong elements at least so many must have what a pattern says."""

_LEAST_BITS = 0.4
"""What a restriction must be worth, in bits of what it leaves out: one that leaves a quarter out is."""

_MISSED, _INEXACT = 4.0, 0.3
"""Bits that a restriction loses for the share of wrong elements that it does not have, and for there being any."""

_SEVERAL = 0.25
"""Bits that a run of labels loses against a single one, which takes fewer words."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a layer divides what it computes: where the borders lie between which a fault may begin.

    `tile` is rows x columns of a tile, `threads` how many shared the rows of all blocks between them, 1 for alone.
    """

    groups: int = 1
    tile: tuple[int, int] = (1, 1)
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Restriction:
    """Something most wrong elements have: `words` say what, `key` says it without numbers."""

    words: str
    key: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """What `wrong` of `compared` elements have in common: `restrictions`, which `inside` of them have.

    `around` says where there is none, `there` is how many elements have all that and were compared.
    """

    wrong: int
    compared: int
    inside: int
    there: int
    restrictions: tuple[Restriction, ...]
    around: str

    @property
    def key(self) -> str:
        """The pattern without numbers: the same for one fault on tensors of other sizes."""
        return " and ".join(one.key for one in self.restrictions) or (
            "all" if self.wrong == self.compared else "anywhere"
        )

    def __str__(self) -> str:
        if not self.restrictions:
            if self.wrong == self.compared:
                return "the element is wrong" if self.wrong == 1 else f"all {self.wrong} elements are wrong"
            return f"{_are(self.wrong, self.compared)} wrong{self.around}"
        words = " and ".join(one.words for one in self.restrictions)
        if self.wrong == 1:
            start = f"the wrong element has {words}"
        elif self.inside == self.wrong:
            start = f"all {self.wrong} wrong elements have {words}"
        else:
            start = f"{self.inside} of {self.wrong} wrong elements have {words}"
        if self.inside == self.there:
            return f"{start}{self.around}" if self.there == 1 else f"{start}{self.around}, where everything is wrong"
        return f"{start}{self.around}, where {_are(self.inside, self.there)} wrong"


def _are(some: int, of: int) -> str:
    return f"{some} of {of} elements {'is' if some == 1 else 'are'}"


def pattern_of(wrong: Mask, compared: Mask | None = None, grid: Grid | None = None) -> Pattern | None:
    """What the elements marked in `wrong` (CxHxW) have in common that others `compared` have not; None for none.

    `compared` are all elements where it is not given; what is wrong was compared.
    """
    compared = np.ones(wrong.shape, np.bool_) if compared is None else compared | wrong
    count = int(wrong.sum())
    if count == 0:
        return None
    grid = grid or Grid()
    channels, rows, columns = (_best(views, wrong, compared) for views in _axes(wrong.shape, grid))
    pixels = _best(_of_pixels(wrong.shape), wrong, compared)
    shares = _best(_of_shares(wrong.shape, grid), wrong, compared)
    found = [channels, rows, columns]
    if pixels is not None and pixels.bits > _bits(rows, columns) + _SEVERAL:
        found = [channels, pixels]
    if shares is not None and shares.bits > _bits(channels, rows) + _SEVERAL:
        found = [shares, columns]
    chosen = [one for one in found if one is not None]
    inside = np.ones(wrong.shape, np.bool_)
    for one in chosen:
        inside &= one.elements
    if not (wrong & inside).any():  # each may leave out a tenth, all together everything
        chosen, inside = [], np.ones(wrong.shape, np.bool_)
    return Pattern(
        wrong=count,
        compared=int(compared.sum()),
        inside=int((wrong & inside).sum()),
        there=int((compared & inside).sum()),
        restrictions=tuple(one.restriction for one in chosen),
        around=_around(wrong & inside, compared & inside, {axis for one in chosen for axis in one.axes}),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """One way to look at elements: a label for each along `axes`, as an array that broadcasts to all of them."""

    name: str
    labels: Labels
    axes: frozenset[int]
    is_place: bool = True  # its first and its last are special


@dataclass(frozen=True, slots=True)
class _Found:
    bits: float
    restriction: Restriction
    elements: Mask
    axes: frozenset[int]


def _bits(*found: _Found | None) -> float:
    return sum(one.bits for one in found if one is not None)


def _axes(shape: tuple[int, ...], grid: Grid) -> Iterator[list[_View]]:
    """The ways to look at channels, at rows and at columns; the plainest first: it is taken where two say the same."""
    for axis, (size, name) in enumerate(zip(shape, ("channel", "y", "x"), strict=True)):
        places = np.arange(size).reshape([-1 if a == axis else 1 for a in range(3)])
        axes = frozenset([axis])
        views = [_View(name, places, axes)]
        if axis == 0:
            each = size // grid.groups
            if 1 < grid.groups < size and size % grid.groups == 0:
                views += [_View("group", places // each, axes), _View("channel of the group", places % each, axes)]
            if size > LANES:
                views += [
                    _View("block", places // LANES, axes),
                    _View("lane of the block of 16", places % LANES, axes, is_place=False),
                ]
        elif (each := grid.tile[axis - 1]) > 1 and size > each:
            line = "row" if axis == 1 else "column"
            views += [
                _View(f"{line} of the tile", places % each, axes, is_place=False),
                _View(f"tile {line}", places // each, axes),
            ]
        yield views


def _of_pixels(shape: tuple[int, ...]) -> Iterator[_View]:
    """Ways to look at pixels which are neither rows nor columns."""
    _, height, width = shape
    y, x = np.arange(height).reshape(1, -1, 1), np.arange(width).reshape(1, 1, -1)
    if height > 1 and width > 1:
        yield _View("pixel (counted row by row)", y * width + x, frozenset((1, 2)))
    if height > 2 and width > 2:
        inside = (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
        yield _View("border", inside.astype(np.intp), frozenset((1, 2)), is_place=False)


def _of_shares(shape: tuple[int, ...], grid: Grid) -> Iterator[_View]:
    """Which thread computes what, if threads share the rows of all blocks."""
    channels, height, _ = shape
    blocks = -(-channels // LANES)
    items = blocks * height
    if grid.threads > 1 and items > 1:
        item = np.arange(channels).reshape(-1, 1, 1) // LANES * height + np.arange(height).reshape(1, -1, 1)
        each, rest = divmod(items, grid.threads)
        firsts = [index * each + min(index, rest) for index in range(grid.threads)]
        yield _View("thread", np.searchsorted(firsts, item, "right") - 1, frozenset((0, 1)), is_place=False)


def _best(views: Iterable[_View], wrong: Mask, compared: Mask) -> _Found | None:
    """The restriction that is worth most among those of several views."""
    found = [one for view in views for one in _restrictions(view, wrong, compared)]
    return max(found, key=lambda one: one.bits, default=None)


def _restrictions(view: _View, wrong: Mask, compared: Mask) -> Iterator[_Found]:
    """The best single label of a view, and the best run of labels."""
    labels = np.broadcast_to(view.labels, wrong.shape)
    size = int(view.labels.max(initial=0)) + 1
    if size < 2:
        return
    of_wrong = np.bincount(labels[wrong], minlength=size)
    of_compared = np.bincount(labels[compared], minlength=size)
    if np.count_nonzero(of_compared) < 2:
        return
    touched = np.flatnonzero(of_wrong)
    single = int(of_wrong.argmax())
    runs = [(single, single), (int(touched[0]), int(touched[-1])), _dense_run(of_wrong)]
    for first, last in dict.fromkeys(runs):
        hit = of_wrong[first : last + 1].sum() / of_wrong.sum()
        left = of_compared[first : last + 1].sum() / of_compared.sum()
        bits = -float(np.log2(left)) - _MISSED * float(1 - hit)
        bits -= (_INEXACT if hit < 1 else 0.0) + (_SEVERAL if first < last else 0.0)
        if hit >= _MOST and bits >= _LEAST_BITS:
            elements = (labels >= first) & (labels <= last)
            yield _Found(bits, _say(view, first, last, size), elements, view.axes)


def _dense_run(counts: Labels) -> tuple[int, int]:
    """The shortest run of labels that has most of what is counted."""
    sums = [0, *itertools.accumulate(counts.tolist())]
    first = 0
    best = (0, len(counts) - 1)
    for last in range(len(counts)):
        while sums[last + 1] - sums[first + 1] >= _MOST * sums[-1]:
            first += 1
        if sums[last + 1] - sums[first] >= _MOST * sums[-1] and last - first < best[1] - best[0]:
            best = (first, last)
    return best


def _say(view: _View, first: int, last: int, size: int) -> Restriction:
    if view.name == "border":
        return Restriction(*(("a place at the border", "border") if first == 0 else ("a place inside", "inside")))
    word = {"y": "row", "x": "column"}.get(view.name, view.name.split(" (")[0])
    ends = view.is_place and size > 2
    if first == last:
        which = "first " if ends and first == 0 else "last " if ends and first == size - 1 else ""
        remark = f" (the {which}{word})" if which else ""
        return Restriction(f"{view.name} = {first}{remark}", f"{which}{word}" if which else f"one {word}")
    which = "first " if ends and first == 0 else "last " if ends and last == size - 1 else ""
    remark = f" (the {which}ones)" if which else ""
    return Restriction(f"{view.name} = {first} to {last}{remark}", f"{which}{word}s" if which else f"some {word}s")


def _around(wrong: Mask, compared: Mask, restricted: set[int]) -> str:
    """Over how much of the other axes the pattern goes."""
    every, some = [], []
    for axis, name in enumerate(("channel", "row", "column")):
        others = tuple(a for a in range(3) if a != axis)
        there = int(compared.any(axis=others).sum())
        hit = int(wrong.any(axis=others).sum())
        if axis in restricted or there < 2:
            continue
        if hit == there:
            every.append(name)
        else:
            some.append(f"in {hit} of {there} {name}s")
    words = ([f"in every {' and '.join(every)}"] if every else []) + some
    return f", {', '.join(words)}" if words else ""
