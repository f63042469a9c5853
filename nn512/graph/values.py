"""Reads the text after `Field=`, and writes it back."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import assert_never

from nn512.graph.diagnostics import quote
from nn512.graph.fields import FieldInfo, ValueType
from nn512.graph.suggest import close_match, did_you_mean

LONGEST_NAME = 200
"""Most letters of a tensor's name or a prefix: file names and C compilers have limits too."""

_LONGEST_NUMBER = 400  # enough for the shortest exact text of every float64
_FLOAT32_OVERFLOW = 2.0**128 - 2.0**103  # from here on a float64 rounds to infinity in float32

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_INTEGER = re.compile(r"0|[1-9][0-9]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_SIZE = re.compile(r"([1-9][0-9]*)([kKmM](?:[iI]?[bB])?)?")
_LEADING_ZEROS = re.compile(r"[+-]?0[0-9]+")


class BadValueError(ValueError):
    """A field's value cannot be read; the message says why."""


def read_value(info: FieldInfo, text: str) -> str | int | float:
    """The value of a field, or BadValueError. Its cost is bounded however long `text` is."""
    if not text:
        message = f"{info.name} has no value; expected {info.type.value}"
        raise BadValueError(message)
    match info.type:
        case ValueType.NAME:
            return _read_name(info, text)
        case ValueType.POSITIVE | ValueType.NATURAL:
            return _read_integer(info, text)
        case ValueType.NUMBER:
            return _read_number(info, text)
        case ValueType.SIZE:
            return _read_size(info, text)
        case ValueType.CHOICE:
            return _read_choice(info, text)
        case _:
            assert_never(info.type)


def format_value(info: FieldInfo, value: str | float) -> str:
    """The text that `read_value` reads as `value`."""
    match info.type:
        case ValueType.NUMBER:
            number = Decimal(repr(float(value)))
            text = format(number, "f") if number.is_finite() else str(number)
            return text.removesuffix(".0")
        case ValueType.SIZE if isinstance(value, int) and value > 0:
            for unit, suffix in ((1 << 20, "MiB"), (1 << 10, "KiB")):
                if value % unit == 0:
                    return f"{value // unit}{suffix}"
            return str(value)
        case _:
            return str(value)


def _unlike(info: FieldInfo, text: str, hint: str = "") -> BadValueError:
    return BadValueError(f"{info.name} must be {info.type.value}, not {quote(text)}{hint}")


def _read_name(info: FieldInfo, text: str) -> str:
    if not _NAME.fullmatch(text):
        raise _unlike(info, text)
    if len(text) > LONGEST_NAME:
        message = f"{info.name} is {len(text)} characters long; at most {LONGEST_NAME} are allowed"
        raise BadValueError(message)
    return text


def _read_integer(info: FieldInfo, text: str) -> int:
    if not _INTEGER.fullmatch(text) or (text == "0" and info.type is ValueType.POSITIVE):
        raise _unlike(info, text, " (no leading zeros)" if _LEADING_ZEROS.fullmatch(text) else "")
    # Comparing lengths first keeps a million digits from being converted.
    if len(text) > len(str(info.limit)) or int(text) > info.limit:
        message = f"{info.name} is {quote(text)}, too large; it must be at most {info.limit}"
        raise BadValueError(message)
    return int(text)


def _read_number(info: FieldInfo, text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        message = f"{info.name} is {len(text)} characters long; at most {_LONGEST_NUMBER} are allowed"
        raise BadValueError(message)
    if not _NUMBER.fullmatch(text):
        raise _unlike(info, text)
    value = float(text)
    if abs(value) >= _FLOAT32_OVERFLOW:
        message = f"{info.name} is {quote(text)}, too large for a 32-bit floating point number"
        raise BadValueError(message)
    if info.least is not None and value < info.least:
        message = f"{info.name} must {'not be negative' if info.least == 0 else f'be at least {info.least:g}'}"
        raise BadValueError(message)
    return value


def _read_size(info: FieldInfo, text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise _unlike(info, text)
    digits, suffix = found.groups(default="")
    unit = {"": 1, "k": 1 << 10, "m": 1 << 20}[suffix[:1].lower()]
    if len(digits) > len(str(info.limit)) or int(digits) * unit > info.limit:
        message = f"{info.name} is {quote(text)}, too large; it must be at most {info.limit} bytes"
        raise BadValueError(message)
    return int(digits) * unit


def _read_choice(info: FieldInfo, text: str) -> str:
    if text not in info.choices:
        listed = ", ".join(info.choices)
        message = f"{info.name} must be {'one of ' if len(info.choices) > 1 else ''}{listed}, not {quote(text)}"
        raise BadValueError(message + did_you_mean(close_match(text, info.choices)))
    return text
