"""Which runner is taken, what it says, and that cases run under each."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from fuzz.run import runners
from fuzz.run.build import build_net
from fuzz.run.checks import Checks
from fuzz.run.outcome import Kind, Status
from fuzz.run.runners import Runner, Unavailable, choose_runner, native, probe_runners, runner_for, sde, soft
from fuzz.run.sandbox import execute
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.graph import parse
from nn512.toolchain import BuildError, Compiler, find_compiler

GRAPH = parse("""
    Config Prefix=Net
    Input ToTensor=x Channels=16 Height=3 Width=4
    Activation FromTensor=x ToTensor=y Kind=ReLU
    Output FromTensor=y
""")

HEADER = """
#include <pthread.h>
#include <stddef.h>
typedef struct NetParams { float filler; } NetParams;
typedef struct NetNet NetNet;
typedef struct NetEngine NetEngine;
"""

SOURCE = """
#include <immintrin.h>
#include <stdlib.h>
#include "Net.h"
struct NetNet { int unused; };
struct NetEngine { int unused; };
char *NetNetCreate(NetNet **to, NetParams *params, ptrdiff_t threads) {
    (void)params, (void)threads;
    NetNet *net = malloc(sizeof *net);
    if (!net) return calloc(1, 2);
    *to = net;
    return NULL;
}
void NetNetDestroy(NetNet *net) { free(net); }
char *NetEngineCreate(NetEngine **to, NetNet *net, ptrdiff_t threads) {
    (void)net, (void)threads;
    NetEngine *engine = malloc(sizeof *engine);
    if (!engine) return calloc(1, 2);
    *to = engine;
    return NULL;
}
char *NetEnginePthreadT(NetEngine *engine, ptrdiff_t index, pthread_t *to) {
    (void)engine, (void)index, (void)to;
    return NULL;
}
void NetEngineInference(NetEngine *engine, float *xData, float *yData) {
    (void)engine; /*inference*/
    for (int i = 0; i < 192; i += 16)
        _mm512_storeu_ps(yData + i, _mm512_max_ps(_mm512_setzero_ps(), _mm512_loadu_ps(xData + i)));
}
void NetEngineDestroy(NetEngine *engine) { free(engine); }
"""

CHECKS = Checks(api=False, failures=False, promises=False, timeout=60)


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return find_compiler()


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NN512_RUNNER", "NN512_SDE", "SDE_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake_sde(tmp_path: Path) -> Path:
    """An emulator that notes how it was called and executes the program on the processor."""
    script = tmp_path / "sde64"
    log = shlex.quote(str(tmp_path / "calls"))
    return write_script(script, f'echo "$1 $2" >> {log}\nshift 2\nexec "$@"')


def write_script(path: Path, commands: str) -> Path:
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)
    return path


def check(runner: Runner) -> None:
    x = np.linspace(-1, 1, 192, dtype=np.float32).reshape(16, 3, 4)
    report = execute(build_net(GRAPH, HEADER, SOURCE, runner), {}, [{"x": x}], CHECKS)
    assert report.ok, report
    np.testing.assert_array_equal(report.outputs[0]["y"], np.maximum(x, 0))


def test_portable_intrinsics_are_not_optimized_for_long() -> None:
    runner = soft.probe(find_compiler())
    assert isinstance(runner, Runner)
    assert [runner.level(wanted) for wanted in ("-O0", "-Og", "-O2", "-O3")] == ["-O0", "-O0", "-Og", "-Og"]
    assert dataclasses.replace(runner, levels={}).level("-O3") == "-O3"


@pytest.mark.parametrize("precompile", [True, False])
def test_a_net_runs_with_the_intrinsics_inside_or_apart(compiler: Compiler, precompile: bool) -> None:  # noqa: FBT001
    runner = soft.probe(compiler)
    assert isinstance(runner, Runner)
    program = build_net(GRAPH, HEADER, SOURCE, runner, flags=("-O0",), precompile=precompile)
    x = np.linspace(-1, 1, 192, dtype=np.float32).reshape(16, 3, 4)
    assert execute(program, {}, [{"x": x}], CHECKS).ok
    symbols = program.path.read_bytes()
    assert (b"portable.c" in symbols) == precompile


def test_the_first_that_works_is_taken(compiler: Compiler) -> None:
    runner = choose_runner(compiler=compiler)
    answers = probe_runners(compiler)
    assert [answer.name for answer in answers] == ["native", "sde", "soft", "bochs", "aarch64"]
    assert runner.name == next(answer.name for answer in answers if isinstance(answer, Runner))
    assert runner.line.startswith(f"runner: {runner.name} (")
    assert "\n" not in runner.line
    for answer in answers:
        here = isinstance(answer, Runner)
        assert here == (f"{answer.name} (the " in runner.line) or answer.name == runner.name
    assert "soft (the C)" in runner.line or "shows the C" in runner.line
    check(runner)


@pytest.mark.parametrize("error", [MachineError("no space"), BuildError("no program", "", ())])
def test_what_else_there_is_never_ends_a_run(
    error: Exception, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Compiler) -> Runner:
        raise error

    monkeypatch.setattr(runners, "RUNNERS", {"soft": soft.probe, "aarch64": fails})
    assert choose_runner(compiler=compiler).line.endswith("; not here: aarch64")
    with pytest.raises(type(error)):
        choose_runner("aarch64", compiler)


def test_soft_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NN512_RUNNER", "soft")
    runner = choose_runner()
    assert runner.name == "soft"
    assert "-mavx512f" not in runner.net_flags
    check(runner)


@pytest.mark.usefixtures("compiler")
def test_the_environment_is_obeyed_after_the_first_call_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runner_for()
    monkeypatch.setenv("NN512_RUNNER", "soft")
    assert runner_for().name == "soft"
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    with pytest.raises(CannotRunError, match="is not on this machine"):
        runner_for()


def test_a_name_that_is_none_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NN512_RUNNER", "hard")
    with pytest.raises(
        UsageError, match=r"^NN512_RUNNER=hard: there is no such runner; there are native, sde, soft, bochs, aarch64$"
    ):
        choose_runner()


def test_a_forced_runner_that_does_not_work_is_not_replaced(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRunError, match="sde: no sde64: set NN512_SDE"):
        choose_runner("sde", compiler)


def test_when_nothing_works_every_reason_is_given(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = {
        name: (lambda _, name=name: Unavailable(name, f"{name} is out of order")) for name in ("native", "sde", "soft")
    }
    monkeypatch.setattr(runners, "RUNNERS", refusals)
    with pytest.raises(CannotRunError, match="native is out of order; sde: sde is out of order; soft:") as caught:
        choose_runner(compiler=compiler)
    assert caught.value.exit_code == 3


def test_the_emulator_runs_the_program(fake_sde: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(native.probe(compiler), Unavailable):
        pytest.skip("the fake emulator needs a processor with AVX-512F")
    monkeypatch.setenv("NN512_SDE", str(fake_sde))
    runner = choose_runner("sde", compiler)
    assert runner.wrapper == (str(fake_sde), "-skx", "--")
    assert not runner.limits_memory
    check(runner)
    assert set((fake_sde.parent / "calls").read_text().splitlines()) == {"-skx --"}


@pytest.mark.parametrize("where", ["SDE_PATH", "PATH"])
def test_the_emulator_is_found(fake_sde: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(where, str(fake_sde.parent))
    assert sde.find_sde() == str(fake_sde)


def test_the_emulator_is_found_from_any_folder(fake_sde: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fake_sde.parent)
    monkeypatch.setenv("NN512_SDE", "./sde64")
    assert sde.find_sde() == str(fake_sde)


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        ("exit 1", "ends with 1"),
        ("exit 0", "gives another answer"),
        ("echo yes", "gives another answer: yes"),
        ('echo yes "$@"', "gives another answer: yes -skx"),
        ("kill -9 $$", "ends with -9"),
        ("echo E: cannot attach >&2; exit 1", "ends with 1: E: cannot attach"),
    ],
)
def test_an_emulator_that_does_not_work_is_not_taken(
    tmp_path: Path, compiler: Compiler, commands: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = write_script(tmp_path / "sde64", commands)
    monkeypatch.setenv("NN512_SDE", str(broken))
    answer = sde.probe(compiler)
    assert isinstance(answer, Unavailable)
    assert answer.reason.startswith(f"under {broken} a program with AVX-512F {says}")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("NN512_SDE", "/none/sde64", "there is no such file"),
        ("NN512_SDE", "no-such-sde", "there is no such program on the path"),
        ("NN512_SDE", ".", "this is a directory, and must be the program sde64"),
        ("NN512_SDE", "./text", "this file may not be executed"),
        ("SDE_PATH", "/none", "no program sde64 is in it"),
    ],
)
def test_an_emulator_that_is_not_where_it_was_said_to_be(
    compiler: Compiler, name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("sde64\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(CannotRunError, match=re.escape(f"sde: {name}={value}: {says}")):
        choose_runner("sde", compiler)


@pytest.fixture
def emulated(fake_sde: Path, compiler: Compiler) -> Runner:
    """Portable intrinsics in the fake emulator, which needs no AVX-512."""
    portable = soft.probe(compiler)
    assert isinstance(portable, Runner)
    return dataclasses.replace(portable, wrapper=(str(fake_sde), "-skx", "--"))


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        ("echo E: cannot attach >&2; exit 1", "ends with 1: E: cannot attach"),
        ("exit 0", "gives another answer"),
        ("kill -9 $$", "ends with -9"),
        ("kill -SEGV $$", "ends with -11"),
        ('case "$3" in */driver) exit 1;; esac; shift 2; exec "$@"', "ends with 1"),
    ],
)
def test_an_emulator_that_breaks_later_is_not_the_nets_fault(
    emulated: Runner, fake_sde: Path, commands: str, says: str
) -> None:
    program = build_net(GRAPH, HEADER, SOURCE, emulated)
    data = [{"x": np.zeros((16, 3, 4))}]
    assert execute(program, {}, data, CHECKS).ok
    write_script(fake_sde, commands)
    with pytest.raises(CannotRunError, match=f"the emulator is broken: under {fake_sde} -skx -- a program .* {says}"):
        execute(program, {}, data, CHECKS)


@pytest.mark.parametrize("statement", ["_exit(0);", "_exit(3);", "abort();", "raise(SIGSEGV);"])
def test_a_net_that_ends_its_process_at_once_is_told_from_a_broken_emulator(emulated: Runner, statement: str) -> None:
    head = "#include <signal.h>\n#include <unistd.h>\n"
    early = f"__attribute__((constructor)) static void early(void) {{ {statement} }}\n"
    program = build_net(GRAPH, HEADER, head + SOURCE + early, emulated, flags=("-O1", "-D_GNU_SOURCE"))
    assert execute(program, {}, [{"x": np.zeros((16, 3, 4))}], CHECKS).status is Status.CRASH


def test_a_crash_under_the_emulator_is_still_a_crash(emulated: Runner) -> None:
    source = SOURCE.replace("/*inference*/", "abort();")
    report = execute(build_net(GRAPH, HEADER, source, emulated), {}, [{"x": np.zeros((16, 3, 4))}], CHECKS)
    assert report.status is Status.CRASH
    assert [violation.kind for violation in report.violations] == [Kind.CRASH]
    assert "SIGABRT" in report.violations[0].detail
