"""Sanitizers: emitted C is clean under each, and bugs planted in it are seen by the one that is there for them."""

from __future__ import annotations

import functools
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nn512
from fuzz.run.build import build_net
from fuzz.run.checks import Checks, Configuration, Placement
from fuzz.run.outcome import Kind, RunReport
from fuzz.run.runners import Runner, Sanitizer, choose_runner
from fuzz.run.runners.sanitizers import flags_of, sanitizers_of, why_missing
from fuzz.run.sandbox import execute
from nn512.errors import CannotRunError, UsageError
from nn512.graph import parse
from nn512.toolchain import CompilerKind, find_compiler, find_compilers, has_avx512

# Two blocks of channels, the second one with a tail; large enough for threads to share the layers.
GRAPH = parse("""
Config Prefix=Net
Input ToTensor=x Channels=20 Height=30 Width=33
Activation FromTensor=x ToTensor=a Kind=ReLU Param=0.5
Softmax FromTensor=a ToTensor=y
Output FromTensor=y
""")
X = np.random.default_rng(0).standard_normal((20, 30, 33), np.float32)

LOAD = "v[c] = c < channels ? _mm512_maskz_loadu_ps(mask, x + c * pixels + p)"
STORE = "_mm512_mask_storeu_ps(out + c * pixels + p, mask, v[c])"
BLOCK = "load_block(engine->xData + block * 16 * 30 * 33"
OVERFLOW = "load_block(engine->xData + ((int)block * 16 * 30 * 33 + 2147483647 - 2147483647)"

PLANTED = {
    # a lane more than there is, and what is beside the tensor cannot be seen in the results
    "masked-load": (Sanitizer.ADDRESS, LOAD, LOAD.replace("(mask,", "((__mmask16)(mask << 1 | 1),"), "poison"),
    "masked-store": (Sanitizer.ADDRESS, STORE, STORE.replace("mask,", "(__mmask16)(mask << 1 | 1),"), "poison"),
    # the index comes out right after all
    "overflow": (Sanitizer.UNDEFINED, BLOCK, OVERFLOW, "signed integer overflow"),
    "misaligned": (
        Sanitizer.UNDEFINED,
        LOAD,
        LOAD.replace("_mm512_maskz", "count == 16 ? *(const __m512 *)(x + c * pixels + p) : _mm512_maskz"),
        "misaligned address",
    ),
    # both threads do all of it, and write the same
    "race": (Sanitizer.THREAD, "block = share.first", "block = 0 * share.first", "data race"),
    # the last pixel of a block is not loaded, and what its memory held goes on into the results
    "uninitialised": (
        Sanitizer.MEMORY,
        "if (i < count) _mm512_storeu",
        "if (i + 1 < count) _mm512_storeu",
        "MemorySanitizer",
    ),
}


def soft(sanitizer: Sanitizer) -> Runner:
    """Portable intrinsics with a sanitizer; skips the test where no compiler here has it."""
    try:
        return replace(choose_runner(f"soft+{sanitizer.value}"), slowdown=20.0)
    except CannotRunError as error:
        pytest.skip(str(error))


@functools.cache
def emitted() -> nn512.Emitted:
    return nn512.compile(GRAPH)


def run(runner: Runner, source: str, placement: Placement = Placement.AT_BEGIN) -> RunReport:
    """The net on one and two threads, with slack behind buffers that begin at a page."""
    checks = Checks((Configuration(1, placement, 1), Configuration(2, placement, 1)), api=False, failures=False)
    executable = build_net(GRAPH, emitted().header, source, runner, flags=("-O0",), strict=False)
    return execute(executable, {}, [{"x": X}], checks)


@pytest.mark.parametrize("sanitizer", Sanitizer, ids=lambda sanitizer: sanitizer.value)
def test_emitted_c_is_clean(sanitizer: Sanitizer) -> None:
    report = run(soft(sanitizer), emitted().source)
    assert report.ok, report


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_seen(bug: str) -> None:
    sanitizer, before, after, says = PLANTED[bug]
    runner = soft(sanitizer)
    assert emitted().source.count(before) >= 1
    report = run(runner, emitted().source.replace(before, after, 1))
    assert [violation.kind for violation in report.violations] == [Kind.SANITIZER], report
    assert says in report.log


@pytest.mark.parametrize("sanitizer", [Sanitizer.UNDEFINED, None], ids=["undefined", "none"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LOAD, LOAD.replace("_mm512_maskz", "count == 16 ? _mm512_load_ps(x + c * pixels + p) : _mm512_maskz")),
        (STORE, f"if (count == 16) _mm512_store_ps(out + c * pixels + p, v[c]); else {STORE}"),
    ],
    ids=["load", "store"],
)
def test_an_intrinsic_that_demands_alignment_is_told(sanitizer: Sanitizer | None, before: str, after: str) -> None:
    runner = soft(sanitizer) if sanitizer else replace(choose_runner("soft"), slowdown=20.0)
    assert emitted().source.count(before) >= 1
    report = run(runner, emitted().source.replace(before, after, 1))
    assert [violation.kind for violation in report.violations] == [Kind.CRASH], report
    assert "SIGILL: an intrinsic that demands alignment" in report.violations[0].detail


@pytest.mark.parametrize("bug", ["", "masked-load", "masked-store"])
def test_clang_sees_masked_accesses_in_native_code(bug: str) -> None:
    clang = next((compiler for compiler in find_compilers() if compiler.kind is CompilerKind.CLANG), None)
    if clang is None or not has_avx512(clang):
        pytest.skip("no clang, or no AVX-512F here")
    try:
        runner = choose_runner("native+address", clang)
    except CannotRunError as error:
        pytest.skip(str(error))
    _, before, after, says = PLANTED.get(bug, (Sanitizer.ADDRESS, "", "", ""))
    report = run(runner, emitted().source.replace(before, after, 1))
    assert [violation.kind for violation in report.violations] == ([Kind.SANITIZER] if bug else []), report
    assert says in report.log


def test_a_lost_wake_up_is_a_hang() -> None:
    """No sanitizer sees what does not happen; that nothing goes on any more is seen with each of them."""
    runner = replace(soft(Sanitizer.THREAD), slowdown=1.0)
    source = emitted().source
    sleeping = ("SpinsBeforeSleep = 4000", "SpinsBeforeSleep = 0")
    for before, after in (sleeping, ("pthread_cond_broadcast(&", "(void)(&")):
        assert source.count(before) == 1
        source = source.replace(before, after)
    executable = build_net(GRAPH, emitted().header, source, runner, flags=("-O0",), strict=False)
    checks = Checks((Configuration(2, Placement.AT_END),), api=False, sharing=False, failures=False, timeout=1.0)
    assert [violation.kind for violation in execute(executable, {}, [{"x": X}], checks).violations] == [Kind.HANG]


def test_names() -> None:
    assert sanitizers_of(["undefined", "address", "undefined"]) == (Sanitizer.UNDEFINED, Sanitizer.ADDRESS)
    with pytest.raises(UsageError, match="no sanitizer 'leak'; there are address, undefined, thread, memory"):
        choose_runner("soft+leak")
    with pytest.raises(UsageError, match="one of the sanitizers address and thread, not both"):
        choose_runner("soft+address+thread")
    for name in ("bochs+address", "sde+thread", "+address"):
        with pytest.raises(UsageError, match="sanitizers are for native and soft"):
            choose_runner(name)
    with pytest.raises(
        UsageError, match=r"^NN512_RUNNER=hard\+address: there is no runner 'hard'; there are native, sde,"
    ):
        choose_runner("hard+address")


STAND_IN = """#!/bin/sh
case "$*" in
*--version*) echo "Debian clang version 21.3.1 (1)"; exit;;
*-fsanitize=*)
    echo "ld: cannot find /usr/lib/llvm-21/lib/clang/21/lib/linux/libclang_rt.asan.a: No such file or directory" >&2
    exit 1;;
esac
exec COMPILER "$@"
"""
"""A clang without the libraries of its sanitizers."""


@pytest.mark.parametrize("sanitizer", ["memory", "address"])
def test_a_clang_without_libraries_is_advised_of_its_own(
    sanitizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "clang-21"
    command.write_text(STAND_IN.replace("COMPILER", shlex.join(find_compiler().command)))
    command.chmod(0o755)
    monkeypatch.setenv("CC", str(command))
    with pytest.raises(CannotRunError) as caught:
        choose_runner(f"soft+{sanitizer}")
    assert str(caught.value).endswith("; its library is in a package: apt-get install libclang-rt-21-dev")
    assert "apt-get install clang" not in str(caught.value)


def test_a_runner_has_the_names_of_its_sanitizers() -> None:
    try:
        runner = choose_runner("soft+address+undefined")
    except CannotRunError as error:
        pytest.skip(str(error))
    assert runner.name == "soft+address+undefined"
    assert runner.line.startswith(
        "runner: soft+address+undefined (intrinsics in portable C, address and undefined sanitizer), shows the C"
    )
    assert set(flags_of(runner.sanitizers)) <= set(runner.net_flags)
    assert not runner.limits_memory


def test_a_compiler_without_a_sanitizer_is_told() -> None:
    compiler = next((compiler for compiler in find_compilers() if compiler.kind is CompilerKind.GCC), None)
    if compiler is None or not (reason := why_missing(compiler, (Sanitizer.MEMORY,))):
        pytest.skip("no gcc here, or one that has all of them")
    assert "memory sanitizer" in reason
    with pytest.raises(CannotRunError, match="clang has it: apt-get install clang"):
        choose_runner("soft+memory", compiler)
