"""What a user may ask of the compiler beyond the graph."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from nn512.errors import UsageError


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one compilation; the defaults are what users want."""

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
        return cls(**data)
