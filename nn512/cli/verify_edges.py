"""`nn512 verify --edges`: the layers of a net one by one, on data aimed at their edges, and what was verified so."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from nn512.errors import UsageError
from nn512.graph import Graph

if TYPE_CHECKING:
    from fuzz.judge.report import Report
    from fuzz.run.runners import Runner
    from nn512.options import Options


def refuse_beside_edges(args: argparse.Namespace) -> None:
    """Raises UsageError for options that say what else to check, or on what."""
    for name in ("source", "target", "onnx", "params", "input", "data"):
        if getattr(args, name):
            raise UsageError(f"--{name} does not go with --edges, which takes layers and data from the graph alone")


def verify_edges(
    args: argparse.Namespace, graph: Graph, options: Options, runner: Runner, keep: Callable[[Report], None]
) -> int:
    """Check every layer and print the matrix; `keep` makes a failure small and saves it. Returns the exit code."""
    from fuzz.campaign.layerwise import Layerwise, check_layers
    from fuzz.judge.checker import check_case
    from fuzz.judge.localize import localized
    from fuzz.judge.telling import told
    from fuzz.run.checks import checks_for
    from nn512.compiler import compile as compile_graph

    layers = compile_graph(graph, options).plan.layers
    found = Layerwise(layers)
    look = functools.partial(check_case, runner=runner, checks=checks_for(graph, args.threads))
    for checked in check_layers(graph, options, layers, look):
        found.add(checked)
        numbers = ", ".join(map(str, checked.numbers))
        what = f"layer {numbers}: {checked.layer}, alone" if checked.layer else "the whole net"
        sets = f"{len(checked.report.verdicts)} data sets"
        print(f"{what}: {sets}, {'WRONG' if checked.report.problems else 'right'}", flush=True)
        if checked.report.problems:
            report = localized(checked.report)
            print(*told(report), sep="\n", flush=True)
            keep(report)
    print("", *found.matrix(), "", sep="\n")
    total = sum(len(layer.edge_classes) for layer in layers)
    missing = found.missing
    for number, edge in missing:
        print(f"never verified: layer {number}, {layers[number - 1].name} ({layers[number - 1].kernel}), {edge}")
    verdict = f"{total - len(missing)} of {total} edge classes of {len(layers)} layers verified"
    print(f"{verdict}, {len(found.failed)} layers wrong" if found.failed else verdict)
    return 1 if missing or found.failed else 0
