"""Step functions with equal bodies share one; a body that occurs once stands in its function, with the user's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from nn512.graph import example, example_names

CONV = "Conv FromTensor={x} ToTensor={y} ToChannels={k} FilterH={f} FilterW={f} PaddingH={p} PaddingW={p} {more}"
PLAIN: Mapping[str, object] = {"k": 32, "f": 3, "p": 1, "more": ""}
RELU = "Activation FromTensor={y} ToTensor={y}Relu Kind=ReLU"

# Batch norm and ReLU before 1x1 convolutions, of more and more channels; chains of steps for the direct kernel's tiles.
DENSE = """
Config Prefix=Grown
Input ToTensor=x Channels=32 Height=7 Width=7
BatchNorm FromTensor=x ToTensor=n1
Activation FromTensor=n1 ToTensor=r1 Kind=ReLU
Conv FromTensor=r1 ToTensor=c1 ToChannels=16 FilterH=1 FilterW=1
Concat FromTensor1=x FromTensor2=c1 ToTensor=x2
BatchNorm FromTensor=x2 ToTensor=n2
Activation FromTensor=n2 ToTensor=r2 Kind=ReLU
Conv FromTensor=r2 ToTensor=c2 ToChannels=16 FilterH=1 FilterW=1
Concat FromTensor1=x2 FromTensor2=c2 ToTensor=x3
BatchNorm FromTensor=x3 ToTensor=n3
Activation FromTensor=n3 ToTensor=r3 Kind=ReLU
Conv FromTensor=r3 ToTensor=c3 ToChannels=16 FilterH=1 FilterW=1
Output FromTensor=c3
"""

# Pairs of layers that share bodies, of every kind of convolution, and steps that read other tensors.
TWINS = """
Config Prefix=Twins
Input ToTensor=x Channels=48 Height=9 Width=11
Conv FromTensor=x ToTensor=a ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Add FromTensor1=a FromTensor2=x ToTensor=aSum
Activation FromTensor=aSum ToTensor=aRelu Kind=ReLU Param=0.1
Conv FromTensor=aRelu ToTensor=b ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Add FromTensor1=b FromTensor2=aRelu ToTensor=bSum
Activation FromTensor=bSum ToTensor=bRelu Kind=ReLU Param=0.1
Conv FromTensor=bRelu ToTensor=c ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=12
Conv FromTensor=c ToTensor=d ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=12
Conv FromTensor=d ToTensor=e ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=48
Conv FromTensor=e ToTensor=f ToChannels=48 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=48
Conv FromTensor=f ToTensor=g ToChannels=48 FilterH=1 FilterW=1
Conv FromTensor=g ToTensor=h ToChannels=48 FilterH=1 FilterW=1
Output FromTensor=h
"""


# Layers that grow from block to block as in DENSE, but whose channels fill no block: 20 + 20 are in four blocks, not in
# three. The first 1x1 convolution after a norm has a body of its own, two others share one.
PARTIAL = """
Config Prefix=Partial
Input ToTensor=x Channels=20 Height=9 Width=9
Conv FromTensor=x ToTensor=a ToChannels=20 FilterH=1 FilterW=1
Concat FromTensor1=x FromTensor2=a ToTensor=c
BatchNorm FromTensor=c ToTensor=n
Activation FromTensor=n ToTensor=r Kind=ReLU
Conv FromTensor=r ToTensor=y ToChannels=20 FilterH=1 FilterW=1
Concat FromTensor1=y FromTensor2=a ToTensor=d
BatchNorm FromTensor=d ToTensor=m
Activation FromTensor=m ToTensor=q Kind=ReLU
Conv FromTensor=q ToTensor=z ToChannels={last} FilterH=1 FilterW=1
Output FromTensor=z
"""

# The same for pictures of one row, where pixels and columns are the same.
ROW = """
Config Prefix=Row
Input ToTensor=x Channels=20 Height=1 Width=5
Conv FromTensor=x ToTensor=a ToChannels=20 FilterH=1 FilterW=1
Conv FromTensor=a ToTensor=b ToChannels=20 FilterH=1 FilterW=1
Conv FromTensor=b ToTensor=c ToChannels=7 FilterH=1 FilterW=1
Output FromTensor=c
"""

DIRECT = nn512.Options(force=(("", "direct"),))


def chain(second: Mapping[str, object], steps: tuple[str, ...] = ("", "")) -> str:
    """A net of two convolutions, the second of which differs from the first as `second` says."""
    lines = ["Config Prefix=Pair", "Input ToTensor=x Channels=32 Height=12 Width=12"]
    source = "x"
    for name, fields, after in zip("ab", ({}, second), steps, strict=True):
        lines.append(CONV.format(x=source, y=name, **{**PLAIN, **fields}))
        lines.append(after.format(y=name))
        source = f"{name}Relu" if after else name
    return "\n".join((*lines, f"Output FromTensor={source}"))


def functions(source: str, kind: str) -> dict[str, str]:
    """Texts of the file's functions, by name, on one line each: `INLINE` or `NOINLINE` ones."""
    found = re.findall(rf"^static {kind} \w+ (\w+)\((.*?^\}})", source, flags=re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def bodies(source: str) -> dict[str, str]:
    """The shared bodies: routines that are given items."""
    return {name: text for name, text in functions(source, "INLINE").items() if "Share share) {" in text}


def without_names(function: str) -> str:
    """The text of a layer's function, with numbers for the tensors that it points to."""
    for number, name in enumerate(re.findall(r"restrict (\w+)\)", function)):
        function = re.sub(rf"\b{name}\b", f"tensor{number}", function)
    return re.sub(r"(?<=\W)\w*?(Weights|Biases)|\w+_at", r"\1", function)


def users(source: str, body: str) -> list[str]:
    """The layer functions that call a shared body."""
    return [name for name, text in functions(source, "NOINLINE").items() if re.search(rf"\b{body}\(", text)]


def test_equal_layers_share_a_body() -> None:
    source = nn512.compile(chain({}), DIRECT).source
    ((name, text),) = bodies(source).items()
    assert name == "conv3x3_32x12x12_to_32"
    assert users(source, name) == ["Pair_a", "Pair_b"]
    assert "/* 3x3 convolution, 32x12x12 -> 32x12x12: a share of the rows. Direct," in source
    assert "aWeights" not in text
    layers = functions(source, "NOINLINE")
    assert "for (" not in layers["Pair_a"] + layers["Pair_b"]
    assert "engine->net->bWeights, engine->net->bBiases, share);" in layers["Pair_b"]


@pytest.mark.parametrize(
    ("second", "steps"),
    [
        ({"more": "StrideH=2"}, ("", "")),
        ({"more": "StrideW=2"}, ("", "")),
        ({"k": 48}, ("", "")),
        ({"f": 1, "p": 0}, ("", "")),
        ({"p": 2}, ("", "")),
        ({"more": "Groups=2"}, ("", "")),
        ({"p": 2, "more": "DilationH=2 DilationW=2"}, ("", "")),
        ({}, ("", RELU)),
        ({}, (f"{RELU} Param=0.25", RELU)),
    ],
    ids=["rows", "columns", "outputs", "filter", "padding", "groups", "dilation", "epilogue", "slope"],
)
def test_layers_that_differ_keep_their_bodies(second: Mapping[str, object], steps: tuple[str, ...]) -> None:
    source = nn512.compile(chain(second, steps), DIRECT).source
    assert bodies(source) == {}
    layers = functions(source, "NOINLINE")
    convolutions = [name for name in layers if re.fullmatch("Pair_[ab](Relu)?", name)]
    for name, weights in zip(convolutions, "ab", strict=True):
        assert "for (" in layers[name]
        assert f"engine->net->{weights}Weights" in layers[name]


def test_shapes_that_differ_keep_their_bodies() -> None:
    """The second picture is smaller, as the first convolution has no padding."""
    source = nn512.compile(chain({}).replace("PaddingH=1 PaddingW=1", "PaddingH=0 PaddingW=0", 2), DIRECT).source
    assert bodies(source) == {}


def test_what_is_shared_is_seen_from_the_text() -> None:
    """A stride from the only row to the next changes nothing, so both layers have the same text."""
    text = ROW.replace("ToTensor=b ToChannels=20", "ToTensor=b ToChannels=20 StrideH=2")
    source = nn512.compile(text, DIRECT).source
    ((name, _),) = bodies(source).items()
    assert users(source, name) == ["Row_a", "Row_b"]


@pytest.mark.parametrize("kernel", ["pointwise", "direct"])
def test_channels_are_a_parameter_after_other_steps(kernel: str) -> None:
    """What the layers differ in is handed over; working memory is enough for the layer of most channels."""
    source = nn512.compile(DENSE, nn512.Options(force=(("", kernel),))).source
    convolutions = {name: text for name, text in bodies(source).items() if "conv1x1" in name}
    ((name, text),) = convolutions.items()
    assert users(source, name) == ["Grown_c1", "Grown_c2", "Grown_c3"]
    assert "ptrdiff_t channels" in text
    layers = functions(source, "NOINLINE")
    calls = " ".join(layers[user] for user in users(source, name))
    assert re.findall(r", (\d+), share\);", calls) == ["32", "48", "64"]
    assert ("(*restrict input)[13][16]" in text) == ("ThreadFloats = 896" in source) == (kernel == "pointwise")
    if kernel == "direct":
        assert users(source, "norm_relu_7x7") == ["Grown_c1_input", "Grown_c2_input", "Grown_c3_input"]


@pytest.mark.parametrize(("last", "alike"), [(16, False), (20, True)])
def test_working_memory_is_for_blocks_and_not_for_channels(last: int, *, alike: bool) -> None:
    source = nn512.compile(PARTIAL.format(last=last), nn512.Options(force=(("", "pointwise"),))).source
    assert any("norm_relu_conv1x1" in name for name in bodies(source)) == alike
    assert f"ThreadFloats = {4 * 14 * 16} " in source


@pytest.mark.parametrize("name", example_names())
def test_shared_bodies_of_examples_have_several_users(name: str) -> None:
    """And where blocks of a net are equal, no loops stand twice."""
    source = nn512.compile(example(name)).source
    found = bodies(source)
    assert found
    layers = functions(source, "NOINLINE")
    assert [body for body in found if sum(bool(re.search(rf"\b{body}\(", text)) for text in layers.values()) < 2] == []
    if not name.startswith(("Res", "Dense")):
        return
    assert len(found) > 5
    neutral = [without_names(layer) for layer in layers.values()]
    loops = [text for text in neutral if re.search(r"\bconv\dx\d\w*\(|\bgrouped\dx\d\w*\(", text) and "for (" in text]
    assert len(loops) == len(set(loops))


@pytest.mark.parametrize("kernel", ["", "direct", "pointwise"])
@pytest.mark.parametrize(
    "text",
    [DENSE, TWINS, ROW, PARTIAL.format(last=16), PARTIAL.format(last=20)],
    ids=["channels", "twins", "row", "partial", "partial twins"],
)
def test_shared_bodies_compute_the_same(text: str, kernel: str, runs_here: str) -> None:
    assert runs_here
    options = {"force": [("", kernel)]} if kernel else {}
    report = check_case(Case(text, options, "-Og", (DataSeed("exact", 1), DataSeed("gaussian", 1))))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
