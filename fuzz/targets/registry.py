"""Targets by name, ours, those that are known here, and those that other packages add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from types import MappingProxyType

from fuzz.targets.base import Target
from fuzz.targets.command import Command
from fuzz.targets.ours import OURS
from fuzz.targets.peers import UNDEFINED, Peer
from nn512.errors import UsageError

GROUP = "nn512.targets"
"""Entry points of other packages: each a function of a profile, or "" for its own, that gives a `Target`."""

_FLUSHED = UNDEFINED | {"subnormal"}
"""What is not asked where subnormal weights are taken for zeros, as OpenVINO does whatever it is told."""

_COMMAND = "command:"


def _ours(profile: str) -> Target:
    if profile:
        raise UsageError("a profile does not go with nn512: its plan names the algorithms")
    return OURS


def _peer(
    name: str, package: str, own: str = "direct", slowness: float = 1.0, skips: frozenset[str] = UNDEFINED
) -> Callable[[str], Target]:
    return lambda profile: Peer(name, package, profile or own, slowness, skips=skips)


KNOWN: Mapping[str, Callable[[str], Target]] = MappingProxyType(
    {
        "nn512": _ours,
        "onnxruntime": _peer("onnxruntime", "onnxruntime"),
        "openvino": _peer("openvino", "openvino", skips=_FLUSHED),
        "openvino-bf16": _peer("openvino-bf16", "openvino", own="bf16", skips=_FLUSHED),
        "emx-onnx-cgen": _peer("emx-onnx-cgen", "emx_onnx_cgen"),
        "ncnn": _peer("ncnn", "ncnn"),
        "torch": _peer("torch", "torch"),
        "torch-compile": _peer("torch-compile", "torch", slowness=5.0),
    }
)


def target_names() -> tuple[str, ...]:
    """What `target_of` takes, commands aside."""
    return (*KNOWN, *sorted(entry.name for entry in entry_points(group=GROUP)))


def target_of(name: str, profile: str = "", seconds: float = 0.0) -> Target:
    """The target of this name, or `command:` and a command line (see `Command`). Raises UsageError for any other.

    `seconds` are what a command or a system known here may take for a graph; 0 leaves it what it has.
    """
    if name.startswith(_COMMAND):
        return Command(name.removeprefix(_COMMAND), profile or "direct", seconds=seconds)
    if name in KNOWN:
        known = KNOWN[name](profile)
        return replace(known, seconds=seconds) if isinstance(known, Peer) else known
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            target: Target = entry.load()(profile)
            return target
    raise UsageError(f"there is no target {name!r}; there are {', '.join(target_names())}, and command:'...'")
