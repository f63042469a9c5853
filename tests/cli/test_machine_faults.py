"""What this machine cannot do is no finding about a net, ends with 3, and loses no case."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fuzz.campaign.corpus import load_corpus_case
from nn512.cli import main
from nn512.toolchain import find_compiler

GRAPH = "Config\nInput ToTensor=x Channels=1 Height=1 Width=1\nSoftmax FromTensor=x ToTensor=y\nOutput FromTensor=y\n"


def compiler_that(does: str, folder: Path) -> str:
    """A C compiler that does something else when it comes to a net."""
    path = folder / "cc"
    real = shlex.join(find_compiler().command)
    path.write_text(f'#!/bin/sh\ncase "$*" in *nn512_unit.c*) {does};; *) exec {real} "$@";; esac\n')
    path.chmod(0o755)
    return str(path)


REFUSES = "echo 'nn512_unit.c:1:1: error: planted' >&2; exit 1"


def told_case(text: str, folder: Path) -> str:
    """The graph of the case that a message tells, read as the message says."""
    _, _, case = text.partition("The case, for a file NAME.graph that `nn512 repro` takes:\n")
    assert case
    path = folder / "told.graph"
    path.write_text(case)
    return load_corpus_case(path).graph.partition("\n")[2]  # without the line that makes it a case


def with_disk(free: int, words: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command that finds a disk of 256 KiB in `folder/disk`, with `free` KiB left; skipped where none can be made."""
    disk = folder / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=256k tmpfs {shlex.quote(str(disk))} || exit 99; "
        f'dd if=/dev/zero of={shlex.quote(str(disk))}/filled bs=1k count={256 - free} 2>/dev/null; exec "$@"'
    )
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare: no small disk can be made")
    alone = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
    done = subprocess.run(
        [*alone, "sh", "-c", script, "sh", sys.executable, "-m", "nn512", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip(f"no small disk can be made: {done.stderr.strip()}")
    return done


FUZZ = ["fuzz", "--examples", "3", "--jobs", "1", "--seed", "0", "--no-corpus"]


def test_findings_on_a_disk_that_fills_up(tmp_path: Path) -> None:
    done = with_disk(8, [*FUZZ, "--out", "disk"], tmp_path, CC=compiler_that(REFUSES, tmp_path))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "\nnn512: cannot keep a finding in 'disk': No space left on device\n" in done.stderr
    assert "\ncannot keep a finding in 'disk': No space left on device\nbuild: nn512_unit.c:1:1:" in done.stdout
    assert told_case(done.stdout, tmp_path).startswith("Config")
    assert done.stdout.startswith("ended early: 0 graphs verified, 1 case NOT JUDGED   (seed 0, 1 job, ")


@pytest.mark.parametrize("subcommand", ["fuzz", "verify"])
def test_findings_on_a_full_disk(subcommand: str, tmp_path: Path) -> None:
    (tmp_path / "net.graph").write_text(GRAPH)
    words = FUZZ if subcommand == "fuzz" else ["verify", "net.graph"]
    done = with_disk(0, [*words, "--out", "disk"], tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "nn512: cannot write to 'disk': No space left on device; --out names another directory\n"


def test_a_finding_of_verify_on_a_disk_that_fills_up(tmp_path: Path) -> None:
    (tmp_path / "net.graph").write_text(GRAPH)
    words = ["verify", "net.graph", "--out", "disk", "--data", "gaussian"]
    done = with_disk(8, words, tmp_path, CC=compiler_that(REFUSES, tmp_path))
    assert done.returncode == 3
    assert done.stderr.startswith("nn512: cannot keep a finding in 'disk': No space left on device\n")
    assert told_case(done.stderr, tmp_path) == GRAPH


@pytest.mark.parametrize("subcommand", ["fuzz", "verify", "run", "bench"])
def test_a_build_cache_on_a_full_disk(subcommand: str, tmp_path: Path) -> None:
    (tmp_path / "net.graph").write_text(GRAPH)
    words = {
        "fuzz": FUZZ,
        "verify": ["verify", "net.graph"],
        "run": ["run", "net.graph", "-o", "out.npz"],
        "bench": ["bench", "net.graph"],
    }[subcommand]
    if subcommand == "run":
        np.save(tmp_path / "x.npy", np.ones((1, 1, 1), np.float32))
        words += ["--input", "x=x.npy"]
    done = with_disk(0, words, tmp_path, NN512_CACHE=str(tmp_path / "disk"), NN512_RUNNER="")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    last = next(line for line in done.stderr.splitlines() if line.startswith("nn512: "))
    assert str(tmp_path / "disk") in last
    assert "disk is full" in last or "No space left on device" in last
    assert not list((tmp_path / "findings").glob("*-*"))


@pytest.mark.usefixtures("runs_here")
def test_temporary_files_need_no_space(tmp_path: Path) -> None:
    """The compiler makes its own in the cache."""
    (tmp_path / "net.graph").write_text(GRAPH)
    words = ["verify", "net.graph", "--data", "gaussian"]
    done = with_disk(0, words, tmp_path, NN512_CACHE=str(tmp_path / "cache"), TMPDIR=str(tmp_path / "disk"))
    assert done.returncode == 0, done.stderr


def test_a_linker_that_finds_the_disk_full_cannot_say_so_there(tmp_path: Path) -> None:
    """Its message goes to a temporary file, and what it began to write is removed again."""
    (tmp_path / "net.graph").write_text(GRAPH)
    fails = "echo 'collect2: error: ld returned 1 exit status' >&2; exit 1"
    words = ["verify", "net.graph", "--data", "gaussian"]
    compiler, disk = compiler_that(fails, tmp_path), str(tmp_path / "disk")
    done = with_disk(200, words, tmp_path, NN512_CACHE=disk, TMPDIR=disk, CC=compiler, NN512_RUNNER="native")
    if "emitted C cannot run here" in done.stderr:
        pytest.skip("this processor has no AVX-512")
    assert done.returncode == 3, done.stderr
    assert "the disk is full, no space is left" in done.stderr
    assert not list((tmp_path / "findings").glob("*-*"))


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("kill -KILL $PPID", "a worker was killed, most probably because memory ran out"),
        ("kill -KILL $$", "cc, most probably because memory ran out"),
        ("echo 'gcc: fatal error: Killed signal terminated program cc1' >&2; exit 1", "cc, most probably because"),
        ("echo 'ld: final link failed: No space left on device' >&2; exit 1", "No space left on device"),
    ],
)
def test_what_the_system_kills_is_no_finding(
    does: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", compiler_that(does, tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(FUZZ) == 3
    output, said_all = capfd.readouterr()
    assert said in said_all
    assert "Traceback" not in said_all
    assert told_case(output, tmp_path).startswith("Config")
    assert "0 findings" not in output
    assert {path.name for path in Path("findings").iterdir()} == {"campaign.json", ".campaign.json.lock"}
