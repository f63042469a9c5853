"""Makes a failing graph smaller: removes nodes, cuts the graph short, lowers numbers.

It works on the nodes themselves, so on graphs from users and the corpus as on those that were drawn. Every candidate is
a legal graph; whatever the checker calls illegal is not tried. The search is greedy, and ends when told.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from fuzz.draw.kinds import KINDS
from nn512.graph import (
    Config,
    Conv,
    FullyConnected,
    Graph,
    GraphError,
    Input,
    Node,
    Output,
    Pooling,
    ValueType,
    build,
    field_infos,
    tensor_written,
    tensors_read,
)
from nn512.graph.windows import NO_SIDES, padding_of


def reduce_graph(graph: Graph, fails: Callable[[Graph], bool], over: Callable[[], bool] = lambda: False) -> Graph:
    """The smallest graph found for which `fails` still holds, when nothing smaller is left or it is `over`."""
    best = graph
    seen = {_nodes(graph)}
    progress = True
    while progress and not over():
        progress = False
        for nodes in _candidates(best):
            if nodes in seen:
                continue
            seen.add(nodes)
            try:
                candidate = build(nodes)
            except GraphError:
                continue
            if fails(candidate):
                best, progress = candidate, True
                break
            if over():
                break
    return best


def cut_out(graph: Graph, tensors: Collection[str]) -> Iterator[Graph]:
    """The nodes alone that compute these tensors, what they read as inputs; then with the nodes right before them."""
    wanted = {layer.to_tensor for layer in graph.layers if layer.to_tensor in tensors}
    near = wanted | {name for layer in graph.layers if layer.to_tensor in wanted for name in tensors_read(layer)}
    for kept in (wanted, near) if wanted else ():
        layers = [layer for layer in graph.layers if layer.to_tensor in kept]
        made = {layer.to_tensor for layer in layers}
        read = dict.fromkeys(name for layer in layers for name in tensors_read(layer))
        given = {node.to_tensor: node for node in graph.inputs}
        inputs = [given.get(name, Input(name, *graph.shapes[name])) for name in read if name not in made]
        ends = [Output(name) for name in made if name not in read]
        try:
            candidate = build([graph.config, *inputs, *layers, *ends])
        except GraphError:
            continue
        if len(candidate.layers) < len(graph.layers) or len(ends) < len(graph.outputs):
            yield candidate


def with_plain_names(graph: Graph) -> Graph:
    """The same graph with tensors t0, t1, ... in the order in which they are made."""
    made = [node.to_tensor for node in (*graph.inputs, *graph.layers)]
    names = {old: f"t{number}" for number, old in enumerate(made)}
    return build([node.renamed(names) for node in _nodes(graph)])


def _nodes(graph: Graph) -> tuple[Node, ...]:
    return (graph.config, *graph.inputs, *graph.layers, *graph.outputs)


def _candidates(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """Smaller graphs, the boldest steps first."""
    nodes = _nodes(graph)
    if len(graph.outputs) > 1:
        for output in graph.outputs:
            yield _pruned([node for node in nodes if node is not output])
    for layer in graph.layers:
        to, shape = layer.to_tensor, graph.shapes[layer.to_tensor]
        # What comes before the layer goes: its result becomes an input.
        without = [node for node in nodes if node is not layer]
        yield _pruned([Input(to, *shape), *(n for n in without if not (isinstance(n, Output) and n.from_tensor == to))])
        # What comes after the layer goes.
        if not any(output.from_tensor == to for output in graph.outputs):
            yield _pruned([*(node for node in nodes if not isinstance(node, Output)), Output(to)])
        # Only the layer goes.
        for source in dict.fromkeys(tensors_read(layer)):
            yield _pruned([_redirected(node, to, source) for node in without])
    # An input goes: another one of its shape is read instead.
    for kept, spare in itertools.combinations(graph.inputs, 2):
        if graph.shapes[kept.to_tensor] == graph.shapes[spare.to_tensor]:
            yield _pruned([_redirected(node, spare.to_tensor, kept.to_tensor) for node in nodes])
    yield from _joined_ends(graph)
    if graph.config != Config():
        yield (Config(), *nodes[1:])
    yield from (_nodes(candidate) for candidate in unpadded(graph))
    yield from _fewer_groups(graph)
    for index, node in enumerate(nodes):
        for smaller in _smaller(node):
            yield (*nodes[:index], smaller, *nodes[index + 1 :])


def _joined_ends(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """The last layers of two outputs become one layer that joins what they read.

    Removing nodes never connects anything: a graph whose parts have nothing in common, each of them a single layer and
    needed for its input, would keep a layer per part.
    """
    read = {name for layer in graph.layers for name in tensors_read(layer)}
    ends = [layer for layer in graph.layers if layer.to_tensor not in read]  # so each is an output
    for one, other in itertools.combinations(ends, 2):
        kept = [node for node in _nodes(graph) if node not in {one, other, Output(one.to_tensor)}]
        for first, second in itertools.product(dict.fromkeys(tensors_read(one)), dict.fromkeys(tensors_read(other))):
            if graph.shapes[first] == graph.shapes[second]:
                # The output of that name stays.
                joined = (kind.join(first, second, other.to_tensor) for kind in KINDS)
                yield from (_pruned([*kept, layer]) for layer in joined if layer is not None)


def unpadded(graph: Graph) -> Iterator[Graph]:
    """Windows at inputs see no padding, but an input that is so much larger: results are as many."""
    nodes = _nodes(graph)
    changed: dict[Node, Node] = {}
    for layer in graph.layers:
        if not isinstance(layer, Conv | Pooling):
            continue
        source = next((node for node in graph.inputs if node.to_tensor == layer.from_tensor), None)
        sides = padding_of(layer)
        if source is not None and sides != NO_SIDES:
            changed[source] = replace(source, height=source.height + sides.rows, width=source.width + sides.columns)
            changed[layer] = _changed(layer, {f.name: 0 for f in fields(layer) if f.name.startswith("padding_")})
    if changed:
        with contextlib.suppress(GraphError):
            yield build([changed.get(node, node) for node in nodes])


def _fewer_groups(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """A convolution with fewer groups of as many channels, and what it reads with fewer channels.

    These numbers go together: lowering one of them alone gives no graph.
    """
    nodes = _nodes(graph)
    made_by = {tensor_written(node): node for node in nodes}
    for conv in graph.layers:
        source = made_by[conv.from_tensor] if isinstance(conv, Conv) else None
        if not isinstance(conv, Conv) or not isinstance(source, Input | Conv | FullyConnected):
            continue
        inputs, outputs = (graph.shapes[name].channels // conv.groups for name in (conv.from_tensor, conv.to_tensor))
        field = "channels" if isinstance(source, Input) else "to_channels"
        for groups in _lower(conv.groups, 1):
            changed: dict[Node, Node] = {
                source: _changed(source, {field: groups * inputs}),
                conv: _changed(conv, {"groups": groups, "to_channels": groups * outputs}),
            }
            yield tuple(changed.get(node, node) for node in nodes)


def _pruned(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """`nodes` without those that no output depends on."""
    producers = {tensor_written(node): node for node in nodes if tensor_written(node) is not None}
    needed: set[str] = set()
    waiting = [node.from_tensor for node in nodes if isinstance(node, Output)]
    while waiting:
        name = waiting.pop()
        if name not in needed and name in producers:
            needed.add(name)
            waiting.extend(tensors_read(producers[name]))
    return tuple(node for node in nodes if tensor_written(node) is None or tensor_written(node) in needed)


def _redirected(node: Node, old: str, new: str) -> Node:
    """`node` reading `new` where it read `old`."""
    return node.with_tensors([new if name == old else name for name in node.reads])


def _smaller(node: Node) -> Iterator[Node]:
    """`node` with one number lowered, or with height and width lowered together.

    An input plane by plane, and windows with numbers that can be lowered, where the kind names them.
    """
    if isinstance(node, Input) and node.interleaved:
        yield replace(node, order="CHW")
    if isinstance(node, Pooling) and node.kind.endswith("Stride2"):
        yield replace(node, kind=node.kind[:3])
    infos = {info.attribute: info for info in field_infos(type(node))}
    names = [f.name for f in fields(node) if f.name in infos]
    for name in names:
        least = {ValueType.POSITIVE: 1, ValueType.NATURAL: 0}.get(infos[name].type)
        if least is None or not infos[name].applies(node.choice):
            continue
        for value in _lower(getattr(node, name), least):
            yield _changed(node, {name: value})
            if name.endswith("_h") and getattr(node, name) == getattr(node, name[:-1] + "w"):
                yield _changed(node, {name: value, name[:-1] + "w": value})


def _changed(node: Node, values: Mapping[str, int]) -> Node:
    changes: dict[str, Any] = dict(values)
    return replace(node, **changes)


def _lower(value: int, least: int) -> Iterator[int]:
    """Smaller numbers to try, the smallest first: the least, halves, the multiple of 16 below, one less."""
    tried = {value}
    for candidate in (least, value // 4, value // 2, (value - 1) // 16 * 16, value - 2, value - 1):
        if least <= candidate < value and candidate not in tried:
            tried.add(candidate)
            yield candidate
