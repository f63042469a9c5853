"""One layer, or one more input, of any kind.

Strategies are kept, as those of situations: Hypothesis takes longer to check one than to draw from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from hypothesis import strategies as st

from fuzz.draw.kinds import KINDS, LayerWish, Wish
from fuzz.draw.kinds.input import INTERLEAVED, InputWish, inputs
from fuzz.draw.sizes import EDGE_SIZES, MIDDLE_SIZES, sizes

PALETTE = 3
"""Forms that the layers of a graph have which is drawn from a few of them."""


@cache
def forms() -> tuple[st.SearchStrategy[Wish], ...]:
    """Every form of every kind of layer, those drawn seldom as well."""
    return tuple(strategy for kind in KINDS for strategy in kind.strategies())


@cache
def wishes() -> st.SearchStrategy[Wish]:
    """Every form of every kind is as likely, but for those drawn seldom. The first are what failures shrink to."""
    usual = (strategy for kind in KINDS if not kind.seldom for strategy in kind.strategies())
    seldom = st.sampled_from([kind for kind in KINDS if kind.seldom])
    return st.one_of(*usual, seldom.flatmap(lambda kind: st.one_of(*kind.strategies())), inputs())


@cache
def lone_layers() -> st.SearchStrategy[list[Wish]]:
    """A layer of any kind on an input of its own, of which data can make the most."""

    def on_input(picture: Wish, wish: Wish) -> list[Wish]:
        return [picture, replace(wish, source=0) if isinstance(wish, LayerWish) else wish]

    sides = st.sampled_from((*EDGE_SIZES[:7], *MIDDLE_SIZES[:4]))
    return st.builds(on_input, st.builds(InputWish, sizes(), sides, sides, INTERLEAVED), wishes())


@cache
def few_forms(max_layers: int) -> st.SearchStrategy[list[Wish]]:
    """Layers of one to three forms alone, which meet each other more often than among all forms.

    Swarm testing: what is left out makes room for runs and mixtures of the rest (Groce et al., ISSTA 2012).
    """
    all_forms = forms()

    def layers(numbers: Sequence[int]) -> st.SearchStrategy[list[Wish]]:
        return st.lists(st.one_of(*(all_forms[number] for number in numbers)), min_size=2, max_size=max_layers)

    numbers = st.lists(st.integers(0, len(all_forms) - 1), min_size=1, max_size=PALETTE, unique=True)
    return numbers.flatmap(layers)
