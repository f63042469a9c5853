"""Every pass acts where it should, and does not where it must not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from nn512.errors import UsageError
from nn512.graph import (
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Input,
    Node,
    Output,
    Pooling,
    Softmax,
    build,
)
from nn512.ir import ConvOp, CopyOp, FullyConnectedOp, PoolOp, StoreOp
from nn512.options import Options
from nn512.passes.dedup import dedup
from nn512.passes.drop_concat import drop_concat
from nn512.passes.fold_batchnorm import fold_batchnorm
from nn512.passes.fuse_elementwise import fuse_elementwise
from nn512.passes.lower import lower
from nn512.passes.merge_convs import merge_convs
from nn512.passes.pipeline import PASSES, optimize, stages
from nn512.passes.schedule import schedule
from tests.passes.programs import conv, kinds, names, only, program, relu


class TestDedup:
    def test_equal_nodes_run_once(self) -> None:
        twins: list[Callable[[str], Node]] = [
            lambda to: relu("v", to, 0.5),
            lambda to: Add("x", "v", to),
            lambda to: Pooling("v", to, "Max3x3Stride2", 1, 1),
            lambda to: Softmax("v", to),
            lambda to: Concat("v", "x", to),
        ]
        for make in twins:
            nodes: list[Node] = [relu("x", "v"), make("a"), make("b"), Concat("a", "b", "y"), Output("y")]
            done = dedup(program(*nodes))
            assert len(done.ops) == len(program(*nodes).ops) - 1
            assert done.ops[-2].tensors_read == ("a", "a")

    def test_a_sum_is_the_same_in_either_order(self) -> None:
        done = dedup(program(relu("x", "v"), Add("x", "v", "a"), Add("v", "x", "b"), Add("a", "b", "y"), Output("y")))
        assert kinds(done) == ["Elementwise"] * 3
        assert done.ops[-2].tensors_read == ("a",), "a + b became a + a, which reads a once"

    def test_equality_is_found_behind_equality(self) -> None:
        nodes: list[Node] = [
            relu("x", "a"),
            relu("x", "b"),
            relu("a", "c", 0.5),
            relu("b", "d", 0.5),
            Add("c", "d", "y"),
        ]
        assert kinds(dedup(program(*nodes, Output("y")))) == ["Elementwise"] * 3

    def test_identities_go(self) -> None:
        done = dedup(program(relu("x", "a", 1), relu("a", "b", 1), conv("b", "y"), Output("y")))
        assert kinds(done) == ["Conv"]
        assert done.ops[1].tensors_read == ("x",)

    def test_a_slope_that_float32_rounds_to_one_is_an_identity(self) -> None:
        assert kinds(dedup(program(relu("x", "a", 1.0 + 2**-30), conv("a", "y"), Output("y")))) == ["Conv"]

    def test_what_the_user_asked_for_stays(self) -> None:
        done = dedup(program(relu("x", "a"), relu("x", "b"), relu("b", "c", 1), Output("a"), Output("b"), Output("c")))
        assert kinds(done) == ["Elementwise"] * 3

    def test_different_nodes_stay(self) -> None:
        nodes: list[Node] = [
            relu("x", "a"),
            relu("x", "b", 0.5),
            Pooling("x", "c", "MaxGlobal"),
            Pooling("x", "d", "AvgGlobal"),
        ]
        nodes += [Concat("a", "b", "e"), Concat("b", "a", "f"), Add("e", "f", "g"), Concat("c", "d", "h")]
        before = program(*nodes, Output("g"), Output("h"))
        assert dedup(before) == before

    def test_poolings_of_other_padding_stay(self) -> None:
        pools: list[Node] = [
            Pooling("x", to, "Max3x3Stride2", *padding) for to, padding in (("a", (1, 1)), ("b", (1, 2)), ("c", (2, 1)))
        ]
        before = program(*pools, *(Output(to) for to in "abc"))
        assert dedup(before) == before
        copies: list[Node] = [*pools, *(Softmax(to, f"{to}s") for to in "abc"), *(Output(f"{to}s") for to in "abc")]
        assert dedup(program(*copies)) == program(*copies)

    def test_layers_with_parameters_stay(self) -> None:
        nodes: list[Node] = [
            conv("x", "a"),
            conv("x", "b"),
            BatchNorm("a", "c"),
            BatchNorm("a", "d"),
            Add("b", "c", "e"),
        ]
        before = program(*nodes, Add("d", "e", "y"), Output("y"))
        assert dedup(before) == before


class TestFoldBatchNorm:
    def test_after_a_convolution(self) -> None:
        done = fold_batchnorm(program(conv("x", "a", 1, 3), BatchNorm("a", "b"), BatchNorm("b", "y"), Output("y")))
        op = only(done, ConvOp)
        assert isinstance(op, ConvOp)
        assert [n.to_tensor for n in op.branches[0].folded] == ["b", "y"]
        assert op.branches[0].writes == "y"
        assert kinds(done) == ["Conv"]

    def test_after_a_fully_connected_layer(self) -> None:
        done = fold_batchnorm(program(FullyConnected("x", "a", 4), BatchNorm("a", "y"), Output("y")))
        assert kinds(done) == ["FullyConnected"]

    def test_before_layers_without_padding(self) -> None:
        nodes: list[Node] = [
            BatchNorm("x", "a"),
            BatchNorm("a", "b"),
            conv("b", "c", 0, 3),
            FullyConnected("b", "y", 3),
        ]
        done = fold_batchnorm(program(*nodes, Output("c"), Output("y")))
        assert kinds(done) == ["Conv", "FullyConnected"]
        for op in done.ops:
            if isinstance(op, ConvOp | FullyConnectedOp):
                assert op.source == "x"
                assert [n.to_tensor for n in op.normalized] == ["a", "b"]

    @pytest.mark.parametrize(
        "nodes",
        [
            [conv("x", "a"), BatchNorm("a", "b"), relu("a", "c"), Add("b", "c", "y"), Output("y")],
            [conv("x", "a"), BatchNorm("a", "y"), Output("a"), Output("y")],
            [conv("x", "a"), BatchNorm("a", "b"), BatchNorm("a", "c"), Add("b", "c", "y"), Output("y")],
            [conv("x", "a"), relu("a", "b"), BatchNorm("b", "y"), Output("y")],
            [BatchNorm("x", "y"), Output("y")],
        ],
        ids=["second reader", "output", "two norms", "ReLU between", "alone"],
    )
    def test_not_after(self, nodes: list[Node]) -> None:
        assert "Elementwise" in kinds(fold_batchnorm(program(*nodes)))
        assert not any(op.branches[0].folded for op in fold_batchnorm(program(*nodes)).ops if isinstance(op, ConvOp))

    @pytest.mark.parametrize(
        "nodes",
        [
            [BatchNorm("x", "a"), conv("a", "y", 1), Output("y")],
            [BatchNorm("x", "a"), conv("a", "y"), Output("a"), Output("y")],
            [BatchNorm("x", "a"), conv("a", "b"), relu("a", "c"), Add("b", "c", "y"), Output("y")],
            [BatchNorm("x", "a"), conv("a", "b"), Add("a", "b", "y"), Output("y")],
            [BatchNorm("x", "a"), conv("a", "b"), conv("a", "c", 1, 3), Add("b", "c", "y"), Output("y")],
        ],
        ids=["padding", "output", "another reader", "read by a sum, too", "one with padding"],
    )
    def test_not_before(self, nodes: list[Node]) -> None:
        assert fold_batchnorm(program(*nodes)) == program(*nodes)


class TestMergeConvs:
    def test_similar_ones_become_one(self) -> None:
        pair: list[Node] = [conv("x", to, 1, 3, stride_h=2) for to in "ab"]
        pair += [relu("a", "c"), Softmax("b", "d")]
        done = merge_convs(program(*pair, Output("c"), Output("d")))
        op = only(done, ConvOp)
        assert isinstance(op, ConvOp)
        assert [b.writes for b in op.branches] == ["a", "b"]

    @pytest.mark.parametrize(
        ("taps", "more", "merged"),
        [
            ((1, 1), {}, True),
            ((3, 3), {}, False),
            ((1, 7), {}, False),
            ((5, 1), {}, False),
            ((7, 7), {}, False),
            ((3, 8), {}, True),
            ((3, 3), {"stride_h": 2}, True),
            ((3, 3), {"stride_w": 2}, True),
            ((3, 3), {"dilation_h": 2}, True),
            ((3, 3), {"dilation_w": 2}, True),
        ],
    )
    def test_filters_that_tiles_serve_stay_apart(
        self, taps: tuple[int, int], more: Mapping[str, Any], *, merged: bool
    ) -> None:
        plain = Conv("x", "a", 8, *taps, padding_h=3, padding_w=3)
        convs = [dataclasses.replace(plain, to_tensor=to, **more) for to in "ab"]
        done = merge_convs(program(*convs, Output("a"), Output("b")))
        assert kinds(done) == ["Conv"] * (1 if merged else 2)

    def test_three(self) -> None:
        done = merge_convs(program(*(conv("x", to) for to in "abc"), *(Output(to) for to in "abc")))
        assert kinds(done) == ["Conv"]

    def test_two_halves_of_a_concat(self) -> None:
        done = merge_convs(program(conv("x", "a"), conv("x", "b"), Concat("a", "b", "y"), Output("y")))
        assert kinds(done) == ["Conv", "Concat"]

    def test_epilogues_may_differ(self) -> None:
        nodes: list[Node] = [conv("x", "a"), conv("x", "b"), relu("a", "c"), relu("b", "d", 0.5), BatchNorm("d", "e")]
        done = optimize(program(*nodes, Output("c"), Output("e")).graph)
        op = only(done, ConvOp)
        assert isinstance(op, ConvOp)
        assert [len(b.epilogue) for b in op.branches] == [1, 2]
        assert kinds(done) == ["Conv"]

    @pytest.mark.parametrize(
        "other",
        [
            conv("x", "b", 1, 3),
            conv("x", "b", 0, 3),
            conv("x", "b", 1, 1),
            conv("x", "b", 0, 1, stride_h=2),
            conv("x", "b", 0, 1, dilation_w=2),
            conv("x", "b", 0, 1, groups=2),
            conv("v", "b"),
        ],
    )
    def test_not_of_another_geometry_or_source(self, other: Conv) -> None:
        nodes: list[Node] = [relu("x", "v"), conv("x", "a"), other, Output("a"), Output("b"), Output("v")]
        assert merge_convs(program(*nodes)) == program(*nodes)

    def test_not_when_only_one_has_a_norm_in_its_weights(self) -> None:
        nodes: list[Node] = [BatchNorm("x", "n"), conv("n", "a"), conv("x", "b"), Output("a"), Output("b")]
        done = optimize(program(*nodes).graph)
        assert kinds(done) == ["Conv", "Conv"]
        assert [len(op.normalized) for op in done.ops if isinstance(op, ConvOp)] == [1, 0]

    def test_not_when_they_meet_in_a_sum(self) -> None:
        nodes: list[Node] = [conv("x", "a"), conv("x", "b"), Add("a", "b", "y"), Output("y")]
        assert kinds(merge_convs(program(*nodes))) == ["Conv", "Conv", "Elementwise"]
        done = optimize(program(*nodes).graph)
        assert kinds(done) == ["Conv", "Conv"], "the sum is in the epilogue of the second"

    def test_a_sum_never_reads_what_comes_after_it(self) -> None:
        """The sum's other operand is computed after the merged pair, which therefore cannot take the sum."""
        nodes: list[Node] = [conv("x", "a"), conv("x", "b"), conv("b", "c", 1, 3), Add("a", "c", "y"), Output("y")]
        done = optimize(program(*nodes).graph)
        assert kinds(done) == ["Conv", "Conv"]
        assert names(done.ops[1]) == ["a", "b"]
        assert names(done.ops[2]) == ["c", "y"]
        done = optimize(program(*nodes, Output("c")).graph)
        assert kinds(done) == ["Conv", "Conv", "Elementwise"], "as an output, c cannot take it either"

    def test_a_merged_pair_stays_before_all_that_read_it(self) -> None:
        nodes: list[Node] = [conv("x", "a"), conv("x", "b"), Softmax("b", "s"), Softmax("s", "t"), relu("a", "y")]
        done = fuse_elementwise(merge_convs(program(*nodes, Output("t"), Output("y"))))
        assert kinds(done) == ["Conv", "Softmax", "Softmax"]
        assert names(done.ops[1]) == ["a", "y", "b"]


class TestDropConcat:
    def test_parts_are_written_in_place(self) -> None:
        done = drop_concat(program(conv("x", "a"), Concat("x", "a", "y"), Output("y")))
        assert kinds(done) == ["Conv"]
        assert [(j.parts, j.writes) for j in done.joined] == [(("x", "a"), "y")]

    def test_twice_the_same(self) -> None:
        done = drop_concat(program(Concat("x", "x", "y"), Output("y")))
        assert kinds(done) == ["Copy"]
        assert done.joined[0].parts == ("x", "y_part2")

    def test_in_two_concats(self) -> None:
        done = drop_concat(
            program(conv("x", "a"), Concat("x", "a", "b"), Concat("a", "x", "c"), Output("b"), Output("c"))
        )
        assert kinds(done) == ["Conv", "Copy", "Copy"]

    def test_nested_ones_need_no_copy(self) -> None:
        nodes: list[Node] = [conv("x", "a"), conv("x", "b", 1, 3), conv("x", "c"), conv("x", "d")]
        nested: list[Node] = [
            Concat("a", "b", "e"),
            Concat("c", "d", "f"),
            Concat("e", "f", "g"),
            Concat("g", "x", "y"),
        ]
        done = drop_concat(program(*nodes, *nested, Output("e"), Output("b"), Output("y")))
        assert not any(isinstance(op, CopyOp) for op in done.ops)
        assert len(done.joined) == 4

    def test_a_whole_in_two_wholes_is_copied(self) -> None:
        nodes: list[Node] = [
            conv("x", "a"),
            Concat("x", "a", "b"),
            conv("b", "c"),
            Concat("b", "c", "d"),
            Concat("c", "b", "e"),
        ]
        done = drop_concat(program(*nodes, Output("d"), Output("e")))
        assert [op.tensors_read for op in done.ops if isinstance(op, CopyOp)] == [("c",), ("b",)]


class TestSchedule:
    def test_a_large_tensor_is_reduced_before_another_is_made(self) -> None:
        big: list[Node] = [Conv("x", f"a{i}", 64, 1, 1, stride_h=1 + i) for i in range(3)]
        small: list[Node] = [Pooling(f"a{i}", f"b{i}", "AvgGlobal") for i in range(3)]
        done = schedule(program(*big, *small, *(Output(f"b{i}") for i in range(3))))
        assert [names(op)[0] for op in done.ops[1:4:2]] != ["a0", "a1"]
        order = [names(op)[0] for op in done.ops]
        for i in range(3):
            assert order.index(f"b{i}") <= order.index(f"a{i}") + 1

    def test_an_order_that_is_no_better_changes_nothing(self) -> None:
        before = program(conv("x", "a"), relu("a", "b"), Add("a", "b", "y"), Output("y"))
        assert schedule(before) is before

    def test_inputs_come_late_and_results_leave_early(self) -> None:
        graph = build(
            [
                *(Config(), Input("x", 64, 9, 9), Input("z", 64, 9, 9)),
                *(Pooling("x", "a", "AvgGlobal"), Pooling("z", "b", "AvgGlobal"), Add("a", "b", "y")),
                *(Output("a"), Output("y")),
            ]
        )
        order = [type(op).__name__ for op in schedule(lower(graph)).ops]
        assert order == ["LoadOp", "PoolOp", "StoreOp", "LoadOp", "PoolOp", "ElementwiseOp", "StoreOp"]


def test_outputs_at_every_place_survive() -> None:
    nodes: list[Node] = [
        conv("x", "a", 1, 3),
        BatchNorm("a", "b"),
        relu("b", "c"),
        Add("c", "c", "d"),
        relu("d", "e", 1),
    ]
    nodes += [Concat("d", "e", "f"), Pooling("f", "g", "Max2x2Stride2"), Softmax("g", "h"), FullyConnected("h", "i", 3)]
    graph = build([Config(), Input("x", 8, 6, 6), *nodes, *(Output(to) for to in "abcdefghi")])
    for _, done in stages(graph):
        assert {op.source for op in done.ops if isinstance(op, StoreOp)} == set("abcdefghi")


def test_passes_can_be_left_out() -> None:
    nodes: list[Node] = [conv("x", "a"), BatchNorm("a", "b"), relu("b", "y"), Output("y")]
    graph = program(*nodes).graph
    assert kinds(optimize(graph)) == ["Conv"]
    assert kinds(optimize(graph, {"fuse_elementwise"})) == ["Conv", "Elementwise"]
    assert kinds(optimize(graph, {"fold_batchnorm"})) == ["Conv"], "the norm is in the epilogue"
    assert optimize(graph, set(PASSES)) == lower(graph)
    assert [name for name, _ in stages(graph, {"schedule"})] == ["lower", *list(PASSES)[:-1]]


def test_options_name_passes() -> None:
    options = Options(("schedule", "dedup", "dedup"))
    assert options.without_passes == ("dedup", "schedule")
    assert Options.from_dict(options.to_dict()) == options
    with pytest.raises(UsageError, match=r"there is no pass 'fold'; there are dedup, skip_unread"):
        Options(("fold",))


def test_pooling_keeps_its_own_prologue_apart() -> None:
    nodes: list[Node] = [relu("x", "a", -1), Pooling("a", "b", "Max2x2Stride2"), relu("b", "y", 0.5), Output("y")]
    op = only(optimize(program(*nodes).graph), PoolOp)
    assert isinstance(op, PoolOp)
    assert len(op.prologue) == len(op.epilogue) == 1
