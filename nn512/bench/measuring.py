"""The measurement: everything built and started, agreement shown, and then rounds in which all systems take turns."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nn512 import toolchain
from nn512.bench import native, systems
from nn512.bench.agreement import BFLOAT16, HALF_WEIGHTS, SINGLE, Agreement, agree
from nn512.bench.layers import LayerTime, join, per_inference
from nn512.bench.machine import choose_cpus, processor_name
from nn512.bench.spread import Spread, ratio_by_round, spread
from nn512.bench.systems import OURS, PROFILED, Progress, System
from nn512.bench.worker import Worker
from nn512.compiler import Emitted
from nn512.compiler import compile as compile_graph
from nn512.errors import CannotRunError, UsageError
from nn512.graph import Graph, Softmax, multiply_accumulates
from nn512.options import Options
from nn512.params import Params
from nn512.plan.plan import uses_bfloat16
from nn512.toolchain import Compiler

MOST_RUNS = 1_000_000

ROUNDS = 15
"""Rounds that the runs are spread over: enough for quartiles of what varies from round to round."""

WARM_UP_NANOSECONDS = 300_000_000
"""Each system runs so long before anything counts: pages are touched, threads are awake, clocks have settled."""

REFRESH_NANOSECONDS = 10_000_000
"""At the beginning of its turn a system runs untimed about so long, since another has had the caches."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure.

    `expected` computes the outputs that the reference gives for `inputs`. `runs` counts the timed inferences of each
    system. Kernels are chosen for `threads`, whatever `options` say. `progress` is told in a few words what is being
    done.
    """

    graph: Graph
    params: Params
    inputs: Params
    expected: Callable[[], Mapping[str, NDArray[Any]]]
    threads: int = 1
    peers: tuple[str, ...] = ()
    per_layer: bool = False
    runs: int = 30
    options: Options = field(default_factory=Options)
    progress: Progress = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class Timing:
    """Time per inference of one system; `ratio` is its time over ours, None for ours."""

    name: str
    version: str
    microseconds: Spread
    ratio: Spread | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured, ours first among the `timings`.

    `computed_mmac`: million multiply-accumulates that our code does in an inference, which may be fewer than the graph
    has. `peak_gflops`: floating point operations per nanosecond of pure FMAs on as many threads, in the same rounds.
    `layers` (empty if not asked for) come from a build with counters, whose time per inference is `profiled`.
    """

    graph: Graph
    processor: str
    cpus: tuple[int, ...]
    compiler: str
    agreement: Agreement
    timings: tuple[Timing, ...]
    computed_mmac: float
    peak_gflops: Spread
    layers: tuple[LayerTime, ...]
    profiled: Timing | None
    runs: int
    rounds: int

    @property
    def mmac(self) -> float:
        """Million multiply-accumulates of one inference by the graph's definition, whoever computes fewer."""
        return sum(multiply_accumulates(layer, self.graph.shapes) for layer in self.graph.layers) / 1e6


def measure(request: Request) -> Measurement:
    """Measure one net beside its peers.

    Raises CannotRunError where something is missing, UsageError for what makes no sense, DisagreementError (before
    anything is timed) where a system computes something else than the reference.
    """
    if not 1 <= request.runs <= MOST_RUNS:
        raise UsageError(f"--runs must be from 1 to {MOST_RUNS:,}, not {request.runs}")
    cpus = choose_cpus(request.threads)
    systems.check_peers(request.peers)
    runner = os.environ.get("NN512_RUNNER", "")
    if runner not in {"", "native"}:
        raise CannotRunError(f"NN512_RUNNER={runner}: only the processor itself is worth measuring")
    compiler = toolchain.find_compiler()
    if not toolchain.has_avx512(compiler):
        raise CannotRunError("this processor has no AVX-512F: there is nothing to measure")
    emitted = compile_graph(request.graph, replace(request.options, threads=request.threads))
    if uses_bfloat16(emitted.plan) and not toolchain.has_bfloat16(compiler):
        raise CannotRunError("this processor has no AVX512_BF16: there is nothing to measure")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nn512-bench-")))
        peak, flops = systems.start_peak(stack, compiler, cpus)
        programs = _start(stack, request, emitted, compiler, cpus, directory)
        request.progress("comparing the results with the reference")
        files = programs.files
        answers = {system.name: systems.outputs_of(system, files) for system in programs.all}
        ours = SINGLE if request.options.weights == "fp32" else HALF_WEIGHTS
        ours = BFLOAT16 if uses_bfloat16(emitted.plan) else ours
        theirs = {system.name: BFLOAT16 if system.is_narrow else SINGLE for system in programs.all}
        bounds = {system.name: ours if system.version is None else theirs[system.name] for system in programs.all}
        agreement = agree(request.expected(), answers, bounds, _probabilities(request.graph))
        times = _take_turns(request, peak, programs.all)
    peers = programs.all[1 : 1 + len(request.peers)]
    profiled = [system for system in programs.all if system.name == PROFILED]
    return Measurement(
        request.graph,
        processor_name(),
        cpus,
        f"{compiler.version}, {' '.join(native.FLAGS)}",
        agreement,
        tuple(_timing(system, times.nanoseconds) for system in (programs.all[0], *peers)),
        sum(layer.mmac for layer in emitted.plan.layers),
        spread([flops / time for burst in times.nanoseconds[systems.PEAK] for time in burst]),
        join(emitted.plan, times.profiles) if profiled else (),
        _timing(profiled[0], times.nanoseconds) if profiled else None,
        times.runs,
        times.rounds,
    )


def _probabilities(graph: Graph) -> set[str]:
    """The outputs that a Softmax computes."""
    return {layer.to_tensor for layer in graph.layers if isinstance(layer, Softmax)}


@dataclass(frozen=True, slots=True)
class _Programs:
    """All systems, ours first, then the peers, then ours with counters if asked for; and the files they read."""

    all: tuple[System, ...]
    files: systems.Files


def _start(
    stack: ExitStack, request: Request, emitted: Emitted, compiler: Compiler, cpus: Sequence[int], directory: Path
) -> _Programs:
    request.progress("writing parameters and inputs")
    files = systems.Files(directory, request.graph, request.params, request.inputs, peers=bool(request.peers))
    request.progress(f"building with {compiler.path}")
    started = [systems.start_ours(stack, compiler, emitted, files, cpus)]
    for name in request.peers:
        request.progress(f"loading {name}")
        started.append(systems.start_peer(stack, name, files, cpus))
    if request.per_layer:
        request.progress("building with counters per layer")
        started.append(systems.start_ours(stack, compiler, emitted, files, cpus, profile=True))
    return _Programs(tuple(started), files)


@dataclass(frozen=True, slots=True)
class _Times:
    """Nanoseconds of every inference, by system and round; time per layer by round."""

    runs: int
    rounds: int
    nanoseconds: Mapping[str, list[list[int]]]
    profiles: list[list[tuple[str, float]]]


def _take_turns(request: Request, peak: Worker, started: Sequence[System]) -> _Times:
    """Warm up, and then let every system run a burst in every round, in an order that changes."""
    workers = [peak, *(system.worker for system in started)]
    burst = -(-request.runs // ROUNDS)
    rounds = -(-request.runs // burst)
    request.progress(f"warming up {len(workers)} programs")
    alone = {worker.name: _warm_up(worker) for worker in workers}
    untimed = {name: _refresh_count(time) for name, time in alone.items()}
    seconds = rounds * sum((untimed[name] + burst) * time for name, time in alone.items()) / 1e9
    request.progress(f"measuring: {rounds} rounds of turns, about {max(seconds, 1):.0f} s")
    nanoseconds: dict[str, list[list[int]]] = {worker.name: [] for worker in workers}
    profiles = []
    for number in range(rounds):
        for worker in turns(workers, number):
            before: Sequence[str] = ()
            if worker.name == PROFILED:
                worker.burst(untimed[worker.name], 0)
                before = worker.ask("profile").lines
            nanoseconds[worker.name].append(worker.burst(untimed[worker.name], burst))
            if worker.name == PROFILED:
                profiles.append(per_inference(before, worker.ask("profile").lines, untimed[worker.name] + burst))
    return _Times(burst * rounds, rounds, nanoseconds, profiles)


def turns(workers: Sequence[Worker], number: int) -> list[Worker]:
    """The order of round `number`: each begins with another, and every second goes backwards.

    So nobody always runs after the same one.
    """
    start = number // 2 % len(workers)
    order = [*workers[start:], *workers[:start]]
    return order[::-1] if number % 2 else order


def _warm_up(worker: Worker) -> float:
    """Run until warm; gives the nanoseconds of an inference."""
    spent, latest, count = 0, [1], 1
    while spent < WARM_UP_NANOSECONDS:
        latest = worker.burst(0, count)
        spent += sum(latest)
        count = min(2 * count, 10_000)
    return min(latest)


def _refresh_count(nanoseconds: float) -> int:
    return min(max(round(REFRESH_NANOSECONDS / nanoseconds), 1), 10_000)


def _timing(system: System, nanoseconds: Mapping[str, list[list[int]]]) -> Timing:
    mine, ours = nanoseconds[system.name], nanoseconds[OURS]
    every = spread([time / 1e3 for burst in mine for time in burst])
    ratio = None if system.name == OURS else ratio_by_round(mine, ours)
    return Timing(system.name, system.version or "", every, ratio)
