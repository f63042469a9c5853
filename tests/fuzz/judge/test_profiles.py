"""Profiles judge C that has no plan by the errors of its own algorithms, and see faults all the same."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

import nn512
import reference
from fuzz.judge.compare import judge
from fuzz.judge.limits import LIMITS
from fuzz.judge.profiles import HALF, PROFILES, profile_manual, profile_of
from nn512.cli import main
from nn512.errors import UsageError
from nn512.graph import Conv, parse

GRAPH = """\
Config
Input ToTensor=x Channels=24 Height=13 Width=17
Conv FromTensor=x ToTensor=y ToChannels=8 FilterH={0} FilterW={0} StrideH={1} StrideW={1} PaddingH=2 PaddingW=2
Output FromTensor=y
"""

EMULATED = {
    "winograd-fp32": (3, 1, {"outputs": (4, 4), "taps": (3, 3), "points": "0 1 -1 2 -2"}),
    "winograd-fp16": (3, 1, {"outputs": (4, 4), "taps": (3, 3), "points": "0 1 -1 2 -2", "stored": "UNSCALED"}),
    "fourier-fp16": (7, 1, {"outputs": (10, 10), "taps": (7, 7), "sizes": (16, 16), "stored": "UNSCALED"}),
    "nn512-original": (
        3,
        1,
        {"outputs": (6, 6), "taps": (3, 3), "points": "0 1 -1 2 -2 1/2 -1/2", "stored": "UNSCALED"},
    ),
}
"""By profile: filter, stride, and an implementation of the kind."""

OTHERS = {
    "fourier-fp16": (7, 2, {"outputs": (13, 13), "taps": (7, 7), "sizes": (16, 16), "stride": 2, "stored": "UNSCALED"}),
    "nn512-original": (
        5,
        1,
        {"outputs": (4, 4), "taps": (5, 5), "points": "0 1 -1 2 -2 1/2 -1/2", "stored": "UNSCALED"},
    ),
}


@pytest.mark.parametrize(("profile", "layer"), [*EMULATED.items(), *OTHERS.items()])
def test_an_implementation_passes_under_its_profile_alone(
    emulation: ModuleType, profile: str, layer: tuple[int, int, dict[str, object]]
) -> None:
    size, stride, how = layer
    stored = how.get("stored")
    algorithm = emulation.Emulation(**{**how, "stored": stored and getattr(emulation, str(stored))})
    graph = parse(GRAPH.format(size, stride))
    (node,) = graph.layers
    assert isinstance(node, Conv)
    rng = np.random.default_rng(0)
    x = np.abs(rng.standard_normal((24, 13, 17))).astype(np.float32)
    weights = rng.normal(0, 0.1, (8, 24, size, size)).astype(np.float32)
    biases = rng.normal(0, 0.3, 8).astype(np.float32)
    broken = weights.copy()
    broken[:, 5, 1, 1] = 0

    def passes(under: str, computed: npt.NDArray[np.float32]) -> bool:
        given = profile_of(under).rounding(graph)
        want = reference.run(graph, {"yWeights": weights, "yBiases": biases}, {"x": x}, rounding=given)["y"]
        nothing = np.zeros_like(want.unspecified)
        return judge("y", computed, want.value, want.variance, want.unspecified, nothing, LIMITS["direct"]).ok

    right, wrong = (algorithm.run(x, some, biases, node) for some in (weights, broken))
    assert passes(profile, right)
    assert not passes(profile, wrong)
    assert not passes("direct", wrong)
    assert not passes("direct", right)


def test_small_and_large_weights_as_they_are() -> None:
    """fp16 does not scale by itself: 1e-6 keeps 5 bits, 1e6 overflows."""
    graph = parse(GRAPH.format(1, 1))
    x = {"x": np.ones((24, 13, 17), np.float32)}
    given = PROFILES["winograd-fp16"].rounding(graph)
    assert given["y"] is HALF
    for size, error, overflows in ((1.0, 2.0**-11, False), (1e-6, 2.0**-5, False), (1e6, 0.0, True)):
        params = {"yWeights": np.full((8, 24, 1, 1), size * 1.01, np.float32), "yBiases": np.zeros(8, np.float32)}
        params["yWeights"][:, 12:] *= -0.9
        y = reference.run(graph, params, x, rounding=given)["y"]
        assert y.unspecified[0, 5, 5] == overflows
        relative = np.sqrt(y.variance[0, 5, 5]) / (size * np.sqrt(24))
        assert overflows or error / 5 < relative < error


@pytest.mark.parametrize("name", ["winograd-fp16", "nn512-original"])
def test_transformed_weights_may_overflow(name: str) -> None:
    graph = parse(GRAPH.format(3, 1))
    params = {"yWeights": np.full((8, 24, 3, 3), 7e4, np.float32), "yBiases": np.zeros(8, np.float32)}
    params["yWeights"][4:] = 1
    x = {"x": np.ones((24, 13, 17), np.float32)}
    y = reference.run(graph, params, x, rounding=PROFILES[name].rounding(graph))["y"]
    assert y.unspecified[:4].all()
    assert not y.unspecified[4:].any()


def test_profiles_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doc", "profiles"]) == 0
    manual = capsys.readouterr().out
    assert manual == profile_manual()
    assert all(f"\n    {name}\n" in manual for name in PROFILES)
    assert all(len(line) <= 96 for line in manual.splitlines())


def test_unknown_profiles() -> None:
    with pytest.raises(UsageError, match="no profile is called 'fast'; there are direct, direct-fp16, winograd-fp32"):
        profile_of("fast")


def test_the_command_takes_a_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Direct code passes under any, as all of them allow for more."""
    graph = parse(GRAPH.format(3, 1))
    net = nn512.compile(graph, nn512.Options(weights="fp32"))
    (tmp_path / "net.graph").write_text(graph.source.text)
    (tmp_path / "NN512.h").write_text(net.header)
    (tmp_path / "NN512.c").write_text(net.source)
    command = ["verify", str(tmp_path / "net.graph"), "--source", str(tmp_path), "--out", str(tmp_path / "findings")]
    assert main([*command, "--profile", "nn512-original", "--data", "gaussian"]) == 0
    assert "verified: y" in capsys.readouterr().out
    assert main([*command, "--profile", "fast"]) == 2
    assert "no profile is called 'fast'" in capsys.readouterr().err
