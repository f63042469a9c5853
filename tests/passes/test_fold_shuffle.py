"""Shuffles become the order of weights, where everything that reads them has weights in which there is an order."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from fuzz.draw import regimes
from fuzz.draw.decisions import ROWS
from fuzz.draw.growth import grow
from nn512.compiler import compile as compile_graph
from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Graph,
    Input,
    Node,
    Output,
    Shape,
    Shuffle,
    Slice,
    build,
    example,
    parse,
)
from nn512.ir import ConvOp, FullyConnectedOp, PickOp, Program, format_program, to_graph
from nn512.passes.fold_shuffle import Unmoving, fold_shuffle
from nn512.passes.lower import lower
from nn512.passes.pipeline import optimize
from nn512.plan.explain import explain

MOVED = (Unmoving.OUTPUT, Unmoving.OTHERS, Unmoving.GROUPS, Unmoving.STEPS, Unmoving.AGAIN, Unmoving.BLOCKS)
"""For these reasons a shuffle stays."""


def graph_of(*nodes: Node, channels: int = 30) -> Graph:
    return build([Config(), Input("x", channels, 3, 4), *nodes])


def shuffled(program: Program) -> dict[str, str]:
    """The layers with weights in another order: what each writes, and the shuffle."""
    return {
        op.name: op.shuffled.to_tensor
        for op in program.ops
        if isinstance(op, ConvOp | FullyConnectedOp) and op.shuffled is not None
    }


def check_values(graph: Graph, program: Program) -> None:
    """The program means the graph, bit for bit."""
    data = regimes.draw(graph, "gaussian", 1)
    expected = reference.run(graph, data.params, data.inputs, sampled=0)
    results = reference.run(to_graph(program), data.params, data.inputs, sampled=0)
    assert results.keys() == expected.keys()
    for name, result in results.items():
        np.testing.assert_array_equal(result.value, expected[name].value)


def test_every_layer_with_weights_takes_the_order() -> None:
    graph = graph_of(
        Shuffle("x", "a", 3),
        Conv("a", "b", 4, 1, 1),
        Conv("a", "c", 4, 3, 3),
        FullyConnected("a", "d", 5),
        *map(Output, "bcd"),
    )
    program = optimize(graph)
    assert shuffled(program) == {"b": "a", "c": "a", "d": "a"}
    assert not any(isinstance(op, PickOp) for op in program.ops)
    assert "= x -> {Shuffle a (3 groups)} FullyConnected d" in format_program(program)
    check_values(graph, program)


@pytest.mark.parametrize("decision", [Unmoving.FOLDED, Unmoving.SHARED, Unmoving.THROUGH])
def test_what_is_folded_is_gone(decision: Unmoving) -> None:
    for row in ROWS[decision]:
        graph = build(grow(Shape(17, 6, 5), row))
        (name,) = (layer.to_tensor for layer in graph.layers if isinstance(layer, Shuffle))
        program = optimize(graph)
        assert set(shuffled(program).values()) == {name}
        assert (len(shuffled(program)) > 1) is (decision is not Unmoving.FOLDED)
        check_values(graph, optimize(graph, ("pool_first", "collapse_relus")))


@pytest.mark.parametrize("decision", MOVED)
def test_what_cannot_be_folded_is_computed(decision: Unmoving) -> None:
    for row in ROWS[decision]:
        graph = build(grow(Shape(17, 6, 5), row))
        program = optimize(graph)
        kept = {layer.to_tensor for op in program.ops if isinstance(op, PickOp) for layer in op.layers}
        assert kept & {layer.to_tensor for layer in graph.layers if isinstance(layer, Shuffle)}
        check_values(graph, optimize(graph, ("pool_first", "collapse_relus")))


def test_of_two_in_a_row_the_last_is_folded() -> None:
    """And the first is computed: their product is no shuffle."""
    graph = graph_of(Shuffle("x", "a", 3), Shuffle("a", "b", 5), Conv("b", "c", 4, 1, 1), Output("c"))
    program = optimize(graph)
    assert shuffled(program) == {"c": "b"}
    assert [op.writes for op in program.ops if isinstance(op, PickOp)] == ["a"]
    check_values(graph, program)


def test_a_layer_that_reads_it_twice() -> None:
    """As its source, and as what is added to its result: that must be there."""
    graph = graph_of(Shuffle("x", "a", 3), Conv("a", "b", 30, 1, 1), Add("b", "a", "c"), Output("c"))
    program = optimize(graph)
    assert not shuffled(program)
    check_values(graph, program)


@pytest.mark.parametrize(
    ("parts", "taps", "platform", "folded"),
    [
        ((15, 17), 3, "AVX512Float32", False),  # 3 blocks instead of 2, of which a tile algorithm computes all
        ((15, 17), 1, "AVX512Float32", True),
        ((15, 17), 1, "AVX512BFloat16", False),  # pairs of empty lanes
        ((15, 15), 3, "AVX512Float32", True),
        ((15, 15), 1, "AVX512BFloat16", True),
        ((16, 14), 3, "AVX512BFloat16", True),
    ],
)
def test_parts_that_take_more_blocks(parts: tuple[int, int], taps: int, platform: str, folded: bool) -> None:  # noqa: FBT001
    first, second = parts
    graph = build(
        [
            Config(platform=platform),
            Input("x", 5, 3, 4),
            Conv("x", "a", first, 1, 1),
            Conv("x", "b", second, 1, 1),
            Concat("a", "b", "c"),
            Shuffle("c", "d", 2),
            Conv("d", "e", 7, taps, taps),
            Output("e"),
        ]
    )
    program = optimize(graph)
    assert bool(shuffled(program)) is folded
    assert [whole.writes for whole in program.joined] == (["c"] if folded else [])
    check_values(graph, program)


def test_a_slice_is_no_order() -> None:
    """It takes some of the channels, and so its shuffle must be computed."""
    graph = graph_of(Shuffle("x", "a", 3), Slice("a", "b", 0, 20), Conv("b", "c", 4, 1, 1), Output("c"))
    assert not shuffled(optimize(graph))


def test_nothing_is_left_to_do() -> None:
    program = fold_shuffle(lower(parse(example("ShuffleNetV2"))))
    assert fold_shuffle(program) == program


def test_a_depthwise_convolution_leaves_the_order() -> None:
    """Two in a row, with norms and a ReLU between them, and another reader of the second."""
    graph = graph_of(
        Shuffle("x", "a", 3),
        Conv("a", "b", 30, 3, 3, groups=30, padding_h=1, padding_w=1),
        BatchNorm("b", "c"),
        Activation("c", "d", "ReLU"),
        Conv("d", "e", 30, 1, 3, stride_w=2, groups=30),
        Conv("e", "f", 4, 1, 1),
        FullyConnected("e", "g", 5),
        *map(Output, "fg"),
    )
    program = optimize(graph)
    assert shuffled(program) == {"d_unshuffled": "a", "e_unshuffled": "a", "f": "a", "g": "a"}
    assert program.shapes["e_unshuffled"] == program.shapes["e"]
    listed = " ".join(format_program(program).split())
    assert "BatchNorm c} -> ReLU d -> {back}" in listed
    assert "f 4x3x1 = e_unshuffled -> {Shuffle a (3 groups)} Conv f (1x1)" in listed
    check_values(graph, program)


def test_the_last_shuffles_of_stages_of_shufflenet_move_nothing() -> None:
    """All others hand halves to two readers."""
    net = compile_graph(example("ShuffleNetV2"))
    assert "line 225  Shuffle stage4unit4 (2 groups): moves nothing: the weights after it are in" in explain(net.plan)
    assert shuffled(optimize(parse(example("ShuffleNetV2")))) == {
        **dict.fromkeys(("stage3unit1keptDepthwise_unshuffled", "stage3unit1kept", "stage3unit1first"), "stage2unit4"),
        **dict.fromkeys(("stage4unit1keptDepthwise_unshuffled", "stage4unit1kept", "stage4unit1first"), "stage3unit8"),
        "last": "stage4unit4",
    }
