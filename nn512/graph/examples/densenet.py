"""DenseNet (Huang et al. 2016, arXiv:1608.06993), the BC variant with growth rate 32."""

from __future__ import annotations

from itertools import count

from nn512.graph.examples.builder import Builder
from nn512.graph.examples.entry import Example

_GROWTH = 32
_BOTTLENECK = 4 * _GROWTH


def _write(builder: Builder, blocks: tuple[int, ...]) -> None:
    """Transitions convolve 1x1 first and average after."""
    tensor = builder.stem()
    channels = 64
    for block, layers in zip(count(1), blocks):
        for layer in range(1, layers + 1):
            builder.part()
            tensor = _layer(builder, tensor, f"dense{block}layer{layer}")
        channels += layers * _GROWTH
        if block < len(blocks):
            builder.part()
            channels //= 2
            tensor = _transition(builder, tensor, f"transition{block}", channels)
    builder.part()
    tensor = builder.norm(tensor, "finalNorm")
    tensor = builder.relu(tensor, "finalReLU")
    builder.classifier(tensor)


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


def _example(blocks: tuple[int, int, int, int], figures: str) -> Example:
    comment = f"Huang et al. 2016, arXiv:1608.06993, the BC variant with growth rate 32. {figures}"
    return Example((comment,), lambda builder: _write(builder, blocks))


DENSENETS = {
    "DenseNet121": _example((6, 12, 24, 16), "2.83 GMAC, 7.98 M parameters."),
    "DenseNet169": _example((6, 12, 32, 32), "3.36 GMAC, 14.15 M parameters."),
    "DenseNet201": _example((6, 12, 48, 32), "4.29 GMAC, 20.02 M parameters."),
    "DenseNet265": _example((6, 12, 64, 48), "5.75 GMAC, 33.34 M parameters."),
}
"""By the layers of the four dense blocks."""
