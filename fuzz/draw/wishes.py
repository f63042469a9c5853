"""One layer, or one more input, of any kind."""

from __future__ import annotations

from hypothesis import strategies as st

from fuzz.draw.kinds import KINDS, Wish
from fuzz.draw.kinds.input import inputs


def wishes() -> st.SearchStrategy[Wish]:
    """Every form of every kind is as likely. The first kinds are what failures shrink to."""
    return st.one_of(*(strategy for kind in KINDS for strategy in kind.strategies()), inputs())
