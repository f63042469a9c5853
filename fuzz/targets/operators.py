"""Ways to break C, one operator per fault: what goes wrong in kernels, packing, threads and engines.

An operator is a pattern and what to put in its place. Patterns see lines of code in which comments and strings are
spaces. What a change of the object code does not show is no fault; `fuzz.mutation.equivalent` sorts that out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ARGUMENT = r"(?:[^(),;]|\((?:[^();]|\((?:[^();]|\([^();]*\))*\))*\))+"
"""One argument of a call: no comma outside of parentheses, which are nested three deep at most."""

_TABLE = r"^\s*(?:static |const )*(?:\w+ )+\**\w+(?:\[[^\]]*\])+(?:, \w+(?:\[[^\]]*\])+)*;"
"""The declaration of an array. One that is larger is no fault."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One way to break C. `replacement` may refer to groups of `pattern`, as for `re.sub`.

    Lines in which `but` is found are spared.
    """

    name: str
    pattern: re.Pattern[str]
    replacement: str
    but: re.Pattern[str] | None = None


def _operator(name: str, pattern: str, replacement: str, but: str = "") -> Operator:
    return Operator(name, re.compile(pattern), replacement, re.compile(but) if but else None)


def _swapped(name: str, one: str, other: str) -> tuple[Operator, Operator]:
    """An operator each way between two words of the intrinsics."""
    return (
        _operator(f"{name}: {one} to {other}", rf"\b(_mm512_(?:\w+_)?){one}(_\w+)?\(", rf"\1{other}\2("),
        _operator(f"{name}: {other} to {one}", rf"\b(_mm512_(?:\w+_)?){other}(_\w+)?\(", rf"\1{one}\2("),
    )


_INTEGER = r"(?<![\w.#])([1-9]\d*)(?![\w.])"
_DECLARATIONS = (
    r"|^\s*(?:char|int|float|double|unsigned|ptrdiff_t|size_t|void|u?int\d+_t|__m\w+|[A-Z]\w+)\b"
    r"[ *]+\w+(?:\[.*\])*(?:;|,| =)"
)
_HEADERS = (
    r"^\s*(?:(?:UNROLL|ROLLED)\s+)?"
    r"(?:if|for|while|else|return|do|\}|typedef|struct|enum|union|static|const|case)\b"
)
_SIZES = rf"{_TABLE}|\bArenaFloats\b|\bLayers\b|_at = \d"

OPERATORS: tuple[Operator, ...] = (
    # Threads.
    _operator("barrier removed", r"\bgate_(?:await|set)\([^;]*\);", r";", r"^static"),
    _operator("unlocked", r"\bpthread_mutex_(?:un)?lock\([^;]*\);", r";"),
    _operator("nobody woken", r"\bpthread_cond_broadcast\([^;]*\);", r";"),
    _operator("relaxed order", r"\b__ATOMIC_(?:SEQ_CST|ACQUIRE|ACQ_REL|RELEASE)\b", r"__ATOMIC_RELAXED"),
    # Sums.
    _operator("dropped tap", r"(\w[\w\[\].>-]*) = _mm512_(?:fmadd|dpbf16)_ps\([^;]*\);", r"\1 = \1;"),
    _operator("wrong constant", r"(?<![\w.])(-?\d+\.\d+(?:e[+-]\d+)?)f(?!\w)", r"(1.0001f * \1f)"),
    # Masks and lanes.
    _operator("widened mask", r"\(1u << (\w+)\) - 1\b", r"(2u << \1) - 1"),
    _operator("narrowed mask", r"\(1u << (\w+|\([^()]*\))\) - 1\b", r"(1u << \1) / 2 - 1"),
    _operator("mask without its first lane", r"\(1u << (\w+|\([^()]*\))\) - 1\b", r"(1u << \1) - 2"),
    _operator("unmasked load", rf"\b_mm512_maskz_loadu_ps\({_ARGUMENT}, ", r"_mm512_loadu_ps("),
    _operator("unmasked store", rf"\b_mm512_mask_storeu_ps\(({_ARGUMENT}), {_ARGUMENT}, ", r"_mm512_storeu_ps(\1, "),
    _operator("unmasked edge", r"inside \? (lanes|0xffff) : 0;", r"\1;"),
    _operator("unwritten lane", r"\b_mm512_storeu_ps\(([^,;]+),", r"_mm512_mask_storeu_ps(\1, 0x7fff,"),
    # Bounds.
    _operator("short tile", r"\b(for \(int p = \d+; p < )(\d+|pixels(?: - \d+)?)(; p\+\+\))", r"\1\2 - 1\3"),
    _operator("narrow edge", r"< (height|width);", r"< \1 - 1;"),
    _operator("wide edge", r"< (height|width);", r"<= \1;"),
    _operator("one turn more", r"(\bfor \([^;]*; [^;]*?<) ([^;&]+;)", r"\1= \2"),
    _operator("one turn less", r"(\bfor \([^;]*; [^;]*?< )([^;&]+)(;)", r"\1\2 - 1\3"),
    _operator("begun late", r"(\bfor \((?:int|ptrdiff_t) \w+ = )([^;,]+)", r"\1 1 + \2"),
    _operator("overhang written", r"if \(\w == (rows|columns)\) (return|break);", r";"),
    # Offsets and addresses.
    _operator("shifted tile", r"((?:\btile|\bn) [/%] \d+ \* \d+(?: - \d+)?)(?=[,;])", r"\1 + 1"),
    _operator("load past the end", rf"\b(_mm512_loadu_ps)\(({_ARGUMENT})\)", r"\1(1 + (\2))"),
    _operator("masked load past the end", rf"\b(_mm512_maskz_loadu_ps\({_ARGUMENT},) ({_ARGUMENT})\)", r"\1 1 + (\2))"),
    _operator("store past the end", rf"\b(_mm512_(?:mask_)?storeu_ps)\(({_ARGUMENT}),", r"\1(1 + (\2),"),
    _operator("wrong element", r"(?<=\w)\[([a-z]\w*(?: [+*-] \w+)*)\](?! *=)", r"[1 + \1]", _TABLE),
    # Numbers.
    _operator("raised number", _INTEGER, r"(\1 + 1)", _SIZES),
    _operator("lowered number", _INTEGER, r"(\1 - 1)"),
    _operator("changed bits", r"\b(0x[0-9a-f]+)\b", r"(\1 ^ 1)"),
    # Operators.
    _operator("minus for plus", r"(?<=[\w)\]]) \+ (?=[\w(*])", r" - "),
    _operator("plus for minus", r"(?<=[\w)\]]) - (?=[\w(*])", r" + "),
    _operator("plus for times", r"(?<=[\w)\]]) \* (?=[\w(])", r" + "),
    _operator("times for divided", r"(?<=[\w)\]]) / (?=[\w(])", r" * "),
    _operator("divided for rest", r"(?<=[\w)\]]) % (?=[\w(])", r" / "),
    _operator("added for assigned", r"(?<=[\w\])]) \+= ", r" -= "),
    _operator("at most for less", r"(?<=[\w)\]]) < (?=[\w(-])", r" <= ", r"\bfor \("),
    _operator("less for at most", r"(?<=[\w)\]]) <= ", r" < "),
    _operator("at least for greater", r"(?<=[\w)\]]) > (?=[\w(-])", r" >= "),
    _operator("greater for at least", r"(?<=[\w)\]]) >= ", r" > "),
    _operator("unequal for equal", r" == ", r" != "),
    _operator("equal for unequal", r" != ", r" == "),
    _operator("or for and", r" && ", r" || "),
    _operator("and for or", r" \|\| ", r" && "),
    _operator("condition turned", r"\bif \(((?:[^()]|\([^()]*\))+)\)", r"if (!(\1))"),
    _operator("choice turned", rf" \? ({_ARGUMENT}?) : ({_ARGUMENT}?)(?=[,;)])", r" ? \2 : \1"),
    # Intrinsics.
    *_swapped("sign", "fmadd", "fnmadd"),
    *_swapped("other bound", "max", "min"),
    *_swapped("other operation", "add", "sub"),
    *_swapped("other operation", "mul", "div"),
    *_swapped("other half", "unpacklo", "unpackhi"),
    _operator("power left out", r"\b_mm512_scalef_ps\(", r"_mm512_mul_ps("),
    _operator("sign kept", rf"\b_mm512_abs_ps\(({_ARGUMENT})\)", r"(\1)"),
    _operator("equal taken for less", r"\b_CMP_LT_", r"_CMP_LE_"),
    _operator("less alone", r"\b_CMP_LE_", r"_CMP_LT_"),
    _operator("NaN taken", r"\b(_CMP_(?:LT|LE)_)OQ", r"\1UQ"),
    _operator("NaN not taken", r"\b_CMP_ORD_Q\b", r"_CMP_UNORD_Q"),
    _operator(
        "swapped operands",
        rf"\b(_mm512_(?:sub|div|max|min|unpacklo|unpackhi)_ps)\(({_ARGUMENT}), ({_ARGUMENT})\)",
        r"\1(\3, \2)",
    ),
    _operator(
        "swapped arguments",
        rf"(?<![\w.])(?!_)([a-z]\w+\({_ARGUMENT}, )({_ARGUMENT}), ({_ARGUMENT})",
        r"\1\3, \2",
        _HEADERS,
    ),
    # Statements.
    _operator(
        "dropped statement",
        r"^(\s*)(?!return\b|break\b|continue\b)[a-zA-Z_*(][^;{}]*;$",
        r"\1;",
        _HEADERS + _DECLARATIONS,
    ),
    _operator(
        "dropped work",
        r"(\b(?:if|for) \((?:[^()]|\([^()]*\))*\)) (?!return\b|continue\b|break\b|UNROLL\b|ROLLED\b)[a-z_][^;{}]*;$",
        r"\1 (void)0;",
    ),
    _operator("dropped exit", r"\b(?:break|continue|return);", r";"),
)
"""All operators. Another one is a line here, and a test that it finds a place."""
