"""A net inferred by the driver that users get, where programs run elsewhere: under an emulator, or in a machine."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

import nn512
from fuzz.run.ended import Ended
from fuzz.run.runners import Runner
from fuzz.run.standalone import infer
from nn512.cli import main
from nn512.errors import CannotRunError, UsageError
from nn512.graph import parse
from nn512.params import random_params, save_params
from nn512.toolchain import Compiler, find_compiler, has_avx512, soft_fingerprint, soft_flags

TEXT = """
Config Prefix=Net
Input ToTensor=x Channels=3 Height=4 Width=5
BatchNorm FromTensor=x ToTensor=c
Activation FromTensor=c ToTensor=p Kind=ReLU
Output FromTensor=c
Output FromTensor=p
"""
GRAPH = parse(TEXT)
PARAMS = random_params(GRAPH, 0)
X = np.random.default_rng(0).standard_normal((3, 4, 5), np.float32)


@pytest.fixture(scope="module")
def portable() -> Runner:
    compiler = find_compiler()
    flags, depends = soft_flags(), (soft_fingerprint(),)
    return Runner("portable", "", compiler, flags, depends, slowdown=0.1)


def emulator(folder: Path, script: str) -> tuple[str, ...]:
    """A command that stands before the program's name, as an emulator does."""
    program = folder / "emulator"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return (str(program), "-skx", "--")


def emulator_of_known_programs(folder: Path, script: str) -> tuple[str, ...]:
    """One that works for programs that get no file for results, and else does as `script` says."""
    return emulator(folder, f'[ -e "/dev/fd/$4" ] || {{ shift 2; exec "$@"; }}\n{script}')


def under(runner: Runner, wrapper: tuple[str, ...]) -> Runner:
    return Runner(
        "sde", "", runner.compiler, runner.net_flags, runner.depends, wrapper=wrapper, slowdown=runner.slowdown
    )


def test_outputs_are_those_of_a_session(portable: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted = nn512.compile(GRAPH)
    called = tmp_path / "called"
    script = f'echo "$1 $2" >> {shlex.quote(str(called))}; shift 2; exec "$@"'
    outputs = infer(GRAPH, emitted, PARAMS, {"x": X}, under(portable, emulator(tmp_path, script)))
    assert called.read_text() == "-skx --\n"
    monkeypatch.setenv("NN512_RUNNER", "soft")
    with nn512.Session(GRAPH, PARAMS) as session:
        expected = session.run({"x": X})
    assert list(outputs) == list(expected) == ["c", "p"]
    for name, array in expected.items():
        np.testing.assert_array_equal(outputs[name], array)


def test_a_machine_of_its_own_gets_program_and_job(portable: Runner) -> None:
    seen = []

    def machine(compiler: Compiler, program: Path, job: bytes, limit: float) -> Ended:
        seen.append((compiler, len(job), limit > 0))
        done = subprocess.run([program, "1"], input=job, capture_output=True, check=False)
        return Ended(done.stdout, done.stderr, done.returncode, hung=False, used=0.0)

    runner = Runner("machine", "", portable.compiler, portable.net_flags, portable.depends, machine=machine)
    outputs = infer(GRAPH, nn512.compile(GRAPH), PARAMS, {"x": X}, runner)
    assert outputs["c"].shape == (3, 4, 5)
    assert seen == [(portable.compiler, 4 * (12 + 60), True)]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 7", "Net_driver.c ends with 7 under sde"),
        ("echo too much; exit 3", "ends with 3 under sde\ntoo much"),
        ("exit 0", "ends with 0 under sde"),
        ('shift 3; echo garbage > "/dev/fd/$1"', "ends with 0 under sde"),
        ("kill -SEGV $$", "ends with -11 under sde"),
    ],
)
def test_what_does_not_end_well_is_said(portable: Runner, tmp_path: Path, script: str, says: str) -> None:
    wrapper = emulator_of_known_programs(tmp_path, script)
    with pytest.raises(CannotRunError) as caught:
        infer(GRAPH, nn512.compile(GRAPH), PARAMS, {"x": X}, under(portable, wrapper))
    assert says in str(caught.value)


def test_an_emulator_that_is_broken_is_said(portable: Runner, tmp_path: Path) -> None:
    wrapper = emulator(tmp_path, "echo E: cannot attach; exit 7")
    with pytest.raises(CannotRunError, match=r"the emulator is broken: .* ends with 7: E: cannot attach"):
        infer(GRAPH, nn512.compile(GRAPH), PARAMS, {"x": X}, under(portable, wrapper))


def test_a_hang_ends(portable: Runner, tmp_path: Path) -> None:
    never = Runner(
        *("sde", "", portable.compiler, portable.net_flags, portable.depends),
        wrapper=emulator_of_known_programs(tmp_path, "while :; do :; done"),
        slowdown=0.002,
    )
    with pytest.raises(CannotRunError, match="does not end under sde"):
        infer(GRAPH, nn512.compile(GRAPH), PARAMS, {"x": X}, never)


def test_arrays_that_do_not_fit(portable: Runner) -> None:
    with pytest.raises(UsageError, match=r"input 'x' .* is missing"):
        infer(GRAPH, nn512.compile(GRAPH), PARAMS, {}, portable)


def test_the_command_runs_under_the_emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_avx512():
        pytest.skip("the fake emulator needs a processor with AVX-512F")
    monkeypatch.chdir(tmp_path)
    Path("net.graph").write_text(TEXT)
    np.save("x.npy", X)
    save_params("p.npz", GRAPH, PARAMS)
    words = ["run", "net.graph", "--params", "p.npz", "--input", "x=x.npy", "-o"]
    monkeypatch.delenv("NN512_RUNNER", raising=False)
    assert main([*words, "here.npz"]) == 0
    monkeypatch.setenv("NN512_SDE", emulator(tmp_path, 'shift 2; exec "$@"')[0])
    monkeypatch.setenv("NN512_RUNNER", "sde")
    assert main([*words, "there.npz"]) == 0
    assert "runner: sde (" in capsys.readouterr().err
    here, there = np.load("here.npz"), np.load("there.npz")
    assert {name: array.tobytes() for name, array in here.items()} == {n: a.tobytes() for n, a in there.items()}
    assert main([*words, "no.npz", "--threads", "2"]) == 2
