"""States of campaigns: what is none is refused in words, and none is lost to a campaign that does not begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.campaign.account import command_of
from fuzz.campaign.state import State
from fuzz.campaign.worker import SLOW_REGIMES, Settings
from fuzz.draw.regimes import REGIMES
from nn512.cli import main

GRAPH = "Config\nInput ToTensor=x Channels=1 Height=1 Width=1\nSoftmax FromTensor=x ToTensor=y\nOutput FromTensor=y\n"


def ended_early(folder: Path) -> State:
    """The state of a campaign that counted one case of many."""
    state = State.begin(Settings(folder, examples=1000))
    state.tally.cases = 1
    state.save()
    return state


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GRAPH, "no state of a campaign, which is JSON"),
        ("[" * 100_000, "no state of a campaign, which is JSON"),
        ("[]", "no state of a campaign that this version of nn512 reads"),
        ('{"format": 1}', "no state of a campaign, 'settings' is missing in it"),
        ('{"format": 1, "settings": 3}', "no state of a campaign, or a damaged one: "),
    ],
)
@pytest.mark.parametrize("words", [["merge"], ["--resume"]])
def test_what_is_no_state(
    words: list[str], text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.graph"
    file.write_text(text)
    assert main(["fuzz", *words, str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"nn512: {file}: {said}")


def test_jobs_are_kept_if_they_were_asked_for(tmp_path: Path) -> None:
    state = ended_early(tmp_path)
    assert State.load(state.file).jobs is None
    state.jobs = 3
    state.save()
    assert State.load(state.file).jobs == 3


@pytest.mark.usefixtures("runs_here")
def test_a_campaign_without_its_cluster_leaves_the_last_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ended_early(tmp_path).file
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    words = ["--scheduler", "tcp://127.0.0.1:1", "--seed", "1", "--examples", "1", "--no-corpus"]
    assert main(["fuzz", "--out", str(tmp_path), *words]) == 3
    assert "--scheduler needs the package distributed" in capsys.readouterr().err
    assert file.exists()


def test_one_part_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--shard", "1/2", "--seed", "1", "--examples", "1", "--no-corpus"]
    assert main(["fuzz", "--out", str(tmp_path), *words]) == 2
    assert "--shard 1/2: there is only 1 part, because" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(Path()), ""),
        (Settings(Path(), regimes=("exact", "taps"), layers=2), " --layers 2 --data exact --data taps"),
        (Settings(Path(), regimes=tuple(regime for regime in REGIMES if regime in SLOW_REGIMES)), ""),
    ],
)
def test_the_command_of_a_campaign_names_what_cases_depend_on(settings: Settings, words: str) -> None:
    assert command_of(settings) == f"nn512 fuzz --seed 0{words} --no-corpus"
