"""Every mistake of wiring and of sizes in a graph text, with its place."""

from __future__ import annotations

from tests.graph.mistakes import HEAD, TAIL, check, layers, mistakes


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
