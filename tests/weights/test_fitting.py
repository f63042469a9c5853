"""Arrays of state dicts as parameters: names, maps, shapes, and what is said where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nn512.errors import UsageError
from nn512.graph import KINDS, Layer, parse
from nn512.params import Params, random_params
from nn512.weights import Liberties, Stored, fit, read_map
from nn512.weights.names import LEAVES

GRAPH = parse("""
Config Prefix=Net
Input ToTensor=image Channels=3 Height=14 Width=14
Conv FromTensor=image ToTensor=features0conv ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
BatchNorm FromTensor=features0conv ToTensor=features0norm
Pooling FromTensor=features0norm ToTensor=pool Kind=Max2x2Stride2
FullyConnected FromTensor=pool ToTensor=head ToChannels=10
Output FromTensor=head
""")

SHAPES = {
    "features.0.conv.weight": (32, 3, 3, 3),
    "features.0.conv.bias": (32,),
    "features.0.norm.weight": (32,),
    "features.0.norm.bias": (32,),
    "features.0.norm.running_mean": (32,),
    "features.0.norm.running_var": (32,),
    "head.weight": (10, 32, 7, 7),
    "head.bias": (10,),
}

OURS = {
    "features0convWeights": "features.0.conv.weight",
    "features0convBiases": "features.0.conv.bias",
    "features0normScales": "features.0.norm.weight",
    "features0normShifts": "features.0.norm.bias",
    "features0normMeans": "features.0.norm.running_mean",
    "features0normVariances": "features.0.norm.running_var",
    "headWeights": "head.weight",
    "headBiases": "head.bias",
}


FLATTENED = (
    "headWeights (10x32x7x7) is 'head.weight', which is 10x1568, not 10x32x7x7; "
    "same size: 10x1568 is 10x32x7x7 flattened, use --flatten"
)


def stored(**changes: tuple[int, ...] | None) -> dict[str, Stored]:
    """A state dict in which some shapes are different; `None` leaves an array out."""
    shapes = {**SHAPES, **{name.replace("__", "."): shape for name, shape in changes.items()}}
    rng = np.random.default_rng(0)
    given = {name: shape for name, shape in shapes.items() if shape is not None}
    return {name: Stored.of(rng.random(shape).astype(np.float32)) for name, shape in given.items()}


def check(params: Params, arrays: dict[str, Stored], ours: dict[str, str]) -> None:
    """Whether every parameter is the array it should be."""
    assert set(params) == set(OURS)
    for name, theirs in ours.items():
        np.testing.assert_array_equal(params[name].ravel(), arrays[theirs].read().ravel())
    assert {name: array.shape for name, array in params.items()} == {p.name: p.shape for p in GRAPH.parameters}


def test_names_of_pytorch() -> None:
    arrays = stored(features__0__norm__num_batches_tracked=())
    check(fit(GRAPH, arrays), arrays, OURS)


def test_own_names() -> None:
    params = random_params(GRAPH, 0)
    read = fit(GRAPH, {name: Stored.of(array) for name, array in params.items()})
    assert all(np.array_equal(read[name], params[name]) for name in params)


def test_every_parameter_has_a_name_in_pytorch() -> None:
    suffixes = {p.suffix for kind in KINDS if issubclass(kind, Layer) for p in kind.PARAMETERS}
    assert sorted(suffixes - set(LEAVES)) == []


def test_a_map_of_arrays_brings_their_neighbours() -> None:
    """As `nn512 import --map` has weights and scales alone."""
    arrays = {name.replace("features.0.", "stem/"): array for name, array in stored().items()}
    names = {"features0convWeights": "stem/conv.weight", "features0normScales": "stem/norm.weight"}
    check(fit(GRAPH, arrays, names), arrays, {k: v.replace("features.0.", "stem/") for k, v in OURS.items()})


def test_a_map_of_modules() -> None:
    arrays = {name.replace("features.0.", "x"): array for name, array in stored().items()}
    names = {"features0conv": "xconv", "features0norm": "xnorm"}
    check(fit(GRAPH, arrays, names), arrays, {k: v.replace("features.0.", "x") for k, v in OURS.items()})


def test_a_map_file(tmp_path: Path) -> None:
    for content in ({"inputs": [], "parameters": {"a": "b"}, "unused_inputs": []}, {"a": "b"}):
        (tmp_path / "map.json").write_text(json.dumps(content))
        assert read_map(tmp_path / "map.json") == {"a": "b"}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"parameters": []}', "[" * 100_000, "\xff", '"x"'])
def test_broken_maps(text: str, tmp_path: Path) -> None:
    (tmp_path / "map.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"map\.json' is no"):
        read_map(tmp_path / "map.json")
    with pytest.raises(UsageError, match="cannot read"):
        read_map(tmp_path / "none.json")


def test_zero_biases() -> None:
    arrays = stored(features__0__conv__bias=None)
    with pytest.raises(UsageError, match=r"features0convBiases \(32\), sought as[^$]*--zero-biases"):
        fit(GRAPH, arrays)
    params = fit(GRAPH, arrays, liberties=Liberties(zero_biases=True))
    assert not params["features0convBiases"].any()
    assert params["headBiases"].any()


def test_a_bias_that_a_map_promises_must_be_there() -> None:
    with pytest.raises(UsageError, match=r"sought as 'no\.bias'"):
        fit(GRAPH, stored(), {"headBiases": "no.bias"}, Liberties(zero_biases=True))


def test_missing_weights_are_never_zeros() -> None:
    with pytest.raises(UsageError, match=r"headWeights \(10x32x7x7\), sought as 'head.weight'"):
        fit(GRAPH, stored(head__weight=None), liberties=Liberties(zero_biases=True))


def test_flatten() -> None:
    arrays = stored(head__weight=(10, 1568))
    with pytest.raises(UsageError) as caught:
        fit(GRAPH, arrays)
    assert FLATTENED in str(caught.value)
    check(fit(GRAPH, arrays, liberties=Liberties(flatten=True)), arrays, OURS)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1568, 10), "same size, but its axes are in another order"),
        ((10, 7, 7, 32), "same size, but its axes are in another order"),
        ((20, 784), "same size, but cut otherwise"),
        ((10, 1569), "which is 10x1569, not 10x32x7x7"),
        ((0,), "which is 0, not 10x32x7x7"),
    ],
)
def test_no_liberty_makes_these_fit(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fit(GRAPH, stored(head__weight=shape), liberties=Liberties(flatten=True, zero_biases=True, ignore_unused=True))


def test_extents_of_1_say_nothing() -> None:
    arrays = stored(features__0__conv__bias=(1, 32, 1, 1), head__bias=(1, 10))
    check(fit(GRAPH, arrays), arrays, OURS)


def test_integers() -> None:
    arrays = {**stored(), "head.bias": Stored.of(np.arange(10))}
    with pytest.raises(UsageError, match="which is of type int64, not floating-point numbers"):
        fit(GRAPH, arrays)


def test_everything_at_once() -> None:
    arrays = stored(head__bias=None, features__0__norm__running_var=None, head__weight=(10, 1568), aux__weight=(2,))
    with pytest.raises(UsageError) as caught:
        fit(GRAPH, arrays, {"tail": "x"})
    assert str(caught.value).splitlines() == [
        "missing parameters, 2:",
        "  features0normVariances (32), sought as 'features0norm.running_var'",
        "  headBiases (10), sought as 'head.bias'",
        "arrays that do not fit, 1:",
        f"  {FLATTENED}",
        "arrays that no parameter takes, 1:",
        "  'aux.weight' (2)",
        "names of the map that there are not, 1:",
        "  'tail' is no parameter of the graph",
        "--map FILE says which arrays have other names",
        "--zero-biases makes missing biases zeros",
        "--ignore-unused passes over arrays that no parameter takes",
    ]


def test_unused_arrays_on_request() -> None:
    arrays = stored(aux__weight=(2,))
    check(fit(GRAPH, arrays, liberties=Liberties(ignore_unused=True)), arrays, OURS)


def test_several_candidates() -> None:
    arrays = {**stored(), "he.ad.weight": stored()["head.weight"]}
    with pytest.raises(UsageError, match=r"headWeights \(10x32x7x7\) may be 'head.weight' and 'he.ad.weight'"):
        fit(GRAPH, arrays)
    names = {"headWeights": "head.weight"}
    check(fit(GRAPH, arrays, names, Liberties(ignore_unused=True)), arrays, OURS)


def test_thousands_of_complaints_are_counted() -> None:
    arrays = {f"x{i}\x1b": stored()["head.bias"] for i in range(5000)}
    with pytest.raises(UsageError, match=r"\n\.\.\. and [\d,]+ lines more$") as caught:
        fit(GRAPH, arrays)
    assert "\x1b" not in str(caught.value)
