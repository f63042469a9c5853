"""Sizes near those of a net with which its layers would waste fewer multiplications: small changes that cost nothing.

Kernels compute whole blocks of 16 outputs. Tile algorithms compute whole tiles, and multiply whole blocks of inputs.

Other kernels multiply the inputs that there are, and no pixel that is not there: a row is divided into tiles of pixels
as evenly as it goes. Nothing is said of groups that are no whole blocks: a plan does not have their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nn512.plan.layout import LANES, blocks_of
from nn512.plan.plan import Plan, PlannedLayer, PlannedTensor

WORTH_SAYING = 0.05
"""The share of a layer's multiplications that must be wasted, at least, for advice."""

WORTH_A_PART = 0.02
"""The same of what is a part of the waste."""

WORTH_THE_TIME = 0.01
"""The share of the net's predicted time that a layer must take."""

NEAR = 1 / 3
"""How much larger or smaller than a height or width one may be that is near it."""


@dataclass(frozen=True, slots=True)
class Waste:
    """Something that a layer wastes: the share of its multiplications, and sizes that would not, if any are near."""

    share: float
    remedy: str


def advice(plan: Plan) -> Mapping[str, str]:
    """What is worth saying about layers, by their names, in words."""
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    least = WORTH_THE_TIME * sum(layer.predicted_microseconds for layer in plan.layers)
    said = {
        layer.name: in_words(wastes(layer, tensors)) for layer in plan.layers if layer.predicted_microseconds >= least
    }
    return {name: words for name, words in said.items() if words}


def wasted(parts: tuple[Waste, ...]) -> float:
    """The share of the multiplications that all parts waste together."""
    return 1 - math.prod(1 - part.share for part in parts)


def in_words(parts: tuple[Waste, ...]) -> str:
    """A line about the waste of a layer; empty where there is little, or nothing to be done about it."""
    remedies = [part for part in parts if part.remedy and part.share >= WORTH_A_PART]
    if wasted(parts) < WORTH_SAYING or not remedies:
        return ""
    alone = len(remedies) == 1 and math.isclose(remedies[0].share, wasted(parts))
    clauses = (part.remedy if alone else f"{part.remedy} ({_percent(part.share)})" for part in remedies)
    return f"{_percent(wasted(parts))} of the multiplications are wasted: {'; '.join(clauses)}"


def wastes(layer: PlannedLayer, tensors: Mapping[str, PlannedTensor]) -> tuple[Waste, ...]:
    """What a layer wastes: nothing, where it does not multiply."""
    if not layer.mmac:
        return ()
    results = [tensors[name] for name in layer.writes]
    source = tensors[layer.reads[0]] if layer.tiles else None  # others multiply the channels that there are
    parts = (*_tiles(layer, source, results[0]), *_channels(source, results))
    return tuple(part for part in parts if part.share)


def _tiles(layer: PlannedLayer, source: PlannedTensor | None, result: PlannedTensor) -> Iterator[Waste]:
    """Results of tiles that lie outside the picture."""
    if layer.tiles is None or source is None:
        return
    _, height, width = result.shape
    rows, columns = layer.tiles.rows.outputs, layer.tiles.columns.outputs
    share = 1 - height * width / (layer.tiles.down * rows * layer.tiles.across * columns)
    down, across = _near(height, rows), _near(width, columns)
    whose = "" if source.shape[1:] == result.shape[1:] else "output "
    a = "an" if whose else "a"
    if height % rows and width % columns:
        sizes = f"{a} {whose}height and width of {down}"
        if (height, rows) != (width, columns):
            sizes = f"{a} {whose}height of {down} and {a} {whose}width of {across}"
        possible = down and across
    else:
        possible = down or across
        sizes = f"{a} {whose}{'height' if height % rows else 'width'} of {possible}"
    yield Waste(share, f"{sizes} would fill all tiles of {rows}x{columns}" if possible else "")


def _near(size: int, tile: int) -> str:
    """The sizes near this one that are whole tiles; empty where it is one itself or none is near."""
    below = size // tile * tile
    sizes = (below, below + tile) if size % tile else ()
    return " or ".join(str(whole) for whole in sizes if whole and abs(whole - size) <= NEAR * size)


def _channels(source: PlannedTensor | None, results: list[PlannedTensor]) -> Iterator[Waste]:
    """Lanes of blocks that hold no channel: of the `source` of a tile algorithm, and of the results."""
    channels = [result.shape[0] for result in results]
    lanes = sum(map(_lanes, channels))
    inputs = 0.0
    if source is not None:
        read, held = source.shape[0], sum(map(_lanes, source.segments))
        inputs = 1 - read / held
        if held > _lanes(read):
            parts = " + ".join(map(str, source.segments)) if len(source.segments) <= 6 else "parts of others"
            yield Waste(inputs, f"input channels in multiples of 16 instead of {parts} would fill all blocks")
        elif channels == [read]:  # both at once
            yield Waste(1 - (read / held) ** 2, _whole_blocks(read, "input and output channels", 2))
            return
        else:
            yield Waste(inputs, _whole_blocks(read, "input channels", 1))
    for result in results:
        number = result.shape[0]
        whose = "output channels" if len(results) == 1 else f"channels of {result.name}"
        yield Waste((_lanes(number) - number) / lanes, _whole_blocks(number, whose, 1))


def _whole_blocks(channels: int, whose: str, times: int) -> str:
    """Numbers of channels that fill whole blocks; the work is in proportion to so many `times` the channels."""
    above = _lanes(channels)
    below = above - LANES
    words = f"{above} {whose} would cost as much as {channels}"
    if not below or channels - below > LANES // 2:
        return words
    return f"{words}, and {below} would cost {_percent(1 - (below / above) ** times)} less"


def _lanes(channels: int) -> int:
    """Lanes of the blocks that hold so many channels."""
    return LANES * blocks_of(channels)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
