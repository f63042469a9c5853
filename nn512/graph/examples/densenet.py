"""DenseNet (Huang et al. 2016, arXiv:1608.06993), the BC variant with growth rate 32."""

from __future__ import annotations

from itertools import count

from nn512.graph.examples.builder import Builder

DENSENETS = {
    "DenseNet121": (6, 12, 24, 16),
    "DenseNet169": (6, 12, 32, 32),
    "DenseNet201": (6, 12, 48, 32),
    "DenseNet265": (6, 12, 64, 48),
}
"""Layers of the four dense blocks."""

_GROWTH = 32
_BOTTLENECK = 4 * _GROWTH


def densenet(name: str) -> str:
    """Graph text of a net of the family. Transitions convolve 1x1 first and average after."""
    builder = Builder(name)
    tensor = builder.stem()
    channels = 64
    for block, layers in zip(count(1), DENSENETS[name]):
        for layer in range(1, layers + 1):
            builder.part()
            tensor = _layer(builder, tensor, f"dense{block}layer{layer}")
        channels += layers * _GROWTH
        if block < len(DENSENETS[name]):
            builder.part()
            channels //= 2
            tensor = _transition(builder, tensor, f"transition{block}", channels)
    builder.part()
    tensor = builder.norm(tensor, "finalNorm")
    tensor = builder.relu(tensor, "finalReLU")
    builder.classifier(tensor)
    return builder.text()


def _layer(builder: Builder, source: str, name: str) -> str:
    """1x1 and 3x3 convolutions, each behind a batch norm and a ReLU, whose 32 channels join those of the source."""
    tensor = builder.norm(source, f"{name}norm1")
    tensor = builder.relu(tensor, f"{name}relu1")
    tensor = builder.conv(tensor, f"{name}conv1", _BOTTLENECK, 1)
    tensor = builder.norm(tensor, f"{name}norm2")
    tensor = builder.relu(tensor, f"{name}relu2")
    tensor = builder.conv(tensor, f"{name}conv2", _GROWTH, 3)
    return builder.concat(source, tensor, name)


def _transition(builder: Builder, source: str, name: str, channels: int) -> str:
    """Half the channels, half the height and width."""
    tensor = builder.norm(source, f"{name}norm")
    tensor = builder.relu(tensor, f"{name}relu")
    tensor = builder.conv(tensor, f"{name}conv", channels, 1)
    return builder.pool(tensor, name, "Avg2x2Stride2")
