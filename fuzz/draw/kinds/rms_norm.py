"""Divisions by the root mean square."""

from __future__ import annotations

from fuzz.draw.kinds.channel_norm import ChannelNormKind
from nn512.graph import RMSNorm


class RMSNormKind(ChannelNormKind[RMSNorm]):
    """Scaled alone."""

    node = RMSNorm
