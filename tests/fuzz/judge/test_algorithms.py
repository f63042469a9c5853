"""The reference is told by the plan how each long sum is evaluated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nn512
import reference
from fuzz.campaign.measure import kernels_by_arithmetic
from fuzz.judge.algorithms import rounding_of
from fuzz.judge.limits import LIMITS
from nn512.graph import parse
from nn512.kernels.registry import KERNELS
from nn512.plan.plan import PlannedAxis, PlannedTiles

CONV_FIELDS = "ToChannels=4 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1"
GRAPH = parse("""\
Config
Input ToTensor=x Channels=3 Height=9 Width=9
Conv FromTensor=x ToTensor=c ToChannels=4 FilterH=3 FilterW=5 PaddingH=1 PaddingW=2
Activation FromTensor=c ToTensor=r Kind=ReLU
FullyConnected FromTensor=r ToTensor=f ToChannels=2
Output FromTensor=f
""")
PLAN = nn512.compile(GRAPH, nn512.Options(weights="fp32")).plan
CONV, FULL = (next(layer for layer in PLAN.layers if tensor in layer.covers) for tensor in ("c", "f"))
LAYERS = (CONV, FULL)

TRIVIAL = PlannedAxis(outputs=1, taps=3, size=1, points=())
FOUR = PlannedAxis(outputs=4, taps=3, size=6, points=("0", "5/8", "-5/8", "3/2", "-3/2", "inf"))
TWO = PlannedAxis(outputs=2, taps=5, size=6, points=("0", "1/2", "-1/2", "3/2", "-3/2", "inf"))
SIXTEEN = PlannedAxis(outputs=12, taps=5, size=16, points=())


def test_what_is_direct_in_float32_needs_no_word() -> None:
    assert rounding_of(GRAPH, LAYERS) == {}


def test_fp16_is_that_of_long_sums_alone() -> None:
    half = replace(FULL, weights="fp16", covers=(*FULL.covers, "r"))
    copy = replace(FULL, weights="fp32")  # stands for the same node, without doing its sums
    assert rounding_of(GRAPH, (CONV, half, copy)) == {"f": reference.HALF_WEIGHTS}


def test_bfloat16_is_known_exactly_but_for_weights_with_a_batch_norm() -> None:
    """One of the result may be folded in before the weights are rounded; one of the input is not."""
    start = "Config\nInput ToTensor=x Channels=32 Height=9 Width=9\nBatchNorm FromTensor=x ToTensor=n\n"
    start += (
        "Activation FromTensor=n ToTensor=r Kind=ReLU\nConv FromTensor=r ToTensor=c ToChannels=32 FilterH=3 FilterW=3\n"
    )
    options = nn512.Options(platform="AVX512BFloat16", force=(("", "direct-bf16"),))
    for more, last, rounding in (
        ("", "c", reference.BFLOAT16),
        ("BatchNorm FromTensor=c ToTensor=b\n", "b", reference.FOLDED_BFLOAT16),
    ):
        graph = parse(f"{start}{more}Output FromTensor={last}")
        assert rounding_of(graph, nn512.compile(graph, options).plan.layers) == {"c": rounding}


def test_winograd_has_the_points_of_the_plan() -> None:
    layer = replace(CONV, arithmetic="winograd", tiles=PlannedTiles(FOUR, TWO, 3, 5), weights="fp16")
    (rounding,) = rounding_of(GRAPH, (layer, FULL)).values()
    assert rounding.weight_error == 2.0**-11
    tiles = rounding.tiles
    assert isinstance(tiles, reference.Winograd)
    assert tiles.outputs == (4, 2)
    assert tiles.transformed == (True, True)
    # A row for a product of two points: 3/2 of the rows, 1/2 of the columns; results are powers of the points.
    np.testing.assert_array_equal(tiles.matrix_out[:, 3 * 6 + 1], np.outer(1.5 ** np.arange(4), [1, 0.5]).ravel())
    np.testing.assert_array_equal(tiles.matrix_out[:2, 1 * 6 + 0], [1, 0])
    assert tiles.matrix_out[2, 1 * 6] == 5 / 8


@pytest.mark.parametrize("more", ["", "BatchNorm FromTensor=c ToTensor=b\n"])
def test_winograd_rounds_what_it_transformed(more: str) -> None:
    """To bfloat16: the rounding of direct layers, and tiles."""
    text = f"Config\nInput ToTensor=x Channels=3 Height=9 Width=9\nConv FromTensor=x ToTensor=c {CONV_FIELDS}\n{more}"
    graph = parse(f"{text}Output FromTensor={'b' if more else 'c'}")
    options = nn512.Options(platform="AVX512BFloat16", force=(("", "winograd-2x2-bf16"),))
    rounding = rounding_of(graph, nn512.compile(graph, options).plan.layers)["c"]
    assert rounding.tiles is not None
    assert rounding.tiles.outputs == (2, 2)
    assert replace(rounding, tiles=None) == (reference.FOLDED_BFLOAT16 if more else reference.BFLOAT16)


@pytest.mark.parametrize("axis", [SIXTEEN, TRIVIAL])
def test_axes_without_a_transform(axis: PlannedAxis) -> None:
    layer = replace(CONV, arithmetic="fourier", tiles=PlannedTiles(axis, SIXTEEN, 1, 1))
    (rounding,) = rounding_of(GRAPH, (layer, FULL)).values()
    assert rounding.tiles == reference.Fourier((axis.outputs, 12), (axis.size, 16))
    assert rounding.tiles.transformed == (axis.size > 1, True)


def test_an_unknown_algorithm() -> None:
    layer = replace(CONV, arithmetic="karatsuba", tiles=PlannedTiles(FOUR, TWO, 3, 5))
    with pytest.raises(ValueError, match="no algorithm with tiles is called 'karatsuba'"):
        rounding_of(GRAPH, (layer,))


def test_one_limit_serves_all_algorithms() -> None:
    """Nothing widens for an output whose layers are direct because others are not."""
    assert len({(limit.maximum, limit.rms, limit.exact_steps) for limit in LIMITS.values()}) == 1


def test_a_measurement_forces_every_algorithm_that_kernels_have() -> None:
    forced = kernels_by_arithmetic()
    assert {kernel.arithmetic for kernel in KERNELS} == set(forced) <= set(LIMITS)
    assert "winograd-4x4-fp16" in forced["winograd"]
