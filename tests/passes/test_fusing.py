"""Element-wise steps that become part of other layers, and ReLUs that become one."""

from __future__ import annotations

import pytest

from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    FullyConnected,
    Node,
    Output,
    Pooling,
    Softmax,
)
from nn512.ir import ConvOp, ElementwiseOp
from nn512.passes.collapse_relus import collapse_relus
from nn512.passes.fuse_elementwise import fuse_elementwise
from nn512.passes.pipeline import optimize
from tests.passes.programs import conv, kinds, names, only, program, relu


class TestFuseElementwise:
    def test_a_chain_goes_into_its_producer(self) -> None:
        chain: list[Node] = [BatchNorm("v", "a"), relu("a", "b"), Add("b", "x", "c"), relu("c", "y", 0.5), Output("y")]
        producers: list[Node] = [conv("x", "v", 1, 3), Add("x", "x", "v"), relu("x", "v")]
        for producer in producers:
            done = fuse_elementwise(program(producer, *chain))
            assert len(kinds(done)) == 1
            assert names(done.ops[1]) == ["v", "a", "b", "c", "y"]

    def test_pooling_and_fully_connected_take_chains(self) -> None:
        for producer in (Pooling("x", "v", "MaxGlobal"), FullyConnected("x", "v", 8)):
            nodes: list[Node] = [producer, Pooling("x", "w", "AvgGlobal"), Add("v", "w", "a"), relu("a", "y")]
            done = fuse_elementwise(program(*nodes, Output("y")))
            assert "Elementwise" not in kinds(done)
            assert names(done.ops[2]) in (["w", "a", "y"], ["v", "a", "y"])

    def test_a_sum_goes_into_the_later_operand(self) -> None:
        nodes: list[Node] = [conv("x", "a"), conv("a", "b"), conv("b", "c"), Add("a", "c", "y"), Output("y")]
        done = fuse_elementwise(program(*nodes))
        assert names(done.ops[3]) == ["c", "y"]

    def test_x_plus_x(self) -> None:
        done = fuse_elementwise(program(conv("x", "a"), Add("a", "a", "y"), Output("y")))
        op = only(done, ConvOp)
        assert isinstance(op, ConvOp)
        assert op.branches[0].epilogue[0].operands == ()
        assert op.tensors_read == ("x",)

    def test_a_chain_without_sums_goes_into_its_consumer(self) -> None:
        for last in (conv("b", "y", 1, 3), Pooling("b", "y", "Avg3x3Stride2", 1, 1)):
            done = fuse_elementwise(program(BatchNorm("x", "a"), relu("a", "b"), last, Output("y")))
            assert len(kinds(done)) == 1
            assert names(done.ops[1]) == ["a", "b", "y"]

    def test_not_before_a_norm_that_is_in_the_weights(self) -> None:
        """The prologue of a convolution comes after the norms in its weights."""
        done = optimize(program(relu("x", "a"), BatchNorm("a", "b"), conv("b", "y"), Output("y")).graph)
        assert kinds(done) == ["Elementwise", "Conv"]

    def test_a_relu_may_be_computed_twice(self) -> None:
        pools: list[Node] = [Pooling("a", "b", "Max2x2Stride2"), Pooling("a", "c", "Avg2x2Stride2")]
        done = fuse_elementwise(program(relu("x", "a"), *pools, Output("b"), Output("c")))
        assert kinds(done) == ["Pool", "Pool"]
        assert [names(op) for op in done.ops[1:3]] == [["a", "b"], ["a", "c"]]

    def test_a_long_chain_or_a_norm_is_not_computed_twice(self) -> None:
        pools: list[Node] = [
            Pooling("v", "b", "Max2x2Stride2"),
            Pooling("v", "c", "Avg2x2Stride2"),
            Output("b"),
            Output("c"),
        ]
        long: list[Node] = [relu("x" if i == 0 else f"r{i}", "v" if i == 5 else f"r{i + 1}", 0.5) for i in range(6)]
        for chain in ([BatchNorm("x", "v")], long):
            assert kinds(fuse_elementwise(program(*chain, *pools))) == ["Elementwise", "Pool", "Pool"]

    def test_a_sum_is_computed_once(self) -> None:
        pools: list[Node] = [Pooling("a", "b", "Max2x2Stride2"), Pooling("a", "c", "Avg2x2Stride2")]
        done = fuse_elementwise(program(Add("x", "x", "a"), *pools, Output("b"), Output("c")))
        assert kinds(done) == ["Elementwise", "Pool", "Pool"]
        one = fuse_elementwise(program(Add("x", "x", "a"), pools[0], Output("b")))
        assert kinds(one) == ["Elementwise", "Pool"], "a pooling would add every element up to four times"

    @pytest.mark.parametrize(
        "nodes",
        [
            [conv("x", "a"), relu("a", "y"), Output("a"), Output("y")],
            [conv("x", "a"), relu("a", "b"), Softmax("a", "c"), Add("b", "c", "y"), Output("y")],
            [Softmax("x", "a"), relu("a", "y"), Output("y")],
            [relu("x", "a"), conv("a", "y"), Output("a"), Output("y")],
            [relu("x", "a"), conv("a", "b"), conv("a", "c", 1, 3), Add("b", "c", "y"), Output("y")],
        ],
        ids=["output", "two readers", "softmax", "output before", "two convolutions"],
    )
    def test_not(self, nodes: list[Node]) -> None:
        assert "Elementwise" in kinds(fuse_elementwise(program(*nodes)))

    def test_a_merged_pair_takes_only_what_is_there_before_it(self) -> None:
        nodes: list[Node] = [conv("x", "v", 1, 3), conv("x", "a"), conv("x", "b"), Add("a", "v", "c"), relu("b", "d")]
        done = optimize(program(*nodes, Output("c"), Output("d")).graph)
        assert [names(op) for op in done.ops if isinstance(op, ConvOp)] == [["v"], ["a", "c", "b", "d"]]


class TestCollapseRelus:
    @pytest.mark.parametrize(
        ("slopes", "left"),
        [
            ((0.5, 0.25), [0.125]),
            ((0.5, -2.0), [-1.0]),
            ((-2.0, 7.0), [-2.0]),
            ((-1.0, -1.0), [-1.0]),
            ((0.0, -3.0), [0.0]),
            ((-3.0, 0.0), [-3.0]),
            ((0.5, 0.5, -1.0, 0.0, 4.0), [-0.25]),
            ((2.0, 0.5), []),
            ((1.0,), []),
            ((2.0**-100, 2.0**-100), [2.0**-100, 2.0**-100]),
            ((2.0**100, 2.0**100), [2.0**100, 2.0**100]),
            ((2.0**-140, 0.0), [0.0]),
        ],
    )
    def test_slopes(self, slopes: tuple[float, ...], left: list[float]) -> None:
        nodes: list[Node] = [relu(f"t{i}" if i else "v", f"t{i + 1}", slope) for i, slope in enumerate(slopes)]
        before = program(conv("x", "v"), *nodes, Output(f"t{len(slopes)}"))
        op = only(collapse_relus(fuse_elementwise(before)), ConvOp)
        assert isinstance(op, ConvOp)
        found = [step.node.param for step in op.branches[0].epilogue if isinstance(step.node, Activation)]
        assert found == left

    def test_slopes_multiply_as_float32(self) -> None:
        before = program(relu("x", "a", 0.1), relu("a", "y", 0.1), Output("y"))
        op = only(collapse_relus(fuse_elementwise(before)), ElementwiseOp)
        assert isinstance(op, ElementwiseOp)
        node = op.steps[0].node
        assert isinstance(node, Activation)
        assert node.param == 0.100000001490116119384765625**2

    def test_a_chain_that_does_nothing_still_writes_its_result(self) -> None:
        before = program(relu("x", "a", 0.5), relu("a", "y", 2.0), Output("y"))
        op = only(collapse_relus(fuse_elementwise(before)), ElementwiseOp)
        assert isinstance(op, ElementwiseOp)
        assert [step.node for step in op.steps] == [relu("a", "y", 1.0)]

    def test_not_across_other_steps(self) -> None:
        nodes: list[Node] = [relu("x", "a"), BatchNorm("a", "b"), relu("b", "c"), Add("c", "c", "d"), relu("d", "y")]
        done = collapse_relus(fuse_elementwise(program(*nodes, Output("y"))))
        assert names(done.ops[1]) == ["a", "b", "c", "d", "y"]
