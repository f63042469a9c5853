"""The passes by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from nn512.graph.graph import Graph
from nn512.ir import Program
from nn512.passes.collapse_relus import collapse_relus
from nn512.passes.dedup import dedup
from nn512.passes.drop_concat import drop_concat
from nn512.passes.fold_batchnorm import fold_batchnorm
from nn512.passes.fuse_elementwise import fuse_elementwise
from nn512.passes.lower import lower
from nn512.passes.merge_convs import merge_convs
from nn512.passes.pool_first import pool_first
from nn512.passes.schedule import schedule
from nn512.passes.skip_unread import skip_unread

PASSES: Mapping[str, Callable[[Program], Program]] = {
    "dedup": dedup,
    "skip_unread": skip_unread,
    "fold_batchnorm": fold_batchnorm,
    "pool_first": pool_first,
    "merge_convs": merge_convs,
    "fuse_elementwise": fuse_elementwise,
    "collapse_relus": collapse_relus,
    "drop_concat": drop_concat,
    "schedule": schedule,
}


def stages(graph: Graph, skip: Collection[str] = ()) -> Iterator[tuple[str, Program]]:
    """The program after lowering and after every pass that is not skipped, by name."""
    program = lower(graph)
    yield "lower", program
    for name, rewrite in PASSES.items():
        if name not in skip:
            program = rewrite(program)
            yield name, program


def optimize(graph: Graph, skip: Collection[str] = ()) -> Program:
    """The program after all passes."""
    program = lower(graph)
    for _, program in stages(graph, skip):  # noqa: B007 - the last one is what counts
        pass
    return program
