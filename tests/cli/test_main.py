"""The command line as a whole: help, exit codes, and who is blamed for what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nn512
from nn512.cli import SUBCOMMANDS, check, main
from nn512.errors import CannotRunError

GRAPH = "Config\nInput ToTensor=x Channels=1 Height=1 Width=1\nSoftmax FromTensor=x ToTensor=y\nOutput FromTensor=y\n"


@pytest.fixture
def graph(tmp_path: Path) -> str:
    path = tmp_path / "net.graph"
    path.write_text(GRAPH)
    return str(path)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_help_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    listed = capsys.readouterr().out
    for name in SUBCOMMANDS:
        assert f"\n    {name} " in listed


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert f"usage: nn512 {name}" in capsys.readouterr().out


def test_help_is_light() -> None:
    program = (
        "import sys\nfrom nn512.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'scipy', 'hypothesis', 'ctypes'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    assert python("-c", program).stderr == ""


def test_module_is_a_program() -> None:
    done = python("-m", "nn512", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nn512 {nn512.__version__}\n", "")


@pytest.mark.parametrize("arguments", [[], ["chek"], ["check"], ["--frob"], ["explain", "a", "b"]])
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: nn512" in capsys.readouterr().err


def test_mistakes_in_a_graph(graph: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(graph).write_text(GRAPH + "Output FromTensor=y\n")
    assert main(["check", graph]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"{graph}:5:19: error: tensor 'y' is an Output twice; the first is on line 4\n"
        "  Output FromTensor=y\n                    ^\n"
    )


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{tmp_path}/none"]) == 2
    assert capsys.readouterr().err == f"nn512: cannot read '{tmp_path}/none': No such file or directory\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CannotRunError("no compiler"), 3, "nn512: no compiler\n"),
        (FileNotFoundError(2, "No such file", "gone"), 2, "nn512: gone: No such file\n"),
        (KeyboardInterrupt(), 130, "nn512: interrupted\n"),
        (ZeroDivisionError("surprise"), 70, "ZeroDivisionError: surprise"),
        (RecursionError(), 70, "Please report it"),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    said: str,
    graph: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(check, "run", fail)
    assert main(["check", graph]) == code
    assert said in capsys.readouterr().err


def test_reader_that_has_seen_enough() -> None:
    """Output into a closed pipe ends the program quietly."""
    read, write = os.pipe()
    os.close(read)
    program = [sys.executable, "-m", "nn512", "example", "DenseNet265"]
    done = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [["example"], ["example", "DenseNet265"]])
def test_full_device(arguments: list[str]) -> None:
    """Also where the whole output fits into a buffer and fails when that is flushed."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    with full.open("w") as device:
        program = [sys.executable, "-m", "nn512", *arguments]
        done = subprocess.run(program, stdout=device, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "nn512: cannot write: No space left on device\n")


def test_closed_standard_output(graph: str) -> None:
    script = '"$0" -m nn512 check "$1" >&-'
    done = subprocess.run(["sh", "-c", script, sys.executable, graph], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("closed", "words", "code", "says"),
    [
        ("<&-", ["check", "{graph}"], 0, ""),
        ("<&-", ["check", "-"], 2, "error"),
        ("<&-", ["explain", "-"], 2, "error"),
        ("2>&-", ["check", "{graph}"], 0, ""),
        ("2>&-", ["verify", "{graph}", "--data", "exact"], 0, ""),
        ("<&-", ["verify", "{graph}", "--data", "exact"], 0, ""),
        ("<&- >&- 2>&-", ["verify", "{graph}", "--data", "exact"], 0, ""),
    ],
)
@pytest.mark.usefixtures("runs_here")
def test_what_is_closed_is_done_without(closed: str, words: list[str], code: int, says: str, graph: str) -> None:
    script = f'"$@" {closed}'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "nn512", *(word.format(graph=graph) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
