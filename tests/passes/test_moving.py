"""Passes that save copies of channels: what moves in a row moves once, and what begins a block is read there."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from fuzz.draw import regimes
from nn512.graph import Concat, Config, Conv, Graph, Input, Node, Output, Shuffle, Slice, build, parse
from nn512.ir import CopyOp, PickOp, Program, format_program, to_graph
from nn512.passes.merge_picks import MOST_LAYERS
from nn512.passes.pipeline import optimize
from nn512.plan.laying import lay_out
from nn512.plan.placing import place_tensors
from nn512.plan.workspace import NO_WORKSPACE

UNIT = """
Config Prefix=Unit
Input ToTensor=x Channels=59 Height=3 Width=4
Slice FromTensor=x ToTensor=left From=1 Count=29
Slice FromTensor=x ToTensor=right From=30 Count=29
Conv FromTensor=right ToTensor=conv ToChannels=29 FilterH=1 FilterW=1
Concat FromTensor1=left FromTensor2=conv ToTensor=both
Shuffle FromTensor=both ToTensor=mixed Groups=2
Slice FromTensor=mixed ToTensor=nextleft From=0 Count=29
Slice FromTensor=mixed ToTensor=nextright From=29 Count=29
Output FromTensor=nextleft
Output FromTensor=nextright
"""


def graph_of(*nodes: Node, channels: int = 64) -> Graph:
    return build([Config(), Input("x", channels, 3, 4), *nodes])


def picks(program: Program) -> dict[str, tuple[str, ...]]:
    """The operations that pick channels: what each writes, and the nodes it stands for."""
    return {op.writes: tuple(layer.to_tensor for layer in op.layers) for op in program.ops if isinstance(op, PickOp)}


def views(program: Program) -> set[str]:
    return {view.writes for view in program.views}


def check_values(graph: Graph, program: Program) -> None:
    """The program means the graph."""
    data = regimes.draw(graph, "gaussian", 1)
    expected = reference.run(graph, data.params, data.inputs)
    for name, result in reference.run(to_graph(program), data.params, data.inputs).items():
        np.testing.assert_array_equal(result.value, expected[name].value)


def test_a_unit_of_shufflenet_moves_each_channel_once() -> None:
    graph = parse(UNIT)
    program = optimize(graph)
    assert picks(program) == {
        "right": ("right",),
        "nextleft": ("left", "both", "mixed", "nextleft"),
        "nextright": ("left", "both", "mixed", "nextright"),
    }
    assert not program.joined
    check_values(graph, program)


def test_slices_that_begin_blocks_are_views() -> None:
    """Of any length, of each other, and of joined wholes; the channels in lanes behind the last are another's."""
    graph = graph_of(
        Slice("x", "a", 16, 40),
        Slice("a", "b", 16, 3),
        Concat("x", "x", "c"),
        Slice("c", "d", 64, 64),
        Conv("c", "e", 4, 1, 1),
        Slice("x", "f", 8, 16),
        Slice("x", "g", 0, 2, 16),
        *map(Output, "abdefg"),
    )
    program = optimize(graph, ("merge_picks",))
    assert views(program) == {"a", "b", "d"}
    assert set(picks(program)) == {"f", "g"}
    check_values(graph, program)
    laid = lay_out(program)
    placed = place_tensors(laid, {op.name: NO_WORKSPACE for op in laid.ops})
    assert {name: placed.tensors[name].offset - placed.tensors["x"].offset for name in "ab"} == {"a": 12, "b": 24}
    assert placed.tensors["d"].offset == placed.tensors["c"].offset + 48
    assert placed.tensors["x"].last_step >= max(placed.tensors[name].last_step for name in "ab")
    assert "b 3x3x4 = a -> Slice b (Channels 16 to 18 of a) in place" in " ".join(format_program(program).split())


def test_a_slice_in_a_part_filled_block() -> None:
    """A whole of 20 and 30 channels has its 21st in the first lane of the third block."""
    graph = graph_of(
        Conv("x", "a", 20, 1, 1),
        Conv("x", "b", 30, 3, 3, padding_h=1, padding_w=1),
        Concat("a", "b", "c"),
        Slice("c", "d", 16, 20),
        Conv("d", "e", 5, 1, 1),
        Slice("c", "f", 20, 12),
        Conv("c", "g", 5, 1, 1),
        *map(Output, "efg"),
    )
    program = optimize(graph)
    assert views(program) == {"d", "f"}
    laid = lay_out(program)
    assert laid.layouts["d"].segments == (4, 16)
    check_values(graph, program)


def test_a_view_is_no_part_of_a_whole() -> None:
    graph = graph_of(
        Slice("x", "a", 0, 16),
        Conv("x", "b", 16, 1, 1),
        Concat("a", "b", "c"),
        Conv("c", "d", 3, 1, 1),
        Output("d"),
    )
    program = optimize(graph)
    assert not program.views
    assert set(picks(program)) == {"a"}
    assert not any(isinstance(op, CopyOp) for op in program.ops)


@pytest.mark.parametrize(
    ("nodes", "alone"),
    [
        # Somebody else reads the shuffle: it must be there anyway, and its halves cost nothing.
        ([Shuffle("x", "a", 2), Slice("a", "b", 0, 32), Conv("a", "c", 3, 1, 1)], {"a"}),
        # Two readers of all of it would move 128 channels where the shuffle moves 64.
        ([Shuffle("x", "a", 2), Slice("a", "b", 0, 64), Slice("a", "c", 0, 63)], {"a"}),
    ],
)
def test_what_saves_nothing_is_not_merged(nodes: list[Node], alone: set[str]) -> None:
    program = optimize(graph_of(*nodes, Output("b"), Output("c")))
    assert set(picks(program)) == alone


def test_long_rows_are_cut() -> None:
    """As otherwise the work would grow with the square of their length."""
    nodes = [Shuffle(f"t{i}" if i else "x", f"t{i + 1}", 2) for i in range(40)]
    program = optimize(graph_of(*nodes, Output("t40")))
    assert [len(op.layers) for op in program.ops if isinstance(op, PickOp)] == [8, MOST_LAYERS, MOST_LAYERS]


def test_channels_of_many_tensors_are_joined_first() -> None:
    """What takes channels from three tensors stays behind a concatenation of them, which costs nothing."""
    graph = graph_of(
        *(Conv("x", name, 20, 1, 1) for name in "abc"),
        Concat(from_tensor1="a", from_tensor2="b", from_tensor3="c", to_tensor="d"),
        Shuffle("d", "e", 3),
        Slice("e", "f", 7, 30),
        Output("f"),
    )
    program = optimize(graph)
    assert picks(program) == {"f": ("e", "f")}
    assert [whole.writes for whole in program.joined] == ["d"]
    check_values(graph, program)


def test_equal_tensors_under_another_name() -> None:
    """Slices of what was found to be equal to something else are left as they are."""
    graph = graph_of(
        Shuffle("x", "a", 2),
        Shuffle("x", "b", 2),
        Slice("b", "c", 3, 40),
        Slice("a", "d", 5, 40),
        Output("c"),
        Output("d"),
    )
    program = optimize(graph)
    check_values(graph, program)
