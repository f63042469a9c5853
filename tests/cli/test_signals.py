"""A program that is told to end, or killed, leaves no process and no scratch file behind."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fuzz.campaign.corpus import dump_corpus_case
from fuzz.case import Case, DataSeed
from nn512.signals import EndedError, ending_on_signals
from nn512.toolchain import find_compiler

GRAPH = "Config\nInput ToTensor=x Channels=1 Height=1 Width=1\nSoftmax FromTensor=x ToTensor=y\nOutput FromTensor=y\n"
PATIENCE = 60
"""Seconds for what takes one; only a failure waits so long."""

# Like a compiler, which is several processes: both say so, and work on a net until somebody ends them.
COMPILER = """\
#!/bin/sh
case "$*" in
*nn512_unit.c*|*net.c*) ;;
*) exec {real} "$@" ;;
esac
exec 9>{fifo}
sh -c 'echo started >&9; exec sleep 1000' &
echo started >&9
exec sleep 1000
"""

COMMANDS = {
    "verify": ["verify", "net.graph"],
    "fuzz": ["fuzz", "--jobs", "1", "--time", "1000"],
    "run": ["run", "net.graph", "--input", "x=x.npy", "-o", "out.npz"],
    "bench": ["bench", "net.graph", "--runs", "1"],
    "repro": ["repro", "case.graph"],
}


class Scene:
    """A command that has come to compile a net, with a compiler that never ends.

    The processes of the compiler can write to a pipe: the end of its file says that they are gone.
    """

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.scratch = (folder / "cache", folder / "temporary")
        for path in self.scratch:
            path.mkdir()
        fifo = folder / "fifo"
        os.mkfifo(fifo)
        real = shlex.join(find_compiler().command)
        (folder / "cc").write_text(COMPILER.format(real=real, fifo=shlex.quote(str(fifo))))
        (folder / "cc").chmod(0o755)
        (folder / "net.graph").write_text(GRAPH)
        (folder / "case.graph").write_text(dump_corpus_case(Case(GRAPH, data=(DataSeed("gaussian", 0),))))
        np.save(folder / "x.npy", np.ones((1, 1, 1), np.float32))
        writing = os.open(fifo, os.O_RDWR)
        self._reading = os.open(fifo, os.O_RDONLY)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "CC": str(folder / "cc"),
            "NN512_CACHE": str(self.scratch[0]),
            "TMPDIR": str(self.scratch[1]),
        }
        command = [sys.executable, "-m", "nn512", *words]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            said = ""
            while said.count("started") < 2:
                said += self._read()
        finally:
            os.close(writing)

    def _read(self) -> str:
        """What the compilers say; empty when there are none any more."""
        if not select.select([self._reading], [], [], PATIENCE)[0]:
            pytest.fail(f"the compilers do not begin or end; the command said: {self.end()[1]}")
        return os.read(self._reading, 100).decode()

    def end(self) -> tuple[int, str]:
        """Exit code and messages of the command, once it has ended."""
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said

    @property
    def compilers_end(self) -> bool:
        """Whether the compilers have ended, or do so now."""
        return self._read() == ""

    @property
    def left(self) -> list[Path]:
        """Unfinished builds and temporary files."""
        cache, temporary = self.scratch
        return [*cache.rglob("tmp*"), *temporary.rglob("*")]

    def close(self) -> None:
        """End everything."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self._reading)


@pytest.fixture
def play(tmp_path: Path, runs_here: str) -> Iterator[Callable[[str], Scene]]:
    """Brings a command to where it compiles a net."""
    scenes: list[Scene] = []

    def begin(command: str) -> Scene:
        if command == "bench" and runs_here != "native":
            pytest.skip("a benchmark needs a processor with AVX-512F")
        scenes.append(Scene(tmp_path, COMMANDS[command]))
        return scenes[-1]

    yield begin
    for scene in scenes:
        scene.close()


@pytest.mark.parametrize(
    ("command", "number"),
    [*((command, signal.SIGTERM) for command in COMMANDS), ("verify", signal.SIGINT), ("fuzz", signal.SIGHUP)],
)
def test_a_signal_ends_everything(command: str, number: signal.Signals, play: Callable[[str], Scene]) -> None:
    """Ctrl-C lets every job of a campaign finish its case, see test_campaign.py."""
    scene = play(command)
    scene.process.send_signal(number)
    code, said = scene.end()
    assert code == 128 + number
    last = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert said.splitlines()[-1] == f"nn512: {last}"
    assert "Traceback" not in said
    assert scene.compilers_end
    assert scene.left == []


@pytest.mark.skipif(sys.platform != "linux", reason="compilers are watched on Linux only")
@pytest.mark.parametrize("command", ["verify", "fuzz"])
def test_nothing_outlives_a_program_that_is_killed(command: str, play: Callable[[str], Scene]) -> None:
    scene = play(command)
    scene.process.kill()
    scene.end()
    assert scene.compilers_end


def test_a_second_ctrl_c_ends_a_campaign_at_once(play: Callable[[str], Scene]) -> None:
    scene = play("fuzz")
    assert scene.process.stderr is not None
    scene.process.send_signal(signal.SIGINT)
    for line in scene.process.stderr:
        if line.startswith("stopping"):
            break
    scene.process.send_signal(signal.SIGINT)
    assert scene.end()[0] == 130
    assert scene.compilers_end
    assert scene.left == []


def test_signals_become_exceptions_and_mean_what_they_meant_afterwards() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        with pytest.raises(EndedError) as caught, ending_on_signals():
            os.kill(os.getpid(), number)
        assert caught.value.exit_code == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_cleaning_up_is_not_disturbed_by_a_second_signal() -> None:
    """`timeout` sends its signal to a process and to the group it is in."""
    done = []

    def work() -> None:
        with ending_on_signals():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                done.append(True)

    with pytest.raises(EndedError):
        work()
    assert done
