"""Functions of two tensors among the passes: where they move, from which side, and what of their operands is read."""

from __future__ import annotations

import re

import numpy as np
import pytest

import reference
from nn512.graph import Graph, parse
from nn512.ir import ChannelNormOp, ConvOp, ElementwiseOp, PoolOp, Program, SampleOp, format_program, to_graph
from nn512.params import random_params
from nn512.passes.dedup import dedup
from nn512.passes.lower import lower
from nn512.passes.pipeline import optimize
from nn512.passes.skip_unread import skip_unread


def net(*lines: str) -> Graph:
    """A graph of an input x, 20 x 8 x 10, and a gate g, 20 x 1 x 1, where they are read; what nobody reads is kept."""
    text = "\n".join(lines)
    written = re.findall(r"ToTensor=(\w+)", text)
    read = set(re.findall(r"FromTensor\d?=(\w+)", text))
    shapes = {"x": "Height=8 Width=10", "g": "Height=1 Width=1"}
    head = [f"Input ToTensor={name} Channels=20 {shape}" for name, shape in shapes.items() if name in read]
    outputs = [f"Output FromTensor={name}" for name in written if name not in read]
    return parse("\n".join(["Config", *head, text, *outputs]))


def conv(source: str, to: str, size: int = 3, stride: int = 1) -> str:
    padding = f"PaddingH={size // 2} PaddingW={size // 2}"
    filter_ = f"FilterH={size} FilterW={size} StrideH={stride} StrideW={stride}"
    return f"Conv FromTensor={source} ToTensor={to} ToChannels=20 {filter_} {padding}"


def pair(kind: str, first: str, second: str, to: str) -> str:
    return f"{kind} FromTensor1={first} FromTensor2={second} ToTensor={to}"


def same_meaning(graph: Graph, program: Program) -> bool:
    params = random_params(graph, 0)
    rng = np.random.default_rng(0)
    inputs = {i.to_tensor: rng.uniform(0.5, 2, graph.shapes[i.to_tensor]).astype(np.float32) for i in graph.inputs}
    before, after = (reference.run(each, params, inputs, sampled=0) for each in (graph, to_graph(program)))
    return all(np.allclose(before[name].value, after[name].value, rtol=1e-12) for name in before)


def operations(program: Program, kind: type) -> list[str]:
    return [op.name for op in program.ops if isinstance(op, kind)]


@pytest.mark.parametrize("kind", ["Sub", "Div", "Max"])
def test_either_tensor_may_be_the_convolutions(kind: str) -> None:
    graph = net(
        conv("x", "a"), conv("x", "b"), pair(kind, "x", "a", "c"), pair(kind, "b", "x", "d"), pair(kind, "c", "d", "y")
    )
    program = optimize(graph)
    assert not operations(program, ElementwiseOp)
    assert same_meaning(graph, program)
    text = format_program(program)
    assert f"{kind} c (x - it)" in text or kind != "Sub"
    assert f"{kind} c (x / it)" in text or kind != "Div"
    assert f"{kind} c (with x)" in text or kind != "Max"


def test_an_operand_of_one_pixel_rides_on_both_sides() -> None:
    """On what a convolution writes, where that has no other reader, and on what one or a pooling reads."""
    graph = net(conv("x", "a"), pair("Mul", "a", "g", "b"), conv("b", "y"))
    assert not operations(optimize(graph), ElementwiseOp)
    graph = net(pair("Mul", "x", "g", "a"), conv("a", "y", 1), "Pooling FromTensor=x ToTensor=z Kind=MaxGlobal")
    assert not operations(optimize(graph), ElementwiseOp)
    graph = net(pair("Div", "x", "g", "a"), "Pooling FromTensor=a ToTensor=y Kind=Max2x2Stride2")
    (pool,) = (op for op in optimize(graph).ops if isinstance(op, PoolOp))
    assert pool.prologue[0].operands == ("g",)


@pytest.mark.parametrize("kind", ["LayerNorm", "RMSNorm"])
def test_a_sum_rides_on_what_a_norm_over_channels_reads(kind: str) -> None:
    """The norm goes from pixel to pixel, and so may the operand; of the two sums only that which nothing else reads."""
    graph = net(
        conv("x", "a"),
        pair("Sub", "x", "a", "b"),
        pair("Mul", "b", "g", "c"),
        pair("Add", "c", "a", "d"),
        f"{kind} FromTensor=d ToTensor=n",
        pair("Add", "n", "b", "y"),
    )
    program = optimize(graph)
    (norm,) = (op for op in program.ops if isinstance(op, ChannelNormOp))
    assert operations(program, ElementwiseOp) == ["b"]
    assert norm.source == "b"
    assert [step.operands for step in norm.prologue] == [("g",), ("a",)]
    assert [step.operands for step in norm.epilogue] == [("b",)]
    assert same_meaning(graph, program)


@pytest.mark.parametrize(
    ("lines", "alone"),
    [
        ((pair("Add", "x", "r", "s"), "LayerNorm FromTensor=s ToTensor=n", "Softmax FromTensor=n ToTensor=y"), ["s"]),
        ((pair("Add", "x", "x", "s"), "LayerNorm FromTensor=s ToTensor=n", pair("Sub", "n", "s", "y")), ["s"]),
        ((pair("Add", "x", "g", "s"), "LayerNorm FromTensor=s ToTensor=n", "Output FromTensor=s"), ["s"]),
        ((pair("Add", "x", "g", "s"), "LayerNorm FromTensor=x ToTensor=n", pair("Sub", "n", "s", "y")), ["s"]),
    ],
    ids=["by row", "read twice", "output", "operand"],
)
def test_what_no_norm_over_channels_takes_stays(lines: tuple[str, ...], alone: list[str]) -> None:
    """Operands of one element for a row, and what has another reader, who may be the norm itself."""
    row = "Pooling FromTensor=x ToTensor=r Kind=Max WindowH=1 WindowW=10"
    graph = net(*((row,) if "FromTensor2=r" in lines[0] else ()), *lines)
    program = optimize(graph)
    assert operations(program, ElementwiseOp) == alone
    assert same_meaning(graph, program)


def test_two_norms_over_channels_may_compute_a_relu() -> None:
    graph = net(
        "Activation FromTensor=x ToTensor=r Kind=ReLU",
        "LayerNorm FromTensor=r ToTensor=y",
        "RMSNorm FromTensor=r ToTensor=z",
    )
    program = optimize(graph)
    assert not operations(program, ElementwiseOp)
    assert same_meaning(graph, program)


@pytest.mark.parametrize(
    "shape", ["Channels=1 Height=8 Width=10", "Channels=20 Height=8 Width=1", "Channels=20 Height=1 Width=10"]
)
def test_other_operands_take_a_pass(shape: str) -> None:
    """But two such passes are one."""
    graph = net(
        f"Input ToTensor=o {shape}",
        conv("x", "a"),
        pair("Mul", "a", "o", "b"),
        pair("Add", "b", "o", "c"),
        conv("c", "y"),
    )
    program = optimize(graph)
    assert len(operations(program, ElementwiseOp)) == 1
    assert same_meaning(graph, program)


def test_equal_functions_are_computed_once() -> None:
    lines = [conv("x", "a"), conv("x", "b")]
    twins = {"Mul": 1, "Max": 1, "Sub": 2, "Div": 2}
    for kind, count in twins.items():
        graph = net(*lines, pair(kind, "a", "b", "c"), pair(kind, "b", "a", "d"), pair("Add", "c", "d", "y"))
        assert len(operations(dedup(lower(graph)), ElementwiseOp)) == count + 1


def test_a_maximum_of_a_tensor_and_itself_is_nothing() -> None:
    graph = net(conv("x", "a"), pair("Max", "a", "a", "b"), pair("Mul", "b", "a", "c"), pair("Min", "c", "c", "y"))
    program = optimize(graph)
    assert "Max b" not in format_program(program)
    assert "Mul c (* itself)" in format_program(program)
    assert same_meaning(graph, program)


def test_pixels_that_nobody_reads_leave_the_gate_alone() -> None:
    """As at the end of a stage of a net with squeeze and excitation: the gate is of all pixels and has one."""
    graph = net(conv("x", "a"), pair("Mul", "a", "g", "b"), pair("Add", "b", "x", "c"), conv("c", "y", 1, 2))
    program = skip_unread(lower(graph))
    assert program.shapes["a"][1:] == program.shapes["b"][1:] == (4, 5)
    assert operations(program, SampleOp) == ["x_sampled"]
    assert "g_sampled" not in program.shapes
    assert same_meaning(graph, program)
    assert same_meaning(graph, optimize(graph))


def test_a_gate_that_strided_convolutions_read_too_is_not_thinned() -> None:
    graph = net(conv("g", "h", 1), pair("Mul", "x", "h", "b"), conv("b", "y", 1, 2), conv("h", "z", 1, 2))
    program = skip_unread(lower(graph))
    assert program.shapes["h"][1:] == (1, 1)
    assert same_meaning(graph, program)


def test_rows_and_columns_are_not_thinned() -> None:
    lines = [
        "Input ToTensor=o Channels=20 Height=8 Width=1",
        conv("x", "a"),
        pair("Mul", "a", "o", "b"),
        conv("b", "y", 1, 2),
    ]
    program = lower(net(*lines))
    assert skip_unread(program) is program


def test_convolutions_that_run_as_one_wait_for_no_operand_that_comes_later() -> None:
    """Two 1x1 convolutions of one tensor are merged; a gate made of one of them cannot ride on the other."""
    gate = ["Pooling FromTensor=a ToTensor=p Kind=AvgGlobal", "FullyConnected FromTensor=p ToTensor=h ToChannels=20"]
    graph = net(conv("x", "a", 1), conv("x", "b", 1), *gate, pair("Mul", "b", "h", "c"), pair("Sub", "a", "c", "y"))
    program = optimize(graph)
    assert same_meaning(graph, program)
    (merged,) = (op for op in program.ops if isinstance(op, ConvOp) and len(op.branches) > 1)
    assert not any(step.operands for branch in merged.branches for step in branch.epilogue)
