"""The thread team of emitted code under a hostile program, `threads.c`: races, failures, forks, signals, deadlocks.

$NN512_THREAD_ROUNDS sets how many engines one test creates and destroys: 100,000 take some minutes.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

import nn512
from nn512 import toolchain
from nn512.errors import CannotRunError
from nn512.toolchain import Compiler

GRAPH = """
Config Prefix=Net
Input ToTensor=x Channels=16 Height=5 Width=5
Conv FromTensor=x ToTensor=y ToChannels=96 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Conv FromTensor=y ToTensor=z ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=z
"""

# Each thread keeps a tile of all its inputs, 224 KiB.
WIDE = """
Config Prefix=Net
Input ToTensor=x Channels=4096 Height=5 Width=10
Activation FromTensor=x ToTensor=r Kind=ReLU
Conv FromTensor=r ToTensor=y ToChannels=48 FilterH=1 FilterW=1
Output FromTensor=y
"""

# Each thread keeps the factors of its tiles, and their products.
TILES = """
Config Prefix=Net
Input ToTensor=x Channels=16 Height=20 Width=24
Conv FromTensor=x ToTensor=y ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=y
"""

PROGRAM = Path(__file__).with_name("threads.c")
ROUNDS = int(os.environ.get("NN512_THREAD_ROUNDS", "96"))
"""48 have all numbers of threads, with nets and inferences of all kinds."""

DEADLOCK = 300.0 + ROUNDS / 20
"""Seconds after which a program is taken to be dead. They say nothing about how long it should take."""

WRAPPED = (
    "malloc free posix_memalign pthread_create pthread_mutex_init pthread_mutex_destroy pthread_cond_init "
    "pthread_cond_destroy pthread_cond_wait"
).split()

SANITIZER = ("-fsanitize=thread", "-g", "-DTHREAD_SANITIZER")

# Every line of it is a race, so a sanitizer that works does not let it pass.
RACE = """
#include <pthread.h>
static int number;
static void *work(void *argument) { number++; return argument; }
int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, work, 0)) return 1;
    number++;
    return pthread_join(thread, 0);
}
"""


@functools.cache
def net() -> nn512.Emitted:
    """The net of all tests: its convolutions are shared by threads, the rest runs alone."""
    emitted = nn512.compile(GRAPH)
    assert sum(layer.shared_by_threads for layer in emitted.plan.layers) == 2
    return emitted


def build(compiler: Compiler, flags: tuple[str, ...], *, soft: bool, source: str = "") -> Path:
    """The program with the net, or with another `source` for it."""
    sizes = ("-DINPUTS=16*5*5", "-DOUTPUTS=48*5*5")
    return build_with(net().header, source or net().source, compiler, (*sizes, *flags), soft=soft)


def build_with(header: str, source: str, compiler: Compiler, flags: tuple[str, ...], *, soft: bool) -> Path:
    """The program with a net; `flags` say how large its input and its output are."""
    files = {"Net.h": header, "Net.c": source, "threads.c": PROGRAM.read_text()}
    target = toolchain.soft_flags() if soft else toolchain.NATIVE_FLAGS
    wraps = [f"-Wl,--wrap={name}" for name in WRAPPED]
    arguments = [
        *toolchain.LANGUAGE_FLAGS,
        *toolchain.STRICT_FLAGS,
        *target,
        *flags,
        "threads.c",
        "Net.c",
        *wraps,
    ]
    return toolchain.build(compiler, files, arguments, "threads", depends=[toolchain.soft_fingerprint()]).path


def run(program: Path, *arguments: object) -> tuple[int, str]:
    """Exit status and output."""
    status, text, timed_out = toolchain.run_bounded([str(program), *map(str, arguments)], timeout=DEADLOCK)
    assert not timed_out, f"deadlock\n{text}"
    return status, text


@pytest.fixture
def program(runs_here: str) -> Path:
    return build(toolchain.find_compiler(), ("-O2",), soft=runs_here != "native")


@pytest.mark.parametrize(
    "trial",
    [
        pytest.param(("rounds", ROUNDS), id="rounds"),
        pytest.param(("many",), id="more-threads-than-items"),
        pytest.param(("hosts", 20), id="engines-of-several-threads"),
        pytest.param(("failures",), id="every-creation-fails-once"),
        pytest.param(("shortage",), id="and-memory-stays-short"),
        pytest.param(("exhaustion",), id="no-memory-even-for-a-message"),
        pytest.param(("forks", 36), id="forks"),
        pytest.param(("signals", 100), id="signals"),
        pytest.param(("faults",), id="fault-of-a-worker"),
    ],
)
def test_trial(program: Path, trial: tuple[object, ...]) -> None:
    assert run(program, *trial) == (0, "")


def test_small_stacks(runs_here: str) -> None:
    """128 KiB for every thread, as musl gives them; glibc makes a thread's stack as large as the limit says."""
    emitted = nn512.compile(WIDE, nn512.Options(force=(("", "pointwise"),)))
    assert "ThreadFloats = 57344 " in emitted.source
    soft = runs_here != "native"
    sizes = ("-DINPUTS=4096*5*10", "-DOUTPUTS=48*5*10")
    frames = () if soft else toolchain.SMALL_FRAME_FLAGS
    flags = ("-O2", *sizes, *frames)
    program = build_with(emitted.header, emitted.source, toolchain.find_compiler(), flags, soft=soft)
    assert run(Path("/bin/sh"), "-c", 'ulimit -s 128 && exec "$0" "$@"', program, "rounds", 10) == (0, "")


def spinning(spins: int) -> str:
    """The net, with threads that sleep sooner than they would."""
    assert net().source.count("SpinsBeforeSleep = 4000") == 1
    return net().source.replace("SpinsBeforeSleep = 4000", f"SpinsBeforeSleep = {spins}")


@pytest.mark.parametrize("spins", [0, 100])
def test_no_wake_up_is_missed(runs_here: str, spins: int) -> None:
    """Threads that hardly spin sleep at every step, where otherwise they seldom do."""
    program = build(toolchain.find_compiler(), ("-O0",), soft=runs_here != "native", source=spinning(spins))
    assert run(program, "rounds", max(ROUNDS // 2, 1)) == (0, "")
    assert run(program, "hosts", 20) == (0, "")


def sanitizing_compiler() -> Compiler:
    """A compiler whose ThreadSanitizer works here; skips the test where there is none."""
    reasons = []
    for compiler in toolchain.find_compilers():
        try:
            race = toolchain.build(compiler, {"race.c": RACE}, ["-pthread", "-fsanitize=thread", "race.c"], "race").path
        except toolchain.BuildError as error:
            reasons.append(f"{compiler.version}: {error.text.strip().splitlines()[-1]}")
            continue
        status, text = run(race)
        if status == 66 and "data race" in text:
            return compiler
        reasons.append(f"{compiler.version}: {(text.strip() or 'a race is not seen').splitlines()[0]}")
    pytest.skip(f"no ThreadSanitizer: {'; '.join(reasons)}")


@pytest.fixture
def sanitizer(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    monkeypatch.setenv("TSAN_OPTIONS", "halt_on_error=1 allocator_may_return_null=1")
    try:
        return sanitizing_compiler()
    except CannotRunError as error:
        pytest.skip(str(error))


# Forks and signals are not for ThreadSanitizer: it refuses threads in a child, and delays signals until a system call.
def test_no_race(sanitizer: Compiler) -> None:
    program = build(sanitizer, (*SANITIZER, "-O1"), soft=True, source=spinning(50))
    for trial in (("rounds", 16), ("hosts", 1), ("many",), ("failures",)):
        assert run(program, *trial) == (0, "")


def test_sanitizer_sees_a_gate_without_order(sanitizer: Compiler) -> None:
    """What the test above would say if waiting did not make the other threads' results visible."""
    source = net().source
    assert source.count("__ATOMIC_ACQUIRE)") == 1
    source = source.replace("__ATOMIC_ACQUIRE)", "__ATOMIC_RELAXED)")
    status, text = run(build(sanitizer, (*SANITIZER, "-O0"), soft=True, source=source), "rounds", 16)
    assert status == 66
    assert "data race" in text


def test_threads_that_share_scratch_are_found(sanitizer: Compiler) -> None:
    emitted = nn512.compile(TILES, nn512.Options(force=(("", "winograd-4x4"),)))
    flags = (*SANITIZER, "-O0", "-DINPUTS=16*20*24", "-DOUTPUTS=32*20*24")
    right, place = emitted.source, "share.thread * ThreadFloats"
    assert right.count(place) == 1
    assert run(build_with(emitted.header, right, sanitizer, flags, soft=True), "rounds", 4) == (0, "")
    wrong = build_with(emitted.header, right.replace(place, "0 * ThreadFloats"), sanitizer, flags, soft=True)
    status, text = run(wrong, "rounds", 4)
    assert status
    assert "data race" in text or "memcmp(output, expected" in text  # whichever is seen first


@pytest.mark.parametrize(
    ("trial", "text", "instead"),
    [
        ("signals", "sigfillset(&blocked)", "sigemptyset(&blocked)"),
        ("faults", "sigdelset(&blocked, SIGSEGV);", ""),
        ("failures", "pthread_sigmask(SIG_SETMASK, &before, NULL);", ""),
        ("failures", "if (begun) gate_destroy(&team->begun);", ""),
        ("failures", "while (created < threads - 1 && error == 0)", "while (created < threads - 1)"),
        ("forks", "    team_check(&engine->team);\n    if (index", "    if (index"),
        ("shortage", "malloc(bytes)", "malloc(256)"),
        ("exhaustion", "if (copy == NULL) abort();", "if (copy == NULL) return NULL;"),
    ],
    ids=[
        "mask",
        "faults",
        "mask-restored",
        "first-gate-kept",
        "error-ignored",
        "identities-in-child",
        "wasteful",
        "silent",
    ],
)
def test_program_sees_what_is_wrong(runs_here: str, trial: str, text: str, instead: str) -> None:
    source = net().source
    assert source.count(text) == 1
    source = source.replace(text, instead)
    program = build(toolchain.find_compiler(), ("-O0",), soft=runs_here != "native", source=source)
    assert run(program, trial, 10)[0] != 0
