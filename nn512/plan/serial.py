"""The plan as JSON and back, and the documentation of the file, all from the dataclasses of `nn512.plan.plan`."""

from __future__ import annotations

import dataclasses
import json
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from nn512.errors import UsageError
from nn512.plan.plan import SCHEMA, Plan

_WIDTH = 96


def plan_json(plan: Plan) -> str:
    """Text of `<Prefix>.plan.json`."""
    return json.dumps({"schema": SCHEMA, **dataclasses.asdict(plan)}, indent=1) + "\n"


def parse_plan(text: str, origin: str) -> Plan:
    """The plan in a text read from `origin`. Raises UsageError where it is none, or one of another version."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{origin}: no plan: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise UsageError(f"{origin}: no plan of version {SCHEMA}, but of {found or 'none'}")
    del data["schema"]
    plan = _read(Plan, data, origin)
    assert isinstance(plan, Plan)
    return plan


def _read(kind: Any, data: object, where: str) -> Any:  # noqa: ANN401 - whatever type the fields have
    """`data` as a value of the type `kind`; UsageError says where in the file it is not."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _read_record(kind, data, where)
    if origin is tuple and isinstance(data, list):
        return tuple(_read(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(data))
    if origin in (dict, Mapping) and isinstance(data, dict):
        return {str(name): _read(arguments[1], value, f"{where}.{name}") for name, value in data.items()}
    if origin is types.UnionType:
        return None if data is None else _read(arguments[0], data, where)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is kind:  # exactly: True is no number
        return data
    raise UsageError(f"{where}: {str(data)[:40]!r} is not what a plan has there")


def _read_record(kind: type, data: object, where: str) -> Any:  # noqa: ANN401 - an instance of `kind`
    hints = typing.get_type_hints(kind)
    if not isinstance(data, dict) or set(data) != set(hints):
        strange = sorted(set(hints).symmetric_difference(data)) if isinstance(data, dict) else [str(data)[:40]]
        raise UsageError(f"{where}: fields of a plan are missing or unknown: {', '.join(strange)}")
    return kind(**{name: _read(hint, data[name], f"{where}.{name}") for name, hint in hints.items()})


def plan_manual() -> str:
    """What `<Prefix>.plan.json` holds, for `nn512 doc plan`."""
    start = (
        "<Prefix>.plan.json: what the compiler decided, as JSON. Its field `schema` is the version of this structure, "
        f"{SCHEMA}. `nn512 explain` says the same in words."
    )
    return "\n".join([textwrap.fill(start, _WIDTH), *_sections(Plan)]) + "\n"


def _sections(kind: Any) -> Iterator[str]:  # noqa: ANN401 - a dataclass
    """A section about a dataclass, then those about the dataclasses in it."""
    first = " ".join((kind.__doc__ or "").split("\n")[0].split())
    yield f"\n{kind.__name__}: {first}\n"
    inner: list[type] = []
    for name, hint in typing.get_type_hints(kind).items():
        doc = kind.__dataclass_fields__[name].metadata["doc"]
        yield f"    {name}".ljust(28) + textwrap.fill(doc, _WIDTH - 28, subsequent_indent=" " * 28)
        parts = (hint, *typing.get_args(hint))
        inner += [part for part in parts if dataclasses.is_dataclass(part) and isinstance(part, type)]
    for part in dict.fromkeys(inner):
        yield from _sections(part)
