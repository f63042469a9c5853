"""Strategies of whole graphs, of options, and of cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from hypothesis import strategies as st

from fuzz.case import COMPILERS, OPTIMISATIONS, Case, DataSeed
from fuzz.draw.decisions import decided, varied
from fuzz.draw.grower import Style
from fuzz.draw.growth import grow
from fuzz.draw.kernel_decisions import KernelRow, has_rows, kernel_rows
from fuzz.draw.kinds import LayerWish, Wish
from fuzz.draw.regimes import REGIMES, TURNS
from fuzz.draw.situations import (
    averaged_convs,
    dense_blocks,
    doublings,
    first_layers,
    gated_blocks,
    moved_channels,
    repeated_layers,
    situations,
    stage_ends,
    twins,
)
from fuzz.draw.sizes import shapes
from fuzz.draw.weights import weighted
from fuzz.draw.wishes import few_forms, lone_layers, wishes
from nn512.graph import Graph, Node, Shape, build, format_graph
from nn512.kernels.registry import KERNELS, competing_kernels
from nn512.options import Options
from nn512.passes.pipeline import PASSES


def wish_lists(max_layers: int, turn: int | None = None) -> st.SearchStrategy[list[Wish]]:
    """Rows of layers that decisions are about, those whose turn it is (see `fuzz.draw.decisions`), and more.

    That is single layers with situations among them, or layers that read inputs, or ends of stages, or a few forms.
    """
    more = _more(max_layers // 2)
    return weighted((1, more), (4, st.tuples(decided(turn), more).map(_joined)))


@cache
def _more(most: int) -> st.SearchStrategy[list[Wish]]:
    """Layers of which there is nothing to be taken in turns."""
    alike = dense_blocks() | repeated_layers() | doublings()
    blocks = stage_ends() | averaged_convs() | gated_blocks() | alike
    nets = weighted((2, blocks), (1, first_layers()))
    several = weighted((2, situations()), (2, varied()), (3, nets), (2, twins()), (2, moved_channels()))
    pieces = weighted((7, wishes().map(lambda wish: [wish])), (3, several))
    mixed = st.lists(pieces, min_size=1, max_size=most).map(_joined)
    lone = st.lists(lone_layers(), min_size=1, max_size=3).map(_joined)
    return weighted((6, mixed), (3, lone), (2, several), (1, _stage_lists().map(_joined)), (1, few_forms(most)))


@cache
def _stage_lists() -> st.SearchStrategy[list[list[Wish]]]:
    """Ends of stages alone, so that nothing else reads the pixels that they need not compute."""
    return st.lists(stage_ends(), min_size=1, max_size=2)


def _joined(lists: Iterable[list[Wish]]) -> list[Wish]:
    return [wish for wishes in lists for wish in wishes]


@cache
def styles() -> st.SearchStrategy[Style]:
    """Names, order and Config, mostly plain."""
    return st.builds(
        Style,
        st.sampled_from((0, 0, 1, 2, 3)),
        st.sampled_from((False, False, True)),
        st.sampled_from(("NN512", "NN512", "A", "net1")),
        st.sampled_from((32, 32, 4, 1)),
        st.sampled_from((960, 960, 16)),
    )


def node_lists(max_layers: int = 10, turn: int | None = None) -> st.SearchStrategy[tuple[Node, ...]]:
    """Nodes of legal graphs of up to about `max_layers` layers."""
    return st.builds(grow, shapes(), wish_lists(max_layers, turn), styles())


def stages() -> st.SearchStrategy[tuple[Node, ...]]:
    """Nodes of graphs that are made of the ends of stages."""
    return st.builds(grow, shapes(), _stage_lists().map(_joined), styles())


def graphs(max_layers: int = 10, turn: int | None = None) -> st.SearchStrategy[Graph]:
    """Legal, checked graphs."""
    return node_lists(max_layers, turn).map(build)


@cache
def options(kernels: tuple[str, ...] = ()) -> st.SearchStrategy[Options]:
    """Compiler options: mostly the defaults, else passes switched off, a kernel forced on every layer, full weights.

    Of `kernels` one is always forced. Some choose kernels for several threads, some are for the other platform, as are
    all with a kernel that there is for that alone.
    """
    some = st.lists(st.sampled_from(tuple(PASSES)), min_size=1, max_size=3, unique=True).map(tuple)
    without = weighted((4, st.just(())), (1, some), (1, st.just(tuple(PASSES))))
    some_kernels = [(("", kernel),) for kernel in kernels or competing_kernels()]
    forced = st.sampled_from(some_kernels if kernels else [(), (), *some_kernels])
    threads = st.sampled_from((1, 1, 1, 2, 8))
    platforms = st.sampled_from(("", "", "", "", "", "AVX512BFloat16"))
    drawn = st.builds(Options, without, forced, st.sampled_from(("fp16", "fp16", "fp32")), threads, platforms)
    return drawn.map(_on_the_platform_of_its_kernels)


def _on_the_platform_of_its_kernels(options: Options) -> Options:
    wanted = {name for _, name in options.force}
    needed = [kernel.platform for kernel in KERNELS if kernel.platform and kernel.name in wanted]
    return replace(options, platform=needed[0]) if needed else options


def _waiting(regimes: tuple[str, ...]) -> list[set[str]]:
    """For each turn the regimes that have to wait."""
    groups = [[regime for regime in group if regime in regimes] for group in TURNS]
    turns = math.lcm(*(max(1, len(group)) for group in groups))
    return [{r for group in groups for n, r in enumerate(group) if n != turn % len(group)} for turn in range(turns)]


def cases(
    regimes: tuple[str, ...] = tuple(REGIMES),
    kernels: tuple[str, ...] = (),
    turn: int | None = None,
    layers: int | None = None,
) -> st.SearchStrategy[Case]:
    """Whole cases: a graph, options, an optimisation level and data; see `options` and `wish_lists`.

    Most have rows that kernels decide about, and their options (see `fuzz.draw.kernel_decisions`). There is one data
    set of every regime, and of those that take turns (`fuzz.draw.regimes.TURNS`) of one of them. Of a graph the first
    `layers` layers are kept, which is fast to build, but passes find less in it.
    """

    def case(net: tuple[tuple[Node, ...], Options], optimisation: str, compiler: str, seed: int) -> Case:
        nodes, options = net
        data = tuple(DataSeed(regime, seed) for regime in regimes if regime not in waiting[seed % len(waiting)])
        return Case(format_graph(nodes), options.to_dict(), optimisation, data, compiler)

    waiting = _waiting(regimes)
    levels, compilers = st.sampled_from(OPTIMISATIONS), st.sampled_from(COMPILERS)
    return st.builds(case, _nets(kernels, turn, layers), levels, compilers, st.integers(0, 999))


def _nets(
    kernels: tuple[str, ...], turn: int | None, most: int | None
) -> st.SearchStrategy[tuple[tuple[Node, ...], Options]]:
    """Nodes and options: with rows that kernels decide about, if it is their turn and no kernel is forced anyway."""

    def net(
        row: KernelRow | None, shape: Shape, wishes: list[Wish], style: Style, options: Options
    ) -> tuple[tuple[Node, ...], Options]:
        if row is None:
            return grow(shape, _first(wishes, most), style), options
        return grow(shape, _first((*row.wishes, *wishes), most), row.with_style(style)), row.with_options(options)

    rows = st.none() if kernels else kernel_rows(turn)
    layers = 6 if has_rows(turn) and not kernels else 10
    return st.builds(net, rows, shapes(), wish_lists(layers, turn), styles(), options(kernels))


def _first(wishes: Sequence[Wish], most: int | None) -> Sequence[Wish]:
    """Those up to the last of `most` layers; inputs are none."""
    layers = [number for number, wish in enumerate(wishes) if isinstance(wish, LayerWish)]
    return wishes if most is None or len(layers) <= most else wishes[: layers[most - 1] + 1]
