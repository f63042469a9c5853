"""What becomes of an ONNX operator: a rule, with the words that the support table has for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nn512.onnx.model import OnnxNode, show
from nn512.onnx.refusal import RefusedError
from nn512.onnx.work import Value, Work


@dataclass(frozen=True, slots=True)
class Rule:
    """How nodes of one operator are read.

    `read` gives what the node writes, or raises RefusedError. `becomes` says it in words; `attributes` are all that the
    operator may have, each with what of it is taken. A node with another attribute is refused.
    """

    operator: str
    read: Callable[[Work, OnnxNode], Value | Sequence[Value]]
    becomes: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    inputs: int = 1  # most of them

    def check(self, node: OnnxNode) -> None:
        """Raise RefusedError for an attribute that nobody here knows, and for an input too many."""
        if len(node.reads) > self.inputs:
            raise RefusedError(f"{len(node.reads)} inputs", f"{self.inputs} at most")
        for name, value in node.attributes.items():
            if name not in self.attributes:
                raise RefusedError(f"attribute {name}={show(value)} is unknown", self._known())

    def _known(self) -> str:
        return ", ".join(self.attributes) or "no attributes"


LARGEST = float(np.finfo(np.float32).max)
"""The largest finite number."""

MANY = 1 << 31
"""Inputs of operators that have any number of them."""

ANY = "any"
"""Of an attribute all of whose values are taken."""

IGNORED = "any; changes nothing"
"""Of an attribute that says nothing about the values computed here."""


def integer(node: OnnxNode, name: str, default: int) -> int:
    """An attribute that is an integer. Raises RefusedError for any other type."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise _of_type(name, value, "an integer")
    return value


def real(node: OnnxNode, name: str, default: float) -> float:
    """An attribute that is a number."""
    value = node.attributes.get(name, default)
    if not isinstance(value, float | int):
        raise _of_type(name, value, "a number")
    return float(value)


def integers(node: OnnxNode, name: str, default: Sequence[int] | None) -> tuple[int, ...] | None:
    """An attribute that is a list of integers; `default` where it is not there."""
    value: Any = node.attributes.get(name)
    if value is None:
        return None if default is None else tuple(default)
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise _of_type(name, value, "a list of integers")
    return value


def text(node: OnnxNode, name: str, default: str) -> str:
    """An attribute that is a text."""
    value = node.attributes.get(name, default)
    if not isinstance(value, str):
        raise _of_type(name, value, "a text")
    return value


def need(name: str, value: object, *accepted: object) -> None:
    """Raise RefusedError for an attribute with a value that is none of those accepted."""
    if value not in accepted:
        raise RefusedError(f"{name}={show(value)}", " or ".join(f"{name}={show(a)}" for a in accepted))


def one_output(node: OnnxNode, what: str) -> None:
    """Raise RefusedError where a node has outputs beside the first."""
    if any(node.writes[1:]):
        raise RefusedError(f"{what} ({next(filter(None, node.writes[1:]))!r})", "only the first output")


def axis_of(axis: int, rank: int) -> int:
    """An axis that may be counted from behind. Raises RefusedError beyond the rank."""
    if not -rank <= axis < rank:
        raise RefusedError(f"axis={axis} of a tensor with {rank} axes", f"-{rank} to {rank - 1}")
    return axis % rank


def shortest(value: float) -> float:
    """The decimal number of fewest digits that is this one in float32: 0.00001 for 0.0000099999997."""
    return float(str(np.float32(value)))


def _of_type(name: str, value: object, wanted: str) -> RefusedError:
    return RefusedError(f"{name}={show(value)}", wanted)
