"""`nn512 fuzz --edges`: a fault of one edge class is found in its net, and what was never verified is told."""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fuzz.campaign.account import merged
from fuzz.campaign.edges import EDGE_REGIMES, declared_by, edge_cases
from fuzz.campaign.explore import Explorer, regenerate
from fuzz.campaign.ledger import Shard
from fuzz.campaign.reports import as_json
from fuzz.campaign.state import State
from fuzz.campaign.tally import CaseSummary, Tally
from fuzz.campaign.worker import Settings, chunk_at, chunk_count
from fuzz.judge.checker import check_case
from fuzz.judge.coverage import Coverage, Point, by_family
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.targets import Sources
from fuzz.targets.ours import Ours
from nn512.cli import main
from nn512.graph import Graph, parse
from nn512.kernels.registry import kernel_names
from nn512.options import Options

LAST = ("crop", "some every few columns")


@dataclass(frozen=True, slots=True)
class Planted(Ours):
    """Our compiler with a fault: of some columns, every few, those are taken that stand one before."""

    def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
        made = Ours.prepare(self, graph, options)
        assert isinstance(made, Sources)
        return replace(made, source=made.source.replace("[x * 2 + 1]", "[x * 2]"))


def test_a_fault_of_one_edge_class_is_found(tmp_path: Path, runs_here: str) -> None:
    assert runs_here
    tally, reports = Tally(declared=declared_by(["crop"])), list[Report]()

    def show(report: Report) -> None:
        tally.add(CaseSummary.of(report))
        reports.append(report)

    check = functools.partial(check_case, target=Planted())
    explorer = Explorer(tmp_path, show, check=check, regimes=("exact", "impulse"), shrink_seconds=0.01)
    (finding,) = explorer.edges("crop", 0)
    assert finding.identity.kernel == "crop"
    assert [len(report.problems) > 0 for report in reports] == [False, False, False, True]
    assert tally.missing == [LAST]
    case = regenerate(reports[-1].id)
    assert case == reports[-1].case
    assert regenerate(reports[-1].id[:-1] + "!") is None


def test_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    """The kernel's other nets are checked, and only these."""
    keys = [case.key for case in edge_cases("crop", EDGE_REGIMES, 0)]
    seen: list[str] = []

    def look(case: object) -> Report:
        raise AssertionError(case)

    Explorer(tmp_path, lambda _: None, check=look, stop=lambda: True).edges("crop", 0)
    explorer = Explorer(tmp_path, lambda report: seen.append(report.case.key), regimes=EDGE_REGIMES)
    explorer = replace(explorer, check=lambda case: Report(case, parse(case.graph), "nobody"))
    explorer.edges("crop", 0, position=3)
    assert len(keys) == 4
    assert seen == keys[3:]


def counted(points: set[Point]) -> Coverage:
    return Coverage(Counter(points), Counter(points), Counter(points))


def test_classes_that_were_never_verified_are_told() -> None:
    declared = declared_by(["crop", "copy"])
    tally = Tally(cases=9, verified=9, declared=declared, coverage=counted(set(declared)))
    assert tally.code == 0
    for point in (LAST, ("copy", "channel tail 3"), ("copy", "channel tail 12")):
        del tally.coverage.verified[point]
    assert tally.code == 1
    assert "3 of 20 edge classes NEVER VERIFIED" in tally.headline
    text = "\n".join(tally.lines(1.0, "edge classes"))
    assert "never verified: copy, channel tail 3 12\n" in f"{text}\n"
    assert "never verified: crop, some every few columns\n" in f"{text}\n"
    assert "copy 14 of 16, crop 3 of 4" in text
    assert tally.progress().startswith("9 graphs verified, 17 of 20 edge classes, ")


def test_classes_that_no_kernel_declares_are_told() -> None:
    tally = Tally(cases=1, verified=1, coverage=counted({("crop", "some of all"), ("naive", "any")}))
    text = "\n".join(tally.lines(1.0, "seed 0"))
    assert "not declared: crop, some of all" in text
    assert "naive" not in text


def test_classes_are_listed_by_families() -> None:
    points = [("crop", "some rows"), ("crop", "some columns"), ("copy", "channel tail 11"), ("copy", "channel tail 2")]
    points += [("direct", "merged"), ("naive", "any")]
    assert list(by_family(points)) == [
        "copy, channel tail 2 11",
        "crop, some rows, columns",
        "direct, merged",
        "naive, any",
    ]


def settings(directory: Path, shard: Shard) -> Settings:
    return Settings(directory, kernels=("copy", "crop", "pad"), edges=True, shard=shard)


def test_shards_have_kernels(tmp_path: Path) -> None:
    whole = settings(tmp_path, Shard(1, 2))
    assert chunk_count(whole) == 3
    assert [chunk_at(whole, number).kernels for number in range(3)] == [("copy",), ("crop",), ("pad",)]
    assert {kernel for kernel, _ in State.begin(whole).tally.declared} == {"copy", "pad"}
    assert {kernel for kernel, _ in State.begin(settings(tmp_path, Shard(2, 2))).tally.declared} == {"crop"}


def test_merged_shards_have_verified_what_each_has(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        state = State.begin(settings(folder, Shard(number, 2)))
        state.tally.verified, state.complete = 1, True
        state.tally.coverage.update(counted(set(state.tally.declared - {LAST})))
        state.save()
    account = merged([tmp_path / "1", tmp_path / "2"])
    assert account.tally.missing == [LAST]
    assert account.code == 1
    classes = json.loads(as_json(account))["edge_classes"]
    assert classes == {"declared": len(declared_by(["copy", "crop", "pad"])), "missing": [list(LAST)]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--examples", "5"], "--examples does not go with --edges"),
        (["--layers", "2"], "--layers does not go with --edges"),
        (["--target", "nn512"], "--target does not go with --edges"),
        (["--kernels", "crob"], "no kernel 'crob' of that name"),
        (["--kernels", "crop", "--shard", "2/2"], "a part has a kernel at least, and there are 1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fuzz", "--edges", "--out", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err


def test_all_kernels_are_checked_unless_some_are_named(tmp_path: Path) -> None:
    assert len(declared_by(kernel_names())) > 2000
    assert not State.begin(Settings(tmp_path)).tally.declared
