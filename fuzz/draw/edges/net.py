"""A small net as text, and the parts of which nets are made that shall have an edge class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

TAILS = tuple(range(1, 17))
"""Channels or pixels that leave every remainder of a vector."""


@dataclass(frozen=True, slots=True)
class EdgeNet:
    """A graph, and the passes that must not run for it to have what it is made for."""

    text: str
    without: tuple[str, ...] = ()


def net(*lines: str, without: tuple[str, ...] = (), l2: int = 0) -> EdgeNet:
    """The net of these statements; outputs are what nobody reads. `l2` are bytes of a small level 2 cache."""
    words = [line.split() for line in lines]
    read = {word.split("=")[1] for line in words for word in line if word.startswith("FromTensor")}
    made = [word.split("=")[1] for line in words for word in line if word.startswith("ToTensor")]
    config = f"Config L2CachePerThreadExL1={l2}" if l2 else "Config"
    outputs = [f"Output FromTensor={name}" for name in made if name not in read]
    return EdgeNet("\n".join((config, *lines, *outputs)) + "\n", without)


def picture(channels: int, height: int = 1, width: int = 1, name: str = "x", order: str = "") -> str:
    """An input."""
    how = f" Order={order}" if order else ""
    return f"Input ToTensor={name} Channels={channels} Height={height} Width={width}{how}"


def conv(
    outputs: int,
    taps: tuple[int, int] = (1, 1),
    more: str = "",
    *,
    source: str = "x",
    to: str = "y",
    same: bool = False,
) -> str:
    """A convolution; one that keeps the `same` size has half of the taps as padding on every side."""
    padding = f" PaddingH={(taps[0] - 1) // 2} PaddingW={(taps[1] - 1) // 2}" if same else ""
    filter_ = f"FilterH={taps[0]} FilterW={taps[1]}"
    return f"Conv FromTensor={source} ToTensor={to} ToChannels={outputs} {filter_}{padding} {more}".rstrip()


def segments(channels: int, height: int = 1, width: int = 1, name: str = "pieces") -> tuple[str, ...]:
    """A tensor of so many channels, 2 or more, in two segments, the first of which has one."""
    return (
        picture(3, height, width),
        conv(1, to="one"),
        conv(channels - 1, to="others"),
        f"Concat FromTensor1=one FromTensor2=others ToTensor={name}",
    )


def shuffled(channels: int, height: int = 1, width: int = 1, name: str = "mixed") -> tuple[str, ...]:
    """An input of so many channels, a multiple of 3, and it shuffled: three groups in turn."""
    return picture(channels, height, width), f"Shuffle FromTensor=x ToTensor={name} Groups=3"


def factors(most: int) -> Iterator[tuple[int, int]]:
    """Pairs of numbers whose product is at most so much."""
    return ((rows, columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1))
