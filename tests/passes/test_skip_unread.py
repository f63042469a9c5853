"""Pixels that nobody reads are not computed, and all others are."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import compile as compile_graph
from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Input,
    Node,
    Output,
    Pooling,
    Softmax,
    build,
    example,
    example_names,
    parse,
)
from nn512.graph.nodes import MAX_GEOMETRY
from nn512.ir import ConvOp, ElementwiseOp, Program, SampleOp, format_program
from nn512.ir.regraph import to_graph
from nn512.options import Options
from nn512.passes.drop_concat import drop_concat
from nn512.passes.effects import effects
from nn512.passes.fuse_elementwise import fuse_elementwise
from nn512.passes.lower import lower
from nn512.passes.pipeline import optimize, stages
from nn512.passes.pixels import every
from nn512.passes.skip_unread import skip_unread


def program(*nodes: Node, height: int = 7, width: int = 7) -> Program:
    """Lowered: an input x of 8 channels, these nodes."""
    return lower(build([Config(), Input("x", 8, height, width), *nodes]))


def conv(
    source: str, to: str, taps: int = 1, *, stride: tuple[int, int] = (1, 1), dilation: int = 1, groups: int = 1
) -> Conv:
    """A convolution of 8 to 8 channels that keeps the size of the image at stride 1."""
    padding = dilation * (taps - 1) // 2
    return Conv(source, to, 8, taps, taps, *stride, padding, padding, dilation, dilation, groups)


def half(source: str, to: str) -> Conv:
    return conv(source, to, stride=(2, 2))


def relu(source: str, to: str) -> Activation:
    return Activation(source, to, "ReLU")


def strides(done: Program) -> dict[str, tuple[int, int]]:
    """The strides of all convolutions, by result."""
    branches = (branch for op in done.ops if isinstance(op, ConvOp) for branch in op.branches)
    return {b.writes: (b.node.stride_h, b.node.stride_w) for b in branches}


def sampled(done: Program) -> list[str]:
    """The tensors of which every second row and column is copied."""
    return [op.source for op in done.ops if isinstance(op, SampleOp)]


def unchanged(*nodes: Node, height: int = 7, width: int = 7) -> bool:
    before = program(*nodes, height=height, width=width)
    return skip_unread(before) is before


class TestConvolutions:
    def test_the_stride_moves_to_the_producer(self) -> None:
        done = skip_unread(program(conv("x", "a", 3), half("a", "y"), Output("y")))
        assert strides(done) == {"a": (2, 2), "y": (1, 1)}
        assert done.thinned == {"a": (2, 2)}
        assert done.shapes["a"] == done.shapes["y"] == (8, 4, 4)
        assert done.shapes["x"] == (8, 7, 7)

    def test_all_readers_get_stride_1(self) -> None:
        nodes: list[Node] = [conv("x", "a", 3), half("a", "b"), half("a", "c"), Output("b"), Output("c")]
        assert strides(skip_unread(program(*nodes))) == {"a": (2, 2), "b": (1, 1), "c": (1, 1)}

    def test_a_chain_takes_the_product_to_its_beginning(self) -> None:
        chain: list[Node] = [half("x", "a"), conv("a", "b"), half("b", "c"), half("c", "y"), Output("y")]
        done = skip_unread(program(*chain, height=23))
        assert strides(done) == {"a": (8, 8), "b": (1, 1), "c": (1, 1), "y": (1, 1)}
        assert done.thinned == {"a": (4, 4), "b": (4, 4), "c": (2, 2)}
        assert [done.shapes[name].height for name in "abc"] == [3, 3, 3]

    @pytest.mark.parametrize("stride", [(2, 1), (1, 2), (3, 3), (2, 3), (1, 5)])
    def test_any_stride(self, stride: tuple[int, int]) -> None:
        done = skip_unread(program(conv("x", "a", 3), relu("a", "b"), conv("b", "y", stride=stride), Output("y")))
        assert strides(done) == {"a": stride, "y": (1, 1)}
        assert done.shapes["a"] == done.shapes["b"] == done.graph.shapes["y"]

    @pytest.mark.parametrize("height", range(1, 8))
    @pytest.mark.parametrize("stride", [(2, 2), (3, 2), (5, 3)])
    def test_sizes_that_the_stride_does_not_divide(self, height: int, stride: tuple[int, int]) -> None:
        nodes: list[Node] = [conv("x", "a", 3, stride=(2, 1)), conv("a", "y", stride=stride), Output("y")]
        done = skip_unread(program(*nodes, height=height, width=8 - height))
        assert done.shapes["a"] == done.shapes["y"] == done.graph.shapes["y"]

    def test_groups_and_dilation(self) -> None:
        chain: list[Node] = [conv("x", "a", 5, groups=8), conv("a", "b", 3, dilation=2, groups=2)]
        done = skip_unread(program(*chain, conv("b", "y", stride=(2, 2), groups=4), Output("y")))
        assert strides(done) == {"a": (1, 1), "b": (2, 2), "y": (1, 1)}
        node = next(op.branches[0].node for op in done.ops if isinstance(op, ConvOp) and op.source == "a")
        assert (node.padding_h, node.dilation_h, node.groups) == (2, 2, 2)

    def test_strides_beyond_those_of_the_language_are_not_made(self) -> None:
        nodes: list[Node] = [conv("x", "a", stride=(MAX_GEOMETRY, 1)), conv("a", "y", stride=(2, 1)), Output("y")]
        assert unchanged(*nodes, height=2 * MAX_GEOMETRY + 1, width=1)
        nodes[0] = conv("x", "a", stride=(MAX_GEOMETRY // 2, 1))
        assert not unchanged(*nodes, height=2 * MAX_GEOMETRY + 1, width=1)


class TestElementwise:
    def test_a_shortcut_that_others_need_whole_is_sampled(self) -> None:
        block: list[Node] = [conv("x", "a", 3), BatchNorm("a", "b"), Add("b", "x", "c"), relu("c", "d")]
        done = skip_unread(program(*block, half("d", "y"), half("d", "z"), Output("y"), Output("z")))
        assert strides(done) == {"a": (2, 2), "y": (1, 1), "z": (1, 1)}
        assert sampled(done) == ["x"]
        assert done.thinned == dict.fromkeys("abcd", (2, 2))
        assert done.ops[-6].tensors_read == ("b", "x_sampled")
        assert done.shapes["x_sampled"] == done.shapes["d"] == (8, 4, 4)
        assert "_" not in "".join(done.graph.shapes), "the language has no names like that of the copy"

    def test_a_block_of_three_convolutions(self) -> None:
        block: list[Node] = [
            conv("x", "a"),
            relu("a", "b"),
            conv("b", "c", 3),
            relu("c", "d"),
            conv("d", "e"),
            Add("x", "e", "f"),
        ]
        done = skip_unread(program(*block, half("f", "y"), Output("y")))
        assert strides(done) == {"a": (1, 1), "c": (2, 2), "e": (1, 1), "y": (1, 1)}

    def test_a_projection_computes_less_too(self) -> None:
        block: list[Node] = [conv("x", "a", 3), conv("x", "b"), Add("a", "b", "c"), half("c", "y"), Output("y")]
        done = skip_unread(program(*block))
        assert strides(done) == {"a": (2, 2), "b": (2, 2), "y": (1, 1)}
        assert sampled(done) == []

    def test_one_sample_serves_all(self) -> None:
        sums: list[Node] = [conv("x", "a", 3), Add("x", "a", "b"), Add("b", "x", "c"), half("c", "y"), Output("y")]
        assert sampled(skip_unread(program(*sums))) == ["x"]

    def test_what_several_thinned_ones_read_is_thinned(self) -> None:
        block: list[Node] = [
            conv("x", "a", 3),
            relu("a", "b"),
            Add("a", "b", "c"),
            Add("c", "c", "d"),
            half("d", "y"),
            Output("y"),
        ]
        done = skip_unread(program(*block))
        assert strides(done) == {"a": (2, 2), "y": (1, 1)}
        assert sampled(done) == []

    @pytest.mark.parametrize("stride", [(2, 2), (3, 3)])
    def test_a_convolution_that_is_thinned_reads_less(self, stride: tuple[int, int]) -> None:
        block: list[Node] = [conv("x", "a", 3), conv("a", "b"), Add("a", "b", "c"), conv("c", "y", stride=stride)]
        done = skip_unread(program(*block, Output("y")))
        assert strides(done) == {"a": stride, "b": (1, 1), "y": (1, 1)}
        assert sampled(done) == []

    def test_a_tensor_of_which_no_more_than_a_sample_would_be_read_is_thinned(self) -> None:
        nodes: list[Node] = [conv("x", "s", 3), conv("x", "a", 3), conv("x", "b", 3)]
        nodes += [Add("s", "a", "c"), half("c", "y"), Add("s", "b", "d"), half("d", "z"), Output("y"), Output("z")]
        done = skip_unread(program(*nodes))
        assert strides(done) == {"s": (2, 2), "a": (2, 2), "b": (2, 2), "y": (1, 1), "z": (1, 1)}
        assert sampled(done) == []

    def test_many_ways_from_one_tensor_to_another_take_no_longer(self) -> None:
        diamonds: list[Node] = [conv("x", "t0", 3)]
        for number in range(64):
            diamonds += [relu(f"t{number}", f"r{number}"), Add(f"t{number}", f"r{number}", f"t{number + 1}")]
        done = skip_unread(program(*diamonds, half("t64", "y"), Output("y")))
        assert len(done.thinned) == 1 + 2 * 64

    def test_a_source_that_has_all_pixels_anyway_is_sampled(self) -> None:
        for whole in (Softmax("x", "b"), Concat("x", "x", "b"), Pooling("x", "b", "Max3x3Stride2", 1, 1)):
            channels, stride = (16 if isinstance(whole, Concat) else 8), (2 if isinstance(whole, Pooling) else 1)
            first = Conv("x", "a", channels, 3, 3, stride, stride, 1, 1)
            done = skip_unread(program(first, whole, Add("a", "b", "c"), half("c", "y"), Output("y")))
            assert sampled(done) == ["b"]
            assert strides(done)["a"] == (2 * stride, 2 * stride)

    @pytest.mark.parametrize("stride", [(3, 3), (2, 1), (1, 2)])
    def test_only_every_second_row_and_column_can_be_sampled(self, stride: tuple[int, int]) -> None:
        last = conv("b", "y", stride=stride)
        assert unchanged(conv("x", "a", 3), Add("a", "x", "b"), last, Output("y"))
        projected = program(conv("x", "a", 3), conv("x", "c"), Add("a", "c", "b"), last, Output("y"))
        assert strides(skip_unread(projected)) == {"a": stride, "c": stride, "y": (1, 1)}


@pytest.mark.parametrize(
    "nodes",
    [
        [half("a", "y"), Output("a")],
        [half("a", "y"), Softmax("a", "b"), Output("b")],
        [half("a", "y"), conv("a", "b"), Output("b")],
        [half("a", "y"), relu("a", "b"), Output("b")],
        [half("a", "y"), Add("a", "a", "b"), Output("b")],
        [half("a", "y"), Add("x", "a", "b"), Output("b")],
        [half("a", "y"), Concat("a", "x", "b"), Output("b")],
        [half("a", "y"), FullyConnected("a", "b", 3), Output("b")],
        [half("a", "y"), conv("a", "b", stride=(3, 3)), Output("b")],
        [half("a", "y"), conv("a", "b", stride=(2, 1)), Output("b")],
        [half("a", "y"), conv("a", "b", 3, stride=(2, 2)), Output("b")],
        [half("a", "y"), Pooling("a", "b", "Max2x2Stride2"), Output("b")],
        [Conv("a", "y", 8, 1, 1, 2, 2, 1, 0)],
        [Conv("a", "y", 8, 1, 1, 2, 2, 0, 1)],
        [Conv("a", "y", 8, 1, 2, 2, 2)],
        [Conv("a", "y", 8, 2, 1, 2, 2)],
        [conv("a", "y")],
    ],
    ids=[
        *("output", "softmax", "stride 1", "ReLU", "sum with itself", "sum", "concat", "fully connected"),
        *("another stride", "stride in one direction", "3x3", "pooling"),
        *("padding of rows", "padding of columns", "1x2", "2x1", "no stride at all"),
    ],
)
def test_a_reader_that_needs_more_keeps_it_whole(nodes: list[Node]) -> None:
    assert unchanged(conv("x", "a", 3), *nodes, Output("y"))


@pytest.mark.parametrize(
    "nodes",
    [
        [half("x", "y")],
        [relu("x", "a"), half("a", "y")],
        [Pooling("x", "a", "Avg3x3Stride2"), Add("a", "a", "b"), half("b", "y")],
        [conv("x", "a", 3), Softmax("a", "b"), relu("b", "c"), half("c", "y")],
        [conv("x", "a", 7), Output("a"), relu("a", "b"), half("b", "y")],
    ],
    ids=["input", "ReLU of an input", "pooling", "softmax between", "output between"],
)
def test_where_no_convolution_gets_cheaper_all_stays(nodes: list[Node]) -> None:
    assert unchanged(*nodes, Output("y"))


def test_a_single_pixel_stays() -> None:
    assert unchanged(conv("x", "a", 3), half("a", "y"), Output("y"), height=1, width=1)
    assert not unchanged(conv("x", "a", 3), half("a", "y"), Output("y"), height=1, width=2)


def test_parts_of_a_whole_stay() -> None:
    nodes: list[Node] = [
        conv("x", "a", 3),
        Concat("a", "x", "b"),
        half("b", "y"),
        half("a", "z"),
        Output("y"),
        Output("z"),
    ]
    done = drop_concat(program(*nodes))
    assert skip_unread(done) is done
    nodes = [Concat("x", "x", "b"), Conv("x", "a", 16, 1, 1), Add("a", "b", "c"), half("c", "y"), Output("y")]
    assert sampled(skip_unread(program(*nodes))) == ["b"]
    done = drop_concat(program(*nodes))
    assert skip_unread(done) is done


def test_what_is_fused_already_stays() -> None:
    """The pass runs before all others that put operations together."""
    chains: list[list[Node]] = [
        [conv("x", "a"), BatchNorm("a", "b"), half("b", "y"), Output("y")],
        [conv("x", "a"), relu("a", "b"), half("b", "y"), Output("y")],
        [relu("x", "a"), conv("a", "b"), half("b", "y"), Output("y")],
    ]
    for nodes in chains:
        done = optimize(program(*nodes).graph, {"skip_unread"})
        assert not unchanged(*nodes)
        assert skip_unread(done) is done


def test_a_second_run_finds_nothing() -> None:
    block: list[Node] = [
        half("x", "a"),
        conv("a", "b", 3),
        relu("b", "c"),
        Add("c", "a", "d"),
        half("d", "y"),
        Output("y"),
    ]
    done = skip_unread(program(*block))
    assert done.thinned
    assert skip_unread(done) is done


class TestExamples:
    @pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152"])
    def test_the_last_blocks_of_three_stages(self, name: str) -> None:
        """Of the 3x3 and the last 1x1 of each, which take 115.605504 and 51.380224 MMAC, a quarter is left."""
        (_, whole), (_, done) = [(n, p) for n, p in stages(parse(example(name))) if n in {"dedup", "skip_unread"}]
        assert len(sampled(done)) == 3
        (effect,) = effects([("dedup", whole), ("skip_unread", done)])
        assert effect.notes == (
            "21 tensors without pixels that nobody reads",
            "3 tensors copied to smaller ones",
            f"{3 * 0.75 * (115.605504 + 51.380224):.2f} MMAC less",
        )

    def test_resnet50_as_it_is_emitted(self) -> None:
        text = example("ResNet50")
        mmac = [
            sum(layer.mmac for layer in compile_graph(text, options).plan.layers)
            for options in (Options(), Options(without_passes=("skip_unread",)))
        ]
        assert mmac == pytest.approx([3482.255464, 3857.973352])

    def test_what_begins_a_stage_is_still_merged(self) -> None:
        convs = [op for op in optimize(parse(example("ResNet50"))).ops if isinstance(op, ConvOp)]
        pairs = [op.branches[0].node for op in convs if len(op.branches) == 2]
        assert [(node.filter_h, node.stride_h) for node in pairs] == [(1, 1)] * 4

    @pytest.mark.parametrize("name", [name for name in example_names() if not name.startswith("ResNet")])
    def test_others_have_no_such_place(self, name: str) -> None:
        before = lower(parse(example(name)))
        assert skip_unread(before) is before


BLOCK = """
Config Prefix=Net
Input ToTensor=image Channels=20 Height=7 Width=5
Conv FromTensor=image ToTensor=x ToChannels=24 FilterH=1 FilterW=1
Conv FromTensor=x ToTensor=a ToChannels=24 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Softmax FromTensor=image ToTensor=soft
BatchNorm FromTensor=a ToTensor=b
Add FromTensor1=b FromTensor2=x ToTensor=c
Activation FromTensor=c ToTensor=d Kind=ReLU
Conv FromTensor=d ToTensor=y ToChannels=16 FilterH=1 FilterW=1 StrideH=2 StrideW=2
Conv FromTensor=d ToTensor=z ToChannels=33 FilterH=1 FilterW=1 StrideH=2 StrideW=2
Output FromTensor=y
Output FromTensor=z
Output FromTensor=soft
"""

OTHERS = """
Config Prefix=Net
Input ToTensor=x Channels=20 Height=7 Width=6
Conv FromTensor=x ToTensor=a ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=20
Softmax FromTensor=x ToTensor=soft
Activation FromTensor=soft ToTensor=leaky Kind=ReLU Param=-0.5
Pooling FromTensor=leaky ToTensor=pooled Kind=Avg2x2Stride2
Add FromTensor1=a FromTensor2=leaky ToTensor=sum
BatchNorm FromTensor=sum ToTensor=norm
Conv FromTensor=norm ToTensor=y ToChannels=17 FilterH=1 FilterW=1 StrideH=2 StrideW=2
Conv FromTensor=x ToTensor=b ToChannels=48 FilterH=5 FilterW=3 PaddingH=1 DilationW=2 StrideW=1
Conv FromTensor=b ToTensor=c ToChannels=18 FilterH=1 FilterW=1 StrideH=3 Groups=2
Conv FromTensor=c ToTensor=z ToChannels=16 FilterH=1 FilterW=1 StrideH=1 StrideW=3
Output FromTensor=y
Output FromTensor=z
Output FromTensor=pooled
"""


def check(text: str, options: Options) -> Report:
    data = tuple(DataSeed(regime, 1) for regime in ("exact", "gaussian", "nonfinite"))
    return check_case(Case(text, options.to_dict(), "-Og", data))


@pytest.mark.parametrize("passes", [(), ("fuse_elementwise",), ("fold_batchnorm", "merge_convs", "schedule")])
@pytest.mark.parametrize("text", [BLOCK, OTHERS], ids=["block", "others"])
def test_emitted_code_computes_the_same(text: str, passes: tuple[str, ...], runs_here: str) -> None:
    assert runs_here
    report = check(text, Options(without_passes=passes))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    edges = {edge for layer in report.layers if layer.kernel == "sampling" for edge in layer.edge_classes}
    assert edges
    assert edges <= {"channel tail 8", "channel tail 4"}


def test_a_sample_may_have_steps_before_and_after_it() -> None:
    done = optimize(parse(OTHERS))
    (sample,) = [op for op in done.ops if isinstance(op, SampleOp)]
    assert [step.node.to_tensor for step in sample.prologue] == ["leaky"]
    assert [step.node.to_tensor for step in sample.epilogue] == ["sum"]
    assert {"sum", "sum_samples"} <= {node.to_tensor for node in to_graph(done).layers}
    assert not any(isinstance(op, ElementwiseOp) for op in fuse_elementwise(done).ops)


def test_layers_say_which_pixels_they_have() -> None:
    emitted = compile_graph(BLOCK)
    layers = {layer.name: layer for layer in emitted.plan.layers}
    said = {name: layer.pixels for name, layer in layers.items() if layer.pixels}
    assert said == {
        "d": "every second row and column only: nothing reads the others",
        "y": "stride 2 in the graph: the pixels between are not there to be read",
    }
    assert layers["x_sampled"].reason == "what reads this needs no more of x, which others need whole"
    assert layers["x_sampled"].covers == ()
    assert layers["x_sampled"].nodes == ()
    comments = Counter(re.findall(r"^ \* ((?:Every|Stride) .*\.) \*/$", emitted.source, re.MULTILINE))
    assert comments == {
        "Every second row and column, a vector of 16 channels at a time.": 1,
        "Every second row and column only: nothing reads the others.": 1,
        "Stride 2 in the graph: the pixels between are not there to be read.": 1,
    }
    assert layers["d"].mmac == pytest.approx(24 * 24 * 9 * 4 * 3 / 1e6)


def test_the_program_is_printed() -> None:
    printed = format_program(skip_unread(lower(parse(BLOCK))))
    assert "x_sampled 24x4x3 = x -> every second row and column\n" in printed
    assert "c 24x4x3         = b -> Add c (+ x_sampled)\n" in printed


@pytest.mark.parametrize(
    ("stride", "words"),
    [
        ((2, 2), "every second row and column"),
        ((3, 1), "every third row"),
        ((1, 4), "every 4th column"),
        ((21, 11), "every 21st row of every 11th column"),
        ((22, 23), "every 22nd row of every 23rd column"),
    ],
)
def test_words(stride: tuple[int, int], words: str) -> None:
    assert every(stride) == words
