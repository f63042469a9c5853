"""A case: everything one check of the compiler depends on, as plain data that fits in a few lines of text.

Arrays are never part of a case. A data set is a regime and a seed; `fuzz.draw.regimes` draws the arrays from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nn512.errors import UsageError

OPTIMISATIONS = (*["-Og"] * 10, *["-O0"] * 8, "-O2", "-O3")
"""Optimisation levels cases draw from. The C compiler has most of a campaign's time: gcc takes two thirds of that for
-Og for -O0, twice as much for -O1, and two to four times for -O2 and -O3."""

SLOW = frozenset(("-O2", "-O3"))
"""What users take, and one of ten cases of a campaign."""

COMPILERS = (*[""] * 7, *["gcc"] * 2, "clang")
"""C compilers cases draw from, "" for the usual one. clang takes half as long again as gcc."""

LEVELS = frozenset((*OPTIMISATIONS, "-O1"))
"""Levels that a case may have."""

CASE_LIMIT = 128 << 20
"""Bytes of the largest case file that is read: a graph may have 16 Mi characters, and JSON writes six for some."""


@dataclass(frozen=True, slots=True)
class DataSeed:
    """One data set: the name of a regime and a seed."""

    regime: str
    seed: int

    def __str__(self) -> str:
        return f"{self.regime}:{self.seed}"


@dataclass(frozen=True, slots=True)
class Case:
    """A graph (as text), compiler options (`Options.to_dict()`), how to build the emitted C, and the data to run it on.

    `compiler` is "gcc" or "clang", or "" for whatever compiler there is. Where $CC is set, it builds all cases.
    """

    graph: str
    options: Mapping[str, Any] = field(default_factory=dict)
    optimisation: str = OPTIMISATIONS[0]
    data: tuple[DataSeed, ...] = ()
    compiler: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The case as JSON-able data."""
        return {
            "graph": self.graph.splitlines(),
            "options": dict(self.options),
            "optimisation": self.optimisation,
            "compiler": self.compiler,
            "data": [str(data) for data in self.data],
        }

    @classmethod
    def from_dict(cls, data: object, origin: str) -> Case:
        """The case in JSON data read from `origin`. Raises UsageError on anything unexpected."""
        if not isinstance(data, dict):
            raise UsageError(f"{origin}: a case is a JSON object")
        if unknown := set(data) - {"graph", "options", "optimisation", "compiler", "data"}:
            raise UsageError(f"{origin}: unknown field {min(unknown)!r}")
        graph, options = data.get("graph"), data.get("options", {})
        optimisation, compiler = data.get("optimisation", OPTIMISATIONS[0]), data.get("compiler", "")
        seeds = data.get("data", [])
        if not (isinstance(graph, list) and graph and all(isinstance(line, str) for line in graph)):
            raise UsageError(f"{origin}: 'graph' must be a list of lines")
        if not isinstance(options, dict):
            raise UsageError(f"{origin}: 'options' must be an object")
        if optimisation not in LEVELS:
            raise UsageError(f"{origin}: 'optimisation' must be one of {', '.join(sorted(LEVELS))}")
        if compiler not in ("", "gcc", "clang"):
            raise UsageError(f"{origin}: 'compiler' must be 'gcc', 'clang' or empty")
        if not isinstance(seeds, list):
            raise UsageError(f"{origin}: 'data' must be a list of 'regime:seed'")
        text = "\n".join(graph) + "\n"
        return cls(text, options, optimisation, tuple(parse_data_seed(seed, origin) for seed in seeds), compiler)

    @classmethod
    def load(cls, path: Path) -> Case:
        """The case in a file. Raises UsageError where it is none."""
        return cls.from_dict(load_json(path), str(path))

    def dump(self) -> str:
        """The text of a case file."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that name the case."""
        return hashlib.sha256(self.dump().encode()).hexdigest()[:12]


def parse_data_seed(text: object, origin: str) -> DataSeed:
    """`regime:seed` as data. Raises UsageError."""
    regime, _, seed = str(text).partition(":")
    if not (regime.isalpha() and seed.isdecimal() and len(seed) < 20):
        raise UsageError(f"{origin}: {text!r} is no data set such as gaussian:7")
    return DataSeed(regime, int(seed))


def load_json(path: Path) -> object:
    """What a JSON file of bounded size holds. Raises UsageError where it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(CASE_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if len(raw) > CASE_LIMIT:
        raise UsageError(f"{path}: more than {CASE_LIMIT:,} bytes")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error
