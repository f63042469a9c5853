"""SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360; 1.1 is that of the authors' repository)."""

from __future__ import annotations

from nn512.graph.examples.builder import CLASSES, Builder
from nn512.graph.examples.entry import Example

_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
"""Squeezed channels, and those of each of the two expansions, of fire2 to fire9."""

_POOLED_BEFORE = (2, 4, 6)


def _squeezenet(builder: Builder) -> None:
    tensor = builder.image()
    tensor = builder.conv(tensor, "conv1", 64, 3, stride=2, padded=False)
    tensor = builder.relu(tensor, "relu1")
    for number, (squeezed, expanded) in enumerate(_FIRES, 2):
        builder.part()
        if number in _POOLED_BEFORE:
            tensor = builder.pool(tensor, f"pool{number}", "Max3x3Stride2")
        tensor = _fire(builder, tensor, f"fire{number}", squeezed, expanded)
    builder.part()
    tensor = builder.conv(tensor, "conv10", CLASSES, 1)
    tensor = builder.relu(tensor, "relu10")
    builder.answer(builder.pool(tensor, "logits", "AvgGlobal"))


def _fire(builder: Builder, source: str, name: str, squeezed: int, expanded: int) -> str:
    """A 1x1 convolution to few channels; from these a 1x1 and a 3x3 one, side by side."""
    tensor = builder.conv(source, f"{name}squeezeConv", squeezed, 1)
    tensor = builder.relu(tensor, f"{name}squeeze")
    both = []
    for size in (1, 3):
        branch = f"{name}expand{size}x{size}"
        both.append(builder.relu(builder.conv(tensor, f"{branch}Conv", expanded, size), branch))
    return builder.join(both, name)


SQUEEZENETS = {
    "SqueezeNet": Example(
        (
            "Iandola et al. 2016, arXiv:1602.07360, version 1.1 of the authors' repository, DeepScale/SqueezeNet.",
            "0.35 GMAC, 1.24 M parameters.",
        ),
        _squeezenet,
    )
}
