"""What a campaign keeps, merges and reports, on tallies made by hand."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fuzz.campaign.account import Account, merged
from fuzz.campaign.ledger import WHOLE, Ledger, Piece, Shard
from fuzz.campaign.reports import as_json, as_junit, as_markdown, marks
from fuzz.campaign.scratch import scratch_folder
from fuzz.campaign.state import State, find_state
from fuzz.campaign.tally import FindingNote, Tally
from fuzz.campaign.worker import Settings, chunk_at, chunk_count
from fuzz.judge.compare import Outcome
from fuzz.judge.coverage import Coverage
from nn512.errors import UsageError


def tally(directory: Path) -> Tally:
    """Some of everything."""
    note = FindingNote(
        directory / "direct-values", "direct-values", "direct: values", "values: 1|2 < 3\nmore, 100%", "shrunk"
    )
    return Tally(
        cases=9,
        corpus=2,
        verified=7,
        failed=1,
        data_sets=30,
        outcomes=Counter({Outcome.EXACT: 20, Outcome.WRONG: 1}),
        worst=3.5,
        worst_where="1.50-abc, gaussian:1",
        runners=Counter({"native": 9}),
        coverage=Coverage(Counter({("direct", ""): 3, ("direct", "tail"): 1}), Counter({("direct", ""): 3}), Counter()),
        kinds=Counter({"Conv": 5}),
        findings={note.fault: note},
        repeats=Counter({note.fault: 2}),
        unfinished={directory / "unfinished-0"},
        lost=["a worker was killed\nThe case"],
        skips=["data regimes wide"],
    )


def settings(directory: Path, shard: Shard = WHOLE, seed: int = 5) -> Settings:
    """Four chunks, a file of the corpus among them."""
    return Settings(directory, seed=seed, examples=120, corpus=(Path("a.graph"),), kernels=("one", "two"), shard=shard)


def stored(directory: Path, shard: Shard = WHOLE, seed: int = 5) -> State:
    """The state of a campaign that has come to its end."""
    directory.mkdir(exist_ok=True)
    state = State.begin(settings(directory, shard, seed))
    state.tally.cases = state.tally.verified = 10
    state.complete = True
    state.save()
    return state


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = State.begin(settings(tmp_path, Shard(2, 3)))
    first, second = state.ledger.take(), state.ledger.take()
    assert first is not None
    assert second is None  # of four chunks, shard 2 of 3 has one
    first.position, first.deaths = 7, 1
    state = replace(state, tally=tally(tmp_path), seconds=12.5)
    state.save()
    again = State.load(find_state(tmp_path))
    assert again.to_dict() == state.to_dict()
    assert again.tally == state.tally
    assert again.settings == replace(state.settings, jobs=1)
    assert again.ledger.take() == Piece(1, 7, 1)
    assert again.ledger.take() is None


def test_the_folder_of_a_campaign_may_be_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    replace(State.begin(settings(old)), tally=tally(old)).save()
    old.rename(new)
    (note,) = State.load(find_state(new)).tally.findings.values()
    assert note.path == new / "direct-values"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "settings": {"seed": 3}}'])
def test_other_files_are_no_state(text: str, tmp_path: Path) -> None:
    (tmp_path / "campaign.json").write_text(text)
    with pytest.raises(UsageError, match=r"campaign\.json"):
        State.load(find_state(tmp_path))


def test_shards_have_every_chunk_once(tmp_path: Path) -> None:
    whole = settings(tmp_path)
    count = chunk_count(whole)
    assert count == 4
    assert [chunk_at(whole, number).examples for number in range(count)] == [0, 50, 50, 20]
    assert [chunk_at(whole, number).kernels for number in range(1, count)] == [("one",), ("two",), ("one",)]
    taken = []
    for number in (1, 2, 3):
        ledger = Ledger(count, Shard(number, 3))
        while (piece := ledger.take()) is not None:
            taken.append(piece.number)
            ledger.done(piece)
        assert ledger.all_done
    assert sorted(taken) == [0, 1, 2, 3]


def test_a_chunk_that_was_given_back_comes_next() -> None:
    ledger = Ledger(None)
    first, second = ledger.take(), ledger.take()
    assert first is not None
    assert second is not None
    first.position = 3
    ledger.give_back(first)
    assert [piece.number for piece in ledger.begun] == [0, 1]
    assert ledger.take() is first
    ledger.done(first)
    ledger.done(second)
    assert ledger.take() == Piece(2)


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b"])
def test_no_shards(text: str) -> None:
    with pytest.raises(UsageError, match="--shard takes"):
        Shard.parse(text)


def test_shards_are_merged(tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    for number, place in enumerate(places, 1):
        stored(place, Shard(number, 2))
    account = merged(places)
    assert account.code == 0
    assert account.headline == "20 graphs verified, 0 findings"
    assert account.name == "seed 5, merged from 2"
    alone = merged(places[:1])
    assert alone.code == 3
    assert alone.headline == "10 graphs verified, 1 case NOT JUDGED"
    assert alone.tally.lost == ["seed 5, shard 2/2, which is missing"]


def test_a_fault_that_two_shards_found_is_one(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number)
        state = stored(folder, Shard(number, 2))
        replace(state, tally=tally(folder)).save()
    account = merged([tmp_path / "1", tmp_path / "2"])
    assert account.code == 1
    assert list(account.tally.findings) == ["direct-values"]
    assert account.tally.repeats["direct-values"] == 4


def test_nothing_is_merged_twice(tmp_path: Path) -> None:
    for place, shard in (("a", Shard(1, 2)), ("b", Shard(1, 2)), ("c", Shard())):
        stored(tmp_path / place, shard)
    with pytest.raises(UsageError, match="are the same cases: seed 5, shard 1/2"):
        merged([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UsageError, match="cases would be counted twice"):
        merged([tmp_path / "a", tmp_path / "c"])
    assert merged([tmp_path / "c", tmp_path / "c"]).tally.cases == 10
    stored(tmp_path / "d", seed=6)
    assert merged([tmp_path / "c", tmp_path / "d"]).headline == "20 graphs verified, 0 findings"


def test_an_early_end_is_no_verdict(tmp_path: Path) -> None:
    state = stored(tmp_path / "a")
    state.complete = False
    state.save()
    account = merged([tmp_path / "a"])
    assert account.code == 3
    assert "the rest of seed 5, which ended early" in account.tally.lost[0]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """A campaign that has seen some of everything."""
    return Account(tally(tmp_path), "seed 5, 1 job", 60.0, 1, "interrupted", "nn512 fuzz --seed 5")


def test_json(account: Account, tmp_path: Path) -> None:
    report = json.loads(as_json(account))
    assert report["headline"] == "interrupted: 7 graphs verified, 2 findings, 1 case NOT JUDGED"
    assert (report["exit_code"], report["complete"], report["cases"]) == (1, False, 9)
    (finding,) = report["findings"]
    assert (finding["path"], finding["known"], finding["seen"]) == (str(tmp_path / "direct-values"), False, 2)
    assert report["coverage"]["emitted"] == {"direct": {"": 3, "tail": 1}}


def test_junit(account: Account) -> None:
    account.tally.lost.append("a control character \x01")
    suite = ET.fromstring(as_junit(account)).find("testsuite")  # noqa: S314 - it is our own
    assert suite is not None
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "2", "3", "0"]
    names = [test.get("name") for test in suite.findall("testcase")]
    assert names == ["campaign", "direct-values", "unfinished-0", "not judged 1", "not judged 2"]
    failure = suite.find("testcase[@name='direct-values']/failure")
    assert failure is not None
    assert failure.get("message") == "values: 1|2 < 3"
    known = replace(account.tally, baseline=frozenset({"direct-values"}))
    suite = ET.fromstring(as_junit(replace(account, tally=known))).find("testsuite")  # noqa: S314 - likewise
    assert suite is not None
    assert suite.get("skipped") == "1"


def test_annotations_stay_on_their_lines(account: Account, tmp_path: Path) -> None:
    lines = list(marks(account))
    replay = f"nn512 repro {tmp_path / 'direct-values'}"
    assert lines[0] == f"::error title=nn512 fuzz%3A direct-values::values: 1|2 < 3%0Amore, 100%25%0A{replay}"
    assert len(lines) == 3
    assert all("\n" not in line for line in lines)


def test_markdown(account: Account) -> None:
    text = as_markdown(account)
    assert text.startswith("### nn512 fuzz: interrupted: 7 graphs verified, 2 findings, 1 case NOT JUDGED\n")
    assert "| `direct-values` | values: 1\\|2 \\< 3 | 2 |\n" in text
    assert "* **not judged**: a worker was killed\n" in text
    assert "* never verified: direct, tail\n" in text


def test_the_scratch_of_the_dead_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder("nn512-fuzz-") as alive:
        dead = tmp_path / "nn512-fuzz-dead"
        dead.mkdir()
        (dead / "lock").touch()  # as it is when its owner is gone
        foreign = tmp_path / "nn512-fuzz-foreign"
        foreign.mkdir()  # perhaps of somebody who is about to lock it
        with scratch_folder("nn512-fuzz-") as mine:
            assert sorted(tmp_path.iterdir()) == sorted([alive, mine, foreign])
    assert list(tmp_path.iterdir()) == [foreign]
