"""One layer, or one more input, of any kind."""

from __future__ import annotations

from hypothesis import strategies as st

from fuzz.draw.kinds import KINDS, Wish
from fuzz.draw.kinds.input import inputs


def wishes() -> st.SearchStrategy[Wish]:
    """Every form of every kind is as likely, but for those drawn seldom. The first are what failures shrink to."""
    usual = (strategy for kind in KINDS if not kind.seldom for strategy in kind.strategies())
    seldom = st.sampled_from([kind for kind in KINDS if kind.seldom])
    return st.one_of(*usual, seldom.flatmap(lambda kind: st.one_of(*kind.strategies())), inputs())
