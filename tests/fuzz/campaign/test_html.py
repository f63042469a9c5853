"""The page of a campaign: its facts, read again from the HTML, and what a browser makes of it."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fuzz.campaign import html
from fuzz.campaign.account import Account
from fuzz.campaign.findings import save
from fuzz.campaign.html.drawing import MOST_NODES, drawing_of
from fuzz.campaign.html.facts import findings_of, kernels_of, wrong_elements
from fuzz.campaign.tally import CaseSummary, FindingNote, Tally
from fuzz.campaign.times import Build, Times
from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.judge.compare import Outcome, Verdict
from fuzz.judge.coverage import Coverage, declared_decisions
from fuzz.judge.place import Place
from fuzz.judge.report import Culprit, Report
from fuzz.problem import Problem
from fuzz.targets import Sources
from nn512.cli import main
from nn512.compiler import compile as compile_graph
from nn512.errors import CannotRunError
from nn512.graph import parse
from nn512.passes.dedup import Sharing
from reference import Result

NET = """\
Config
Input ToTensor=x Channels=20 Height=5 Width=7
Activation FromTensor=x ToTensor=left Kind=ReLU
Activation FromTensor=x ToTensor=right Kind=Tanh
Add FromTensor1=left FromTensor2=right ToTensor=y
Output FromTensor=y
"""


def finding(directory: Path) -> FindingNote:
    """A finding whose last column is wrong in channel 17, kept with all that a finding has."""
    graph = parse(NET)
    data, seed = regimes.draw(graph, "exact", 0), DataSeed("exact", 0)
    value = np.ones((20, 5, 7))
    got = value.astype(np.float32)
    got[17, :, 6] = 2
    wrong = got != value
    compiled = compile_graph(graph)
    sources = Sources(compiled.prefix, compiled.header, compiled.source, compiled.plan)
    verdict = Verdict("y", Outcome.WRONG, 700, 5, np.inf, np.inf, (17, 0, 6), "too large", elements=wrong)
    report = Report(
        Case(NET, data=(seed,)),
        graph,
        "none",
        sources,
        problems=(Problem("values", str(verdict), seed),),
        verdicts={seed: (verdict,)},
        culprit=Culprit(
            data,
            {"y": Result(value, np.zeros_like(value), np.zeros(value.shape, np.bool_))},
            {"y": np.zeros_like(value)},
            {"y": got},
        ),
    )
    layer = next(layer for layer in report.layers if "y" in layer.covers)
    place = Place(layer, 1, len(report.layers), "y is the first tensor to leave its band")
    return FindingNote.of(save(replace(report, place=place), directory, how="shrunk with 7 cases"))


def account(directory: Path) -> Account:
    """A campaign that has seen some of everything."""
    note = finding(directory)
    gone = FindingNote(directory / "<gone>", "<gone>", "emit in <gone>", "planted & lost")
    tally = Tally(
        cases=9,
        verified=7,
        failed=2,
        data_sets=30,
        worst=3.5,
        worst_where="1.50-abc, gaussian:1",
        outcomes=Counter({Outcome.EXACT: 20, Outcome.WRONG: 2}),
        runners=Counter({"native": 9}),
        kinds=Counter({"Conv": 5}),
        coverage=Coverage(
            Counter(
                {("direct", ""): 6, ("direct", "tail"): 4, ("direct", "top"): 2, ("softmax", ""): 1, ("direct", "z"): 1}
            ),
            Counter({("direct", ""): 6, ("direct", "tail"): 4, ("direct", "top"): 2, ("softmax", ""): 1}),
            Counter({("direct", ""): 5, ("direct", "tail"): 3, ("softmax", ""): 1}),
        ),
        decisions=Coverage(
            *(Counter({("dedup", ""): count, ("dedup", str(Sharing.SHARED)): count - 4}) for count in (9, 9, 7))
        ),
        errors=Counter({("direct", 0): 4, ("direct", 7): 1, ("softmax", 0): 1}),
        findings={note.fault: note, gone.fault: gone},
        repeats=Counter({note.fault: 3, gone.fault: 1}),
        baseline=frozenset({gone.fault}),
        lost=["a worker was killed\nThe case"],
    )
    times = Times(
        2, Counter({0: 4, 1: 5}), [Build(1.25, "1.50-abc", "3 layers, -O3, cc")], {"compile": 3.0, "run": 1.0}
    )
    return Account(tally, "seed 5, 1 job", 4.0, 1, command="nn512 fuzz --seed 5", times=times)


class Page(HTMLParser):
    """What a page has: text by the id of the element around it, classes of elements, what is fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {"": []}
        self.classes: Counter[str] = Counter()
        self.fetched: list[str] = []
        self.titles: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.classes.update(values.get("class", "").split())
        places = (values.get(name, "#") for name in ("src", "href", "xlink:href"))
        self.fetched += [place for place in places if not place.startswith(("#", "data:image/png;"))]
        if "title" in values:
            self.titles.append(values["title"])
        if tag not in {"meta", "br"}:
            self._open.append((tag, values.get("id", "")))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for name in {name for _, name in self._open} | {""}:
            self.texts.setdefault(name, []).append(data)

    def text(self, name: str = "") -> str:
        """All text within an element, its white space made one."""
        return " ".join(" ".join(self.texts[name]).split())


@pytest.fixture
def made(tmp_path: Path) -> tuple[Account, str]:
    """A campaign and its page."""
    for package in ("jinja2", "matplotlib"):
        pytest.importorskip(package, reason=f"{package} (extra `report`) is not installed: no page is made")
    from fuzz.campaign.html.page import as_html  # noqa: PLC0415 - needs the extra

    told = account(tmp_path)
    return told, as_html(told)


def test_the_facts_of_a_page(made: tuple[Account, str]) -> None:
    told, text = made
    page = Page(text)
    assert page.fetched == []
    assert "@import" not in text
    assert "url(http" not in text
    assert told.headline in page.text()
    assert "nn512 fuzz --seed 5" in page.text()
    summary = page.text("summary")
    assert "9 checked (0 from the corpus), 7 verified, 2 failed" in summary
    assert "at most 3.50 sigma (case 1.50-abc, gaussian:1)" in summary
    assert "NOT JUDGED a worker was killed The case" in summary
    assert "direct 6 6 5" in page.text("kernels")
    assert "tail 3 top 0 z 0" in page.text("kernels")
    assert "emitted 4, executed 4, verified 3" in page.titles
    assert f"dedup 9 9 7 {Sharing.SHARED} 3" in page.text("decisions")
    assert f"in 1 of {len(declared_decisions())} ways in graphs that were verified" in page.text()
    # One of each beside the three of the legend, and a decision.
    assert [page.classes[state] for state in ("verified", "executed", "emitted")] == [3, 2, 2]
    assert "3 edge classes were emitted, 1 of them verified" in page.text()
    assert page.text("builds") == "seconds case what 1.25 1.50-abc 3 layers, -O3, cc"
    assert page.text("spent").startswith("4 s of the processor: draw 0%, emit 0%, compile 75%, run 25%")
    assert page.classes["chart"] == 3  # histograms, throughput, a heat map
    (fault, _) = told.tally.findings
    found = page.text(fault)
    assert "seen 3 times; shrunk with 7 cases" in found
    assert "5 of 700 elements of y are wrong" in found
    assert "Activation FromTensor=x ToTensor=left Kind=ReLU" in found
    assert "y is the first tensor to leave its band" in found
    assert page.classes["net"] == 1
    assert "<gone> known" in page.text("<gone>")
    assert "<gone>/case.json: No such file or directory" in page.text("<gone>")


def test_the_same_campaign_gives_the_same_page(made: tuple[Account, str]) -> None:
    from fuzz.campaign.html.page import as_html  # noqa: PLC0415 - needs the extra

    told, text = made
    assert as_html(told) == text


def test_a_campaign_that_did_nothing_has_a_page(made: tuple[Account, str]) -> None:
    from fuzz.campaign.html.page import as_html  # noqa: PLC0415 - needs the extra

    text = as_html(replace(made[0], tally=Tally(), times=Times()))
    page = Page(text)
    assert page.classes["chart"] == 0
    assert "Nothing was run." in page.text()
    assert "None." in page.text()


@pytest.fixture
def chromium() -> str:
    """A browser without a window."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium: the page is not looked at")
    return program


def test_a_browser_shows_the_page(made: tuple[Account, str], chromium: str, tmp_path: Path) -> None:
    """It is as wide as the window, and has the colours of what is in it."""
    image = pytest.importorskip("PIL.Image")
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(made[1], encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'user'}",
    ]
    command = [chromium, *options, "--window-size=1200,2600", f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert picture.exists(), done.stderr
    with image.open(picture) as shown:
        assert shown.size == (1200, 2600)
        counts = {colour[:3]: count for count, colour in shown.convert("RGB").getcolors(1 << 24)}
    verified, executed, emitted, bars, frame = (
        (0xD7, 0xEA, 0xD2),
        (0xFD, 0xEE, 0xBB),
        (0xF6, 0xCF, 0xCB),
        (0x3B, 0x6E, 0xA5),
        (0xC0, 0x39, 0x2B),
    )
    for colour in (verified, executed, emitted, bars, frame):
        assert counts.get(colour, 0) > 100


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else name)
    with pytest.raises(CannotRunError, match="not installed: matplotlib; pip install"):
        html.check_extra()
    assert main(["fuzz", "--time", "1", "--html", "page.html"]) == 3
    assert "--html needs packages that are not installed: matplotlib" in capsys.readouterr().err


def test_a_cluster_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["fuzz", "--time", "1", "--scheduler", "tcp://host:1", "--out", str(tmp_path)]) == 3
    assert "--scheduler needs the package distributed; pip install '.[cluster]'" in capsys.readouterr().err


def test_kernels_and_their_classes(tmp_path: Path) -> None:
    direct, softmax = kernels_of(account(tmp_path).tally.coverage)
    assert [(edge.name, edge.state) for edge in direct.classes] == [
        ("tail", "verified"),
        ("top", "executed"),
        ("z", "emitted"),
    ]
    assert (softmax.name, softmax.classes) == ("softmax", ())


def test_findings_are_read_from_their_folders(tmp_path: Path) -> None:
    new, known = findings_of(account(tmp_path))
    assert (new.state, known.state) == ("new", "known")
    assert "y" in new.layer
    assert new.wrong is not None
    assert np.argwhere(new.wrong).tolist() == [[17, row, 6] for row in range(5)]
    assert known.missing
    shutil.rmtree(new.path)
    assert findings_of(account(tmp_path / "b"))[0].wrong is not None


def test_wrong_elements_are_those_of_the_reproducer() -> None:
    inf, nan = np.inf, np.nan
    got = np.array([1, 2, nan, nan, inf, -inf, inf, 1, 3], np.float32)
    expected = np.array([1, 1.5, 1, nan, inf, inf, 1, nan, 1])
    allowed = np.array([0, 1, 1, 1, 1, 1, 1, 1, nan])
    assert wrong_elements(got, expected, allowed).tolist() == [
        False,
        False,
        True,
        False,
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_drawn_net_has_every_node_and_edge() -> None:
    svg = drawing_of(parse(NET), ["right"])
    page = Page(svg)
    assert svg.count("<rect") == 5
    assert svg.count("<path") == 5
    assert page.classes["wrong"] == 1
    assert page.text() == "Input x 20x5x7 Activation left 20x5x7 Activation right 20x5x7 Add y 20x5x7 Output y"
    lines = [f"Activation FromTensor=t{n} ToTensor=t{n + 1} Kind=ReLU\n" for n in range(MOST_NODES)]
    long = (
        "Config\nInput ToTensor=t0 Channels=1 Height=1 Width=1\n"
        + "".join(lines)
        + f"Output FromTensor=t{MOST_NODES}\n"
    )
    assert drawing_of(parse(long)) == ""


def case(seconds: float = 0.0, name: str = "a") -> CaseSummary:
    report = Report(Case(NET), parse(NET), "none", id=name, seconds={"compile": seconds, "run": 0.25})
    return CaseSummary.of(report)


def test_time_is_kept_in_ever_longer_intervals() -> None:
    times = Times()
    for second in (0.5, 1.5, 119.5):
        times.add(case(), second)
    assert (times.width, times.cases) == (1, Counter({0: 1, 1: 1, 119: 1}))
    times.add(case(), 500.0)
    assert (times.width, times.cases) == (8, Counter({0: 2, 14: 1, 62: 1}))
    other = Times()
    other.add(case(), 9.0)
    times.merge(other)
    assert times.cases == Counter({0: 2, 1: 1, 14: 1, 62: 1})
    assert other.cases == Counter({9: 1})
    other.merge(times)
    assert (other.width, other.cases[1]) == (8, 2)
    assert Times.from_dict(times.to_dict()) == times


def test_it_is_told_what_the_processor_did() -> None:
    times = Times()
    assert times.told(0) == ""
    for seconds in (0.5, 1.0, 0.00013):
        times.add(case(seconds), 0.5)
    merged = Times()
    merged.merge(times)
    for one in (times, merged, Times.from_dict(times.to_dict())):
        assert one.spent == {"compile": 1.5 + 0.00013, "run": 0.75}  # to the last digit: it is told again
        assert one.told(90) == (
            "2 s of the processor: draw 0%, emit 0%, compile 67%, run 33%, reference 0%, compare 0%; "
            "1.3 graphs and 40 data sets per second and core"
        )


def test_the_slowest_builds_are_kept() -> None:
    times = Times()
    for number in range(30):
        times.add(case(number * 7 % 30, f"case{number}"), 1.0)
    assert [build.seconds for build in times.builds] == list(range(29, 19, -1))
    assert times.builds[0].what == "3 layers, -Og, cc"
