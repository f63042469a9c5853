"""Layer normalizations."""

from __future__ import annotations

from fuzz.draw.kinds.channel_norm import ChannelNormKind
from nn512.graph import LayerNorm


class LayerNormKind(ChannelNormKind[LayerNorm]):
    """Centred, scaled and shifted."""

    node = LayerNorm
