"""Advice: what a layer wastes, and that the sizes it names waste less."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn512
from fuzz.draw import graphs
from nn512.graph import Graph
from nn512.options import Options
from nn512.plan.advice import WORTH_SAYING, advice, in_words, wasted, wastes
from nn512.plan.explain import explain
from nn512.plan.plan import Plan


def net(height: int, width: int, inputs: int, outputs: int, *, padding: int = 1) -> str:
    """A 3x3 convolution."""
    return (
        f"Config Prefix=Net\nInput ToTensor=x Channels={inputs} Height={height} Width={width}\n"
        f"Conv FromTensor=x ToTensor=y ToChannels={outputs} FilterH=3 FilterW=3 PaddingH={padding} PaddingW={padding}\n"
        "Output FromTensor=y\n"
    )


def compiled(text: str, kernel: str) -> Plan:
    return nn512.compile(text, Options(force=(("", kernel),))).plan


def said(text: str, kernel: str) -> str:
    return advice(compiled(text, kernel)).get("y", "")


SAID = {
    (54, 54, 64, 64, "winograd-4x4"): "7 % of the multiplications are wasted: "
    "a height and width of 52 or 56 would fill all tiles of 4x4",
    (56, 54, 64, 64, "winograd-4x4"): "",
    (56, 30, 64, 64, "winograd-4x4"): "6 % of the multiplications are wasted: "
    "a width of 28 or 32 would fill all tiles of 4x4",
    (30, 56, 64, 64, "winograd-4x4"): "6 % of the multiplications are wasted: "
    "a height of 28 or 32 would fill all tiles of 4x4",
    (7, 7, 64, 64, "winograd-2x4"): "23 % of the multiplications are wasted: "
    "a height of 6 or 8 and a width of 8 would fill all tiles of 2x4",
    (7, 11, 64, 64, "winograd-4x4"): "20 % of the multiplications are wasted: "
    "a height of 8 and a width of 8 or 12 would fill all tiles of 4x4",
    (1, 1, 64, 64, "winograd-4x4"): "",
    (56, 56, 90, 64, "winograd-4x4"): "6 % of the multiplications are wasted: "
    "96 input channels would cost as much as 90",
    (56, 56, 64, 90, "winograd-4x4"): "6 % of the multiplications are wasted: "
    "96 output channels would cost as much as 90",
    (56, 56, 90, 90, "winograd-4x4"): "12 % of the multiplications are wasted: "
    "96 input and output channels would cost as much as 90",
    (56, 56, 84, 84, "winograd-4x4"): "23 % of the multiplications are wasted: "
    "96 input and output channels would cost as much as 84, and 80 would cost 31 % less",
    (54, 54, 64, 90, "winograd-4x4"): "13 % of the multiplications are wasted: "
    "a height and width of 52 or 56 would fill all tiles of 4x4 (7 %); "
    "96 output channels would cost as much as 90 (6 %)",
    (54, 54, 90, 64, "direct"): "",
    (54, 54, 90, 20, "direct"): "38 % of the multiplications are wasted: "
    "32 output channels would cost as much as 20, and 16 would cost 50 % less",
    (54, 54, 90, 10, "direct"): "38 % of the multiplications are wasted: 16 output channels would cost as much as 10",
}


@pytest.mark.parametrize(("sizes", "words"), SAID.items())
def test_what_is_said(sizes: tuple[int, int, int, int, str], words: str) -> None:
    height, width, inputs, outputs, kernel = sizes
    assert said(net(height, width, inputs, outputs), kernel) == words


def test_sizes_are_those_of_the_result() -> None:
    words = said(net(56, 56, 64, 64, padding=0), "winograd-4x4")
    assert words.endswith("an output height and width of 52 or 56 would fill all tiles of 4x4")
    assert said(net(58, 58, 64, 64, padding=0), "winograd-4x4") == ""


@pytest.mark.parametrize("kernel", ["winograd-2x2", "winograd-3x3", "winograd-4x4", "winograd-5x5", "direct"])
@pytest.mark.parametrize(("size", "channels"), [(7, 20), (17, 40), (29, 100)])
def test_what_is_advised_wastes_nothing(kernel: str, size: int, channels: int) -> None:
    words = said(net(size, size, channels, channels), kernel)
    pictures = re.search(r"height and width of ([\d or]+) would", words)
    numbers = re.search(r"(\d+) (?:input and )?output channels would", words)
    sizes = [int(word) for word in pictures[1].split(" or ")] if pictures else [size]
    lanes = [int(numbers[1])] if numbers else [channels]
    assert pictures or numbers
    for better in sizes:
        for filled in lanes:
            plan = compiled(net(better, better, filled, filled), kernel)
            tensors = {tensor.name: tensor for tensor in plan.tensors}
            assert all(not wastes(layer, tensors) for layer in plan.layers)


def test_inputs_in_segments() -> None:
    text = (
        "Config Prefix=Net\nInput ToTensor=a Channels=20 Height=28 Width=28\n"
        "Input ToTensor=b Channels=12 Height=28 Width=28\nConcat FromTensor1=a FromTensor2=b ToTensor=x\n"
        "Conv FromTensor=x ToTensor=y ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1\nOutput FromTensor=y\n"
    )
    expected = "input channels in multiples of 16 instead of 20 + 12 would fill all blocks"
    assert said(text, "winograd-4x4") == f"33 % of the multiplications are wasted: {expected}"


def test_convolutions_that_share_a_layer() -> None:
    text = net(28, 28, 64, 64).replace(
        "Output",
        "Conv FromTensor=x ToTensor=z ToChannels=9 FilterH=3 FilterW=3 "
        "PaddingH=1 PaddingW=1\nOutput FromTensor=z\nOutput",
    )
    text = text.replace("PaddingW=1", "PaddingW=1 StrideH=2")
    assert said(text, "direct") == ("9 % of the multiplications are wasted: 16 channels of z would cost as much as 9")


def test_nothing_about_layers_that_take_no_time() -> None:
    """A classifier of ten outputs behind a convolution that takes a thousand times as long."""
    text = net(56, 56, 64, 64).replace(
        "Output FromTensor=y",
        "Pooling FromTensor=y ToTensor=p Kind=AvgGlobal\n"
        "FullyConnected FromTensor=p ToTensor=z ToChannels=10\nOutput FromTensor=z",
    )
    assert advice(compiled(text, "winograd-4x4")) == {}


def test_explain_gives_it_under_the_layer() -> None:
    plan = compiled(net(54, 54, 64, 64), "winograd-4x4")
    under = explain(plan).split("Layer 2: y\n")[1].split("\n\n")[0]
    assert under.splitlines()[-1] == f"  advice    {said(net(54, 54, 64, 64), 'winograd-4x4')}"
    assert "advice" not in explain(compiled(net(56, 56, 64, 64), "winograd-4x4"))


@settings(max_examples=40)
@given(graphs(6), st.sampled_from(["direct", "winograd-2x4", "winograd-5x5"]))
def test_any_net(graph: Graph, kernel: str) -> None:
    plan = nn512.compile(graph, Options(force=(("", kernel),))).plan
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    hints = advice(plan)
    for layer in plan.layers:
        parts = wastes(layer, tensors)
        assert all(0 < part.share < 1 for part in parts)
        assert layer.mmac or not parts
        if layer.name in hints:
            assert wasted(parts) >= WORTH_SAYING
            assert hints[layer.name] == in_words(parts)
            assert " 0 %" not in hints[layer.name]


def test_a_layer_without_multiplications_wastes_none() -> None:
    plan = compiled(net(54, 54, 64, 90), "winograd-4x4")
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    layer = next(layer for layer in plan.layers if layer.tiles)
    assert wastes(layer, tensors)
    assert wastes(dataclasses.replace(layer, mmac=0.0), tensors) == ()
