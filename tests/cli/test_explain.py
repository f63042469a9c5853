"""`nn512 explain`, and `--no-pass` of it and of `nn512 compile`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from nn512.cli import main
from nn512.graph import example, parse
from nn512.passes.pipeline import PASSES

NET = """\
Config Prefix=Net
Input ToTensor=image Channels=3 Height=32 Width=32
Conv FromTensor=image ToTensor=conv ToChannels=16 FilterH=2 FilterW=2 DilationH=2 DilationW=2
BatchNorm FromTensor=conv ToTensor=norm
Activation FromTensor=norm ToTensor=relu Kind=ReLU
Activation FromTensor=norm ToTensor=same Kind=ReLU
Conv FromTensor=image ToTensor=other ToChannels=16 FilterH=2 FilterW=2 DilationH=2 DilationW=2
Add FromTensor1=relu FromTensor2=other ToTensor=sum
Concat FromTensor1=sum FromTensor2=same ToTensor=joined
Concat FromTensor1=same FromTensor2=joined ToTensor=whole
Activation FromTensor=whole ToTensor=leaky Kind=ReLU Param=0.5
Activation FromTensor=leaky ToTensor=slow Kind=ReLU Param=0.5
Output FromTensor=slow
"""

PROGRAMS = {
    "lower": """\
image 3x32x32   = the caller's
conv 16x30x30   = image -> Conv conv (2x2, dilation 2)
norm 16x30x30   = conv -> BatchNorm norm
relu 16x30x30   = norm -> ReLU relu
same 16x30x30   = norm -> ReLU same
other 16x30x30  = image -> Conv other (2x2, dilation 2)
sum 16x30x30    = relu -> Add sum (+ other)
joined 32x30x30 = sum, same -> Concat joined
whole 48x30x30  = same, joined -> Concat whole
leaky 48x30x30  = whole -> ReLU leaky (slope 0.5)
slow 48x30x30   = leaky -> ReLU slow (slope 0.5)
the caller's    = slow
""",
    "merge_convs": """\
image 3x32x32   = the caller's
norm 16x30x30   = image -> Conv conv (2x2, dilation 2) {BatchNorm norm}
other 16x30x30  = image -> Conv other (2x2, dilation 2)   (together with the one above)
relu 16x30x30   = norm -> ReLU relu
sum 16x30x30    = relu -> Add sum (+ other)
joined 32x30x30 = sum, relu -> Concat joined
whole 48x30x30  = relu, joined -> Concat whole
leaky 48x30x30  = whole -> ReLU leaky (slope 0.5)
slow 48x30x30   = leaky -> ReLU slow (slope 0.5)
the caller's    = slow
""",
    "schedule": """\
image 3x32x32      = the caller's
relu 16x30x30      = image -> Conv conv (2x2, dilation 2) {BatchNorm norm} -> ReLU relu
other 16x30x30     = image -> Conv other (2x2, dilation 2)   (together with the one above)
sum 16x30x30       = relu -> Add sum (+ other)
whole_part1 16x30x30 = relu -> copy
slow 48x30x30      = whole -> ReLU slow (slope 0.25)
the caller's       = slow
joined 32x30x30    = sum, relu in place
whole 48x30x30     = whole_part1, joined in place
""",
}


@pytest.fixture
def net(tmp_path: Path) -> str:
    path = tmp_path / "net.graph"
    path.write_text(NET)
    return str(path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_after_a_pass(name: str, net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", net, "--after", name]) == 0
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines()] == [line.split() for line in PROGRAMS[name].splitlines()]
    assert len({line.index(" = ") for line in printed.splitlines()}) == 1, "aligned"


def test_every_layer_and_every_node(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", net]) == 0
    printed = capsys.readouterr().out
    words = " ".join(printed.split())
    for text in (
        "merge_convs 10 -> 9 operations; 1 convolution merged with another",
        "2 concatenations written in place; 1 copy that cannot be avoided",
        "line 6 ReLU same: the same as relu",
        "line 11 ReLU leaky (slope 0.5): one ReLU together with its neighbour",
        "line 9 Concat joined (sum, same): no operation: its parts are written into their places",
        "line 4 BatchNorm norm: folded into the weights before it: no other node reads what it reads",
        "line 5 ReLU relu: done in registers",
        "line 7 Conv other (2x2, dilation 2): merged: same input, filter, stride, padding and dilation",
        "because relu stands in another concatenation, or twice in this one",
        "reads whole 48x30x30, channels 16 + 16 + 16 in blocks of 16",
        "0.35 MMAC",
        "done by the caller",
    ):
        assert text in words, text
    for number in range(2, 13):  # every node of the graph is spoken of once
        assert words.count(f" line {number} ") == 1, number


def test_json_is_the_plan(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", net, "--json", "--no-pass", "dedup"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [done["name"] for done in plan["passes"]] == [name for name in PASSES if name != "dedup"]
    assert main(["compile", net, str(tmp_path), "--no-pass", "dedup"]) == 0
    assert json.loads((tmp_path / "Net.plan.json").read_text()) == plan


def test_no_passes_at_all(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", net, *(word for name in PASSES for word in ("--no-pass", name))]) == 0
    printed = capsys.readouterr().out
    assert "\nPasses\n  none\n" in printed
    assert "Nodes without a layer" not in printed
    assert "Layer 11: slow_store" in printed  # the first two convolutions read the planes of the input


def test_examples_are_explained_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = example("DenseNet121")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["explain", "--json", "-"]) == 0
    plan = json.loads(capsys.readouterr().out)
    graph = parse(text)
    lines = sorted(node["line"] for layer in plan["layers"] for node in layer["nodes"])
    lines += [node["line"] for node in plan["dropped_nodes"]]
    assert sorted(lines) == [graph.line_of(n) for n in (*graph.inputs, *graph.layers, *graph.outputs)]
    assert {node["why"] for node in plan["dropped_nodes"]} == {"no operation: its parts are written into their places"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--after", "fold"], "there is no pass 'fold'; there are lower, dedup"),
        (["--no-pass", "fold"], "there is no pass 'fold'; there are dedup"),
        (["--after", "dedup", "--no-pass", "dedup"], "--after dedup and --no-pass dedup contradict each other"),
    ],
)
def test_mistakes(arguments: list[str], message: str, net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", net, *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"nn512: {message}")


TILED = """\
Config Prefix=Net
Input ToTensor=x Channels=64 Height=30 Width=30
Conv FromTensor=x ToTensor=y ToChannels=64 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=y
"""


@pytest.fixture
def tiled(tmp_path: Path) -> str:
    path = tmp_path / "tiled.graph"
    path.write_text(TILED)
    return str(path)


def test_tiles_and_what_the_others_would_have_cost(tiled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", tiled, "--force", "winograd-4x4-fp16"]) == 0
    printed = capsys.readouterr().out
    words = " ".join(printed.split())
    said = "Winograd F(4x4, 3x3), 4 times fewer multiplications, 64 tiles, 15 of them overhang by 2 rows or columns"
    assert f"algorithm {said}, weights in fp16 (kernel winograd-4x4-fp16)" in words
    assert " bytes of transformed weights (fp16), " in words
    prices = words.split("prices ")[1].split(" (forced)")[0].split(", ")
    assert [name for name, *_ in map(str.split, prices)][-1] == "direct"
    costs = [float(price.split()[1].replace(",", "")) for price in prices]
    assert costs == sorted(costs)
    assert len(costs) > 8
    assert "\N{NO-BREAK SPACE}" not in printed
    for line in printed.splitlines():
        assert len(line) <= 110
        assert not line.lstrip().startswith("us"), "a price and its unit stand on one line"


def test_why(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", net]) == 0
    short = capsys.readouterr().out
    assert main(["explain", net, "--why"]) == 0
    text = capsys.readouterr().out
    added = [line for line in text.splitlines() if line not in short.splitlines()]
    assert any(line.startswith("  refused   ") and "winograd-3x3" in line for line in added)
    assert any(line.startswith("  code      ") for line in added)
    assert [line for line in text.splitlines() if line in short.splitlines()] == short.splitlines()


@pytest.mark.parametrize("other", [["--json"], ["--after", "lower"]])
def test_why_is_for_people(other: list[str], net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", net, "--why", *other]) == 2
    assert "--why" in capsys.readouterr().err
