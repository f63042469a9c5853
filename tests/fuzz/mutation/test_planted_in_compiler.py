"""Bugs of the compiler itself, in what its kernels write, are found on few random graphs, with several seeds.

What is counted are graphs, not seconds: 250 graphs are what one quiet core checks in a minute.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import fuzz.targets.ours
from fuzz.campaign.explore import Explorer
from fuzz.case import Case
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import Emitted
from nn512.compiler import compile as compile_graph
from nn512.graph import Graph, parse
from nn512.options import Options

GRAPHS = 250
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Planted:
    """A bug: what a kernel writes, and what it writes instead. A replacement may refer to groups of the pattern."""

    name: str
    pattern: str
    replacement: str


BUGS = (
    Planted("binary: one operand for many rows moves on", r"(_mm512_set1_ps\(\w+\[p) \* 16\]", r"\1 * 16 + 1]"),
    Planted("binary: difference turned", r"\bv = _mm512_sub_ps\(v, (sub\d+)\);", r"v = _mm512_sub_ps(\1, v);"),
    Planted("binary: NaN dropped", r"_mm512_mask_(max|min)_ps\(v, ordered\d+, v,", r"_mm512_\1_ps(v,"),
    Planted("activation: slope of the first block", r"(_mm512_loadu_ps\(slopes\d+)\[block\]", r"\1[0]"),
    Planted("activation: upper bound left out", r"\bv = _mm512_min_ps\(_mm512_set1_ps\([^;]*\), v\);", r"v = v;"),
    Planted("activation: sign of exp", r"(__m512 r = _mm512_)fnmadd(_ps\(n, _mm512_set1_ps)", r"\1fmadd\2"),
    Planted(
        "channel_norm: lanes without a channel",
        r"_mm512_mask3_fmadd_ps\(v, v, (\w+\[i\]), mask\)",
        r"_mm512_fmadd_ps(v, v, \1)",
    ),
    Planted("channel_norm: pairs of pixels", r"(static INLINE __m512 lane_sums.*?four\[2\], 0x)88", r"\g<1>dd"),
    Planted("lrn: the last block counted twice", r"\? some : 0;", r"? some : some;"),
    Planted("lrn: window begins late", r"(UNROLL for \(int i = )1(; i <= \d+; i\+\+\) \{\n[^\n]*16 - i)", r"\g<1>2\2"),
    Planted(
        "pick: third piece left out",
        r"for \(ptrdiff_t i = 2; i < pieces; i\+\+\)",
        r"for (ptrdiff_t i = 3; i < pieces; i++)",
    ),
    Planted("crop: first row left out", r"(memcpy\(\w+\[block\]\[y\], \w+\[block\]\[y(?: \* \d+)?) \+ \d+\]", r"\1]"),
    Planted("crop: one column on", r"(memcpy\(\w+\[block\]\[y\], \w+\[block\]\[y\])\[(\d+)\]", r"\1[\2 - 1]"),
)


def graphs_until_found(bug: Planted, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many graphs a campaign draws until it finds the bug; 0 if it does not."""
    pattern = re.compile(bug.pattern, re.DOTALL)

    def planted(graph: Graph, options: Options) -> Emitted:
        emitted = compile_graph(graph, options)
        return dataclasses.replace(emitted, source=pattern.sub(bug.replacement, emitted.source))

    monkeypatch.setattr(fuzz.targets.ours, "compile_graph", planted)
    drawn, found = 0, False

    def check(case: Case) -> Report:
        nonlocal drawn
        drawn += 1
        graph = parse(case.graph)
        if pattern.search(compile_graph(graph, Options.from_dict(dict(case.options))).source) is None:
            return Report(case, graph, "none: the bug is not in it")  # and nothing else is: the campaign sees to that
        return check_case(case)

    def show(report: Report) -> None:
        nonlocal found
        found |= bool(report.problems)

    explorer = Explorer(folder, show, stop=lambda: found, check=check)
    for chunk in range(GRAPHS // 50):
        explorer.chunk(seed * 1_000_003 + chunk, 50)
    return drawn if found else 0


@pytest.mark.native
@pytest.mark.usefixtures("runs_here")
@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_campaign_finds_it(bug: Planted, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < graphs_until_found(bug, seed, tmp_path, monkeypatch) <= GRAPHS
