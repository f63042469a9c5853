"""The reducer knows kinds of nodes by their fields."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fuzz.campaign import reduce
from nn512.graph import Conv, Graph, parse
from nn512.graph.fields import read_tensor, written_tensor
from nn512.graph.node import Layer


@dataclass(frozen=True, slots=True)
class Blend(Layer):
    """A kind that nobody has seen before."""

    first: str = read_tensor("First")
    second: str = read_tensor("Second")
    mask: str = read_tensor("Mask")
    result: str = written_tensor()


def test_what_a_node_reads_is_redirected() -> None:
    node = Blend("a", "b", "a", "c")
    assert reduce._redirected(node, "a", "z") == Blend("z", "b", "z", "c")  # type: ignore[arg-type, comparison-overlap]
    assert reduce._redirected(node, "c", "z") == node  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize(
    "before",
    [
        "",
        "Conv FromTensor=x ToTensor=c ToChannels=16 FilterH=1 FilterW=1",
        "FullyConnected FromTensor=x ToTensor=c ToChannels=16",
    ],
)
def test_groups_and_channels_are_lowered_together(before: str) -> None:
    """Fewer groups alone would have more channels each, fewer channels alone cannot be divided."""
    graph = parse(f"""
        Config
        Input ToTensor=x Channels=16 Height=1 Width=1
        {before}
        Conv FromTensor={"c" if before else "x"} ToTensor=y ToChannels=32 FilterH=1 FilterW=1 Groups=16
        Output FromTensor=y
    """)

    def fails(candidate: Graph) -> bool:
        convs = [layer for layer in candidate.layers if isinstance(layer, Conv) and layer.groups > 1]
        shapes = candidate.shapes
        return len(candidate.layers) == len(graph.layers) and any(
            shapes[conv.from_tensor].channels == conv.groups and conv.to_channels == 2 * conv.groups for conv in convs
        )

    *_, conv = reduce.reduce_graph(graph, fails).layers
    assert isinstance(conv, Conv)
    assert (conv.groups, conv.to_channels) == (2, 4)
