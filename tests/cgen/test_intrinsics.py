"""Every intrinsic, lane by lane: its numpy meaning, the portable header and, where there is AVX-512, the hardware."""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nn512 import toolchain
from nn512.cgen import intrinsics
from nn512.cgen.intrinsics import INTRINSICS, Array, Intrinsic, Parameter
from nn512.errors import CannotRunError
from nn512.toolchain import portable
from nn512.toolchain.processor import has_fma

HEADER = toolchain.SOFT_INCLUDE / "immintrin.h"

DEFINED = re.compile(r"\b(_mm\w+)\((?=[^;{}]*\) \{)")
"""Intrinsics whose bodies stand in a header."""

INLINE = {"_mm_pause", "_mm_prefetch"}
"""What the portable library cannot define: clang has the one itself, and the other is a macro."""

CASES = 400
SLOT = 256  # bytes between the values of one parameter in consecutive cases, and between results

IMMEDIATES: dict[str, Iterable[int | tuple[int, ...]]] = {
    "_mm512_cmp_ps_mask": range(32),
    "_mm512_cvtps_ph": range(9),
    "_mm512_getmant_ps": tuple(itertools.product(range(4), range(3))),
    "_mm512_i32gather_ps": (4, 8),
    "_mm512_i32scatter_ps": (4, 8),
    "_mm512_permute_ps": (0x00, 0x55, 0xAA, 0xFF, 0x1B, 0xB1, 0x4E),
    "_mm512_roundscale_ps": (0, 1, 2, 3, 4, 8, 9, 10, 11, 0x18, 0x21, 0x72, 0xF3),
    "_mm512_shuffle_f32x4": (0x00, 0x44, 0xEE, 0x88, 0xDD, 0x1B, 0xFF),
    "_mm512_shuffle_ps": (0x00, 0x44, 0xEE, 0x88, 0xDD, 0x1B, 0xB1, 0xFF),
    "_mm512_slli_epi32": (0, 1, 13, 23, 31, 32, 40),
    "_mm512_srli_epi32": (0, 1, 13, 23, 31, 32, 40),
    "_mm_prefetch": range(4),
}
"""By name: of each that has one, or several, those that are tried."""
IMMEDIATE_NAMES = {"imm", "mode", "scale", "predicate", "hint", "norm", "sign"}

# These move bits: a NaN must arrive as it left. Elsewhere any NaN will do, since compilers choose the operand order.
BIT_EXACT = re.compile(
    r"load|broadcastss|store|stream|mov|blend|expand|compress|gather|scatter|min_ps|_max_ps|perm|shuffle|unpack|cast"
)


def calls(*, extended: bool = True) -> Iterator[tuple[Intrinsic, tuple[int, ...]]]:
    """Every intrinsic, with the immediates that it is called with; those of extensions if `extended`."""
    for row in INTRINSICS.values():
        if row.extension and not extended:
            continue
        for given in IMMEDIATES.get(row.name, ((),)):
            yield row, given if isinstance(given, tuple) else (given,)


def is_immediate(parameter: Parameter) -> bool:
    return parameter.name in IMMEDIATE_NAMES and parameter.type in {"int", "unsigned"}


def symbol(row: Intrinsic, immediates: tuple[int, ...]) -> str:
    return "_".join(["call", row.name, *map(str, immediates)])


def wrapper(row: Intrinsic, immediates: tuple[int, ...]) -> str:
    """C function applying one intrinsic to many cases: parameter i of case n stands at `in[i] + n * SLOT`."""
    lines = [f"{row.extension} void {symbol(row, immediates)}(int cases, char *out, char *const *in) {{"]
    lines += [f"    for (int n = 0; n < cases; n++, out += {SLOT}) {{"]
    arguments, numbers = [], iter(immediates)
    for index, parameter in enumerate(row.parameters):
        at = f"in[{index}] + n * {SLOT}"
        if is_immediate(parameter):
            arguments.append("(enum _mm_hint)" * (parameter.name == "hint") + str(next(numbers)))
        elif parameter.type.endswith("*"):
            arguments.append(f"({parameter.type})({at})")
        else:
            lines += [f"        {parameter.type} a{index};", f"        memcpy(&a{index}, {at}, sizeof a{index});"]
            arguments.append(f"a{index}")
    call = f"{row.name}({', '.join(arguments)})"
    if row.result == "void":
        lines += [f"        {call};", "        (void)out;", "        (void)in;"]
    else:
        lines += [f"        const {row.result} r = {call};", "        memcpy(out, &r, sizeof r);", "        (void)in;"]
    return "\n".join([*lines, "    }", "}", ""])


def program(*, extended: bool) -> str:
    """Extensions stand there as macros: empty where the file may use them anyway, as with the portable header."""
    text = "#include <immintrin.h>\n#include <string.h>\n"
    for extension, macro in intrinsics.EXTENSIONS.items():
        attribute = f'__attribute__((target("{extension}")))'
        text += f"#ifdef {macro}\n#define {extension}\n#else\n#define {extension} {attribute}\n#endif\n"
    text += "\n".join(wrapper(*call) for call in calls(extended=extended))
    return text.replace("(enum _mm_hint)", "")


def build(
    compiler: toolchain.Compiler, flags: Sequence[str], *, optimize: str = "-O1", extended: bool = True
) -> ctypes.CDLL:
    path = toolchain.build(
        compiler,
        {"calls.c": program(extended=extended)},
        [
            *(*toolchain.LANGUAGE_FLAGS, *toolchain.STRICT_FLAGS, optimize, "-fPIC", "-shared", "calls.c"),
            *flags,
        ],
        "calls.so",
        depends=[toolchain.soft_fingerprint()],
    ).path
    return ctypes.CDLL(str(path))


SPECIAL = np.array(
    [
        *(0x00000000, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7FC12345, 0xFFD54321),
        *(0x00000001, 0x80000001, 0x007FFFFF, 0x807FFFFF, 0x00800000, 0x80800000, 0x7F7FFFFF, 0xFF7FFFFF),
        *(0x3F800000, 0xBF800000, 0x3F000000, 0x3F7FFFFF, 0x3F800001, 0x40200000, 0x4B000001, 0x4B800001),
        *(0x477FE000, 0x477FF000, 0x477FEFFF, 0x33000000, 0x33000001, 0x38800000, 0x387FE000, 0xC7800000),
        *(0x4F000000, 0xCF000000, 0x4EFFFFFF, 0x3FC00000, 0x43C80000, 0xC3C80000, 0x43150000, 0xC3150000),
    ],
    np.uint32,
)


def random_floats(rng: np.random.Generator, count: int) -> Array:
    """Specials, neighbours of one another's halves, small integers, and any bits (signaling NaNs made quiet)."""
    kind = rng.integers(5, size=(count, 1))
    bits = rng.integers(1 << 32, size=(count, 16), dtype=np.uint32)
    near = (bits & 0x807FFFFF) | (0x3F000000 + ((bits >> 8 & 3) << 23))
    short = near & 0xFFFFF000
    whole = rng.integers(-40, 40, size=(count, 16)).astype(np.float32).view(np.uint32)
    special = rng.choice(SPECIAL, size=(count, 16))
    chosen = np.choose(kind, [bits, near, short, whole, special])
    mixed = np.where(rng.integers(8, size=(count, 16)) == 0, special, chosen)
    return np.where((mixed & 0x7FFFFFFF) > 0x7F800000, mixed | 0x400000, mixed).astype(np.uint32).view(np.float32)


def draw(rng: np.random.Generator, row: Intrinsic, parameter: Parameter) -> Array:
    """Values of one parameter for every case, as the bytes of its slots."""
    slots = np.zeros((CASES, SLOT), np.uint8)
    values: Array
    if parameter.type == "__m256i" or parameter.type.endswith("__m256i *"):
        halves = rng.integers(1 << 16, size=(CASES, 16), dtype=np.uint16)
        values = np.where((halves & 0x7FFF) > 0x7C00, halves | 0x200, halves).astype(np.uint16)
    elif parameter.type == "__m512bh":
        upper = np.concatenate([random_floats(rng, CASES) for _ in range(2)], axis=1).view(np.uint32) >> 16
        values = upper.astype(np.uint16)
    elif parameter.name == "index" and ("gather" in row.name or "scatter" in row.name):
        values = rng.integers(24, size=(CASES, 16), dtype=np.int32)
    elif parameter.type in {"__m512i", "int"}:
        values = rng.integers(-(1 << 31), 1 << 31, size=(CASES, 16), dtype=np.int32)
    elif parameter.type in {"double", "__m128d"}:
        bits = rng.integers(1 << 64, size=(CASES, 16), dtype=np.uint64)
        special = rng.choice(SPECIAL, size=(CASES, 16)).view(np.float32).astype(np.float64).view(np.uint64)
        # Squares of 26 bits have exact roots, their neighbours roots beside one.
        whole = (rng.integers(1 << 26, size=(CASES, 16)).astype(np.float64) ** 2).view(np.uint64)
        near = whole + rng.integers(-1, 2, size=(CASES, 16)).astype(np.uint64)
        values = np.choose(rng.integers(4, size=(CASES, 16)), [bits, special, whole, near]).view(np.float64)
        values = np.where(rng.integers(4, size=(CASES, 16)) > 0, np.abs(values), values)
        values = np.where(np.isnan(values), np.nan, values)
    elif parameter.type == "__mmask16":
        values = rng.integers(1 << 16, size=(CASES, 1), dtype=np.uint16)
        values[:2] = [[0], [0xFFFF]]
    else:
        values = np.concatenate([random_floats(rng, CASES) for _ in range(4)], axis=1)
        if "reduce_max" in row.name:
            values = np.where(np.isnan(values), np.float32(1), values) + np.float32(0)
    raw = values.view(np.uint8).reshape(CASES, -1)
    slots[:, : raw.shape[1]] = raw[:, :SLOT]
    return slots


NUMPY = {
    "__m512": (np.float32, 16),
    "__m512i": (np.int32, 16),
    "__m512bh": (np.uint16, 32),
    "__m256": (np.float32, 8),
    "__m256bh": (np.uint16, 16),
    "__m256i": (np.float16, 16),
    "__m128": (np.float32, 4),
    "__m128d": (np.float64, 2),
}
SCALARS = {"float": np.float32, "double": np.float64, "int": np.int32}


def value(type_: str, slot: Array) -> object:
    """What a meaning gets for the bytes of one slot."""
    if type_.endswith("*"):
        return slot.view(np.float16 if "__m256i" in type_ else np.float32)
    if type_ == "__mmask16":
        return np.unpackbits(slot[:2], bitorder="little").astype(bool)
    if type_ in SCALARS:
        dtype = SCALARS[type_]
        return slot.view(dtype)[0]
    dtype, lanes = NUMPY[type_]
    return slot.view(dtype)[:lanes]


def to_bytes(type_: str, result: object) -> Array:
    if type_ == "__mmask16":
        return np.packbits(np.asarray(result), bitorder="little")
    if type_ in SCALARS:
        return np.array([result], SCALARS[type_]).view(np.uint8)
    return np.ascontiguousarray(result).view(np.uint8)


def expected(row: Intrinsic, immediates: tuple[int, ...], slots: list[Array]) -> Array:
    """Bytes of every case's result, or of the memory behind the pointer where one is stored to, by the meaning."""
    rows = []
    for case in range(CASES):
        numbers = iter(immediates)
        values = [
            next(numbers) if is_immediate(parameter) else value(parameter.type, slot[case])
            for parameter, slot in zip(row.parameters, slots, strict=True)
        ]
        with np.errstate(all="ignore"):
            result = row.meaning(*values)
        rows.append(to_bytes(row.result, result) if result is not None else np.zeros(0, np.uint8))
    return np.stack(rows)


def actual(library: ctypes.CDLL, row: Intrinsic, immediates: tuple[int, ...], slots: list[Array]) -> Array:
    """What the compiled intrinsic makes of the same slots; inputs that it must not write are checked."""
    size = (len(slots) + 1) * CASES * SLOT
    memory = np.zeros(size + 64, np.uint8)
    base: Array = memory[-memory.ctypes.data % 64 :][:size].reshape(len(slots) + 1, CASES, SLOT)
    for block, slot in zip(base, slots, strict=False):
        block[:] = slot
    pointers = (ctypes.c_void_p * (len(slots) + 1))(*(block.ctypes.data for block in base))
    out: Array = base[-1]
    getattr(library, symbol(row, immediates))(CASES, ctypes.c_void_p(out.ctypes.data), pointers)
    written = {i for i, p in enumerate(row.parameters) if row.result == "void" and p.type.endswith("*")}
    for index, slot in enumerate(slots):
        assert index in written or np.array_equal(base[index], slot), f"parameter {index} was overwritten"
    return np.asarray(base[written.pop()]) if written else out


def same(row: Intrinsic, left: Array, right: Array) -> Array:
    """Per case: whether both results agree, any NaN being as good as any other where arithmetic made it."""
    equal = left == right
    if row.result in {"__m512", "__m128d", "float", "double"} and not BIT_EXACT.search(row.name):
        wide = row.result in {"__m128d", "double"}
        a, b = (np.ascontiguousarray(x).view(np.float64 if wide else np.float32) for x in (left, right))
        both = np.isnan(a) & np.isnan(b)
        return np.asarray((equal.reshape(*both.shape, -1).all(axis=-1) | both).all(axis=1))
    return np.asarray(equal.all(axis=1))


def cases_of(row: Intrinsic, immediates: tuple[int, ...]) -> list[Array]:
    seed = sum(row.name.encode()) * 64 + sum(immediates)
    rng = np.random.default_rng(seed)
    return [draw(rng, row, parameter) for parameter in row.parameters]


def assert_agrees(library: ctypes.CDLL, *, extended: bool = True) -> None:
    compared = 0
    for row, immediates in calls(extended=extended):
        slots = cases_of(row, immediates)
        want = expected(row, immediates, slots)
        got = actual(library, row, immediates, slots)[:, : want.shape[1]]
        wrong = np.flatnonzero(~same(row, want, got))
        if len(wrong):
            case = wrong[0]
            told = [value(p.type, s[case]) for p, s in zip(row.parameters, slots, strict=True) if not is_immediate(p)]
            pytest.fail(
                f"{row.signature}, immediates {immediates}: {len(wrong)} of {CASES} cases differ; case {case}:\n"
                f"arguments {told}\n"
                f"meaning   {want[case].tobytes().hex(' ', 4)}\n"
                f"C         {got[case].tobytes().hex(' ', 4)}"
            )
        compared += want.shape[1] > 0
    assert compared > 100


def compilers() -> tuple[toolchain.Compiler, ...]:
    try:
        return toolchain.find_compilers()
    except CannotRunError:
        return ()


each_compiler = pytest.mark.parametrize("compiler", compilers(), ids=lambda c: f"{c.kind.value}")


@each_compiler
@pytest.mark.parametrize("optimize", ["-O0", "-O2"])
def test_soft_header_is_the_meaning(compiler: toolchain.Compiler, optimize: str) -> None:
    assert_agrees(build(compiler, toolchain.soft_flags(), optimize=optimize))


@each_compiler
@pytest.mark.parametrize("flags", [("-mfma",), ()], ids=["fused", "not-fused"])
def test_the_portable_library_is_the_meaning(
    compiler: toolchain.Compiler, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With products that the processor fuses, and with those that are put together of doubles."""
    if flags and not has_fma(compiler):
        pytest.skip("this processor has no fused products that it can be asked for")
    monkeypatch.setattr(portable, "has_fma", lambda _: bool(flags))
    library = toolchain.portable_library(compiler)
    assert library.flags[2:] == flags
    assert_agrees(build(compiler, [*library.flags, library.object], optimize="-O0"))


@each_compiler
def test_the_header_of_the_library_defines_no_intrinsic(compiler: toolchain.Compiler) -> None:
    """So no build translates one again; but what clang lets nobody else define."""
    text = (Path(toolchain.portable_library(compiler).object).parent / "immintrin.h").read_text("utf-8")
    assert set(DEFINED.findall(text)) == INLINE
    declared = set(re.findall(r"^\w[\w ]* (_mm\w+)\([^;{}]*\);", text, re.MULTILINE))
    assert declared == set(DEFINED.findall(HEADER.read_text("utf-8"))) - INLINE


@pytest.mark.native
@each_compiler
def test_hardware_is_the_meaning(compiler: toolchain.Compiler) -> None:
    if not toolchain.has_avx512(compiler):
        pytest.skip("this processor has no AVX-512F")
    extended = toolchain.has_bfloat16(compiler)
    assert_agrees(build(compiler, toolchain.NATIVE_FLAGS, extended=extended), extended=extended)


def test_header_is_the_table() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text("utf-8"), flags=re.DOTALL)
    functions = set(DEFINED.findall(text)) | set(re.findall(r"#define (_mm\w+)\(", text))
    constants = {name: int(number) for name, number in re.findall(r"\b(_(?:CMP|MM)_\w+) = (\d+)", text)}
    types = set(re.findall(r"\b(__m\w+);", text))
    assert functions == set(INTRINSICS)
    assert constants == intrinsics.CONSTANTS
    assert types == set(intrinsics.TYPES)
    assert set(re.findall(r"#define (__builtin\w+)", text)) == set(intrinsics.BUILTINS)
    assert set(re.findall(r"#define (__AVX\w+) 1", text)) == set(intrinsics.EXTENSIONS.values())
    assert {row.extension for row in INTRINSICS.values()} == {"", *intrinsics.EXTENSIONS}


def test_unknown_names_are_found() -> None:
    source = "__m512d x = _mm512_fmadd_pd(a, b, c); __m512 y = _mm512_setzero_ps(); _mm_prefetch(p, _MM_HINT_ET0);"
    assert intrinsics.unknown_names(source) == ("_MM_HINT_ET0", "__m512d", "_mm512_fmadd_pd")
    with pytest.raises(ValueError, match="_mm512_fmadd_pd"):
        intrinsics.check(source)
    intrinsics.check("__m512 y = _mm512_setzero_ps();")


def round_to_float32(exact: Fraction) -> float:
    """The nearest float32, ties to even, by search among neighbours."""
    near = np.float32(float(exact))
    candidates = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    distance = {float(c): abs(Fraction(float(c)) - exact) for c in candidates if np.isfinite(c)}
    least = min(distance.values())
    best = [c for c, d in distance.items() if d == least]
    return min(best, key=lambda c: int(np.float32(c).view(np.uint32)) & 1)


def hard_sums() -> Iterator[tuple[float, float, float]]:
    """Products that end on or just beside the middle between two floats, where rounding twice goes wrong."""
    one = 1.0 + 2.0**-23
    for scale, tiny in itertools.product((1.0, 2.0**-126, 2.0**-140, 2.0**100), (0.0, 2.0**-60, -(2.0**-60), 2.0**-30)):
        for a, b in ((one, 1.0 + 2.0**-12), (1.0 + 2.0**-12, 1.0 + 2.0**-12), (one, one), (3.0, 2.0**-25)):
            yield tiny, scale, a * b * scale
            yield a * scale, b, tiny * scale
            yield -a * scale, b, tiny * scale
            yield a, 2.0**-24 * scale, b * scale
            yield a, 2.0**-24 * scale, -b * scale
        # Half a unit of the last place of c, a little less and (2^46 + 1 = 8384513 * 8392705) a little more: the double
        # sum is exactly half way, and only the lost bits say which neighbour is right.
        for c in (one, 1.0, -one, -1.0):
            yield one, (1.0 - 2.0**-23) * 2.0**-24 * scale, c * scale
            yield 8384513.0 * 2.0**-35, 8392705.0 * 2.0**-35 * scale, c * scale
            yield -8384513.0 * 2.0**-35, 8392705.0 * 2.0**-35 * scale, c * scale


def test_fma_rounds_once() -> None:
    rng = np.random.default_rng(7)
    hard = np.array(list(hard_sums()))
    # Products of 12-bit mantissas meet the middle often.
    mantissas = 1 + rng.integers(1 << 12, size=(3, 20000)) / 2.0**12
    powers = 2.0 ** rng.integers(-26, 2, size=(3, 20000))
    signs = rng.choice([-1.0, 1.0], size=(3, 20000))
    a, b, c = np.concatenate([hard.T, mantissas * powers * signs], axis=1).astype(np.float32)
    got = intrinsics.fma(a, b, c)
    twice = (a.astype(np.float64) * b + c).astype(np.float32)
    checked = [*range(len(hard)), *np.flatnonzero(got != twice), *range(len(hard), len(a), 100)]
    assert np.count_nonzero(got != twice) > 10
    for i in checked:
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        assert float(got[i]) == round_to_float32(exact), (a[i], b[i], c[i])


@each_compiler
def test_soft_fma_rounds_once(compiler: toolchain.Compiler) -> None:
    library = build(compiler, toolchain.soft_flags())
    row = INTRINSICS["_mm512_fmadd_ps"]
    rng = np.random.default_rng(8)
    hard = np.array(list(hard_sums()), np.float32)
    slots = [np.zeros((CASES, SLOT), np.uint8) for _ in range(3)]
    for case in range(CASES):
        lanes = hard[rng.integers(len(hard), size=16)]
        for i in range(3):
            slots[i][case, :64] = np.ascontiguousarray(lanes[:, i]).view(np.uint8)
    want = expected(row, (), slots)
    assert np.array_equal(want, actual(library, row, (), slots)[:, :64])


PAIRS = (
    # sum, upper factors, lower factors; the result
    ((1.0, 3.0, 5.0, 7.0, 11.0), 93.0),
    ((-(2.0**24), 2.0**12, 2.0**12, 1.0, 1.0), 1.0),  # upper products first: the other order loses the lower one
    ((2.0**24, 1.0, 1.0, 1.0, 1.0), 2.0**24),  # each sum is rounded: 2^24 + 1 is a tie, twice
    ((2.0**24, 2.0**-12, 2.0**-12, 1.0 + 2.0**-7, 1.0), 2.0**24 + 2.0),  # the first is lost, the second more than a tie
    ((0.0, 2.0**-64, 2.0**-63, 0.0, 0.0), 0.0),  # a subnormal result is none
    ((2.0**-126, 2.0**-64, 2.0**-63, 0.0, 0.0), 1.5 * 2.0**-126),  # but a normal one of subnormal parts is
    ((2.0**-127, 0.0, 0.0, 1.0, 2.0**-126), 2.0**-126),  # subnormal arguments are zeros
    ((1.0, 2.0**-127, 2.0**127, 0.0, 0.0), 1.0),
)


@each_compiler
@pytest.mark.parametrize("soft", [True, pytest.param(False, marks=pytest.mark.native)])
def test_sums_of_pairs_by_hand(compiler: toolchain.Compiler, soft: bool) -> None:  # noqa: FBT001
    """The order, the two roundings and the flushes of `_mm512_dpbf16_ps`, against numbers worked out by hand."""
    if not soft and not toolchain.has_bfloat16(compiler):
        pytest.skip("this processor has no AVX512_BF16")
    row = INTRINSICS["_mm512_dpbf16_ps"]
    slots = [np.zeros((CASES, SLOT), np.uint8) for _ in range(3)]
    for case, ((start, *factors), _) in enumerate(PAIRS):
        upper, upper2, lower, lower2 = (np.array([f], np.float32).view(np.uint32) >> 16 for f in factors)
        words = (np.array([start], np.float32), upper << 16 | lower, upper2 << 16 | lower2)
        for slot, word in zip(slots, words, strict=True):
            slot[case, :64] = np.repeat(word, 16).view(np.uint8)
    flags = toolchain.soft_flags() if soft else toolchain.NATIVE_FLAGS
    got = actual(build(compiler, flags), row, (), slots)[:, :64].copy().view(np.float32)
    wanted = np.array([result for _, result in PAIRS], np.float32)
    assert np.array_equal(got[: len(PAIRS)], np.repeat(wanted[:, np.newaxis], 16, axis=1))
    assert np.array_equal(expected(row, (), slots)[: len(PAIRS)].view(np.float32), got[: len(PAIRS)])


@each_compiler
def test_masked_accesses_touch_selected_lanes_only(compiler: toolchain.Compiler, tmp_path: Path) -> None:
    """The address sanitizer sees no access beyond the lanes a mask selects, and sees the first one that is."""
    source = r"""
    #include <immintrin.h>
    #include <stdlib.h>
    int main(int argc, char **argv) {
        float *p = malloc(5 * sizeof *p);
        const __mmask16 k = (__mmask16)(argc > 1 ? 0x3f : 0x1f);
        const __mmask16 scattered = (__mmask16)(argc > 1 ? 0xf3 : 0xf1);
        const int which = argc > 1 ? atoi(argv[1]) : -1;
        __m512 v = _mm512_set1_ps(1.0f);
        for (int i = 0; i < 5; i++) p[i] = 1.0f;
        if (which < 0 || which == 0) _mm512_mask_storeu_ps(p, k, v);
        if (which < 0 || which == 1) v = _mm512_maskz_loadu_ps(k, p);
        if (which < 0 || which == 2) v = _mm512_mask_loadu_ps(v, k, p);
        if (which < 0 || which == 3) _mm512_mask_compressstoreu_ps(p, scattered, v);
        if (which < 0 || which == 4) v = _mm512_maskz_expandloadu_ps(scattered, p);
        if (which >= 5) v = _mm512_loadu_ps(p);
        const float sum = _mm512_reduce_add_ps(v);
        free(p);
        return sum == 0.5f;
    }
    """
    arguments = [*toolchain.LANGUAGE_FLAGS, "-w", "-O1", *toolchain.soft_flags(), "-fsanitize=address", "touch.c"]
    try:
        path = toolchain.build(compiler, {"touch.c": source}, arguments, "touch").path
    except toolchain.BuildError as error:
        if "asan" not in error.text:
            raise
        pytest.skip("no address sanitizer beside this compiler")
    status, text, _ = toolchain.run_bounded([str(path)], timeout=60, cwd=tmp_path)
    assert status == 0, text
    for which in range(6):
        status, text, _ = toolchain.run_bounded([str(path), str(which)], timeout=60, cwd=tmp_path)
        assert "heap-buffer-overflow" in text, (which, status, text)
