"""WaveNet (van den Oord et al. 2016, arXiv:1609.03499)."""

from __future__ import annotations

from nn512.graph.examples.builder import Builder
from nn512.graph.examples.entry import Example
from nn512.graph.nodes import Activation, Conv, Mul, Softmax

_LEVELS, _SAMPLES = 256, 2048
_CHANNELS, _SKIPPED = 64, 256
_DILATIONS = tuple(2**i for i in range(10)) * 2


def _wavenet(builder: Builder) -> None:
    tensor = _causal(builder, builder.input("audio", _LEVELS, 1, _SAMPLES), "causal", 1)
    total = ""
    for number, dilation in enumerate(_DILATIONS, 1):
        builder.part()
        name = f"layer{number}"
        gated = _gate(builder, tensor, name, dilation)
        skip = builder.conv(gated, f"{name}skip", _SKIPPED, 1)
        total = builder.add(total, skip, f"{name}total") if total else skip
        if number < len(_DILATIONS):  # nobody reads what comes after the last one
            tensor = builder.add(tensor, builder.conv(gated, f"{name}residual", _CHANNELS, 1), name)
    builder.part()
    tensor = builder.conv(builder.relu(total, "relu1"), "conv1", _LEVELS, 1)
    tensor = builder.conv(builder.relu(tensor, "relu2"), "conv2", _LEVELS, 1)
    builder.layer(Softmax(tensor, "probabilities"))
    builder.output("probabilities")


def _gate(builder: Builder, source: str, name: str, dilation: int) -> str:
    """The gated activation: what a filter finds times what another lets through."""
    found = Activation(_causal(builder, source, f"{name}filterConv", dilation), f"{name}filter", "Tanh")
    let = Activation(_causal(builder, source, f"{name}gateConv", dilation), f"{name}gate", "Sigmoid")
    return builder.layer(Mul(builder.layer(found), builder.layer(let), f"{name}gated"))


def _causal(builder: Builder, source: str, name: str, dilation: int) -> str:
    """A convolution of each sample and one before it."""
    node = Conv(source, name, _CHANNELS, 1, 2, padding_left=dilation, padding_right=0, dilation_w=dilation)
    return builder.layer(node)


WAVENETS = {
    "WaveNet": Example(
        (
            "van den Oord et al. 2016, arXiv:1609.03499.",
            "The paper gives no sizes: two times ten layers of 64 channels, 256 of them skipped to the end.",
            "1.84 GMAC, 0.91 M parameters.",
            "Samples are one of 256 levels (a channel each), 2,048 in a row; each gets the distribution of the next.",
        ),
        _wavenet,
    )
}
