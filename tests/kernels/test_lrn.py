"""Local response normalization: windows across blocks, every exponent, and errors planted in the C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.graph import parse
from nn512.ir import LRNOp
from nn512.kernels.powers import QUARTERS
from nn512.passes.pipeline import optimize

Emit = Callable[..., Any]
"""What emits a net, and gives what judges it (conftest.py)."""

REGIMES = ("exact", "gaussian", "wide", "nonfinite", "constant")


def check(*lines: str, optimisation: str = "-Og", **options: object) -> Report:
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case("\n".join(("Config Prefix=Net", *lines)) + "\n", options, optimisation, data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def classes(report: Report) -> set[str]:
    return {c for layer in report.layers if layer.kernel == "lrn" for c in layer.edge_classes}


def test_windows_and_channels(runs_here: str) -> None:
    """From a single channel to as many as reach into the next block but one lane; blocks that are not full."""
    assert runs_here
    lines = []
    for n, (channels, size) in enumerate([(1, 1), (1, 33), (7, 5), (16, 2), (17, 32), (33, 33), (48, 3), (66, 6)]):
        lines += [
            f"Input ToTensor=x{n} Channels={channels} Height=1 Width={1 + n % 5}",
            f"LRN FromTensor=x{n} ToTensor=y{n} Size={size} Alpha=2 Bias=0.5",
            f"Output FromTensor=y{n}",
        ]
    assert classes(check(*lines)) == {
        *(f"channel tail {tail}" for tail in (1, 7, 0, 2)),
        *(f"blocks {blocks}" for blocks in (1, 2, 3)),
        *("exponent by quarters", "window odd", "window even"),
        *("pixels single", "pixels pairs", "pixels pairs and a single one"),
    }


def test_exponents(runs_here: str) -> None:
    assert runs_here
    exponents = (*QUARTERS, 1, 0.1, 0.6, 1.25, 3, 8)
    lines = [f"LRN FromTensor=x ToTensor=y{n} Size=3 Alpha=1 Beta={beta:g}" for n, beta in enumerate(exponents)]
    lines += [f"Output FromTensor=y{n}" for n in range(len(exponents))]
    assert "exponent by logarithm" in classes(check("Input ToTensor=x Channels=19 Height=2 Width=2", *lines))


def test_neighbours_and_pieces(runs_here: str) -> None:
    """Channels of a concatenation are put in order first; what follows is done in registers."""
    assert runs_here
    lines = (
        "Input ToTensor=x Channels=5 Height=3 Width=3",
        "Conv FromTensor=x ToTensor=a ToChannels=19 FilterH=1 FilterW=1",
        "Concat FromTensor1=a FromTensor2=x FromTensor3=a ToTensor=c",
        "LRN FromTensor=c ToTensor=n Size=5 Alpha=1",
        "BatchNorm FromTensor=n ToTensor=b",
        "Activation FromTensor=b ToTensor=r Kind=ReLU",
        "Add FromTensor1=r FromTensor2=c ToTensor=y",
        "LRN FromTensor=c ToTensor=z Size=4 Alpha=1 Beta=0.6",
        "Output FromTensor=y",
        "Output FromTensor=z",
    )
    (first, _) = (op for op in optimize(parse("Config " + " ".join(lines))).ops if isinstance(op, LRNOp))
    assert len(first.epilogue) == 3
    report = check(*lines)
    assert [layer.kernel for layer in report.layers].count("relayout") == 1
    check(*lines, optimisation="-O1", without_passes=["fuse_elementwise"])


@pytest.mark.parametrize(
    ("beta", "before", "after"),
    [
        (0.75, "_mm512_fmadd_ps(cube, p, cube)", "cube"),
        (0.5, "0x4f4ff000", "0x4f60f000"),
        (0.25, "-0.306990713f", "-0.3071f"),
        (0.25, "if (item < 3)", "if (item < 2)"),
        (0.25, "item * 2", "item"),
        (0.6, "k <= 2", "k <= 1"),
        (0.6, "16 - k", "15 - k"),
        (0.6, "(1u << lastLanes)", "(2u << lastLanes)"),
        (0.6, "before[i] = squares[i];", "before[i] = behind;"),
        (0.6, "squares[i] = behind;", "squares[i] = _mm512_mul_ps(behind, behind);"),
        (0.6, "_mm512_set1_ps(bias)", "_mm512_setzero_ps()"),
        (0.6, "0.961796694f", "0.97f"),
        (0.6, "0.240226507f", "0.2405f"),
        (0.6, "_CMP_NEQ_UQ", "_CMP_EQ_OQ"),
        (0.6, "0x3f3504f3", "0x3e8004f3"),
    ],
)
def test_planted_errors_are_found(beta: float, before: str, after: str, emit: Emit) -> None:
    text = (
        "Config Prefix=Net\nInput ToTensor=x Channels=5 Height=1 Width=7\n"
        "Conv FromTensor=x ToTensor=c ToChannels=35 FilterH=1 FilterW=1\n"
        "Activation FromTensor=c ToTensor=d Kind=Clip Min=0.5 Max=9\n"  # which leaves no lane empty
        f"LRN FromTensor=d ToTensor=y Size=5 Alpha=2 Beta={beta}\nOutput FromTensor=y\n"
    )
    source, judge = emit(text, "gaussian:1", "nonfinite:1")
    assert before in source
    assert not judge(source.replace(before, after)).verified


def test_an_infinite_neighbour_leaves_zeros(emit: Emit) -> None:
    """A guess at the power of infinity is no number that could be mended."""
    text = "Config Prefix=Net\nInput ToTensor=x Channels=35 Height=1 Width=7\n"
    source, judge = emit(f"{text}LRN FromTensor=x ToTensor=y Size=5 Alpha=2\nOutput FromTensor=y\n", "nonfinite:1")
    assert judge(source).verified
    assert not judge(source.replace("_mm512_max_ps(_mm512_set1_ps(-1.0f), p)", "p")).verified
