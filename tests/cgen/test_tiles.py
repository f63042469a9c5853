"""How tile routines of convolutions read: few arguments, loops worth the name, literal numbers of pixels."""

from __future__ import annotations

import re

import pytest

import nn512
from nn512.cgen.writer import Writer
from nn512.graph import example
from nn512.kernels.tiles import Unrolled

# Tiles of one pixel, panels of one block, windows of one column, two sums, one piece of a block.
SMALL = """
Config Prefix=Small
Input ToTensor=x Channels=20 Height=3 Width=1
Conv FromTensor=x ToTensor=a ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Conv FromTensor=a ToTensor=d ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=20
Conv FromTensor=d ToTensor=g ToChannels=10 FilterH=1 FilterW=1 Groups=5
Concat FromTensor1=x FromTensor2=a ToTensor=c
Conv FromTensor=a ToTensor=k ToChannels=40 FilterH=1 FilterW=1
Add FromTensor1=c FromTensor2=k ToTensor=s
Pooling FromTensor=s ToTensor=m Kind=Max3x3Stride2 PaddingH=1 PaddingW=1
FullyConnected FromTensor=m ToTensor=f ToChannels=64
FullyConnected FromTensor=f ToTensor=e ToChannels=10
Output FromTensor=e
Output FromTensor=g
"""

NETS = {"small": SMALL, **{name: example(name) for name in ("ResNet50", "DenseNet121", "ResNeXt50")}}


def source_of(name: str) -> str:
    """The source of a net."""
    return nn512.compile(NETS[name]).source


@pytest.mark.parametrize("name", list(NETS))
def test_no_unrolled_loop_has_a_single_iteration(name: str) -> None:
    bounds = re.findall(r"UNROLL for \(int \w+ = (\d+); \w+ < (\d+); \w+\+\+\)", source_of(name))
    assert len(bounds) > 3
    assert [pair for pair in bounds if int(pair[1]) - int(pair[0]) < 2] == []


@pytest.mark.parametrize("name", list(NETS))
def test_tile_routines_take_few_arguments(name: str) -> None:
    routines = re.findall(r"^static INLINE void (\w+)\(OPERANDS([^{]*)\) \{", source_of(name), flags=re.MULTILINE)
    assert len(routines) > 1
    assert {name: parameters.count(",") + 4 for name, parameters in routines if parameters.count(",") > 6} == {}


@pytest.mark.parametrize("name", list(NETS))
def test_numbers_of_pixels_are_literals(name: str) -> None:
    """Or compilers would keep the loops over them, and sums in memory."""
    source = source_of(name)
    routines = re.findall(r"^static INLINE void (\w+)\([^{]*const int pixels\) \{", source, flags=re.MULTILINE)
    assert routines
    for routine in routines:
        calls = re.findall(rf"^ +{routine}\(([^;]*)\);", source, flags=re.MULTILINE)
        assert calls
        assert [call for call in calls if not re.search(r"&sizes,\s+\d+$", call)] == []


def test_a_loop_of_one_iteration_is_none() -> None:
    assert Unrolled("p", 3, 4).openings == []
    assert str(Unrolled("p", 3, 4).index) == "3"
    assert Unrolled("p", 3, 5).openings == ["UNROLL for (int p = 3; p < 5; p++)"]
    assert str(Unrolled("p", 3, 5).index) == "p"


@pytest.mark.parametrize(
    ("openings", "statements", "text"),
    [
        ([], ["a;", "b;"], "a;\nb;\n"),
        (["for (p)"], ["a;"], "for (p) a;\n"),
        (["for (p)"], ["a;", "b;"], "for (p) {\n    a;\n    b;\n}\n"),
        (["for (o)", "for (p)"], ["a;"], "for (o)\n    for (p) a;\n"),
        (["for (p)"], [f"{'a' * 115};"], f"for (p)\n    {'a' * 115};\n"),
    ],
    ids=["none", "one", "several", "nested", "long"],
)
def test_statements_in_loops(openings: list[str], statements: list[str], text: str) -> None:
    writer = Writer()
    writer.nest(openings, statements)
    assert writer.text() == text
