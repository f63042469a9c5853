"""What a campaign tells: shrinking is shown while it lasts, and known faults are told apart from new ones."""

from __future__ import annotations

import io
from pathlib import Path

from fuzz.campaign.campaign import Campaign, Job
from fuzz.campaign.tally import CaseSummary, FindingNote, Tally
from fuzz.campaign.worker import Settings, Shrinking
from fuzz.case import Case
from fuzz.judge.coverage import declared_decisions
from fuzz.judge.report import Report
from fuzz.targets import OURS, Sources
from nn512.graph import parse
from nn512.options import Options
from nn512.passes.schedule import Ordering


def note(fault: str, how: str = "") -> FindingNote:
    return FindingNote(Path("findings") / fault, fault, f"values in {fault}", f"{fault} is wrong", how)


def test_known_faults_do_not_fail_a_campaign() -> None:
    tally = Tally(verified=1, cases=2, baseline=frozenset({"old"}))
    assert tally.add_finding(note("old"))
    assert not tally.add_finding(note("old"))
    assert [tally.good] == [True]
    text = "\n".join(tally.lines(1.0, "seed 0, 1 job"))
    assert "1 finding, 1 of them known" in text
    assert "known         values in old" in text
    assert "seen 2 times" in text
    assert "FINDING" not in text
    tally.add_finding(note("new", "shrinking was cut after 3 cases"))
    assert [tally.good] == [False]
    text = "\n".join(tally.lines(1.0, "seed 0, 1 job"))
    assert "2 findings, 1 of them known" in text
    assert text.index("FINDING       values in new") < text.index("known         values in old")
    assert "nn512 repro findings/new   (shrinking was cut after 3 cases)" in text


def test_decisions_that_no_verified_graph_has_are_told() -> None:
    case = Case(
        "Config Input ToTensor=x Channels=3 Height=2 Width=2 Softmax FromTensor=x ToTensor=y Output FromTensor=y"
    )
    graph = parse(case.graph)
    sources = OURS.prepare(graph, Options())
    assert isinstance(sources, Sources)
    tally = Tally()
    tally.add(CaseSummary.of(Report(Case(graph.source.text), graph, "nobody", sources, executed=True)))
    same = ("schedule", str(Ordering.SAME))
    assert (tally.decisions.executed[same], tally.decisions.verified[same]) == (1, 0)
    assert len(tally.never_decided) == len(declared_decisions())
    text = "\n".join(tally.lines(1.0, "seed 0"))
    assert f"decisions     0 of {len(declared_decisions())} of passes, of kernels and about layouts verified\n" in text
    assert "never verified: schedule" not in text, "too many to be listed"
    tally.decisions.verified.update(point for point in declared_decisions() if point != same)
    assert f"never verified: schedule, {Ordering.SAME}" in "\n".join(tally.lines(1.0, "seed 0"))
    assert "decisions " not in "\n".join(Tally().lines(1.0, "seed 0")), "C of others has no passes"


def test_progress_shows_shrinking() -> None:
    tally = Tally(verified=7, data_sets=70)
    assert tally.progress() == "7 graphs verified, 70 data sets, 0 findings"
    assert tally.progress([(23, 80)]) == "7 graphs verified, 70 data sets, 1 finding, shrinking, 23 of 80"
    tally.add_finding(note("a"))
    assert tally.progress([(2, 80), (5, 80)]).endswith("3 findings, shrinking, 2 of 80, shrinking, 5 of 80")


def test_shrinking_is_announced_once_and_ends_with_the_finding(tmp_path: Path) -> None:
    stream = io.StringIO()
    campaign = Campaign(Settings(tmp_path, shrink_seconds=90, baseline=frozenset({"old"})), stream)
    job = Job()
    for step in (1, 2):
        campaign._take_in(job, Shrinking(step, 160))
    assert [job.shrinking] == [Shrinking(2, 160)]
    assert stream.getvalue() == "a case failed: it is made small now, for 90 s at most (--shrink-time)\n"
    campaign._take_in(job, note("old", "shrunk with 2 cases"))
    assert job.shrinking is None
    assert stream.getvalue().endswith("known finding: findings/old: old is wrong\n  shrunk with 2 cases\n")


def test_a_campaign_of_the_corpus_alone_says_so() -> None:
    assert "(2 from the corpus: no random one was reached)" in "\n".join(Tally(cases=2, corpus=2).lines(1.0, "seed 0"))
    assert "(2 from the corpus)" in "\n".join(Tally(cases=3, corpus=2).lines(1.0, "seed 0"))
    assert "(0 from the corpus)" in "\n".join(Tally().lines(1.0, "seed 0"))
