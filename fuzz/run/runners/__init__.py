"""Ways to execute emitted C: on the processor, under an emulator, or with intrinsics in portable C.

`choose_runner` takes the first that works, in the order native, sde, soft, bochs, aarch64; $NN512_RUNNER forces
one. Sanitizers stand behind it, as in soft+address.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from fuzz.run.runners import aarch64, bochs, native, sde, soft
from fuzz.run.runners.base import Runner, Unavailable
from fuzz.run.runners.sanitizers import SEPARATOR, Sanitizer, runtime_advice, sanitizers_of
from nn512.errors import CannotRunError, Nn512Error, UsageError
from nn512.toolchain import Compiler, CompilerKind, find_compiler, find_compilers

__all__ = [
    "RUNNERS",
    "Runner",
    "Sanitizer",
    "Unavailable",
    "choose_runner",
    "compiler_for",
    "probe_runners",
    "runner_for",
    "with_bfloat16",
]

RUNNERS: dict[str, Callable[[Compiler], Runner | Unavailable]] = {
    native.NAME: native.probe,
    sde.NAME: sde.probe,
    soft.NAME: soft.probe,
    bochs.NAME: bochs.probe,
    aarch64.NAME: aarch64.probe,
}


SANITIZED = {native.NAME: native.probe, soft.NAME: soft.probe}
"""Runners that take sanitizers: what they build is a program of this system."""


def probe_runners(compiler: Compiler | None = None) -> tuple[Runner | Unavailable, ...]:
    """Every runner, with the reason why it works here or does not."""
    compiler = find_compiler() if compiler is None else compiler
    return tuple(probe(compiler) for probe in RUNNERS.values())


def choose_runner(name: str | None = None, compiler: Compiler | None = None) -> Runner:
    """The runner `name`, or the one in $NN512_RUNNER, or the first that works. Show its `line` to the user.

    With sanitizers and no `compiler` it is built with the first compiler here that has them. Raises UsageError for a
    name that is none, CannotRunError where the runner asked for, or every one, does not work.
    """
    name = name or os.environ.get("NN512_RUNNER") or None
    if name is not None and SEPARATOR in name:
        return _sanitized(name, compiler)
    if name is not None and name not in RUNNERS:
        raise UsageError(f"NN512_RUNNER={name}: there is no such runner; there are {', '.join(RUNNERS)}")
    compiler = find_compiler() if compiler is None else compiler
    refusals = []
    for candidate in RUNNERS if name is None else (name,):
        answer = RUNNERS[candidate](compiler)
        if isinstance(answer, Runner):
            return replace(answer, others=_others(_other(name, compiler) for name in RUNNERS if name != candidate))
        refusals.append(f"{answer.name}: {answer.reason}")
    raise CannotRunError("emitted C cannot run here; " + "; ".join(refusals))


def with_bfloat16(runner: Runner) -> Runner:
    """A runner that executes AVX512_BF16: this one, or portable intrinsics, whose reason says why it is not this one.

    Raises CannotRunError where neither does.
    """
    if runner.bfloat16:
        return runner
    answer = soft.probe(runner.compiler, runner.sanitizers)
    if isinstance(answer, Unavailable):
        raise CannotRunError(f"{runner.name} does not execute AVX512_BF16; {answer.name}: {answer.reason}")
    return replace(answer, reason=f"{answer.reason}, as {runner.name} does not execute AVX512_BF16")


def _sanitized(name: str, compiler: Compiler | None) -> Runner:
    """A runner with sanitizers. Raises UsageError and CannotRunError."""
    base, *words = name.split(SEPARATOR)
    sanitizers = sanitizers_of(words)
    if base not in RUNNERS:
        known = f"there are {', '.join(RUNNERS)}, and sanitizers are for {' and '.join(SANITIZED)}"
        raise UsageError(f"NN512_RUNNER={name}: there is no runner {base!r}; {known}")
    if base not in SANITIZED:
        raise UsageError(f"NN512_RUNNER={name}: sanitizers are for {' and '.join(SANITIZED)}")
    compilers = _compilers() if compiler is None else (compiler,)
    refusals = []
    for candidate in compilers:
        answer = SANITIZED[base](candidate, sanitizers)
        if isinstance(answer, Runner):
            return answer
        refusals.append(answer.reason)
    advice = [runtime_advice(*tried) for tried in zip(compilers, refusals, strict=True)]
    if Sanitizer.MEMORY in sanitizers and not any(candidate.kind is CompilerKind.CLANG for candidate in compilers):
        advice.append("clang has it: apt-get install clang")
    raise CannotRunError("; ".join([f"{name} cannot run here: {refusals[0]}", *refusals[1:], *filter(None, advice)]))


def _compilers() -> tuple[Compiler, ...]:
    """That of $CC alone, or all there are."""
    return (find_compiler(),) if _is_chosen() else find_compilers()


def _other(name: str, compiler: Compiler) -> Runner | Unavailable:
    """What else there is, asked for the sake of a line: whatever goes wrong, the runner that was chosen still works."""
    try:
        return RUNNERS[name](compiler)
    except Nn512Error as error:
        return Unavailable(name, str(error))


def _others(answers: Iterable[Runner | Unavailable]) -> str:
    """What else there is on this machine, and what it would show; what is not there by its name alone."""
    have, lack = [], []
    for answer in answers:
        if isinstance(answer, Runner):
            have.append(f"{answer.name} ({answer.shows})")
        else:
            lack.append(answer.name)
    parts = [f"also here: {', '.join(have)}"] * bool(have) + [f"not here: {', '.join(lack)}"] * bool(lack)
    return "; ".join(parts)


def runner_for(compiler: str = "") -> Runner:
    """The runner of this machine with the compiler asked for, or with the default one where that is missing.

    $CC and $NN512_RUNNER are obeyed at every call, $CC whatever compiler is asked for; what is slow to find out is
    remembered per compiler.
    """
    if compiler:
        with contextlib.suppress(CannotRunError):
            return choose_runner(compiler=compiler_for(compiler))
    return choose_runner()


def compiler_for(wanted: str) -> Compiler | None:
    """The compiler of this name, but none where $CC chooses, or where the name is empty. Raises CannotRunError."""
    return find_compiler(wanted) if wanted and not _is_chosen() else None


def _is_chosen() -> bool:
    """Whether $CC names a compiler, which then builds all."""
    return bool(os.environ.get("CC", "").strip())
