"""A failing case made small: one data set, plain options, few nodes, small sizes; what helps most comes first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fuzz.campaign.effort import Effort
from fuzz.campaign.identity import failure_of
from fuzz.campaign.probes import fault_of
from fuzz.campaign.reduce import cut_out, reduce_graph, with_plain_names
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import GIVEN
from fuzz.judge.report import Report
from fuzz.problem import FAILED
from nn512.graph import Graph, format_graph
from nn512.options import Options

_LIKE = 4
"""Data sets on which small nets are tried: one build serves all of them."""

Look = Callable[[Case], Report]


def shrink(report: Report, look: Look, locate: Callable[[Report], Report], effort: Effort) -> Report:
    """The report on the smallest case found that fails in the same way, with the layer at fault.

    `look` checks a case, `locate` finds the layer at fault. Not more is checked than `effort` allows.
    """
    best = report if report.place is not None else locate(report)

    def fails(case: Case) -> bool:
        nonlocal best
        if case == best.case:
            return False
        if not effort.spend():
            return False
        found = look(case)
        if not kinds(found) & kinds(report):
            return False
        best = found
        return True

    # Data like those that showed it; the layer at fault, alone; then plain options and build; then the graph. In small
    # nets a fault may not show by chance: there are several data sets until the end.
    culprit = _culprit(report)
    if culprit is not None and culprit.regime != GIVEN:
        # A system that fails does so on any numbers, and may be slow to load a net for each.
        said = report.declared and "values" not in kinds(report)
        fails(replace(best.case, data=(culprit,) if said else _like(culprit)))
    if report.place is not None or best.place is not None:
        place = best.place or report.place
        assert place is not None
        for alone in cut_out(best.graph, place.layer.covers):
            if fails(_with_graph(best.case, alone)):
                break
    if not fails(Case(best.case.graph, {}, data=best.case.data)):
        fails(Case(best.case.graph, best.case.options, data=best.case.data))
        for name in _choices(best.case):
            fails(replace(best.case, options={n: value for n, value in best.case.options.items() if n != name}))
    reduce_graph(best.graph, lambda graph: fails(_with_graph(best.case, graph)), lambda: bool(effort.cut))
    # Plain names last: findings of one fault then tend to be the same case.
    if (renamed := with_plain_names(best.graph)).source.text != best.case.graph:
        fails(_with_graph(best.case, renamed))
    several = best.case
    found = _culprit(best)
    if found is not None and len(best.case.data) > 1:
        fails(replace(best.case, data=(found,)))
    located = best if best.place is not None else locate(best)

    def relative(graph: Graph) -> Report | None:
        if not effort.spend():
            return None
        found = look(_with_graph(several, graph))
        return found if kinds(found) & kinds(report) else None

    return located if found is None else fault_of(located, relative)


def _choices(case: Case) -> list[str]:
    """The options of a case that are not as everybody has them."""
    usual, chosen = Options().to_dict(), Options.from_dict(dict(case.options)).to_dict()
    return [name for name in case.options if chosen[name] != usual[name]]


def _culprit(report: Report) -> DataSeed | None:
    """The first data set that showed a problem."""
    return next((problem.data for problem in report.problems if problem.data is not None), None)


def _like(data: DataSeed) -> tuple[DataSeed, ...]:
    """Data sets of the same regime, those of small seeds first, so that different runs end with the same."""
    return tuple(dict.fromkeys([*(DataSeed(data.regime, seed) for seed in range(_LIKE)), data]))


def kinds(report: Report) -> set[str]:
    """What is wrong, in words of the sandbox; of a system that failed, with what it said."""
    return {failure_of(problem) if problem.kind == FAILED else problem.kind for problem in report.problems}


def _with_graph(case: Case, graph: Graph) -> Case:
    return replace(case, graph=format_graph(graph))
