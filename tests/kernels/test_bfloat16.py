"""Layers on pairs of bfloat16: every pairing of channels, errors planted in the C, what takes their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.draw import regimes
from fuzz.judge.checker import check_case, check_sources, draw
from fuzz.judge.report import Report
from fuzz.run.build import build_net
from fuzz.run.checks import LIGHT
from fuzz.run.runners import runner_for, soft, with_bfloat16
from fuzz.run.runners.base import Runner
from fuzz.run.sandbox import execute
from fuzz.targets.base import Sources
from nn512.cgen import net as emitted_net
from nn512.compiler import compile as compile_graph
from nn512.errors import CannotRunError
from nn512.graph import parse
from nn512.options import Options
from nn512.plan.explain import explain
from nn512.plan.plan import PlannedLayer, uses_bfloat16
from nn512.toolchain import find_compiler, has_bfloat16

KERNEL = "direct-bf16"
FULL_KERNEL, GROUPED_KERNEL, TILE_KERNEL = "fully_connected_bf16", "grouped-bf16", "winograd-2x2-bf16"
PAIRED = Options(force=(("", KERNEL),), platform="AVX512BFloat16")
REGIMES = ("exact", "impulse", "gaussian", "nonfinite")

pytestmark = pytest.mark.usefixtures("runs_here")


def net(shape: tuple[int, int, int], *convs: str) -> str:
    """A net of convolutions that all read the input."""
    channels, height, width = shape
    lines = ["Config Prefix=Net", f"Input ToTensor=x Channels={channels} Height={height} Width={width}"]
    for number, fields in enumerate(convs):
        lines += [f"Conv FromTensor=x ToTensor=y{number} {fields}", f"Output FromTensor=y{number}"]
    return "\n".join(lines) + "\n"


def conv(outputs: int, taps: str = "3x3", more: str = "") -> str:
    height, width = taps.split("x")
    return f"ToChannels={outputs} FilterH={height} FilterW={width} {more}"


def forcing(kernel: str) -> Options:
    """A kernel forced wherever it applies."""
    return replace(PAIRED, force=(("", kernel),))


def check(text: str, optimisation: str = "-Og", compiler: str = "", kernel: str = KERNEL) -> Report:
    """The report of a check with the kernel forced wherever it applies; nothing may be wrong with it."""
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case(text, forcing(kernel).to_dict(), optimisation, data, compiler))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def layers(text: str, options: Options = PAIRED) -> Sequence[PlannedLayer]:
    """The convolutions of a plan."""
    planned: Sequence[PlannedLayer] = compile_graph(text, options).plan.layers
    return [layer for layer in planned if layer.kernel not in {"load", "store", "pooling"}]


SAME = "PaddingH=1 PaddingW=1"


@pytest.mark.parametrize("channels", [1, 2, 17, 48])
def test_channels_pair_up(channels: int) -> None:
    """Odd and even numbers, one block and several, on filters with and without padding; outputs with a tail."""
    report = check(net((channels, 4, 15), conv(19, more=SAME), conv(32, "1x1"), conv(1, "2x1", "StrideW=2")))
    assert {layer.kernel for layer in report.layers} == {"load", KERNEL, "store"}
    classes = {name for layer in report.layers for name in layer.edge_classes}
    assert f"channels pair up {'odd' if channels % 2 else 'even'}" in classes


@pytest.mark.parametrize(("optimisation", "compiler"), [("-O0", "clang"), ("-O2", "clang"), ("-O3", "gcc")])
def test_compilers(optimisation: str, compiler: str) -> None:
    """Clang 16 crashes on a `_mm512_set1_ps` that it sees become bfloat16: it must not stand there."""
    strided = conv(17, "3x2", "StrideH=2 StrideW=3 PaddingTop=2 DilationW=2")
    check(net((34, 7, 18), conv(17, "1x3", "PaddingW=1"), strided), optimisation, compiler)


@pytest.mark.parametrize("inputs", [2, 4, 8, 16, 32])
def test_groups(inputs: int) -> None:
    """As many outputs as inputs per group, twice and half as many; whole blocks of pairs are the direct kernel's."""
    kernel, channels = (KERNEL, 64) if inputs == 32 else (GROUPED_KERNEL, 48)
    groups = channels // inputs
    strided = conv(channels // 2, "2x3", f"Groups={groups} StrideH=2 PaddingW=1")
    text = net((channels, 5, 9), *(conv(channels * n, more=f"Groups={groups} {SAME}") for n in (1, 2)), strided)
    report = check(text, kernel=kernel)
    assert {layer.kernel for layer in report.layers} == {"load", kernel, "store"}


@pytest.mark.parametrize("kernel", [KERNEL, GROUPED_KERNEL])
def test_equal_layers_share_a_body(kernel: str) -> None:
    """Its name is made of the kernel's."""
    same = conv(32, more=f"{SAME} Groups=8" if kernel == GROUPED_KERNEL else SAME)
    text = net((32, 4, 5), same).removesuffix("Output FromTensor=y0\n")
    text += f"Conv FromTensor=y0 ToTensor=y1 {same}\nOutput FromTensor=y1\n"
    assert sum(layer.kernel == kernel for layer in check(text, "-O1", kernel=kernel).layers) == 2


def test_groups_that_do_not_line_up() -> None:
    """One and three inputs per group, 12 pairs, segments that end inside a block: other kernels take these."""
    text = net((48, 3, 4), *(conv(48, more=f"Groups={groups}") for groups in (48, 16, 2)))
    segments = "Concat FromTensor1=x FromTensor2=y0 ToTensor=j\nOutput FromTensor=j\n"
    scattered = net((4, 3, 4), conv(8, "1x1")) + segments
    scattered += "Conv FromTensor=j ToTensor=z ToChannels=12 FilterH=1 FilterW=1 Groups=6\nOutput FromTensor=z\n"
    for kernel in (KERNEL, GROUPED_KERNEL):
        for one in (text, scattered):
            grouped = [layer for layer in layers(one, forcing(kernel)) if "y0" not in layer.covers or one == text]
            assert not {KERNEL, GROUPED_KERNEL} & {layer.kernel for layer in grouped}


FUSED = """
Config Prefix=Net
Input ToTensor=x Channels=19 Height=5 Width=16
BatchNorm FromTensor=x ToTensor=n Epsilon=0.75
Activation FromTensor=n ToTensor=r Kind=ReLU Param=0.5
Conv FromTensor=r ToTensor=c ToChannels=21 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
BatchNorm FromTensor=c ToTensor=b Epsilon=0.75
Activation FromTensor=b ToTensor=a Kind=ReLU
Conv FromTensor=a ToTensor=d ToChannels=19 FilterH=1 FilterW=1
Add FromTensor1=d FromTensor2=x ToTensor=s
Concat FromTensor1=s FromTensor2=a ToTensor=j
Conv FromTensor=j ToTensor=y ToChannels=20 FilterH=3 FilterW=1 PaddingH=1
Output FromTensor=y
Output FromTensor=s
"""


def test_with_everything_fused_around_it() -> None:
    """Steps before and after, batch norms in the weights, and segments that end inside a block."""
    report = check(FUSED, "-O1")
    classes = {name for layer in report.layers for name in layer.edge_classes}
    assert "channels pair up in segments" in classes
    assert sum(layer.kernel == KERNEL for layer in report.layers) == 3


ORDER = (r"place % 2 \* 2\b", "(2 - place % 2 * 2)")
HALF = (r"block % 2 \* 8\b", "(1 - block % 2) * 8")
TWICE = (r"pbh\(v\)", "pbh(_mm512_cvtph_ps(_mm512_cvtps_ph(v, 0)))")


FIRST_OF_TILES = "static void pack_winograd_pairs("
HALF_WAY = """
static uint16_t half_way(double x) {
    const __m256i half = _mm512_cvtps_ph(_mm512_set1_ps((float)x), 0);
    return bfloat16_of(_mm512_cvtss_f32(_mm512_cvtph_ps(half)));
}

"""
"""Rounds to a half first."""


@pytest.mark.parametrize(
    ("kernel", "change", "regime", "what"),
    [
        (KERNEL, (r"acc\[0\]\[p\] = _mm512_dpbf16_ps[^;]*;", ";"), "impulse", "a tap left out"),
        (KERNEL, ORDER, "exact", "weights of a pair in the wrong order"),
        (KERNEL, HALF, "exact", "the halves of a block of pairs swapped"),
        (
            KERNEL,
            (r"v = _mm512_maskz_mov_ps\(lanes\[block\], v\);", ";"),
            "gaussian",
            "lanes without a channel multiplied",
        ),
        (KERNEL, TWICE, "gaussian", "what is read rounded twice"),
        (KERNEL, (r"bits \+= .*", ""), "gaussian", "weights cut off instead of rounded"),
        (KERNEL, (r"- 1\) \+ \(bits >> 45 & 1\)", "- 1) + 1"), "ties", "ties of weights away from zero"),
        (FULL_KERNEL, (r"row < \(\*span\)\[0\];", "row < (*span)[0] - 1;"), "exact", "a pixel left out"),
        (FULL_KERNEL, ORDER, "exact", "weights of a pair in the wrong order"),
        (FULL_KERNEL, HALF, "exact", "the halves of a block of pairs swapped"),
        (FULL_KERNEL, TWICE, "gaussian", "what is read rounded twice"),
        (GROUPED_KERNEL, (r"acc\[p\] = _mm512_dpbf16_ps[^;]*;", ";"), "impulse", "a tap left out"),
        (GROUPED_KERNEL, ORDER, "exact", "weights of a pair in the wrong order"),
        (GROUPED_KERNEL, HALF, "exact", "the halves of a block of pairs swapped"),
        (GROUPED_KERNEL, (r"_mm512_add_epi32\(from", "_mm512_sub_epi32(from"), "exact", "another pair multiplied"),
        (GROUPED_KERNEL, TWICE, "gaussian", "what is read rounded twice"),
        (TILE_KERNEL, (r"acc\[o\]\[n\] = _mm512_dpbf16_ps[^;]*;", ";"), "impulse", "products left out"),
        (TILE_KERNEL, (r"lane < 8", "lane < 7"), "exact", "a pair left out"),
        (TILE_KERNEL, (r"\* 2 \+ half\]", "* 2 + 1 - half]"), "exact", "weights of a pair in the wrong order"),
        (TILE_KERNEL, (r"x \+ n \* 8 \+ lane", "x + n * 8 + (lane ^ 1)"), "exact", "another pair multiplied"),
        (
            TILE_KERNEL,
            (r"inside \? lanes : 0", "inside ? 0xffff : 0"),
            "gaussian",
            "lanes without a channel multiplied",
        ),
        (
            TILE_KERNEL,
            (r"pbh\(d\[i\]\[j\]\)", "pbh(_mm512_cvtph_ps(_mm512_cvtps_ph(d[i][j], 0)))"),
            "gaussian",
            "factors rounded twice",
        ),
        (TILE_KERNEL, (r"bits \+= .*", ""), "gaussian", "weights cut off instead of rounded"),
        (TILE_KERNEL, (r"bfloat16_of\(factors\[t\]\)", "half_way(factors[t])"), "gaussian", "weights rounded twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_planted_errors_are_found(kernel: str, change: tuple[str, str], regime: str, what: str) -> None:
    # Where no channel is, the inverse of 0 is infinite; elsewhere nothing may happen to integers.
    kind = "Reciprocal" if "lanes" in what else "Abs"
    picture, sums = "Channels=19 Height=5 Width=16", f"Conv FromTensor=a ToTensor=y {conv(21, more=SAME)}"
    if kernel == FULL_KERNEL:
        picture, sums = "Channels=19 Height=2 Width=3", "FullyConnected FromTensor=a ToTensor=y ToChannels=21"
    if kernel == GROUPED_KERNEL:
        grouped = conv(64, more=f"{SAME} Groups=16")
        picture, sums = "Channels=32 Height=3 Width=7", f"Conv FromTensor=a ToTensor=y {grouped}"
    text = f"""\
Config Prefix=Net
Input ToTensor=x {picture}
Concat FromTensor1=x FromTensor2=x ToTensor=z
Activation FromTensor=z ToTensor=a Kind={kind}
{sums}
Output FromTensor=y
"""
    options = forcing(kernel)
    graph, emitted = parse(text), compile_graph(text, options)
    case = Case(text, options.to_dict(), "-O0", (DataSeed("gaussian" if regime == "ties" else regime, 1),))
    (data,) = draw(case, graph)
    if regime == "ties":  # 8 bits and a half
        weights = 1 + np.float32(2.0**-8) * np.arange(1, 257, 2, dtype=np.float32)
        params = {name: np.resize(weights, array.shape) for name, array in data.params.items()}
        data = replace(data, params=params)

    def judge(source: str) -> Report:
        sources = Sources(emitted.prefix, emitted.header, source, emitted.plan)
        return check_sources(case, graph, sources, [data], runner_for(), strict=source == emitted.source)

    assert judge(emitted.source).verified, what
    wrong, places = re.subn(*change, emitted.source, count=1)
    assert places == 1
    wrong = wrong.replace(FIRST_OF_TILES, f"{HALF_WAY}{FIRST_OF_TILES}")
    found = judge(wrong)
    assert [problem.kind for problem in found.problems] == ["values"]


def test_weights_with_a_batch_norm_are_rounded_once() -> None:
    """The product is a little more than the middle between two bfloat16; as a float it would be that middle."""
    weight, scale = np.float32(1 + 501 * 2.0**-23), np.float32(1)
    for steps in range(1, 1 << 15):  # weight * scale = 1 + 2^-8 + less than half a unit of a float
        weight = np.float32(1 + steps * 2.0**-23)
        scale = np.float32(np.ceil((1 + 2.0**-8) / np.float64(weight) * 2.0**23) / 2.0**23)
        above = np.float64(weight) * np.float64(scale) - (1 + 2.0**-8)
        if 0 < above < 2.0**-25:
            break
    assert np.float32(np.float64(weight) * np.float64(scale)) == 1 + 2.0**-8
    text = net((1, 1, 2), conv(1, "1x1")).replace(
        "Output FromTensor=y0", "BatchNorm FromTensor=y0 ToTensor=b Epsilon=0\nOutput FromTensor=b"
    )
    params = {name: np.zeros(1, np.float32) for name in ("y0Biases", "bMeans", "bShifts")}
    params |= {
        "y0Weights": np.full((1, 1, 1, 1), weight),
        "bScales": np.full(1, scale),
        "bVariances": np.ones(1, np.float32),
    }
    with nn512.Session(text, params, options=PAIRED) as session:
        result = session.run({"x": np.ones((1, 1, 2), np.float32)})["b"]
    assert (result == 1 + 2.0**-7).all()


@pytest.mark.native
@pytest.mark.parametrize("kernel", [KERNEL, FULL_KERNEL, GROUPED_KERNEL, TILE_KERNEL])
def test_portable_intrinsics_give_the_same_bits(kernel: str) -> None:
    """Numbers of all sizes, subnormal sums among them."""
    compiler = find_compiler()
    if not has_bfloat16(compiler):
        pytest.skip("this processor has no AVX512_BF16")
    text = net((35, 4, 5), conv(16, more=SAME))
    if kernel == FULL_KERNEL:
        text = text.replace("Conv ", "FullyConnected ").replace(conv(16, more=SAME), "ToChannels=16")
    if kernel == GROUPED_KERNEL:
        text = net((32, 4, 5), conv(32, more=f"{SAME} Groups=4"))
    graph, emitted = parse(text), compile_graph(text, forcing(kernel))
    assert kernel in {layer.kernel for layer in emitted.plan.layers}
    portable = soft.probe(compiler)
    assert isinstance(portable, Runner)
    results = []
    for runner in (runner_for(), portable):
        executable = build_net(graph, emitted.header, emitted.source, runner, flags=("-Og",))
        of_runner = []
        for regime, scale in (("gaussian", 1.0), ("wide", 1.0), ("gaussian", 2.0**-120)):
            data = regimes.draw(graph, regime, 3)
            inputs = {name: array * np.float32(scale) for name, array in data.inputs.items()}
            (outputs,) = execute(executable, data.params, [inputs], LIGHT).outputs
            of_runner += [outputs[name].view(np.uint32) for name in sorted(outputs)]
        results.append(of_runner)
    for native, other in zip(*results, strict=True):
        assert np.array_equal(native, other)


def test_what_cannot_be_rounded_so_is_computed_otherwise() -> None:
    """An average that moved before a convolution."""
    after = "Pooling FromTensor=c ToTensor=y Kind=AvgGlobal\nOutput FromTensor=y\n"
    start = "Config\nInput ToTensor=x Channels=64 Height=8 Width=8\n"
    moved = f"{start}Conv FromTensor=x ToTensor=c {conv(32, '1x1')}\n{after}"
    assert KERNEL not in {layer.kernel for layer in layers(moved)}
    (layer,) = layers(moved, replace(PAIRED, without_passes=("pool_first",)))
    assert layer.kernel == KERNEL


def test_a_batch_norm_before_is_a_step_on_what_is_read() -> None:
    """Folded into the weights it would change what is rounded; what it shifts is padded with zeros either way."""
    start = "Config Prefix=Net\nInput ToTensor=x Channels=19 Height=5 Width=6\n"
    start += "Pooling FromTensor=x ToTensor=p Kind=Max2x2Stride2\n"
    norm = "BatchNorm FromTensor=p ToTensor=n Epsilon=0.75\n"
    for sums in (f"Conv {conv(17, '1x1')}", f"Conv {conv(17, more=SAME)}", "FullyConnected ToChannels=17"):
        layer = sums.replace(" ", " FromTensor=n ToTensor=y ", 1)
        text = f"{start}{norm}{layer}\nOutput FromTensor=y\n"
        report = check(text, "-O1", kernel=FULL_KERNEL if sums.startswith("Full") else KERNEL)
        assert {"direct-bf16", "fully_connected_bf16"} & {layer.kernel for layer in report.layers}
        assert not any("weights" in node.why for layer in report.layers for node in layer.nodes)


def test_the_platform_alone_brings_the_kernel() -> None:
    """With it prices decide, and both are told; without it nothing of it is there, forced or not."""
    text = net((64, 14, 14), conv(128, "1x1"))
    (layer,) = layers(text, Options(platform="AVX512BFloat16"))
    assert layer.kernel == KERNEL
    assert layer.weights == "bf16"
    assert {KERNEL, "direct", "pointwise"} <= set(layer.prices)
    assert "rounding  adds an error (rms, relative to that of random results): direct-bf16 2.3e-03" in explain(
        compile_graph(text, Options(platform="AVX512BFloat16")).plan
    )
    (forced,) = layers(text, Options(force=(("", KERNEL),)))
    assert KERNEL not in forced.prices
    assert "bf16" not in compile_graph(text, Options(force=(("", KERNEL),))).source
    of_config = compile_graph(text.replace("Config", "Config Platform=AVX512BFloat16"))
    assert of_config.source == compile_graph(text, Options(platform="AVX512BFloat16")).source
    back = compile_graph(text.replace("Config", "Config Platform=AVX512BFloat16"), Options(platform="AVX512Float32"))
    assert back.source == compile_graph(text).source


def test_a_processor_without_the_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = emitted_net.NEEDS_BFLOAT16
    monkeypatch.setattr(emitted_net, "NEEDS_BFLOAT16", text.replace('__builtin_cpu_supports("avx512bf16")', "0"))
    graph = parse(net((4, 3, 3), conv(4, "1x1")))
    params = regimes.draw(graph, "exact", 0).params
    with pytest.raises(CannotRunError, match="Net: this processor does not have AVX512_BF16; emit the net for"):
        nn512.Session(graph, params, options=PAIRED)


def test_a_net_without_such_layers_asks_for_nothing() -> None:
    emitted = compile_graph(net((4, 3, 3), conv(4, more="Groups=4")), PAIRED)
    assert not uses_bfloat16(emitted.plan)
    assert "avx512bf16" not in emitted.source


def test_where_the_processor_lacks_them_cases_run_on_portable_intrinsics() -> None:
    runner = replace(runner_for(), name="other", bfloat16=False)
    instead = with_bfloat16(runner)
    assert instead.name == "soft"
    assert instead.reason == "intrinsics in portable C, as other does not execute AVX512_BF16"
    assert with_bfloat16(instead) is instead
    text = net((5, 3, 4), conv(3))
    case = Case(text, PAIRED.to_dict(), "-O0", (DataSeed("exact", 1),))
    assert check_case(case, runner=runner).ran == instead
    plain = check_case(replace(case, options={}), runner=runner)
    assert plain.ran == runner
