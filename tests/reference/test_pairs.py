"""Functions of two tensors: how far float32 may stray, where nothing is promised, and where it has no freedom."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from nn512.graph import Graph, parse
from reference.exact import exactness

KINDS = ("Add", "Sub", "Mul", "Div", "Max", "Min")


def net(kind: str, *lines: str) -> Graph:
    """A function of the tensors a and b, which are computed from inputs by other lines."""
    used = [name for name in "xz" if any(f"FromTensor={name} " in line for line in lines)]
    inputs = [f"Input ToTensor={name} Channels=4 Height=3 Width=5" for name in used]
    return parse(
        "\n".join(["Config", *inputs, *lines, f"{kind} FromTensor1=a FromTensor2=b ToTensor=y", "Output FromTensor=y"])
    )


def conv(source: str, to: str) -> str:
    return f"Conv FromTensor={source} ToTensor={to} ToChannels=4 FilterH=1 FilterW=1"


POOLED = "Pooling FromTensor=c ToTensor=b Kind=AvgGlobal"
SETTINGS = {
    "two convolutions": (conv("x", "a"), conv("z", "b")),
    "one divisor for all pixels": (conv("x", "a"), conv("z", "c"), POOLED),
    "of one tensor": (conv("x", "a"), "Activation FromTensor=a ToTensor=b Kind=Clip Min=0.5 Max=3"),
    "a tensor and its mean": (conv("x", "c"), POOLED, "Activation FromTensor=c ToTensor=a Kind=HardSwish"),
}


def data(graph: Graph, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    params = {p.name: rng.normal(0, 0.7, p.shape).astype(np.float32) for p in graph.parameters}
    inputs = {i.to_tensor: rng.normal(0.5, 1, graph.shapes[i.to_tensor]).astype(np.float32) for i in graph.inputs}
    return params, inputs


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_variance_covers_what_errors_of_the_operands_do(kind: str, setting: str) -> None:
    """Operands are moved by errors of the size that the reference gives them; results are off by as much as it says."""
    graph = net(kind, *SETTINGS[setting])
    rng = np.random.default_rng(3)
    functions = dict(zip(KINDS, (np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum), strict=True))
    ratios = []
    for _ in range(20):
        params, inputs = data(graph, rng)
        found = reference.run(graph, params, inputs, keep=["a", "b", "y"])
        a, b, y = found["a"], found["b"], found["y"]
        moved = [t.value + rng.standard_normal(t.value.shape) * np.sqrt(t.variance) for t in (a, b)]
        exact = functions[kind](*(m.astype(np.float32) for m in moved))
        told = (y.variance > 0) & ~y.unspecified
        assert (exact == y.value)[y.variance == 0].all()
        ratios.append(np.abs(exact - y.value)[told] / np.sqrt(y.variance[told]))
    spread = np.sqrt(np.square(np.concatenate(ratios)).mean())
    assert 0.2 < spread < 1.3
    assert max(map(np.max, ratios)) < 6.5


@pytest.mark.parametrize(
    ("kind", "a", "b", "promised"),
    [
        ("Div", 1.0, 0.0, False),
        ("Div", 0.0, -0.0, False),
        ("Div", np.inf, 0.0, False),
        ("Div", np.nan, 0.0, True),
        ("Div", 1.0, np.inf, True),
        ("Div", 1.0, 1e-30, True),
        ("Div", 1e30, 1e-30, False),
        ("Mul", 1e30, 1e30, False),
        ("Mul", 0.0, np.inf, True),
        ("Mul", 1.0, np.inf, True),
        ("Max", np.nan, 1.0, True),
        ("Min", -np.inf, np.nan, True),
        ("Sub", np.inf, np.inf, True),
    ],
)
def test_what_is_promised(kind: str, a: float, b: float, *, promised: bool) -> None:
    graph = parse(f"""
        Config
        Input ToTensor=a Channels=1 Height=1 Width=1
        Input ToTensor=b Channels=1 Height=1 Width=1
        {kind} FromTensor1=a FromTensor2=b ToTensor=y
        Output FromTensor=y""")
    inputs = {name: np.full((1, 1, 1), number, np.float32) for name, number in (("a", a), ("b", b))}
    found = reference.run(graph, {}, inputs)["y"]
    assert found.unspecified.item() is not promised


@pytest.mark.parametrize("kind", ["Div", "Mul"])
def test_a_number_of_unknown_sign_beside_an_infinity(kind: str) -> None:
    """The operand cancels to something as small as its error."""
    graph = parse(f"""
        Config
        Input ToTensor=a Channels=1 Height=1 Width=1
        Input ToTensor=x Channels=3 Height=1 Width=1
        Conv FromTensor=x ToTensor=b ToChannels=1 FilterH=1 FilterW=1
        {kind} FromTensor1=a FromTensor2=b ToTensor=y
        Output FromTensor=y""")
    params = {"bWeights": np.ones((1, 3, 1, 1), np.float32), "bBiases": np.zeros(1, np.float32)}

    def unspecified(a: float, *x: float) -> bool:
        inputs = {"a": np.full((1, 1, 1), a, np.float32), "x": np.array(x, np.float32).reshape(3, 1, 1)}
        return bool(reference.run(graph, params, inputs)["y"].unspecified.item())

    assert unspecified(np.inf, 0.1, 0.2, -0.3)
    assert not unspecified(np.inf, 0.1, 0.2, 0.3)
    assert unspecified(1.0, 0.1, 0.2, -0.3) is (kind == "Div")


@pytest.mark.parametrize(
    ("kind", "a", "b", "exact"),
    [
        ("Mul", 3.0, 5.0, True),
        ("Mul", 4097.0, 4097.0, False),  # of 25 bits
        ("Div", 15.0, 4.0, True),
        ("Div", 1.0, 3.0, False),
        ("Div", 1.0, 0.0, False),
        ("Max", 0.1, 0.3, True),
        ("Min", 0.1, 0.3, True),
        ("Sub", 7.0, 8.0, True),
        ("Sub", 1.0, 1e-9, False),
    ],
)
def test_where_float32_has_no_freedom(kind: str, a: float, b: float, *, exact: bool) -> None:
    graph = parse(f"""
        Config
        Input ToTensor=a Channels=2 Height=1 Width=1
        Input ToTensor=b Channels=1 Height=1 Width=1
        {kind} FromTensor1=a FromTensor2=b ToTensor=y
        Output FromTensor=y""")
    inputs = {"a": np.full((2, 1, 1), a, np.float32), "b": np.full((1, 1, 1), b, np.float32)}
    assert exactness(graph, {}, inputs)["y"].ravel().tolist() == [exact] * 2
