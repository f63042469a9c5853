"""Words of emitted C: no intrinsic outside of the table, no identifier of ours that a tensor would take away."""

from __future__ import annotations

import itertools
import re

import pytest

import nn512
from fuzz.draw.edges import edge_nets
from nn512.cgen import intrinsics, names
from nn512.graph import example
from nn512.kernels.registry import kernel_named, kernel_names
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

# What EVERYTHING has not: groups of channels at places of their own, a change of layout, rows that see padding alone,
# a convolution with a norm before it, a picture of few channels in blocks, windows that are cut on both sides.
RARE = """
Config Prefix=Rare
Input ToTensor=x Channels=20 Height=9 Width=11
Conv FromTensor=x ToTensor=a ToChannels=20 FilterH=1 FilterW=1
Concat FromTensor1=x FromTensor2=a ToTensor=c
Conv FromTensor=c ToTensor=g ToChannels=40 FilterH=1 FilterW=1 Groups=5
Conv FromTensor=a ToTensor=h ToChannels=40 FilterH=1 FilterW=1
Add FromTensor1=c FromTensor2=h ToTensor=s
BatchNorm FromTensor=s ToTensor=n
Conv FromTensor=a ToTensor=blind ToChannels=20 FilterH=1 FilterW=1 PaddingH=2 PaddingW=1 Groups=20
Conv FromTensor=a ToTensor=hidden ToChannels=20 FilterH=1 FilterW=1 PaddingH=2 PaddingW=1
BatchNorm FromTensor=hidden ToTensor=m
Activation FromTensor=m ToTensor=r Kind=ReLU
Conv FromTensor=r ToTensor=after ToChannels=20 FilterH=1 FilterW=1
Input ToTensor=z Channels=3 Height=9 Width=11
Activation FromTensor=z ToTensor=few Kind=ReLU
Pooling FromTensor=few ToTensor=cut Kind=Avg WindowH=3 WindowW=14 PaddingW=10
Output FromTensor=cut
Output FromTensor=g
Output FromTensor=c
Output FromTensor=n
Output FromTensor=blind
Output FromTensor=hidden
Output FromTensor=after
Output FromTensor=few
"""

# Convolutions that tiles can compute, block by block and in steps: with groups, and with pieces as their input.
TILED = """
Config Prefix=Tiled
Input ToTensor=x Channels=20 Height=9 Width=11
Input ToTensor=large Channels=32 Height=40 Width=41
Input ToTensor=small Channels=32 Height=6 Width=6
Conv FromTensor=x ToTensor=a ToChannels=20 FilterH=1 FilterW=1
Concat FromTensor1=x FromTensor2=a ToTensor=c
Conv FromTensor=c ToTensor=steps ToChannels=50 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Conv FromTensor=large ToTensor=blocks ToChannels=50 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Conv FromTensor=large ToTensor=groups ToChannels=96 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=2
Conv FromTensor=small ToTensor=few ToChannels=96 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=2
Output FromTensor=steps
Output FromTensor=blocks
Output FromTensor=groups
Output FromTensor=few
"""

# Channels by whole blocks, by runs and lane by lane, of one tensor and of several, in one slab and more; rows and
# columns.
MOVED = """
Config Prefix=Moved
Input ToTensor=x Channels=40 Height=6 Width=7
Input ToTensor=z Channels=5 Height=6 Width=7
Slice FromTensor=x ToTensor=whole From=16 Count=24
Slice FromTensor=x ToTensor=off From=3 Count=30
Shuffle FromTensor=x ToTensor=mixed Groups=5
Concat FromTensor1=z FromTensor2=x FromTensor3=z ToTensor=joined
Shuffle FromTensor=joined ToTensor=several Groups=2
Slice FromTensor=x ToTensor=rows From=1 Count=4 Axis=Height
Slice FromTensor=x ToTensor=columns From=0 Count=3 Step=2 Axis=Width
Concat FromTensor1=x FromTensor2=rows ToTensor=high Axis=Height
Concat FromTensor1=x FromTensor2=columns ToTensor=wide Axis=Width
Input ToTensor=line Channels=40 Height=1 Width=300
Slice FromTensor=line ToTensor=slabs From=3 Count=30
Output FromTensor=slabs
Output FromTensor=whole
Output FromTensor=off
Output FromTensor=mixed
Output FromTensor=several
Output FromTensor=high
Output FromTensor=wide
"""

CALLED = "Config Prefix=Net\nInput ToTensor=x Channels=4 Height=3 Width=5\n" + "".join(
    f"Activation FromTensor=x ToTensor=t{kind} Kind={kind}\nOutput FromTensor=t{kind}\n"
    for kind in ("Sigmoid", "SiLU", "Tanh", "GELU", "GELUTanh", "ELU", "Softplus", "Mish", "Exp", "Log")
)
"""Every function that is a routine."""

# Normalizations over channels, of some and of several pieces.
NORMED = """
Config Prefix=Normed
Input ToTensor=x Channels=20 Height=5 Width=7
LayerNorm FromTensor=x ToTensor=a
RMSNorm FromTensor=x ToTensor=b
Concat FromTensor1=a FromTensor2=x ToTensor=c
LayerNorm FromTensor=c ToTensor=d
Activation FromTensor=d ToTensor=h Kind=PReLU
Softmax FromTensor=h ToTensor=e
LRN FromTensor=c ToTensor=g Size=4 Alpha=1 Beta=0.6
Output FromTensor=g
Pooling FromTensor=e ToTensor=f Kind=Max3x3Stride2 PaddingH=1
Output FromTensor=b
Output FromTensor=f
"""

# Convolutions on pairs of channels, of one piece and of several, and on pairs of columns.
PAIRED = """
Config Prefix=Paired Platform=AVX512BFloat16
Input ToTensor=x Channels=100 Height=14 Width=14
Conv FromTensor=x ToTensor=a ToChannels=128 FilterH=1 FilterW=1
BatchNorm FromTensor=a ToTensor=b
Concat FromTensor1=x FromTensor2=b ToTensor=c
Conv FromTensor=c ToTensor=y ToChannels=128 FilterH=1 FilterW=1
Output FromTensor=y
Input ToTensor=picture Channels=3 Height=64 Width=64 Order=HWC
Conv FromTensor=picture ToTensor=z ToChannels=64 FilterH=7 FilterW=7 StrideH=2 StrideW=2
Output FromTensor=z
"""

TEXTS = {
    "paired": PAIRED,
    "everything": EVERYTHING,
    "rare": RARE,
    "tiled": TILED,
    "moved": MOVED,
    "called": CALLED,
    "normed": NORMED,
    "ResNeXt50": example("ResNeXt50"),
}
"""Nets in which every word of emitted C stands."""

NETS = {**TEXTS, **{name: example(name) for name in ("ResNet50", "DenseNet121")}}


@pytest.mark.parametrize("name", NETS)
def test_only_intrinsics_of_the_table(name: str) -> None:
    source = nn512.compile(NETS[name]).source
    intrinsics.check(source)
    assert len(set(re.findall(r"\b_mm512_\w+", source))) > 10


def test_no_double_vectors_nor_other_extensions() -> None:
    """AVX-512F alone, but for what says which extension it needs: nothing else may enter the table."""
    others = [
        row for row in intrinsics.INTRINSICS.values() if re.search(r"_epi(?:8|16|64)|_ph\b.*_ph|bf16|bh|_pd$", row.name)
    ]
    assert sorted(row.name for row in others if not row.extension) == ["_mm_set1_pd", "_mm_sqrt_pd"]


MARK = "Qq"
"""Begins the name of every tensor here, so that all other identifiers are ours."""


def layer_functions(source: str) -> str:
    """The functions in which tensors are local pointers, without comments and strings."""
    first = re.search(r"^/\* ---- Layer 1:", source, flags=re.MULTILINE)
    assert first is not None
    functions = source[first.start() : source.index("/* ---- The engine")]
    return re.sub(r'/\*.*?\*/|"[^"]*"', "", functions, flags=re.DOTALL)


def compiled(text: str, options: Options) -> str:
    """The source of a net all of whose tensors begin with MARK."""
    marked = re.sub(r"\b((?:To|From)Tensor[1-8]?)=(\w+)", rf"\1={MARK}\2", text)
    return nn512.compile(marked, options).source


def forced(kernel: str) -> Options:
    return Options(force=(("", kernel),) if kernel else ())


def words_of_steps(source: str) -> set[str]:
    """The identifiers of step functions that are not those of tensors."""
    found = set(re.findall(r"(?<![\w.>])([A-Za-z][A-Za-z0-9]*)\b", layer_functions(source)))
    return {word for word in found if MARK not in word and not re.search(r"(Net|Engine)$", word)}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    "force", ["", "direct", "fully_connected_fp16", "winograd-4x4", "winograd-2x4-fp16", "fourier-8"]
)
def test_no_local_can_meet_a_tensor(name: str, force: str) -> None:
    ours = words_of_steps(compiled(NETS[name], forced(force)))
    assert len(ours) > 10
    assert sorted(word for word in ours if names.local(word) == word) == []


@pytest.mark.parametrize("kernel", kernel_names())
def test_no_local_of_a_kernel_can_meet_a_tensor(kernel: str) -> None:
    """In some of the nets that are drawn for its edge classes."""
    chosen = kernel_named(kernel)
    nets = list(edge_nets(chosen))
    for net in nets[:: -(-len(nets) // 6)]:
        options = Options(without_passes=net.without, force=(("", kernel),), platform=chosen.platform)
        ours = words_of_steps(compiled(net.text, options))
        assert sorted(word for word in ours if names.local(word) == word) == [], net.text


def test_no_name_is_taken_from_users_without_need() -> None:
    ours: set[str] = set()
    for text, force in itertools.product(TEXTS.values(), ("", "pointwise", "winograd-4x4", "fourier-8")):
        ours |= words_of_steps(compiled(text, forced(force)))
    assert sorted(names.STEP_WORDS - ours) == []


def test_functions_that_a_prefix_and_a_tensor_could_spell() -> None:
    """Names of one underscore between words, as those of a net's own functions are."""
    found: set[str] = set()
    for text, force in (*((text, "") for text in TEXTS.values()), (TILED, "fourier-8")):
        source = compiled(text, forced(force))
        own = re.search(r"^#include \"(\w+)\.h", source, flags=re.MULTILINE)
        assert own is not None
        pattern = r"^(?:static [\w *]*?|#define )\*?\b([A-Za-z][A-Za-z0-9]*_[A-Za-z][A-Za-z0-9]*)\("
        found |= {name for name in re.findall(pattern, source, flags=re.MULTILINE) if not name.startswith(own[1] + "_")}
    assert sorted(found) == sorted(names.SHARED)
