"""Parameters of a graph: drawn, checked, converted, stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import reference
from nn512.errors import UsageError
from nn512.graph import Graph, example, parse
from nn512.params import (
    check_params,
    from_bytes,
    load_params,
    params_bytes,
    random_params,
    save_params,
    to_bytes,
)

SMALL = """
Config
Input ToTensor=x Channels=4 Height=5 Width=6
Conv FromTensor=x ToTensor=c ToChannels=6 FilterH=3 FilterW=2 Groups=2
BatchNorm FromTensor=c ToTensor=b
Activation FromTensor=b ToTensor=Zr Kind=ReLU
FullyConnected FromTensor=Zr ToTensor=f ToChannels=7
Output FromTensor=f
"""


@pytest.fixture
def graph() -> Graph:
    return parse(SMALL)


def test_struct_is_sorted_bytewise(graph: Graph) -> None:
    params = {p.name: np.full(p.shape, i, np.float32) for i, p in enumerate(graph.parameters)}
    raw = np.frombuffer(to_bytes(graph, dict(reversed(params.items()))), np.float32)
    order = ["bMeans", "bScales", "bShifts", "bVariances", "cBiases", "cWeights", "fBiases", "fWeights"]
    assert list(params) == order
    assert raw.tolist() == [i for i, name in enumerate(order) for _ in range(params[name].size)]
    assert params_bytes(graph) == 4 * len(raw)
    back = from_bytes(graph, raw.tobytes())
    assert all(np.array_equal(back[name], params[name]) for name in order)


def test_all_complaints_at_once(graph: Graph) -> None:
    params: dict[str, np.ndarray] = dict(random_params(graph, 0))
    params["cWeights"] = params["cWeights"].transpose(1, 0, 2, 3)
    params["cBiases"] = params["cBiases"].astype(np.float64)
    params["bogus"] = params.pop("bMeans")
    with pytest.raises(UsageError) as caught:
        check_params(graph, params)
    assert str(caught.value).splitlines() == [
        "there is no parameter 'bogus'",
        "parameter 'bMeans' (6) is missing",
        "parameter 'cBiases' is float64, not float32",
        "parameter 'cWeights' is 2x6x3x2, not 6x2x3x2",
    ]


def test_long_lists_of_complaints_are_cut() -> None:
    graph = parse(example("DenseNet121"))
    with pytest.raises(UsageError) as caught:
        check_params(graph, {})
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == f"... and {len(graph.parameters) - 20} more"


@pytest.mark.parametrize(
    "change",
    [
        {"cBiases": None},
        {"bogus": np.zeros(1, np.float32), "another": np.zeros(1, np.float32)},
        {"cWeights": np.zeros((2, 2), np.float32)},
        {"cWeights": np.float32(0)},
        {"cBiases": np.zeros(6), "bMeans": np.zeros(6, np.int32), "bShifts": np.zeros(6, "c8")},
        {"cBiases": np.zeros(5, ">f8"), "bMeans": None, "fWeights": np.zeros(3, np.float16)},
        {f"p{i}": np.zeros(1, np.float32) for i in range(30)},
    ],
)
def test_the_reference_complains_in_the_same_words(graph: Graph, change: dict[str, np.ndarray | None]) -> None:
    params = {**random_params(graph, 0), **change}
    given = {name: array for name, array in params.items() if array is not None}
    with pytest.raises(UsageError) as ours:
        check_params(graph, given)
    with pytest.raises(UsageError) as theirs:
        reference.run(graph, given, {})
    assert str(theirs.value) == str(ours.value)


def test_the_reference_takes_either_byte_order(graph: Graph) -> None:
    params = random_params(graph, 0)
    shapes = {node.to_tensor: graph.shapes[node.to_tensor] for node in graph.inputs}
    inputs = {name: np.random.default_rng(0).standard_normal(shape, np.float32) for name, shape in shapes.items()}
    swapped = {name: array.astype(">f4") for name, array in params.items()}
    native = reference.run(graph, params, inputs)
    foreign = reference.run(graph, swapped, {name: array.astype(">f4") for name, array in inputs.items()})
    for name, result in native.items():
        assert np.array_equal(foreign[name].value, result.value)
        assert np.array_equal(foreign[name].variance, result.variance)
    assert check_params(graph, swapped).keys() == params.keys()


def test_strided_and_foreign_byte_order(graph: Graph) -> None:
    params = random_params(graph, 1)
    odd = {name: np.asfortranarray(array).astype(">f4") for name, array in params.items()}
    assert to_bytes(graph, odd) == to_bytes(graph, params)


@pytest.mark.parametrize("suffix", [".npz", ".bin"])
def test_files(graph: Graph, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    params = random_params(graph, 5)
    save_params(path, graph, params)
    loaded = load_params(path, graph)
    assert list(loaded) == list(params)
    assert all(np.array_equal(loaded[name], params[name]) for name in params)
    if suffix == ".bin":
        assert path.read_bytes() == to_bytes(graph, params)
    other = parse(SMALL.replace("ToChannels=7", "ToChannels=8"))
    with pytest.raises(UsageError, match=r"does not fit the graph"):
        load_params(path, other)
    with pytest.raises(UsageError, match="cannot read"):
        load_params(tmp_path / f"missing{suffix}", graph)


def test_random_params_depend_on_seed_and_name(graph: Graph) -> None:
    first, again, other = random_params(graph, 1), random_params(graph, 1), random_params(graph, 2)
    for name, array in first.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, again[name])
        assert not np.array_equal(array, other[name])
    longer = parse(SMALL + "FullyConnected FromTensor=Zr ToTensor=g ToChannels=3 Output FromTensor=g")
    more = random_params(longer, 1)
    assert all(np.array_equal(more[name], array) for name, array in first.items())
    with pytest.raises(UsageError, match="seed"):
        random_params(graph, -1)


def test_absurd_parameters_are_refused() -> None:
    text = "Config Input ToTensor=x Channels=70000 Height=1 Width=1 "
    graph = parse(text + "FullyConnected FromTensor=x ToTensor=f ToChannels=70000 Output FromTensor=f")
    with pytest.raises(UsageError, match="the limit is"):
        random_params(graph, 0)


def test_deep_nets_stay_near_one() -> None:
    """Sums of fifty residual branches neither vanish nor explode, so that a net's output says something."""
    block = (
        "Conv FromTensor={0} ToTensor=c{1} ToChannels=32 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 "
        "BatchNorm FromTensor=c{1} ToTensor=b{1} Add FromTensor1=b{1} FromTensor2={0} ToTensor=s{1} "
        "Activation FromTensor=s{1} ToTensor=r{1} Kind=ReLU "
    )
    text = "Config Input ToTensor=x Channels=32 Height=6 Width=6 "
    text += "".join(block.format(f"r{i - 1}" if i else "x", i) for i in range(50)) + "Output FromTensor=r49"
    graph = parse(text)
    x = np.random.default_rng(0).standard_normal((32, 6, 6), np.float32)
    result = reference.run(graph, random_params(graph, 0), {"x": x})["r49"].value
    assert 0.1 < np.sqrt(np.mean(result**2)) < 100


def test_params_struct_without_parameters(tmp_path: Path) -> None:
    """C has no empty structs: a program that reads sizeof(Params) bytes finds one."""
    layers = "Softmax FromTensor=x ToTensor=y Output FromTensor=y"
    graph = parse(f"Config Input ToTensor=x Channels=3 Height=1 Width=1 {layers}")
    save_params(tmp_path / "p.bin", graph, {})
    assert len((tmp_path / "p.bin").read_bytes()) == 1
    assert load_params(tmp_path / "p.bin", graph) == {}
    (tmp_path / "p.bin").write_bytes(b"ab")
    with pytest.raises(UsageError):
        load_params(tmp_path / "p.bin", graph)


@pytest.mark.slow
def test_the_parameters_of_any_legal_net_load(tmp_path: Path) -> None:
    """More arrays than a plain archive has room for: 65,535."""
    count = 16_400
    norms = "".join(f"BatchNorm FromTensor=t{i} ToTensor=t{i + 1}\n" for i in range(count))
    graph = parse(f"Config\nInput ToTensor=t0 Channels=1 Height=1 Width=1\n{norms}Output FromTensor=t{count}\n")
    params = {parameter.name: np.full(parameter.shape, 1, np.float32) for parameter in graph.parameters}
    assert len(params) > 65_535
    save_params(tmp_path / "p.npz", graph, params)
    assert load_params(tmp_path / "p.npz", graph) == params
