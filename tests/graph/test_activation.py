"""Functions of every element, and the fields that each of them has."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import reference.kinds.activation
from nn512.graph import ACTIVATIONS, Activation, GraphError, Moments, format_node, parse
from nn512.graph.fields import REQUIRED, field_table
from nn512.graph.kinds.activation import FUNCTIONS

HEAD = "Config\nInput ToTensor=x Channels=4 Height=8 Width=6\nActivation FromTensor=x ToTensor=y "
TAIL = "\nOutput FromTensor=y\n"


def activation(fields: str) -> Activation:
    (layer,) = parse(HEAD + fields + TAIL).layers
    assert isinstance(layer, Activation)
    return layer


@pytest.mark.parametrize(
    ("fields", "node", "words"),
    [
        ("Kind=ReLU Param=0", Activation("x", "y", "ReLU"), "ReLU y"),
        ("Kind=ReLU Param=0.1", Activation("x", "y", "ReLU", 0.1), "ReLU y (slope 0.1)"),
        ("Kind=Clip Min=0 Max=6", Activation("x", "y", "Clip", min=0, max=6), "Clip y (0 to 6)"),
        ("Kind=Clip Min=-0.5 Max=0.25", Activation("x", "y", "Clip", min=-0.5, max=0.25), "Clip y (-0.5 to 0.25)"),
        ("Kind=HardSwish", Activation("x", "y", "HardSwish"), "HardSwish y"),
        (
            "Kind=HardSigmoid Alpha=0.2 Beta=0.5",
            Activation("x", "y", "HardSigmoid", alpha=0.2, beta=0.5),
            "HardSigmoid y (0.2 x + 0.5)",
        ),
        ("Kind=ELU Param=1", Activation("x", "y", "ELU", 1.0), "ELU y"),
        ("Kind=ELU Param=0.5", Activation("x", "y", "ELU", 0.5), "ELU y (factor 0.5)"),
        ("Kind=SiLU", Activation("x", "y", "SiLU"), "SiLU y"),
        ("Kind=PReLU", Activation("x", "y", "PReLU"), "PReLU y"),
    ],
)
def test_text_and_words(fields: str, node: Activation, words: str) -> None:
    assert activation(fields) == node
    assert format_node(node) == f"Activation FromTensor=x ToTensor=y {fields}"
    assert node.describe() == words


def test_defaults() -> None:
    assert activation("Kind=ReLU").param == 0
    clip = activation("Kind=Clip Max=6 Min=0")
    assert (clip.param, clip.min, clip.max) == (0, 0, 6)
    swish = activation("Kind=HardSwish")
    assert (swish.param, swish.min, swish.max) == (0, 0, 0)


def check(fields: str, *expected: tuple[str, str]) -> None:
    with pytest.raises(GraphError) as caught:
        parse(HEAD + fields + TAIL)
    text = caught.value.diagnostics[0].source.text
    assert [(text[d.span.start : d.span.end], d.message) for d in caught.value.diagnostics] == list(expected)


def test_mistakes() -> None:
    check("Kind=Clip Min=0", ("Activation", "Activation Kind=Clip lacks the field Max"))
    check("Kind=Clip", ("Activation", "Activation Kind=Clip lacks the fields Min, Max"))
    check("Kind=Clip Min=0 Max=6 Param=1", ("Param", "Param goes with Kind=ReLU or Kind=ELU, not with Kind=Clip"))
    check("Kind=HardSwish Max=6", ("Max", "Max goes with Kind=Clip, not with Kind=HardSwish"))
    check("Kind=HardSigmoid Beta=0.5", ("Activation", "Activation Kind=HardSigmoid lacks the field Alpha"))
    check("Kind=HardSigmoid Alpha=0 Beta=0.5", ("0", "Alpha is 0, not above 0"))
    check("Kind=Clip Min=1 Max=1", ("1", "Max is 1, not above Min, which is 1"))
    check("Kind=Clip Min=2 Max=-1.5", ("-1.5", "Max is -1.5, not above Min, which is 2"))
    check("Kind=Clip Min=0 Max=six", ("six", "Max must be a decimal number such as -0.5 or 3, not 'six'"))


def test_nodes_made_in_python() -> None:
    with pytest.raises(TypeError, match="Activation Kind=Clip needs Min"):
        Activation("x", "y", "Clip", max=6)
    with pytest.raises(ValueError, match="Param goes with Kind=ReLU or Kind=ELU, not with Kind=HardSwish"):
        Activation("x", "y", "HardSwish", 0.5)
    keys = [Activation("x", "y", "Clip", min=a, max=b).key for a, b in ((0, 6), (0, 5), (1, 6))]
    keys += [Activation("x", "y", "ReLU", slope).key for slope in (0, 1)]
    keys += [Activation("x", "y", "HardSwish").key]
    assert len(set(keys)) == len(keys)


def test_every_function_has_fields_of_the_node() -> None:
    declared = {info.name for info in field_table(Activation).choosy}
    assert {name for function in FUNCTIONS.values() for name in function.fields} == declared
    assert tuple(FUNCTIONS) == ACTIVATIONS


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("read", [Moments(0, 1), Moments(1.5, 4), Moments(-2, 0.25)])
def test_moments_are_those_of_samples(kind: str, read: Moments) -> None:
    required = [name.lower() for name, default in FUNCTIONS[kind].fields.items() if default is REQUIRED]
    given: dict[str, Any] = {name: float(i) - 0.5 for i, name in enumerate(required)}
    given = {"alpha": 0.3, "beta": 0.4} if "alpha" in given else given
    if kind in ("Exp", "Log", "Reciprocal", "Sqrt"):  # away from the pole and from what has no root, and of light tails
        read = Moments(abs(read.mean) + 3, read.variance / 16)
    node = Activation("x", "y", kind, **given)
    x = np.random.default_rng(0).normal(read.mean, np.sqrt(read.variance), 200_000)
    values = reference.kinds.activation.value(x, node)
    mean, variance = node.moments([read], {})
    assert mean == pytest.approx(values.mean(), rel=0.01, abs=0.02 * np.sqrt(read.variance))
    assert variance == pytest.approx(values.var(), rel=0.1, abs=0.01 * read.variance)
    assert dataclasses.replace(node, to_tensor="z").moments([read], {}) == (mean, variance)
