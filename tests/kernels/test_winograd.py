"""Winograd kernels: every tile on every edge class, exact where its arithmetic is, and halves of any magnitude."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pytest

import nn512
import reference
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.arrays import Array
from nn512.errors import UsageError
from nn512.graph import parse
from nn512.kernels.registry import kernel_named
from nn512.kernels.winograd import KERNELS, TILES
from nn512.options import Options
from nn512.params import random_params

NAMES = tuple(kernel.name for kernel in KERNELS)
HALVES = tuple(name for name in NAMES if name.endswith("-fp16"))
PAIRS = tuple(name for name in NAMES if name.endswith("-bf16"))
SINGLES = tuple(name for name in NAMES if name not in {*HALVES, *PAIRS})
REGIMES = ("tiles", "gaussian", "nonfinite")
FILTERS = ((3, 3), (5, 5), (2, 2), (3, 2), (1, 3), (3, 1), (1, 5), (5, 1), (1, 7), (7, 1))

# Channels, height and width of inputs. Tiles are larger than the first ones.
PICTURES = ((17, 1, 1), (3, 2, 3), (16, 7, 7), (33, 30, 9))


def text_of(*lines: str) -> str:
    return "\n".join(("Config Prefix=Net", *lines)) + "\n"


def forcing(kernel: str, layer: str = "") -> Options:
    """A kernel forced upon a layer, or wherever it applies, on the platform that it is for."""
    return Options(force=((layer, kernel),), platform=kernel_named(kernel).platform)


def check(text: str, kernel: str, regimes: Iterable[str] = REGIMES) -> Report:
    """The report of a check with a kernel forced wherever it applies; nothing may be wrong with it."""
    data = tuple(DataSeed(regime, 1) for regime in regimes)
    report = check_case(Case(text, forcing(kernel).to_dict(), "-Og", data))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def computed_by(report: Report, kernel: str) -> set[str]:
    """The convolutions that a kernel computes."""
    return {layer.name for layer in report.layers if layer.kernel == kernel}


def classes(report: Report, kernel: str) -> set[str]:
    """Edge classes of all layers of a kernel."""
    return {name for layer in report.layers if layer.kernel == kernel for name in layer.edge_classes}


def panels(found: Iterable[str]) -> set[int]:
    """Blocks of outputs that are summed at a time, by edge classes."""
    return {int(name.split()[2]) for name in found if name.startswith("pass of")}


def has_tiles(kernel: str, taps: tuple[int, int]) -> bool:
    """Whether a kernel is for filters of a size: not of too many products, and a rectangle takes two dimensions."""
    outputs = tuple(map(int, kernel.split("-")[1].split("x")))
    products = [results + count - 1 for results, count in zip(outputs, taps, strict=True) if count > 1]
    return max(products) <= 8 and (outputs[0] == outputs[1] or len(products) == 2)


def convolution(
    to: str, source: str, outputs: int, taps: tuple[int, int], padding: tuple[int, int], more: str = ""
) -> str:
    size = f"FilterH={taps[0]} FilterW={taps[1]} PaddingH={padding[0]} PaddingW={padding[1]}"
    return f"Conv FromTensor={source} ToTensor={to} ToChannels={outputs} {size} {more}"


def geometries(shift: int) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """Pictures, filters and paddings: with a different `shift` each filter meets each picture with another padding."""
    for (number, (_, height, width)), (which, taps) in itertools.product(enumerate(PICTURES), enumerate(FILTERS)):
        paddings = ((0, 0), (1, 1), (taps[0] // 2, taps[1] // 2), taps)
        fitting = [p for p in paddings if height + 2 * p[0] >= taps[0] and width + 2 * p[1] >= taps[1]]
        yield number, taps, fitting[(number + which + shift) % len(fitting)]


@pytest.mark.parametrize("kernel", NAMES)
def test_filters_paddings_and_pictures(kernel: str, runs_here: str) -> None:
    """Outputs of 1, 16, 21 and 35 channels: one panel or several, whole blocks and partial ones.

    What has too many products is only planned: that another kernel computes it right is for other tests to see.
    """
    assert runs_here
    inputs = [f"Input ToTensor=x{n} Channels={c} Height={h} Width={w}" for n, (c, h, w) in enumerate(PICTURES)]
    lines: dict[str, list[str]] = {}
    expected = set[str]()
    for count, (number, taps, padding) in enumerate(geometries(NAMES.index(kernel))):
        name = f"y{count}"
        outputs = (1, 16, 21, 35)[(number + count) % 4]
        lines[name] = [convolution(name, f"x{number}", outputs, taps, padding), f"Output FromTensor={name}"]
        expected |= {name} if has_tiles(kernel, taps) else set()
    whole = nn512.compile(text_of(*inputs, *itertools.chain(*lines.values())), forcing(kernel)).plan
    assert {layer.name for layer in whole.layers if layer.kernel == kernel} == expected
    report = check(text_of(*inputs, *(line for name in lines if name in expected for line in lines[name])), kernel)
    assert computed_by(report, kernel) == expected
    found = classes(report, kernel)
    assert {"inside", "clipped", "tiles in steps"} <= found
    assert panels(found) == {1, 2}
    assert {f"input tail {tail}" for tail in (0, 1, 3)} | {f"output tail {tail}" for tail in (0, 1, 3, 5)} <= found
    assert len({name for name in found if "overhang" in name}) > 2


# What stands around a convolution: pieces of a concatenation, norms on both sides, steps before and behind.
AROUND = (
    "Input ToTensor=x Channels=20 Height=7 Width=10",
    "Conv FromTensor=x ToTensor=a ToChannels=5 FilterH=1 FilterW=1",
    "Conv FromTensor=x ToTensor=b ToChannels=20 FilterH=1 FilterW=1",
    "Concat FromTensor1=a FromTensor2=b ToTensor=pieces",
    "Conv FromTensor=pieces ToTensor=inPieces ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1",
    "BatchNorm FromTensor=inPieces ToTensor=normed",
    "Add FromTensor1=normed FromTensor2=x ToTensor=sum",
    "Activation FromTensor=sum ToTensor=behind Kind=ReLU Param=0.25",
    "BatchNorm FromTensor=behind ToTensor=before",
    "Conv FromTensor=before ToTensor=folded ToChannels=40 FilterH=3 FilterW=3",
    "Activation FromTensor=folded ToTensor=swished Kind=HardSwish",
    "BatchNorm FromTensor=behind ToTensor=normedFirst",
    "Activation FromTensor=normedFirst ToTensor=first Kind=ReLU",
    "Conv FromTensor=first ToTensor=prepared ToChannels=33 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1",
    "Output FromTensor=behind",
    "Output FromTensor=folded",
    "Output FromTensor=swished",
    "Output FromTensor=prepared",
)


@pytest.mark.parametrize("kernel", NAMES)
def test_what_is_around(kernel: str, runs_here: str) -> None:
    """A norm before is folded into weights of floats alone: halves of such weights could leave their range.

    For the platform of pairs it is not folded at all, but a step on what is read.
    """
    assert runs_here
    report = check(text_of(*AROUND), kernel)
    behind, folded, prepared = "behind", "folded", "prepared"
    assert computed_by(report, kernel) == ({behind, prepared} if kernel in HALVES else {behind, folded, prepared})
    assert "inputs in segments, tail 9" in classes(report, kernel)


GROUPS = (
    "Input ToTensor=x Channels=96 Height=6 Width=5",
    "Input ToTensor=z Channels=32 Height=23 Width=22",
    convolution("sixteens", "x", 96, (3, 3), (1, 1), "Groups=6"),
    convolution("thirtytwos", "x", 144, (3, 3), (0, 1), "Groups=3"),
    convolution("blocks", "z", 96, (3, 3), (1, 1), "Groups=2"),
    convolution("partial", "x", 40, (3, 3), (1, 1), "Groups=2"),
    *(f"Output FromTensor={name}" for name in ("sixteens", "thirtytwos", "blocks", "partial")),
)


@pytest.mark.parametrize("kernel", NAMES)
def test_groups(kernel: str, runs_here: str) -> None:
    assert runs_here
    report = check(text_of(*GROUPS), kernel)
    assert computed_by(report, kernel) == {"sixteens", "thirtytwos", "blocks"}, "groups of whole blocks"
    assert "groups" in classes(report, kernel)
    assert panels(classes(report, kernel)) == {1, 2}


def net(channels: int, height: int, width: int, outputs: int, more: str = "PaddingH=1 PaddingW=1") -> str:
    """A 3x3 convolution."""
    return text_of(
        f"Input ToTensor=x Channels={channels} Height={height} Width={width}",
        f"Conv FromTensor=x ToTensor=y ToChannels={outputs} FilterH=3 FilterW=3 {more}",
        "Output FromTensor=y",
    )


@functools.cache
def planned(text: str, kernel: str) -> tuple[frozenset[str], str]:
    """Edge classes of the forced layer, and the emitted text."""
    made = nn512.compile(text, forcing(kernel, "y"))
    (layer,) = (layer for layer in made.plan.layers if layer.name == "y")
    return frozenset(layer.edge_classes), made.source


# Rows, columns and outputs of a picture in tiles of 2x2, and what is special about these.
CUTS = {
    "one pass of steps": (8, 6, 33, {"tiles in steps", "pass of 2 x 12", "pass of 1 x 12"}, ""),
    "most of steps": (8, 14, 33, {"tiles in steps", "pass of 1 x 28"}, ""),
    "blocks of one size": (12, 14, 33, {"tiles in blocks", "pass of 2 x 14", "pass of 1 x 14"}, ""),
    "blocks of two sizes": (2, 58, 65, {"tiles in blocks", "pass of 2 x 10", "pass of 2 x 9"}, "tiles == 10"),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kernel", ["winograd-2x2", "winograd-2x2-fp16", "winograd-2x2-bf16"])
def test_cuts(kernel: str, cut: str, runs_here: str) -> None:
    assert runs_here
    height, width, outputs, expected, text = CUTS[cut]
    graph = net(19, height, width, outputs)
    found, source = planned(graph, kernel)
    if kernel in PAIRS and cut == "most of steps":  # two passes
        expected = {"tiles in steps", "pass of 2 x 14", "pass of 1 x 28"}
    assert expected <= found
    assert text in source
    check(graph, kernel)


@pytest.mark.parametrize(
    ("graph", "steps"),
    [(net(20, 9, 23, 40), True), (net(20, 40, 30, 40), False), (net(64, 40, 30, 64, "Groups=2"), False)],
)
@pytest.mark.parametrize("kernel", ["winograd-4x4", "winograd-2x4-fp16", "winograd-4x4-bf16"])
def test_threads_change_no_bit(kernel: str, graph: str, runs_here: str, *, steps: bool) -> None:
    assert runs_here
    found, _ = planned(graph, kernel)
    assert ("tiles in steps" in found) == (steps and kernel != "winograd-2x4-fp16")
    params, inputs = drawn(graph)
    results = [run(graph, kernel, params, inputs, threads) for threads in (1, 2, 3)]
    assert all(result.tobytes() == results[0].tobytes() for result in results)


def drawn(graph: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Parameters and an input."""
    parsed = parse(graph)
    noise = np.random.default_rng(5).standard_normal(tuple(parsed.shapes["x"])).astype(np.float32)
    return dict(random_params(parsed, 3)), {"x": noise}


def run(
    graph: str, kernel: str, params: Mapping[str, Array], inputs: Mapping[str, Array], threads: int = 1
) -> npt.NDArray[np.float32]:
    with nn512.Session(graph, params, threads, options=forcing(kernel, "y")) as session:
        return session.run(inputs)["y"]


def value(graph: str, params: Mapping[str, Array], inputs: Mapping[str, Array]) -> npt.NDArray[np.float64]:
    """What the convolution is in float64."""
    result: npt.NDArray[np.float64] = reference.run(parse(graph), params, inputs)["y"].value
    return result


DIVISORS = {(2, 2): 1, (3, 3): 81, (4, 4): 81, (5, 5): 2025, (2, 4): 9}
"""What the weights of a 3x3 filter must be multiples of so that transformed ones have finite binary fractions."""


@pytest.mark.parametrize("tile", TILES)
def test_integers_are_exact(tile: tuple[int, int], runs_here: str) -> None:
    """Bit for bit with weights that can be divided; F(2x2) takes all integers, with halves and with pairs too.

    An output sees one channel, so that sums have no more than 24 bits.
    """
    assert runs_here
    kernel, graph, rng = f"winograd-{tile[0]}x{tile[1]}", net(19, 9, 11, 21), np.random.default_rng(1)
    inputs = {"x": rng.integers(-1, 2, (19, 9, 11)).astype(np.float32)}
    ones = {"yWeights": np.zeros((21, 19, 3, 3)), "yBiases": rng.integers(-9, 9, 21)}
    ones["yWeights"][range(21), rng.integers(0, 19, 21)] = rng.integers(-1, 2, (21, 3, 3))

    def right(divisor: int, kernel: str) -> bool:
        params = {name: (array * divisor).astype(np.float32) for name, array in ones.items()}
        return np.array_equal(run(graph, kernel, params, inputs), value(graph, params, inputs))

    assert right(DIVISORS[tile], kernel)
    assert DIVISORS[tile] == 1 or not right(1, kernel)
    assert DIVISORS[tile] > 1 or (right(1, f"{kernel}-fp16") and right(1, f"{kernel}-bf16"))


def test_single_precision_has_no_halves() -> None:
    """Half weights would be taken here, because two threads share the memory."""
    text = net(512, 7, 7, 512)
    (layer,) = (layer for layer in nn512.compile(text).plan.layers if layer.name == "y")
    assert set(HALVES) <= set(layer.prices)
    (layer,) = (layer for layer in nn512.compile(text, Options(weights="fp32")).plan.layers if layer.name == "y")
    assert layer.kernel in SINGLES
    assert layer.weights == "fp32"
    assert not set(HALVES) & set(layer.prices)
    for kernel in HALVES:
        with pytest.raises(UsageError, match="cannot compute layer 'y'"):
            nn512.compile(text, Options(weights="fp32", force=(("y", kernel),)))
        (layer,) = (
            layer
            for layer in nn512.compile(text, Options(weights="fp32", force=(("", kernel),))).plan.layers
            if layer.name == "y"
        )
        assert layer.weights == "fp32"


def relative(result: npt.NDArray[np.float32], true: npt.NDArray[np.float64]) -> float:
    """Root mean square of the error over that of the channel, of all channels."""
    error = np.square(result - true).mean(axis=(1, 2)) / np.square(true).mean(axis=(1, 2))
    return float(np.sqrt(error.mean()))


@pytest.mark.parametrize("kernel", HALVES)
def test_halves_of_every_magnitude_err_alike(kernel: str, runs_here: str) -> None:
    """Weights scaled as a whole, and each output's weights by another power."""
    assert runs_here
    graph = net(32, 12, 12, 48)
    params, inputs = drawn(graph)
    weights = params["yWeights"].astype(np.float64)
    mixed = 10.0 ** np.random.default_rng(2).uniform(-6, 6, (48, 1, 1, 1))
    scales: list[npt.NDArray[np.float64]] = [mixed, *(np.array(10.0**power) for power in (0, -6, -4, -2, 2, 4, 6))]
    errors = []
    for scale in scales:
        scaled = {"yWeights": (weights * scale).astype(np.float32), "yBiases": np.zeros(48, np.float32)}
        errors.append(relative(run(graph, kernel, scaled, inputs), value(graph, scaled, inputs)))
    assert 1e-4 < errors[1] < 5e-3, "halves have 11 bits"
    assert max(errors) < 1.1 * errors[1]
    assert min(errors) > errors[1] / 1.1


def test_weights_are_fetched_ahead_by_the_size_of_the_cache() -> None:
    """An eighth of the level 1 cache that Config names, in floats."""
    conv = "Conv FromTensor=x ToTensor=y ToChannels=32 FilterH=3 FilterW=3\n"
    text = f"Input ToTensor=x Channels=32 Height=6 Width=6\n{conv}"
    for cache, ahead in (("32KiB", 1024), ("48KiB", 1536), ("1", 16)):
        config = f"Config Prefix=N L1DataCachePerThread={cache}\n"
        options = Options(force=(("y", "winograd-4x4"),))
        source = nn512.compile(f"{config}{text}Output FromTensor=y\n", options).source
        assert re.search(rf"multiply_2xN\([^;]*, {ahead},\s", source)
