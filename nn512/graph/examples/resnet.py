"""ResNet (He et al. 2015, arXiv:1512.03385), ResNeXt (Xie et al. 2016, arXiv:1611.05431), SENet (Hu et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

from nn512.graph.examples.builder import Builder
from nn512.graph.examples.entry import Example
from nn512.graph.examples.excitation import excite


class _Architecture(NamedTuple):
    blocks: tuple[int, int, int, int]  # per stage
    width: int = 64  # channels of the first stage's 3x3 convolutions
    groups: int = 1
    early: bool = True  # whether a stage's stride is that of its first 1x1 convolution, not of the 3x3 one
    reduction: int = 0  # of squeeze-and-excitation behind every block; 0 for none


def _write(builder: Builder, architecture: _Architecture) -> None:
    tensor = builder.stem()
    for i, count in enumerate(architecture.blocks):
        for j in range(count):
            builder.part()
            tensor = _block(builder, tensor, architecture, i, j)
    builder.classifier(tensor)


def _block(builder: Builder, source: str, architecture: _Architecture, stage: int, index: int) -> str:
    """A bottleneck: 1x1, 3x3 and 1x1 convolutions beside a shortcut, which is projected where the shape changes."""
    block = f"stage{stage + 1}block{index + 1}"
    width = architecture.width << stage
    channels = 256 << stage
    stride = 2 if stage > 0 and index == 0 else 1
    early = architecture.early
    tensor = builder.conv(source, f"{block}conv1", width, 1, stride=stride if early else 1)
    tensor = builder.norm(tensor, f"{block}norm1")
    tensor = builder.relu(tensor, f"{block}relu1")
    tensor = builder.conv(tensor, f"{block}conv2", width, 3, stride=1 if early else stride, groups=architecture.groups)
    tensor = builder.norm(tensor, f"{block}norm2")
    tensor = builder.relu(tensor, f"{block}relu2")
    tensor = builder.conv(tensor, f"{block}conv3", channels, 1)
    tensor = builder.norm(tensor, f"{block}norm3")
    if architecture.reduction:
        tensor = excite(builder, tensor, block, channels, channels // architecture.reduction)
    shortcut = source
    if index == 0:
        shortcut = builder.conv(source, f"{block}shortcutConv", channels, 1, stride=stride)
        shortcut = builder.norm(shortcut, f"{block}shortcutNorm")
    tensor = builder.add(tensor, shortcut, f"{block}sum")
    return builder.relu(tensor, block)


_RESNET = "He et al. 2015, arXiv:1512.03385."
_RESNEXT = "Xie et al. 2016, arXiv:1611.05431, 32x4d: 32 groups, of 4 channels each in the first stage."
_EARLY = "Stages begin with a 1x1 convolution of stride 2, as in the paper; torchvision has the stride in the 3x3 one."
_LATE = "The stride of a stage is that of its first 3x3 convolution, as in the code of the paper and in torchvision."


def _example(architecture: _Architecture, paper: str, figures: str, strides: str) -> Example:
    return Example((f"{paper} {figures}", strides), lambda builder: _write(builder, architecture))


def _wide(*blocks: int) -> _Architecture:
    first, second, third, fourth = blocks
    return _Architecture((first, second, third, fourth), width=128, groups=32, early=False)


RESNETS = {
    "ResNet50": _example(
        _Architecture((3, 4, 6, 3)),
        _RESNET,
        "3.86 GMAC, 25.56 M parameters.",
        f"{_EARLY[:-1]}: ResNet50V15 does.",
    ),
    "ResNet101": _example(_Architecture((3, 4, 23, 3)), _RESNET, "7.57 GMAC, 44.55 M parameters.", _EARLY),
    "ResNet152": _example(_Architecture((3, 8, 36, 3)), _RESNET, "11.28 GMAC, 60.19 M parameters.", _EARLY),
    "ResNet50V15": _example(
        _Architecture((3, 4, 6, 3), early=False),
        _RESNET,
        "4.09 GMAC, 25.56 M parameters.",
        "The stride of a stage is that of its first 3x3 convolution, as in torchvision; ResNet50 is the paper's.",
    ),
    "SEResNet50": _example(
        _Architecture((3, 4, 6, 3), early=False, reduction=16),
        "Hu et al. 2017, arXiv:1709.01507: ResNet50V15 with squeeze-and-excitation, of a sixteenth of the channels.",
        "4.09 GMAC, 28.09 M parameters.",
        _LATE,
    ),
    "ResNeXt50": _example(_wide(3, 4, 6, 3), _RESNEXT, "4.23 GMAC, 25.03 M parameters.", _LATE),
    "ResNeXt101": _example(_wide(3, 4, 23, 3), _RESNEXT, "7.97 GMAC, 44.18 M parameters.", _LATE),
    "ResNeXt152": _example(_wide(3, 8, 36, 3), _RESNEXT, "11.71 GMAC, 59.95 M parameters.", _LATE),
}
"""The stride's place changes no parameter: weights of one fit the other, and are right for one."""
