"""Index arithmetic as C text, as short as it can be written: nothing for a term that is 0."""

from __future__ import annotations

from collections.abc import Sequence


def times(index: str, factor: str) -> str:
    """`index * factor`; nothing for index 0."""
    if index == "0" or factor == "0":
        return ""
    if index.isdigit() and factor.isdigit():
        return str(int(index) * int(factor))
    return factor if index == "1" else index if factor == "1" else f"{index} * {factor}"


def minus(index: str, low: int) -> str:
    """`index - low`, in parentheses if anything is left to subtract."""
    return f"({index} - {low})" if low else index


def offset_from(pointer: str, terms: Sequence[str]) -> str:
    """`pointer + (terms)`: the offset is summed before it meets the pointer, which must not leave its array.

    Without a pointer, a sum of several terms in parentheses.
    """
    present = [term for term in terms if term]
    constant = sum(int(term) for term in present if term.isdigit())
    kept = [term for term in present if not term.isdigit()] + ([str(constant)] if constant else [])
    if not kept:
        return pointer or "0"
    offset = kept[0] if len(kept) == 1 else f"({' + '.join(kept)})"
    return f"{pointer} + {offset}" if pointer else offset


def element(array: str, index: str, factor: int) -> str:
    """`array + index * factor`, or `array` alone for index 0."""
    return array if index == "0" else f"{array} + {index} * {factor}"
