"""The rules about which node feeds which: every mistake in them, and an order in which to compute.

Nothing here recurses: a chain of a hundred thousand nodes is as good as one of ten.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nn512.graph.diagnostics import Diagnostics, join, quote, quote_list
from nn512.graph.kinds import Config, Input, Output
from nn512.graph.source import Span
from nn512.graph.statement import Reference, Statement
from nn512.graph.suggest import NameIndex, did_you_mean


@dataclass(frozen=True, slots=True)
class Wiring:
    """The statements in a topological order that keeps the order of the text where it can.

    Statements on a cycle or behind one are left out. `ambiguous` are the tensors that have several producers.
    """

    order: tuple[Statement, ...]
    ambiguous: frozenset[str]


def check_wiring(statements: Sequence[Statement], diagnostics: Diagnostics) -> Wiring:
    """Report every mistake in the wiring; return what shapes can be inferred along."""
    _check_counts(statements, diagnostics)
    producers, ambiguous = _find_producers(statements, diagnostics)
    misspelt = _check_reads(statements, producers, diagnostics)
    _check_outputs(statements, producers, diagnostics)
    _check_dead_ends(statements, producers, misspelt, diagnostics)
    order = _sort(statements, producers)
    if len(order) < len(statements):
        _report_cycles(statements, producers, set(order), diagnostics)
    return Wiring(tuple(statements[i] for i in order), ambiguous)


def _check_counts(statements: Sequence[Statement], diagnostics: Diagnostics) -> None:
    """Exactly one Config; at least one Input and one Output."""
    configs = [s for s in statements if s.kind is Config]
    for second in configs[1:]:
        first = diagnostics.line(configs[0].span)
        diagnostics.add(second.span, f"a second Config; the graph has one on line {first}, and needs exactly one")
    if any(s.kind is None for s in statements):
        return  # the unknown node may be what is missing
    kinds = {s.kind for s in statements}
    missing = [f"no {kind.__name__}" for kind in (Config, Input, Output) if kind not in kinds]
    if missing:
        diagnostics.add(diagnostics.end(), f"the graph has {join(missing)}")


def _find_producers(statements: Sequence[Statement], diagnostics: Diagnostics) -> tuple[dict[str, int], frozenset[str]]:
    """Tensor to index of the statement that produces it (the first, where there are several)."""
    producers: dict[str, int] = {}
    ambiguous = set()
    for i, statement in enumerate(statements):
        if statement.writes is None:
            continue
        name, span = statement.writes
        first = producers.setdefault(name, i)
        if first != i:
            ambiguous.add(name)
            line = diagnostics.line(statements[first].span)
            diagnostics.add(span, f"tensor {quote(name)} is produced twice; the first time on line {line}")
    return producers, frozenset(ambiguous)


def _check_reads(statements: Sequence[Statement], producers: Mapping[str, int], diagnostics: Diagnostics) -> set[str]:
    """Everything that is read must be produced. Returns the tensors that misspelt names probably mean."""
    misspelt: set[str] = set()
    if any(s.writes_unknown for s in statements):
        return misspelt  # the node whose tensor has no readable name may be the missing producer
    index: NameIndex | None = None
    for statement in statements:
        for name, span in statement.reads:
            if name not in producers:
                index = index or NameIndex(producers)
                guess = index.find(name)
                diagnostics.add(span, f"tensor {quote(name)} is read but no node produces it{did_you_mean(guess)}")
                if guess is not None:
                    misspelt.add(guess)
    return misspelt


def _check_outputs(statements: Sequence[Statement], producers: Mapping[str, int], diagnostics: Diagnostics) -> None:
    """No tensor is an output twice, and no Output reads an Input."""
    seen: dict[str, Span] = {}
    for statement in statements:
        if statement.kind is not Output:
            continue
        for name, span in statement.reads:
            if name in seen:
                diagnostics.add(
                    span,
                    f"tensor {quote(name)} is an Output twice; the first is on line {diagnostics.line(seen[name])}",
                )
                continue
            seen[name] = span
            if name in producers and statements[producers[name]].kind is Input:
                diagnostics.add(
                    span, f"Input {quote(name)} is wired straight to an Output; there must be a node between them"
                )


def _check_dead_ends(
    statements: Sequence[Statement], producers: Mapping[str, int], misspelt: set[str], diagnostics: Diagnostics
) -> None:
    """Every node must lead to an Output.

    One error for each node whose tensor nobody reads: it names the nodes that lead only there.
    """
    outputs = [s for s in statements if s.kind is Output]
    if not outputs or any(s.reads_unknown for s in statements):
        return
    alive = _upstream(statements, producers, [name for s in outputs for name, _ in s.reads] + sorted(misspelt), set())
    is_read = {name for s in statements for name, _ in s.reads} | misspelt
    told: set[int] = set(alive)
    for i, statement in enumerate(statements):
        if statement.writes is None or statement.writes.name in is_read or producers[statement.writes.name] != i:
            continue
        name = statement.writes.name
        others = sorted(_upstream(statements, producers, [n for n, _ in statement.reads], told) - {i})
        told.update(others)
        if statement.kind is Input:
            diagnostics.add(statement.span, f"unused Input: no node reads {quote(name)}")
            continue
        names = [w.name for j in others if (w := statements[j].writes) is not None]
        also = f"; {quote_list(names)} {'leads' if len(names) == 1 else 'lead'} only here" if names else ""
        diagnostics.add(statement.span, f"no path leads from this node to an Output: no node reads {quote(name)}{also}")


def _upstream(
    statements: Sequence[Statement], producers: Mapping[str, int], names: Sequence[str], seen: set[int]
) -> set[int]:
    """Indices of the statements that the named tensors depend on, except those in `seen` and what is behind them."""
    found: set[int] = set()
    waiting = list(names)
    while waiting:
        i = producers.get(waiting.pop())
        if i is not None and i not in found and i not in seen:
            found.add(i)
            waiting.extend(name for name, _ in statements[i].reads)
    return found


def _sort(statements: Sequence[Statement], producers: Mapping[str, int]) -> list[int]:
    """Indices in topological order, the earliest possible in the text first."""
    blockers = [0] * len(statements)
    readers: list[list[int]] = [[] for _ in statements]
    for i, statement in enumerate(statements):
        for producer in {producers[name] for name, _ in statement.reads if name in producers}:
            blockers[i] += 1
            readers[producer].append(i)
    ready = [i for i, count in enumerate(blockers) if count == 0]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for reader in readers[i]:
            blockers[reader] -= 1
            if blockers[reader] == 0:
                heapq.heappush(ready, reader)
    return order


def _report_cycles(
    statements: Sequence[Statement], producers: Mapping[str, int], sorted_already: set[int], diagnostics: Diagnostics
) -> None:
    """One error for every set of nodes that all depend on each other, naming a cycle through the first of them."""
    rest = [i for i in range(len(statements)) if i not in sorted_already]
    feeds = {
        i: sorted({p for name, _ in statements[i].reads if (p := producers.get(name)) is not None} - sorted_already)
        for i in rest
    }
    for component in _components(feeds):
        first = min(component)
        statement = statements[first]
        if len(component) == 1:
            if first in feeds[first] and statement.writes is not None:
                reference = next(r for r in statement.reads if r.name == statement.writes.name)
                diagnostics.add(
                    reference.span, f"this node reads {quote(reference.name)}, the tensor it produces itself"
                )
            continue
        cycle = _shortest_cycle(first, feeds, component)
        names = [w.name for i in cycle if (w := statements[i].writes) is not None]
        diagnostics.add(_reading(statement, names[-1]).span, f"a cycle: {_arrows([names[-1], *names])}")


def _reading(statement: Statement, name: str) -> Reference:
    return next(r for r in statement.reads if r.name == name)


def _arrows(names: Sequence[str], most: int = 12) -> str:
    if len(names) > most:
        names = (*names[: most - 2], f"({len(names) - most + 1} more)", names[-1])
    return " -> ".join(names)


def _components(edges: Mapping[int, Sequence[int]]) -> list[set[int]]:
    """Strongly connected components, by Tarjan's algorithm with an explicit stack (SIAM J. Comput. 1, 1972)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    on_stack: dict[int, None] = {}  # in order of arrival
    components = []
    for root in edges:
        if root in number:
            continue
        calls = [(root, iter(edges[root]))]
        number[root] = low[root] = len(number)
        on_stack[root] = None
        while calls:
            node, successors = calls[-1]
            for successor in successors:
                if successor not in number:
                    number[successor] = low[successor] = len(number)
                    on_stack[successor] = None
                    calls.append((successor, iter(edges[successor])))
                    break
                if successor in on_stack:
                    low[node] = min(low[node], number[successor])
            else:
                calls.pop()
                if calls:
                    caller = calls[-1][0]
                    low[caller] = min(low[caller], low[node])
                if low[node] == number[node]:
                    component = set()
                    while node not in component:
                        component.add(on_stack.popitem()[0])
                    components.append(component)
    return components


def _shortest_cycle(start: int, feeds: Mapping[int, Sequence[int]], within: set[int]) -> list[int]:
    """A shortest cycle through `start`, in the direction in which data flows, beginning with `start`."""
    came_from: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for producer in feeds[node]:
            if producer == start:
                cycle = [node]
                while cycle[-1] != start:
                    cycle.append(came_from[cycle[-1]])
                # The walk went against the data, from a reader to its producers, and was now traced back.
                return [start, *cycle[:-1]]
            if producer in within and producer not in came_from:
                came_from[producer] = node
                waiting.append(producer)
    message = "a strongly connected component has a cycle through each of its nodes"
    raise AssertionError(message)
