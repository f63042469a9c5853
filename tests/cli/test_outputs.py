"""A path that cannot be written is refused before the work whose result would go there."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest

import fuzz.campaign.campaign
import fuzz.judge.checker
import fuzz.run.runners
import nn512.compiler
import nn512.params
import nn512.session
from nn512.cli import main, outputs
from nn512.compiler import compile as compile_graph
from nn512.errors import UsageError

GRAPH = """\
Config
Input ToTensor=x Channels=2 Height=3 Width=3
Conv FromTensor=x ToTensor=y ToChannels=3 FilterH=2 FilterW=2
Output FromTensor=y
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a graph, its parameters and input; from here on nothing may be computed."""
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(GRAPH)
    assert main(["params", "net.graph", "-o", "params.npz"]) == 0
    np.save("x.npy", np.ones((2, 3, 3), np.float32))
    Path("file").write_text("")
    Path("directory.npz").mkdir()
    for module, name in (
        (nn512.compiler, "compile"),
        (nn512.params, "random_params"),
        (nn512.params, "load_params"),
        (nn512.session, "Session"),
        (fuzz.run.runners, "runner_for"),
        (fuzz.judge.checker, "check_case"),
        (fuzz.campaign.campaign, "Campaign"),
    ):
        monkeypatch.setattr(module, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))
    return tmp_path


COMMANDS = {
    "compile": ["compile", "net.graph", "OUT"],
    "params": ["params", "net.graph", "-o", "OUT.npz"],
    "run": ["run", "net.graph", "--params", "params.npz", "--input", "x=x.npy", "-o", "OUT.npz"],
    "run by reference": ["run", "net.graph", "--backend", "reference", "--input", "x=x.npy", "-o", "OUT.npz"],
    "export": ["export", "net.graph", "OUT.npz"],
    "verify": ["verify", "net.graph", "--out", "OUT"],
    "fuzz": ["fuzz", "--examples", "1", "--out", "OUT"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_outputs_are_checked_before_the_work(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    words = [word.replace("OUT", "file/out") for word in COMMANDS[command]]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("nn512: cannot write")
    assert "'file/out" in said
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["params", "run", "export"])
def test_a_directory_is_no_file(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert folder.is_dir()
    assert main([word.replace("OUT", "directory") for word in COMMANDS[command]]) == 2
    assert capsys.readouterr().err == "nn512: cannot write 'directory.npz': it is a directory\n"


def test_a_file_system_that_takes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(UsageError, match="cannot write 'new': Read-only file system"):
        outputs.check_file(Path("new"))
    with pytest.raises(UsageError, match=r"cannot write to 'a/b/c': Read-only file system; --out names another"):
        outputs.check_directory(Path("a/b/c"), "--out")
    outputs.check_file(Path("/dev/null"))
    assert not (folder / "a").exists()


def test_what_can_be_written_passes_and_stays_as_it_is(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    outputs.check_file(Path("new.npz"))
    outputs.check_file(Path("file"))
    outputs.check_directory(Path("some/where/new"))
    outputs.check_directory(Path())
    assert sorted(folder.rglob("*")) == before


def test_a_file_that_cannot_be_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out" / "NN512.plan.json").mkdir(parents=True)
    assert main(["compile", "net.graph", "out"]) == 2
    assert capsys.readouterr().err == "nn512: cannot write to 'out': 'NN512.plan.json' is a directory there\n"


def test_a_compilation_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """Neither parts of files nor a header without its source."""
    emitted = compile_graph(GRAPH)
    (tmp_path / "NN512.c.part").mkdir()
    with pytest.raises(UsageError, match="cannot write to"):
        emitted.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["NN512.c.part"]
