"""What the direct convolution does beside its arithmetic: every tile fetches a share of the weights that come next."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

import nn512

NET = """
    Config Prefix=Net
    Input ToTensor=x Channels={channels} Height={height} Width={width}
    Conv FromTensor=x ToTensor=y ToChannels=64 FilterH={taps} FilterW={taps} PaddingH={padding} PaddingW={padding}
    Conv FromTensor=y ToTensor=z ToChannels=32 FilterH=1 FilterW=1
    Output FromTensor=z
"""

GROUPED = """
    Config L2CachePerThreadExL1={cache}
    Input ToTensor=x Channels=64 Height=28 Width=28
    Conv FromTensor=x ToTensor=y ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=16
    Output FromTensor=y
"""


DIRECT = nn512.Options(force=(("", "direct"),))
"""Tile algorithms are cheaper where they apply."""


def layer(text: str, name: str) -> str:
    """The function of a layer."""
    source = nn512.compile(text, DIRECT).source
    found = re.search(rf"static NOINLINE void Net_{name}\(.*?\n}}\n", source, re.DOTALL)
    assert found is not None
    return found[0]


def starts(loop: str, pixels: int) -> list[int]:
    """The values of x in a loop of which one call has all items."""
    if by_tile := re.search(r"x = tile \* (\d+) \+ \(tile < (\d+)", loop):
        size, wide = (int(number) for number in by_tile.groups())
        return [tile * size + min(tile, wide) for tile in range(-(-pixels // 14))]
    begin, end, step = re.findall(r"(?:= |< |\+= )([^;)]*)", loop)
    items = {"share": SimpleNamespace(first=0, last=pixels // int(step))}
    return list(range(eval(begin, items), eval(end, items), int(step)))  # noqa: S307 - of our own text


def size(text: str, field: str) -> int:
    """A field of a layer's sizes."""
    found = re.search(rf"\.{field} = (\d+)", text)
    assert found is not None
    return int(found[1])


def lines_of_a_tap(text: str) -> int:
    """Cache lines of the next weights that a tile of 32 outputs prefetches for each filter tap and block of inputs."""
    return -(-32 // size(text, "prefetchShares"))


@pytest.mark.parametrize("pixels", [(7, 7), (5, 9), (1, 29), (14, 14), (28, 28), (4, 11), (15, 17)])
def test_tiles_of_one_row_share_the_weights_that_come_next(pixels: tuple[int, int]) -> None:
    """Of the 32 cache lines that hold a tap for 16 inputs and 32 outputs, all are fetched by one tile or another."""
    height, width = pixels
    text = layer(NET.format(channels=48, height=height, width=width, taps=1, padding=0), "y")
    count = lines_of_a_tap(text)
    fetched: set[int] = set()
    around, start = "", 0
    for loop, at, place in re.findall(
        r"(for \(ptrdiff_t x = .*|x = tile .*;(?s:.*?))?\n *conv1x1\w*\(.*\[(\w+)\], w[^;]*?(nextWeights[^,]*),", text
    ):
        around = loop or around
        for x in starts(around, height * width) if at == "x" else (int(at),):
            first = eval(place.replace("/", "//"), {"x": x, "nextWeights": 0}) // 16  # noqa: S307 - of our own text
            fetched |= set(range(first, first + count))
            start += 1
    assert start > 0
    assert len(fetched & set(range(32))) >= 31, "a line may be missed where tiles differ in width"


@pytest.mark.parametrize(("height", "width"), [(14, 14), (7, 7), (28, 28), (9, 20)])
def test_rows_share_the_weights_that_come_next(height: int, width: int) -> None:
    text = layer(NET.format(channels=48, height=height, width=width, taps=3, padding=1), "y")
    count = lines_of_a_tap(text)
    step = int(re.search(r"nextWeights = [^;]* \+ [ty] \* (\d+)", text)[1])  # type: ignore[index]
    tiles = re.search(r"% (\d+),", text)  # of several panels; else a row is an item
    rows = int(tiles[1]) if tiles else height
    assert step == 16 * count
    assert rows * count >= 32 > (rows - 1) * (count - 1)


def test_threads_share_what_is_larger() -> None:
    """Of two tensors that every thread would have to read, the larger one is divided."""
    picture = layer(NET.format(channels=48, height=28, width=28, taps=1, padding=0), "y")
    assert "for (ptrdiff_t x = share.first * 14; x < share.last * 14; x += 14)" in picture
    rows = layer(NET.format(channels=48, height=30, width=30, taps=3, padding=1), "y")
    assert "for (ptrdiff_t y = share.first; y < share.last; y++)" in rows
    weights = layer(NET.format(channels=48, height=7, width=7, taps=1, padding=0), "y")
    assert "for (ptrdiff_t item = share.first; item < share.last; item++)" in weights
    few_rows = layer(NET.format(channels=48, height=2, width=300, taps=3, padding=1), "y")
    assert "for (ptrdiff_t item = share.first; item < share.last; item++)" in few_rows, (
        "two rows are too few for many threads"
    )


@pytest.mark.parametrize(("channels", "width", "together"), [(128, 7, False), (512, 7, True), (128, 5, True)])
def test_rows_are_computed_together_where_one_is_narrow_or_weights_are_far(
    channels: int, width: int, *, together: bool
) -> None:
    text = layer(NET.format(channels=channels, height=7, width=width, taps=3, padding=1), "y")
    assert (f"x{width}_both_top(" in text) == together
    assert ("conv3x3_2xN_both(" in text) or together


@pytest.mark.parametrize(("channels", "taps"), [(32, 1), (48, 1), (64, 3), (100, 3), (512, 1)])
def test_places_of_all_results_are_fetched_while_inputs_are_summed(channels: int, taps: int) -> None:
    text = layer(NET.format(channels=channels, height=14, width=14, taps=taps, padding=taps // 2), "y")
    pixels = size(text, "prefetchPixels")
    blocks = -(-channels // 16)
    assert pixels * blocks >= 14 > (pixels - 1) * blocks


@pytest.mark.parametrize(("cache", "far"), [("64KiB", True), ("960KiB", False)])
def test_pixels_are_fetched_where_the_picture_exceeds_the_cache(cache: str, *, far: bool) -> None:
    """64x28x28 floats are 196 KiB."""
    net = NET.replace("Prefix=Net", f"Prefix=Net L2CachePerThreadExL1={cache}")
    source = nn512.compile(net.format(channels=64, height=28, width=28, taps=1, padding=0)).source
    assert ("prefetch_lines(x + pixels * 16, pixels);" in source) == far
    grouped = GROUPED.format(cache=cache)
    below = "prefetch_lines(line + sizes->inputRow + c * sizes->prefetchPixels * 16, sizes->prefetchPixels);"
    assert (below in nn512.compile(grouped).source) == far
