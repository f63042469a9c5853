"""`nn512 verify --edges`: the layers of a net one by one, on data aimed at their edges, and what was verified so."""

from __future__ import annotations

import argparse
import functools
from typing import TYPE_CHECKING

from nn512.errors import UsageError
from nn512.graph import Graph

if TYPE_CHECKING:
    from fuzz.campaign.verifying import Wish
    from nn512.options import Options


def refuse_beside_edges(args: argparse.Namespace) -> None:
    """Raises UsageError for options that say what else to check, or on what, and for other reports."""
    for name in ("source", "target", "onnx", "params", "input", "data", "json", "junit"):
        if getattr(args, name):
            raise UsageError(f"--{name} does not go with --edges, which takes layers and data from the graph alone")


def verify_edges(graph: Graph, options: Options, wish: Wish) -> int:
    """Check every layer and print the matrix; what fails is kept as `wish` says. Returns the exit code."""
    from fuzz.campaign.layerwise import Layerwise, check_layers
    from fuzz.campaign.verifying import kept
    from fuzz.judge.checker import check_case
    from fuzz.judge.localize import localized
    from fuzz.judge.telling import told
    from fuzz.run.checks import Checks, checks_for
    from fuzz.run.runners import runner_for
    from nn512.cli.waiting import Waiting
    from nn512.compiler import compile as compile_graph

    waiting, runner = Waiting(), runner_for()
    waiting.say([runner.line])
    layers = compile_graph(graph, options).plan.layers
    found = Layerwise(layers)
    checks = checks_for(graph, wish.threads, wish.timeout)
    look = functools.partial(check_case, runner=runner, checks=checks, tell=waiting.step)
    try:
        for checked in check_layers(graph, options, layers, look):
            found.add(checked)
            numbers = ", ".join(map(str, checked.numbers))
            what = f"layer {numbers}: {checked.layer}, alone" if checked.layer else "the whole net"
            verdict = "WRONG" if checked.report.problems else "right"
            waiting.say([f"{what}: {len(checked.report.verdicts)} data sets, {verdict}"])
            if checked.report.problems:
                report = localized(checked.report)
                waiting.say(list(told(report)))
                again = functools.partial(check_case, runner=runner, checks=Checks(timeout=wish.timeout))
                kept(report, wish, again, waiting, waiting.say)
    finally:
        waiting.clear()
    waiting.say(["", *found.matrix(), "", *found.summary()])
    return 1 if found.missing or found.failed else 0
