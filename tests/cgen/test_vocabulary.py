"""Words of emitted C: no intrinsic outside of the table, no identifier of ours that a tensor would take away."""

from __future__ import annotations

import re

import pytest

import nn512
from nn512.cgen import intrinsics, names
from nn512.graph import example
from nn512.options import Options

EVERYTHING = """
Config Prefix=All
Input ToTensor=x Channels=20 Height=9 Width=11
Conv FromTensor=x ToTensor=c ToChannels=35 FilterH=3 FilterW=3 PaddingH=1 PaddingW=2 StrideW=2
BatchNorm FromTensor=c ToTensor=b
Activation FromTensor=b ToTensor=r Kind=ReLU Param=0.1
Conv FromTensor=r ToTensor=g ToChannels=70 FilterH=1 FilterW=1 Groups=5
Concat FromTensor1=r FromTensor2=g ToTensor=cat
Add FromTensor1=cat FromTensor2=cat ToTensor=sum
Pooling FromTensor=sum ToTensor=max Kind=Max3x3Stride2 PaddingH=1
Pooling FromTensor=max ToTensor=avg Kind=Avg2x2Stride2
FullyConnected FromTensor=avg ToTensor=fc ToChannels=33
Softmax FromTensor=fc ToTensor=prob
Pooling FromTensor=sum ToTensor=global Kind=AvgGlobal
Output FromTensor=prob
Output FromTensor=global
Output FromTensor=cat
"""


@pytest.mark.parametrize("name", ["everything", "ResNet50", "DenseNet121", "ResNeXt50"])
def test_only_intrinsics_of_the_table(name: str) -> None:
    source = nn512.compile(EVERYTHING if name == "everything" else example(name)).source
    intrinsics.check(source)
    assert len(set(re.findall(r"\b_mm512_\w+", source))) > 10


def test_no_double_vectors_nor_other_extensions() -> None:
    """AVX-512F alone: nothing that needs another extension may enter the table."""
    others = [name for name in intrinsics.INTRINSICS if re.search(r"_epi(?:8|16|64)|_ph\b.*_ph|dpbf16|_pd$", name)]
    assert sorted(others) == ["_mm_set1_pd", "_mm_sqrt_pd"]


MARK = "Qq"
"""Begins the name of every tensor here, so that all other identifiers are ours."""


def layer_functions(source: str) -> str:
    """The functions in which tensors are local pointers, without comments and strings."""
    first = re.search(r"^/\* ---- Layer 1:", source, flags=re.MULTILINE)
    assert first is not None
    functions = source[first.start() : source.index("/* ---- The engine")]
    return re.sub(r'/\*.*?\*/|"[^"]*"', "", functions, flags=re.DOTALL)


@pytest.mark.parametrize("name", ["everything", "ResNet50", "DenseNet121", "ResNeXt50"])
@pytest.mark.parametrize("force", ["", "direct", "fully_connected_fp16"])
def test_no_local_can_meet_a_tensor(name: str, force: str) -> None:
    text = EVERYTHING if name == "everything" else example(name)
    marked = re.sub(r"\b((?:To|From)Tensor[12]?)=(\w+)", rf"\1={MARK}\2", text)
    source = nn512.compile(marked, Options(force=(("", force),) if force else ())).source
    found = set(re.findall(r"(?<![\w.>])([A-Za-z][A-Za-z0-9]*)\b", layer_functions(source)))
    ours = {word for word in found if MARK not in word and not re.search(r"(Net|Engine)$", word)}
    assert len(ours) > 20
    assert sorted(word for word in ours if names.local(word) == word) == []
