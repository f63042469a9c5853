"""A program whose results are known: what an emulator must get right before it may judge anybody's code."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

import numpy as np
import numpy.typing as npt

from fuzz.run.ended import Ended
from nn512.errors import CannotRunError
from nn512.toolchain import NATIVE_FLAGS, BuildCache, BuildError, Compiler, build

_FLAGS = ("-std=gnu11", "-O1", *NATIVE_FLAGS, "-Wall", "-Wextra", "-pthread", "-static", "-s", "known.c")
_LIMIT = 60.0
_BESIDE = 5

_NAMES = ("fused products and sums", "a permutation", "fp16", "masked accesses beside a guard page")
NAMES = (*_NAMES, "two threads", "a fault in a guard page", "ties of fp16")
"""What the seven vectors show that the program writes."""

_TIES = 2049 + 2 * np.arange(16, dtype=np.float32)
"""Halfway between two numbers of fp16."""

KNOWN_FAULTS = {
    NAMES.index("ties of fp16"): (
        _TIES + 1,
        "vcvtps2ph rounds ties away from zero and not to even, so weights packed as fp16 have other last bits",
    )
}
"""By vector: what it is in emulators that are used all the same, and what people are told. Bochs 2.7 has this one."""


def known_inputs() -> npt.NDArray[np.float32]:
    """X, y and z as 3x16: full significands, so that x y + z is exact in float64 and rounded once to float32."""
    random = np.random.default_rng(512)
    significands = 1 + random.integers(0, 1 << 23, (3, 16)) / (1 << 23)
    return np.asarray(significands * np.array([[1], [-1], [2]]), np.float32)


def known_answers() -> npt.NDArray[np.float32]:
    """The seven vectors (7x16)."""
    x, y, z = known_inputs()
    fused = (x.astype(np.float64) * y.astype(np.float64) + z.astype(np.float64)).astype(np.float32)
    beside = np.where(np.arange(16) < _BESIDE, x, np.float32(0))
    caught = np.zeros(16, np.float32)
    caught[0] = 1
    halves, ties = (array.astype(np.float16).astype(np.float32) for array in (x, _TIES))
    return np.stack([fused, x[::-1], halves, beside, fused, caught, ties])


def check_known_answers(
    run: Callable[[bytes, bytes, float], Ended], compiler: Compiler, cache: BuildCache
) -> tuple[str, ...]:
    """CannotRunError if `run` (program, job, limit) does not get the known answers; which known faults it has."""
    text = (resources.files("fuzz.run.emulator") / "guest" / "known.c").read_text("utf-8")
    try:
        program = build(compiler, {"known.c": text}, _FLAGS, "known", cache=cache).path.read_bytes()
    except BuildError as error:
        raise CannotRunError(f"{compiler.path} does not build static programs for x86-64: {error}") from error
    ended = run(program, known_inputs().tobytes(), _LIMIT)
    wanted = known_answers()
    if ended.returncode != 0 or len(ended.result) != wanted.nbytes:
        how = "hangs" if ended.hung else f"ends with {ended.returncode}"
        raise CannotRunError(f"the emulator is broken: a program whose answers are known {how}")
    got = np.frombuffer(ended.result, np.float32).reshape(wanted.shape)
    faults = []
    for number, (name, was, right) in enumerate(zip(NAMES, got, wanted, strict=True)):
        fault, told = KNOWN_FAULTS.get(number, (right, ""))
        if told and was.tobytes() == fault.tobytes():
            faults.append(told)
        elif was.tobytes() != right.tobytes():
            lane = int(np.flatnonzero(was.view(np.uint32) != right.view(np.uint32))[0])
            raise CannotRunError(
                f"the emulator is broken: {name}: lane {lane} is {was[lane]:.9g} and must be {right[lane]:.9g}"
            )
    return tuple(faults)
