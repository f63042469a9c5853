"""The campaign: a derandomized slice of it, and that it finds, shrinks, keeps, counts and ends as it should."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis.internal.conjecture import providers

from fuzz.campaign.campaign import Campaign
from fuzz.campaign.corpus import corpus
from fuzz.campaign.explore import Explorer
from fuzz.campaign.stored import load
from fuzz.campaign.tally import CaseSummary, Tally
from fuzz.campaign.worker import Settings, regimes_for
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from nn512.cli import main
from nn512.errors import CannotRunError
from nn512.graph import Conv, Graph, parse

Emit = Callable[[Graph], Sources]
Check = Callable[[Case], Report]

CHUNKS = 2
GRAPHS_PER_CHUNK = 15
SOFT_GRAPHS = 10


def explore(directory: Path, seed: int, examples: int, check: Check | None = None, **options: object) -> Tally:
    """What a chunk shows, counted."""
    tally = Tally()
    changes = options if check is None else {"check": check, **options}
    explorer = Explorer(directory, lambda report: tally.add(CaseSummary.of(report)), **changes)  # type: ignore[arg-type]
    tally.lost.extend(str(finding.summary) for finding in explorer.chunk(seed, examples))
    return tally


def folders(directory: Path) -> list[Path]:
    """Folders of what was found."""
    return [path for path in directory.iterdir() if path.is_dir()]


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_graphs(chunk: int, tmp_path: Path) -> None:
    """The main job of the project in small: random graphs on all kinds of data, nothing found."""
    runner = runner_for()
    emulated = runner.slowdown > 1
    if emulated and chunk:
        pytest.skip(f"{runner.line}: {SOFT_GRAPHS} graphs instead of {CHUNKS * GRAPHS_PER_CHUNK}")
    tally = explore(tmp_path, 1000 + chunk, SOFT_GRAPHS if emulated else GRAPHS_PER_CHUNK, regimes=regimes_for(runner))
    assert not tally.lost
    assert tally.failed == 0
    assert tally.verified >= 0.9 * tally.cases >= 0.9 * (SOFT_GRAPHS if emulated else GRAPHS_PER_CHUNK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", corpus(), ids=lambda path: path.stem)
def test_corpus(file: Path, tmp_path: Path) -> None:
    reports: list[Report] = []
    assert Explorer(tmp_path, reports.append).replay(load(file).case) == []
    assert reports[0].verified


@pytest.fixture
def naive_check(naive_emit: Emit) -> Callable[[str, str], Check]:
    """Checks of what the naive compiler emits, with a bug planted by replacing text."""

    def make(old: str = "", new: str = "") -> Check:
        def check(case: Case) -> Report:
            graph = parse(case.graph)
            sources = naive_emit(graph)
            broken = replace(sources, source=sources.source.replace(old, new)) if old else sources
            return check_sources(case, graph, broken, draw(case, graph), runner_for(case.compiler))

        return check

    return make


def test_a_second_compiler_raises_no_alarm(naive_check: Callable[..., Check], tmp_path: Path) -> None:
    tally = explore(tmp_path, 4, 12, naive_check())
    assert not tally.lost
    assert tally.verified == tally.cases == 12
    assert tally.worst > 0
    assert "naiveConv" in tally.coverage.kernels()


def test_a_failure_is_shrunk_to_one_small_finding(tmp_path: Path) -> None:
    """A made-up bug in dilated convolutions, on one kind of data: all that has nothing to do with it goes."""
    checked = 0

    def check(case: Case) -> Report:
        nonlocal checked
        checked += 1
        report = Report(case, parse(case.graph), "none")
        dilated = any(isinstance(n, Conv) and n.dilation_h > 1 and n.filter_h > 1 for n in report.graph.layers)
        exact = [data for data in case.data if data.regime == "exact"]
        problem = Problem("values", "wrong", DataSeed("exact", 0))
        return replace(report, problems=(problem,)) if dilated and exact else report

    findings = Explorer(tmp_path, lambda _: None, check=check).chunk(7, 100)
    assert findings
    # However many cases fail, the same fault is shrunk only so often; two shrinks may end in different small nets.
    assert len(findings) <= 2
    assert {path.name for path in tmp_path.iterdir()} == {finding.path.name for finding in findings}
    for finding in findings:
        graph = parse(finding.case.graph)
        assert len(graph.layers) == 1
        assert isinstance(graph.layers[0], Conv)
        assert graph.shapes["t0"].elements <= 3
        assert finding.case == Case(finding.case.graph, data=(DataSeed("exact", 0),))
    assert checked < 1000


def test_what_breaks_while_a_failure_is_made_small_comes_out_as_it_is(tmp_path: Path) -> None:
    """Hypothesis would draw the case once more, which is not checked again, and say that it is flaky."""

    def check(case: Case) -> Report:
        return Report(case, parse(case.graph), "none", problems=(Problem("values", "wrong"),))

    def tell(done: int, _: int) -> None:
        raise ZeroDivisionError(done)

    with pytest.raises(ZeroDivisionError, match="1"):
        Explorer(tmp_path, lambda _: None, tell=tell, check=check).chunk(7, 3)


def drawn(directory: Path, seed: int) -> list[str]:
    """Keys of the cases that a seed draws."""
    seen: list[str] = []

    def check(case: Case) -> Report:
        seen.append(case.key)
        return Report(case, parse(case.graph), "none")

    Explorer(directory, lambda _: None, check=check).chunk(seed, 30)
    return seen


def test_the_same_seed_gives_the_same_cases(tmp_path: Path) -> None:
    first = drawn(tmp_path, 5)
    assert first == drawn(tmp_path, 5)
    assert len(set(first)) == len(first) == 30
    assert len(set(first) - set(drawn(tmp_path, 6))) >= 25  # any seed may draw the smallest ones


def test_it_does_not_matter_where_the_project_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether Hypothesis takes all modules for its user's or none."""
    seen = []
    for local in (False, True):
        monkeypatch.setattr(providers, "is_local_module_file", lambda _, local=local: local)
        monkeypatch.setattr(providers, "_seen_modules", set())
        monkeypatch.setattr(providers, "_sys_modules_len", None)
        monkeypatch.setattr(providers, "_local_constants", type(providers.GLOBAL_CONSTANTS)())
        seen.append(drawn(tmp_path, 5))
    assert seen[0] == seen[1]


def test_a_fault_of_the_tester_keeps_the_case(tmp_path: Path) -> None:
    def check(case: Case) -> Report:
        raise ZeroDivisionError(case.key)

    (finding, *_) = Explorer(tmp_path, lambda _: None, check=check).chunk(0, 3)
    assert "ZeroDivisionError" in finding.summary
    assert (finding.path / "net.graph").exists()


def test_a_machine_that_cannot_run_ends_the_chunk(tmp_path: Path) -> None:
    def check(case: Case) -> Report:
        raise CannotRunError(f"no compiler for {case.key}")

    with pytest.raises(CannotRunError):
        Explorer(tmp_path, lambda _: None, check=check).chunk(0, 3)
    assert list(tmp_path.iterdir()) == []


def test_stopping_in_the_middle_of_shrinking_loses_nothing(tmp_path: Path) -> None:
    stopping = False

    def check(case: Case) -> Report:
        nonlocal stopping
        report = Report(case, parse(case.graph), "none")
        if len(report.graph.layers) < 3:
            return report
        stopping = True
        return replace(report, problems=(Problem("values", "wrong", DataSeed("exact", 0)),))

    (finding,) = Explorer(tmp_path, lambda _: None, check=check, stop=lambda: stopping).chunk(0, 50)
    assert finding.path.is_dir()


def test_jobs_do_not_change_what_is_checked(tmp_path: Path) -> None:
    kinds = []
    for jobs in (1, 2):
        campaign = Campaign(
            Settings(tmp_path, seed=3, jobs=jobs, examples=6, chunk=3, regimes=("gaussian",)), io.StringIO()
        )
        assert campaign.run() == 0
        assert campaign.tally.cases == 6
        kinds.append((campaign.tally.kinds, campaign.tally.coverage.emitted, campaign.tally.worst))
        summary = "\n".join(campaign.summary())
        assert "6 graphs verified, 0 findings" in summary
        assert "edge classes" in summary
    assert kinds[0] == kinds[1]
    assert folders(tmp_path) == []


def test_kernels_are_forced_in_turn(tmp_path: Path) -> None:
    """Chunk after chunk another one computes the layers that it can, and only then.

    Many short chunks, because graphs of one chunk are alike. By their price, half weights are taken in none of them.
    """
    forced = ("winograd-4x4", "winograd-2x2-fp16")
    campaign = Campaign(
        Settings(tmp_path, seed=5, examples=16, chunk=2, regimes=("gaussian",), kernels=forced), io.StringIO()
    )
    assert campaign.run() == 0
    verified = campaign.tally.coverage.kernels()
    assert all(verified.get(kernel, 0) > 0 for kernel in forced)
    halves = {kernel for kernel in verified if kernel.startswith("winograd") and kernel.endswith("fp16")}
    assert halves == {"winograd-2x2-fp16"}


def test_a_run_without_cases_fails(tmp_path: Path) -> None:
    campaign = Campaign(Settings(tmp_path, seconds=1e-9), io.StringIO())
    assert campaign.run() == 1
    assert "no case was run" in "\n".join(campaign.summary())


def test_ctrl_c_ends_with_the_summary_so_far(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "nn512", "fuzz", "--time", "300", "--jobs", "1", "--out", str(tmp_path)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert process.stderr.readline().startswith("runner:")
        assert process.stderr.readline().startswith("seed ")
        assert " s: " in process.stderr.readline()  # the first line of progress: the campaign is under way
        process.send_signal(signal.SIGINT)
        output = process.stdout.read()
        assert process.wait(timeout=120) == 130
    assert output.startswith("interrupted: ")
    assert folders(tmp_path) == []


def test_a_campaign_ends_at_enough_findings_and_says_how_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ["--target", "command:false {graph} {dir}", "--data", "exact", "--shrink-time", "0.001"]
    drawn = ["--examples", "60", "--no-corpus", "--seed", "1", "--jobs", "1", "--out", str(tmp_path)]
    assert main(["fuzz", *target, *drawn, "--max-findings", "1"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("ended early by --max-findings 1: 0 graphs verified, 1 finding ")
    state = tmp_path / "campaign.json"
    assert told.endswith(f"nn512 fuzz --resume {state} --max-findings 11 goes on with it\n")
    assert json.loads(state.read_text())["tally"]["cases"] < 60
    assert main(["fuzz", "--resume", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("ended early by --max-findings 1: 0 graphs verified, 1 finding ")
    assert main(["fuzz", "--resume", str(tmp_path), "--max-findings", "2"]) == 1
    assert capsys.readouterr().out.startswith("0 graphs verified, 1 finding "), "it is the same in all"
    assert json.loads(state.read_text())["tally"]["cases"] == 60


@pytest.mark.parametrize(
    "arguments",
    [
        ["--time", "0"],
        ["--examples", "-3"],
        ["--max-findings", "0"],
        ["--jobs", "0"],
        ["--jobs", "99999999"],
        ["--seed", "-1"],
        ["--shard", "3/2", "--seed", "1"],
        ["--shard", "1/2"],
        ["--shard", "1/9", "--seed", "1", "--examples", "100", "--no-corpus"],
        ["--resume", "nowhere"],
        ["--profile", "direct"],
        ["--time", "nan"],
        ["--kernels", "winogrd-2x2"],
        ["--data", "gausian"],
    ],
)
def test_senseless_bounds_are_mistakes_of_the_user(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err


def test_kinds_of_data_are_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "gaussian", "--data", "exact", "--data", "gaussian"]  # in an order of the user's
    drawn = ["--examples", "1", "--no-corpus", "--seed", "3", "--jobs", "1", "--out", str(tmp_path)]
    assert main(["fuzz", *words, *drawn]) == 0
    told = capsys.readouterr().out
    assert "compared on 2 data sets" in told
    assert "SKIPPED       data regimes cancelling, constant" in told
    settings = json.loads((tmp_path / "campaign.json").read_text())["settings"]
    assert settings["regimes"] == ["exact", "gaussian"]  # that of all names of cases
