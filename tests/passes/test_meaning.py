"""No pass changes the meaning of a program: the reference evaluates it after every one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import reference
from fuzz import draw
from fuzz.draw import regimes
from nn512.graph import Activation, Graph, Node, build, example, example_names, parse
from nn512.ir import Program, to_graph
from nn512.passes.pipeline import PASSES, stages
from nn512.passes.skip_unread import skip_unread

SUBSETS = st.sampled_from(tuple(PASSES)).map(lambda name: {name}) | st.sets(st.sampled_from(tuple(PASSES)))


def dyadic(nodes: tuple[Node, ...]) -> Graph:
    """The graph with slopes whose products are exact, so that ReLUs in a row may collapse without a rounding."""
    changed = (dataclasses.replace(n, param=round(n.param * 8) / 8) if isinstance(n, Activation) else n for n in nodes)
    return build(list(changed))


def check_wiring(program: Program) -> None:
    """Every tensor is written once, before it is read; every output is written; shapes know every tensor."""
    wholes = {joined.writes: joined.parts for joined in program.joined}
    wholes |= {view.writes: view.sources for view in program.views}
    written: set[str] = set()
    for op in program.ops:
        waiting = list(op.tensors_read)
        while waiting:
            name = waiting.pop()
            waiting.extend(wholes.get(name, ()))
            assert name in wholes or name in written, name
        for name in op.tensors_written:
            assert name not in written
            assert name not in wholes
            assert name in program.shapes
            written.add(name)
    assert program.outputs <= written | set(wholes)
    parts = [part for joined in program.joined for part in joined.parts]
    assert len(parts) == len(set(parts)), "a part stands in one place"
    assert not {view.writes for view in program.views} & set(parts)


def check_equal(value: NDArray[Any], expected: NDArray[Any], message: str, *, exactly: bool) -> None:
    """Equal, or up to what another order of the sums in a matrix product makes of float64."""
    if exactly:
        np.testing.assert_array_equal(value, expected, err_msg=message)
        return
    largest = np.max(np.abs(expected), where=np.isfinite(expected), initial=0.0)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9 * largest, err_msg=message)


def check_meaning(graph: Graph, skip: Collection[str], regime: str, seed: int) -> None:
    data = regimes.draw(graph, regime, seed)
    # Without samples: values are the same, and the variance is no larger.
    expected = reference.run(graph, data.params, data.inputs, sampled=0)
    reordered, before = False, None
    for name, program in stages(graph, skip):
        if program == before:  # what it means has been seen
            continue
        check_wiring(program)
        results = reference.run(to_graph(program), data.params, data.inputs, sampled=0)
        assert results.keys() == expected.keys()
        exact = name not in PASSES or PASSES[name].exact or name == "collapse_relus"  # whose slopes are dyadic here
        reordered |= not exact
        before = program
        for tensor, result in results.items():
            message, exactly = f"{tensor} after {name}", not program.thinned
            if not reordered:
                check_equal(result.value, expected[tensor].value, message, exactly=exactly)
                continue
            same = result.value == expected[tensor].value
            same |= np.isnan(result.value) & np.isnan(expected[tensor].value)
            # An average before a convolution rounds elsewhere, in float64 by next to nothing.
            with np.errstate(all="ignore"):
                far = np.abs(result.value - expected[tensor].value) / np.sqrt(expected[tensor].variance)
            same |= np.isfinite(expected[tensor].value) & (far < 1e-6) | expected[tensor].unspecified
            assert same.all(), message


@settings(max_examples=150)
@given(draw.node_lists(8).map(dyadic), st.sampled_from(("gaussian", "nonfinite")), st.integers(0, 9))
def test_any_graph_keeps_its_values_through_all_passes(graph: Graph, regime: str, seed: int) -> None:
    check_meaning(graph, (), regime, seed)


@settings(max_examples=100)
@given(draw.node_lists(8).map(dyadic), SUBSETS)
def test_any_passes_may_be_left_out(graph: Graph, skip: set[str]) -> None:
    check_meaning(graph, skip, "gaussian", 0)


@settings(max_examples=100)
@given(draw.stages().map(dyadic), st.sampled_from(("gaussian", "nonfinite", "exact")))
def test_pixels_that_nobody_reads_change_nothing(graph: Graph, regime: str) -> None:
    check_meaning(graph, (), regime, 1)


@settings(max_examples=60)
@given(draw.graphs(6))
def test_passes_find_nothing_more_to_do_and_repeat_themselves(graph: Graph) -> None:
    """The same program comes out every time, and dedup and collapse_relus of a finished program are identities."""
    *others, (_, program) = stages(graph)
    *_, (_, again) = stages(graph)
    assert program == again
    thinned = dict(others)["skip_unread"]
    assert skip_unread(thinned) is thinned
    for name in ("dedup", "collapse_relus"):
        assert len(PASSES[name](program).ops) == len(program.ops)


def test_examples_are_wired_after_every_pass() -> None:
    for name in example_names():
        for _, program in stages(parse(example(name))):
            check_wiring(program)
            to_graph(program)
