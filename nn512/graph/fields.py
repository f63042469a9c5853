"""The field table: what the language knows about each field of a node kind, declared where the field is.

A kind is a dataclass whose fields are made by the functions here. The parser, the printer, the manual and the base
class of nodes work from `field_table(kind)` alone, so that no other file has to hear of a new kind or field.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from types import MappingProxyType
from typing import Any, NamedTuple

MAX_SIZE = 2**31 - 1
"""Most channels, rows or columns of a tensor."""

MAX_GEOMETRY = 2**16
"""Largest filter, stride, padding or dilation: far beyond any use, and small enough for worriless arithmetic."""

MAX_CACHE = 2**40
"""Largest cache, in bytes."""

SELECTOR = "Kind"
"""Name of the field whose choices have fields of their own."""

REQUIRED = MISSING
"""In place of a default: the field must be written."""

_ENDS = {
    "Top": ("padding_h", "Rows of padding above."),
    "Bottom": ("padding_h", "Rows of padding below."),
    "Left": ("padding_w", "Columns of padding left."),
    "Right": ("padding_w", "Columns of padding right."),
}

_ALWAYS: Mapping[str, Any] = MappingProxyType({})


class ValueType(enum.Enum):
    """How the text after `Field=` is read."""

    NAME = "a letter, then letters and digits"
    POSITIVE = "a decimal integer of at least 1"
    NATURAL = "a decimal integer of at least 0"
    NUMBER = "a decimal number such as -0.5 or 3"
    SIZE = "a positive integer, optionally with k, KB, KiB, m, MB or MiB in upper or lower case"
    CHOICE = "one of the listed words"


class TensorUse(enum.Enum):
    """What a node does with the tensor that a field names."""

    READ = enum.auto()
    WRITTEN = enum.auto()


class FieldInfo(NamedTuple):
    """What the language knows about one field of a node kind."""

    attribute: str
    name: str
    type: ValueType
    doc: str
    default: Any  # REQUIRED where the field must be given; None for a tensor that need not be
    choices: tuple[str, ...]
    limit: int  # largest value of an integer or a size
    tensor: TensorUse | None  # for names of tensors
    least: float | None  # smallest value of a number
    meanings: Mapping[str, str]  # of choices, where they need words
    goes_with: Mapping[str, Any]  # choices of Kind to the default with each; empty for fields of all choices
    like: str | None  # the attribute whose value stands in where this one is not given
    terse: bool  # printed only where it is not the default
    shorthand: bool  # it means nothing but what the fields hold that are like it

    @property
    def required(self) -> bool:
        """Whether the user must write the field, whatever its node's Kind."""
        return self.default is REQUIRED and not self.goes_with

    def applies(self, choice: str | None) -> bool:
        """Whether a node of this Kind has the field."""
        return not self.goes_with or choice in self.goes_with

    def default_with(self, choice: str | None) -> Any:
        """What stands where a node of this Kind does not give the field; REQUIRED where it must."""
        return self.goes_with.get(choice, REQUIRED) if self.goes_with and choice is not None else self.default


class FieldTable(NamedTuple):
    """The fields of one kind of node, looked up in all the ways that are needed often."""

    infos: tuple[FieldInfo, ...]  # in documented order
    reads: tuple[FieldInfo, ...]
    writes: FieldInfo | None
    choosy: tuple[FieldInfo, ...]  # those that only some choices of Kind have
    late: tuple[FieldInfo, ...]  # those whose default depends on other fields
    selector: str | None  # attribute of Kind
    meaning: tuple[str, ...]  # attributes of everything but names of tensors, places in a text, and shorthands


_tables: dict[type, FieldTable] = {}


def field_table(kind: type) -> FieldTable:
    """The table of a node kind, from its dataclass fields; the same one every time."""
    table = _tables.get(kind)
    if table is None:
        table = _tables[kind] = _tabulate(kind)
    return table


def _tabulate(kind: type) -> FieldTable:
    infos = tuple(FieldInfo(f.name, **f.metadata) for f in fields(kind) if f.metadata)
    silent = {info.attribute for info in infos if info.tensor is not None or info.shorthand}
    written = [info for info in infos if info.tensor is TensorUse.WRITTEN]
    return FieldTable(
        infos=infos,
        reads=tuple(info for info in infos if info.tensor is TensorUse.READ),
        writes=written[0] if written else None,
        choosy=tuple(info for info in infos if info.goes_with),
        late=tuple(info for info in infos if info.goes_with or info.like is not None),
        selector=next((info.attribute for info in infos if info.name == SELECTOR), None),
        meaning=tuple(f.name for f in fields(kind) if f.compare and f.name not in silent),
    )


def field_infos(kind: type) -> tuple[FieldInfo, ...]:
    """The fields of a node kind in documented order."""
    return field_table(kind).infos


# --- declarations ---------------------------------------------------------------------------------------------------


def declare(
    name: str,
    type_: ValueType,
    doc: str,
    default: Any = REQUIRED,
    *,
    choices: Mapping[str, str] | tuple[str, ...] = (),
    limit: int = MAX_SIZE,
    tensor: TensorUse | None = None,
    least: float | None = None,
    goes_with: Mapping[str, Any] = _ALWAYS,
    like: str | None = None,
    terse: bool = False,
    shorthand: bool = False,
    kw_only: bool = False,
) -> Any:
    """A field of the language. `choices` are words, or words with their meanings.

    A field that `goes_with` some choices of Kind, or is `like` another one, gets its default when its node is made;
    `dataclasses.replace` of the other field then leaves it as it is. One that is `kw_only` has no place among the
    arguments of its kind, so that those behind it keep theirs.
    """
    late = bool(goes_with) or like is not None
    if like is not None:
        default = None
    return field(
        default=None if late else default,
        kw_only=kw_only,
        metadata={
            "name": name,
            "type": type_,
            "doc": doc,
            "default": default,
            "choices": tuple(choices),
            "limit": limit,
            "tensor": tensor,
            "least": least,
            "meanings": choices if isinstance(choices, Mapping) else _ALWAYS,
            "goes_with": goes_with,
            "like": like,
            "terse": terse,
            "shorthand": shorthand,
        },
    )


def geometry(name: str, type_: ValueType, doc: str, default: Any = REQUIRED, **rest: Any) -> Any:
    """A field that counts rows or columns of a filter, a stride, a padding or a dilation."""
    return declare(name, type_, doc, default, limit=MAX_GEOMETRY, **rest)


def padding_along(axis: str, doc: str) -> Any:
    """The field PaddingH or PaddingW: what stands at both ends of an axis where those have no fields of their own."""
    return geometry(f"Padding{axis}", ValueType.NATURAL, doc, 0, shorthand=True)


def padding_at(end: str, *, kw_only: bool = False) -> Any:
    """The field of the padding at one end of an axis: Top, Bottom, Left or Right."""
    attribute, doc = _ENDS[end]
    return geometry(f"Padding{end}", ValueType.NATURAL, doc, like=attribute, kw_only=kw_only)


def cache_size(name: str, doc: str, default: int) -> Any:
    """A field that is the size of a cache."""
    return declare(name, ValueType.SIZE, doc, default, limit=MAX_CACHE)


def read_tensor(
    name: str = "FromTensor", doc: str = "The tensor this node reads.", *, optional: bool = False, kw_only: bool = False
) -> Any:
    """A field that names a tensor the node reads; its attribute is None where that is optional and left out."""
    default = None if optional else REQUIRED
    return declare(name, ValueType.NAME, doc, default, tensor=TensorUse.READ, kw_only=kw_only)


def written_tensor() -> Any:
    """The field that names the tensor the node produces."""
    doc = "The tensor this node produces. Each tensor has exactly one producer."
    return declare("ToTensor", ValueType.NAME, doc, tensor=TensorUse.WRITTEN)
