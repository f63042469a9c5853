"""The rule that no two tensors need the same C name."""

from __future__ import annotations

from collections.abc import Sequence

from nn512.graph.diagnostics import Diagnostics, quote
from nn512.graph.node import ParameterKind
from nn512.graph.statement import Reference, Statement


def check_names(statements: Sequence[Statement], diagnostics: Diagnostics) -> None:
    """Report tensors whose C names collide, each pair once, at the later one.

    A tensor `t` owns the names `t`, `tData` (an argument of the inference function) and those of its parameters,
    whether or not this graph's code has a use for each: adding an Output must not break a graph elsewhere.
    """
    owners: dict[str, Reference] = {}
    told: set[tuple[str, str]] = set()
    for statement in statements:
        if statement.writes is None:
            continue
        tensor, span = statement.writes
        parameters: tuple[ParameterKind, ...] = ()
        if statement.node is not None:
            parameters = statement.node.parameter_kinds
        elif statement.kind is not None:
            parameters = statement.kind.PARAMETERS
        for name in (tensor, tensor + "Data", *[tensor + parameter.suffix for parameter in parameters]):
            other = owners.setdefault(name, statement.writes)
            # The same tensor produced twice is a mistake of its own, reported with the wiring.
            if other.name == tensor or (other.name, tensor) in told:
                continue
            told.add((other.name, tensor))
            line = diagnostics.line(other.span)
            diagnostics.add(
                span, f"tensors {quote(tensor)} and {quote(other.name)} (line {line}) both need the C name {name}"
            )
