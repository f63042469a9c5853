"""`nn512 verify` and the options of the compiler."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from fuzz.campaign import verifying
from fuzz.draw.regimes import REGIMES
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from fuzz.run.checks import checks_for
from nn512.cli import main
from nn512.cli.verify import _regimes
from nn512.graph import parse

TINY = """\
Config
Input ToTensor=x Channels=2 Height=3 Width=3
Conv FromTensor=x ToTensor=c ToChannels=3 FilterH=2 FilterW=2
Activation FromTensor=c ToTensor=y Kind=ReLU
Output FromTensor=y
"""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    path = tmp_path / "tiny.graph"
    path.write_text(TINY)
    return str(path)


@pytest.mark.usefixtures("runs_here")
def test_options_reach_the_compiler(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Report] = []
    real = check_case

    def check(*arguments: object) -> Report:
        seen.append(real(*arguments))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(verifying, "check_case", check)
    words = ["verify", tiny, "--data", "exact", "--threads", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    assert main([*words, "--no-pass", "fuse_elementwise"]) == 0
    assert main([*words, "--for-threads", "2"]) == 0
    fused, apart, _ = (len(report.layers) for report in seen)
    assert apart == fused + 1
    assert [report.case.options["threads"] for report in seen] == [1, 1, 2]


def test_no_options_for_what_is_compiled_already(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--no-pass", "dedup"], ["--for-threads", "2"]):
        assert main(["verify", tiny, "--source", ".", *words]) == 2
        assert f"{words[0]} does not go with --source" in capsys.readouterr().err


@pytest.mark.parametrize("force", ["nonsense", "y=nonsense", "nowhere=direct"])
def test_forcing_what_does_not_exist_is_no_finding(
    force: str, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "findings"
    assert main(["verify", tiny, "--force", force, "--out", str(folder)]) == 2
    assert capsys.readouterr().err.startswith("nn512: ")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("channels", "kinds", "is_refused"), [(8, len(REGIMES), True), (64, 6, True), (1024, 2, False)]
)
def test_large_nets_have_fewer_kinds_of_data_but_more_than_one(channels: int, kinds: int, is_refused: bool) -> None:  # noqa: FBT001
    graph = parse(
        f"Config\nInput ToTensor=x Channels={channels} Height=60 Width=60\n"
        f"Conv FromTensor=x ToTensor=y ToChannels={channels} FilterH=3 FilterW=3\nOutput FromTensor=y\n"
    )
    drawn = _regimes(argparse.Namespace(data=None, input=None), graph)
    assert len(drawn) == kinds
    assert {"exact", "gaussian"} <= set(drawn) <= set(REGIMES)
    checks = checks_for(graph, 4)
    assert (checks.turns, checks.failures) == (True, is_refused)
