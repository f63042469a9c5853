"""The blocked layout: channels in blocks of 16, one block after another, each block [height][width][16].

With blocks of one lane it is the layout of the caller's tensors, [channel][height][width]; with as many lanes as there
are channels it is that of interleaved ones, [height][width][channel].
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

LANES = 16

MOST_SEGMENTS = 64
"""Segments of a tensor at most: tables of them stand in the emitted file, and loops run over them."""


def blocks_of(channels: int) -> int:
    """Blocks of 16 channels that hold `channels`."""
    return -(-channels // LANES)


class Span(NamedTuple):
    """Neighbouring blocks that hold the same number of channels: how many blocks, and how many channels each."""

    blocks: int
    channels: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Segments of a tensor (channel counts), each beginning on a block boundary.

    Lanes past the end of a segment hold anything, and nothing that mixes lanes reads them. A block has `lanes` lanes:
    16, or 1 where every channel is a plane of its own, or as many as there are channels. There may be any number of
    channels and of blocks, but segments are few: see `joined`.
    """

    segments: tuple[int, ...]
    lanes: int = LANES

    @property
    def channels(self) -> int:
        """Channels of the tensor."""
        return sum(self.segments)

    @property
    def merged(self) -> tuple[int, ...]:
        """The segments with those that fill their last block and the ones behind them as one."""
        result: list[int] = []
        for segment in self.segments:
            if result and result[-1] % self.lanes == 0:
                result[-1] += segment
            else:
                result.append(segment)
        return tuple(result)

    @property
    def spans(self) -> tuple[Span, ...]:
        """All blocks in order."""
        pieces = (Span(*piece) for segment in self.segments for piece in self._pieces(segment))
        groups = itertools.groupby((piece for piece in pieces if piece.blocks), key=lambda piece: piece.channels)
        return tuple(Span(sum(piece.blocks for piece in group), channels) for channels, group in groups)

    def _pieces(self, segment: int) -> tuple[tuple[int, int], ...]:
        whole, rest = divmod(segment, self.lanes)
        return (whole, self.lanes), (min(rest, 1), rest)

    @property
    def block_count(self) -> int:
        """Number of blocks."""
        return sum(-(-segment // self.lanes) for segment in self.segments)

    def vectors(self, pixels: int) -> int:
        """Size of a tensor of so many pixels in vectors of 16 floats."""
        return -(-self.block_count * self.lanes * pixels // LANES)

    @property
    def regular(self) -> bool:
        """Whether channel c stands in block c / lanes at lane c % lanes: only the last segment may end inside one."""
        return all(segment % self.lanes == 0 for segment in self.segments[:-1])

    def position(self, channel: int) -> tuple[int, int]:
        """Block and lane of a channel."""
        block = 0
        for segment in self.segments:
            if channel < segment:
                return block + channel // self.lanes, channel % self.lanes
            channel -= segment
            block += -(-segment // self.lanes)
        raise IndexError(channel)

    def same_as(self, other: Layout) -> bool:
        """Whether both layouts put every channel at the same place."""
        return self.lanes == other.lanes and self.merged == other.merged


def natural(channels: int) -> Layout:
    """The layout of a tensor that is no concatenation."""
    return Layout((channels,))


def in_pairs(layout: Layout) -> Layout:
    """That of a tensor of an even number of channels as pairs of them, each in the place of a channel."""
    return natural(layout.channels // 2)


def joined(*parts: Layout) -> Layout:
    """The layout of a concatenation in place: the segments of all, merged where there are many."""
    layout = Layout(tuple(segment for part in parts for segment in part.segments))
    return layout if len(layout.segments) <= MOST_SEGMENTS else Layout(layout.merged)


def part_of(layout: Layout, first: int, number: int) -> Layout:
    """The layout of so many channels from the first on, which is in the first lane of its block."""
    segments: list[int] = []
    for segment in layout.segments:
        taken = min(max(segment - first, 0), number)
        if taken:
            segments.append(taken)
        first, number = max(first - segment, 0), number - taken
    return Layout(tuple(segments), layout.lanes)


def crowded(*parts: Layout) -> tuple[bool, ...]:
    """Which of the parts must be one segment before they are joined, or else there would be too many segments.

    They are those with the most of them, as few as will do.
    """
    single: set[int] = set()
    for number in sorted(range(len(parts)), key=lambda i: (-len(parts[i].merged), i)):
        joint = joined(*(natural(part.channels) if i in single else part for i, part in enumerate(parts)))
        if len(joint.segments) <= MOST_SEGMENTS:
            break
        single.add(number)
    return tuple(number in single for number in range(len(parts)))
