"""What convolutions decide that sum panels of outputs at tiles of pixels (see `conv_blocking`)."""

from __future__ import annotations

from nn512.ir.decision import Decision
from nn512.kernels.bodies import Body
from nn512.kernels.deciding import Chaining, Packing


class Dividing(Decision):
    """What threads share."""

    ONCE = "threads share pixels: each is read once"
    PIXELS = "threads share pixels: weights are less than the source"
    FEW = "threads share panels: there are few tiles of pixels"
    EDGES = "threads share panels: tiles of the only row are of several kinds"
    WEIGHTS = "threads share panels: weights are as much as the source or more"


class Stacking(Decision):
    """Whether several rows are a tile."""

    TOGETHER = "several rows are a tile, to fill the registers"
    WIDE = "a tile has one row: a row has several tiles"
    MASKED = "a tile has one row: lanes are masked by group"
    ENOUGH = "a tile has one row: that is wide enough under padding, with so few weights"
    FULL = "a tile has one row: there is no room or no use for another"
    KINDS = "a tile has one row: tiles of several would be of many kinds"
    BLIND = "a tile has one row: a tile of several would see padding alone"


class Bordering(Decision):
    """How padding is left out."""

    COLUMNS = "tiles at the left and right edges have routines of their own"
    COPIED = "columns of padding are zeros in a copy"
    ROWS = "tiles at the top and bottom have routines of their own"
    CLIPPED = "rows of padding are outside the bounds of a loop"
    BLIND = "rows of padding are outside the bounds of a loop, which may be empty"


class Fetching(Decision):
    """Whether the source is fetched ahead, pixel by pixel."""

    FAR = "the next pixels are fetched: they come from beyond the level 2 cache"
    NEAR = "no pixel is fetched: the source is in a cache"
    ROWS = "no pixel is fetched: they stand in rows"
    WALK = "no pixel is fetched: channels stand apart or are masked"
    BUFFER = "no pixel is fetched but for the steps before the convolution"


class Panelling(Decision):
    """How many blocks of outputs are summed at a time."""

    TWO = "two blocks of outputs are summed at a time"
    REST = "the last block of outputs, or the only one, is summed alone"
    GROUPS = "blocks of outputs are summed alone: those of a group do not pair up"
    MASKED = "blocks of outputs are summed alone: lanes are masked by group"


BLOCKED: tuple[Decision, ...] = (
    *(Panelling.TWO, Panelling.REST, Packing.AFTER, Chaining.WRITING, Body.OWN, Body.LONE, Body.SHARED),
)
"""What all of these may decide."""

PADDED: tuple[Decision, ...] = (
    *(Stacking.TOGETHER, Stacking.WIDE, Stacking.ENOUGH, Stacking.FULL, Stacking.KINDS, Stacking.BLIND),
    *(Bordering.ROWS, Bordering.CLIPPED, Bordering.BLIND, Fetching.ROWS),
)
"""What those may decide whose filters may have several taps."""

SHARED: tuple[Decision, ...] = (Dividing.PIXELS, Dividing.FEW, Dividing.EDGES, Dividing.WEIGHTS)
"""What those may decide whose threads share pixels or panels."""
