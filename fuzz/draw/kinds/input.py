"""One more input, for later layers to read."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.draw.grower import Grower
from fuzz.draw.kinds.base import Wish
from fuzz.draw.sizes import sizes
from nn512.graph import Shape


@dataclass(frozen=True, slots=True)
class InputWish(Wish):
    """An input of about that shape."""

    channels: int
    height: int
    width: int
    interleaved: bool = False

    def grow(self, grower: Grower) -> None:
        """Lowered to what a tensor may have."""
        grower.add_input(Shape(self.channels, self.height, self.width), interleaved=self.interleaved)


INTERLEAVED = st.sampled_from((False, False, True))


def inputs() -> st.SearchStrategy[Wish]:
    """Inputs of any shape, now and then of pixels whose channels stand together."""
    return st.builds(InputWish, sizes(), sizes(), sizes(), INTERLEAVED)
