"""The example nets are the well-known ones: their published counts are hit exactly."""

from __future__ import annotations

import re

import pytest

from nn512.errors import UsageError
from nn512.graph import BatchNorm, Conv, Graph, Softmax, example, example_names, multiply_accumulates, parse

# Millions of multiply-accumulates, and parameters that are trained: biases before batch normalization are not there in
# the originals. The figures are those of the papers, exact where another implementation counts them, too.
FACTS = {
    # the paper: 3.8e9; parameters as torchvision counts them
    "ResNet50": (3858, 25_557_032),
    "ResNet101": (7570, 44_549_160),
    "ResNet152": (11282, 60_192_808),
    # torchvision 0.28, resnet.py: 4.089 GMAC
    "ResNet50V15": (4089, 25_557_032),
    # ResNet50V15 and 2 / 16 of the squares of the channels of all blocks, with biases; timm, seresnet50: 28.09e6
    "SEResNet50": (4092, 28_088_024),
    # table 1 of the paper: 25.0e6; torchvision: 4.23 GMAC
    "ResNeXt50": (4230, 25_028_904),
    "ResNeXt101": (7970, 44_177_704),
    "ResNeXt152": (11710, 59_951_400),
    # torchvision, densenet.py: 2.834, 3.36 and 4.291 GMAC; the biases more are those before Concat and Pooling
    "DenseNet121": (2834, 7_978_856 + 2_752),
    "DenseNet169": (3360, 14_149_480 + 3_648),
    "DenseNet201": (4291, 20_013_928 + 4_416),
    "DenseNet265": (5752, 33_336_744 + 6_656),
    # torchvision, vgg.py: 15.47 GMAC; table 2 of the paper: 138e6
    "VGG16": (15470, 138_357_544),
    # the paper: "1.5 billion multiply-adds"; torchvision, googlenet.py: 1.498 GMAC
    "GoogLeNet": (1498, 6_624_904),
    # torchvision, inception.py: 5.713 GMAC; 27,161,264 parameters with the auxiliary classifier's 3,326,696
    "InceptionV3": (5713, 27_161_264 - 3_326_696),
    # torchvision, squeezenet.py: 0.349 GMAC
    "SqueezeNet": (349, 1_235_496),
    # the paper: 569e6 and 4.2e6
    "MobileNetV1": (569, 4_231_976),
    # the paper: 300e6 and 3.4e6; torchvision, mobilenetv2.py: 0.301 GMAC
    "MobileNetV2": (301, 3_504_872),
    # the paper: 219e6 and 5.4e6; torchvision, mobilenetv3.py: 0.217 GMAC
    "MobileNetV3": (217, 5_483_032),
    # the paper: 0.39e9 and 5.3e6; torchvision, efficientnet.py: 0.386 GMAC
    "EfficientNetB0": (386, 5_288_548),
    # the paper: 146e6; torchvision, shufflenetv2.py: 0.145 GMAC
    "ShuffleNetV2": (145, 2_278_604),
    # the paper: 0.4e9 and 4.3e6; torchvision, regnet.py: 0.402 GMAC
    "RegNetY400MF": (402, 4_344_144),
    # the paper: 4.5e9 and 28.6e6; torchvision, convnext.py: 4.456 GMAC, and a factor for each channel of a block more
    "ConvNeXtTiny": (4456, 28_589_128 - 6_624),
    # of the paper's layers, in sizes of our own
    "WaveNet": (1837, 906_496),
}


def trained(graph: Graph) -> int:
    """Parameters but for statistics, and for biases of convolutions before batch normalization."""
    normed = {layer.from_tensor for layer in graph.layers if isinstance(layer, BatchNorm)}
    return sum(
        parameter.elements
        for parameter in graph.parameters
        if not parameter.name.endswith(("Means", "Variances"))
        and not (parameter.owner.writes in normed and parameter.name.endswith("Biases"))
    )


def work(graph: Graph) -> int:
    return sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers)


def test_names() -> None:
    assert sorted(example_names()) == sorted(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_facts(name: str) -> None:
    graph = parse(example(name))
    assert (round(work(graph) / 1e6), trained(graph)) == FACTS[name]


@pytest.mark.parametrize("name", FACTS)
def test_the_comment_says_the_facts(name: str) -> None:
    text = example(name)
    comment = " ".join(re.findall(r"^# (.*)$", text, flags=re.MULTILINE))
    assert comment.startswith(f"{name}: ")
    assert re.search(r"\b(?:19|20)\d\d, arXiv:\d{4}\.\d{4,5}\b", comment)
    graph = parse(text)
    assert f"{work(graph) / 1e9:.2f} GMAC, {trained(graph) / 1e6:.2f} M parameters" in comment


@pytest.mark.parametrize("name", FACTS)
def test_ends(name: str) -> None:
    graph = parse(example(name))
    assert graph.config.prefix == name
    (image,), (probabilities,) = graph.inputs, graph.outputs
    others = {"InceptionV3": ("3x299x299", "1000x1x1"), "WaveNet": ("256x1x2048", "256x1x2048")}
    ends = tuple(str(graph.shapes[tensor]) for tensor in (image.to_tensor, probabilities.from_tensor))
    assert ends == others.get(name, ("3x224x224", "1000x1x1"))
    assert isinstance(graph.layers[-1], Softmax)


@pytest.mark.parametrize("name", [name for name in FACTS if re.fullmatch(r"(Res|Dense)\w+\d\d", name)])
def test_depths(name: str) -> None:
    graph = parse(example(name))
    depth = sum("hortcut" not in layer.to_tensor for layer in graph.layers if isinstance(layer, Conv))
    assert depth + 1 == int(re.findall(r"\d+", name.replace("V15", ""))[0])


def test_stride_conventions() -> None:
    """The same parameters in the same shapes; the strides are elsewhere, and each says where."""
    paper, other = parse(example("ResNet50")), parse(example("ResNet50V15"))
    assert [(p.name, p.shape) for p in paper.parameters] == [(p.name, p.shape) for p in other.parameters]
    strided = [
        {layer.to_tensor for layer in graph.layers if isinstance(layer, Conv) and layer.stride_h == 2}
        for graph in (paper, other)
    ]
    assert strided[0] - strided[1] == {f"stage{stage}block1conv1" for stage in (2, 3, 4)}
    assert strided[1] - strided[0] == {f"stage{stage}block1conv2" for stage in (2, 3, 4)}
    assert "ResNet50V15" in example("ResNet50").split("\n")[1]
    assert "torchvision" in example("ResNet50V15").split("\n")[1]


def test_text_could_be_the_original_programs() -> None:
    """Below the comment every field in documented order, and a line break at the end."""
    comment, _, text = example("ResNet50").partition("\nConfig")
    assert all(line.startswith("# ") for line in comment.split("\n"))
    assert "#" not in text
    assert text.endswith("\n")
    assert (
        "\nConv FromTensor=stage1block3 ToTensor=stage2block1conv1 ToChannels=128 FilterH=1 FilterW=1 "
        "StrideH=2 StrideW=2 PaddingH=0 PaddingW=0 DilationH=1 DilationW=1 Groups=1\n"
    ) in text


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"there is no example 'resnet50'; did you mean ResNet50\?"):
        example("resnet50")
