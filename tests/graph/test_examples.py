"""The example nets are the well-known ones: their published counts are hit exactly."""

from __future__ import annotations

import pytest

from nn512.errors import UsageError
from nn512.graph import Conv, Softmax, example, example_names, multiply_accumulates, parse

NAMES = (
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNeXt50",
    "ResNeXt101",
    "ResNeXt152",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "DenseNet265",
)


def test_names() -> None:
    assert example_names() == NAMES


@pytest.mark.parametrize(
    ("name", "work", "parameters"),
    [("ResNet50", 3856, 25.64), ("DenseNet121", 2833, 8.07), ("ResNeXt50", 4228, 25.13)],
)
def test_facts(name: str, work: int, parameters: float) -> None:
    """Millions of multiply-accumulates in convolutions, and of parameters with all of batch norm's and all biases."""
    graph = parse(example(name))
    convolutions = [layer for layer in graph.layers if isinstance(layer, Conv)]
    assert round(sum(multiply_accumulates(layer, graph.shapes) for layer in convolutions) / 1e6) == work
    assert round(sum(p.elements for p in graph.parameters) / 1e6, 2) == parameters


@pytest.mark.parametrize("name", NAMES)
def test_ends(name: str) -> None:
    graph = parse(example(name))
    assert graph.config.prefix == name
    (image,), (probabilities,) = graph.inputs, graph.outputs
    assert str(graph.shapes[image.to_tensor]) == "3x224x224"
    assert str(graph.shapes[probabilities.from_tensor]) == "1000x1x1"
    assert isinstance(graph.layers[-1], Softmax)
    depth = sum("hortcut" not in layer.to_tensor for layer in graph.layers if isinstance(layer, Conv))
    assert name.endswith(str(depth + 1))


def test_text_could_be_the_original_programs() -> None:
    """Every field, in documented order, no comments, a line break at the end."""
    text = example("ResNet50")
    assert "#" not in text
    assert text.endswith("\n")
    assert (
        "\nConv FromTensor=stage1block3 ToTensor=stage2block1conv1 ToChannels=128 FilterH=1 FilterW=1 "
        "StrideH=2 StrideW=2 PaddingH=0 PaddingW=0 DilationH=1 DilationW=1 Groups=1\n"
    ) in text


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"there is no example 'resnet50'; did you mean ResNet50\?"):
        example("resnet50")
