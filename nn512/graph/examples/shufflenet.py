"""ShuffleNet, version 2 (Ma et al. 2018, arXiv:1807.11164)."""

from __future__ import annotations

from nn512.graph.examples.builder import Builder
from nn512.graph.examples.entry import Example
from nn512.graph.examples.units import Units
from nn512.graph.nodes import Shuffle, Slice

_STAGES = ((116, 4), (232, 8), (464, 4))
"""Channels and units of a stage: width 1 of table 5 of the paper."""


def _shufflenet(builder: Builder) -> None:
    units = Units(builder)
    tensor = units.add(builder.image(), "stem", 24, 3, stride=2)
    tensor = builder.pool(tensor, "stemPool", "Max3x3Stride2", 1)
    given = 24
    for stage, (channels, repetitions) in enumerate(_STAGES, 2):
        for number in range(1, repetitions + 1):
            builder.part()
            tensor = _unit(units, tensor, f"stage{stage}unit{number}", given, channels)
            given = channels
    builder.part()
    builder.classifier(units.add(tensor, "last", 1024, 1))


def _unit(units: Units, source: str, name: str, given: int, channels: int) -> str:
    """Two halves side by side, then shuffled. One is left as it was, or convolved at stride 2 as the other is."""
    builder, half = units.builder, channels // 2
    if given == channels:
        kept = builder.layer(Slice(source, f"{name}kept", 0, half))
        right = builder.layer(Slice(source, f"{name}split", half, half))
    else:
        kept = units.linear(source, f"{name}keptDepthwise", given, 3, stride=2, groups=given)
        kept = units.add(kept, f"{name}kept", half, 1)
        right = source
    right = units.add(right, f"{name}first", half, 1)
    right = units.linear(right, f"{name}depthwise", half, 3, stride=1 if given == channels else 2, groups=half)
    right = units.add(right, f"{name}second", half, 1)
    return builder.layer(Shuffle(builder.concat(kept, right, f"{name}both"), name, 2))


SHUFFLENETS = {
    "ShuffleNetV2": Example(
        ("Ma et al. 2018, arXiv:1807.11164, of width 1.", "0.14 GMAC, 2.28 M parameters."), _shufflenet
    )
}
