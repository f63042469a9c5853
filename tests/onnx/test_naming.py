"""Names of models become names of the language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn512.graph import Config, Input, Output, Softmax, build
from nn512.onnx.naming import MOST_LETTERS, Names, readable, stem


@pytest.mark.parametrize(
    ("parameter", "layer"),
    [
        ("features.0.conv.weight", "features0conv"),
        ("layer1.0.bn1.weight", "layer10bn1"),
        ("conv1_w_0", "conv1"),
        ("gpu_0/res2_0_branch2a_w_0", "gpu0res20branch2a"),
        ("bn_1/FusedBatchNormV3/ReadVariableOp:0", "bn1FusedBatchNormV3"),
        ("aWeights", "a"),
        ("conv2d_1.w_0", "conv2d1"),
        ("3.0.weight", "t30"),
    ],
)
def test_layers_are_called_after_their_weights(parameter: str, layer: str) -> None:
    assert readable(stem(parameter)) == layer


@pytest.mark.parametrize("parameter", ["onnx::Conv_193", "const_fold_opt__52", "12", "weight", "Constant_7", "p"])
def test_names_that_say_nothing(parameter: str) -> None:
    assert stem(parameter) == ""


@pytest.mark.parametrize(
    ("tensor", "operator", "name"),
    [
        ("/layer1/layer1.0/relu/Relu_output_0", "Relu", "layer10relu"),
        ("/layer1/layer1.0/relu/Relu_1_output_0", "Relu", "layer10relu"),
        ("/Relu_output_0", "Relu", "Relu"),
        ("input:0", "", "input"),
        ("123", "Conv", "t123"),
        ("プール", "MaxPool", "tensor"),
        ("", "Add", "tensor"),
        ("x" * 200, "Add", "x" * MOST_LETTERS),
    ],
)
def test_other_layers_are_called_after_their_tensor(tensor: str, operator: str, name: str) -> None:
    assert readable(tensor, operator) == name


@given(st.lists(st.text(max_size=12) | st.sampled_from(("a", "aWeights", "aData", "a.Biases", "A", "a:0")), min_size=1))
def test_names_are_legal_and_do_not_meet(tensors: list[str]) -> None:
    """Whatever a model calls its tensors, the language takes the graph."""
    names = Names()
    given_names = [names.give(readable(tensor)) for tensor in tensors]
    first = names.give("first")
    layers = [Softmax(before, name) for before, name in zip([first, *given_names], given_names, strict=False)]
    graph = build([Config(), Input(first, 2, 1, 1), *layers, Output(given_names[-1])])
    assert len(graph.layers) == len(tensors)
