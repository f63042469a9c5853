"""Shape inference along the wiring, and the limits of sizes; what fits what is known by the kinds."""

from __future__ import annotations

from math import prod

from nn512.graph.diagnostics import Diagnostics, quote
from nn512.graph.fields import MAX_SIZE, field_table
from nn512.graph.node import Layer, Node, Shape
from nn512.graph.source import Span
from nn512.graph.wiring import Wiring

MOST_BYTES = 2**40
"""Most bytes that all tensors of a graph, and most that all its parameters, may take together."""

_FLOAT = 4  # bytes


def infer_shapes(wiring: Wiring, diagnostics: Diagnostics) -> dict[str, Shape]:
    """The shape of every tensor but those that a mistake hides, here or upstream. Each mistake is reported once."""
    shapes: dict[str, Shape] = {}
    totals = {"tensors": 0, "parameters": 0}
    for statement in wiring.order:
        node = statement.node
        if node is None or node.writes is None or not all(name in shapes for name in node.reads):
            continue
        mistakes = {(_span(node, mistake.field), mistake.message) for mistake in node.mistakes(shapes)}
        for span, message in sorted(mistakes):
            diagnostics.add(span, message)
        if mistakes:
            continue
        shape = node.shape(shapes)
        parameters = sum(map(prod, node.parameter_shapes(shapes))) if isinstance(node, Layer) else 0
        if not _fits(node.writes, shape, parameters, statement.span, diagnostics):
            continue
        for what, elements in (("tensors", shape.elements), ("parameters", parameters)):
            before = totals[what]
            totals[what] += _FLOAT * elements
            if before <= MOST_BYTES < totals[what]:  # said once, where the sum passes the limit
                message = f"the graph is too large: with this node its {what} take {_too_many(totals[what])}"
                diagnostics.add(statement.span, message)
        if node.writes not in wiring.ambiguous:
            shapes[node.writes] = shape
    return shapes


def _fits(name: str, shape: Shape, parameters: int, span: Span, diagnostics: Diagnostics) -> bool:
    """Whether one node alone, that of the tensor `name`, stays within bounds."""
    if max(shape) <= MAX_SIZE and _FLOAT * max(shape.elements, parameters) <= MOST_BYTES:
        return True
    tensor = f"tensor {quote(name)} of shape {shape}"
    if max(shape) > MAX_SIZE:
        diagnostics.add(span, f"{tensor} is too large: no extent may pass {MAX_SIZE:,}")
    elif _FLOAT * shape.elements > MOST_BYTES:
        diagnostics.add(span, f"{tensor} is too large: it takes {_too_many(_FLOAT * shape.elements)}")
    else:
        diagnostics.add(span, f"the parameters of {quote(name)} are too large: {_too_many(_FLOAT * parameters)}")
    return False


def _too_many(size: int) -> str:
    return f"{size:,} bytes; the limit is {MOST_BYTES:,}"


def _span(node: Node, field: str) -> Span:
    """Where a field's value stands, or else that of the field that it is like, or else the node's kind."""
    assert node.spans is not None, "the parser gives every node its spans"
    written = node.spans.fields
    if field in written:
        return written[field]
    infos = field_table(type(node)).infos
    like = next(info.like for info in infos if info.name == field)
    return next((written[i.name] for i in infos if i.attribute == like and i.name in written), node.spans.kind)
