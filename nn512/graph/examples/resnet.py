"""ResNet (He et al. 2015, arXiv:1512.03385) and ResNeXt (Xie et al. 2016, arXiv:1611.05431)."""

from __future__ import annotations

from typing import NamedTuple

from nn512.graph.examples.builder import Builder


class _Architecture(NamedTuple):
    blocks: tuple[int, int, int, int]  # per stage
    width: int  # channels of the first stage's 3x3 convolutions
    groups: int


RESNETS = {
    "ResNet50": _Architecture((3, 4, 6, 3), 64, 1),
    "ResNet101": _Architecture((3, 4, 23, 3), 64, 1),
    "ResNet152": _Architecture((3, 8, 36, 3), 64, 1),
    "ResNeXt50": _Architecture((3, 4, 6, 3), 128, 32),
    "ResNeXt101": _Architecture((3, 4, 23, 3), 128, 32),
    "ResNeXt152": _Architecture((3, 8, 36, 3), 128, 32),
}
"""The ResNeXt nets are 32x4d: 32 groups, of 4 channels each in the first stage."""


def resnet(name: str) -> str:
    """Graph text of a net of the two families.

    ResNet halves height and width in the first 1x1 convolution of a stage, as the paper does; ResNeXt in the 3x3 one,
    as its authors' code does.
    """
    architecture = RESNETS[name]
    builder = Builder(name)
    tensor = builder.stem()
    for i, count in enumerate(architecture.blocks):
        for j in range(count):
            builder.part()
            tensor = _block(builder, tensor, architecture, i, j)
    builder.classifier(tensor)
    return builder.text()


def _block(builder: Builder, source: str, architecture: _Architecture, stage: int, index: int) -> str:
    """A bottleneck: 1x1, 3x3 and 1x1 convolutions beside a shortcut, which is projected where the shape changes."""
    block = f"stage{stage + 1}block{index + 1}"
    width = architecture.width << stage
    channels = 256 << stage
    stride = 2 if stage > 0 and index == 0 else 1
    early = architecture.groups == 1
    tensor = builder.conv(source, f"{block}conv1", width, 1, stride=stride if early else 1)
    tensor = builder.norm(tensor, f"{block}norm1")
    tensor = builder.relu(tensor, f"{block}relu1")
    tensor = builder.conv(tensor, f"{block}conv2", width, 3, stride=1 if early else stride, groups=architecture.groups)
    tensor = builder.norm(tensor, f"{block}norm2")
    tensor = builder.relu(tensor, f"{block}relu2")
    tensor = builder.conv(tensor, f"{block}conv3", channels, 1)
    tensor = builder.norm(tensor, f"{block}norm3")
    shortcut = source
    if index == 0:
        shortcut = builder.conv(source, f"{block}shortcutConv", channels, 1, stride=stride)
        shortcut = builder.norm(shortcut, f"{block}shortcutNorm")
    tensor = builder.add(tensor, shortcut, f"{block}sum")
    return builder.relu(tensor, block)
