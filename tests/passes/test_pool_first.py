"""Averages move before 1x1 convolutions where they may and where it pays, and what comes out is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nn512
import reference
from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.judge.checker import check_case
from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    Config,
    Conv,
    Graph,
    Input,
    Node,
    Output,
    Pooling,
    Shape,
    build,
    example,
    format_graph,
    parse,
)
from nn512.ir import ConvOp, PoolOp, Program, format_program, to_graph
from nn512.options import Options
from nn512.passes.effects import effects
from nn512.passes.fold_batchnorm import fold_batchnorm
from nn512.passes.lower import lower
from nn512.passes.pipeline import optimize, stages
from nn512.passes.pool_first import pool_first
from nn512.passes.roles import occurrences, roles_of, vanished


def net(*nodes: Node, channels: int = 32, size: int = 8) -> Graph:
    return build([Config(), Input("x", channels, size, size), *nodes])


def moved(*nodes: Node, channels: int = 32, size: int = 8) -> Program:
    """The program after the pass, batch norms folded before it."""
    return pool_first(fold_batchnorm(lower(net(*nodes, channels=channels, size=size))))


def stays(*nodes: Node, channels: int = 32, size: int = 8) -> bool:
    before = fold_batchnorm(lower(net(*nodes, channels=channels, size=size)))
    return pool_first(before) is before


def conv(source: str, to: str, channels: int = 32, groups: int = 1) -> Conv:
    return Conv(source, to, channels, 1, 1, groups=groups)


def halved(source: str, to: str) -> Pooling:
    return Pooling(source, to, "Avg2x2Stride2")


def text(program: Program) -> list[str]:
    """The program without the alignment."""
    return [" ".join(line.split()) for line in format_program(program).splitlines()]


PAIR = (conv("x", "c"), halved("c", "y"))


class TestMoves:
    def test_they_take_each_others_places(self) -> None:
        done = moved(*PAIR, Output("y"))
        assert text(done)[1:-1] == [
            "x_averaged 32x4x4 = x -> Pooling y (Avg2x2Stride2)",
            "y 32x4x4 = x_averaged -> Conv c (1x1)",
        ]
        assert done.shapes["c"] == Shape(32, 4, 4), "of which the work is counted"

    @pytest.mark.parametrize("groups", [2, 8, 32])
    def test_of_groups(self, groups: int) -> None:
        assert not stays(conv("x", "c", groups=groups), halved("c", "y"), Output("y"))

    @pytest.mark.parametrize(
        ("fields", "may_move"),
        [
            ({"stride_h": 2, "stride_w": 2}, True),
            ({"stride_h": 2, "stride_w": 2, "padding_top": 1, "padding_right": 1}, True),
            ({"stride_h": 2, "stride_w": 3, "count_padding": 1}, True),
            ({"stride_h": 2, "stride_w": 2, "padding_top": 1, "count_padding": 1}, False),
            ({"stride_h": 2, "stride_w": 2, "padding_right": 2, "count_padding": 1}, False),
            ({"padding_h": 1, "padding_w": 1}, False),  # as many pixels as before
        ],
    )
    def test_averages_of_any_numbers(self, fields: dict[str, Any], may_move: bool, runs_here: str) -> None:  # noqa: FBT001
        """Unless padding is counted: a bias would count as zero there, too. What comes out is right either way."""
        assert runs_here
        pool = Pooling("c", "y", "Avg", window_h=3, window_w=3, **fields)
        nodes = (conv("x", "c"), pool, Output("y"))
        assert stays(*nodes) != may_move
        graph = net(*nodes, size=9)
        data = tuple(DataSeed(regime, 1) for regime in ("exact", "gaussian", "wide", "constant"))
        report = check_case(Case(format_graph(graph), {}, "-Og", data))
        assert report.verified, "\n".join(map(str, report.problems))

    def test_a_maximum_stays(self) -> None:
        pool = Pooling("c", "y", "Max", window_h=3, window_w=3, stride_h=2, stride_w=2)
        assert stays(conv("x", "c"), pool, Output("y"))

    def test_norms_in_the_weights_move_along(self) -> None:
        done = moved(
            BatchNorm("x", "m"), conv("m", "c"), BatchNorm("c", "n"), Pooling("n", "y", "AvgGlobal"), Output("y")
        )
        assert text(done)[1:-1] == [
            "x_averaged 32x1x1 = x -> Pooling y (AvgGlobal)",
            "y 32x1x1 = x_averaged -> {BatchNorm m} Conv c (1x1) {BatchNorm n}",
        ]

    def test_before_two_convolutions_and_a_convolution_behind_two_averages(self) -> None:
        nodes = (conv("x", "c"), conv("c", "d"), halved("d", "p"), Pooling("p", "y", "AvgGlobal"))
        done = moved(*nodes, Output("y"))
        assert text(done)[1:-1] == [
            "x_averaged 32x4x4 = x -> Pooling p (Avg2x2Stride2)",
            "x_averaged_averaged 32x1x1 = x_averaged -> Pooling y (AvgGlobal)",
            "c_averaged_averaged 32x1x1 = x_averaged_averaged -> Conv c (1x1)",
            "y 32x1x1 = c_averaged_averaged -> Conv d (1x1)",
        ]
        pools = [op for op in done.ops if isinstance(op, PoolOp)]
        assert [op.ahead_of for op in pools] == [("c", "d"), ("c", "d")]

    def test_what_stands_around_is_fused(self) -> None:
        """In a transition of DenseNet the norm before it becomes the pooling's prologue."""
        nodes = (BatchNorm("x", "n"), Activation("n", "r", "ReLU"), conv("r", "c"), halved("c", "p"))
        done = optimize(net(*nodes, Activation("p", "y", "ReLU"), Output("y")))
        pool, convolution = done.ops[1:3]
        assert isinstance(pool, PoolOp)
        assert isinstance(convolution, ConvOp)
        assert [step.node.to_tensor for step in pool.prologue] == ["n", "r"]
        assert not pool.epilogue
        assert not convolution.prologue
        assert [step.node.to_tensor for step in convolution.branches[0].epilogue] == ["y"]

    def test_convolutions_share_an_average_and_are_merged(self) -> None:
        done = moved(conv("x", "c"), halved("c", "y"), conv("x", "d"), halved("d", "z"), Output("y"), Output("z"))
        assert text(done)[1:-2] == [
            "x_averaged 32x4x4 = x -> Pooling y (Avg2x2Stride2)",
            "y 32x4x4 = x_averaged -> Conv c (1x1)",
            "z 32x4x4 = x_averaged -> Conv d (1x1)",
        ]
        (pool,) = (op for op in done.ops if isinstance(op, PoolOp))
        assert pool.ahead_of == ("c", "d")
        merged = [op for op in optimize(done.graph).ops if isinstance(op, ConvOp)]
        assert [len(op.branches) for op in merged] == [2]

    def test_an_average_of_the_users_is_shared(self) -> None:
        done = moved(halved("x", "p"), *PAIR, Output("y"), Output("p"))
        assert "y 32x4x4 = p -> Conv c (1x1)" in text(done)
        assert sum(isinstance(op, PoolOp) for op in done.ops) == 1

    def test_other_averages_are_not(self) -> None:
        pools = (halved("c", "y"), Pooling("d", "z", "Avg2x2Stride2", 1, 1), Pooling("e", "v", "Avg3x3Stride2"))
        done = moved(*(conv("x", to) for to in "cde"), *pools, *(Output(to) for to in "yzv"))
        made = [op.writes for op in done.ops if isinstance(op, PoolOp)]
        assert made == ["x_averaged", "x_averaged_to_z", "x_averaged_to_v"]

    def test_averages_of_the_user_stay_two_where_dedup_is_left_out(self) -> None:
        nodes = (halved("x", "p"), halved("x", "q"), *PAIR, Output("p"), Output("y"), Output("q"))
        made = [op.writes for op in moved(*nodes).ops if isinstance(op, PoolOp)]
        assert made == ["p", "q"]


class TestStays:
    @pytest.mark.parametrize(
        "between",
        [
            replace(conv("x", "c"), filter_h=3),
            replace(conv("x", "c"), filter_w=2),
            replace(conv("x", "c"), stride_w=2),
            Conv("x", "c", 32, 1, 1, padding_h=1),
        ],
        ids=["3x1", "1x2", "stride", "padding"],
    )
    def test_behind_another_convolution(self, between: Conv) -> None:
        assert stays(between, halved("c", "y"), Output("y"))

    @pytest.mark.parametrize("kind", ["Max2x2Stride2", "Max3x3Stride2", "MaxGlobal"])
    def test_a_maximum(self, kind: str) -> None:
        assert stays(conv("x", "c"), Pooling("c", "y", kind), Output("y"))

    @pytest.mark.parametrize(
        "nodes",
        [
            (conv("x", "c"), Activation("c", "r", "ReLU"), halved("r", "y")),
            (conv("x", "c"), Add("c", "x", "s"), halved("s", "y")),
            (BatchNorm("x", "n"), halved("n", "y")),
            (*PAIR, Output("c")),
            (*PAIR, Pooling("c", "z", "Max2x2Stride2"), Output("z")),
            (conv("x", "c"), BatchNorm("c", "n"), halved("n", "y"), Output("n")),
        ],
        ids=["ReLU between", "sum between", "no convolution", "output", "second reader", "norm is an output"],
    )
    def test_not(self, nodes: tuple[Node, ...]) -> None:
        assert stays(*nodes, Output("y"))

    def test_where_no_pixel_is_saved(self) -> None:
        assert stays(conv("x", "c"), Pooling("c", "y", "Avg2x2Stride2", 1, 1), Output("y"), size=2)
        assert stays(conv("x", "c"), Pooling("c", "y", "AvgGlobal"), Output("y"), size=1)

    def test_where_there_are_many_more_channels_to_average(self) -> None:
        """A product or two for each of 512 channels is less than to read and write them once more."""
        assert stays(conv("x", "c", 16, groups=16), halved("c", "y"), Output("y"), channels=512)
        assert not stays(conv("x", "c", 16), halved("c", "y"), Output("y"), channels=512)


@pytest.mark.parametrize("kind", ["Avg2x2Stride2", "Avg3x3Stride2", "AvgGlobal"])
@pytest.mark.parametrize("groups", [1, 3])
def test_emitted_code_is_right(kind: str, groups: int, runs_here: str) -> None:
    """Every kind of average, on tails of channels and at padding, with norms on all sides."""
    assert runs_here
    padding = (0, 0) if kind == "AvgGlobal" else (1, int(kind[3]) - 1)
    nodes = (
        *(Config(), Input("x", 18, 7, 9), BatchNorm("x", "n"), Activation("n", "r", "ReLU", 0.5)),
        *(Conv("r", "c", 33, 1, 1, groups=groups), BatchNorm("c", "m"), Pooling("m", "p", kind, *padding)),
        *(BatchNorm("p", "q"), Activation("q", "y", "ReLU"), Output("y")),
    )
    data = tuple(DataSeed(regime, 1) for regime in ("exact", "impulse", "gaussian", "cancelling", "nonfinite"))
    report = check_case(Case(format_graph(nodes), Options().to_dict(), "-Og", data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    assert [layer.name for layer in report.layers] == ["x_load", "r_averaged", "y", "y_store"]
    assert report.sources is not None
    assert f"Pooling p ({kind}" in report.sources.source
    assert ", moved before c\n" in report.sources.source


def test_densenet_computes_a_twelfth_less() -> None:
    """Of 2,834 million multiply-accumulates; the three transitions drop from 308 to 77."""
    text = example("DenseNet121")
    layers = nn512.compile(text).plan.layers
    plain = nn512.compile(text, Options(("pool_first",))).plan.layers
    assert sum(layer.mmac for layer in plain) == pytest.approx(2834.16, abs=0.01)
    assert sum(layer.mmac for layer in layers) == pytest.approx(2834.16 - 3 * 77.07, abs=0.01)
    assert len(layers) == len(plain)


def test_explanations() -> None:
    graph = net(conv("x", "c"), halved("c", "y"), conv("x", "d"), halved("d", "z"), Output("y"), Output("z"))
    programs = list(stages(graph, ("merge_convs",)))
    done = {effect.name: effect.text for effect in effects(programs)}
    less = f"{2 * 32 * 32 * (64 - 16) / 1e6:.2f} MMAC less"
    assert done["pool_first"] == f"7 -> 6 operations; 2 averages taken before their convolutions; {less}; 1 node gone"
    program = programs[-1][1]
    (why,) = (r.why for op in program.ops for r in roles_of(op, occurrences(program)) if isinstance(r.node, Pooling))
    assert why == "moved before c and d: both are linear, and so there are fewer pixels to compute"
    (gone,) = vanished(programs)
    assert isinstance(gone.node, Pooling)
    assert gone.node.to_tensor == "z"


def test_an_output_keeps_its_name_in_the_graph_of_the_program() -> None:
    graph = parse(format_graph((Config(), Input("x", 4, 6, 6), conv("x", "c", 8), halved("c", "y"), Output("y"))))
    again = to_graph(pool_first(lower(graph)))
    assert again.shapes["c"] == again.shapes["y"] == Shape(8, 3, 3)
    data = regimes.draw(graph, "gaussian", 0)
    expected, got = (reference.run(g, data.params, data.inputs)["y"] for g in (graph, again))
    np.testing.assert_allclose(got.value, expected.value, rtol=1e-12)
