"""The passes by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from nn512.graph.graph import Graph
from nn512.ir import Program
from nn512.ir.decision import Decided, unheard
from nn512.passes import (
    collapse_relus,
    dedup,
    drop_concat,
    fold_batchnorm,
    fold_shuffle,
    fuse_elementwise,
    merge_convs,
    merge_picks,
    pool_first,
    schedule,
    skip_unread,
    view_slices,
)
from nn512.passes.lower import lower
from nn512.passes.rewrite import Pass

PASSES: Mapping[str, Pass] = MappingProxyType(
    {
        one.name: one
        for one in (
            dedup.PASS,
            skip_unread.PASS,
            fold_batchnorm.PASS,
            pool_first.PASS,
            merge_convs.PASS,
            fuse_elementwise.PASS,
            collapse_relus.PASS,
            fold_shuffle.PASS,
            merge_picks.PASS,
            drop_concat.PASS,
            view_slices.PASS,
            schedule.PASS,
        )
    }
)
"""All passes by name, in the order in which they run."""


def stages(graph: Graph, skip: Collection[str] = (), decided: Decided = unheard) -> Iterator[tuple[str, Program]]:
    """The program after lowering and after every pass that is not skipped, by name; `decided` hears of decisions."""
    program = lower(graph)
    yield "lower", program
    for name, rewrite in PASSES.items():
        if name not in skip:
            program = rewrite(program, decided)
            yield name, program


def optimize(graph: Graph, skip: Collection[str] = ()) -> Program:
    """The program after all passes."""
    program = lower(graph)
    for _, program in stages(graph, skip):  # noqa: B007 - the last one is what counts
        pass
    return program
