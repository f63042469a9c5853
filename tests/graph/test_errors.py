"""Every mistake a graph text can hold, with its place: marks in the texts below are where carets must stand."""

from __future__ import annotations

import re

import pytest

from nn512.graph import GraphError, parse
from nn512.graph.suggest import close_match

HEAD = "Config\nInput ToTensor=x Channels=4 Height=8 Width=6\n"
TAIL = "\nOutput FromTensor=y\n"
CONV = "Conv FromTensor=x ToTensor=y ToChannels=4 FilterH=3 FilterW=3"


def mistakes(marked: str) -> tuple[GraphError, list[tuple[int, int]]]:
    """The error of a text in which `«...»` marks what every caret must underline, and the marked spans."""
    spans = []
    text = ""
    for piece in re.split("(«[^»]*»)", marked):
        start = len(text)
        text += piece.strip("«»")
        if piece.startswith("«"):
            spans.append((start, len(text)))
    with pytest.raises(GraphError) as caught:
        parse(text, "net.graph")
    return caught.value, spans


def check(marked: str, *messages: str) -> None:
    error, spans = mistakes(marked)
    assert [d.message for d in error.diagnostics] == list(messages)
    assert [(d.span.start, d.span.end) for d in error.diagnostics] == spans
    for diagnostic in error.diagnostics:
        before = diagnostic.source.text[: diagnostic.span.start]
        assert diagnostic.line == before.count("\n") + 1
        assert diagnostic.column == len(before.rpartition("\n")[2]) + 1
        assert diagnostic.source_line == diagnostic.source.text.split("\n")[diagnostic.line - 1]


def layers(text: str, *messages: str) -> None:
    """A graph with input x (4x8x6) and output y around the marked layers."""
    check(HEAD + text + TAIL, *messages)


def test_rendering() -> None:
    error, _ = mistakes(HEAD + "Conv\tFromTensor=x ToTensor=y ToChannels=«many» FilterH=1 FilterW=1" + TAIL)
    assert str(error) == (
        "net.graph:3:41: error: ToChannels must be a decimal integer of at least 1, not 'many'\n"
        "  Conv\tFromTensor=x ToTensor=y ToChannels=many FilterH=1 FilterW=1\n"
        "      \t                                   ^~~~"
    )
    assert error.exit_code == 2


def test_rendering_cuts_long_lines() -> None:
    error, _ = mistakes(HEAD.replace("\n", " ") + CONV + " Grups=2" + TAIL.replace("\n", " ") + "#" * 300)
    first, line, caret = str(error).splitlines()
    assert first == "net.graph:1:115: error: Conv has no field 'Grups'; did you mean Groups?"
    assert line == "  ...nsor=y ToChannels=4 FilterH=3 FilterW=3 Grups=2 Output FromTensor=y " + "#" * 52 + "..."
    assert line[caret.index("^") :].startswith("Grups")
    assert caret.strip() == "^~~~~"


def test_rendering_shows_no_control_characters() -> None:
    error, _ = mistakes("\x1b[2J\x00é\n")
    assert str(error).splitlines()[1] == "  ?[2J?é"


def test_rendering_shows_a_hundred_and_counts_the_rest() -> None:
    error, _ = mistakes(HEAD + "Softmax FromTensor=x ToTensor=y\n" * 130 + TAIL)
    assert len(error.diagnostics) == 129
    assert str(error).count(": error: ") == 100
    assert str(error).endswith("\n... and 29 more errors")


# --- Words ----------------------------------------------------------------------------------------------------------


def test_unknown_kind() -> None:
    layers("«Convolve» FromTensor=x ToTensor=y", "unknown node kind 'Convolve'; did you mean Conv?")
    layers(
        "«Transmogrify» FromTensor=x ToTensor=y Colour=red\nSoftmax FromTensor=x ToTensor=y",
        "unknown node kind 'Transmogrify'",
    )


def test_unknown_kinds_in_a_row() -> None:
    layers(
        "«Sftmax» FromTensor=x ToTensor=a\n«Frobnicate» FromTensor=a ToTensor=b\n«batchnorm» FromTensor=b ToTensor=y",
        "unknown node kind 'Sftmax'; did you mean Softmax?",
        "unknown node kind 'Frobnicate'",
        "unknown node kind 'batchnorm'; did you mean BatchNorm?",
    )


def test_prose_is_one_mistake() -> None:
    check("«Dear» reader, this is = no graph at all.", "unknown node kind 'Dear'")


def test_field_before_any_node() -> None:
    check("«Prefix=A» " + HEAD + "Softmax FromTensor=x ToTensor=y" + TAIL, "expected a node kind before 'Prefix=A'")


def test_unknown_field() -> None:
    layers(CONV + " «Stride»=2", "Conv has no field 'Stride'; did you mean StrideH?")
    layers("Softmax FromTensor=x ToTensor=y «Axis»=1", "Softmax has no field 'Axis'")


def test_misspelt_field_is_not_also_missing() -> None:
    layers("Softmax «FromTensr»=x ToTensor=y", _no_field("FromTensr", "FromTensor"))
    layers("Softmax FromTensor=x «totensor»=y", _no_field("totensor", "ToTensor"))


def _no_field(name: str, meant: str) -> str:
    return f"Softmax has no field '{name}'; did you mean {meant}?"


def test_missing_field() -> None:
    layers("«Softmax» FromTensor=x\nSoftmax FromTensor=x ToTensor=y", "Softmax lacks the field ToTensor")
    layers(
        "«Conv» FromTensor=x ToTensor=y FilterW=1",
        "Conv lacks the fields ToChannels, FilterH",
    )


def test_duplicate_field() -> None:
    layers("Softmax FromTensor=x\nToTensor=y «ToTensor=y»", "ToTensor is given twice; the first is on line 4")


def test_missing_kind() -> None:
    layers(
        "Softmax FromTensor=x ToTensor=a\n«FromTensor=a» ToTensor=b Epsilon=0.1\nSoftmax FromTensor=b ToTensor=y",
        "FromTensor is given twice; the first is on line 3, or a node kind is missing here",
    )
    layers(
        "Softmax FromTensor=x ToTensor=a\n«Epsilon=0.1»\nFromTensor=a ToTensor=b\nSoftmax FromTensor=b ToTensor=y",
        "Softmax has no field 'Epsilon', or a node kind is missing here",
    )
    layers(  # a field between others that are needed is just a wrong one
        "Softmax FromTensor=x\n«Epsilon»=0.1\nToTensor=y",
        "Softmax has no field 'Epsilon'",
    )


def test_split_field() -> None:
    say = "Channels has no value; write Channels=value without white space around '='"
    rest = " Height=8 Width=6\nSoftmax FromTensor=x ToTensor=y" + TAIL
    for text in ("«Channels» = 4", "«Channels» =4", "«Channels»\n=\n4", "«Channels»"):
        check("Config Input ToTensor=x " + text + rest, say)
    check(
        "Config Input ToTensor=x Channels=«» 4" + rest,
        "Channels has no value; expected a decimal integer of at least 1",
    )


def test_stray_word() -> None:
    layers(
        "Softmax FromTensor=x «hm» ToTensor=y «===»",
        *(f"'{w}' is neither a node kind nor Field=value" for w in ("hm", "===")),
    )


def test_odd_characters() -> None:
    layers("Softmax «FromTénsor»=x ToTensor=y", _odd("00E9", 14))
    layers(
        "Softmax FromTensor=«x\u00a0ToTensor=y» ToTensor=y",
        "FromTensor must be a letter, then letters and digits, not 'x?ToTensor=y'",
    )
    check(
        "«\x00» " + HEAD + "Softmax FromTensor=x ToTensor=y" + TAIL,
        "the character U+0000 in column 1 cannot occur outside of a comment",
    )


def _odd(code: str, column: int) -> str:
    return f"the character U+{code} in column {column} cannot occur outside of a comment"


# --- Values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["-1", "+1", "007", "1.0", "1e3", "0x10", "one", "1_000", "٣", "1,000"])
@pytest.mark.parametrize(("field", "least"), [("PaddingH", 0), ("StrideW", 1)])
def test_integers(field: str, least: int, text: str) -> None:
    hint = " (no leading zeros)" if text == "007" else ""
    layers(f"{CONV} {field}=«{text}»", f"{field} must be a decimal integer of at least {least}, not '{text}'{hint}")


def test_zero_where_one_is_least() -> None:
    layers(f"{CONV} Groups=«0»", "Groups must be a decimal integer of at least 1, not '0'")


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("StrideH", 2**47, 2**16),
        ("PaddingH", 2**40, 2**16),
        ("DilationW", 2**64, 2**16),
        ("Groups", 2**31, 2**31 - 1),
        ("Groups", 10**1000, 2**31 - 1),
    ],
)
def test_integers_have_limits(field: str, value: int, limit: int) -> None:
    shown = str(value) if value < 10**39 else str(value)[:37] + "..."
    layers(f"{CONV} {field}=«{value}»", f"{field} is '{shown}', too large; it must be at most {limit}")


def test_huge_filter() -> None:
    layers(
        "Conv FromTensor=x ToTensor=y ToChannels=4 FilterH=«16777215» FilterW=1 PaddingH=«16777215»",
        "FilterH is '16777215', too large; it must be at most 65536",
        "PaddingH is '16777215', too large; it must be at most 65536",
    )


@pytest.mark.parametrize("text", ["1.", ".5", "1e-5", "+1", "00.1", "nan", "inf", "-", "0x1p3"])
def test_numbers(text: str) -> None:
    layers(
        f"Activation FromTensor=x ToTensor=y Kind=ReLU Param=«{text}»",
        f"Param must be a decimal number such as -0.5 or 3, not '{text}'",
    )


def test_numbers_have_limits() -> None:
    digits = "340282356779733661637539395458142568448"  # 2^128 - 2^103: rounds to infinity
    layers(
        f"Activation FromTensor=x ToTensor=y Kind=ReLU Param=«-{digits}»",
        f"Param is '-{digits}', too large for a 32-bit floating point number",
    )
    largest = "340282356779733661637539395458142568447"  # as a float64 it is the same number
    with pytest.raises(GraphError, match="too large"):
        parse(HEAD + f"Activation FromTensor=x ToTensor=y Kind=ReLU Param={largest}" + TAIL)
    parse(HEAD + "Activation FromTensor=x ToTensor=y Kind=ReLU Param=340282346638528859811704183484516925440" + TAIL)
    layers(
        f"Activation FromTensor=x ToTensor=y Kind=ReLU Param=«{'1' * 401}»",
        "Param is 401 characters long; at most 400 are allowed",
    )


def test_negative_epsilon() -> None:
    for kind in ("BatchNorm", "LayerNorm", "RMSNorm"):
        layers(f"{kind} FromTensor=x ToTensor=y Epsilon=«-0.001»", "Epsilon must not be negative")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("Size=«0»", "Size must be a decimal integer of at least 1, not '0'"),
        ("Size=«34»", "Size is '34', too large; it must be at most 33"),
        ("Size=5 Alpha=«0»", "Alpha is 0; it must be above 0"),
        ("Size=5 Beta=«-1»", "Beta must not be negative"),
        ("Size=5 Beta=«8.5»", "Beta is 8.5; 8 is the largest exponent"),
        ("Size=5 Bias=«0.0000000000000000000000000000000000000001»", "Bias is 1e-40; it must be at least 2^-100"),
    ],
)
def test_windows_of_channels(fields: str, message: str) -> None:
    layers(f"LRN FromTensor=x ToTensor=y {fields}", message)


@pytest.mark.parametrize("text", ["0", "0KiB", "32ki", "32b", "32\N{KELVIN SIGN}", "32G", "1.5m", "-1", "KiB"])
def test_sizes(text: str) -> None:
    check(
        f"Config L1DataCachePerThread=«{text}»\n" + HEAD[7:] + "Softmax FromTensor=x ToTensor=y" + TAIL,
        "L1DataCachePerThread must be a positive integer, optionally with k, KB, KiB, m, MB or MiB in upper or lower "
        f"case, not '{text}'",
    )


def test_sizes_have_limits() -> None:
    check(
        "Config L1DataCachePerThread=«1048577MiB»\n" + HEAD[7:] + "Softmax FromTensor=x ToTensor=y" + TAIL,
        "L1DataCachePerThread is '1048577MiB', too large; it must be at most 1099511627776 bytes",
    )


@pytest.mark.parametrize("text", ["2a", "a_b", "a-b", "é", "a.b", "a=b"])
def test_names(text: str) -> None:
    layers(
        f"Softmax FromTensor=x ToTensor=«{text}»\nSoftmax FromTensor=x ToTensor=y",
        f"ToTensor must be a letter, then letters and digits, not '{text}'",
    )


def test_names_have_limits() -> None:
    name = "a" * 200
    parse(HEAD + f"Softmax FromTensor=x ToTensor={name} Softmax FromTensor={name} ToTensor=y" + TAIL)
    layers(
        f"Softmax FromTensor=x ToTensor=«{name}a»\nSoftmax FromTensor=x ToTensor=y",
        "ToTensor is 201 characters long; at most 200 are allowed",
    )


@pytest.mark.parametrize(
    ("word", "choices", "guess"),
    [
        ("Padding", ["PaddingW", "PaddingH"], "PaddingW"),  # the first that it begins
        ("Max2x2Stride1", ["Max", "Max2x2Stride2"], "Max2x2Stride2"),  # rather than what begins it
        ("Convolution", ["Concat", "Conv"], "Conv"),
        ("Max", ["Min", "Mix"], None),
    ],
)
def test_close_matches(word: str, choices: list[str], guess: str | None) -> None:
    assert close_match(word, choices) == guess


def test_choices() -> None:
    layers(
        "Activation FromTensor=x ToTensor=y Kind=«relu»",
        "Kind must be one of ReLU, PReLU, Clip, Sigmoid, HardSigmoid, SiLU, HardSwish, Tanh, GELU, "
        "GELUTanh, ELU, Softplus, Mish, Exp, Log, Sqrt, Square, Abs, Neg, Reciprocal, not 'relu'; did you mean ReLU?",
    )
    layers(
        "Pooling FromTensor=x ToTensor=y Kind=«Max2x2Stride1»",
        "Kind must be one of Max, Avg, Max2x2Stride2, Avg2x2Stride2, Max3x3Stride2, Avg3x3Stride2, MaxGlobal, "
        "AvgGlobal, not 'Max2x2Stride1'; did you mean Max2x2Stride2?",
    )
    check(
        "Config Platform=«ARM»\n" + HEAD[7:] + "Softmax FromTensor=x ToTensor=y" + TAIL,
        "Platform must be AVX512Float32, not 'ARM'",
    )


# --- Wiring ---------------------------------------------------------------------------------------------------------


def test_second_config() -> None:
    layers(
        "«Config» Prefix=A\nSoftmax FromTensor=x ToTensor=y\n«Config»",
        *["a second Config; the graph has one on line 1, and needs exactly one"] * 2,
    )


def test_nothing_there() -> None:
    for text in ("", " \n\t\n", "# nothing\n"):
        stripped = text.rstrip()
        check(stripped + "«»" + text[len(stripped) :], "the graph has no Config, no Input and no Output")


def test_no_config_input_or_output() -> None:
    body = "Softmax FromTensor=x ToTensor=y"
    check(HEAD[7:] + body + TAIL.rstrip() + "«»\n", "the graph has no Config")
    check(HEAD + body + "\n# no more«»\n", "the graph has no Output")
    check(
        "Config Softmax FromTensor=«x» ToTensor=y" + TAIL.rstrip() + "«»",
        "tensor 'x' is read but no node produces it",
        "the graph has no Input",
    )


def test_produced_twice() -> None:
    layers(
        "Softmax FromTensor=x ToTensor=y\nBatchNorm FromTensor=x ToTensor=«y»",
        "tensor 'y' is produced twice; the first time on line 3",
    )
    layers(
        "Softmax FromTensor=x ToTensor=«x»\nSoftmax FromTensor=x ToTensor=y",
        "tensor 'x' is produced twice; the first time on line 2",
    )


def test_never_produced() -> None:
    layers("Add FromTensor1=x FromTensor2=«zebra» ToTensor=y", "tensor 'zebra' is read but no node produces it")
    layers("Add FromTensor1=x FromTensor2=«y2» ToTensor=y", "tensor 'y2' is read but no node produces it")
    check(
        HEAD + "Softmax FromTensor=x ToTensor=sum1\nSoftmax FromTensor=«Sum1» ToTensor=y" + TAIL,
        "tensor 'Sum1' is read but no node produces it; did you mean sum1?",
    )
    check(
        HEAD + "Softmax FromTensor=x ToTensor=y\nOutput FromTensor=y\nOutput FromTensor=«logits»",
        "tensor 'logits' is read but no node produces it",
    )


def test_self_loop() -> None:
    layers(
        "Add FromTensor1=x FromTensor2=«y» ToTensor=y",
        "this node reads 'y', the tensor it produces itself",
    )


def test_cycle_names_its_tensors() -> None:
    layers(
        "Add FromTensor1=x FromTensor2=«c» ToTensor=a\n"
        "Softmax FromTensor=a ToTensor=b\n"
        "Softmax FromTensor=b ToTensor=c\n"
        "Softmax FromTensor=c ToTensor=y",
        "a cycle: c -> a -> b -> c",
    )


def test_cycles_are_told_apart() -> None:
    layers(
        "Add FromTensor1=x FromTensor2=«b» ToTensor=a\nSoftmax FromTensor=a ToTensor=b\n"
        "Add FromTensor1=b FromTensor2=«d» ToTensor=c\nSoftmax FromTensor=c ToTensor=d\n"
        "Add FromTensor1=d FromTensor2=«y» ToTensor=y",
        "a cycle: b -> a -> b",
        "a cycle: d -> c -> d",
        "this node reads 'y', the tensor it produces itself",
    )


def test_long_cycle_is_shortened() -> None:
    chain = "\n".join(f"Softmax FromTensor=t{i} ToTensor=t{i + 1}" for i in range(49))
    layers(
        "Add FromTensor1=x FromTensor2=«t49» ToTensor=t0\n" + chain + "\nSoftmax FromTensor=t49 ToTensor=y",
        "a cycle: t49 -> t0 -> t1 -> t2 -> t3 -> t4 -> t5 -> t6 -> t7 -> t8 -> (40 more) -> t49",
    )


def test_no_path_to_an_output() -> None:
    layers(
        "Softmax FromTensor=x ToTensor=y\nBatchNorm FromTensor=y ToTensor=a\nSoftmax FromTensor=a ToTensor=b\n"
        "«Softmax» FromTensor=b ToTensor=c\n«Softmax» FromTensor=b ToTensor=d",
        "no path leads from this node to an Output: no node reads 'c'; 'a' and 'b' lead only here",
        "no path leads from this node to an Output: no node reads 'd'",
    )


def test_unused_input() -> None:
    layers(
        "«Input» ToTensor=z Channels=1 Height=1 Width=1\nSoftmax FromTensor=x ToTensor=y",
        "unused Input: no node reads 'z'",
    )


def test_input_to_output() -> None:
    check(
        HEAD + "Output FromTensor=«x»",
        "Input 'x' is wired straight to an Output; there must be a node between them",
    )


def test_same_output_twice() -> None:
    layers(
        "Softmax FromTensor=x ToTensor=y\nSoftmax FromTensor=x ToTensor=z\nOutput FromTensor=z\nOutput FromTensor=«z»",
        "tensor 'z' is an Output twice; the first is on line 5",
    )


# --- Sizes ----------------------------------------------------------------------------------------------------------


def test_shape_mismatch() -> None:
    narrow = "Conv FromTensor=x ToTensor=z ToChannels=5 FilterH=1 FilterW=2\n"
    layers(
        narrow + "Add FromTensor1=x FromTensor2=«z» ToTensor=y",
        "Add needs a second tensor whose extents are those of the first, or 1, but 'x' is 4x8x6 and 'z' is 5x8x5",
    )
    layers(
        narrow + "Concat FromTensor1=z FromTensor2=«x» ToTensor=y",
        "Concat needs two tensors of the same height and width, but 'z' is 5x8x5 and 'x' is 4x8x6",
    )


def test_concat_of_what_does_not_fit() -> None:
    narrow = "Conv FromTensor=x ToTensor=z ToChannels=5 FilterH=1 FilterW=2\n"
    layers(
        narrow + "Concat FromTensor1=x FromTensor2=x FromTensor3=«z» ToTensor=y Axis=Height",
        "Concat needs all tensors of the same channels and width, but 'x' is 4x8x6 and 'z' is 5x8x5",
    )
    layers(
        "Concat FromTensor1=x FromTensor2=x FromTensor5=«x» ToTensor=y",
        "FromTensor5 is given, but FromTensor3 is not",
    )


def test_slice_beyond_the_end() -> None:
    layers(
        "Slice FromTensor=x ToTensor=y From=«4» Count=1",
        "Slice ends with channel 4, but the last channel of 'x' is 3",
    )
    layers(
        "Slice FromTensor=x ToTensor=y From=1 Count=«4» Step=2 Axis=Width",
        "Slice ends with column 7, but the last column of 'x' is 5",
    )


def test_shuffle_of_what_cannot_be() -> None:
    layers("Shuffle FromTensor=x ToTensor=y Groups=«3»", "'x' has 4 channels, which 3 groups do not divide")
    layers(
        "Conv FromTensor=x ToTensor=z ToChannels=65538 FilterH=1 FilterW=1\nShuffle FromTensor=«z» ToTensor=y Groups=2",
        "'z' has 65538 channels; Shuffle takes 65536 at most",
    )


def test_not_divisible_by_groups() -> None:
    layers(
        "Conv FromTensor=x ToTensor=y ToChannels=«7» FilterH=1 FilterW=1 Groups=«3»",
        "ToChannels 7 cannot be divided into 3 groups",
        "the 4 channels of 'x' (4x8x6) cannot be divided into 3 groups",
    )


def test_window_too_large() -> None:
    layers(
        "Conv FromTensor=x ToTensor=y ToChannels=1 FilterH=«4» FilterW=«9» DilationH=4 PaddingH=2 PaddingW=1",
        "the window spans 13 rows, more than the 12 of 'x' (4x8x6) with padding 2 on both sides",
        "the window spans 9 columns, more than the 8 of 'x' (4x8x6) with padding 1 on both sides",
    )
    layers(
        "Conv FromTensor=x ToTensor=y ToChannels=1 FilterH=«12» FilterW=«9» PaddingTop=3 PaddingW=2 PaddingLeft=0",
        "the window spans 12 rows, more than the 11 of 'x' (4x8x6) with padding 3 above and 0 below",
        "the window spans 9 columns, more than the 8 of 'x' (4x8x6) with padding 0 left and 2 right",
    )
    layers(
        "Conv FromTensor=x ToTensor=y ToChannels=1 FilterH=1 FilterW=1 PaddingTop=«-1» PaddingRight=«65537»",
        "PaddingTop must be a decimal integer of at least 0, not '-1'",
        "PaddingRight is '65537', too large; it must be at most 65536",
    )
    layers(
        "Pooling FromTensor=x ToTensor=z Kind=AvgGlobal\n"
        "Pooling FromTensor=z ToTensor=y Kind=«Max2x2Stride2» PaddingH=1",
        "the window spans 2 columns, more than the 1 of 'z' (4x1x1)",
    )


def test_order_of_an_input() -> None:
    check(
        "Config Input ToTensor=x Channels=3 Height=2 Width=2 Order=«HCW» Softmax FromTensor=x ToTensor=y" + TAIL,
        "Order must be one of CHW, HWC, not 'HCW'",
    )


def test_padding_too_large() -> None:
    layers(
        "Pooling FromTensor=x ToTensor=y Kind=Max3x3Stride2 PaddingH=«3» PaddingW=2",
        "padding too large: 3 must be smaller than the window, which is 3x3",
    )
    layers(
        "Pooling FromTensor=x ToTensor=y Kind=AvgGlobal PaddingH=«1» PaddingW=«2»",
        *["AvgGlobal takes no padding"] * 2,
    )


def test_tensor_too_large() -> None:
    check(
        "Config «Input» ToTensor=x Channels=65536 Height=65536 Width=65 Softmax FromTensor=x ToTensor=y" + TAIL,
        "tensor 'x' of shape 65536x65536x65 is too large: it takes 1,116,691,496,960 bytes; "
        "the limit is 1,099,511,627,776",
    )


def test_parameters_too_large() -> None:
    check(
        "Config Input ToTensor=x Channels=1048576 Height=1 Width=1\n"
        "«FullyConnected» FromTensor=x ToTensor=y ToChannels=262144" + TAIL,
        "the parameters of 'y' are too large: 1,099,512,676,352 bytes; the limit is 1,099,511,627,776",
    )


def test_extent_too_large() -> None:
    check(
        "Config Input ToTensor=x Channels=2147483647 Height=1 Width=1\n"
        "«Concat» FromTensor1=x FromTensor2=x ToTensor=y" + TAIL,
        "tensor 'y' of shape 4294967294x1x1 is too large: no extent may pass 2,147,483,647",
    )


def test_all_tensors_together_too_large() -> None:
    check(
        "Config Input ToTensor=x Channels=65536 Height=65536 Width=32\nSoftmax FromTensor=x ToTensor=a\n"
        "«Softmax» FromTensor=a ToTensor=b\nSoftmax FromTensor=b ToTensor=y" + TAIL,
        "the graph is too large: with this node its tensors take 1,649,267,441,664 bytes; "
        "the limit is 1,099,511,627,776",
    )


def test_doubling_is_stopped_early() -> None:
    chain = "\n".join(f"Concat FromTensor1=t{i} FromTensor2=t{i} ToTensor=t{i + 1}" for i in range(200))
    error, _ = mistakes("Config Input ToTensor=t0 Channels=1 Height=64 Width=64\n" + chain + "\nOutput FromTensor=t200")
    assert len(error.diagnostics) == 2
    assert "its tensors take" in error.diagnostics[0].message


# --- Names ----------------------------------------------------------------------------------------------------------


def test_names_collide() -> None:
    layers(
        "Conv FromTensor=x ToTensor=b ToChannels=4 FilterH=1 FilterW=1\nSoftmax FromTensor=b ToTensor=«bWeights»\n"
        "Softmax FromTensor=bWeights ToTensor=y",
        "tensors 'bWeights' and 'b' (line 3) both need the C name bWeights",
    )
    layers(
        "Softmax FromTensor=x ToTensor=«xData»\nSoftmax FromTensor=xData ToTensor=y",
        "tensors 'xData' and 'x' (line 2) both need the C name xData",
    )
    layers(
        "Softmax FromTensor=x ToTensor=yShifts\nBatchNorm FromTensor=yShifts ToTensor=«y»",
        "tensors 'y' and 'yShifts' (line 3) both need the C name yShifts",
    )


def test_names_that_only_look_alike() -> None:
    parse(
        HEAD + "Softmax FromTensor=x ToTensor=a Softmax FromTensor=a ToTensor=aWeights "
        "Softmax FromTensor=aWeights ToTensor=y" + TAIL
    )


# --- Several at once ------------------------------------------------------------------------------------------------


def test_all_at_once_sorted_by_position() -> None:
    check(
        "Config Prefix=«9» «Prefix=A»\n"
        "Input ToTensor=x Channels=«0» Height=8 Width=6\n"
        "Input ToTensor=w Channels=4 Height=8 Width=6\n"
        "Conv FromTensor=w ToTensor=a ToChannels=4 FilterH=«9» FilterW=1 # and more:\n"
        "«Cnov» FromTensor=a ToTensor=b\n"
        "Add FromTensor1=b FromTensor2=«nowhere» ToTensor=c\n"
        "«Config»\n"
        "Add FromTensor1=x FromTensor2=c ToTensor=«a»\n"
        "Output FromTensor=c Output FromTensor=«c»\n",
        "Prefix must be a letter, then letters and digits, not '9'",
        "Prefix is given twice; the first is on line 1",
        "Channels must be a decimal integer of at least 1, not '0'",
        "the window spans 9 rows, more than the 8 of 'w' (4x8x6)",
        "unknown node kind 'Cnov'; did you mean Conv?",
        "tensor 'nowhere' is read but no node produces it",
        "a second Config; the graph has one on line 1, and needs exactly one",
        "tensor 'a' is produced twice; the first time on line 4",
        "tensor 'c' is an Output twice; the first is on line 9",
    )


def test_one_mistake_makes_no_noise_downstream() -> None:
    consumers = "\nSoftmax FromTensor=a ToTensor=b\nAdd FromTensor1=b FromTensor2=a ToTensor=y"
    for broken, message in (
        (
            "Conv FromTensor=x ToTensor=a ToChannels=4 FilterH=«x» FilterW=1",
            "FilterH must be a decimal integer of at least 1, not 'x'",
        ),
        (
            "Conv FromTensor=x ToTensor=a ToChannels=4 FilterH=«9» FilterW=1",
            "the window spans 9 rows, more than the 8 of 'x' (4x8x6)",
        ),
        ("«Conv» FromTensor=x ToChannels=4 FilterH=1 FilterW=1", "Conv lacks the field ToTensor"),
        ("«Conv» ToTensor=a ToChannels=4 FilterH=1 FilterW=1", "Conv lacks the field FromTensor"),
        ("«Deconvolution» FromTensor=x ToTensor=a", "unknown node kind 'Deconvolution'"),
    ):
        layers(broken + consumers, message)


def test_a_misspelt_tensor_is_not_also_unused() -> None:
    layers(
        "Softmax FromTensor=x ToTensor=middle\nSoftmax FromTensor=«midle» ToTensor=y",
        "tensor 'midle' is read but no node produces it; did you mean middle?",
    )
