"""What the direct convolution does beside its arithmetic: every tile fetches a share of the weights that come next."""

from __future__ import annotations

import re

import pytest

import nn512

NET = """
    Config Prefix=Net
    Input ToTensor=x Channels={channels} Height={height} Width={width}
    Conv FromTensor=x ToTensor=y ToChannels=64 FilterH={taps} FilterW={taps} PaddingH={padding} PaddingW={padding}
    Conv FromTensor=y ToTensor=z ToChannels=32 FilterH=1 FilterW=1
    Output FromTensor=z
"""


def layer(text: str, name: str) -> str:
    """The function of a layer."""
    found = re.search(rf"static NOINLINE void Net_{name}\(.*?\n}}\n", nn512.compile(text).source, re.DOTALL)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("pixels", [(7, 7), (5, 9), (1, 29), (14, 14), (28, 28), (4, 11)])
def test_tiles_of_one_row_share_the_weights_that_come_next(pixels: tuple[int, int]) -> None:
    """Of the 32 cache lines that hold a tap for 16 inputs and 32 outputs, all are fetched by one tile or another."""
    height, width = pixels
    text = layer(NET.format(channels=48, height=height, width=width, taps=1, padding=0), "y")
    count = int(re.search(r"fetched = (\d+)", text)[1])  # type: ignore[index]
    fetched: set[int] = set()
    start = 0
    for loop, at, place in re.findall(
        r"(for \(ptrdiff_t x = .*)?\n *conv1x1\w*\(.*\[(\w+)\], w[^;]*?(ahead[^,]*),", text
    ):
        limits = [int(n) for n in re.findall(r"\d+", loop)]
        for x in range(*limits) if loop else (int(at),):
            first = eval(place.replace("/", "//"), {"x": x, "ahead": 0}) // 16  # noqa: S307 - of our own text
            fetched |= set(range(first, first + count))
            start += 1
    assert start > 0
    assert len(fetched & set(range(32))) >= 31, "a line may be missed where tiles differ in width"


@pytest.mark.parametrize(("height", "width"), [(14, 14), (7, 7), (28, 28), (9, 20)])
def test_rows_share_the_weights_that_come_next(height: int, width: int) -> None:
    text = layer(NET.format(channels=48, height=height, width=width, taps=3, padding=1), "y")
    count = int(re.search(r"fetched = (\d+)", text)[1])  # type: ignore[index]
    rows, step = re.search(r"% (\d+),.*ahead = [^;]* \+ [ty] \* (\d+)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    assert int(step) == 16 * count
    assert int(rows) * count >= 32 > (int(rows) - 1) * (count - 1)
