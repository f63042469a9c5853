"""The variance against float32 evaluations in numpy that differ in every way implementations may differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from nn512.graph import (
    LRN,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    Div,
    FullyConnected,
    Input,
    LayerNorm,
    Max,
    Min,
    Mul,
    Node,
    Output,
    Pooling,
    RMSNorm,
    Softmax,
    Sub,
    build,
)
from reference import functions, kinds
from reference.windows import Array
from tests.reference.single import (
    DATA,
    STYLES,
    F,
    Style,
    conv3,
    dense,
    deviations,
    doubling,
    net,
    random_inputs,
    random_params,
    relu,
    residual,
    rms,
)

LIMIT = 8.0
"""Errors in standard deviations that no honest evaluation may pass."""


NETS = {
    "head": net(
        conv3("x", "c", 16),
        BatchNorm("c", "b"),
        relu("b", "a", 0.1),
        Pooling("a", "p", "Max3x3Stride2"),
        Pooling("p", "g", "AvgGlobal"),
        FullyConnected("g", "f", 10),
        Softmax("f", "s"),
    ),
    "residual": net(*residual(6)),
    "dense": net(*dense(5)),
    "sums": net(*doubling(Add, 6), channels=1),
    "copies": net(*doubling(Concat, 4), channels=1),
    "depthwise": net(Conv("x", "c", 8, 3, 3, groups=8), BatchNorm("c", "b"), Pooling("b", "p", "Avg3x3Stride2", 1, 1)),
    "shifted": net(BatchNorm("x", "b"), Pooling("b", "g", "AvgGlobal"), size=40),
    "mean": net(Conv("x", "c", 3, 1, 1), Pooling("c", "g", "AvgGlobal"), channels=1, size=56),
    "normed": net(
        Conv("x", "c", 33, 1, 1),
        LayerNorm("c", "l"),
        Conv("l", "d", 40, 1, 1),
        RMSNorm("d", "r"),
        LayerNorm("r", "m", 0.0),
        Conv("m", "e", 4, 1, 1),
        LayerNorm("e", "n", 1e-9),
    ),
    "neighbours": net(
        Conv("x", "c", 33, 1, 1),
        LRN("c", "l", 5, 1.0),
        Conv("l", "d", 40, 1, 1),
        LRN("d", "m", 8, 4.0, 1.7, 0.01),
        LRN("m", "n", 33, 0.1, 0.5, 2.0),
        Conv("n", "e", 4, 1, 1),
    ),
    "gated": net(
        conv3("x", "c", 8),
        Pooling("c", "p", "AvgGlobal"),
        Conv("p", "q", 8, 1, 1),
        Activation("q", "gate", "Clip", min=0.0, max=1.0),
        Mul("c", "gate", "m"),
        Conv("m", "d", 8, 1, 1),
        Mul("d", "d", "squares"),
        Sub("d", "p", "centred"),
        Activation("centred", "divisors", "Clip", min=0.25, max=3.0),
        Div("squares", "divisors", "quotients"),
        Max("quotients", "centred", "larger"),
        Conv("x", "row", 1, 1, 1),
        Min("larger", "row", "least"),
        Mul("least", "row", "attended"),
        Conv("attended", "y", 4, 3, 3),
    ),
    "wide": net(Conv("x", "c", 40, 3, 3), BatchNorm("c", "b"), Softmax("b", "s"), channels=64, size=5),
}


@pytest.mark.parametrize("style", STYLES, ids=lambda s: f"{s.order}-{'fma' if s.fused else 'fold'}")
@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("name", NETS)
def test_errors_are_a_few_sigma(name: str, kind: str, style: Style) -> None:
    rng = np.random.default_rng(7)
    graph = NETS[name]
    for tensor, ratios in deviations(graph, random_params(graph, rng), random_inputs(graph, rng, kind), style).items():
        assert ratios.max() < LIMIT, tensor


@pytest.mark.parametrize("channels", [1, 4, 16, 64, 512])
@pytest.mark.parametrize("kind", ["gaussian", "positive"])
def test_sigma_is_no_pessimist(channels: int, kind: str) -> None:
    rng = np.random.default_rng(channels)
    graph = net(conv3("x", "c", 16), BatchNorm("c", "b"), relu("b", "a"), conv3("a", "d", 16), channels=channels)
    ratios = deviations(graph, random_params(graph, rng), random_inputs(graph, rng, kind), Style())
    for tensor in ("c", "b", "d"):
        assert 0.3 < rms(ratios[tensor]) < 1.0


def test_sigma_stays_in_touch_over_forty_layers() -> None:
    rng = np.random.default_rng(3)
    graph = net(*residual(20))
    ratios = deviations(graph, random_params(graph, rng), random_inputs(graph, rng, "gaussian"), Style())
    assert 0.1 < rms(ratios["r20"]) < 1.0


@pytest.mark.parametrize("channels", [1, 16, 512])
def test_a_dropped_tap_is_far_outside(channels: int) -> None:
    rng = np.random.default_rng(channels)
    graph = net(conv3("x", "y", 16), channels=channels)
    params, inputs = random_params(graph, rng), random_inputs(graph, rng, "gaussian")
    right = reference.run(graph, params, inputs)["y"]
    params["yWeights"][:, 0, 1, 1] = 0
    wrong = reference.run(graph, params, inputs)["y"]
    assert np.median(np.abs(wrong.value - right.value) / np.sqrt(right.variance)) > 100


@settings(max_examples=60)
@given(st.lists(st.integers(0, 29), min_size=1, max_size=12), st.sampled_from(sorted(DATA)), st.sampled_from(STYLES))
def test_random_chains(choices: list[int], kind: str, style: Style) -> None:
    """Chains of everything that keeps the shape, with shortcuts back to any tensor before."""
    layers: list[Node] = []
    for i, choice in enumerate(choices):
        source, to, other = f"t{i - 1}" if i else "x", f"t{i}", f"t{i // 2 - 1}" if i >= 2 else "x"
        table: tuple[Node, ...] = (
            conv3(source, to, 4),
            Conv(source, to, 4, 1, 1),
            Conv(source, to, 4, 3, 3, padding_h=1, padding_w=1, groups=4),
            BatchNorm(source, to),
            relu(source, to),
            relu(source, to, -0.5),
            Add(source, other, to),
            Add(source, source, to),
            Softmax(source, to),
            Add(other, source, to),
            Activation(source, to, "Clip", min=-0.5, max=1.5),
            Activation(source, to, "HardSwish"),
            Activation(source, to, "PReLU"),
            LayerNorm(source, to),
            RMSNorm(source, to),
            LRN(source, to, 3, 2.0, 0.75, 0.5),
            Activation(source, to, "HardSigmoid", alpha=0.16666667, beta=0.5),
            Activation(source, to, "ELU", 0.7),
            *(Activation(source, to, kind) for kind in SMOOTH),
            Sub(other, source, to),
            Max(source, other, to),
            Min(source, other, to),
        )
        layers.append(table[choice])
    graph = build([Config(), Input("x", 4, 4, 4), *layers, *used(layers)])
    rng = np.random.default_rng(len(choices))
    for ratios in deviations(graph, random_params(graph, rng), random_inputs(graph, rng, kind), style).values():
        assert ratios.max() < LIMIT


SMOOTH = ("Sigmoid", "SiLU", "Tanh", "GELU", "GELUTanh", "Softplus", "Mish", "Abs", "Neg")


def used(layers: list[Node]) -> list[Output]:
    """An Output for the last tensor; all others are read by the next layer."""
    last = layers[-1]
    assert not isinstance(last, Config | Output)
    return [Output(last.to_tensor)]


def relu_variance(x: Array, before: Array, slope: float) -> Array:
    node = Activation("x", "y", "ReLU", slope)
    return functions.function_of(node).variance(x, before, kinds.activation.value(x, node), node)


def test_a_branch_of_relu_near_its_kink() -> None:
    x = np.array([1e-9, 1.0, -1.0, -1e-9]).reshape(4, 1, 1)
    before = np.full(x.shape, 1e-14)
    steep = relu_variance(x, before, -3.0)
    np.testing.assert_allclose(steep.ravel(), [9e-14, 1e-14, 9e-14, 9e-14], rtol=0.3)
    flat = relu_variance(x, before, 0.0)
    np.testing.assert_allclose(flat.ravel(), [1e-14, 1e-14, 0, 1e-14])


def test_only_contenders_matter_to_a_maximum() -> None:
    x = np.array([[[1.0, 1.001], [-5.0, 0.0]]])
    before = np.array([[[1e-6, 1e-8], [1e-2, 1e-3]]])
    for kind in ("Max2x2Stride2", "MaxGlobal"):
        node = Pooling("x", "y", kind)
        assert (
            kinds.pooling.variance(x, before, kinds.pooling.value(x, node), kinds.pooling.pool_of(node, x)).item()
            == 1e-6
        )


def test_rounding_of_a_layer_widens_its_variance_only() -> None:
    rng = np.random.default_rng(0)
    graph = net(conv3("x", "c", 4), relu("c", "y"))
    params, inputs = random_params(graph, rng), random_inputs(graph, rng, "gaussian")
    half = {"c": reference.Rounding(weight_error=2.0**-11, weight_floor=2.0**-14)}
    plain = reference.run(graph, params, inputs)["y"]
    coarse = reference.run(graph, params, inputs, rounding=half)["y"]
    np.testing.assert_array_equal(plain.value, coarse.value)
    # fp16 weights really are off by about that much.
    rounded = {n: a.astype(np.float16).astype(F) if n == "cWeights" else a for n, a in params.items()}
    error = np.abs(reference.run(graph, rounded, inputs)["y"].value - plain.value)
    ratios = error[plain.value > 0] / np.sqrt(coarse.variance[plain.value > 0])
    assert 0.2 < rms(ratios) < 1.5
    assert ratios.max() < LIMIT


def test_small_weights_of_a_scaled_format_keep_an_absolute_error() -> None:
    """A weight 2^-40 times the largest one of its output is off by 2^-11 of 2^-28 times that, not of itself."""
    graph = net(conv3("x", "y", 4))
    params, inputs = (
        random_params(graph, np.random.default_rng(0)),
        random_inputs(graph, np.random.default_rng(0), "gaussian"),
    )
    params["yWeights"][...] = F(2.0**-40)
    params["yWeights"][:, 0, 0, 0] = 1
    inputs["x"][0] = 0
    half = reference.Rounding(weight_error=2.0**-11)
    relative = reference.run(graph, params, inputs, rounding={"y": half}, sampled=0)["y"]
    scaled = reference.run(graph, params, inputs, rounding={"y": reference.HALF_WEIGHTS}, sampled=0)["y"]
    assert (scaled.variance > relative.variance).all()
