"""MobileNet, version 3, the large one (Howard et al. 2019, arXiv:1905.02244)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from nn512.graph.examples.builder import CLASSES, Builder
from nn512.graph.examples.entry import Example
from nn512.graph.examples.excitation import excite
from nn512.graph.examples.units import Units
from nn512.graph.nodes import Activation


class _Block(NamedTuple):
    size: int  # of the depthwise convolution
    wide: int  # channels between
    channels: int
    squeezed: int  # channels within squeeze-and-excitation; 0 where there is none
    kind: str  # of the activation
    stride: int


_BLOCKS = (
    _Block(3, 16, 16, 0, "ReLU", 1),
    _Block(3, 64, 24, 0, "ReLU", 2),
    _Block(3, 72, 24, 0, "ReLU", 1),
    _Block(5, 72, 40, 24, "ReLU", 2),
    _Block(5, 120, 40, 32, "ReLU", 1),
    _Block(5, 120, 40, 32, "ReLU", 1),
    _Block(3, 240, 80, 0, "HardSwish", 2),
    _Block(3, 200, 80, 0, "HardSwish", 1),
    _Block(3, 184, 80, 0, "HardSwish", 1),
    _Block(3, 184, 80, 0, "HardSwish", 1),
    _Block(3, 480, 112, 120, "HardSwish", 1),
    _Block(3, 672, 112, 168, "HardSwish", 1),
    _Block(5, 672, 160, 168, "HardSwish", 2),
    _Block(5, 960, 160, 240, "HardSwish", 1),
    _Block(5, 960, 160, 240, "HardSwish", 1),
)
"""Table 1 of the paper; squeezed to a quarter, in multiples of 8 as in the code of the authors."""

_GATE = partial(Activation, kind="HardSigmoid", alpha=1 / 6, beta=0.5)
_EPSILON = 0.001


def _large(builder: Builder) -> None:
    units = Units(builder, partial(Activation, kind="HardSwish"), _EPSILON)
    tensor = units.add(builder.image(), "stem", 16, 3, stride=2)
    given = 16
    for number, block in enumerate(_BLOCKS, 1):
        builder.part()
        tensor = _bottleneck(builder, tensor, f"block{number}", given, block)
        given = block.channels
    builder.part()
    tensor = builder.pool(units.add(tensor, "last", 960, 1), "average", "AvgGlobal")
    tensor = builder.layer(Activation(builder.full(tensor, "wideFull", 1280), "wide", "HardSwish"))
    builder.answer(builder.full(tensor, "logits", CLASSES))


def _bottleneck(builder: Builder, source: str, name: str, given: int, block: _Block) -> str:
    """As of version 2, with squeeze-and-excitation after the depthwise convolution of some."""
    units, wide = Units(builder, partial(Activation, kind=block.kind), _EPSILON), block.wide
    tensor = source if wide == given else units.add(source, f"{name}expand", wide, 1)
    tensor = units.add(tensor, f"{name}depthwise", wide, block.size, stride=block.stride, groups=wide)
    if block.squeezed:
        tensor = excite(builder, tensor, name, wide, block.squeezed, gate=_GATE)
    if block.stride == 1 and given == block.channels:
        tensor = units.linear(tensor, f"{name}project", block.channels, 1)
        return builder.add(source, tensor, name)
    return units.linear(tensor, name, block.channels, 1)


MOBILENETS_V3 = {
    "MobileNetV3": Example(
        ("Howard et al. 2019, arXiv:1905.02244, the large one of width 1.", "0.22 GMAC, 5.48 M parameters."), _large
    )
}
