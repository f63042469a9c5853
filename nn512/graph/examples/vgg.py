"""VGG (Simonyan and Zisserman 2014, arXiv:1409.1556), configuration D."""

from __future__ import annotations

from nn512.graph.examples.builder import CLASSES, Builder
from nn512.graph.examples.entry import Example

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions before each pooling."""


def _vgg16(builder: Builder) -> None:
    tensor = builder.image()
    for stage, widths in enumerate(_STAGES, 1):
        builder.part()
        for index, channels in enumerate(widths, 1):
            tensor = builder.conv(tensor, f"conv{stage}x{index}", channels, 3)
            tensor = builder.relu(tensor, f"relu{stage}x{index}")
        tensor = builder.pool(tensor, f"pool{stage}", "Max2x2Stride2")
    builder.part()
    for number in (6, 7):
        tensor = builder.full(tensor, f"full{number}", 4096)
        tensor = builder.relu(tensor, f"relu{number}")
    builder.answer(builder.full(tensor, "logits", CLASSES))


VGGS = {
    "VGG16": Example(
        ("Simonyan and Zisserman 2014, arXiv:1409.1556, configuration D.", "15.47 GMAC, 138.36 M parameters."), _vgg16
    )
}
