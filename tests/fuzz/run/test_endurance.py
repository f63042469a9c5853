"""What shows only after many inferences, with many threads, or where threads wake and sleep at bad moments."""

from __future__ import annotations

import functools

import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.judge.checker import check_sources, in_turn
from fuzz.run.build import build_net
from fuzz.run.checks import Checks, checks_for
from fuzz.run.outcome import Kind, RunReport
from fuzz.run.runners import Runner, runner_for
from fuzz.run.sandbox import execute
from fuzz.targets import Sources
from nn512.graph import parse

GRAPH = """Config Prefix=Team
Input ToTensor=x Channels=40 Height=10 Width=24
Conv FromTensor=x ToTensor=c ToChannels=64 FilterH=1 FilterW=1
Activation FromTensor=c ToTensor=s Kind=Sigmoid
Pooling FromTensor=s ToTensor=y Kind=Max2x2Stride2
Output FromTensor=y
"""

PLANTED = {
    "a waker that does not wait for the mutex": (
        "    pthread_mutex_lock(&gate->mutex);\n    pthread_mutex_unlock(&gate->mutex);\n",
        "",
        {Kind.HANG},
    ),
    "woken is taken for done": (
        "    while (__atomic_load_n(&gate->value, __ATOMIC_SEQ_CST) != value) pthread_cond_wait(",
        "    if (__atomic_load_n(&gate->value, __ATOMIC_SEQ_CST) != value) pthread_cond_wait(",
        {Kind.VARIES_WITH_HISTORY, Kind.HANG, Kind.CRASH, Kind.UNINITIALIZED},
    ),
    "steps are counted in a byte": (
        "    for (unsigned number = 1;; number++) {",
        "    for (unsigned char number = 1;; number++) {",
        {Kind.HANG},
    ),
    "no rest for five threads": (
        "rest = team->items % team->threads;",
        "rest = team->threads == 5 ? 0 : team->items % team->threads;",
        {Kind.VARIES_WITH_THREADS, Kind.UNINITIALIZED, Kind.UNWRITTEN},
    ),
    "nine threads have the shares of eight": (
        "const ptrdiff_t first = index * each + (index < rest ? index : rest);",
        "const ptrdiff_t first = (index < 8 ? index : 7) * each + (index < rest ? index : rest);",
        {Kind.VARIES_WITH_THREADS, Kind.UNINITIALIZED, Kind.UNWRITTEN},
    ),
    "a mode of its own": (
        "    Team *team = worker->team;\n",
        '    Team *team = worker->team;\n    unsigned usual = 0x1f80;\n    __asm__("ldmxcsr %0" : : "m"(usual));\n',
        {Kind.MXCSR},
    ),
    "numbers of threads below -1": (
        "index < 0 ||",
        "index == -1 ||",
        {Kind.API, Kind.CRASH, Kind.OUT_OF_BOUNDS},
    ),
}
"""What is replaced in emitted C, by what, and the kinds of which one is found."""


@pytest.fixture
def runner(runs_here: str) -> Runner:  # noqa: ARG001 - it chooses one
    return runner_for()


@functools.cache
def emitted() -> Sources:
    made = nn512.compile(parse(GRAPH))
    return Sources("Team", made.header, made.source, made.plan)


def run(source: str, runner: Runner, checks: Checks) -> RunReport:
    graph = parse(GRAPH)
    data = regimes.draw(graph, "gaussian", 1)
    program = build_net(graph, emitted().header, source, runner, flags=("-O1",), strict=False)
    return execute(program, data.params, in_turn(data.inputs, checks), checks)


def test_what_is_right_endures(runner: Runner) -> None:
    assert run(emitted().source, runner, Checks()).violations == ()


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(name: str, runner: Runner) -> None:
    old, new, kinds = PLANTED[name]
    source = emitted().source.replace(old, new)
    assert source != emitted().source
    found = run(source, runner, Checks(timeout=1.0) if Kind.HANG in kinds else Checks())
    assert kinds & {violation.kind for violation in found.violations}, found.violations


def test_an_engine_that_holds_more_and_more(runner: Runner) -> None:
    """It gives back everything in the end, so that there is no leak in the usual sense."""
    source = emitted().source
    for old, new in (
        ("static void team_check(", "static void *kept[1000];\nstatic int kept_count;\nstatic void team_check("),
        ("    engine->xData = xData;\n", "    engine->xData = xData;\n    kept[kept_count++] = malloc(8);\n"),
        (
            "    free(team->workers);\n}",
            "    while (kept_count) free(kept[--kept_count]);\n    free(team->workers);\n}",
        ),
    ):
        assert old in source
        source = source.replace(old, new)
    found = run(source, runner, Checks(sharing=False, promises=False))
    assert {violation.kind for violation in found.violations} == {Kind.LEAK}


ROUNDED = """
static void rounded_step(const Team *team, ptrdiff_t index, Share share) {
    const unsigned usual = 0x1f80, towards_zero = 0x7f80;
    if (index >= 2) __asm__ volatile("ldmxcsr %0" : : "m"(towards_zero));
    team->step(team->context, share);
    if (index >= 2) __asm__ volatile("ldmxcsr %0" : : "m"(usual));
}

"""


@pytest.mark.parametrize(("regime", "is_found"), [("exact", False), ("gaussian", True)])
def test_the_third_thread_rounds_otherwise(regime: str, is_found: bool, runner: Runner) -> None:  # noqa: FBT001
    """Integers do not show it, so that other data are run in all numbers of threads as well."""
    text = GRAPH.replace("Activation FromTensor=c ToTensor=s Kind=Sigmoid\n", "").replace(
        "FromTensor=s", "FromTensor=c"
    )
    graph = parse(text)
    made = nn512.compile(graph)
    share = "static void team_share("
    source = made.source.replace("team->step(team->context, (Share){", "rounded_step(team, index, (Share){")
    source = source.replace(share, ROUNDED + share)
    case = Case(text, data=(DataSeed("exact", 0), DataSeed(regime, 0)))
    data = [regimes.draw(graph, seed.regime, seed.seed) for seed in case.data]
    report = check_sources(
        case, graph, Sources("Team", made.header, source, made.plan), data, runner, checks=checks_for(graph, 4)
    )
    assert bool(report.problems) == is_found, report.problems
