"""The identity of a fault: kernel, edge classes, kind of problem and pattern of wrong elements; nothing of the case.

The same fault has the same name in every run, on every machine, however small its net has become; different faults of a
kernel differ in their kind, in the classes that the small net has, or in which elements are wrong. Of systems and C
without a plan, whose kernels nobody knows, the kinds of nodes in the small net stand for them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from fuzz.campaign.probes import without_numbers
from fuzz.judge.report import Report
from fuzz.problem import FAILED, Problem
from nn512.graph import Activation

_MESSAGES = frozenset(("emit", "build", "tester"))
"""Kinds of problems that are known by what a program said."""

_QUOTED = re.compile(r"""(['"`\u2018]).*?['"`\u2019]""")
"""What messages quote, which is a name mostly. gcc has quotation marks of its own."""

_LONGEST = 40
"""Characters of a name, without its hash."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a fault is known by: `kernel` and `classes` of the layer at fault, `kind` of problem, `what` exactly.

    `kernel` may be several, or the kinds of the nodes, behind the name of the system if it is one.
    """

    kernel: str
    classes: tuple[str, ...]
    kind: str
    what: str

    def __str__(self) -> str:
        where = f" in {self.kernel}" if self.kernel else ""
        classes = f" ({', '.join(self.classes)})" if self.classes else ""
        return f"{self.kind}{where}{classes}: {self.what}"

    @property
    def name(self) -> str:
        """The same as a name for files: readable, and different for different identities."""
        words = "-".join(filter(None, (self.kernel, self.kind, self.what if self.kernel else "")))
        readable = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:_LONGEST].strip("-")
        return f"{readable}-{hashlib.sha256(str(self).encode()).hexdigest()[:6]}"


def identity_of(report: Report) -> Identity:
    """The identity of the first problem of a report, best of a small net whose layer at fault is known."""
    problem = report.problems[0]
    if problem.kind in _MESSAGES:
        return Identity("", (), problem.kind, _message(problem))
    if problem.kind == FAILED:
        return Identity(report.runner, (), problem.kind, failure_of(problem))
    if report.declared:  # a system that answers by itself
        where = " ".join([report.runner, *sorted(suspects(report))])
        return Identity(where, (), problem.kind, _pattern(report, problem))
    layers = report.layers if report.place is None else (report.place.layer,)
    kernels = sorted({layer.kernel for layer in layers} if layers else suspects(report))
    classes = report.classes
    if classes is None:
        classes = tuple(sorted({without_numbers(one) for layer in layers for one in layer.edge_classes}))
    return Identity(" ".join(kernels), classes, problem.kind, _pattern(report, problem))


def failure_of(problem: Problem) -> str:
    """What a system said that failed, without names and numbers: one fault says the same of many nets."""
    return _QUOTED.sub("*", _message(problem))


def suspects(report: Report) -> frozenset[str]:
    """What may be at fault: kernels, or without a plan the kinds of the nodes, of activations their functions."""
    if report.layers:
        return frozenset(layer.kernel for layer in report.layers)
    return frozenset(
        layer.kind if isinstance(layer, Activation) else type(layer).__name__ for layer in report.graph.layers
    )


def _pattern(report: Report, problem: Problem) -> str:
    """Which elements are wrong, of the layer at fault where that is known; else what the sandbox says."""
    if problem.kind == "values" and report.pattern:
        return report.pattern
    of_elements = problem.kind == "values" or problem.pattern
    if of_elements and report.place is not None and report.place.verdict is not None:
        pattern = report.place.verdict.pattern
        return "beyond the rms limit" if pattern is None else pattern.key
    return problem.pattern or _message(problem)


def _message(problem: Problem) -> str:
    """The first line of what was said: without numbers, names of temporary files and what was under way."""
    message = (problem.detail.splitlines() or [""])[0].partition("  [")[0]
    return without_numbers(re.sub(r"/\S*/", "", message))[:120]
