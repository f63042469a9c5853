"""`--sanitize`: what it does to runners, and what goes with what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fuzz.campaign.account import command_of
from fuzz.campaign.state import State
from fuzz.campaign.worker import Settings
from fuzz.run.runners import choose_runner
from nn512.cli import main
from nn512.errors import CannotRunError

TEXT = """
Config Prefix=Net
Input ToTensor=x Channels=3 Height=2 Width=5
Activation FromTensor=x ToTensor=y Kind=ReLU
Output FromTensor=y
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # Set and removed, so that what the command puts there goes away with the test.
    monkeypatch.setenv("NN512_RUNNER", "")
    Path("net.graph").write_text(TEXT)
    return tmp_path


def test_a_graph_is_verified_under_sanitizers(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        choose_runner("soft+undefined+address")
    except CannotRunError as error:
        pytest.skip(str(error))
    words = ["--sanitize", "undefined", "--sanitize", "address", "--data", "gaussian", "--threads", "1"]
    assert main(["verify", "net.graph", *words]) == 0
    assert os.environ["NN512_RUNNER"] == "soft+undefined+address"
    printed = capsys.readouterr().out
    assert printed.startswith(
        "runner: soft+undefined+address (intrinsics in portable C, undefined and address sanitizer)"
    )
    assert "verified: y" in printed


@pytest.mark.parametrize(
    ("runner", "words", "says"),
    [
        ("", ["--sanitize", "address", "--sanitize", "thread"], "one of the sanitizers address and thread, not both"),
        ("bochs", ["--sanitize", "address"], "NN512_RUNNER=bochs+address: sanitizers are for native and soft"),
    ],
)
@pytest.mark.parametrize("command", [["verify", "net.graph"], ["fuzz", "--examples", "1"]])
def test_what_does_not_go_together(
    command: list[str],
    runner: str,
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NN512_RUNNER", runner)
    assert main([*command, *words]) == 2
    assert says in capsys.readouterr().err


def test_a_campaign_keeps_its_sanitizers(tmp_path: Path) -> None:
    state = State.begin(Settings(tmp_path, examples=1, sanitize=("address", "undefined")))
    state.save()
    assert State.load(state.file).settings.sanitize == ("address", "undefined")
    assert "--sanitize address --sanitize undefined" in command_of(state.settings)
    assert main(["fuzz", "--resume", str(tmp_path), "--sanitize", "thread"]) == 2
