"""`nn512 verify --edges`: layers one by one, the fault of one of them, and what was verified how."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import pytest

from fuzz.campaign.layerwise import Checked, Layerwise, check_layers
from fuzz.case import Case
from fuzz.draw.aimed import EDGES, aimed_seed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.targets import Sources
from fuzz.targets.ours import Ours
from nn512.cli import main
from nn512.compiler import compile as compile_graph
from nn512.graph import Graph, parse
from nn512.options import Options
from nn512.plan.explain import explain

CROPPED = """
Config
Input ToTensor=x Channels=18 Height=3 Width=7
Slice FromTensor=x ToTensor=y From=1 Count=3 Step=2 Axis=Width
Softmax FromTensor=y ToTensor=z
Output FromTensor=z
"""

TWICE = """
Config
Input ToTensor=x Channels=16 Height=9 Width=20
Conv FromTensor=x ToTensor=a ToChannels=16 FilterH=3 FilterW=3 StrideW=2 PaddingH=1 PaddingW=1
Conv FromTensor=x ToTensor=b ToChannels=16 FilterH=3 FilterW=3 StrideW=2 PaddingH=1 PaddingW=1
LRN FromTensor=b ToTensor=c Size=3 Alpha=1
Output FromTensor=a
Output FromTensor=c
"""


@dataclass(frozen=True, slots=True)
class Planted(Ours):
    """Our compiler with a fault: of some columns, every few, those are taken that stand one before."""

    def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
        made = Ours.prepare(self, graph, options)
        assert isinstance(made, Sources)
        return replace(made, source=made.source.replace("[x * 2 + 1]", "[x * 2]"))


def checked(text: str, target: Ours) -> Layerwise:
    graph = parse(text)
    found = Layerwise(compile_graph(graph).plan.layers)
    for one in check_layers(graph, Options(), found.layers, functools.partial(check_case, target=target)):
        found.add(one)
    return found


def test_the_layer_at_fault_is_found_and_the_others_are_verified(runs_here: str) -> None:
    assert runs_here
    found = checked(CROPPED, Planted())
    assert [one.layer for one in found.failed] == ["", "y"]
    assert [layer.kernel for layer in found.layers] == ["load", "crop", "softmax", "store"]
    assert found.missing == [(1, "pixel tail 5"), (2, "some every few columns")], "a load is verified by its readers"
    assert found.mark(3, "channel tail 2") == "+"
    assert found.mark(4, "channel tail 2") == "o"
    lines = [line.split() for line in found.matrix()]
    assert lines[lines.index(["crop", "2"]) + 1] == [*"some every few columns".split(), "-"]
    assert lines[lines.index(["softmax", "3"]) + 1] == [*"channel tail 2".split(), "+"]


def test_layers_that_are_alike_are_checked_once_on_data_for_their_tiles() -> None:
    graph, cases = parse(TWICE), list[Case]()

    def look(case: Case) -> Report:
        cases.append(case)
        return Report(case, parse(case.graph), "nobody")

    options = Options(without_passes=("dedup", "merge_convs"), force=(("", "direct"),))
    layers = compile_graph(graph, options).plan.layers
    done = list(check_layers(graph, options, layers, look))
    convs = tuple(number for number, layer in enumerate(layers, 1) if layer.kernel == "direct")
    assert len(convs) == 2
    assert [one.numbers for one in done if one.layer in {"a", "b"}] == [convs]
    assert done[0].layer == ""
    assert [one.layer for one in done].count("c") == 1
    (alone,) = (case for case, one in zip(cases, done, strict=True) if one.layer in {"a", "b"})
    assert alone.options["force"] == (("", "direct"),)
    seeds = [data.seed for data in alone.data if data.regime == EDGES]
    assert seeds == [aimed_seed(number, 1, 20) for number in range(2)], "a tile has ten results, at stride 2"
    found = Layerwise(layers)
    found.add(Checked("a", convs, Report(alone, graph, "nobody")))
    assert {edge for number, edge in found.missing if number == convs[1]} == set(layers[convs[1] - 1].edge_classes)


@pytest.mark.parametrize("words", [["--data", "exact"], ["--target", "nn512"], ["--params", "p.npz"]])
def test_what_says_something_else_is_refused(
    words: list[str], tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path_factory.mktemp("graph") / "net.graph"
    file.write_text(CROPPED)
    assert main(["verify", str(file), "--edges", *words]) == 2
    assert f"{words[0]} does not go with --edges" in capsys.readouterr().err


def test_explain_marks_layers_of_many_classes() -> None:
    """Padding makes tiles at both edges; without it, and with whole blocks, there are few."""

    def told(width: int, padding: str) -> list[str]:
        conv = f"Conv FromTensor=x ToTensor=y ToChannels=40 FilterH=3 FilterW=3 {padding}"
        text = f"Config\nInput ToTensor=x Channels=18 Height=9 Width={width}\n{conv}\nOutput FromTensor=y\n"
        plan = compile_graph(text, Options(force=(("y", "direct"),))).plan
        return [line for line in explain(plan).splitlines() if "cases, which is many" in line]

    assert len(told(45, "PaddingH=1 PaddingW=1")) == 1
    assert told(16, "") == []
