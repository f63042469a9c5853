"""Lines of emitted C that no case executes are found, and told by what they have in common in all nets."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz.campaign.counted import CountingLines
from fuzz.campaign.state import State
from fuzz.campaign.tally import CaseSummary
from fuzz.campaign.worker import Settings
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.lines import Lines
from fuzz.judge.report import Report
from fuzz.run.checks import LIGHT, Checks
from nn512.errors import CannotRunError
from nn512.toolchain import CompilerKind, find_compiler

CASE = Case(
    """
Config Prefix=Net
Input ToTensor=x Channels=3 Height=2 Width=5
Activation FromTensor=x ToTensor=y Kind=HardSwish
Output FromTensor=y
""",
    {},
    data=(DataSeed("gaussian", 1),),
)

LARGE = """
Config Prefix=Net
Input ToTensor=x Channels=16 Height=20 Width=20
Conv FromTensor=x ToTensor=y ToChannels=32 FilterH=3 FilterW=3
Output FromTensor=y
"""
"""A net of which threads share the work."""


def has_gcov() -> bool:
    try:
        kind = find_compiler("gcc").kind
    except CannotRunError:
        return False
    return kind is CompilerKind.GCC and shutil.which("gcov") is not None


needs_gcov = pytest.mark.skipif(not has_gcov(), reason="lines are counted by gcc and its gcov")


def with_a_line_that_never_runs(case: Case) -> Report:
    report = check_case(case)
    assert report.sources is not None
    before, head, after = report.sources.source.partition("char *NetNetCreate(")
    assert after.count("{\n")
    after = after.replace("{\n", "{\nvolatile int never = 0;\nif (never) {\nnever = 3;\n}\n", 1)
    return replace(report, sources=replace(report.sources, source=before + head + after))


@needs_gcov
def test_a_line_that_never_runs_is_told() -> None:
    lines = CountingLines(with_a_line_that_never_runs, LIGHT)(CASE).c_lines
    assert lines is not None
    assert ("NetCreate", "never = #;") in lines.missed
    assert lines.executed["NetCreate", "volatile int never = #;"] == 1
    assert lines.executed["NetCreate", "if (never) {"] == 1


@needs_gcov
def test_the_whole_check_executes_layers_threads_and_refusals() -> None:
    report = CountingLines(check_case, Checks())(replace(CASE, graph=LARGE))
    lines = report.c_lines
    assert lines is not None
    # What packs weights also knows norms and fp16, of which this net has none.
    executed = {layer.kernel for layer in report.layers} | {"team_share", "team_work", "NetCreate", "EngineCreate"}
    assert executed <= {where for where, _ in lines.executed}
    assert executed.isdisjoint(where for where, _ in lines.missed)


@needs_gcov
def test_what_failed_is_not_counted() -> None:
    def failing(case: Case) -> Report:
        report = check_case(case)
        assert report.sources is not None
        return replace(report, sources=replace(report.sources, source="#error broken\n"), ran=None)

    assert CountingLines(failing, LIGHT)(CASE).c_lines is None


def test_a_line_is_missed_until_some_net_executes_it() -> None:
    tail, body = ("direct", "tail(#);"), ("direct", "body(#);")
    missing = Lines(Counter([tail, body]), Counter([body]), {tail: ""})
    total = Lines()
    total.update(missing.of_net("later"))
    total.update(missing.of_net("earlier"))
    assert list(total.told()) == ["direct: tail(#);   (2 nets, such as earlier)"]
    total.update(Lines(Counter([tail]), Counter([tail])))
    total.update(missing.of_net("earlier"))
    assert not list(total.told())
    assert total.emitted == Counter({tail: 4, body: 3})


def test_a_campaign_keeps_and_tells_lines(tmp_path: Path) -> None:
    report = check_case(CASE)
    lines = Lines(Counter({("store", "a = #;"): 1, ("store", "b = #;"): 1}), Counter({("store", "a = #;"): 1}))
    lines.missed["store", "b = #;"] = ""
    state = State.begin(Settings(tmp_path, coverage=True))
    state.tally.add(CaseSummary.of(replace(report, c_lines=lines, id="1.2-ab")))
    state.save()
    loaded = State.load(state.file)
    assert loaded.settings.coverage
    assert loaded.tally.c_lines == state.tally.c_lines
    text = "\n".join(loaded.tally.lines(1.0, "seed 0"))
    assert "lines of C    1 of 2 executed" in text
    assert "never executed: store: b = #;   (1.2-ab)" in text
    assert json.loads(state.file.read_text())["tally"]["lines"]["missed"] == {"store": {"b = #;": "1.2-ab"}}
