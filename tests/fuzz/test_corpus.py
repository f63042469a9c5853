"""The corpus is data."""

from __future__ import annotations

from fuzz.campaign.corpus import CORPUS, corpus


def test_the_corpus_holds_graphs_and_nothing_else() -> None:
    assert corpus()
    assert sorted(CORPUS.iterdir()) == list(corpus())
