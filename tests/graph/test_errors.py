"""Every mistake of words and names in a graph text, with its place."""

from __future__ import annotations

from nn512.graph import parse
from tests.graph.mistakes import CONV, HEAD, TAIL, check, layers, mistakes


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


# --- Names ------------------------------------------------------------------------------------------------------------


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


# --- Several at once --------------------------------------------------------------------------------------------------


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
