"""What a check showed, for people: a line for each output and kind of data, then each fault once, then the verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fuzz.judge.compare import Outcome, Verdict
from fuzz.judge.place import Place
from fuzz.judge.report import Report
from fuzz.problem import Problem

_WIDTH = 11


def told(report: Report) -> Iterator[str]:
    """The lines."""
    for seed, verdicts in report.verdicts.items():
        for verdict in verdicts:
            yield f"{seed!s:<14}{_briefly(verdict)}"
    for problem in report.problems:
        yield from told_problem(problem, report)
    if report.place is not None:
        yield from _told_place(report.place, {problem.detail for problem in report.problems})
    yield conclusion(report)


def _briefly(verdict: Verdict) -> str:
    if verdict.outcome is not Outcome.WRONG:
        return str(verdict)
    largest = "" if verdict.max_sigma == float("inf") else f", max error {verdict.max_sigma:.3g} sigma"
    return f"{verdict.output}: WRONG: {verdict.wrong} of {verdict.compared} elements{largest}"


def told_problem(problem: Problem, report: Report) -> Iterator[str]:
    """A fault: which elements, the worst of them, what is around it, how often it was seen."""
    verdict = _of(problem, report)
    if verdict is None:
        yield str(problem)
        return
    yield f"values on {problem.data}: {verdict.output} is wrong"
    yield from _told_wrong(verdict)
    if problem.again:
        yield _row("", problem.again)


def _told_wrong(verdict: Verdict) -> Iterator[str]:
    yield _row("worst", verdict.detail)
    if verdict.pattern is not None:
        yield _row("pattern", str(verdict.pattern))
    for number, line in enumerate(verdict.window):
        yield _row("" if number else "around", line)


def _told_place(place: Place, known: Collection[str]) -> Iterator[str]:
    """The layer at fault, and what of its own tensor is wrong, unless that is `known`."""
    yield f"layer {place}"
    if place.verdict is not None and str(place.verdict) not in known:
        yield from _told_wrong(place.verdict)
    yield _row("classes", ", ".join(place.layer.edge_classes) or "none")


def _of(problem: Problem, report: Report) -> Verdict | None:
    """The verdict that a problem tells of."""
    verdicts = report.verdicts.get(problem.data, ()) if problem.data is not None else ()
    return next((v for v in verdicts if problem.kind == "values" and str(v) == problem.detail), None)


def _row(title: str, text: str) -> str:
    return f"  {title:<{_WIDTH}}{text}"


def conclusion(report: Report) -> str:
    """The verdict in a line."""
    outputs = [output.from_tensor for output in report.graph.outputs]
    if report.refused:
        return f"NOT verified: {report.runner} does not take this graph: {report.refused}"
    if report.problems:
        count = len(report.problems)
        return f"NOT verified: {count} problem{'s' if count > 1 else ''}"
    if report.verified:
        worst = max((v.max_sigma for verdicts in report.verdicts.values() for v in verdicts), default=0.0)
        return f"verified: {', '.join(outputs)}; error at most {worst:.2f} sigma"
    missing = ", ".join(name for name in outputs if name not in report.confirmed)
    return f"NOT verified: nothing was shown about {missing}; other data may help (--seed, --data)"
