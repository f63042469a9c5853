"""Bugs of the compiler can be planted, and are found; `./ci/tox -e planted` hunts all of them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from fuzz.mutation.compiler import graphs_of, hunted, main, planted
from fuzz.mutation.compiler_bugs import BUGS, Bug
from nn512.errors import CannotRunError


def test_every_bug_can_be_planted() -> None:
    """Its line is there, once, and what becomes of it is Python."""
    assert len({bug.name for bug in BUGS}) == len({(bug.file, bug.wrong) for bug in BUGS}) == len(BUGS) > 40
    for bug in BUGS:
        with planted(bug) as folder:
            module = folder / "nn512" / bug.file
            compile(module.read_text(), bug.file, "exec")


def test_a_line_that_is_not_there_is_told() -> None:
    with (
        pytest.raises(ValueError, match=r"no such thing: its text stands 0 times in options\.py"),
        planted(Bug("no such thing", "options.py", "a line that nobody wrote", "")),
    ):
        pass


def test_a_hunt_that_tells_nothing_is_no_hunt(tmp_path: Path) -> None:
    line = "from __future__ import annotations\n"
    with pytest.raises(CannotRunError, match="ends at once: the hunt ended with 0"):
        hunted(Bug("ends at once", "options.py", line, f"{line}raise SystemExit\n"), tmp_path)


@pytest.mark.parametrize("name", ["the left padding is the top one", "the shift of a norm scaled by the one behind"])
def test_bugs_are_found(runs_here: str, name: str) -> None:
    assert runs_here
    stream = io.StringIO()
    assert main([name, "--graphs", "40"], stream) == 0
    assert f"{name}, seed 0: after " in stream.getvalue()
    assert stream.getvalue().endswith("1 of 1 found within 40 graphs, 100.0%\n")


def test_a_compiler_without_bugs_is_not_blamed(runs_here: str) -> None:
    """Nor is a campaign over before a bug shows taken for one that found it."""
    assert runs_here
    nothing = Bug(
        "none", "options.py", "from __future__ import annotations\n", "from __future__ import annotations\n\n"
    )
    with graphs_of(0, 4) as file:
        cases = [[case, "something else"] for case, _ in json.loads(file.read_text())]
        assert len(cases) == 4
        assert hunted(nothing, file) == (0, ""), "nothing is built where the C is the same"
        file.write_text(json.dumps(cases))
        assert hunted(nothing, file) == (0, "")
