"""A net drawn as a graph: layers from top to bottom, each below all that it reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from html import escape

from nn512.graph import Graph, Input, Layer, Output, tensors_read

MOST_NODES = 200
"""A net of more nodes is no picture that anybody looks at."""

_WIDTH, _HEIGHT = 150, 44
_GAP, _STEP = 24, 78
_CHARACTERS = 24
"""Of a line in a node."""

_SWEEPS = 4
"""How often rows are put in order by what is above and below them."""


@dataclass(slots=True)
class _Node:
    """A node: its two lines, what it reads by number, the row it stands in, and its place there."""

    title: str
    text: str
    reads: tuple[int, ...]
    is_wrong: bool
    row: int = 0
    place: float = 0.0


def drawing_of(graph: Graph, wrong: Collection[str] = ()) -> str:
    """An SVG of the graph; layers that compute tensors in `wrong` are marked. Empty for a net of too many nodes."""
    nodes = list(_nodes(graph, wrong))
    if len(nodes) > MOST_NODES:
        return ""
    rows = _rows(nodes)
    widest = max(map(len, rows))
    width, height = widest * (_WIDTH + _GAP) + _GAP, len(rows) * _STEP
    for row in rows:
        margin = (width - len(row) * (_WIDTH + _GAP) + _GAP) / 2
        for number, node in enumerate(row):
            node.place = margin + number * (_WIDTH + _GAP)
    parts = [f'<svg class="net" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">']
    parts += [_edge(nodes[read], node) for node in nodes for read in node.reads]
    parts += [_box(node) for node in nodes]
    return "\n".join([*parts, "</svg>"])


def _nodes(graph: Graph, wrong: Collection[str]) -> Iterator[_Node]:
    """In topological order, so that numbers of what is read are those of nodes before."""
    numbers: dict[str, int] = {}
    listed: list[Input | Layer | Output] = [*graph.inputs, *graph.layers, *graph.outputs]
    for number, node in enumerate(listed):
        if isinstance(node, Output):
            read = node.from_tensor
            yield _Node("Output", read, (numbers[read],), is_wrong=False)
            continue
        tensor = node.to_tensor
        reads = () if isinstance(node, Input) else tuple(numbers[name] for name in tensors_read(node))
        yield _Node(type(node).__name__, f"{tensor} {graph.shapes[tensor]}", reads, is_wrong=tensor in wrong)
        numbers[tensor] = number


def _rows(nodes: list[_Node]) -> list[list[_Node]]:
    """Rows by the longest way from an input; within each, nodes near what they are joined to (Sugiyama's method)."""
    for node in nodes:
        node.row = 1 + max((nodes[read].row for read in node.reads), default=-1)
    rows: list[list[_Node]] = [[] for _ in range(1 + max(node.row for node in nodes))]
    for node in nodes:
        rows[node.row].append(node)
    readers: list[list[_Node]] = [[] for _ in nodes]
    for node in nodes:
        for read in node.reads:
            readers[read].append(node)
    numbers = {id(node): number for number, node in enumerate(nodes)}

    def near(node: _Node, *, above: bool) -> float:
        joined = [nodes[read] for read in node.reads] if above else readers[numbers[id(node)]]
        return sum(one.place for one in joined) / len(joined) if joined else node.place

    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            row.sort(key=lambda node: near(node, above=sweep % 2 == 0))
            for place, node in enumerate(row):
                node.place = place - len(row) / 2
    return rows


def _edge(above: _Node, below: _Node) -> str:
    x, y = above.place + _WIDTH / 2, above.row * _STEP + _HEIGHT
    to_x, to_y = below.place + _WIDTH / 2, below.row * _STEP
    half = (y + to_y) / 2
    return f'<path d="M{x:g},{y:g} C{x:g},{half:g} {to_x:g},{half:g} {to_x:g},{to_y:g}"/>'


def _box(node: _Node) -> str:
    x, y = node.place, node.row * _STEP
    kind = " class='wrong'" if node.is_wrong else ""
    middle = x + _WIDTH / 2
    return (
        f'<g{kind}><rect x="{x:g}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
        f'<text x="{middle:g}" y="{y + 18}">{_short(node.title)}</text>'
        f'<text x="{middle:g}" y="{y + 35}" class="small">{_short(node.text)}</text></g>'
    )


def _short(text: str) -> str:
    return escape(text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}")
