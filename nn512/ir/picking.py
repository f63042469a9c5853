"""Which channels nodes that only move channels take from what they read: runs of channels at equal distances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from nn512.graph.nodes import Concat, Layer, Shuffle, Slice


class Pick(NamedTuple):
    """Channels that follow one another in a result: of which source, the first, how many, and from one to the next."""

    source: int
    first: int
    number: int
    step: int


def picked(layers: Iterable[Layer], channels: Sequence[int]) -> tuple[Pick, ...]:
    """The channels of the last layer's tensor in order.

    Layers stand in the order of evaluation. A tensor that none of them writes is the next source, as many `channels` of
    which there are.
    """
    outside = iter(Pick(number, 0, count, 1) for number, count in enumerate(channels))
    known: dict[str, tuple[Pick, ...]] = {}
    found: tuple[Pick, ...] = ()
    for layer in layers:
        read = [known[name] if name in known else (next(outside),) for name in layer.reads]
        found = known[layer.to_tensor] = tuple(_joined(_moved(layer, read)))
    return found


def _moved(layer: Layer, read: Sequence[tuple[Pick, ...]]) -> Iterator[Pick]:
    match layer:
        case Concat():
            yield from (pick for picks in read for pick in picks)
        case Slice():
            yield from _sliced(read[0], layer)
        case Shuffle():
            every = [(pick.source, pick.first + i * pick.step) for pick in read[0] for i in range(pick.number)]
            size = len(every) // layer.groups
            for first in range(size):
                yield from (Pick(*one, 1, 1) for one in every[first::size])
        case _:
            raise TypeError(layer)


def _sliced(picks: Iterable[Pick], node: Slice) -> Iterator[Pick]:
    start = 0
    for source, first, count, step in picks:
        # The numbers of the slice's channels that stand in this run.
        low = max(-(-(start - node.first) // node.step), 0)
        high = min((start + count - 1 - node.first) // node.step, node.count - 1)
        if low <= high:
            place = node.first + low * node.step - start
            yield Pick(source, first + place * step, high - low + 1, step * node.step)
        start += count


def _joined(picks: Iterable[Pick]) -> Iterator[Pick]:
    """The same channels in as few runs as there can be if each takes all that it can."""
    last: Pick | None = None
    for pick in picks:
        together = None if last is None else _together(last, pick)
        if together is None and last is not None:
            yield last
        last = together or pick
    if last is not None:
        yield last._replace(step=1) if last.number == 1 else last


def _together(before: Pick, pick: Pick) -> Pick | None:
    """Both as one run, if they are."""
    step = pick.first - (before.first + (before.number - 1) * before.step)
    fits = (before.number == 1 or before.step == step) and (pick.number == 1 or pick.step == step)
    if before.source != pick.source or step < 1 or not fits:
        return None
    return Pick(before.source, before.first, before.number + pick.number, step)
