"""A compiler that does not work is the machine's fault (exit code 3), never a finding about a net."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fuzz.campaign.findings import save
from fuzz.case import Case, DataSeed
from fuzz.judge.report import Report
from fuzz.problem import Problem
from nn512.cli import main
from nn512.graph import parse

GRAPH = "Config\nInput ToTensor=x Channels=1 Height=1 Width=1\nSoftmax FromTensor=x ToTensor=y\nOutput FromTensor=y\n"


@pytest.mark.parametrize("broken", ["/bin/true", "failing", "g++"])
@pytest.mark.parametrize("subcommand", ["verify", "run", "bench", "fuzz", "repro"])
def test_a_broken_compiler_is_not_blamed_on_the_net(
    subcommand: str, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failing").write_text('#!/bin/sh\ntest "$1" = --version && echo broken 1.0\n')
    (tmp_path / "failing").chmod(0o755)
    graph, findings = tmp_path / "net.graph", tmp_path / "findings"
    graph.write_text(GRAPH)
    np.save(tmp_path / "x.npy", np.ones((1, 1, 1), np.float32))
    case = Case(GRAPH, data=(DataSeed("gaussian", 0),))
    known = save(Report(case, parse(GRAPH), "native", problems=(Problem("build", "x"),)), tmp_path / "known").path
    words = {
        "verify": [str(graph), "--out", str(findings)],
        "run": [str(graph), "--input", f"x={tmp_path}/x.npy", "-o", str(tmp_path / "out.npz")],
        "bench": [str(graph)],
        "fuzz": ["--examples", "1", "--jobs", "1", "--no-corpus", "--out", str(findings)],
        "repro": [str(known)],
    }
    if broken == "g++" and not shutil.which(broken):
        pytest.skip("there is no g++")
    monkeypatch.setenv("CC", broken if broken == "g++" else str(tmp_path / broken))  # an absolute path stays as it is
    monkeypatch.delenv("NN512_RUNNER", raising=False)
    assert main([subcommand, *words[subcommand]]) == 3
    assert "does not work: given a program of a few lines it" in capsys.readouterr().err
    assert not findings.exists()
