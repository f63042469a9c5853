"""What narrow formats err: predicted, of numbers that are rounded, and of layers that round."""

from __future__ import annotations

import numpy as np
import pytest

import nn512
import reference
from nn512.graph import parse
from nn512.kernels.registry import kernel_named
from nn512.options import Options
from nn512.plan.accuracy import rounding_error
from reference.bfloat16 import rounded


def test_rounding_errs_so_much() -> None:
    numbers = np.exp2(np.random.default_rng(0).uniform(-4, 4, 100_000))
    for bits, nearest in ((11, numbers.astype(np.float16).astype(np.float64)), (8, rounded(numbers))):
        found = np.sqrt(np.mean(np.square(nearest / numbers - 1)))
        assert found == pytest.approx(rounding_error(bits), rel=0.01)


CONV = "Conv FromTensor=x ToTensor=y ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1"
FULL = "FullyConnected FromTensor=x ToTensor=y ToChannels=256"


@pytest.mark.parametrize(
    ("kernel", "layer", "error"),
    [
        ("direct-bf16", CONV, 2.3e-3),
        ("grouped-bf16", f"{CONV} Groups=8", 2.3e-3),
        ("fully_connected_bf16", FULL, 2.3e-3),
        ("fully_connected_fp16", FULL, 2.1e-4),
        ("winograd-2x2-fp16", CONV, 3.4e-4),
        ("winograd-4x4-fp16", CONV, 1.2e-3),
        ("winograd-2x2-bf16", CONV, 3.9e-3),
        ("winograd-2x4-bf16", CONV, 6.6e-3),
        ("winograd-4x4-bf16", CONV, 1.1e-2),
        ("fourier-8-fp16", CONV, 2.1e-4),
    ],
)
def test_layers_err_as_predicted(kernel: str, layer: str, error: float, runs_here: str) -> None:
    """On random data; the plan has it of every kernel that applies."""
    assert runs_here
    graph = parse(f"Config Prefix=Net\nInput ToTensor=x Channels=32 Height=12 Width=12\n{layer}\nOutput FromTensor=y\n")
    options = Options(force=(("", kernel),), platform=kernel_named(kernel).platform)
    (planned,) = (one for one in nn512.compile(graph, options).plan.layers if one.kernel == kernel)
    assert planned.added_errors[kernel] == pytest.approx(error, rel=0.05)
    assert set(planned.added_errors) == {name for name in planned.prices if kernel_named(name).weights != "fp32"}
    rng = np.random.default_rng(0)
    params = {p.name: rng.standard_normal(p.shape, np.float32) for p in graph.parameters}
    x = {"x": rng.standard_normal(graph.shapes["x"], np.float32)}
    exact = reference.run(graph, params, x, sampled=0)["y"].value
    with nn512.Session(graph, params, options=options) as session:
        found = session.run(x)["y"]
    assert np.sqrt(np.mean(np.square(found - exact)) / np.mean(np.square(exact))) == pytest.approx(error, rel=0.2)
