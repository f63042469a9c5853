"""What is legal: oddities, order, defaults, and the shapes that come out."""

from __future__ import annotations

import dataclasses

import pytest

from nn512.errors import UsageError
from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    GraphError,
    Input,
    Node,
    Output,
    Pooling,
    Shape,
    Softmax,
    build,
    format_graph,
    parse,
)

HEAD = "Config\nInput ToTensor=x Channels=4 Height=8 Width=6\n"


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Add FromTensor1=x FromTensor2=x ToTensor=y", "4x8x6"),
        ("Concat FromTensor1=x FromTensor2=x ToTensor=y", "8x8x6"),
        ("Concat FromTensor1=x FromTensor2=x ToTensor=a\nConcat FromTensor1=a FromTensor2=x ToTensor=y", "12x8x6"),
        ("Concat FromTensor1=x FromTensor2=x ToTensor=a\nConcat FromTensor1=a FromTensor2=a ToTensor=y", "16x8x6"),
        ("Input ToTensor=w Channels=3 Height=8 Width=6\nConcat FromTensor1=w FromTensor2=x ToTensor=y", "7x8x6"),
        ("Concat FromTensor1=x FromTensor2=x FromTensor3=x FromTensor4=x ToTensor=y", "16x8x6"),
        ("Concat FromTensor1=x FromTensor2=x FromTensor3=x ToTensor=y Axis=Height", "4x24x6"),
        ("Concat FromTensor1=x FromTensor2=x ToTensor=y Axis=Width", "4x8x12"),
        ("Slice FromTensor=x ToTensor=y From=3 Count=1", "1x8x6"),
        ("Slice FromTensor=x ToTensor=y From=1 Count=4 Step=2 Axis=Height", "4x4x6"),
        ("Slice FromTensor=x ToTensor=y From=0 Count=6 Axis=Width", "4x8x6"),
        ("Shuffle FromTensor=x ToTensor=y Groups=2", "4x8x6"),
        ("Softmax FromTensor=x ToTensor=y\nSoftmax FromTensor=y ToTensor=a\nOutput FromTensor=a", "4x8x6"),
        (
            "Softmax FromTensor=x ToTensor=a\nOutput FromTensor=a\nConcat FromTensor1=a FromTensor2=x ToTensor=y",
            "8x8x6",
        ),
        ("Softmax FromTensor=x ToTensor=a\nAdd FromTensor1=x FromTensor2=a ToTensor=y", "4x8x6"),
        ("Conv FromTensor=x ToTensor=y ToChannels=2 FilterH=1 FilterW=3 PaddingH=5 PaddingW=7", "2x18x18"),
        ("Conv FromTensor=x ToTensor=y ToChannels=2 FilterH=3 FilterW=2 StrideW=3 DilationH=3 Groups=2", "2x2x2"),
        ("Conv FromTensor=x ToTensor=y ToChannels=2 FilterH=3 FilterW=2 StrideH=2 DilationW=5", "2x3x1"),
        ("Conv FromTensor=x ToTensor=y ToChannels=1 FilterH=8 FilterW=6 StrideH=65536", "1x1x1"),
        ("FullyConnected FromTensor=x ToTensor=y ToChannels=9", "9x1x1"),
        ("LayerNorm FromTensor=x ToTensor=y", "4x8x6"),
        ("LRN FromTensor=x ToTensor=y Size=33 Alpha=1 Beta=8 Bias=0.5", "4x8x6"),
        ("RMSNorm FromTensor=x ToTensor=y Epsilon=0", "4x8x6"),
        ("Pooling FromTensor=x ToTensor=y Kind=MaxGlobal", "4x1x1"),
        ("Pooling FromTensor=x ToTensor=y Kind=Avg2x2Stride2 PaddingH=1", "4x5x3"),
        ("Pooling FromTensor=x ToTensor=y Kind=Max3x3Stride2 PaddingH=2 PaddingW=1", "4x5x3"),
    ],
)
def test_legal(text: str, shape: str) -> None:
    graph = parse(f"{HEAD}{text}\nOutput FromTensor=y")
    assert str(graph.shapes["y"]) == shape


def test_any_white_space_and_comments() -> None:
    text = (
        "\ufeffConfig\tPrefix=A#comment Config\r\n Input ToTensor=x\v\fChannels=1\r\n#é \udcff\x00\r\n\r\n"
        "Height=2 Width=3 Softmax # FromTensor=z\n FromTensor=x ToTensor=y\rOutput FromTensor=y##"
    )
    graph = parse(text)
    assert graph.shapes == {"x": Shape(1, 2, 3), "y": Shape(1, 2, 3)}
    assert [graph.line_of(node) for node in (*graph.inputs, *graph.layers, *graph.outputs)] == [2, 5, 7]


def test_fields_in_any_order_and_defaults() -> None:
    graph = parse(HEAD + "Conv FilterW=2 ToTensor=y FilterH=1 ToChannels=3 FromTensor=x\nOutput FromTensor=y")
    assert graph.config == Config("NN512", "AVX512Float32", 32 << 10, 960 << 10, 1408 << 10)
    assert graph.layers == (Conv("x", "y", 3, 1, 2, 1, 1, 0, 0, 1, 1, 1),)


def test_a_file_in_the_original_form() -> None:
    graph = parse(
        "Config Prefix=Net Platform=AVX512Float32 L1DataCachePerThread=32KiB L2CachePerThreadExL1=960KiB "
        "L3CachePerThreadExL1L2=1408KiB\n"
        "Input ToTensor=in Channels=64 Height=56 Width=56\n"
        "BatchNorm FromTensor=in ToTensor=bn Epsilon=0.00001\n"
        "Activation FromTensor=bn ToTensor=act Kind=ReLU Param=0.1\n"
        "Pooling FromTensor=act ToTensor=out Kind=Max3x3Stride2 PaddingH=1 PaddingW=1\n"
        "Output FromTensor=out\n"
    )
    assert graph.config.prefix == "Net"
    assert graph.layers == (
        BatchNorm("in", "bn", 0.00001),
        Activation("bn", "act", "ReLU", 0.1),
        Pooling("act", "out", "Max3x3Stride2", 1, 1),
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        *((f"48{suffix}", 48 << 10) for suffix in ("k", "K", "KB", "KiB", "kb", "kB", "kib", "KIB")),
        *((f"2{suffix}", 2 << 20) for suffix in ("m", "M", "MB", "MiB", "mb", "Mib", "mIB")),
        ("1048576MiB", 1 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    graph = parse(f"Config L2CachePerThreadExL1={text} {HEAD[7:]} Softmax FromTensor=x ToTensor=y Output FromTensor=y")
    assert graph.config.l2_cache_per_thread == size


def test_order_of_layers_follows_the_file_where_it_can() -> None:
    text = (
        "Output FromTensor=d Softmax FromTensor=c ToTensor=d Softmax FromTensor=x ToTensor=b Softmax FromTensor=x "
        "ToTensor=a Add FromTensor1=a FromTensor2=b ToTensor=c"
    )
    assert [layer.to_tensor for layer in parse(HEAD + text).layers] == ["b", "a", "c", "d"]


def test_parameters_and_arguments_are_sorted_bytewise() -> None:
    graph = parse(
        HEAD + "Conv FromTensor=x ToTensor=b ToChannels=2 FilterH=3 FilterW=1 Groups=2\n"
        "BatchNorm FromTensor=b ToTensor=B\nOutput FromTensor=B Output FromTensor=b"
    )
    assert [(p.name, p.shape) for p in graph.parameters] == [
        ("BMeans", (2,)),
        ("BScales", (2,)),
        ("BShifts", (2,)),
        ("BVariances", (2,)),
        ("bBiases", (2,)),
        ("bWeights", (2, 2, 3, 1)),
    ]
    assert graph.arguments == (Output("B"), Output("b"), Input("x", 4, 8, 6))


def test_spans_are_those_of_the_values() -> None:
    text = HEAD + "Softmax FromTensor=x ToTensor=y Output FromTensor=y"
    (layer,) = parse(text).layers
    assert layer.spans is not None
    assert {name: text[s.start : s.end] for name, s in layer.spans.fields.items()} == {
        "FromTensor": "x",
        "ToTensor": "y",
    }
    assert text[layer.spans.kind.start : layer.spans.kind.end] == "Softmax"


def test_graphs_are_equal_by_value() -> None:
    text = HEAD + "Softmax FromTensor=x ToTensor=y Output FromTensor=y"
    assert parse(text).layers == parse("#\n" + text).layers
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse(text).config.prefix = "A"  # type: ignore[misc]


TINY: tuple[Node, ...] = (
    Config("Tiny"),
    Input("x", 1, 2, 3),
    Add("x", "x", "a"),
    Concat("a", "x", "c"),
    Output("c"),
)


def test_build() -> None:
    graph = build(TINY)
    assert (graph.config, *graph.inputs, *graph.layers, *graph.outputs) == TINY
    assert graph.source.text == format_graph(TINY)
    assert graph.line_of(graph.outputs[0]) == 5


def test_build_refuses_what_no_text_can_say() -> None:
    with pytest.raises(GraphError, match="one of"):
        build([*TINY[:-1], Pooling("c", "d", "Median"), Output("d")])
    with pytest.raises(UsageError, match="cannot express"):
        build([*TINY[:2], Softmax("x", "y Output FromTensor=y")])


def test_lines_of_any_length_and_number() -> None:
    text = (
        "\n" * 10_000 + HEAD + " " * 10_000 + "Softmax FromTensor=x ToTensor=y" + "\n" * 5_000 + "Output FromTensor=z"
    )
    with pytest.raises(GraphError) as caught:
        parse(text)
    places = [(d.line, d.column, d.source_line.strip()) for d in caught.value.diagnostics]
    assert places == [(10_003, 10_001, "Softmax FromTensor=x ToTensor=y"), (15_003, 19, "Output FromTensor=z")]
