"""Every operation has a kernel, and every kernel answers the same questions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

import nn512
from fuzz.draw import graphs
from nn512.compiler import decide
from nn512.graph import Graph, parse
from nn512.ir import OPS, ConvOp, SoftmaxOp
from nn512.kernels import selection
from nn512.kernels.deciding import Choosing, Lanes
from nn512.kernels.interface import Setting
from nn512.kernels.registry import KERNELS, competing_kernels, kernel_named, kernel_names, kernels_of
from nn512.kernels.selection import PRICE_OF_HALVES
from nn512.options import Options
from nn512.passes.pipeline import optimize
from nn512.plan.laying import lay_out


def test_every_operation_has_a_kernel_that_always_applies() -> None:
    """By the class that a kernel names: the operations of a program are never left without one."""
    assert {kernel.computes.__qualname__ for kernel in KERNELS} == {kind.__qualname__ for kind in OPS}


def test_names_are_unique() -> None:
    assert len(set(kernel_names())) == len(KERNELS)
    assert set(competing_kernels()) < set(kernel_names())


@settings(max_examples=60)
@given(graphs(6))
def test_the_kernel_taken_applies_and_is_the_cheapest(graph: Graph) -> None:
    """In any net: every kernel that applies has a price, all prices are positive, and working memory has a place.

    Only kernels with half weights may be cheaper than the one that is taken, and only by so much.
    """
    decided = decide(optimize(graph), Options())
    layers = [op.name for op in decided.placement.ops]
    assert len(set(layers)) == len(layers)
    for op in decided.placement.ops:
        choice = decided.choices[op.name]
        assert choice.kernel in kernels_of(op)
        names = [name for name, _ in choice.prices]
        cheaper = names[: names.index(choice.kernel.name)]
        assert set(choice.verdicts) == ({one.name for one in rivals} if len(rivals := kernels_of(op)) > 1 else set())
        if choice.verdicts:
            assert choice.verdicts[choice.kernel.name] is Choosing.CHEAPEST
            assert {name for name, why in choice.verdicts.items() if why is Choosing.INEXACT} == set(cheaper)
            assert {name for name, why in choice.verdicts.items() if why in tuple(Choosing)} >= set(names)
        assert all(name.endswith("fp16") for name in cheaper)
        assert not cheaper or choice.kernel.weights == "fp32"
        assert dict(choice.prices)[choice.kernel.name] <= choice.prices[0][1] * PRICE_OF_HALVES
        assert all(price >= 0 for _, price in choice.prices)
        workspace = choice.kernel.workspace(op, decided.setting)
        assert all(scratch.name in decided.placement.tensors for scratch in workspace.shared)
        assert workspace.thread_vectors <= decided.placement.thread_vectors


NET = (
    "Config Input ToTensor=x Channels=16 Height=9 Width=9 "
    "Conv FromTensor=x ToTensor=c ToChannels=16 FilterH=3 FilterW=3 Groups=16 PaddingH=1 PaddingW=1 "
    "Pooling FromTensor=c ToTensor=p Kind=Max2x2Stride2 FullyConnected FromTensor=p ToTensor=f ToChannels=3 "
    "Softmax FromTensor=f ToTensor=y Output FromTensor=y"
)


@pytest.mark.parametrize("kernel", kernel_names())
def test_every_kernel_can_be_forced_on_all_layers(kernel: str) -> None:
    layers = nn512.compile(NET, Options(force=(("", kernel),))).plan.layers
    able = [layer for layer in layers if kernel in layer.prices]
    assert all(layer.kernel == kernel and layer.forced for layer in able)
    assert all(not layer.forced for layer in layers if layer not in able)


def test_a_kernel_that_does_not_state_its_reason_is_an_error() -> None:
    program = optimize(parse(NET))
    setting = Setting.of(lay_out(program), "fp16")
    (op,) = (op for op in program.ops if isinstance(op, ConvOp))
    kernel = kernel_named("pointwise")
    assert kernel.refusal(op, setting) in kernel.decisions
    assert not kernel.takes(op, setting)
    with pytest.raises(AssertionError, match="pointwise does not state that it may decide: refused: an output sees"):
        replace(kernel, decisions=()).refusal(op, setting)


def test_code_of_which_a_decision_is_not_stated_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = replace(kernel_named("softmax"), decisions=())
    assert nn512.compile(NET).plan.layers[-2].decisions == (Lanes.LAST,)
    monkeypatch.setattr(selection, "kernels_of", lambda op: (silent,) if isinstance(op, SoftmaxOp) else kernels_of(op))
    with pytest.raises(AssertionError, match=f"softmax does not state that it may decide: {Lanes.LAST}"):
        nn512.compile(NET)
