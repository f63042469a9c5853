"""The corpus: cases as text that are replayed first in every campaign, and the same form for cases told to people."""

from __future__ import annotations

import json
from pathlib import Path

from fuzz.case import Case
from nn512.errors import UsageError

CORPUS = Path(__file__).parents[1] / "corpus"
"""Cases replayed first in every campaign: graph files whose first line is a comment with the rest of the case."""

_CORPUS_MARK = "# case "


def load_corpus_case(path: Path) -> Case:
    """The case of a corpus file: `# case {...}` and the graph. Raises UsageError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    first, _, _ = text.partition("\n")
    if not first.startswith(_CORPUS_MARK):
        raise UsageError(f"{path}: the first line of a corpus file is '{_CORPUS_MARK}{{...}}'")
    try:
        rest = json.loads(first.removeprefix(_CORPUS_MARK))
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(rest, dict) or "graph" in rest:
        raise UsageError(f"{path}: the first line must hold a JSON object without the graph")
    return Case.from_dict({**rest, "graph": text.splitlines()}, str(path))


def dump_corpus_case(case: Case) -> str:
    """The text of a corpus file."""
    rest = {name: value for name, value in case.to_dict().items() if name != "graph" and value}
    graph = "".join(line + "\n" for line in case.graph.splitlines() if not line.startswith(_CORPUS_MARK))
    return f"{_CORPUS_MARK}{json.dumps(rest)}\n{graph}"


def corpus(directory: Path = CORPUS) -> tuple[Path, ...]:
    """The corpus files, sorted by name."""
    return tuple(sorted(directory.glob("*.graph")))


def told(case: Case) -> str:
    """A case for people, where it cannot be kept in a file."""
    return f"The case, for a file NAME.graph that `nn512 repro` takes:\n{dump_corpus_case(case)}".rstrip()
