"""Finds the layer in which an output went wrong, from what the layers of emitted code leave in the net's memory.

The same C is built once more with NN512_TAP (see `nn512/cgen/net.py`): passes, kernels and fusions stay as they are,
and every tensor between layers is compared with the reference as outputs are. A tensor inside a fused layer is nowhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fuzz.draw.regimes import DataSet
from fuzz.judge.layers import behind
from fuzz.judge.memory import HOOK, regions_of
from fuzz.judge.place import Place
from fuzz.judge.report import Report
from fuzz.judge.standard import standard_of
from fuzz.run.build import BuildError, build_net
from fuzz.run.checks import FULL, Checks, Configuration, Placement
from fuzz.run.interface import Tap
from fuzz.run.outcome import RunReport
from fuzz.run.sandbox import execute
from nn512.errors import CannotRunError
from nn512.graph import Graph
from nn512.plan.layout import Layout
from nn512.plan.plan import Plan, PlannedTensor
from nn512.toolchain import machine_faults


@machine_faults("the layer at fault cannot be found")
def localized(report: Report) -> Report:
    """The report with the layer at fault, where that can be found out: for C with a plan that shows its tensors."""
    sources, culprit, runner = report.sources, report.culprit, report.ran
    if (
        not report.problems
        or runner is None
        or sources is None
        or sources.plan is None
        or culprit is None
        or HOOK not in sources.source
    ):
        return report
    plan = sources.plan
    taps = taps_of(report.graph, plan)
    if not culprit.expected or not taps:
        return report
    try:
        executable = build_net(
            *(report.graph, sources.header, sources.source, runner),
            flags=(runner.level(report.case.optimisation),),
            strict=False,
            taps=taps,
            regions=regions_of(plan),
        )
        run = execute(executable, culprit.data.params, [culprit.data.inputs], _checks(report))
    except (BuildError, CannotRunError):
        return report
    place = _of_fault(run, plan) or _of_values(report, run, culprit.data, plan)
    return report if place is None else replace(report, place=place)


def _checks(report: Report) -> Checks:
    """All ways to run it: a net that reads past its end does so where its buffers end at a page.

    Layers are shown of the first one, which has as many threads as showed the problem.
    """
    threads = report.problems[0].threads
    first = [Configuration(threads, Placement.AT_END)] if threads > 1 else []
    configurations = (*first, *FULL)
    return Checks(
        configurations,
        api=False,
        sharing=False,
        failures=False,
        turns=False,
        endurance=False,
        promises=False,
        timeout=report.timeout,
    )


def taps_of(graph: Graph, plan: Plan) -> list[Tap]:
    """Tensors that layers write and the graph has in the same shape, in the order in which they are complete."""
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    taps = []
    for number, layer in enumerate(plan.layers):
        for name in dict.fromkeys(layer.writes):
            tensor = tensors.get(name)
            # Of some tensors only the pixels are computed that somebody reads; others are rounded when they are stored.
            if tensor is None or tensor.pairs or name not in graph.shapes:
                continue
            if tuple(graph.shapes[name]) == tensor.shape:
                taps.append(Tap(number, name, tensor.offset_bytes // 4, tensor.bytes // 4))
    return taps


def unblocked(memory: NDArray[np.float32], tensor: PlannedTensor) -> NDArray[np.float32]:
    """A tensor as it lies in the net's memory, as CxHxW."""
    _, height, width = tensor.shape
    layout = Layout(tensor.segments, tensor.lanes)
    blocks = memory[: layout.block_count * height * width * tensor.lanes]
    blocks = blocks.reshape(layout.block_count, height, width, tensor.lanes)
    places = [layout.position(channel) for channel in range(layout.channels)]
    return blocks[[block for block, _ in places], :, :, [lane for _, lane in places]]


def _of_fault(run: RunReport, plan: Plan) -> Place | None:
    """The layer that was under way when the sandbox saw a fault."""
    for violation in run.violations:
        if 0 < violation.layer <= len(plan.layers):
            why = f"it was under way ({violation.kind})"
            return Place(plan.layers[violation.layer - 1], violation.layer, len(plan.layers), why)
    return None


def _of_values(report: Report, run: RunReport, data: DataSet, plan: Plan) -> Place | None:
    """The first layer whose tensor is wrong; where all are right, the one that hands a wrong output to the caller."""
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    tapped = run.taps.get(0, {})
    standard = standard_of(report, data, list(dict.fromkeys(tap.tensor for tap in tapped)))
    total = len(plan.layers)
    cleared: set[str] = set()
    for tap, memory in tapped.items():
        verdict = standard.judge(tap.tensor, unblocked(memory, tensors[tap.tensor]))
        behind_it = [layer for layer in behind(report.graph, plan.layers, {tap.tensor}) if layer.name not in cleared]
        if not verdict.ok:
            why = f"{tap.tensor} is the first tensor to leave its band"
            layer = plan.layers[tap.layer]
            before = {one.name for one in plan.layers[: tap.layer]}
            unseen = tuple(one for one in behind_it if one.name in before)
            return Place(layer, tap.layer + 1, total, why, verdict, unseen)
        done = {one.name for one in plan.layers[: tap.layer + 1]}
        cleared.update(layer.name for layer in behind_it if layer.name in done)
    wrong = [v.output for verdicts in report.verdicts.values() for v in verdicts if not v.ok]
    for output in dict.fromkeys(wrong):
        unseen = tuple(one for one in behind(report.graph, plan.layers, {output}) if one.name not in cleared)
        if unseen:
            *others, last = unseen
            why = f"it hands {output} to the caller; the tensors before it are right"
            return Place(last, plan.layers.index(last) + 1, total, why, None, tuple(others))
    return None
