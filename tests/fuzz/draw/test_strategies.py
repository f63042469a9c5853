"""The strategies reach what they aim for, stay within bounds, and shrink to minimal graphs."""

from __future__ import annotations

import dataclasses
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz import draw
from fuzz.campaign.reduce import reduce_graph, with_plain_names
from nn512.graph import (
    LRN,
    POOLINGS,
    Activation,
    Add,
    BatchNorm,
    Binary,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Graph,
    Layer,
    LayerNorm,
    Mul,
    Pooling,
    RMSNorm,
    Shuffle,
    Slice,
    Softmax,
    multiply_accumulates,
    parse,
    tensors_read,
)
from nn512.graph.windows import padding_of
from nn512.ir import RelayoutOp
from nn512.options import Options
from nn512.passes.effects import effects
from nn512.passes.pipeline import PASSES, optimize, stages

DRAWS = 1000


def layers(graph: Graph, kind: type[Any]) -> Iterator[Any]:
    return (layer for layer in graph.layers if isinstance(layer, kind))


def channel_slices(graph: Graph) -> Iterator[Slice]:
    return (layer for layer in layers(graph, Slice) if layer.axis == "Channels")


def convs(graph: Graph) -> Iterator[tuple[Conv, int, int]]:
    for conv in layers(graph, Conv):
        yield conv, graph.shapes[conv.from_tensor].channels, graph.shapes[conv.to_tensor].channels


def readers(graph: Graph) -> Counter[str]:
    return Counter(name for layer in graph.layers for name in set(tensors_read(layer)))


def diamond(graph: Graph) -> bool:
    """Some tensor reaches both operands of an Add or Concat, on different ways."""
    above: dict[str, set[str]] = {node.to_tensor: {node.to_tensor} for node in graph.inputs}
    found = False
    for layer in graph.layers:
        reads = tensors_read(layer)
        if len(set(reads)) == 2:
            found |= bool(above[reads[0]] & above[reads[1]])
        above[layer.to_tensor] = {layer.to_tensor}.union(*(above[name] for name in reads))
    return found


def binaries(graph: Graph) -> list[Any]:
    return [layer for layer in graph.layers if isinstance(layer, Binary)]


def spread(graph: Graph, layer: Any) -> str:
    """Axes along which one element of the second tensor meets several of the first."""
    first, second = (graph.shapes[name] for name in layer.reads)
    return "".join(axis for axis, a, b in zip("CHW", first, second, strict=True) if a > b)


def ancestors(graph: Graph, tensor: str) -> set[str]:
    """All tensors of which one is computed."""
    made, found, waiting = produced(graph), set[str](), [tensor]
    while waiting:
        layer = made.get(waiting.pop())
        new = set() if layer is None else {*tensors_read(layer)} - found
        found |= new
        waiting += new
    return found


def produced(graph: Graph) -> dict[str, Any]:
    return {layer.to_tensor: layer for layer in graph.layers}


def first_layers(graph: Graph) -> list[Conv]:
    """Convolutions of few channels that read an input."""
    inputs = {node.to_tensor for node in graph.inputs if node.channels <= 4}
    return [c for c in layers(graph, Conv) if c.from_tensor in inputs and c.groups == 1]


def magnitudes(graph: Graph, activation: Activation) -> bool:
    """Whether an activation reads magnitudes."""
    before = produced(graph).get(activation.from_tensor)
    return isinstance(before, Activation) and before.kind == "Abs"


def of_parts(graph: Graph, name: str) -> bool:
    """Whether a tensor is a concat after a norm and an activation, whose first part ends within a block."""
    made = produced(graph)
    activation = made.get(name)
    norm = made.get(activation.from_tensor) if isinstance(activation, Activation) else None
    concat = made.get(norm.from_tensor) if isinstance(norm, BatchNorm) else None
    return isinstance(concat, Concat) and graph.shapes[concat.from_tensor1].channels % 16 > 0


SITUATIONS: dict[str, Callable[[Graph], bool]] = {
    **{
        kind.__name__: lambda g, kind=kind: any(layers(g, kind))  # type: ignore[misc]
        for kind in typing.get_args(Layer)
    },
    **{f"pooling {kind}": lambda g, kind=kind: any(p.kind == kind for p in layers(g, Pooling)) for kind in POOLINGS},  # type: ignore[misc]
    **{
        f"{kind.__name__} along {axis}": lambda g, kind=kind, axis=axis: any(m.axis == axis for m in layers(g, kind))  # type: ignore[misc]
        for kind in (Concat, Slice)
        for axis in ("Channels", "Height", "Width")
    },
    "concat of more than two": lambda g: any(len(c.reads) > 2 for c in layers(g, Concat)),
    "slice from within a block": lambda g: any(s.first % 16 for s in channel_slices(g)),
    "slice from a block on": lambda g: any(s.first % 16 == 0 < s.first for s in channel_slices(g)),
    "slice with steps": lambda g: any(s.step > 1 and s.count > 1 for s in layers(g, Slice)),
    "shuffle of groups": lambda g: any(1 < s.groups < g.shapes[s.to_tensor].channels for s in layers(g, Shuffle)),
    "several inputs": lambda g: len(g.inputs) > 1,
    "interleaved pixels": lambda g: any(i.interleaved and i.channels > 1 for i in g.inputs),
    "an interleaved picture of few channels under a filter": lambda g: any(
        1 < i.channels < 5 and i.interleaved and i.to_tensor == c.from_tensor and c.filter_w > 1
        for i in g.inputs
        for c in first_layers(g)
    ),
    "interleaved pixels of several blocks": lambda g: any(i.interleaved and i.channels > 16 for i in g.inputs),
    "several outputs": lambda g: len(g.outputs) > 2,
    "an output that is also read": lambda g: any(readers(g)[output.from_tensor] for output in g.outputs),
    "fan-out": lambda g: max(readers(g).values()) > 1,
    "diamond": diamond,
    **{
        f"an operand with one element along {axes}": lambda g, axes=axes: any(axes == spread(g, b) for b in binaries(g))  # type: ignore[misc]
        for axes in ("C", "H", "W", "CH", "CW", "HW", "CHW")
    },
    "a gate of channels that is computed of what it meets": lambda g: any(
        spread(g, m) == "HW" and m.from_tensor1 in ancestors(g, m.from_tensor2) for m in layers(g, Mul)
    ),
    "x + x": lambda g: any(a.from_tensor1 == a.from_tensor2 for a in layers(g, Add)),
    "residual": lambda g: any(a.from_tensor1 != a.from_tensor2 for a in layers(g, Add)),
    "Concat(x, x)": lambda g: any(c.from_tensor1 == c.from_tensor2 for c in layers(g, Concat)),
    "concat of concat": lambda g: any(
        isinstance(produced(g).get(name), Concat) for c in layers(g, Concat) for name in tensors_read(c)
    ),
    "too many segments to join": lambda g: any(isinstance(op, RelayoutOp) and op.crowded for op in optimize(g).ops),
    "concat to output": lambda g: any(isinstance(produced(g)[o.from_tensor], Concat) for o in g.outputs),
    "concat half is an output": lambda g: any(
        o.from_tensor in tensors_read(c) for c in layers(g, Concat) for o in g.outputs
    ),
    "concat at an odd channel": lambda g: any(g.shapes[c.from_tensor1].channels % 16 for c in layers(g, Concat)),
    "depthwise": lambda g: any(1 < c.groups == channels for c, channels, _ in convs(g)),
    "depthwise with a multiplier": lambda g: any(1 < c.groups == channels < to for c, channels, to in convs(g)),
    "odd group size": lambda g: any(
        c.groups > 1 and channels // c.groups in {3, 5, 7, 17} for c, channels, _ in convs(g)
    ),
    "group boundary inside a block": lambda g: any(c.groups > 1 and to // c.groups % 16 for c, _, to in convs(g)),
    "pointwise": lambda g: any(c.filter_h == c.filter_w == c.stride_h == 1 and not c.is_padded for c, *_ in convs(g)),
    "strided pointwise": lambda g: any(c.filter_h == c.filter_w == 1 < c.stride_h for c, *_ in convs(g)),
    "padding larger than the filter": lambda g: any(c.padding_top >= c.filter_h for c, *_ in convs(g)),
    **{
        f"a convolution {name}": lambda g, reached=reached: any(reached(c) for c, *_ in convs(g))  # type: ignore[misc]
        for name, reached in {
            "with four paddings": lambda c: len(set(padding_of(c))) > 2,
            "that is causal": lambda c: c.padding_left == (c.filter_w - 1) * c.dilation_w > 0 == c.padding_right,
            "with padding on the right alone": lambda c: c.padding_right > 0 == c.padding_left,
            "with padding below alone": lambda c: c.padding_bottom > 0 == c.padding_top,
            "with padding larger than the filter on one side": lambda c: c.padding_bottom >= c.filter_h > c.padding_top,
            "by channel with uneven padding": lambda c: c.groups > 1 and c.padding_top != c.padding_bottom,
        }.items()
    },
    "dilation": lambda g: any(c.dilation_w > 1 and c.filter_w > 1 for c, *_ in convs(g)),
    "different strides": lambda g: any(c.stride_h != c.stride_w for c, *_ in convs(g)),
    "even filter": lambda g: any(c.filter_h % 2 == 0 for c, *_ in convs(g)),
    "7x7": lambda g: any(c.filter_h == c.filter_w == 7 for c, *_ in convs(g)),
    **{
        f"a first layer on {channels} channels": lambda g, channels=channels: any(
            g.shapes[c.from_tensor].channels == channels and c.filter_w > 1 for c in first_layers(g)
        )  # type: ignore[misc]
        for channels in (1, 2, 3, 4)
    },
    "a first layer with padding": lambda g: any(c.padding_left for c in first_layers(g)),
    "a first layer without padding": lambda g: any(not c.padding_left and c.filter_w > 1 for c in first_layers(g)),
    "equal layers": lambda g: any(
        count > 1
        for count in Counter(
            (g.shapes[c.from_tensor], dataclasses.replace(c, from_tensor="", to_tensor="")) for c in layers(g, Conv)
        ).values()
    ),
    "1x1 after a norm of a concat whose parts fill no blocks": lambda g: any(
        c.filter_h == c.filter_w == 1 and of_parts(g, c.from_tensor) for c in layers(g, Conv)
    ),
    "fully connected on an image": lambda g: any(g.shapes[f.from_tensor].pixels > 1 for f in layers(g, FullyConnected)),
    "softmax on an image": lambda g: any(g.shapes[s.from_tensor].pixels > 1 for s in layers(g, Softmax)),
    "normalized channels of an image": lambda g: any(
        g.shapes[n.from_tensor].channels > 16 and g.shapes[n.from_tensor].pixels > 16
        for kind in (LayerNorm, RMSNorm)
        for n in layers(g, kind)
    ),
    "an even window of channels": lambda g: any(n.size % 2 == 0 for n in layers(g, LRN)),
    "PReLU": lambda g: any(a.kind == "PReLU" for a in layers(g, Activation)),
    **{
        f"a logarithm or root of {name}": lambda g, known=known: any(
            a.kind in {"Log", "Sqrt"} and magnitudes(g, a) == known for a in layers(g, Activation)
        )  # type: ignore[misc]
        for name, known in {"magnitudes": True, "anything": False}.items()
    },
    "a power that is no root": lambda g: any(n.beta % 0.25 for n in layers(g, LRN)),
    "a chain behind a normalization": lambda g: any(
        isinstance(produced(g).get(a.from_tensor), LayerNorm) for a in layers(g, Activation)
    ),
    "padded pooling": lambda g: any(p.padding_top and p.padding_left for p in layers(g, Pooling)),
    **{
        f"pooling {name}": lambda g, reached=reached: any(map(reached, layers(g, Pooling)))  # type: ignore[misc]
        for name, reached in {
            "that counts its padding": lambda p: p.count_padding and p.is_padded,
            "padded on one side": lambda p: p.padding_top != p.padding_bottom or p.padding_left != p.padding_right,
            "of overlapping windows": lambda p: p.window_w > p.stride_w,
            "that skips cells": lambda p: 0 < p.window_h < p.stride_h,
            "of two strides": lambda p: p.stride_h != p.stride_w,
            "of wide windows": lambda p: p.window_w > 8,
        }.items()
    },
    "a pooling of windows larger than the picture": lambda g: any(
        p.window_h > g.shapes[p.from_tensor].height for p in layers(g, Pooling)
    ),
    "deep": lambda g: len(g.layers) >= 8,
    "a row": lambda g: any(s.height == 1 < s.width for s in g.shapes.values()),
    "a column": lambda g: any(s.width == 1 < s.height for s in g.shapes.values()),
    "backwards text": lambda g: g.source.text.splitlines()[-1].startswith("Config"),
    "hostile name": lambda g: "int" in g.shapes,
    "other prefix": lambda g: g.config.prefix != "NN512",
    **{
        f"channel tail {tail}": lambda g, tail=tail: any(
            s.channels > 16 and s.channels % 16 == tail for s in g.shapes.values()
        )  # type: ignore[misc]
        for tail in range(16)
    },
    **{
        f"pixel tail {tail}": lambda g, tail=tail: any(
            s.pixels > 16 and s.pixels % 16 == tail for s in g.shapes.values()
        )  # type: ignore[misc]
        for tail in range(16)
    },
}


def draw_all(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """What the strategy draws; as campaigns do one in a run, behind the simplest: others would be variations of it."""
    drawn = []

    def collect(value: Any) -> None:
        last.append(value)

    for run in range(count):
        last: list[Any] = []
        few = settings(max_examples=2, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        hypothesis.seed(run)(few(given(strategy)(collect)))()
        drawn.append(last[-1])
    return drawn


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    return draw_all(draw.graphs(), DRAWS)


def test_every_situation_is_reached(graphs: list[Graph]) -> None:
    assert len(graphs) == DRAWS
    missed = [name for name, reached in SITUATIONS.items() if not any(map(reached, graphs))]
    assert not missed


def test_work_is_bounded(graphs: list[Graph]) -> None:
    for graph in graphs:
        work = sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers)
        assert work <= draw.GRAPH_WORK
        # A convolution may enlarge the image by padding, and so a tensor beyond the bound by some rows.
        assert max(shape.elements for shape in graph.shapes.values()) <= 2 * draw.TENSOR_ELEMENTS
        assert sum(parameter.elements for parameter in graph.parameters) <= 11 * draw.WEIGHTS


@pytest.mark.parametrize("layers", [1, 2])
def test_graphs_have_no_more_layers_than_asked_for(layers: int) -> None:
    cases = [case for turn in range(6) for case in draw_all(draw.cases(turn=turn, layers=layers), 30)]
    counts = Counter(len(parse(case.graph).layers) for case in cases)
    assert max(counts) <= layers
    assert counts[layers] > 30  # as many as may be, mostly


def test_cases_vary_the_build_and_the_data() -> None:
    cases = draw_all(draw.cases(), 200)
    assert {case.optimisation for case in cases} == {"-O0", "-Og", "-O2", "-O3"}
    assert {case.compiler for case in cases} == {"", "gcc", "clang"}
    assert len({case.data for case in cases}) > 20  # Hypothesis likes to repeat numbers


@pytest.mark.parametrize(
    "name",
    ["Softmax", "depthwise", "dilation", "diamond", "concat of concat", "several inputs", "x + x"],
)
def test_failures_shrink_to_minimal_graphs(name: str) -> None:
    """As in a campaign: of what Hypothesis draws first the campaign's own reducer takes all away that it can."""
    drawn = hypothesis.find(
        draw.graphs(),
        SITUATIONS[name],
        settings=settings(
            max_examples=1000,
            database=None,
            derandomize=True,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    graph = with_plain_names(reduce_graph(drawn, SITUATIONS[name]))
    least = {"diamond": 2, "concat of concat": 2}.get(name, 1)
    assert len(graph.layers) == least, graph.source.text
    assert len(graph.inputs) <= (2 if name == "several inputs" else 1)
    assert max(shape.elements for shape in graph.shapes.values()) <= 9
    assert graph.config == Config()
    assert "t0" in graph.shapes


def test_poolings_shrink_to_the_least_numbers() -> None:
    """Those in the name of its Kind, too: it becomes one that has them as fields."""
    for kind, fields in (("Max2x2Stride2", "PaddingH=1"), ("Avg", "WindowH=9 WindowW=5 StrideH=3 CountPadding=1")):
        graph = parse(f"""
            Config
            Input ToTensor=a Channels=3 Height=12 Width=9
            Pooling FromTensor=a ToTensor=b Kind={kind} {fields}
            Output FromTensor=b
        """)
        (layer,) = reduce_graph(graph, SITUATIONS["Pooling"]).layers
        sides = (layer.padding_top, layer.padding_bottom, layer.padding_left, layer.padding_right)  # type: ignore[union-attr]
        assert sum(sides) <= 1  # a window of two rows may be all that keeps a row of padding
        assert (layer.window_h, layer.window_w) == (1, 1)  # type: ignore[union-attr]


def test_parts_with_nothing_in_common_are_joined_to_one_layer() -> None:
    graph = parse("""
        Config
        Input ToTensor=a Channels=3 Height=2 Width=1
        Input ToTensor=b Channels=1 Height=4 Width=1
        Softmax FromTensor=a ToTensor=c
        Activation FromTensor=b ToTensor=d Kind=ReLU
        Output FromTensor=c
        Output FromTensor=d
    """)
    graph = reduce_graph(graph, SITUATIONS["several inputs"])
    (layer,) = graph.layers
    assert isinstance(layer, Add)
    assert set(tensors_read(layer)) == {"a", "b"}
    assert graph.shapes["a"] == (1, 1, 1)


def test_every_pass_has_something_to_do(graphs: list[Graph]) -> None:
    """What the passes did to the graphs, in the words of `nn512 explain`."""
    notes = Counter(
        (effect.name, " ".join(note.rstrip("s").split()[1:3]))
        for graph in graphs
        for effect in effects(list(stages(graph)))
        for note in effect.notes or (("1 rewritten",) if effect.before != effect.after else ())
    )
    assert {name for name, _ in notes} == set(PASSES)
    for name, note in (
        ("dedup", "node gone"),
        ("skip_unread", "tensor without"),
        ("skip_unread", "tensor copied"),
        ("fold_batchnorm", "batch norm"),
        ("pool_first", "average taken"),
        ("fuse_elementwise", "step done"),
        ("drop_concat", "concatenation written"),
        ("drop_concat", "copy that"),
    ):
        assert notes[name, note] > 5, notes


def test_cases_are_for_either_platform() -> None:
    """A kernel that one alone has is never forced in vain."""
    drawn = [Options.from_dict(dict(case.options)) for case in draw_all(draw.cases(), 200)]
    drawn += [Options.from_dict(dict(case.options)) for case in draw_all(draw.cases(kernels=("direct-bf16",)), 32)]
    assert {options.platform for options in drawn} == {"", "AVX512BFloat16"}
    forced = [options for options in drawn if options.force == (("", "direct-bf16"),)]
    assert len(forced) >= 32
    assert all(options.platform == "AVX512BFloat16" for options in forced)
    assert any(options.platform and options not in forced for options in drawn)


def test_cases_leave_out_passes() -> None:
    drawn = [Options.from_dict(dict(case.options)) for case in draw_all(draw.cases(), 200)]
    assert {name for options in drawn for name in options.without_passes} == set(PASSES)
    assert sum(not options.without_passes for options in drawn) > 50
    assert any(set(options.without_passes) == set(PASSES) for options in drawn)
