"""EfficientNet (Tan and Le 2019, arXiv:1905.11946)."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import NamedTuple

from nn512.graph.examples.builder import Builder
from nn512.graph.examples.entry import Example
from nn512.graph.examples.excitation import excite
from nn512.graph.examples.units import Units
from nn512.graph.nodes import Activation


class _Stage(NamedTuple):
    expansion: int
    size: int  # of the depthwise convolutions
    channels: int
    repetitions: int
    stride: int  # of the first of them


_STAGES = (
    _Stage(1, 3, 16, 1, 1),
    _Stage(6, 3, 24, 2, 2),
    _Stage(6, 5, 40, 2, 2),
    _Stage(6, 3, 80, 3, 2),
    _Stage(6, 5, 112, 3, 1),
    _Stage(6, 5, 192, 4, 2),
    _Stage(6, 3, 320, 1, 1),
)
"""B0: table 1 of the paper."""

_SILU = partial(Activation, kind="SiLU")


def _b0(builder: Builder) -> None:
    units = Units(builder, _SILU)
    tensor = units.add(builder.image(), "stem", 32, 3, stride=2)
    given, number = 32, count(1)
    for stage in _STAGES:
        for repetition in range(stage.repetitions):
            builder.part()
            block = stage._replace(stride=1 if repetition else stage.stride)
            tensor = _block(units, tensor, f"block{next(number)}", given, block)
            given = stage.channels
    builder.part()
    builder.classifier(units.add(tensor, "last", 1280, 1))


def _block(units: Units, source: str, name: str, given: int, stage: _Stage) -> str:
    """Expand, convolve depthwise, excite, project; the source is added where the shape stays."""
    builder, wide = units.builder, given * stage.expansion
    tensor = source if wide == given else units.add(source, f"{name}expand", wide, 1)
    tensor = units.add(tensor, f"{name}depthwise", wide, stage.size, stride=stage.stride, groups=wide)
    tensor = excite(builder, tensor, name, wide, given // 4, between=_SILU)
    if stage.stride == 1 and given == stage.channels:
        tensor = units.linear(tensor, f"{name}project", stage.channels, 1)
        return builder.add(source, tensor, name)
    return units.linear(tensor, name, stage.channels, 1)


EFFICIENTNETS = {
    "EfficientNetB0": Example(
        (
            "Tan and Le 2019, arXiv:1905.11946.",
            "0.39 GMAC, 5.29 M parameters.",
            "Padded alike on all sides, as in torchvision; TensorFlow's pads more at the bottom and right.",
        ),
        _b0,
    )
}
