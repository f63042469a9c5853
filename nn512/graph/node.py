"""What every node of a graph answers, whatever its kind; most of it follows from the fields of its dataclass."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, NamedTuple, Self

from nn512.graph.fields import REQUIRED, SELECTOR, FieldInfo, ValueType, field_table
from nn512.graph.moments import Moments
from nn512.graph.source import Span


class Shape(NamedTuple):
    """Extent of a tensor: channels, height, width (the batch is always 1)."""

    channels: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Spatial positions, height times width."""
        return self.height * self.width

    @property
    def elements(self) -> int:
        """Channels times height times width."""
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


class Spans(NamedTuple):
    """Where a node's kind and the values of its fields (by field name; only those written) stand in the source."""

    kind: Span
    fields: Mapping[str, Span]


class Mistake(NamedTuple):
    """Why a node does not fit the tensors it reads, and the name of the field to blame."""

    field: str
    message: str


class Distribution(enum.Enum):
    """What a parameter is for, and so what random values it gets."""

    WEIGHTS = "normal; their variance is 2 / fan-in, the elements of one output"
    BIASES = "normal and small beside the values that the layer reads"
    MEANS = "near the mean of what the layer reads"
    VARIANCES = "near the variance of what the layer reads"
    SCALES = "positive, around 1"
    SHIFTS = "normal, around 0"
    SLOPES = "between 0 and 1/2"


class ParameterKind(NamedTuple):
    """A parameter tensor that the nodes of a kind have: what its name appends to that of the node's tensor."""

    suffix: str
    distribution: Distribution
    goes_with: tuple[str, ...] = ()  # the choices of Kind that have it; empty where all do


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter tensor: a field of the Params struct."""

    name: str
    shape: tuple[int, ...]
    owner: Layer
    distribution: Distribution

    @property
    def elements(self) -> int:
        """Number of floats."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph. A kind is a frozen dataclass of fields that `nn512.graph.fields` declares.

    Names of tensors are those of the fields declared as tensors. A kind says only what its fields do not tell: its
    shape, its parameters, its work, its words.
    """

    PARAMETERS: ClassVar[tuple[ParameterKind, ...]] = ()
    """The parameter tensors of nodes of this kind."""

    spans: Spans | None = field(default=None, compare=False, repr=False, kw_only=True)
    """Where the node stands in a text, if it was read from one; equal nodes may stand in different places."""

    def __post_init__(self) -> None:
        """Give the fields that were left out and depend on others their values.

        Raises TypeError for a missing field, ValueError for one that the node's Kind does not have.
        """
        late = field_table(type(self)).late
        choice = self.choice if late else None
        for info in late:
            value = getattr(self, info.attribute)
            applies = info.applies(choice)
            if value is None:
                value = self._absent(info, choice) if applies else self.stands_in(info)
                object.__setattr__(self, info.attribute, value)
            elif not applies and value != self.stands_in(info):
                raise ValueError(misplaced(info, choice))

    def _absent(self, info: FieldInfo, choice: str | None) -> object:
        if info.like is not None:
            return getattr(self, info.like)
        default = info.default_with(choice)
        if default is REQUIRED:
            raise TypeError(f"{type(self).__name__} {SELECTOR}={choice} needs {info.name}")
        return default

    def stands_in(self, info: FieldInfo) -> object:
        """What the attribute of a field holds that this node's Kind does not have: zero, so that equals are equal."""
        return 0.0 if info.type is ValueType.NUMBER else 0

    @property
    def choice(self) -> str | None:
        """The value of the field Kind; None where there is no such field."""
        selector = field_table(type(self)).selector
        return None if selector is None else getattr(self, selector)

    @property
    def parameter_kinds(self) -> tuple[ParameterKind, ...]:
        """Those of PARAMETERS that this node has."""
        if not self.PARAMETERS:
            return ()
        return tuple([kind for kind in self.PARAMETERS if not kind.goes_with or self.choice in kind.goes_with])

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the tensors this node reads, in field order. A tensor may be there twice."""
        names = [getattr(self, info.attribute) for info in field_table(type(self)).reads]
        return tuple([name for name in names if name is not None])

    @property
    def writes(self) -> str | None:
        """Name of the tensor this node produces, if it does."""
        written = field_table(type(self)).writes
        return None if written is None else getattr(self, written.attribute)

    @property
    def key(self) -> Hashable:
        """What this node does, however it is spelled, without the names of its tensors.

        Nodes of the same key compute the same from the same tensors and parameters. Every field is in it, so that a new
        one cannot be forgotten.
        """
        return (type(self), *(getattr(self, attribute) for attribute in field_table(type(self)).meaning))

    def renamed(self, names: Mapping[str, str]) -> Self:
        """This node with tensors under other names; those that `names` does not have keep theirs."""
        table = field_table(type(self))
        tensors = [*table.reads, table.writes] if table.writes else table.reads
        given: dict[str, Any] = {info.attribute: getattr(self, info.attribute) for info in tensors}
        changes: dict[str, Any] = {attribute: names[name] for attribute, name in given.items() if name in names}
        return dataclasses.replace(self, **changes) if changes else self

    def with_tensors(self, reads: Sequence[str], writes: str | None = None) -> Self:
        """This node reading other tensors, as many as before, in field order, and perhaps producing another one."""
        table = field_table(type(self))
        given = [info.attribute for info in table.reads if getattr(self, info.attribute) is not None]
        changes: dict[str, Any] = dict(zip(given, reads, strict=True))
        if writes is not None:
            if table.writes is None:
                raise ValueError(f"{type(self).__name__} produces no tensor")
            changes[table.writes.attribute] = writes
        return dataclasses.replace(self, **changes)

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:  # noqa: ARG002 - most kinds fit everything
        """Why this node does not fit the tensors it reads, whose shapes are given."""
        return iter(())

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """Shape of the tensor this node produces, from those it reads; for nodes without mistakes."""
        raise NotImplementedError(type(self).__name__)

    def describe(self) -> str:
        """A few words: kind, the tensor that is produced, what is not the default."""
        return f"{type(self).__name__} {self.writes}"


@dataclass(frozen=True, slots=True)
class Layer(Node):
    """A node that computes a tensor from others: every kind but Config, Input and Output."""

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> tuple[tuple[int, ...], ...]:  # noqa: ARG002
        """Shapes of the tensors that `parameter_kinds` lists, from those of the tensors that are read."""
        return ()

    def parameters(self, shapes: Mapping[str, Shape]) -> tuple[Parameter, ...]:
        """The parameter tensors; `shapes` must hold the tensors that are read."""
        pairs = zip(self.parameter_kinds, self.parameter_shapes(shapes), strict=True)
        return tuple(Parameter(f"{self.writes}{k.suffix}", shape, self, k.distribution) for k, shape in pairs)

    def multiply_accumulates(self, shapes: Mapping[str, Shape]) -> int:  # noqa: ARG002 - most kinds do none
        """Multiply-accumulate operations by the definition of the layer (padding counted, as is customary)."""
        return 0

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:
        """Roughly how the values of the result are spread, where those read are so and parameters are random."""
        raise NotImplementedError(type(self).__name__)


def misplaced(info: FieldInfo, choice: str | None) -> str:
    """What to say about a field that a node of this Kind does not have."""
    homes = " or ".join(f"{SELECTOR}={home}" for home in info.goes_with)
    return f"{info.name} goes with {homes}, not with {SELECTOR}={choice}"
