"""Constants in C."""

from __future__ import annotations

import struct


def float_literal(value: float) -> str:
    """A C constant for the float32 nearest to `value`."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    text = f"{rounded:.9g}"
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"
