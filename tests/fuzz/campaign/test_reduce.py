"""The reducer knows kinds of nodes by their fields."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz.campaign import reduce
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
