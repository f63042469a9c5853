"""Nets of convolutions for every edge class: remainders of channels, sizes of tiles, sides of padding, groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from fuzz.draw.edges.net import TAILS, EdgeNet, conv, factors, net, picture, segments, shuffled
from nn512.algebra.cook_toom import is_known

TILE_PIXELS = 14  # of outputs that are summed in registers at a time

_SIDES = ("PaddingTop=1", "PaddingBottom=1", "PaddingLeft=1", "PaddingRight=1", "PaddingH=1 PaddingW=1")
_PICTURES = ((3, 4), (9, 4), (5, 20), (5, 1), (9, 33))  # rows and columns: few tiles of several rows, many of one
_SMALL_CACHE = 16 << 10


def _tails() -> Iterator[tuple[int, int]]:
    """Pairs of channels and outputs: all remainders of both, one block and two, over and over."""
    number = 0
    while True:
        number += 1
        yield 1 + number % 32, 1 + 7 * number % 48


def _single(channels: int) -> EdgeNet:
    """A single pixel, which is no fully connected layer as there is padding."""
    return net(picture(channels, 2, 2), conv(17, (3, 3), "StrideH=2 StrideW=2", same=True))


def dense_nets() -> Iterator[EdgeNet]:
    """Filters of several taps on blocks of channels."""
    pairs = _tails()
    for rows, columns in factors(TILE_PIXELS):
        channels, outputs = next(pairs)
        yield net(picture(channels, rows + 2, columns + 2), conv(outputs, (3, 3)))
    for padding in _SIDES:
        for height, width in _PICTURES:
            taps = min(3, height), 3 if width > 1 or "W" in padding else 1
            yield net(picture(next(pairs)[0], height, width), conv(17, taps, padding))
    for n in TAILS:
        yield net(*segments(n + 1, 4, 5), conv(9, (3, 3), same=True, source="pieces"))
        yield net(picture(2 * n, 4, 5), conv(6, (3, 3), "Groups=2", same=True))
        yield net(*segments(2 * n, 4, 5), conv(6, (3, 3), "Groups=2", same=True, source="pieces"))
    yield net(picture(96, 4, 5), conv(144, (3, 3), "Groups=3", same=True))
    yield net(*shuffled(39, 4, 5), conv(17, (3, 3), same=True, source="mixed"))
    yield _single(20)


def pointwise_nets() -> Iterator[EdgeNet]:
    """Filters of one tap: a row of pixels, convolutions that are merged, few weights, a picture beyond a cache."""
    pairs = _tails()
    for number in range(1, 49):
        channels, outputs = next(pairs)
        yield net(picture(channels, 1, 1 + number % TILE_PIXELS), conv(outputs))
    for n in TAILS:
        yield net(*segments(n + 1, 2, 3), conv(9, source="pieces"))
    yield net(picture(20, 3, 5), conv(17, to="y"), conv(33, to="z"))
    yield net(*shuffled(39, 3, 5), conv(17, source="mixed"))
    yield net(picture(16, 20, 20), conv(16))
    yield net(picture(80, 9, 14), conv(40), l2=_SMALL_CACHE)
    yield net(picture(20, 3, 3), conv(17), "Pooling FromTensor=y ToTensor=z Kind=AvgGlobal")  # comes first


def planar_nets() -> Iterator[EdgeNet]:
    """Few channels in the order of the caller."""
    pairs = _tails()
    for rows, columns in factors(TILE_PIXELS):
        channels, outputs = next(pairs)
        yield net(picture(1 + channels % 16, rows + 2, columns + 2), conv(outputs, (3, 3)))
    for order in ("CHW", "HWC"):
        for padding in _SIDES:
            for height, width in _PICTURES[:3]:
                yield net(picture(3, height, width, order=order), conv(17, (3, 3), padding))
        yield net(picture(3, 5, 7, order=order), conv(17, (3, 3)))
    yield net(picture(3, 20, 20), conv(16))
    yield net(picture(3, 4, 5), conv(17, to="y"), conv(33, to="z"))
    yield net(*shuffled(6, 4, 5), conv(17, (2, 3), source="mixed"))
    yield _single(3)


def paired_planar_nets() -> Iterator[EdgeNet]:
    """The same in pairs of columns: even and odd numbers of them, side by side or further apart; merged ones."""
    for taps in ((3, 4), (7, 7), (1, 2)):
        for more in ("StrideH=2 StrideW=2", "StrideW=3", "StrideW=4", "StrideW=2 DilationW=2"):
            for order in ("CHW", "HWC"):
                yield net(picture(3, 9, 20, order=order), conv(17, taps, more, same=True))
    yield net(picture(3, 6, 9), *(conv(n, (3, 3), "StrideH=2 StrideW=2", to=f"y{n}") for n in (17, 33)))
    yield from planar_nets()


def depthwise_nets() -> Iterator[EdgeNet]:
    """A group for every channel."""
    yield from _grouped(1, TAILS)
    yield net(*segments(20, 4, 5), conv(20, (3, 3), "Groups=20", same=True, source="pieces"))
    yield net(*shuffled(39, 4, 5), conv(39, (3, 3), "Groups=39", source="mixed"), conv(5, source="y", to="z"))


def grouped_nets() -> Iterator[EdgeNet]:
    """Groups of a few channels that stand in one block."""
    yield net(picture(64, 9, 14), conv(64, (3, 3), "Groups=16", same=True), l2=_SMALL_CACHE)
    for inputs in (2, 4, 8):
        yield from _grouped(inputs, range(2, 17))


def paired_nets() -> Iterator[EdgeNet]:
    """Filters on pairs of channels; one that reads what another one stores as pairs."""
    for outputs in (2, 18, 34):
        yield net(picture(5, 4, 15), conv(outputs, (3, 3), same=True), conv(9, source="y", to="z"))
    yield from dense_nets()
    yield from pointwise_nets()
    yield from planar_nets()
    yield from depthwise_nets()
    yield from grouped_nets()


def paired_group_nets() -> Iterator[EdgeNet]:
    """The same in pairs, of which a group may have one for each of its outputs, and be stored so."""
    grouped = conv(32, (3, 3), "Groups=8", same=True), conv(64, (3, 3), "Groups=4", source="y", to="z")
    yield net(picture(32, 4, 7), *grouped)
    for n in TAILS:
        yield net(picture(2 * n + 2, 1, 3), conv(n + 1, more=f"Groups={n + 1}"))
    yield net(picture(128, 9, 14), conv(128, (3, 3), "Groups=16", same=True), l2=_SMALL_CACHE)
    yield from grouped_nets()
    yield from _grouped(16, range(2, 4))


def _grouped(inputs: int, groups: Iterable[int]) -> Iterator[EdgeNet]:
    """With so many inputs per group: loops over taps and over columns, one and several outputs for an input."""
    for number in groups:
        channels = number * inputs
        yield net(picture(channels, 1, 1 + number % TILE_PIXELS), conv(channels, more=f"Groups={number}"))
    channels = inputs * 3
    for columns in range(1, TILE_PIXELS + 1):
        yield net(picture(channels, 1, columns), conv(2 * channels, more="Groups=3"))
        yield net(picture(channels, 3, columns + 1), conv(channels, (2, 2), "Groups=3"))
        yield net(picture(channels, 3, columns + 2), conv(channels, (3, 3), "Groups=3"))
    for padding in _SIDES:
        for width in (5, 15, 40):
            yield net(picture(channels, 4, width), conv(channels, (3, 3), f"Groups=3 {padding}"))
            # More taps than there are registers for weights are a loop over taps.
            yield net(picture(channels, 4, width + 10), conv(channels, (1, 13), f"Groups=3 {padding}"))
    for padding in ("PaddingW=6", "PaddingW=12"):
        for width in (1, 5):
            yield net(picture(channels, 4, width), conv(channels, (1, 13), f"Groups=3 {padding}"))


def winograd_nets(rows: int, columns: int) -> Iterator[EdgeNet]:
    """By tiles of so many results: every number of tiles that are summed together, every filter, every overhang."""
    down = [taps for taps in range(1, 8) if taps == 1 or is_known(rows, taps)]
    across = [taps for taps in range(1, 8) if taps == 1 or is_known(columns, taps)]
    filters = [(h, w) for h in down for w in across if h * w > 1 and (rows == columns or 1 not in (h, w))]

    def outputs_of(tiles: int, taps: int, outputs: int) -> int:
        return tiles * outputs - (tiles - 1) % outputs if taps > 1 else tiles

    def sized(tiles: tuple[int, int], taps: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of a picture."""
        height, width = outputs_of(tiles[0], taps[0], rows), outputs_of(tiles[1], taps[1], columns)
        return height + taps[0] - 1, width + taps[1] - 1

    yield from _tiled(filters, sized, most=28, blocks=14)


def fourier_nets(size: int) -> Iterator[EdgeNet]:
    """By transforms of such a length."""
    filters = [(1, 3), (3, 1), (1, 5), (2, 1), (1, size // 2)]
    if size <= 16:  # longer transforms are along one axis
        filters += [(5, 5), (4, 6), (7, 5)]

    def outputs_of(tiles: int, taps: int) -> int:
        results = size + 1 - taps
        return tiles * results - (tiles - 1) % results if taps > 1 else tiles

    def sized(tiles: tuple[int, int], taps: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of a picture."""
        height, width = (outputs_of(n, t) for n, t in zip(tiles, taps, strict=True))
        return height + taps[0] - 1, width + taps[1] - 1

    yield from _tiled(filters, sized, most=13, blocks=6)
    long = size // 2 + 1
    yield net(picture(5, 2, long + 3), conv(9, (1, long)))
    for stride in ("StrideH=2 StrideW=2", "StrideW=2", "StrideH=2"):
        for taps in ((7, 7), (1, 5), (5, 1)):
            yield net(picture(5, 12, 12), conv(9, taps, stride, same=True))


def _tiled(
    filters: list[tuple[int, int]],
    sized: Callable[[tuple[int, int], tuple[int, int]], tuple[int, int]],
    most: int,
    blocks: int,
) -> Iterator[EdgeNet]:
    """So many tiles in one pass at `most`, with two blocks of outputs `blocks`; `sized` gives the picture's size."""
    for n in range(1, most + 1):
        taps = filters[n % len(filters)]
        tiles = (1, n) if n % 2 and taps[1] > 1 else (n, 1)
        height, width = sized(tiles, taps)
        yield net(picture(n, height, width), conv(n % 16 + 1, taps))
        if n <= blocks:
            yield net(picture(n, height, width), conv(33, taps))
    for number, taps in enumerate(filters):
        for tiles in ((1, 2), (2, 2), (2, 3)):
            height, width = sized(tiles, taps)
            yield net(picture(16 + number, height, width), conv(17 + number, taps))
            yield net(picture(16 + number, height, width), conv(9, taps, same=True))
    for taps in (filters[-1], filters[1]):
        height, width = sized((2, 2), taps)
        for n in range(6):
            yield net(picture(5, max(height - n, taps[0]), max(width - n, taps[1])), conv(9, taps))
    taps = filters[-1]
    height, width = sized((2, 2), taps)
    for n in TAILS:
        yield net(*segments(n + 1, height, width), conv(9, taps, source="pieces"))
        yield net(picture(n, height + n % 5, width + n // 3), conv(n, taps))
    yield net(picture(32, height, width), conv(32, taps, "Groups=2"))
    yield net(*shuffled(39, height, width), conv(17, taps, source="mixed"))
    height, width = sized((6, 6), taps)
    yield net(picture(16, height, width), conv(33, taps))


_OF_KERNELS: Mapping[str, tuple[Callable[[], Iterator[EdgeNet]], ...]] = MappingProxyType(
    {
        "direct": (dense_nets, pointwise_nets),
        "pointwise": (pointwise_nets,),
        "planar": (planar_nets,),
        "planar-bf16": (paired_planar_nets,),
        "depthwise": (depthwise_nets,),
        "grouped": (grouped_nets,),
        "direct-bf16": (paired_nets,),
        "grouped-bf16": (paired_group_nets,),
    }
)


def conv_nets(kernel: str) -> Iterator[EdgeNet]:
    """Nets for a kernel of convolutions: those of all forms for one that is not known here."""
    name, *numbers = re.findall(r"[a-z_]+|\d+", kernel)
    if name == "winograd":
        yield from winograd_nets(int(numbers[0]), int(numbers[2]))
    elif name == "fourier":
        yield from fourier_nets(int(numbers[0]))
    else:
        for nets in _OF_KERNELS.get(kernel, (dense_nets, pointwise_nets, planar_nets, depthwise_nets, grouped_nets)):
            yield from nets()
