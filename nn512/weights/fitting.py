"""Arrays of a file as the parameters of a graph; whatever does not fit is listed at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from nn512.errors import UsageError
from nn512.graph import Distribution, Graph
from nn512.params import Params, refuse_absurd, show_shape
from nn512.weights.names import WITHOUT_MEANING, Found, find, unknown
from nn512.weights.stored import Stored, show_name

MOST_LINES = 2000
"""Complaints that are listed: more than any net has parameters that one could name."""

_BIASES = (Distribution.BIASES, Distribution.SHIFTS)


@dataclass(frozen=True, slots=True)
class Liberties:
    """What may be done to make arrays fit, by the name of the option that allows it.

    flatten: axes may be merged or split where the order of the numbers stays the same.
    zero_biases: what has no bias gets one of zeros.
    ignore_unused: arrays that no parameter takes are passed over.
    """

    flatten: bool = False
    zero_biases: bool = False
    ignore_unused: bool = False


@dataclass(slots=True)
class _Fit:
    """Which array each parameter takes, if any; which arrays are spoken for; and what does not fit, under headings."""

    taken: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    map: list[str] = field(default_factory=list)
    advice: dict[str, None] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """All complaints under their headings."""
        headings = (
            (self.missing, "missing parameters"),
            (self.wrong, "arrays that do not fit"),
            (self.unused, "arrays that no parameter takes"),
            (self.map, "names of the map that there are not"),
        )
        for complaints, heading in headings:
            if complaints:
                yield f"{heading}, {len(complaints):,}:"
                yield from (f"  {complaint}" for complaint in complaints)
        yield from self.advice


def fit(
    graph: Graph,
    arrays: Mapping[str, Stored],
    names: Mapping[str, str] | None = None,
    liberties: Liberties | None = None,
) -> Params:
    """The parameters of a graph out of arrays. Extents of 1 may be more or fewer; all else takes a liberty.

    Raises UsageError that lists every missing, unused and wrong array.
    """
    refuse_absurd(graph)
    names, liberties = names or {}, liberties or Liberties()
    fitting = _Fit()
    for found in find(graph, arrays, names):
        _choose(found, arrays, liberties, fitting)
    _look_for_unused(arrays, liberties, fitting)
    fitting.map += [f"{show_name(name)} is no parameter of the graph" for name in unknown(graph, names)]
    complaints = list(fitting.lines())
    if complaints:
        rest = len(complaints) - MOST_LINES
        raise UsageError("\n".join([*complaints[:MOST_LINES], *([f"... and {rest:,} lines more"] if rest > 0 else [])]))
    taken = fitting.taken
    return {
        p.name: arrays[taken[p.name]].read().reshape(p.shape) if p.name in taken else np.zeros(p.shape, np.float32)
        for p in graph.parameters
    }


def _choose(found: Found, arrays: Mapping[str, Stored], liberties: Liberties, fitting: _Fit) -> None:
    """Take the one array that is a parameter, or say why there is none."""
    parameter = found.parameter
    told = f"{parameter.name} ({show_shape(parameter.shape)})"
    fitting.used.update(found.arrays)
    if len(found.arrays) > 1:
        choices = " and ".join(map(show_name, found.arrays))
        fitting.wrong.append(f"{told} may be {choices}")
        fitting.advice["--map FILE says which array is meant"] = None
    elif found.arrays:
        (name,) = found.arrays
        fitting.taken[parameter.name] = name
        complaint = _misfit(parameter.shape, arrays[name], liberties)
        if complaint:
            fitting.wrong.append(f"{told} is {show_name(name)}, which is {complaint}")
    elif found.is_told or not (liberties.zero_biases and parameter.distribution in _BIASES):
        fitting.missing.append(f"{told}, sought as {show_name(found.sought)}")
        if found.is_told:
            fitting.advice["a map says how arrays of the file are called"] = None
        elif parameter.distribution in _BIASES:
            fitting.advice["--zero-biases makes missing biases zeros"] = None
        else:
            fitting.advice["--map FILE says which arrays have other names"] = None


def _look_for_unused(arrays: Mapping[str, Stored], liberties: Liberties, fitting: _Fit) -> None:
    for name, array in arrays.items():
        if name in fitting.used or liberties.ignore_unused or name.rpartition(".")[2] in WITHOUT_MEANING:
            continue
        fitting.unused.append(f"{show_name(name)} ({show_shape(array.shape)})")
        fitting.advice["--ignore-unused passes over arrays that no parameter takes"] = None


def _misfit(shape: tuple[int, ...], array: Stored, liberties: Liberties) -> str:
    """What keeps an array from being a parameter of that shape; empty if nothing does."""
    if not array.is_float:
        return f"of type {array.type}, not floating-point numbers"
    ours, theirs = _long(shape), _long(array.shape)
    if ours == theirs:
        return ""
    told = f"{show_shape(array.shape)}, not {show_shape(shape)}"
    if prod(shape) != prod(array.shape):
        return told
    if _merges(ours, theirs) or _merges(theirs, ours):
        if liberties.flatten:
            return ""
        few, many = sorted((shape, array.shape), key=len)
        return f"{told}; same size: {show_shape(few)} is {show_shape(many)} flattened, use --flatten"
    turned = sorted(ours) == sorted(theirs) or _merges(theirs[::-1], ours)
    return f"{told}; same size, but {'its axes are in another order' if turned else 'cut otherwise'}"


def _long(shape: Sequence[int]) -> tuple[int, ...]:
    """The extents that are not 1."""
    return tuple(extent for extent in shape if extent != 1)


def _merges(few: Sequence[int], many: Sequence[int]) -> bool:
    """Whether neighbouring axes of `many` make the axes of `few`; both have as many elements."""
    at = 0
    for extent in few:
        product = 1
        while product < extent and at < len(many):
            product *= many[at]
            at += 1
        if product != extent:
            return False
    return at == len(many)
