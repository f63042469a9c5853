"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842) with batch normalization, as torchvision has it."""

from __future__ import annotations

from nn512.graph.examples.builder import Builder
from nn512.graph.examples.entry import Example
from nn512.graph.examples.units import Units

_MODULES = (
    ("3a", (64, 96, 128, 16, 32, 32)),
    ("3b", (128, 128, 192, 32, 96, 64)),
    ("4a", (192, 96, 208, 16, 48, 64)),
    ("4b", (160, 112, 224, 24, 64, 64)),
    ("4c", (128, 128, 256, 24, 64, 64)),
    ("4d", (112, 144, 288, 32, 64, 64)),
    ("4e", (256, 160, 320, 32, 128, 128)),
    ("5a", (256, 160, 320, 32, 128, 128)),
    ("5b", (384, 192, 384, 48, 128, 128)),
)
"""Channels of the 1x1 branch, of the 3x3 one reduced and whole, of the 5x5 one likewise, and behind the pooling."""


def _googlenet(builder: Builder) -> None:
    units = Units(builder, epsilon=0.001)
    tensor = units.add(builder.image(), "conv1", 64, 7, stride=2)
    tensor = builder.halve(tensor, "pool1")
    tensor = units.add(tensor, "conv2reduced", 64, 1)
    tensor = units.add(tensor, "conv2", 192, 3)
    for name, channels in _MODULES:
        builder.part()
        if name == "3a":
            tensor = builder.halve(tensor, "pool2")
        if name == "4a":
            tensor = builder.halve(tensor, "pool3")
        if name == "5a":
            tensor = builder.pool(tensor, "pool4", "Max2x2Stride2")
        tensor = _inception(units, tensor, f"inception{name}", channels)
    builder.classifier(tensor)


def _inception(units: Units, source: str, name: str, channels: tuple[int, ...]) -> str:
    """Four branches side by side. The third was 5x5 in the paper; torchvision's weights are 3x3."""
    direct, reduced3, wide3, reduced5, wide5, behind = channels
    return units.builder.join(
        (
            units.add(source, f"{name}direct", direct, 1),
            units.add(units.add(source, f"{name}reduced1", reduced3, 1), f"{name}wide1", wide3, 3),
            units.add(units.add(source, f"{name}reduced2", reduced5, 1), f"{name}wide2", wide5, 3),
            units.add(units.builder.slide(source, f"{name}pool", "Max"), f"{name}pooled", behind, 1),
        ),
        name,
    )


GOOGLENETS = {
    "GoogLeNet": Example(
        (
            "Szegedy et al. 2014, arXiv:1409.4842, without its auxiliary classifiers, and as torchvision has it: with",
            "batch normalization, and with 3x3 filters in the place of 5x5. 1.50 GMAC, 6.62 M parameters.",
        ),
        _googlenet,
    )
}
