"""Campaigns that compare builds: what they count, say at their end and return, also where they are ended early."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.campaign.comparing import Comparison, command, compare, some_data
from fuzz.campaign.explore import Check
from fuzz.case import Case
from fuzz.draw.regimes import REGIMES
from fuzz.judge.report import Report
from fuzz.problem import Problem
from nn512.errors import CannotRunError
from nn512.graph import parse
from nn512.signals import EndedError

GAUSSIAN = ("gaussian",)


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
    assert compare(counted(lambda report: report), Comparison(3, 0, tmp_path, regimes=GAUSSIAN), stream) == 0
    assert stream.getvalue().startswith("3 cases on ")
    assert "all equal bit for bit\nkernels: " in stream.getvalue()


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), EndedError(signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"])
def test_who_is_ended_says_how_far_it_was(ended: BaseException, tmp_path: Path) -> None:
    def end(_: Report) -> Report:
        raise ended

    stream = io.StringIO()
    with pytest.raises(type(ended)):
        compare(counted(end), Comparison(100, 0, tmp_path, regimes=GAUSSIAN), stream)
    assert stream.getvalue().startswith("ended early: 2 cases on ")
    assert "all equal bit for bit" in stream.getvalue()


def test_what_differs_is_counted_and_kept(tmp_path: Path) -> None:
    def differ(report: Report) -> Report:
        return Report(report.case, report.graph, "", problems=(Problem("matrix", "y differs"),))

    stream = io.StringIO()
    assert compare(counted(differ), Comparison(4, 0, tmp_path, regimes=GAUSSIAN), stream) == 1
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
    def run(given: Comparison) -> int:
        assert given.cases == 7
        raise ended

    assert command(["--cases", "7", "--out", str(tmp_path)], "fuzz.some", "some: what it does", 1, run) == code
    assert capsys.readouterr().err == f"{says}\n"


def given(*arguments: str) -> Comparison:
    """What is compared for those arguments."""
    seen: list[Comparison] = []

    def run(what: Comparison) -> int:
        seen.append(what)
        return 0

    assert command(arguments, "fuzz.some", "", 5, run) == 0
    return seen[0]


def test_arguments() -> None:
    assert given() == Comparison(5, 0, Path("findings"))
    assert given().kernels[:1] == ("",)
    assert given("--kernels", "direct,planar", "--data-sets", "3").kernels == ("direct", "planar")
    assert given("--kernels", "all").kernels == given().kernels[1:]
    assert given("--cases", "7", "--seed", "2", "--data-sets", "3").data_sets == 3


@pytest.mark.parametrize(
    "arguments", [("--kernels", "dirct"), ("--kernels", ""), ("--data-sets", "0"), ("--cases", "0"), ("--cases", "-3")]
)
def test_arguments_that_make_no_sense(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(arguments, "fuzz.some", "", 5, lambda _: 0) == 2
    assert arguments[0] in capsys.readouterr().err


def test_data_sets_take_turns(tmp_path: Path) -> None:
    """Each kind of data comes to some case, and a case that is made small keeps what it failed on."""
    seen: list[Case] = []

    def check(case: Case) -> Report:
        seen.append(case)
        return Report(case, parse(case.graph), "", executed=True)

    assert compare(check, Comparison(120, 0, tmp_path, kernels=("",), data_sets=2), io.StringIO()) == 0
    assert {len(case.data) for case in seen} == {2}
    assert {seed.regime for case in seen for seed in case.data} == set(REGIMES)
    assert some_data(seen[0], 2) == seen[0]


def test_few_cases_are_different_nets(tmp_path: Path) -> None:
    """One of each kernel, and never the simplest net there is, with which every search begins."""
    seen: list[Case] = []

    def check(case: Case) -> Report:
        seen.append(case)
        return Report(case, parse(case.graph), "", executed=True)

    stream = io.StringIO()
    kernels = ("", "direct", "planar", "winograd-2x2")
    assert compare(check, Comparison(8, 0, tmp_path, kernels=kernels, regimes=GAUSSIAN), stream) == 0
    assert len({case.graph for case in seen}) == 8
    assert all(len(parse(case.graph).layers) > 1 for case in seen)
    assert "no case had: direct, planar, winograd-2x2" in stream.getvalue()  # this check builds nothing
