"""Plans, checked by an independent account of what lives where and when."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import draw
from nn512.graph import Add, Concat, Config, Conv, Graph, Input, Node, Output, Softmax, build, example, parse
from nn512.ir import ConvOp, Joined, Op, Program, RelayoutOp
from nn512.passes.pipeline import PASSES, optimize
from nn512.plan.laying import Laid, lay_out
from nn512.plan.layout import LANES, MOST_SEGMENTS, Layout, crowded, joined, natural
from nn512.plan.placing import Placement, place_tensors
from nn512.plan.planes import planes_readers
from nn512.plan.workspace import NO_WORKSPACE, Scratch, Workspace


def placed(program: Program, in_planes: Collection[str] = ()) -> Placement:
    """The program with every tensor in its place, whatever kernels would want."""
    laid = lay_out(program, in_planes)
    workspaces = {op.name: working_memory(op, laid) for op in laid.ops}
    return place_tensors(laid.with_workspaces(workspaces), workspaces)


def working_memory(op: Op, laid: Laid) -> Workspace:
    """A prologue is kept in memory."""
    if isinstance(op, ConvOp) and op.prologue:
        return Workspace((Scratch(op.prepared, laid.shapes[op.source], laid.layouts[op.source]),))
    return NO_WORKSPACE


def leaves(name: str, joined: dict[str, Joined]) -> list[str]:
    """The tensors that a joined whole consists of, from front to back."""
    if name not in joined:
        return [name]
    return [leaf for part in joined[name].parts for leaf in leaves(part, joined)]


def check_plan(plan: Placement) -> None:
    """Everything that is true of any plan."""
    joined = {j.writes: j for j in plan.program.joined}
    sources = {view.writes: view.sources[0] for view in plan.program.views}
    born: dict[str, int] = {}
    dies: dict[str, int] = {}
    for step, op in enumerate(plan.ops):
        for name in op.tensors_read:
            while name in sources:
                name = sources[name]  # noqa: PLW2901 - a view is alive where what it is of is
            for leaf in leaves(name, joined):
                assert born[leaf] < step, "written before it is read"
                dies[leaf] = step
        for name in op.tensors_written:
            assert name not in born, "written once"
            born[name] = dies[name] = step
    for first, second in itertools.combinations(sorted(born), 2):
        if born[first] <= dies[second] and born[second] <= dies[first]:
            a, b = plan.tensors[first], plan.tensors[second]
            assert a.offset + a.vectors <= b.offset or b.offset + b.vectors <= a.offset, (first, second)
    for tensor in plan.tensors.values():
        assert tensor.offset >= 0
        assert tensor.offset + tensor.vectors <= plan.arena.size
        floats = tensor.layout.block_count * tensor.layout.lanes * tensor.shape.height * tensor.shape.width
        assert tensor.vectors == -(-floats // LANES)
        assert tensor.layout.channels == tensor.shape.channels
    for whole, parts in ((j.writes, j.parts) for j in joined.values()):  # the parts stand one after the other
        offset = plan.tensors[whole].offset
        assert plan.tensors[whole].last_step >= max(dies[leaf] for leaf in leaves(whole, joined))
        assert all(plan.tensors[part].last_step == plan.tensors[whole].last_step for part in parts)
        for leaf in leaves(whole, joined):
            assert plan.tensors[leaf].offset == offset
            offset += plan.tensors[leaf].vectors
        assert offset == plan.tensors[whole].offset + plan.tensors[whole].vectors
    for view, source in ((plan.tensors[name], plan.tensors[source]) for name, source in sources.items()):
        assert source.offset <= view.offset
        assert view.offset + view.vectors <= source.offset + source.vectors
        assert source.first_step <= view.first_step <= view.last_step <= source.last_step
    assert plan.arena.size >= plan.arena.lower_bound


@settings(max_examples=150)
@given(draw.graphs(), st.just(()) | st.sets(st.sampled_from(tuple(PASSES))).map(tuple), st.integers(0, 7))
def test_any_plan(graph: Graph, without: tuple[str, ...], planes: int) -> None:
    """With any of the first convolutions reading planes, too."""
    program = optimize(graph, without)
    chosen = [name for number, name in enumerate(planes_readers(program)) if planes >> number & 1]
    check_plan(placed(program, in_planes=chosen))


@pytest.mark.parametrize("name", ["ResNet50", "ResNeXt50", "DenseNet121"])
def test_plans_of_examples(name: str) -> None:
    check_plan(placed(optimize(parse(example(name)))))


def test_layouts_that_clash_are_changed_by_a_relayout() -> None:
    nodes: list[Node] = [Concat("x", "x", "a"), Conv("a", "b", 6, 1, 1), Softmax("a", "c"), Add("b", "c", "y")]
    plan = placed(optimize(build([Config(), Input("x", 3, 4, 4), *nodes, Output("y")])))
    (relayout,) = (op for op in plan.ops if isinstance(op, RelayoutOp))
    assert relayout.source == "c"
    assert plan.tensors["c"].layout.segments == (3, 3)
    assert plan.tensors[relayout.writes].layout == plan.tensors["y"].layout == Layout((6,))


def nested(number: int) -> Graph:
    """A tensor of one channel after another of one channel."""
    nodes = [Concat(f"t{i}" if i else "x", "x", f"t{i + 1}") for i in range(number)]
    return build([Config(), Input("x", 1, 1, 1), *nodes, Output(f"t{number}")])


@pytest.mark.parametrize("without", [(), ("drop_concat",)])
def test_a_thousand_nested_concats(without: tuple[str, ...]) -> None:
    plan = placed(optimize(nested(1000), without))
    assert plan.tensors["t63"].layout == Layout((1,) * MOST_SEGMENTS)
    assert plan.tensors["t64"].layout == Layout((64, 1)), "one segment more, so the 64 channels become one"
    assert max(len(tensor.layout.segments) for tensor in plan.tensors.values()) <= MOST_SEGMENTS
    assert plan.tensors["t1000"].layout.channels == 1001


@pytest.mark.parametrize("without", [(), ("drop_concat",)])
def test_halves_of_too_many_segments_become_one(monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]) -> None:
    monkeypatch.setattr("nn512.plan.layout.MOST_SEGMENTS", 3)
    plan = placed(optimize(nested(5), without))
    assert [plan.tensors[f"t{i}"].layout.segments for i in range(1, 6)] == [
        (1, 1),
        (1, 1, 1),
        (3, 1),
        (3, 1, 1),
        (5, 1),
    ]
    assert [op.source for op in plan.ops if isinstance(op, RelayoutOp)] == ["t2", "t4"]


@hypothesis.example([1], [1, 1, 1, 1, 1, 16])  # in the other order they fit
@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.lists(st.integers(1, 40), min_size=1, max_size=9))
def test_joined_layouts_have_few_segments(first: list[int], second: list[int]) -> None:
    """Those that must be copied before are copied, and no others; merging moves no channel."""
    layouts = [Layout(tuple(first)), Layout(tuple(second))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nn512.plan.layout.MOST_SEGMENTS", 6)
        copied = crowded(*layouts)
        whole = joined(*(natural(a.channels) if many else a for a, many in zip(layouts, copied, strict=True)))
        assert len(whole.segments) <= 6
        assert any(copied) == (len(Layout(tuple(first + second)).merged) > 6)
        for layout in layouts:
            merged = Layout(layout.merged)
            assert all(merged.position(c) == layout.position(c) for c in range(layout.channels))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from((1, LANES)))
def test_every_channel_has_a_place_of_its_own(segments: list[int], lanes: int) -> None:
    layout = Layout(tuple(segments), lanes)
    places = [layout.position(channel) for channel in range(layout.channels)]
    assert len(set(places)) == sum(segments)
    assert all(0 <= block < layout.block_count and 0 <= lane < lanes for block, lane in places)
    assert layout.block_count == sum(span.blocks for span in layout.spans)
    in_order = [channels for span in layout.spans for channels in [span.channels] * span.blocks]
    assert in_order == [sum(place[0] == block for place in places) for block in range(layout.block_count)]
    regular = places == [divmod(channel, lanes) for channel in range(layout.channels)]
    assert layout.regular == regular
    with pytest.raises(IndexError):
        layout.position(layout.channels)
