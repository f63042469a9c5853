"""The blocked layout: channels in blocks of 16, one block after another, each block [height][width][16].

With blocks of one lane it is the layout of the caller's tensors, [channel][height][width].
"""

from __future__ import annotations

from dataclasses import dataclass

LANES = 16


def blocks_of(channels: int) -> int:
    """Blocks of 16 channels that hold `channels`."""
    return -(-channels // LANES)


@dataclass(frozen=True, slots=True)
class Block:
    """The lanes of one block of a tensor: the first channel in them and how many lanes hold channels."""

    first: int
    channels: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Segments of a tensor (channel counts), each beginning on a block boundary.

    Lanes past the end of a segment hold anything, and nothing that mixes lanes reads them. A block has `lanes` lanes:
    16, or 1 where every channel is a plane of its own.
    """

    segments: tuple[int, ...]
    lanes: int = LANES

    @property
    def channels(self) -> int:
        """Channels of the tensor."""
        return sum(self.segments)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks in order."""
        result: list[Block] = []
        first = 0
        for segment in self.segments:
            starts = range(0, segment, self.lanes)
            result.extend(Block(first + start, min(self.lanes, segment - start)) for start in starts)
            first += segment
        return tuple(result)

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
        for number, block in enumerate(self.blocks):
            if block.first <= channel < block.first + block.channels:
                return number, channel - block.first
        raise IndexError(channel)

    def same_as(self, other: Layout) -> bool:
        """Whether both layouts put every channel at the same place."""
        return self.lanes == other.lanes and self.blocks == other.blocks
