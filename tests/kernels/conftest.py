"""What tests of kernels share: emitted C with an error planted, before the judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.judge.report import Report
from fuzz.run.runners import runner_for
from fuzz.targets.base import Sources
from nn512.compiler import compile as compile_graph
from nn512.graph import parse

Judge: TypeAlias = Callable[[str], Report]
Emit: TypeAlias = Callable[..., tuple[str, Judge]]

_RIGHT: set[tuple[str, ...]] = set()
"""What was found right: texts of nets, the C of each, and data sets. Many errors are planted in the same C."""


@pytest.fixture
def emit(runs_here: str) -> Emit:
    """A function of a net and of data sets, as "exact:1": the C of the net, found right, and what judges other C."""
    assert runs_here

    def emitted(text: str, *data: str) -> tuple[str, Judge]:
        net = compile_graph(text)
        seeds = (name.split(":") for name in data)
        case = Case(text, {}, "-O0", tuple(DataSeed(regime, int(seed)) for regime, seed in seeds))
        graph = parse(text)

        def judge(source: str) -> Report:
            sources = Sources(net.prefix, net.header, source, profile="direct")
            return check_sources(case, graph, sources, draw(case, graph), runner_for())

        if (text, net.source, *data) not in _RIGHT:
            assert judge(net.source).verified
            _RIGHT.add((text, net.source, *data))
        return net.source, judge

    return emitted
