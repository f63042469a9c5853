"""RegNet (Radosavovic et al. 2020, arXiv:2003.13678)."""

from __future__ import annotations

from nn512.graph.examples.builder import Builder
from nn512.graph.examples.entry import Example
from nn512.graph.examples.excitation import excite
from nn512.graph.examples.units import Units

_STAGES = ((48, 1), (104, 3), (208, 6), (440, 6))
"""Channels and blocks of a stage: RegNetY-400MF of table 4 of the paper."""

_GROUP = 8
"""Channels of a group."""


def _y400mf(builder: Builder) -> None:
    units = Units(builder)
    tensor, given = units.add(builder.image(), "stem", 32, 3, stride=2), 32
    for stage, (channels, blocks) in enumerate(_STAGES, 1):
        for number in range(1, blocks + 1):
            builder.part()
            tensor = _block(units, tensor, f"stage{stage}block{number}", given, channels)
            given = channels
    builder.classifier(tensor)


def _block(units: Units, source: str, name: str, given: int, channels: int) -> str:
    """A bottleneck as wide between as outside, with squeeze-and-excitation; the first of a stage has stride 2."""
    builder, first = units.builder, given != channels
    tensor = units.add(source, f"{name}first", channels, 1)
    tensor = units.add(tensor, f"{name}grouped", channels, 3, stride=2 if first else 1, groups=channels // _GROUP)
    tensor = excite(builder, tensor, name, channels, round(given / 4))
    tensor = units.linear(tensor, f"{name}last", channels, 1)
    shortcut = units.linear(source, f"{name}shortcut", channels, 1, stride=2) if first else source
    return builder.relu(builder.add(tensor, shortcut, f"{name}sum"), name)


REGNETS = {
    "RegNetY400MF": Example(("Radosavovic et al. 2020, arXiv:2003.13678.", "0.40 GMAC, 4.34 M parameters."), _y400mf)
}
