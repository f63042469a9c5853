"""An array that somebody else's file holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nn512.arrays import Array
from nn512.errors import UsageError
from nn512.graph.diagnostics import visible

_MOST_LETTERS = 120

Single = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file says of an array, and how its numbers are read: as float32 of that shape.

    `type` is what the file calls the element type; `is_float` whether its elements are floating-point numbers. `read`
    raises UsageError for a file that breaks its word.
    """

    shape: tuple[int, ...]
    type: str
    is_float: bool
    read: Callable[[], Single]

    @classmethod
    def of(cls, array: Array) -> Stored:
        """An array in memory."""
        return cls(array.shape, str(array.dtype), array.dtype.kind == "f", lambda: to_single(array))


def to_single(array: Array) -> Single:
    """The numbers rounded to float32. Raises UsageError where one of them has no place there."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, np.float32).reshape(array.shape)
    if array.dtype.itemsize > 4 and np.any(np.isinf(single) & ~np.isinf(array)):
        raise UsageError(f"numbers of type {array.dtype} lie beyond the range of float32")
    return single


def show_name(name: str) -> str:
    """A name out of a file, in quotes, safe to print and of bounded length."""
    short = name if len(name) <= _MOST_LETTERS else name[: _MOST_LETTERS - 3] + "..."
    return repr(visible(short.encode("utf-8", "replace").decode("utf-8")))
