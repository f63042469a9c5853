"""Convolutions by Fourier transforms: every form on edge shapes against the reference, what the plan says."""

from __future__ import annotations

import numpy as np
import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from fuzz.judge.report import Report
from nn512.compiler import compile as compile_graph
from nn512.kernels.fourier_tile import FEW_TILES
from nn512.options import Options
from nn512.params import random_params
from nn512.plan.plan import PlannedLayer

REGIMES = ("exact", "gaussian", "nonfinite", "tiles")

Pair = tuple[int, int]


def net(shape: tuple[int, int, int], outputs: int, more: str, after: str = "") -> str:
    """A net of one convolution, and perhaps a layer behind it that reads y and writes z."""
    channels, height, width = shape
    lines = ["Config Prefix=Net", f"Input ToTensor=x Channels={channels} Height={height} Width={width}"]
    lines += [f"Conv FromTensor=x ToTensor=y ToChannels={outputs} {more}", after]
    return "\n".join([*lines, f"Output FromTensor={'z' if after else 'y'}", ""])


def conv(taps: Pair, stride: Pair = (1, 1), padding: Pair | None = None, groups: int = 1) -> str:
    """A convolution's fields; the padding that keeps the size, unless another is given."""
    top, left = padding or (taps[0] // 2, taps[1] // 2)
    return (
        f"FilterH={taps[0]} FilterW={taps[1]} StrideH={stride[0]} StrideW={stride[1]} PaddingH={top} PaddingW={left} "
        f"Groups={groups}"
    )


def planned(text: str, kernel: str) -> PlannedLayer | None:
    """The convolution's entry in the plan, if the kernel computes it when it is forced."""
    layers = compile_graph(text, Options(force=(("", kernel),))).plan.layers
    return next((layer for layer in layers if layer.kernel == kernel), None)


def check(text: str, kernel: str, optimisation: str = "-Og") -> Report:
    """The report of a check with a kernel forced, which must have applied; nothing may be wrong with it."""
    data = tuple(DataSeed(regime, 1) for regime in REGIMES)
    report = check_case(Case(text, {"force": [["", kernel]]}, optimisation, data))
    assert any(layer.kernel == kernel for layer in report.layers)
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified
    return report


def classes(report: Report) -> set[str]:
    """The edge cases that were checked."""
    return {name for layer in report.layers for name in layer.edge_classes}


@pytest.mark.parametrize("halves", ["", "-fp16"])
@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 2)])
def test_tiles(size: int, stride: Pair, halves: str) -> None:
    """Tiles that overhang, channels in the last block that are none, a chain behind; all strides."""
    kernel = f"fourier-{size}{halves}"
    relu = "Activation FromTensor=y ToTensor=z Kind=ReLU Param=0.1"
    optimisation = "-O1" if stride == (1, 2) else "-Og"
    found = classes(check(net((20, 19, 11), 36, conv((7, 7), stride), relu), kernel, optimisation))
    phases = f"phases {stride[0] * stride[1]}"
    assert {"transforms of both", phases, "input tail 4", "output tail 4", "clipped"} <= found
    assert not any("groups" in name for name in found)


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [("fourier-8", 1), ("fourier-16", 2), ("fourier-32", 1), ("fourier-64", 2), ("fourier-32-fp16", 2)],
)
def test_filters_of_one_row_or_column(kernel: str, stride: int) -> None:
    """A single axis is transformed; the other has a stride and padding of its own."""
    check(net((17, 3, 70), 33, conv((1, 7), (2, stride), (1, 3))), kernel, "-O1")
    check(net((16, 70, 3), 16, conv((7, 1), (stride, 1), (0, 2))), kernel)


def test_long_filters_of_one_row() -> None:
    check(net((16, 1, 150), 16, conv((1, 31), padding=(0, 0))), "fourier-64")
    check(net((16, 1, 150), 16, conv((1, 62), (1, 2))), "fourier-64")


@pytest.mark.parametrize(
    ("shape", "taps", "kernel", "pieces"),
    [
        ((16, 1, 600), (1, 512), "fourier-64-fp16", 16),
        ((17, 1, 90), (1, 64), "fourier-64", 2),
        ((17, 90, 2), (33, 1), "fourier-32", 3),
        ((3, 1, 40), (1, 9), "fourier-8", 3),
    ],
)
def test_longer_filters_are_cut_into_pieces(shape: tuple[int, int, int], taps: Pair, kernel: str, pieces: int) -> None:
    """Each is a channel, and sees the tile moved by its taps; the last one may have fewer of them."""
    report = check(net(shape, 20, conv(taps)), kernel, "-O1" if kernel.endswith("fp16") else "-Og")
    assert any(f"of {pieces} pieces of the filter" in layer.algorithm for layer in report.layers)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [((1, 1, 1), "fourier-8"), ((3, 1, 1), "fourier-16"), ((3, 2, 40), "fourier-16"), ((33, 4, 3), "fourier-8")],
)
def test_pictures_smaller_than_a_tile(shape: tuple[int, int, int], kernel: str) -> None:
    check(net(shape, 5, conv((7, 7), padding=(6, 3))), kernel)
    check(net(shape, 17, conv((7, 6), (2, 2))), kernel)


@pytest.mark.parametrize("kernel", ["fourier-8", "fourier-16-fp16"])
def test_groups_of_whole_blocks(kernel: str) -> None:
    found = classes(check(net((96, 9, 9), 64, conv((7, 7), (2, 2), groups=2)), kernel))
    assert "groups" in found
    assert planned(net((24, 9, 9), 24, conv((5, 5), groups=3)), kernel) is None, "groups share blocks"


@pytest.mark.parametrize(("size", "taps", "stride"), [(16, 3, 1), (16, 5, 2)])
def test_tiles_of_many_rows_would_need_too_much_stack(size: int, taps: int, stride: int) -> None:
    text = net((16, 30, 30), 16, conv((taps, taps), (stride, stride)))
    assert planned(text, f"fourier-{size}") is None
    assert planned(net((16, 30, 30), 16, conv((taps + stride, taps + stride), (stride, stride))), f"fourier-{size}")


def test_a_layer_of_which_some_pixels_are_not_computed_has_no_tiles() -> None:
    """The reference knows the tiles of the whole node, of which the layer behind it reads every second pixel."""
    text = net((16, 14, 14), 16, conv((5, 5)), f"Conv FromTensor=y ToTensor=z ToChannels=16 {conv((1, 1), (2, 2))}")
    assert planned(text, "fourier-8") is None
    assert planned(text.replace("StrideH=2 StrideW=2", ""), "fourier-8")


def test_many_tiles_are_computed_in_blocks() -> None:
    """Of 7 x 7 tiles and of 10 x 9: in blocks of the same size, and of two sizes."""
    for height, width in ((20, 28), (39, 35)):
        text = net((16, height, width), 48, conv((5, 5)))
        found = classes(check(text, "fourier-8"))
        several = -(-height // 4) * -(-width // 4) > FEW_TILES
        assert f"tiles in {'blocks' if several else 'steps'}" in found


def test_what_stands_before_and_in_odd_places() -> None:
    """A batch norm and an activation before the convolution, over a concatenation whose parts end inside blocks."""
    text = """
        Config Prefix=Net
        Input ToTensor=a Channels=20 Height=9 Width=9
        Input ToTensor=b Channels=7 Height=9 Width=9
        Activation FromTensor=a ToTensor=r Kind=ReLU Param=0
        Concat FromTensor1=r FromTensor2=b ToTensor=c
        BatchNorm FromTensor=c ToTensor=n
        Activation FromTensor=n ToTensor=m Kind=ReLU Param=0
        Conv FromTensor=m ToTensor=y ToChannels=18 FilterH=5 FilterW=5 PaddingH=2 PaddingW=2 StrideH=2 StrideW=2
        Add FromTensor1=y FromTensor2=y ToTensor=z
        Output FromTensor=z
        Conv FromTensor=c ToTensor=w ToChannels=5 FilterH=7 FilterW=7 PaddingH=3 PaddingW=3
        BatchNorm FromTensor=w ToTensor=v
        Output FromTensor=v
    """
    for kernel in ("fourier-8", "fourier-16-fp16"):
        assert any("in segments" in name for name in classes(check(text, kernel)))


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize("kernel", ["fourier-8", "fourier-16", "fourier-8-fp16"])
def test_threads_compute_the_same_bits(kernel: str) -> None:
    """In steps and in blocks of tiles alike."""
    for shape in ((40, 9, 11), (16, 43, 37)):
        text = net(shape, 36, conv((5, 5)))
        x = np.random.default_rng(3).standard_normal(shape, np.float32)
        graph = nn512.parse(text)
        found = []
        for threads in (1, 2, 3):
            options = Options(force=(("", kernel),))
            with nn512.Session(graph, random_params(graph, 4), threads, options=options) as session:
                found.append(session.run({"x": x})["y"])
        assert all(np.array_equal(found[0], other) for other in found)


@pytest.mark.parametrize(
    ("kernel", "taps", "stride", "applies"),
    [
        ("fourier-8", (7, 7), (1, 1), True),
        ("fourier-8", (8, 8), (1, 1), False),  # a single result
        ("fourier-8", (13, 13), (2, 2), True),
        ("fourier-16", (3, 1), (1, 5), True),
        ("fourier-16", (3, 3), (1, 3), False),  # more phases than are worth it
        ("fourier-16", (1, 1), (1, 1), False),
        ("fourier-32", (3, 3), (1, 1), False),
        ("fourier-64", (1, 63), (1, 1), True),
        ("fourier-64", (1, 64), (1, 1), True),  # in pieces
        ("fourier-64", (1, 64), (1, 3), False),
    ],
)
def test_where_they_apply(kernel: str, taps: Pair, stride: Pair, *, applies: bool) -> None:
    text = net((16, 70, 70), 16, conv(taps, stride, (0, 0)))
    assert (planned(text, kernel) is not None) == applies
    dilated = net((16, 70, 70), 16, conv((3, 1), padding=(0, 0)) + " DilationH=2")
    assert planned(dilated, "fourier-16") is None


def test_what_the_plan_says() -> None:
    layer = planned(net((64, 56, 56), 64, conv((7, 7), (2, 2))), "fourier-16")
    assert layer is not None
    assert layer.algorithm == (
        "Fourier transforms of 16x16 of 4 phases, 13x13 results each, 4.08 times fewer multiplications, 9 tiles, "
        "5 of them overhang by 11 rows or columns"
    )
    assert layer.arithmetic == "fourier"
    assert layer.tiles is not None
    axis = layer.tiles.rows
    assert (axis.outputs, axis.taps, axis.size, axis.points) == (13, 4, 16, ())
    assert layer.tiles.columns == axis
    assert (layer.tiles.down, layer.tiles.across) == (3, 3)


def test_large_filters_take_them_by_cost() -> None:
    """And small ones do not."""

    def kernel(taps: Pair) -> str:
        layers = nn512.compile(net((64, 56, 56), 64, conv(taps)), Options(weights="fp32")).plan.layers
        return next(layer.kernel for layer in layers if layer.tiles is not None)

    assert kernel((7, 7)) == "fourier-16"
    assert kernel((9, 9)) == "fourier-16"
    assert kernel((3, 3)).startswith("winograd")
