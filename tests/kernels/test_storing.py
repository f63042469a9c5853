"""Tensors that are stored as pairs of bfloat16: which they are, that no bit of a result depends on it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.judge.checker import check_case, check_sources, draw
from fuzz.judge.localize import taps_of
from fuzz.judge.report import Report
from fuzz.run.runners import runner_for
from fuzz.targets.base import Sources
from nn512 import compiler
from nn512.compiler import compile as compile_graph
from nn512.graph import parse
from nn512.options import Options
from nn512.plan.plan import PlannedTensor

KERNEL = "direct-bf16"
PAIRED = Options(force=(("", KERNEL),), platform="AVX512BFloat16")
REGIMES = ("exact", "gaussian", "nonfinite", "wide")

pytestmark = pytest.mark.usefixtures("runs_here")


def conv(source: str, result: str, outputs: int, taps: int = 1, more: str = "") -> str:
    size = f"FilterH={taps} FilterW={taps} PaddingH={taps // 2} PaddingW={taps // 2}"
    return f"Conv FromTensor={source} ToTensor={result} ToChannels={outputs} {size} {more}\n"


def net(*lines: str, shape: str = "Channels=32 Height=6 Width=15") -> str:
    return f"Config Prefix=Net\nInput ToTensor=x {shape}\n{''.join(lines)}"


def tensors(text: str, options: Options = PAIRED) -> Mapping[str, PlannedTensor]:
    return {tensor.name: tensor for tensor in compile_graph(text, options).plan.tensors}


def paired(text: str, options: Options = PAIRED) -> set[str]:
    """The tensors that are stored as pairs."""
    return {name for name, tensor in tensors(text, options).items() if tensor.pairs}


def forcing(kernel: str) -> Options:
    """A kernel for the layer `a`, before those that multiply pairs."""
    return Options(force=(("a", kernel), ("b", KERNEL)), platform="AVX512BFloat16")


def chain(first: str) -> str:
    return net(first, "Activation FromTensor=a ToTensor=r Kind=ReLU\n", conv("r", "b", 20, 3), "Output FromTensor=b\n")


FIRST = {
    "direct-bf16": conv("x", "a", 34, 3),
    "direct": conv("x", "a", 34, 3),
    "pointwise": conv("x", "a", 50),
    "depthwise": conv("x", "a", 32, 3, "Groups=32"),
    "grouped": conv("x", "a", 64, 3, "Groups=16"),
    "grouped-bf16": conv("x", "a", 64, 3, "Groups=8"),
}


@pytest.mark.parametrize("kernel", FIRST)
def test_every_kernel_stores_pairs(kernel: str) -> None:
    """An odd number of blocks and an even one, those computed together and one by one."""
    text, options = chain(FIRST[kernel]), forcing(kernel)
    assert paired(text, options) == {"r"}
    report = check_case(Case(text, options.to_dict(), "-Og", tuple(DataSeed(regime, 1) for regime in REGIMES)))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    assert next(layer for layer in report.layers if "a" in layer.covers).kernel == kernel


@pytest.mark.parametrize(
    ("kernel", "optimisation", "compiler"), [("planar", "-O1", "gcc"), ("planar-bf16", "-O2", "clang")]
)
def test_the_first_layer_stores_pairs(kernel: str, optimisation: str, compiler: str) -> None:
    first = conv("x", "a", 22, 3, "StrideH=2 StrideW=2")
    text = net(first, conv("a", "b", 9), "Output FromTensor=b\n", shape="Channels=3 Height=9 Width=31")
    assert paired(text, forcing(kernel)) == {"a"}
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    assert check_case(Case(text, forcing(kernel).to_dict(), optimisation, data, compiler)).verified


MIXED = net(
    conv("x", "a", 48),
    conv("a", "b", 48, 3, "Groups=48"),
    conv("b", "c", 30),
    "Add FromTensor1=c FromTensor2=x2 ToTensor=s\n",
    conv("s", "d", 48, 3, "Groups=3"),
    conv("d", "e", 18),
    "Output FromTensor=e\n",
).replace("Input ToTensor=x ", "Input ToTensor=x2 Channels=30 Height=6 Width=15\nInput ToTensor=x ")


@pytest.mark.parametrize("text", [MIXED, *(chain(first) for first in FIRST.values())])
def test_no_bit_of_a_result_depends_on_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = parse(text)
    data = [regimes.draw(graph, regime, 2) for regime in ("gaussian", "wide", "nonfinite")]

    def results() -> list[bytes]:
        found = []
        for one in data:
            with nn512.Session(graph, one.params, options=PAIRED) as session:
                found += [array.tobytes() for _, array in sorted(session.run(one.inputs).items())]
        return found

    assert paired(text)
    stored = results()
    monkeypatch.setattr(compiler, "stored_as_pairs", lambda *_, **__: frozenset())
    assert not paired(text)
    assert results() == stored


def test_what_somebody_reads_as_floats_stays_so() -> None:
    """A sum, an output, a step before a convolution, a part of a concatenation, a kernel that multiplies floats."""
    assert paired(net(conv("x", "a", 32), conv("a", "b", 8), "Output FromTensor=b\n")) == {"a"}
    both = net(conv("x", "a", 32), conv("a", "b", 8), "Output FromTensor=a\nOutput FromTensor=b\n")
    added = net(
        conv("x", "a", 32), conv("a", "b", 32), "Add FromTensor1=a FromTensor2=b ToTensor=s\nOutput FromTensor=s\n"
    )
    step = "BatchNorm FromTensor=a ToTensor=n\nActivation FromTensor=n ToTensor=r Kind=ReLU\n"
    normed = net(
        conv("x", "a", 32), step, conv("r", "b", 8), conv("a", "c", 8), "Output FromTensor=b\nOutput FromTensor=c\n"
    )
    joined = "Concat FromTensor1=a FromTensor2=x ToTensor=j\n"
    part = net(
        conv("x", "a", 32), joined, conv("j", "b", 8), conv("a", "c", 8), "Output FromTensor=b\nOutput FromTensor=c\n"
    )
    odd = net(conv("x", "a", 33), conv("a", "b", 8), "Output FromTensor=b\n")
    for text in (both, added, normed, part, odd):
        assert not paired(text)
    single = net(conv("x", "a", 32), conv("a", "b", 32, 3, "Groups=32"), "Output FromTensor=b\n")
    assert not paired(single)
    assert not paired(both.replace("Output FromTensor=a\n", ""), Options(force=(("", "direct"),)))


def test_prices_count_no_pass_where_none_is_needed() -> None:
    """A convolution of few outputs is worth it in pairs only if these need not be made for it alone."""
    first = conv("x", "a", 32, 3, "Groups=32")
    text = net(first, conv("a", "b", 16), "Output FromTensor=b\n", shape="Channels=32 Height=112 Width=112")
    platform = Options(platform="AVX512BFloat16")
    (layer,) = (layer for layer in compile_graph(text, platform).plan.layers if layer.name == "b")
    assert layer.kernel == KERNEL
    assert paired(text, platform) == {"a"}
    with_output = text + "Output FromTensor=a\n"
    (alone,) = (layer for layer in compile_graph(with_output, platform).plan.layers if layer.name == "b")
    assert not paired(with_output, platform)
    assert alone.prices[KERNEL] > layer.prices[KERNEL]
    assert alone.kernel == "direct"


def test_they_take_half_the_memory_and_are_not_held_to_the_reference() -> None:
    """A tensor that is rounded when it is stored leaves the band of the exact one."""
    text = net(conv("x", "a", 32), conv("a", "b", 8), "Output FromTensor=b\n")
    plan = compile_graph(text, PAIRED).plan
    (stored,) = (tensor for tensor in plan.tensors if tensor.pairs)
    assert stored.shape == (32, 6, 15)
    assert stored.bytes == 2 * 32 * 6 * 15
    assert {tap.tensor for tap in taps_of(parse(text), plan)} == {"x", "b"}


PLANTED = [
    (KERNEL, r"\(out \+ o \* 8 \+ ", "(out + (1 - o) * 8 + ", "exact", "the halves of a block swapped"),
    (KERNEL, r"pbh\(acc\[o\]\[p\]\)", "pbh(acc[0][p])", "exact", "one block twice"),
    (
        KERNEL,
        r"pbh\(acc\[o\]\[p\]\)",
        "pbh(_mm512_cvtph_ps(_mm512_cvtps_ph(acc[o][p], 0)))",
        "gaussian",
        "rounded twice",
    ),
    (KERNEL, r"r\[1\]\[y\]\[0\]", "r[0][y][0]", "exact", "the last block beside the others"),
    ("depthwise", r"block % 2 \* 8", "(1 - block % 2) * 8", "exact", "the halves of a block swapped"),
    ("depthwise", r"block / 2\]", "0]", "exact", "all blocks to one place"),
]


@pytest.mark.parametrize(
    ("kernel", "wrong", "instead", "regime", "what"), PLANTED, ids=[f"{p[0]} {p[4]}" for p in PLANTED]
)
def test_planted_errors_are_found(kernel: str, wrong: str, instead: str, regime: str, what: str) -> None:
    first = conv("x", "a", 48, 3) if kernel == KERNEL else conv("x", "a", 64, 3, "Groups=64")
    channels = 20 if kernel == KERNEL else 64
    text = chain(first).replace("Channels=32", f"Channels={channels}")
    options = forcing(kernel)
    assert paired(text, options) == {"r"}
    graph, emitted = parse(text), compile_graph(text, options)
    case = Case(text, options.to_dict(), "-O0", (DataSeed(regime, 1),))
    (data,) = draw(case, graph)

    def judge(source: str) -> Report:
        sources = Sources(emitted.prefix, emitted.header, source, emitted.plan)
        return check_sources(case, graph, sources, [data], runner_for(), strict=False)

    assert judge(emitted.source).verified, what
    changed, places = re.subn(wrong, instead, emitted.source, count=1)
    assert places == 1
    assert "values" in {problem.kind for problem in judge(changed).problems}


def test_ties_are_rounded_to_even() -> None:
    """As the pass that rounds does it."""
    text = net(conv("x", "a", 2), conv("a", "b", 1), "Output FromTensor=b\n", shape="Channels=2 Height=1 Width=2")
    assert paired(text) == {"a"}
    params = {"aWeights": np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1), "aBiases": np.full(2, 2.0**-8, np.float32)}
    params |= {"bWeights": np.array([[[[1]], [[0]]]], np.float32), "bBiases": np.zeros(1, np.float32)}
    with nn512.Session(text, params, options=PAIRED) as session:
        picture = np.array([[[1, 1 + 2.0**-7]], [[5, 7]]], np.float32)
        result = session.run({"x": picture})["b"]
    assert (result == np.array([1, 1 + 2.0**-6], np.float32)).all()
