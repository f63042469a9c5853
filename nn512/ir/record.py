"""What operations are made of: fields that say what they are, and the answers that follow from that.

Every field of an operation is declared with its role: a tensor that is read or written, a graph node that is covered, a
chain of element-wise steps, or parts that are records themselves. What an operation reads, writes and covers, how it is
renamed and what makes two of them equal is derived from that here, for all of them at once. So a new operation, or a
new field, cannot be forgotten by a pass. Fields stand in the order of evaluation. A field without a role is a setting.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

from nn512.graph.nodes import Input, Layer, Output
from nn512.ir.steps import Chain, ElementwiseStep


class CoveredAs(enum.Enum):
    """As what an operation covers a graph node."""

    ITSELF = "what the operation computes"
    MERGED = "one more convolution of the same source"
    CALLER = "an input that is read as the caller has it"
    LOADED_PLANES = "an input that is copied without being put into blocks"
    SHUFFLED = "a shuffle of the source, part of the order of the weights"
    FOLDED_BEFORE = "a batch norm of the source, part of the weights"
    FOLDED_AFTER = "a batch norm of the result, part of the weights"
    ON_READING = "a step on what is read"
    IN_REGISTERS = "a step on the result while it is in registers"


class Covered(NamedTuple):
    """A graph node that an operation stands for, and as what."""

    node: Layer | Input | Output
    how: CoveredAs


class _Role(enum.Enum):
    READS = "name, or tuple of names, of tensors that are read"
    WRITES = "name of a tensor that is written"
    COVERS = "graph node, tuple of nodes, or None"
    CHAIN = "tuple of element-wise steps"
    RECORDS = "tuple of records"
    SETTING = "anything else"


READS: Mapping[str, Any] = {"role": _Role.READS}
"""Metadata of a field that names a tensor that is read, or several."""

WRITES: Mapping[str, Any] = {"role": _Role.WRITES}
"""Metadata of a field that names the tensor that is written."""

RECORDS: Mapping[str, Any] = {"role": _Role.RECORDS}
"""Metadata of a field that holds a tuple of records."""


def covers(how: CoveredAs = CoveredAs.ITSELF) -> Mapping[str, Any]:
    """Metadata of a field that holds a graph node, several, or None."""
    return {"role": _Role.COVERS, "how": how}


def chain(how: CoveredAs, first: CoveredAs | None = None) -> Mapping[str, Any]:
    """Metadata of a field that holds element-wise steps; `first` is what the first one is, if that is not `how`."""
    return {"role": _Role.CHAIN, "how": how, "first": first or how}


class _Declared(NamedTuple):
    name: str
    role: _Role
    how: CoveredAs
    first: CoveredAs


_declarations: dict[type[Record], tuple[_Declared, ...]] = {}  # by class, as `dataclasses.fields` is slow


def _declared(record: Record) -> tuple[_Declared, ...]:
    kind = type(record)
    if kind not in _declarations:
        _declarations[kind] = tuple(
            _Declared(
                f.name,
                f.metadata.get("role", _Role.SETTING),
                f.metadata.get("how", CoveredAs.ITSELF),
                f.metadata.get("first", CoveredAs.ITSELF),
            )
            for f in dataclasses.fields(record)
        )
    return _declarations[kind]


ChainFunction: TypeAlias = Callable[[Chain, tuple[str, ...]], Chain]


@dataclass(frozen=True, slots=True)
class Record:
    """Something whose fields have roles."""

    @property
    def tensors_read(self) -> tuple[str, ...]:
        """Names of the tensors that are read, operands of steps included; a name stands once for every time."""
        found: list[str] = []
        for name, role, _, _ in _declared(self):
            value = getattr(self, name)
            match role:
                case _Role.READS:
                    found.extend((value,) if isinstance(value, str) else value)
                case _Role.CHAIN:
                    found.extend(operand for step in value for operand in step.operands)
                case _Role.RECORDS:
                    found.extend(operand for record in value for operand in record.tensors_read)
                case _Role.WRITES | _Role.COVERS | _Role.SETTING:
                    pass
        return tuple(found)

    @property
    def tensors_written(self) -> tuple[str, ...]:
        """Names of the tensors that are written."""
        found: list[str] = []
        for name, role, _, _ in _declared(self):
            if role is _Role.WRITES:
                found.append(getattr(self, name))
            elif role is _Role.RECORDS:
                found.extend(tensor for record in getattr(self, name) for tensor in record.tensors_written)
        return tuple(found)

    @property
    def steps(self) -> Chain:
        """All element-wise steps, in the order of evaluation."""
        found: list[ElementwiseStep] = []
        for name, role, _, _ in _declared(self):
            if role is _Role.CHAIN:
                found.extend(getattr(self, name))
            elif role is _Role.RECORDS:
                found.extend(step for record in getattr(self, name) for step in record.steps)
        return tuple(found)

    def covered(self) -> Iterator[Covered]:
        """The graph nodes that this stands for, in the order of evaluation, each with how it does."""
        for name, role, how, first in _declared(self):
            value = getattr(self, name)
            match role:
                case _Role.COVERS if value is not None:
                    yield from (Covered(node, how) for node in (value if isinstance(value, tuple) else (value,)))
                case _Role.CHAIN:
                    yield from (Covered(s.node, how if number else first) for number, s in enumerate(value))
                case _Role.RECORDS:
                    for number, record in enumerate(value):
                        for node, own in record.covered():
                            yield Covered(node, CoveredAs.MERGED if number and own is CoveredAs.ITSELF else own)
                case _:
                    pass

    @property
    def nodes(self) -> tuple[Layer | Input | Output, ...]:
        """The graph nodes that this stands for, in the order of evaluation."""
        return tuple(node for node, _ in self.covered())

    def reading(self, names: Mapping[str, str]) -> Self:
        """The same with the tensors it reads renamed; `names` maps old names to new ones."""
        changes: dict[str, Any] = {}
        for name, role, _, _ in _declared(self):
            value = getattr(self, name)
            match role:
                case _Role.READS if isinstance(value, str):
                    changes[name] = names.get(value, value)
                case _Role.READS:
                    changes[name] = tuple(names.get(tensor, tensor) for tensor in value)
                case _Role.CHAIN:
                    changes[name] = tuple(step.reading(names) for step in value)
                case _Role.RECORDS:
                    changes[name] = tuple(record.reading(names) for record in value)
                case _Role.WRITES | _Role.COVERS | _Role.SETTING:
                    pass
        return dataclasses.replace(self, **changes)

    def with_chains(self, change: ChainFunction) -> Self:
        """The same with every chain changed; `change` gets a chain and the tensors written beside it."""
        changes: dict[str, Any] = {}
        own = tuple(getattr(self, name) for name, role, _, _ in _declared(self) if role is _Role.WRITES)
        for name, role, _, _ in _declared(self):
            value = getattr(self, name)
            if role is _Role.CHAIN:
                changes[name] = change(value, own)
            elif role is _Role.RECORDS:
                changes[name] = tuple(record.with_chains(change) for record in value)
        return dataclasses.replace(self, **changes)

    @property
    def key(self) -> Hashable | None:
        """What two records that compute the same have in common: everything but the names of what they produce.

        None for what is never equal to anything: it has parameters of its own, or is the caller's, or stands for no
        node and so has to do with places in memory.
        """
        nodes = self.nodes
        if not nodes or any(isinstance(node, Input | Output) or node.parameter_kinds for node in nodes):
            return None
        kind: type = type(self)
        found: list[Hashable] = [kind]
        for name, role, _, _ in _declared(self):
            value = getattr(self, name)
            match role:
                case _Role.WRITES:
                    pass
                case _Role.COVERS:
                    nodes = value if isinstance(value, tuple) else () if value is None else (value,)
                    found.append(tuple(node.key for node in nodes))
                case _Role.CHAIN:
                    found.append(tuple((step.key, step.operands) for step in value))
                case _Role.RECORDS:
                    found.append(tuple(record.key for record in value))
                case _Role.READS | _Role.SETTING:
                    found.append(value)
        return tuple(found)
