"""C in a folder as a target, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fuzz.targets.base import Sources
from nn512.errors import UsageError
from nn512.graph import Graph
from nn512.options import Options

SOURCE_LIMIT = 1 << 30
"""Bytes of the largest source that is read."""


@dataclass(frozen=True, slots=True)
class Folder:
    """`<Prefix>.h` and `<Prefix>.c` in a folder. `profile` names the algorithms whose errors it may make."""

    path: Path
    profile: str = ""
    strict: bool = False
    skips: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def prepare(self, graph: Graph, options: Options) -> Sources:  # noqa: ARG002 - part of the protocol
        """What the files hold. Raises UsageError where they are missing, no text, or too long."""
        prefix = graph.config.prefix
        header, source = (_read_text(self.path / f"{prefix}{suffix}") for suffix in (".h", ".c"))
        return Sources(prefix, header, source, profile=self.profile)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(SOURCE_LIMIT + 1)
        if len(raw) > SOURCE_LIMIT:
            raise UsageError(f"{path}: more than {SOURCE_LIMIT >> 20} MiB")
        return raw.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text in UTF-8: {error}") from error
