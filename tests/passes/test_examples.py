"""What is left of the example nets after all passes."""

from __future__ import annotations

import functools
from collections import Counter

import pytest

from nn512.compiler import decide
from nn512.graph import Activation, Add, BatchNorm, Concat, example, example_names, parse
from nn512.ir import ConvOp, CopyOp, ElementwiseOp, LoadOp, Op, Program, RelayoutOp, SampleOp, StoreOp
from nn512.options import Options
from nn512.passes.pipeline import optimize
from nn512.plan.placing import Placement


@functools.cache
def finished(name: str) -> Program:
    return optimize(parse(example(name)))


@functools.cache
def placed(name: str) -> Placement:
    return decide(finished(name), Options()).placement


def layers(plan: Placement) -> list[Op]:
    """Operations that compute; loads and stores of the caller's tensors aside."""
    return [op for op in plan.ops if not isinstance(op, LoadOp | StoreOp)]


def fused(program: Program, kind: type) -> int:
    """Nodes of a kind that are in some operation of another kind."""
    ops = (op for op in program.ops if not isinstance(op, ElementwiseOp))
    return sum(isinstance(node, kind) for op in ops for node in op.nodes)


def count(program: Program, kind: type) -> int:
    return sum(isinstance(layer, kind) for layer in program.graph.layers)


@pytest.mark.parametrize("name", [name for name in example_names() if name.startswith("Res")])
def test_resnets_have_nothing_element_wise_left(name: str) -> None:
    program = finished(name)
    convs = [op for op in program.ops if isinstance(op, ConvOp)]
    assert sum(len(branch.folded) for op in convs for branch in op.branches) == count(program, BatchNorm)
    assert fused(program, Add) == count(program, Add)
    assert fused(program, Activation) == count(program, Activation)
    assert not any(isinstance(op, ElementwiseOp | CopyOp | RelayoutOp) for op in placed(name).ops)


def test_resnet50_has_four_merged_pairs_and_at_most_55_layers() -> None:
    """And the copies of three shortcuts that are added to fewer pixels than the graph says."""
    program = finished("ResNet50")
    assert Counter(len(op.branches) for op in program.ops if isinstance(op, ConvOp)) == {1: 45, 2: 4}
    samples = sum(isinstance(op, SampleOp) for op in program.ops)
    assert samples == 3
    assert len(placed("ResNet50").ops) - samples <= 55


@pytest.mark.parametrize("name", [name for name in example_names() if name.startswith("Dense")])
def test_densenets_have_no_concat_and_no_copy_left(name: str) -> None:
    program = finished(name)
    plan = placed(name)
    assert len(program.joined) == count(program, Concat)
    kinds = {type(op).__name__ for op in plan.ops}
    assert kinds == {"LoadOp", "StoreOp", "ConvOp", "PoolOp", "FullyConnectedOp", "SoftmaxOp"}


def test_densenet121_has_at_most_125_layers_and_pools_and_head() -> None:
    kinds = Counter(type(op).__name__ for op in layers(placed("DenseNet121")))
    head = kinds["PoolOp"] + kinds["FullyConnectedOp"] + kinds["SoftmaxOp"]
    assert sum(kinds.values()) - head <= 125


@pytest.mark.parametrize("name", example_names())
def test_the_arena_is_close_to_the_lower_bound(name: str) -> None:
    """Which scheduling and merging never raise over that of the order of the file."""
    arena = placed(name).arena
    assert arena.lower_bound <= arena.size <= 1.1 * arena.lower_bound
    without = decide(optimize(parse(example(name)), {"schedule"}), Options()).placement.arena
    assert arena.lower_bound <= without.lower_bound
