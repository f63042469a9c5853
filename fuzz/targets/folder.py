"""C in a folder as a target, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fuzz.targets.base import Sources
from nn512.errors import UsageError
from nn512.graph import Graph
from nn512.options import Options
from nn512.plan.plan import Plan
from nn512.plan.serial import parse_plan

SOURCE_LIMIT = 1 << 30
"""Bytes of the largest source that is read."""


@dataclass(frozen=True, slots=True)
class Folder:
    """`<Prefix>.h` and `<Prefix>.c` in a folder. `profile` names the algorithms whose errors it may make.

    Without one these follow from `<Prefix>.plan.json` beside it, and where there is none, everything is direct.
    """

    path: Path
    profile: str = ""
    strict: bool = False
    skips: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def prepare(self, graph: Graph, options: Options) -> Sources:  # noqa: ARG002 - part of the protocol
        """What the files hold. Raises UsageError where they are missing, no text, too long, or of another graph."""
        prefix = graph.config.prefix
        header, source = (_read_text(self.path / f"{prefix}{suffix}") for suffix in (".h", ".c"))
        plan = None if self.profile else self._plan(graph)
        return Sources(prefix, header, source, plan, self.profile or ("" if plan else "direct"), is_given=True)

    def _plan(self, graph: Graph) -> Plan | None:
        path = self.path / f"{graph.config.prefix}.plan.json"
        if not path.exists():
            return None
        plan = parse_plan(_read_text(path), str(path))
        strangers = {name for layer in plan.layers for name in layer.covers} - set(graph.shapes)
        if strangers or plan.prefix != graph.config.prefix:
            raise UsageError(
                f"{path}: the plan of another graph: this one has no tensor {min(strangers, default='')!r}"
            )
        return plan


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
