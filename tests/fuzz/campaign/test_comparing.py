"""Campaigns that compare builds: what they count, say at their end and return, also where they are ended early."""

from __future__ import annotations

import argparse
import io
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.campaign.comparing import command, compare
from fuzz.campaign.explore import Check
from fuzz.case import Case
from fuzz.judge.report import Report
from fuzz.problem import Problem
from nn512.errors import CannotRunError
from nn512.graph import parse
from nn512.signals import EndedError

REGIMES = ("gaussian",)


def counted(on_third: Callable[[Report], Report]) -> Check:
    """A check that is content, but for its third case."""
    seen: list[Case] = []

    def check(case: Case) -> Report:
        seen.append(case)
        report = Report(case, parse(case.graph), "", executed=True)
        return on_third(report) if len(seen) == 3 else report

    return check


def test_all_are_equal(tmp_path: Path) -> None:
    stream = io.StringIO()
    assert compare(counted(lambda report: report), 3, 0, tmp_path, stream, REGIMES) == 0
    assert stream.getvalue().startswith("3 cases on ")
    assert "all equal bit for bit\nkernels: " in stream.getvalue()


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), EndedError(signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"])
def test_who_is_ended_says_how_far_it_was(ended: BaseException, tmp_path: Path) -> None:
    def end(_: Report) -> Report:
        raise ended

    stream = io.StringIO()
    with pytest.raises(type(ended)):
        compare(counted(end), 100, 0, tmp_path, stream, REGIMES)
    assert stream.getvalue().startswith("ended early: 2 cases on ")
    assert "all equal bit for bit" in stream.getvalue()


def test_what_differs_is_counted_and_kept(tmp_path: Path) -> None:
    def differ(report: Report) -> Report:
        return Report(report.case, report.graph, "", problems=(Problem("matrix", "y differs"),))

    stream = io.StringIO()
    assert compare(counted(differ), 4, 0, tmp_path, stream, REGIMES) == 1
    assert "y differs" in stream.getvalue()
    assert f"1 failed, see {tmp_path}" in stream.getvalue()
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("ended", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "fuzz.some: interrupted"),
        (EndedError(signal.SIGTERM), 143, "fuzz.some: ended by SIGTERM"),
        (CannotRunError("no emulator"), 3, "no emulator"),
    ],
)
def test_the_code_of_what_is_ended(
    ended: BaseException, code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(given: argparse.Namespace) -> int:
        assert given.cases == 7
        raise ended

    assert command(["--cases", "7", "--out", str(tmp_path)], "fuzz.some", "some: what it does", 1, run) == code
    assert capsys.readouterr().err == f"{says}\n"
