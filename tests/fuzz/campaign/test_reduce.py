"""The reducer knows kinds of nodes by their fields."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz.campaign import reduce


@dataclass(frozen=True, slots=True)
class Blend:
    """A kind that nobody has seen before."""

    from_tensor1: str
    from_tensor2: str
    from_tensor_mask: str
    to_tensor: str
    share: int = 3


NODE = Blend("a", "b", "a", "c")


def test_what_a_node_reads_is_redirected() -> None:
    assert reduce._redirected(NODE, "a", "z") == Blend("z", "b", "z", "c")  # type: ignore[arg-type, comparison-overlap]
    assert reduce._redirected(NODE, "c", "z") == NODE  # type: ignore[arg-type, comparison-overlap]


def test_all_tensors_of_a_node_are_renamed() -> None:
    names = {"a": "t0", "b": "t1", "c": "t2"}
    assert reduce._renamed(NODE, names) == Blend("t0", "t1", "t0", "t2")  # type: ignore[arg-type, comparison-overlap]
