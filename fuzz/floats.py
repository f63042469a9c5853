"""Measures the errors of elementary functions over floats: all 2^32 of them, or every so many.

The C that is emitted is compiled, with AVX-512 where the processor has it and with the portable intrinsics elsewhere,
beside the meaning of each function in double precision. The error is in units of the last place of the true result.
NaN must be where the meaning has it, infinities and zeros must have its sign.

Where all floats are measured, what the meaning is at 4096 neighbours comes from a polynomial through seven of them:
functions are smooth there, and floats lie at equal distances. At four others it must be the meaning within 2^-12 of a
unit, or the meaning is computed for each.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO, TypeAlias

import numpy as np

from nn512 import toolchain
from nn512.kernels.elementary import FUNCTIONS, Constant, Elementary
from nn512.kernels.powers import LEAST, POWER, QUARTERS
from nn512.signals import until_ended

MEASURED: Mapping[str, Elementary] = MappingProxyType(
    {**FUNCTIONS, **{function.name: function for function in QUARTERS.values()}}
)
"""All functions of one number, by the name of the routine: those of steps, and powers."""

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "exp_of": "exp(x)",
        "sigmoid_of": "x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x))",
        "silu_of": "x < -800 ? -0.0 : x < 0 ? x * exp(x) / (1 + exp(x)) : x / (1 + exp(-x))",
        "tanh_of": "tanh(x)",
        "gelu_of": "x < -40 ? 0 : x > 40 ? x : x / 2 * erfc(-x * 0.70710678118654752)",
        "gelu_tanh_of": "x < -40 ? 0 : x > 40 ? x : x / (1 + exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))",
        "expm1_of": "expm1(x)",
        "softplus_of": "(x < 0 ? 0 : x) + log1p(exp(-fabs(x)))",
        "mish_of": "x < -800 ? 0 : x > 40 ? x : x / (1 + 2 / (exp(x) * (exp(x) + 2)))",
        "log_of": "log(x)",
        **{function.name: f"pow(x, -{exponent})" for exponent, function in QUARTERS.items()},
        "inverse_power_of": "pow(x, -(double)0.6f)",
    }
)
"""Each function of a double x in C."""

EXPONENT = 0.6
"""One of those with which `inverse_power` is measured in place of all."""

_WITH_EXPONENT = f"""
static INLINE __m512 inverse_power_of(__m512 x) {{
    return inverse_power(x, {EXPONENT}f);
}}
"""


def with_exponent(text: str = POWER) -> Elementary:
    """`inverse_power` of LRN, given as C, with the exponent that is measured, as a function of one number."""
    plain = text.replace("UNROLL ", "")  # what the macro is stands at the top of emitted files
    return Elementary("inverse_power_of", plain + _WITH_EXPONENT, {}, 2 + EXPONENT, least=LEAST)


FLOATS = 1 << 32

Floats: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Measured:
    """The largest error in units in the last place, and the argument that has it."""

    ulps: float
    at: float


def measure(
    function: Elementary,
    stride: int = 1,
    constants: Mapping[str, Constant] | None = None,
    ranges: Sequence[tuple[int, int]] = ((0, FLOATS),),
    threads: int = 1,
    *,
    soft: bool = False,
) -> Measured:
    """The largest error at every `stride`th float whose bits are in `ranges`; with other constants, if given.

    soft: with portable intrinsics whatever the processor has.
    """
    library = _library(function, soft=soft, variables=constants is not None)
    for name, value in {**function.constants, **constants}.items() if constants is not None else ():
        numbers = value if isinstance(value, tuple) else (value,)
        (ctypes.c_float * len(numbers)).in_dll(library, f"constant_{name}")[:] = list(numbers)
    limits = (function.floor, function.beside, function.least, function.most)

    def part(piece: tuple[int, int]) -> Measured:
        where = ctypes.c_uint32()
        error = library.measure(*piece, stride, *limits, ctypes.byref(where))
        return Measured(error, struct.unpack("f", struct.pack("I", where.value))[0])

    with ThreadPoolExecutor(threads) as pool:
        return max(pool.map(part, _pieces(ranges, stride)), key=lambda measured: measured.ulps)


def results(function: Elementary, x: Floats, *, soft: bool) -> Floats:
    """What the emitted C makes of these numbers."""
    y = np.empty_like(x)
    _library(function, soft=soft).evaluate(x.ctypes.data, y.ctypes.data, x.size)
    return y


def _library(function: Elementary, *, soft: bool, variables: bool = False) -> ctypes.CDLL:
    """The function between C that measures it, its constants as `variables` that can be set."""
    own = _with_variables(function) if variables else function.write(function.constants)
    program = (
        _PROGRAM.read_text("utf-8")
        .replace("ROUTINES", "".join([*_needed(function), own]))
        .replace("MEANING", MEANINGS[function.name])
        .replace("ROUTINE", function.name)
    )
    compiler = toolchain.find_compiler()
    soft = soft or not toolchain.has_avx512(compiler)
    flags = (*toolchain.soft_flags(), "-march=native") if soft else toolchain.NATIVE_FLAGS
    # neither changes a number: what traps or sets errno could not be computed for several numbers at a time
    plain = ("-fno-trapping-math", "-fno-math-errno")
    arguments = [*toolchain.LANGUAGE_FLAGS, "-O3", *flags, *plain, "-fPIC", "-shared", "floats.c", "-lm"]
    depends = [toolchain.soft_fingerprint()] if soft else []
    built = toolchain.build(compiler, {"floats.c": program}, arguments, "floats.so", depends=depends)
    library = ctypes.CDLL(str(built.path))
    library.measure.restype = ctypes.c_double
    library.measure.argtypes = [ctypes.c_uint64] * 3 + [ctypes.c_double] * 4 + [ctypes.POINTER(ctypes.c_uint32)]
    library.evaluate.restype = None
    library.evaluate.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_size_t]
    return library


_PROGRAM = Path(__file__).with_suffix(".c")

_TABLE = re.compile(r"static const float (\w+)\[\d+\] = \$(\w+);")


def _with_variables(function: Elementary) -> str:
    """The routine behind variables that are its constants: another one needs no compiler."""
    sizes = {name: len(value) if isinstance(value, tuple) else 1 for name, value in function.constants.items()}
    variables = "".join(f"float constant_{name}[{size}];\n" for name, size in sizes.items())
    text = _TABLE.sub(r"const float *const \1 = constant_\2;", function.text)
    for name in sorted(sizes, key=len, reverse=True):
        text = text.replace(f"${name}", f"constant_{name}[0]")
    return variables + text


def _needed(function: Elementary) -> list[str]:
    return [text for needed in function.needs for text in (*_needed(needed), needed.write(needed.constants))]


def _pieces(ranges: Sequence[tuple[int, int]], stride: int) -> list[tuple[int, int]]:
    """The ranges in pieces for threads: the first of each is a multiple of the stride behind that of the range."""
    size = (FLOATS // 256 // stride + (stride > 1)) * stride
    return [(at, min(at + size, end)) for first, end in ranges for at in range(first, end, size)]


def main(arguments: Sequence[str] | None = None, stream: TextIO = sys.stdout) -> int:
    """Measure over all floats and print a table. 1 where a function errs more than it declares."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.floats", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURED)}; all without")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="processors taken")
    parser.add_argument("--stride", type=int, default=1, help="measure every so many floats; 1 is all of them")
    parser.add_argument("--soft", action="store_true", help="portable intrinsics, whatever the processor has")
    given: Any = parser.parse_args(arguments)
    exceeded = 0
    for name in given.names or MEASURED:
        function, began, used = MEASURED[name], time.monotonic(), time.process_time()
        found = measure(function, given.stride, threads=given.threads, soft=given.soft)
        exceeded += found.ulps > function.ulps
        floor = f" beyond {function.floor:.3g}" if function.floor else ""
        stream.write(
            f"{name:16} {found.ulps:.4f} ulp{floor} at {found.at!r}, declared {function.ulps:g}"
            f"{' EXCEEDED' if found.ulps > function.ulps else ''} "
            f"({time.monotonic() - began:.0f} s, {time.process_time() - used:.0f} s of processors)\n"
        )
        stream.flush()
    return min(exceeded, 1)


if __name__ == "__main__":
    sys.exit(until_ended("fuzz.floats", main))
