"""What compilers make of the hot loops: all sums stay in registers."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import nn512
from nn512.errors import CannotRunError
from nn512.toolchain import LANGUAGE_FLAGS, NATIVE_FLAGS, CompilerKind, find_compilers

NET = """
    Config Prefix=Net
    Input ToTensor=image Channels=3 Height=56 Width=56
    Conv FromTensor=image ToTensor=planar ToChannels=64 FilterH=7 FilterW=7 StrideH=2 StrideW=2 PaddingH=3 PaddingW=3
    BatchNorm FromTensor=planar ToTensor=norm
    Activation FromTensor=norm ToTensor=relu Kind=ReLU
    Conv FromTensor=relu ToTensor=before ToChannels=64 FilterH=1 FilterW=1
    Add FromTensor1=before FromTensor2=planar ToTensor=pointwise
    Conv FromTensor=pointwise ToTensor=direct1 ToChannels=64 FilterH=1 FilterW=1
    Activation FromTensor=direct1 ToTensor=direct1r Kind=ReLU
    Conv FromTensor=direct1r ToTensor=direct3 ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    Conv FromTensor=direct3 ToTensor=strided ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 StrideH=2 StrideW=2
    Conv FromTensor=strided ToTensor=grouped4 ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=16
    Conv FromTensor=grouped4 ToTensor=grouped16 ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=4
    Conv FromTensor=grouped16 ToTensor=depthwise3 ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=64
    Pooling FromTensor=depthwise3 ToTensor=small Kind=Max2x2Stride2
    Conv FromTensor=small ToTensor=narrow ToChannels=512 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    Conv FromTensor=narrow ToTensor=rows ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    FullyConnected FromTensor=rows ToTensor=full ToChannels=128
    Conv FromTensor=direct1r ToTensor=blocks ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    Conv FromTensor=blocks ToTensor=halfBlocks ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    Conv FromTensor=small ToTensor=steps ToChannels=80 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    Conv FromTensor=steps ToTensor=halfSteps ToChannels=80 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    Output FromTensor=halfBlocks
    Output FromTensor=halfSteps
    Output FromTensor=direct1
    Output FromTensor=full
"""

LAYERS = (
    *("planar", "pointwise", "direct1", "direct3", "strided", "grouped4", "grouped16", "depthwise3", "narrow", "rows"),
    "full",
    *("blocks", "halfBlocks", "steps_products", "halfSteps_products"),
)

FORCED = {
    **dict.fromkeys(("direct3", "grouped16", "narrow", "rows"), "direct"),
    "blocks": "winograd-4x4",
    "halfBlocks": "winograd-4x4-fp16",
    "steps": "winograd-2x2",
    "halfSteps": "winograd-4x4-fp16",
}

# A tile that is transformed has more vectors than there are registers.
TRANSFORM = re.compile(r"winograd\w*_(inputs(_as_pairs)?|results)\b")

# Sums of each pass over weights. Blocks have 13 or 12 tiles and meet two blocks of outputs, then the one that is left.
PASSES = {
    "blocks": {26, 24, 13, 12},
    "halfBlocks": {26, 24, 13, 12},
    "steps_products": {16},
    "halfSteps_products": {8, 4},
}


class Loop(NamedTuple):
    """An innermost loop of a function: its instructions."""

    function: str
    body: tuple[str, ...]

    @property
    def sums(self) -> int:
        """Multiply-accumulates of whole vectors, or of pairs."""
        return sum(("vfmadd" in line or "vdpbf16" in line) and "%zmm" in line for line in self.body)


def innermost_loops(assembly: str) -> list[Loop]:
    """Stretches from a label to a jump back to it, of those that hold no other."""
    lines = assembly.splitlines()
    function, labels = "", dict[str, int]()
    found: list[tuple[int, int, str]] = []
    for number, line in enumerate(lines):
        if label := re.match(r"(\.L\w+):", line):
            labels[label[1]] = number
        elif name := re.match(r"(\w[\w.]*):", line):
            function = name[1]
        elif (jump := re.match(r"\s+j\w+\s+(\.L\w+)", line)) and jump[1] in labels:
            found.append((labels[jump[1]], number, function))
    ends = {(start, end) for start, end, _ in found}
    return [
        Loop(name, tuple(lines[start + 1 : end]))
        for start, end, name in found
        if not any((a, b) != (start, end) and start <= a and b <= end for a, b in ends)
    ]


def loops_of(text: str, options: nn512.Options, kind: CompilerKind, folder: Path) -> list[Loop]:
    """The innermost loops with sums that a compiler makes of the C of a net."""
    try:
        compiler = next((found for found in find_compilers() if found.kind is kind), None)
    except CannotRunError as error:
        pytest.skip(str(error))
    if compiler is None or platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip(f"no {kind.value} for x86-64 here")
    nn512.compile(text, options).write(folder)
    command = [*compiler.command, *LANGUAGE_FLAGS, "-O2", *NATIVE_FLAGS, "-S", "Net.c", "-o", "Net.s"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return [loop for loop in innermost_loops((folder / "Net.s").read_text()) if loop.sums]


PAIRED = """
    Config Prefix=Net Platform=AVX512BFloat16
    Input ToTensor=x Channels=64 Height=28 Width=28
    Conv FromTensor=x ToTensor=pointwise ToChannels=64 FilterH=1 FilterW=1
    Conv FromTensor=pointwise ToTensor=direct ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    Conv FromTensor=direct ToTensor=tiles ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
    Conv FromTensor=tiles ToTensor=grouped ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=16
    FullyConnected FromTensor=grouped ToTensor=full ToChannels=128
    Output FromTensor=full
"""


@pytest.mark.parametrize("kind", list(CompilerKind))
def test_sums_of_pairs_stay_in_registers(kind: CompilerKind, tmp_path: Path) -> None:
    """With -mavx512f alone, one instruction that spreads a pair for as many that multiply as blocks are summed."""
    forced = {
        "pointwise": "direct-bf16",
        "direct": "direct-bf16",
        "tiles": "winograd-4x4-bf16",
        "grouped": "grouped-bf16",
        "full": "fully_connected_bf16",
    }
    loops = loops_of(PAIRED, nn512.Options(force=tuple(forced.items())), kind, tmp_path)
    hot = [loop for loop in loops if loop.sums >= (8 if loop.function == "Net_full" else 20)]
    hot = [loop for loop in hot if not TRANSFORM.match(loop.function)]
    assert {loop.function for loop in hot} == {f"Net_{layer}" for layer in forced}
    for loop in hot:
        assert not [line for line in loop.body if "(%rsp" in line]
        if loop.function == "Net_tiles":
            assert loop.sums in PASSES["blocks"]
            continue
        spread = sum("vbroadcastss" in line for line in loop.body)
        assert loop.sums == spread * (4 if loop.function == "Net_full" else 2) or "grouped" in loop.function


@pytest.mark.parametrize("kind", list(CompilerKind))
def test_sums_stay_in_registers(kind: CompilerKind, tmp_path: Path) -> None:
    loops = loops_of(NET, nn512.Options(force=tuple(FORCED.items())), kind, tmp_path)
    for layer, passes in PASSES.items():
        assert {loop.sums for loop in loops if loop.function == f"Net_{layer}"} == passes
    hot = [loop for loop in loops if loop.sums >= 6 and not TRANSFORM.match(loop.function)]
    assert {f"Net_{layer}" for layer in LAYERS} <= {loop.function.split(".")[0] for loop in hot}
    on_the_stack = [(loop.function, line) for loop in hot for line in loop.body if "(%rsp" in line]
    assert on_the_stack == []
