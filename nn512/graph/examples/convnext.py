"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545)."""

from __future__ import annotations

from nn512.graph.examples.builder import CLASSES, Builder
from nn512.graph.examples.entry import Example
from nn512.graph.nodes import Activation, LayerNorm

_STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))
"""Channels and blocks of a stage of the smallest, T."""

_EPSILON = 0.000001


def _tiny(builder: Builder) -> None:
    tensor = builder.conv(builder.image(), "stemConv", _STAGES[0][0], 4, stride=4, padded=False)
    tensor = builder.layer(LayerNorm(tensor, "stem", _EPSILON))
    for stage, (channels, blocks) in enumerate(_STAGES, 1):
        if stage > 1:
            builder.part()
            tensor = builder.layer(LayerNorm(tensor, f"stage{stage}norm", _EPSILON))
            tensor = builder.conv(tensor, f"stage{stage}down", channels, 2, stride=2, padded=False)
        for number in range(1, blocks + 1):
            builder.part()
            tensor = _block(builder, tensor, f"stage{stage}block{number}", channels)
    builder.part()
    tensor = builder.pool(tensor, "average", "AvgGlobal")
    tensor = builder.layer(LayerNorm(tensor, "norm", _EPSILON))
    builder.answer(builder.full(tensor, "logits", CLASSES))


def _block(builder: Builder, source: str, name: str, channels: int) -> str:
    """A depthwise 7x7 convolution, a norm, and two 1x1 convolutions with four times the channels between."""
    tensor = builder.conv(source, f"{name}depthwise", channels, 7, groups=channels)
    tensor = builder.layer(LayerNorm(tensor, f"{name}norm", _EPSILON))
    tensor = builder.conv(tensor, f"{name}expand", 4 * channels, 1)
    tensor = builder.layer(Activation(tensor, f"{name}gelu", "GELU"))
    tensor = builder.conv(tensor, f"{name}project", channels, 1)
    return builder.add(source, tensor, name)


CONVNEXTS = {
    "ConvNeXtTiny": Example(
        (
            "Liu et al. 2022, arXiv:2201.03545, without the factors that begin at 0.000001 behind every block:",
            "in a trained net these are part of the weights before them.",
            "4.46 GMAC, 28.58 M parameters.",
        ),
        _tiny,
    )
}
