"""Every mistake of values in a graph text, with its place."""

from __future__ import annotations

import pytest

from nn512.graph import GraphError, parse
from nn512.graph.suggest import close_match
from tests.graph.mistakes import CONV, HEAD, TAIL, check, layers


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
        "Platform must be one of AVX512Float32, AVX512BFloat16, not 'ARM'",
    )
