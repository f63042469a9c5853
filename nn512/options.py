"""What a user may ask of the compiler beyond the graph."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from nn512.errors import UsageError
from nn512.graph.kinds.config import PLATFORMS
from nn512.passes.pipeline import PASSES

WEIGHT_FORMATS = ("fp16", "fp32")

MOST_THREADS = 1024
"""Threads of an engine for which anything is promised."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one compilation; the defaults are what users want.

    `without_passes` names passes that do not run, in alphabetical order. `force` has pairs of a tensor and
    the kernel of the layer that computes it; an empty name stands for every layer to which the kernel applies.
    `weights` is the narrowest format in which weights may be stored: "fp16" where that saves time, or "fp32".
    `threads` is the number of threads for which kernels are chosen; the code runs on any number. `platform` is the one
    that the net is emitted for, "" for what its Config says.
    """

    without_passes: tuple[str, ...] = ()
    force: tuple[tuple[str, str], ...] = ()
    weights: str = "fp16"
    threads: int = 1
    platform: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.without_passes) - set(PASSES))
        if unknown:
            raise UsageError(f"there is no pass {unknown[0]!r}; there are {', '.join(PASSES)}")
        if self.weights not in WEIGHT_FORMATS:
            raise UsageError(f"weights are stored as {' or '.join(WEIGHT_FORMATS)}, not as {self.weights!r}")
        if type(self.threads) is not int or not 1 <= self.threads <= MOST_THREADS:
            raise UsageError(f"kernels are chosen for 1 to {MOST_THREADS} threads, not for {self.threads!r}")
        if self.platform not in {"", *PLATFORMS}:
            raise UsageError(f"there is no platform {self.platform!r}; there are {', '.join(PLATFORMS)}")
        object.__setattr__(self, "without_passes", tuple(sorted(set(self.without_passes))))

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for files."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Options:
        """From plain data; UsageError where an option is unknown."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise UsageError(f"unknown compiler option {unknown[0]!r}; known are {', '.join(sorted(known)) or 'none'}")
        values = dict(data)
        if "without_passes" in values:
            names = values["without_passes"]
            if not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
                raise UsageError("'without_passes' must be a list of passes")
            values["without_passes"] = tuple(names)
        if "force" in values:
            pairs = values["force"]
            if not (isinstance(pairs, list | tuple) and all(_is_pair(pair) for pair in pairs)):
                raise UsageError("'force' must be a list of pairs of a layer and a kernel")
            values["force"] = tuple((layer, kernel) for layer, kernel in pairs)
        return cls(**values)


def _is_pair(data: object) -> bool:
    return isinstance(data, list | tuple) and [type(part) for part in data] == [str, str]
