"""Every decision that kernels state is made by the layers of some row, and by what campaigns draw."""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import cache

from hypothesis import find, settings
from hypothesis.errors import NoSuchExample

from fuzz.draw.growth import PLAIN, grow
from fuzz.draw.kernel_decisions import AT_A_TIME, ROWS, KernelRow, kernel_rows
from fuzz.judge.coverage import Point, declared_decisions
from fuzz.judge.layers import LAYOUTS, decisions_of
from fuzz.mutation.compiler import drawn
from nn512.compiler import compile as compile_graph
from nn512.graph import Graph, Shape, build, parse
from nn512.kernels import pointwise
from nn512.kernels.deciding import Choosing
from nn512.kernels.registry import KERNELS, family_of, stated_decisions
from nn512.kernels.storing import Storing
from nn512.options import Options


def made(graph: Graph, options: Options) -> set[Point]:
    """Who decides what about a graph."""
    return {point for point in decisions_of(compile_graph(graph, options).plan) if point[1]}


@cache
def made_by(row: KernelRow) -> frozenset[Point]:
    """What is decided about a row."""
    net = build(grow(Shape(2, 2, 2), row.wishes, row.with_style(PLAIN)))
    return frozenset(made(net, row.with_options(Options())))


def test_kernels_state_decisions_of_their_own() -> None:
    stated = stated_decisions()
    assert set(stated) <= {family_of(kernel.name) for kernel in KERNELS}
    assert len(stated) > 20
    for decisions in stated.values():
        assert len({str(decision) for decision in decisions}) == len(decisions) > 1
    points = declared_decisions()
    assert len(set(points)) == len(points) > 400, "no kernel has the name of a pass"


def test_rows_make_every_decision() -> None:
    """One that is missing here needs a row; it is local to its kernel otherwise."""
    wanted = {(family, str(decision)) for family, decisions in stated_decisions().items() for decision in decisions}
    wanted |= {(LAYOUTS, str(decision)) for decision in Storing}
    assert wanted - {point for row in ROWS for point in made_by(row)} == set()


def test_rows_of_one_case_have_the_same_options() -> None:
    """All rows come in as many turns as there are; two of three cases have some."""
    turns = range(3 * len(ROWS))
    together = [row for turn in turns if (row := _of_turn(turn)) is not None]
    assert len(together) == 2 * len(ROWS)
    pieces = {row.wishes for row in together}
    assert all(any(_stands_in(row, piece) for piece in pieces) for row in ROWS)
    assert len(ROWS) / AT_A_TIME <= len(pieces) < 0.7 * len(ROWS)
    assert {row.options for row in together} == {row.options for row in ROWS}


def _of_turn(turn: int) -> KernelRow | None:
    with contextlib.suppress(NoSuchExample):
        return find(kernel_rows(turn), lambda row: row is not None, settings=settings(database=None, derandomize=True))
    return None


def _stands_in(row: KernelRow, wishes: tuple[object, ...]) -> bool:
    size = len(row.wishes)
    return any(wishes[n : n + size] == row.wishes for n in range(len(wishes) - size + 1))


def test_campaigns_draw_nets_for_kernels() -> None:
    """Of the few of one seed, nearly everything is decided that passes and kernels may decide."""
    counts = Counter(
        point for case in drawn(0, 120) for point in made(parse(case.graph), Options.from_dict(dict(case.options)))
    )
    declared = declared_decisions()
    assert set(counts) <= set(declared)
    assert len(counts) > 0.9 * len(declared), set(declared) - set(counts)


def test_kernels_of_a_family_count_as_one() -> None:
    text = "Config Input ToTensor=x Channels=9 Height=5 Width=5 Activation FromTensor=x ToTensor=r Kind=ReLU Param=0 "
    text += "Conv FromTensor=r ToTensor=y ToChannels=9 FilterH=3 FilterW=3 Output FromTensor=y"
    points = made(parse(text), Options(force=(("", "winograd-2x2"),)))
    assert {point for point in points if point[0] == "winograd"} >= {
        ("winograd", str(Choosing.FORCED)),
        ("winograd", str(Choosing.OVERRULED)),
        ("winograd", str(Choosing.PLATFORM)),
    }
    assert ("direct", str(Choosing.OVERRULED)) in points
    assert ("pointwise", str(pointwise.Refusing.FILTER)) in points
