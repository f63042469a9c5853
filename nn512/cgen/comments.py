"""The comment above every layer: the nodes it implements, what flows through it, how, and at what price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nn512.cgen.writer import WIDTH, sentence
from nn512.plan.plan import PlannedLayer

_ROOM = WIDTH - len(" *  */")


@dataclass(frozen=True, slots=True)
class LayerComment:
    """Title and lines of a comment."""

    title: str
    lines: tuple[str, ...]


def comment_of(layer: PlannedLayer, flow: str, remark: str, *, shares_body: bool) -> LayerComment:
    """The comment of a layer.

    `flow` names what it reads and writes, `remark` belongs to its nodes. Where it shares its body, the comment of that
    body describes the algorithm.
    """
    lines = [f"{', '.join(node.node for node in layer.nodes)}{remark}", *_figures(layer, flow, shares_body=shares_body)]
    if layer.pixels:
        lines.append(f"{sentence(layer.pixels)}.")
    numbers = ", ".join(map(str, layer.lines))
    if len(numbers) > _ROOM // 2:
        numbers = f"{layer.lines[0]} to {layer.lines[-1]}, {len(layer.lines)} of them"
    where = f"   (graph line{'s' if len(layer.lines) > 1 else ''} {numbers})" if layer.lines else ""
    return LayerComment(f"{layer.name}{where}", tuple(lines))


def _figures(layer: PlannedLayer, flow: str, *, shares_body: bool) -> list[str]:
    """Flow, work and algorithm, on as few lines as they fit on."""
    price = _price(layer.prices, layer.kernel, named=shares_body, forced=layer.forced)
    algorithm = f"{sentence(layer.algorithm)}. {price}".rstrip()
    how = (price or f"{sentence(layer.kernel)}.") if shares_body else algorithm
    figures = [f"{layer.mmac:.2f} MMAC"] if layer.mmac else []
    figures += [f"{layer.weight_bytes:,} bytes of weights ({layer.weights})"] if layer.weight_bytes else []
    beside = f"{flow}     {', '.join(figures)}"
    if not figures:
        return [flow, how]
    if len(f"{beside}. {how}") <= _ROOM:
        return [f"{beside}. {how}"]
    if len(beside) <= _ROOM:
        return [beside, how]
    return [flow, f"{', '.join(figures)}. {how}"]


def _price(prices: Mapping[str, float], kernel: str, *, named: bool, forced: bool) -> str:
    """Why this kernel (which the sentence before names, or this): what it and others that could do the same take.

    Of variants of one another, such as `winograd-2x2` and `winograd-4x4`, the cheapest other one stands for all.
    """
    if kernel not in prices or len(prices) < 2:
        return ""
    chosen = f"{f'{kernel} ' if named else ''}{_amount(prices[kernel])} us"
    cheapest: dict[str, tuple[str, float]] = {}
    for name, price in prices.items():
        if name != kernel:
            cheapest.setdefault(name.split("-")[0], (name, price))
    others = (f"{name} {_amount(price)}" for name, price in cheapest.values())
    return f"{'Forced' if forced else 'Predicted'}: {', '.join((chosen, *others))}."


def _amount(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
