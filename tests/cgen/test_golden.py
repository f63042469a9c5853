"""A few small nets whose emitted files are committed: they show how emitted C reads, and what a change does to it.

That the C is right is for other tests to say. After a change that is meant, run pytest with --update-golden and read
what `git diff tests/cgen/golden` shows, as somebody would who has never seen the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import nn512

NETS = {
    # edges of the picture, an uneven row, a residual connection, a partial block of outputs
    "Edges": """
Config Prefix=Edges
Input ToTensor=image Channels=3 Height=9 Width=23
Conv FromTensor=image ToTensor=conv ToChannels=40 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
BatchNorm FromTensor=conv ToTensor=norm
Conv FromTensor=image ToTensor=shortcut ToChannels=40 FilterH=1 FilterW=1
Add FromTensor1=norm FromTensor2=shortcut ToTensor=sum
Activation FromTensor=sum ToTensor=relu Kind=ReLU Param=0.1
Output FromTensor=relu
""",
    # a dense block: batch norm and ReLU before convolutions, halves of a concat written in place
    "Dense": """
Config Prefix=Dense
Input ToTensor=start Channels=32 Height=7 Width=7
BatchNorm FromTensor=start ToTensor=norm1
Activation FromTensor=norm1 ToTensor=relu1 Kind=ReLU Param=0
Conv FromTensor=relu1 ToTensor=conv1 ToChannels=64 FilterH=1 FilterW=1
BatchNorm FromTensor=conv1 ToTensor=norm2
Activation FromTensor=norm2 ToTensor=relu2 Kind=ReLU Param=0
Conv FromTensor=relu2 ToTensor=conv2 ToChannels=16 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Concat FromTensor1=start FromTensor2=conv2 ToTensor=both
Output FromTensor=both
""",
    # Winograd: in blocks of tiles of two sizes, at edges and inside of the picture; in steps, with half weights
    "Tiles": """
Config Prefix=Tiles
Input ToTensor=image Channels=20 Height=26 Width=26
Conv FromTensor=image ToTensor=conv ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=conv ToTensor=blocks Kind=ReLU
Pooling FromTensor=blocks ToTensor=halved Kind=Max2x2Stride2
Conv FromTensor=halved ToTensor=steps ToChannels=40 FilterH=3 FilterW=3
Output FromTensor=steps
""",
    # channels of a group in neighbouring lanes, and every channel a group
    "Groups": """
Config Prefix=Groups
Input ToTensor=image Channels=16 Height=8 Width=8
Conv FromTensor=image ToTensor=fours ToChannels=16 FilterH=3 FilterW=3 StrideW=2 PaddingH=1 PaddingW=1 Groups=4
Conv FromTensor=fours ToTensor=own ToChannels=16 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=16
Output FromTensor=own
""",
    # the end of a classifier
    "Head": """
Config Prefix=Head
Input ToTensor=features Channels=24 Height=6 Width=6
Pooling FromTensor=features ToTensor=halved Kind=Max3x3Stride2 PaddingH=1 PaddingW=1
Pooling FromTensor=halved ToTensor=pooled Kind=AvgGlobal
FullyConnected FromTensor=pooled ToTensor=scores ToChannels=10
Softmax FromTensor=scores ToTensor=probabilities
Output FromTensor=probabilities
""",
}

# Kernels that a net is there to show, whatever they cost.
FORCED = {"Tiles": (("blocks", "winograd-4x4"), ("steps", "winograd-4x4-fp16"))}


@pytest.mark.parametrize("name", NETS)
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    emitted = nn512.compile(NETS[name], nn512.Options(force=FORCED.get(name, ())))
    golden(f"{name}.h", emitted.header)
    golden(f"{name}.c", emitted.source)
    golden(f"{name}.plan.json", emitted.plan_json)


def test_no_golden_file_is_left_over() -> None:
    expected = {f"{name}{suffix}" for name in NETS for suffix in (".h", ".c", ".plan.json")}
    assert {path.name for path in Path(__file__).with_name("golden").iterdir()} == expected
