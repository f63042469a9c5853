"""Compiling and explaining take as many operations, and emit as many lines, as a net has nodes; sizes take nothing."""

from __future__ import annotations

import pytest

from nn512.bench.counting import operations
from nn512.bench.families import FAMILIES, Family
from nn512.bench.scaling import Cost, Growth, cost
from nn512.compiler import compile as compile_graph

MOST = 4.5
"""How many times as much four times the nodes may take: logarithms count, squares do not."""

SAME = 1.25
"""How many times as much more pixels or channels may take: tiles at the edges differ a little."""


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_linear(name: str) -> None:
    family = FAMILIES[name]
    texts = [family.text(min(size, number)) for size, number in zip(family.sizes, (16, 64), strict=True)]
    if family.wide:
        texts = [family.text(size) for size in (2_000, 8_000)]
    costs: list[Cost] = []
    few, many = (operations(lambda text=text: costs.append(cost(text))) for text in texts)  # type: ignore[misc]
    most = SAME if family.wide else MOST
    assert many <= most * few
    assert costs[1].lines <= most * costs[0].lines


@pytest.mark.parametrize("consumer", ["Softmax", "BatchNorm"])
def test_the_largest_tensors_take_no_longer_than_small_ones(consumer: str) -> None:
    def compiled(channels: int) -> int:
        nodes = f"{consumer} FromTensor=x ToTensor=y\nOutput FromTensor=y\n"
        text = f"Config\nInput ToTensor=x Channels={channels} Height=1 Width=1\n{nodes}"
        return operations(lambda: compile_graph(text))

    assert compiled(2**31 - 1) <= SAME * compiled(100_000)


def test_excess_is_seen() -> None:
    grown = Growth("few", Family(lambda _: iter(())), Cost(1.0, 1000), Cost(5.9, 5900))
    assert not grown.excessive
    assert Growth("slow", grown.family, grown.few, Cost(6.1, 5900)).excessive
    assert Growth("long", grown.family, grown.few, Cost(5.9, 6100)).excessive
    assert "too much" in Growth("long", grown.family, grown.few, Cost(5.9, 6100)).row()
    wide = Family(lambda _: iter(()), wide=True)
    assert not Growth("same", wide, grown.few, Cost(1.1, 1030)).excessive
    assert Growth("more", wide, grown.few, Cost(1.1, 2000)).excessive
