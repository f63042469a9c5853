"""MobileNet, versions 1 (Howard et al. 2017, arXiv:1704.04861) and 2 (Sandler et al. 2018, arXiv:1801.04381)."""

from __future__ import annotations

from functools import partial
from itertools import count

from nn512.graph.examples.builder import Builder
from nn512.graph.examples.entry import Example
from nn512.graph.examples.units import Units
from nn512.graph.nodes import Activation

_SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Channels and stride of the thirteen pairs of a depthwise and a pointwise convolution of version 1."""

_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repetitions and stride of the first of them: table 2 of the paper on version 2."""


def _version1(builder: Builder) -> None:
    units = Units(builder)
    tensor = units.add(builder.image(), "stem", 32, 3, stride=2)
    channels = 32
    for number, (widened, stride) in enumerate(_SEPARABLE, 1):
        builder.part()
        tensor = units.add(tensor, f"depthwise{number}", channels, 3, stride=stride, groups=channels)
        tensor = units.add(tensor, f"pointwise{number}", widened, 1)
        channels = widened
    builder.classifier(tensor)


def _version2(builder: Builder) -> None:
    units = Units(builder, partial(Activation, kind="Clip", min=0.0, max=6.0))
    tensor = units.add(builder.image(), "stem", 32, 3, stride=2)
    channels, number = 32, count(1)
    for expansion, widened, repetitions, first_stride in _BOTTLENECKS:
        for repetition in range(repetitions):
            builder.part()
            name, stride = f"block{next(number)}", 1 if repetition else first_stride
            tensor = _bottleneck(units, tensor, name, (channels, expansion * channels, widened), stride)
            channels = widened
    builder.part()
    builder.classifier(units.add(tensor, "last", 1280, 1))


def _bottleneck(units: Units, source: str, name: str, channels: tuple[int, int, int], stride: int) -> str:
    """Expand, convolve depthwise, project without an activation; the source is added where the shape stays."""
    given, wide, projected = channels
    tensor = source if wide == given else units.add(source, f"{name}expand", wide, 1)
    tensor = units.add(tensor, f"{name}depthwise", wide, 3, stride=stride, groups=wide)
    if stride == 1 and given == projected:
        tensor = units.linear(tensor, f"{name}project", projected, 1)
        return units.builder.add(source, tensor, name)
    return units.linear(tensor, name, projected, 1)


MOBILENETS = {
    "MobileNetV1": Example(
        ("Howard et al. 2017, arXiv:1704.04861, of width 1, with ReLU.", "0.57 GMAC, 4.23 M parameters."), _version1
    ),
    "MobileNetV2": Example(
        ("Sandler et al. 2018, arXiv:1801.04381, of width 1.", "0.30 GMAC, 3.50 M parameters."), _version2
    ),
}
