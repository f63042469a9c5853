"""Several nets on a command line, files and folders of them, and what became of each: for people and for machines."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nn512.cli.outputs import check_file
from nn512.errors import UsageError
from nn512.graph import GraphError
from nn512.notices import Suite, add_to, annotation
from nn512.toolchain.machine import machine_faults
from nn512.version import __version__

FORMAT = 1
"""Number of the JSON report's format."""

_WORST = (70, 1, 2, 3, 0)
"""Exit codes, the worst first: a fault of nn512, a finding, the user's mistake, what this machine cannot do."""


def add_graphs_argument(parser: argparse.ArgumentParser) -> None:
    """The positional arguments GRAPH."""
    parser.add_argument(
        "graphs",
        metavar="GRAPH",
        nargs="+",
        help="graph file, or a folder for all *.graph in it and its folders; - reads standard input",
    )


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Where reports go; `check_report_options` and `report` read them."""
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what became of each net to FILE, as JSON")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write a JUnit report to FILE, for CI systems")


def check_report_options(args: argparse.Namespace) -> None:
    """UsageError where a report could not be written."""
    for path in (args.json, args.junit):
        if path is not None:
            check_file(path)


def graph_files(given: Sequence[str]) -> list[str]:
    """The files that are meant, each once, those of a folder by name. Raises UsageError for a folder without any.

    A link to what is no more is one, which whoever opens it will say.
    """
    found: dict[str, str] = {}
    for text in given:
        path = Path(text)
        names = [text]
        if text != "-" and path.is_dir():
            names = sorted(str(file) for file in path.rglob("*.graph") if file.is_file() or _leads_nowhere(file))
            if not names:
                raise UsageError(f"{text}: there is no *.graph in this folder")
        for name in names:
            found.setdefault(name if name == "-" else os.path.realpath(name), name)
    return list(found.values())


def _leads_nowhere(file: Path) -> bool:
    return file.is_symlink() and not file.exists()


def is_single(given: Sequence[str]) -> bool:
    """Whether one file is meant, whose verdict needs no summary."""
    return len(given) == 1 and not Path(given[0]).is_dir()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a net: its exit code, a line and more lines on it, and what programs may want to know."""

    name: str
    code: int
    headline: str
    text: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    mistakes: tuple[tuple[int, int, str], ...] = ()
    """Line, column and message, for a graph that has mistakes."""

    @classmethod
    def of_mistakes(cls, name: str, error: Exception, code: int, headline: str) -> Result:
        """A net that is none, or that cannot be read."""
        listed = error.diagnostics if isinstance(error, GraphError) else ()
        found = tuple((one.line, one.column, one.message) for one in listed)
        words = ("line", "column", "message")
        details = {"mistakes": [dict(zip(words, one, strict=True)) for one in found]} if found else {}
        return cls(name, code, headline, str(error), details=details, mistakes=found)


def worst(results: Sequence[Result]) -> int:
    """The exit code of all of them together."""
    codes = {result.code for result in results}
    return next((code for code in _WORST if code in codes), 0)


def report(args: argparse.Namespace, subcommand: str, headline: str, results: Sequence[Result], seconds: float) -> None:
    """Write what was wished for, and mark what went wrong where the environment says that GitHub runs this."""
    with machine_faults("cannot write a report"):
        if args.json is not None:
            args.json.write_text(_as_json(subcommand, headline, results, seconds), encoding="utf-8")
        if args.junit is not None:
            args.junit.write_text(_as_junit(subcommand, headline, results, seconds), encoding="utf-8")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for result in results:
            for line in _marks(subcommand, result):
                print(line)


def _as_json(subcommand: str, headline: str, results: Sequence[Result], seconds: float) -> str:
    data = {
        "format": FORMAT,
        "command": subcommand,
        "version": __version__,
        "headline": headline,
        "seconds": round(seconds, 3),
        "exit_code": worst(results),
        "nets": [
            {
                "graph": result.name,
                "exit_code": result.code,
                "headline": result.headline,
                "text": result.text,
                "seconds": round(result.seconds, 3),
                **result.details,
            }
            for result in results
        ],
    }
    return json.dumps(data, indent=1) + "\n"


def _as_junit(subcommand: str, headline: str, results: Sequence[Result], seconds: float) -> str:
    suite = Suite(f"nn512 {subcommand}", f"nn512.{subcommand}", seconds, {"headline": headline})
    for result in results:
        test = suite.test(result.name, result.seconds)
        if result.code == 0:
            add_to(test, "system-out", result.text)
        else:
            # What is wrong with a net is a failure; what kept it from being judged is an error.
            add_to(test, "failure" if result.code == 1 else "error", result.text, result.headline)
    return suite.text()


def _marks(subcommand: str, result: Result) -> list[str]:
    title = f"nn512 {subcommand}: {result.name}"
    places = [(message, {"line": line, "col": column}) for line, column, message in result.mistakes]
    if result.code and not places:
        places = [(f"{result.headline}\n{result.text}", {})]
    file = {} if result.name == "-" else {"file": result.name}
    return [annotation("error", title, message, **file, **place) for message, place in places]
