"""Planted bugs end as nets of one layer with the smallest sizes that show them, and have the same name every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import nn512
from fuzz.campaign.effort import MOST, Effort
from fuzz.campaign.explore import Explorer, regenerate
from fuzz.campaign.findings import UNFINISHED
from fuzz.campaign.origin import Origin, parse_origin
from fuzz.campaign.probes import probes, without_numbers
from fuzz.campaign.reduce import cut_out, unpadded
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import REGIMES
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from fuzz.problem import FAILED, Problem
from fuzz.run.checks import LIGHT
from fuzz.targets import OURS, Sources
from nn512.cli import main
from nn512.errors import UsageError
from nn512.graph import LRN, Graph, parse
from nn512.options import Options

Check = Callable[[Case], Report]

LARGE = """\
Config
Input ToTensor=image Channels=19 Height=10 Width=9
Conv FromTensor=image ToTensor=c1 ToChannels=21 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=c1 ToTensor=r1 Kind=ReLU
Pooling FromTensor=r1 ToTensor=p1 Kind=Max2x2Stride2
Conv FromTensor=p1 ToTensor=c2 ToChannels=33 FilterH=1 FilterW=1
Softmax FromTensor=c2 ToTensor=s
Output FromTensor=s
Output FromTensor=r1
"""

OTHER = """\
Config
Input ToTensor=x Channels=35 Height=9 Width=8
Pooling FromTensor=x ToTensor=m Kind=Max2x2Stride2
BatchNorm FromTensor=m ToTensor=n
Conv FromTensor=n ToTensor=c ToChannels=20 FilterH=3 FilterW=3
Output FromTensor=c
"""

POOLING = ("UNROLL for (int j = 0; j < 2; j++) v = maximum", "UNROLL for (int j = 0; j < 1; j++) v = maximum")
LANES = ("? sizes->channels - c : 16;", "? sizes->channels - c - 1 : 16;")


class _Broken:
    """Our compiler with a bug that changes emitted text."""

    name = "broken"
    strict = False
    skips: frozenset[str] = frozenset()

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new

    def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
        made = OURS.prepare(graph, options)
        return made if isinstance(made, Problem) else replace(made, source=made.source.replace(self._old, self._new))


def broken(fault: tuple[str, str]) -> Check:
    return lambda case: check_case(case, checks=LIGHT, target=_Broken(*fault))


def case_of(text: str) -> Case:
    return Case(text, optimisation="-O2", data=(DataSeed("exact", 5), DataSeed("gaussian", 5)))


def test_what_a_system_does_not_take_is_small_after_few_checks(tmp_path: Path) -> None:
    """Each may take it seconds, for every data set."""
    later: list[int] = []

    def check(case: Case) -> Report:
        graph = parse(case.graph)
        failed = any(isinstance(layer, LRN) for layer in graph.layers)
        if failed or later:
            later.append(len(case.data))
        problem = Problem(FAILED, "RuntimeError: LRN", case.data[-1])
        return Report(case, graph, "system", declared="direct", problems=(problem,) if failed else ())

    found = Explorer(tmp_path, lambda _: None, stop=lambda: bool(later), check=check).chunk(5, 200)
    assert [len(finding.case.data) for finding in found] == [1]
    assert len(parse(found[0].case.graph).layers) == 1
    assert max(later[1:]) == 1
    assert len(later) <= 20


def test_of_options_those_remain_that_the_fault_needs(tmp_path: Path) -> None:
    def check(case: Case) -> Report:
        failed = case.options.get("weights") == "fp32" and case.compiler == "gcc"
        problem = Problem("values", "wrong", case.data[-1])
        return Report(case, parse(case.graph), "none", problems=(problem,) if failed else ())

    options = Options(without_passes=("merge_convs",), weights="fp32", threads=3).to_dict()
    (finding,) = Explorer(tmp_path, lambda _: None, check=check).replay(
        replace(case_of(LARGE), options=options, compiler="gcc")
    )
    # What is as everybody has it is no reason, and may stay.
    assert Options.from_dict(dict(finding.case.options)) == Options(weights="fp32")
    assert finding.case.compiler == "gcc"


@pytest.mark.parametrize(
    ("fault", "kind", "most"),
    [(POOLING, "Pooling", 2), (LANES, "Conv", 34)],
    ids=["pooling", "lanes"],
)
def test_planted_bugs_end_small(fault: tuple[str, str], kind: str, most: int, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    explorer = Explorer(
        tmp_path, lambda _: None, check=broken(fault), tell=lambda *step: seen.append(step), shrink_seconds=1e6
    )
    (finding,) = explorer.replay(case_of(LARGE))
    graph = parse(finding.case.graph)
    assert [type(layer).__name__ for layer in graph.layers] == [kind]
    assert len(graph.inputs) == len(graph.outputs) == 1
    assert graph.shapes[graph.inputs[0].to_tensor].elements <= most
    assert len(finding.case.data) == 1
    assert finding.case.optimisation == Case("").optimisation
    assert finding.how == f"shrunk with {len(seen)} cases"
    assert seen == [(number, MOST) for number in range(1, len(seen) + 1)]
    assert [path.name for path in tmp_path.iterdir()] == [finding.identity.name]


def test_the_same_fault_has_the_same_name_wherever_it_was_found(tmp_path: Path) -> None:
    explorer = Explorer(tmp_path, lambda _: None, check=broken(POOLING), shrink_seconds=1e6)
    found = [finding for text in (LARGE, OTHER) for finding in explorer.replay(case_of(text))]
    assert [finding.seen for finding in found] == [1, 2]
    assert found[0].identity == found[1].identity
    assert found[0].identity.kernel == "pooling"
    assert found[0].path.name.startswith("pooling-values-")


def test_shrinking_that_is_cut_says_so(tmp_path: Path) -> None:
    """By a clock of its own, and when somebody stops it; what there is until then is kept."""
    now = 0.0

    def check(case: Case) -> Report:
        nonlocal now
        now += 10
        return replace(Report(case, parse(case.graph), "none"), problems=(Problem("values", "wrong", case.data[0]),))

    effort = Effort(seconds=35, clock=lambda: now)
    explorer = Explorer(tmp_path, lambda _: None, check=check)
    finding = explorer.settle(check(case_of(LARGE)), effort, tmp_path / f"{UNFINISHED}x")
    assert effort.done == 3
    assert finding.how == "shrinking was cut after 3 cases: its 35 s were over (--shrink-time)"
    assert "its 35 s were over" in (finding.path / "case.json").read_text()
    stopped = Effort(stopped=lambda: True)
    assert not stopped.spend()
    assert stopped.told == "shrinking was cut after 0 cases: it was interrupted"
    few = Effort(most=1)
    assert (few.spend(), few.spend()) == (True, False)


def test_shrinking_goes_on_when_the_time_of_drawing_is_over(tmp_path: Path) -> None:
    over = False

    def check(case: Case) -> Report:
        nonlocal over
        report = Report(case, parse(case.graph), "none")
        if not report.graph.layers:
            return report
        over = True
        return replace(report, problems=(Problem("values", "wrong", DataSeed("exact", 0)),))

    (finding,) = Explorer(tmp_path, lambda _: None, check=check, stop=lambda: over).chunk(0, 50)
    assert len(parse(finding.case.graph).layers) == 1
    assert "cut" not in finding.how


def test_a_layer_is_cut_out() -> None:
    graph = parse(LARGE)
    alone, near = cut_out(graph, ("c2",))
    assert [layer.to_tensor for layer in alone.layers] == ["c2"]
    assert alone.input_shapes == {"p1": (21, 5, 4)}
    assert [layer.to_tensor for layer in near.layers] == ["p1", "c2"]
    assert list(cut_out(graph, ())) == []


def test_windows_at_inputs_lose_their_padding() -> None:
    (plain,) = unpadded(parse(LARGE))
    assert plain.input_shapes == {"image": (19, 12, 11)}
    assert plain.shapes["c1"] == parse(LARGE).shapes["c1"]
    assert list(unpadded(plain)) == []


def test_relatives_are_larger_and_plainer() -> None:
    small = parse("""
        Config
        Input ToTensor=x Channels=1 Height=1 Width=2
        Pooling FromTensor=x ToTensor=y Kind=Max WindowH=2 WindowW=2 PaddingBottom=1
        Output FromTensor=y
    """)
    found = list(probes(small))
    assert (35, 12, 15) in {graph.shapes["x"] for graph in found}
    assert any(graph.shapes["x"] == (1, 2, 2) for graph in found)
    assert any(graph.layers[0].stride_h == 2 for graph in found)  # type: ignore[union-attr]
    assert len({graph.source.text for graph in found}) == len(found)


def test_numbers_do_not_count() -> None:
    assert without_numbers("direct tile 2x13") == without_numbers("direct tile 1x5")
    assert without_numbers("store channel tail 0") != without_numbers("store channel tail 3")
    assert without_numbers("maximum of t0 and t1 at 0x7f00: 0.5") == "maximum of t# and t# at #: #"


def test_the_name_of_a_drawn_case_is_enough_to_check_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, Case]] = []

    def check(case: Case) -> Report:
        return Report(case, parse(case.graph), "none")

    Explorer(tmp_path, lambda report: seen.append((report.id, report.case)), check=check).chunk(11, 12)
    assert len({name for name, _ in seen}) == 12
    for name, case in (seen[0], seen[5], seen[-1]):
        assert regenerate(name) == case
    assert regenerate("x_plus_x") is None
    with pytest.raises(UsageError, match="is not drawn here"):
        regenerate(seen[0][0][:-12] + "0" * 12)
    assert main(["repro", "no_such_case"]) == 2
    assert "no_such_case" in capsys.readouterr().err


@pytest.mark.usefixtures("runs_here")
def test_cases_of_the_corpus_have_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repro", "x_plus_x"]) == 0
    assert "verified" in capsys.readouterr().out


@pytest.mark.parametrize("kernels", [(), ("winograd-4x4-fp16",)])
@pytest.mark.parametrize("regimes", [tuple(REGIMES), ("exact", "gaussian")])
@pytest.mark.parametrize("layers", [None, 2, 123456789])
def test_names_of_cases_say_what_they_are_drawn_from(
    kernels: tuple[str, ...], regimes: tuple[str, ...], layers: int | None
) -> None:
    origin = Origin(1000, 50, regimes, kernels, layers, "a237c31b0ae8")
    assert parse_origin(str(origin)) == origin
    assert parse_origin(f"{origin}0") is None


@pytest.mark.usefixtures("runs_here")
def test_verify_shrinks(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = nn512.compile

    def compile_badly(graph: Graph, options: Options | None = None) -> object:
        made = real(graph, options)
        return replace(made, source=made.source.replace(*POOLING))

    monkeypatch.setattr("fuzz.targets.ours.compile_graph", compile_badly)
    (tmp_path / "net.graph").write_text(OTHER)
    words = ["verify", str(tmp_path / "net.graph"), "--data", "gaussian", "--threads", "1", "--shrink-time", "1e6"]
    assert main([*words, "--out", str(tmp_path / "small")]) == 1
    told = capsys.readouterr().out  # what is shown meanwhile depends on the clock
    assert "shrunk with " in told
    assert ", to 1 of 3 layers:" in told
    (small,) = (tmp_path / "small").iterdir()
    assert len(parse((small / "net.graph").read_text()).layers) == 1
    assert main([*words, "--no-shrink", "--out", str(tmp_path / "whole")]) == 1
    assert "shrinking" not in capsys.readouterr().err
    (whole,) = (tmp_path / "whole").iterdir()
    assert (whole / "net.graph").read_text() == OTHER
