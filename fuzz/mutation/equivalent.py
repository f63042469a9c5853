"""Mutants that change nothing: recognised by what a compiler makes of them, by traps that nothing reaches, and by bits.

Which element is read, written or multiplied is decided by shapes alone in most of the code. Where a mutant changes
just that, and results are bit for bit the same on numbers no two of which are alike, they are computed from the same
elements, whatever the data: a stride between blocks of which there is one, a bound beyond the last turn, the number of
a lane that has no channel.
"""

from __future__ import annotations

import re

from fuzz.run.build import fuzz_cache
from fuzz.targets import Sources
from fuzz.targets.mutants import Mutant
from nn512.toolchain import LANGUAGE_FLAGS, NATIVE_FLAGS, BuildError, Compiler, build

_LEVEL = "-O2"
"""It folds what is constant and removes parameters that nobody reads; -O1 does the latter only where it inlines."""

_WITHOUT_PREFETCHES = """\
#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200112L
#include <immintrin.h>
#undef _mm_prefetch
#define _mm_prefetch(address, hint) ((void)0)
"""

_PREFETCH_FIELD = re.compile(r"\.prefetch\w+ = [^,}]*$")
"""In front of a place: it stands in a number that only prefetches read."""

_SPEED = re.compile(
    r"\bSpinsBeforeSleep\b|\bgate->spins\b|\b_mm_pause\b"  # how long to spin before sleeping
    r"|\bMADV_HUGEPAGE\b|\bpage = |\? 64 : page\b"  # how large pages are, and what begins with one
    r"|__ATOMIC_ACQUIRE\) == value\) return;"  # whoever does not see it while it spins, sees it under the mutex
)
"""Lines that are there for speed alone; data of any alignment are read and written."""

_BY_DATA = frozenset({"widen_range", "half_exponent", "exponent_of", "power_of_two"})
"""Functions whose branches depend on parameters: what no data reach of them is a hole in the data."""

_BY_SHAPE = re.compile(r"Shared routines|Packing|Layer \d+:")
"""Parts of the file whose branches depend on shapes alone, other than in `_BY_DATA`."""


_TELLS = re.compile(r"\breturn message\(\s*\"[^\"]*\",\s[^;]*$")
"""From a statement up to a place: numbers that are told follow."""

_SHARED = re.compile(r"\brun_shared\(engine, \d")
"""A step of which threads have shares."""

_SIZES_OF_MEMORY = "Parameters, tensors"
"""Where sizes of arrays stand, and where tensors begin."""

_ON_NUMBERS = re.compile(
    r"wrong constant|sign\b|other (?:bound|operation)|power left out|equal taken|less alone|NaN|swapped operands"
)
"""Operators that change what is done to numbers, not with which."""

_LOOKS_AT_DATA = re.compile(r"_cmp|\bis(?:nan|inf|finite)\b|fabs|[<>]=? -?\d+\.\d|_(?:max|min)_epi|signbit")
"""In a function: what it does depends on numbers."""


def same_code(mutant: Mutant, compiler: Compiler) -> str:
    """Why a mutant is no bug, by its text and object code; "" where they do not say so."""
    if _SPEED.search(mutant.before) and mutant.operator != "relaxed order":
        return "changes speed alone"
    if _TELLS.search(mutant.text.source[mutant.text.statement_of(mutant.start) or mutant.start : mutant.start]):
        return "changes what a message says alone"
    if "team_check(" in mutant.before and not _SHARED.search(mutant.text.source):
        return "no step is shared by threads"
    if _PREFETCH_FIELD.search(mutant.before[: mutant.start - mutant.text.line_span(mutant.line)[0]]):
        return "prefetches other addresses"
    if _objects_equal(mutant, compiler, ""):
        return "the same object code"
    if "_mm_prefetch" in mutant.text.source and _objects_equal(mutant, compiler, _WITHOUT_PREFETCHES):
        return "prefetches other addresses"
    return ""


def decided_by_shape(mutant: Mutant) -> bool:
    """Whether the shapes of the net alone say if the changed statement is reached."""
    return _BY_SHAPE.match(mutant.section) is not None and mutant.function not in _BY_DATA


def changes_places_alone(mutant: Mutant) -> bool:
    """Whether a mutant can only change which elements are computed from which, and shapes alone say which those are."""
    if not (decided_by_shape(mutant) or mutant.section == _SIZES_OF_MEMORY) or _ON_NUMBERS.match(mutant.operator):
        return False
    return _LOOKS_AT_DATA.search(mutant.text.function_text(mutant.start)) is None


def _objects_equal(mutant: Mutant, compiler: Compiler, start: str) -> bool:
    made = [_object(sources, compiler, start) for sources in (mutant.unbroken, mutant.sources)]
    return made[0] is not None and made[0] == made[1]


def _object(sources: Sources, compiler: Compiler, start: str) -> bytes | None:
    """The object file; None where the source does not build."""
    files = {f"{sources.prefix}.h": sources.header, "unit.c": start + sources.source}
    arguments = (*LANGUAGE_FLAGS, *NATIVE_FLAGS, _LEVEL, "-w", "-c", "unit.c")
    try:
        return build(compiler, files, arguments, "unit.o", cache=fuzz_cache()).path.read_bytes()
    except BuildError:
        return None
