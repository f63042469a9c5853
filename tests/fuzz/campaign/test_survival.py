"""What a campaign outlives: signals, killed workers, its own death, full disks. Real processes, with a quick check."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nn512.cli import main

COUNTED = ("cases", "verified", "failed", "data_sets", "kinds", "unfinished")
PATIENCE = 900
"""Seconds for what takes a few; only a failure waits so long."""

PROGRAM = Path(__file__).with_name("quick.py")
CASES = ["--seed", "7", "--examples", "24", "--no-corpus"]
"""Three chunks, the last with four cases."""


class Scene:
    """A folder where campaigns run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True)
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.pipe = folder / "pipe"
        os.mkfifo(self.pipe)
        self._reading = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._started: list[subprocess.Popen[str]] = []

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a campaign."""
        path = os.pathsep.join(filter(None, sys.path))
        places = {"NOTES": str(self.notes), "PIPE": str(self.pipe), "TMPDIR": str(self.temporary)}
        return {**os.environ, "PYTHONPATH": path, **places, **variables}

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Begin a campaign."""
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *words],
            cwd=self.folder,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *words: str, **variables: str) -> tuple[int, str, str]:
        """Exit code, output and messages of a campaign."""
        process = self.start(*words, **variables)
        output, said = process.communicate(timeout=PATIENCE)
        return process.returncode, output, said

    def stopped(self, *words: str, at: int, does: str = "stop") -> subprocess.Popen[str]:
        """A campaign one of whose workers waits in the middle of case number `at`."""
        process = self.start(*words, DOES=does, AT=str(at))
        if not select.select([self._reading], [], [], PATIENCE)[0]:
            process.kill()
            pytest.fail(f"no worker comes so far: {process.communicate()}")
        assert os.read(self._reading, 100) == b"here\n"
        return process

    def worker_ends(self) -> bool:
        """Whether the worker that waits has ended, or does so now: nobody can write to its pipe then."""
        return bool(select.select([self._reading], [], [], PATIENCE)[0]) and os.read(self._reading, 100) == b""

    def state(self, name: str = "findings/campaign.json") -> dict[str, Any]:
        """The state of a campaign."""
        found: dict[str, Any] = json.loads((self.folder / name).read_text())
        return found

    def close(self) -> None:
        """End what is still running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()
        os.close(self._reading)


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """A place for campaigns."""
    made = Scene(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the campaign counts that nothing disturbs."""
    scene = Scene(tmp_path_factory.mktemp("undisturbed"))
    code, output, _ = scene.run(*CASES, "--jobs", "1")
    scene.close()
    assert code == 0
    assert output.startswith("24 graphs verified, 0 findings   (seed 7, 1 job, ")
    tally: dict[str, Any] = scene.state()["tally"]
    assert tally["cases"] == 24
    return tally


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the campaign counts that finds faults, and that nothing disturbs."""
    scene = Scene(tmp_path_factory.mktemp("faulty"))
    assert scene.run(*CASES, "--jobs", "1", DOES="wrong")[0] == 1
    scene.close()
    tally: dict[str, Any] = scene.state()["tally"]
    return tally


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_campaign_that_was_ended_is_gone_on_with(
    number: signal.Signals, scene: Scene, undisturbed: dict[str, Any]
) -> None:
    """In the middle of the first chunk; what is counted in the end is what would have been without."""
    process = scene.stopped(*CASES, "--jobs", "1", at=8)
    process.send_signal(number)
    output, said = process.communicate(timeout=PATIENCE)
    assert scene.worker_ends()
    state = scene.state()
    assert not state["complete"]
    assert state["tally"]["cases"] == state["begun"][0]["position"]
    if number == signal.SIGKILL:
        assert output == ""
    else:
        counted = state["tally"]["cases"]
        assert 5 <= counted <= 7, "of the last cases the parent may not have heard yet"
        assert process.returncode == 128 + number
        assert output.startswith(f"ended early: {counted} graphs verified, 0 findings ")
        assert output.endswith("nn512 fuzz --resume findings/campaign.json goes on with it\n")
        assert list(scene.temporary.iterdir()) == []
    code, output, said = scene.run("--resume", "findings")
    assert code == 0, said
    assert output.startswith("24 graphs verified, 0 findings   (seed 7, 1 job, "), said
    assert scene.state()["tally"] == undisturbed
    assert scene.state()["complete"]
    assert list(scene.temporary.iterdir()) == []  # of the one that was killed, too


def test_a_complete_campaign_is_told_again(scene: Scene, undisturbed: dict[str, Any]) -> None:
    code, output, _ = scene.run(*CASES, "--jobs", "2")
    assert code == 0
    assert scene.state()["tally"] == undisturbed  # of two jobs
    code, again, _ = scene.run("--resume", "findings")
    assert code == 0
    assert again.startswith("24 graphs verified, 0 findings ")
    assert again.splitlines()[1:] == output.splitlines()[1:]  # the first tells of seconds, and of the jobs that are


def test_the_case_of_a_killed_worker_is_tried_again(scene: Scene, undisturbed: dict[str, Any]) -> None:
    code, output, said = scene.run(*CASES, "--jobs", "1", DOES="killed", AT="13")
    assert code == 0, said
    assert "a worker was killed, most probably because memory ran out: its case is tried once more" in said
    assert output.startswith("24 graphs verified, 0 findings ")
    assert scene.state()["tally"] == undisturbed


def test_a_case_that_gets_workers_killed_is_left_out_and_told(scene: Scene) -> None:
    code, output, said = scene.run(*CASES, "--jobs", "1", DOES="killed", AT="13", ALWAYS="1")
    assert code == 3
    assert "its case is left out" in said
    assert output.startswith("23 graphs verified, 1 case NOT JUDGED   (seed 7, ")
    assert "0 findings" not in output
    assert "\nThe case, for a file NAME.graph that `nn512 repro` takes:\n# case {" in output
    assert not list((scene.folder / "findings").glob("*-*"))
    assert scene.state()["tally"]["cases"] == 23


def test_a_case_that_crashes_workers_is_a_finding(scene: Scene) -> None:
    code, output, said = scene.run(*CASES, "--jobs", "1", DOES="crash", AT="13", ALWAYS="1")
    assert code == 1
    assert output.startswith("23 graphs verified, 1 finding   (seed 7, ")
    assert "a worker ended with exit code 7 while it checked a case" in said
    (note,) = scene.state()["tally"]["findings"]
    assert (scene.folder / "findings" / note["path"] / "net.graph").exists()


def test_workers_that_die_at_once_end_the_campaign(scene: Scene) -> None:
    code, output, said = scene.run(*CASES, "--jobs", "1", DOES="killed", ALWAYS="all")
    assert code == 3
    assert "nn512: workers die one after the other" in said
    assert output.startswith("ended early: 0 graphs verified, ")
    assert "NOT JUDGED" in output.splitlines()[0]


def test_a_cluster_that_loses_a_worker_counts_the_same(scene: Scene, undisturbed: dict[str, Any]) -> None:
    pytest.importorskip("distributed", reason="distributed (extra `cluster`) is not installed: no cluster is tried")
    code, output, said = scene.run(*CASES, CLUSTER="2", DOES="killed", AT="13")
    assert (scene.notes / "special").exists(), "nobody was killed"
    assert code == 0, said
    assert output.startswith("24 graphs verified, 0 findings "), said
    assert scene.state()["tally"] == undisturbed
    assert scene.state()["complete"]


def test_what_a_cluster_finds_comes_back(scene: Scene, faulty: dict[str, Any]) -> None:
    pytest.importorskip("distributed", reason="distributed (extra `cluster`) is not installed: no cluster is tried")
    assert scene.run(*CASES, CLUSTER="1", DOES="wrong")[0] == 1
    tally = scene.state()["tally"]
    assert {name: tally[name] for name in COUNTED} == {name: faulty[name] for name in COUNTED}
    faults = [sorted(note["fault"] for note in counted["findings"]) for counted in (tally, faulty)]
    assert faults[0] == faults[1] != []
    for note in tally["findings"]:
        folder = scene.folder / "findings" / note["path"]
        assert (folder / "case.json").exists()
        assert os.access(folder / "repro.sh", os.X_OK)


def test_no_cluster_is_no_finding(scene: Scene) -> None:
    pytest.importorskip("distributed", reason="distributed (extra `cluster`) is not installed: no cluster is tried")
    code, output, said = scene.run(*CASES, "--scheduler", "nonsense://host:1")
    assert (code, output) == (2, "")
    assert "nn512: --scheduler nonsense://host:1: " in said


def test_a_failure_that_was_being_shrunk_is_shrunk_later(scene: Scene, faulty: dict[str, Any]) -> None:
    """Killed while it shrinks: the failure is on disk, and the next run makes of it what would have become of it."""
    process = scene.stopped(*CASES, "--jobs", "1", at=9, does="wrong,stop")
    process.kill()
    process.communicate()
    assert scene.worker_ends()
    (folder,) = (scene.folder / "findings").glob("unfinished-*")
    assert (folder / "case.json").exists()
    assert scene.run("--resume", "findings", "--jobs", "1", DOES="wrong")[0] == 1
    assert not list((scene.folder / "findings").glob("unfinished-*"))
    tally = scene.state()["tally"]
    names = [[note["fault"] for note in counted["findings"]] for counted in (tally, faulty)]
    assert names[0] == names[1] != []
    assert {name: tally[name] for name in COUNTED} == {name: faulty[name] for name in COUNTED}


def test_shards_together_are_the_whole(scene: Scene, undisturbed: dict[str, Any]) -> None:
    """Of two chunks and one; and nothing that is missing goes unsaid."""
    for shard, cases in (("1/2", 14), ("2/2", 10)):
        code, _, said = scene.run(*CASES, "--jobs", "1", "--shard", shard, "--out", f"of-{shard[0]}")
        assert code == 0, said
        assert scene.state(f"of-{shard[0]}/campaign-{shard[0]}-of-2.json")["tally"]["cases"] == cases
    code, output, _ = scene.run("merge", "of-1", "of-2", "--json", "merged.json")
    assert code == 0
    assert output.startswith("24 graphs verified, 0 findings   (seed 7, merged from 2, ")
    merged = scene.state("merged.json")
    assert {name: merged[name] for name in undisturbed} == undisturbed
    code, output, _ = scene.run("merge", "of-2")
    assert code == 3
    assert output.startswith("10 graphs verified, 1 case NOT JUDGED   (seed 7, merged from 1, ")
    assert "NOT JUDGED    seed 7, shard 1/2, which is missing" in output


def test_a_folder_has_one_campaign_at_a_time(scene: Scene) -> None:
    process = scene.stopped(*CASES, "--jobs", "1", at=5)
    code, output, said = scene.run(*CASES)
    assert (code, output) == (2, "")
    assert said.endswith("nn512: another campaign is under way in 'findings': --out names another\n")
    process.kill()
    process.communicate()
    assert scene.worker_ends()


def test_an_unfinished_campaign_is_not_overwritten(scene: Scene) -> None:
    process = scene.stopped(*CASES, "--jobs", "1", at=8)
    process.terminate()
    process.communicate()
    code, _, said = scene.run("--seed", "8", "--examples", "5", "--no-corpus")
    assert code == 0
    kept = "findings/campaign-seed-7.json"
    assert f"--resume {kept}" in said
    code, output, _ = scene.run("--resume", kept)
    assert (code, output[:19]) == (0, "24 graphs verified,")
    assert scene.state(kept)["complete"]


def test_a_state_that_cannot_be_kept_loses_nothing(scene: Scene) -> None:
    """Where there is no room for the state of a few cases: the campaign goes on, and says what is missing."""
    code, output, said = scene.run(*CASES, "--jobs", "1", DOES="full")
    assert code == 0, said
    assert "cannot keep findings/campaign.json: File too large; --resume will know nothing newer" in said
    assert output.startswith("24 graphs verified, 0 findings ")
    assert "findings/campaign.json is not up to date: File too large" in output
    assert not list((scene.folder / "findings").glob(".campaign.json-*"))


@pytest.mark.parametrize(
    "words",
    [["--seed", "1"], ["--examples", "5"], ["--shard", "1/2"], ["--no-corpus"], ["--data", "exact"], ["--layers", "2"]],
)
def test_a_resumed_campaign_keeps_its_own(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--resume", "findings", *words]) == 2
    assert "cannot be changed by --resume" in capsys.readouterr().err
