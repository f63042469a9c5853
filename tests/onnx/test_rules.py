"""Which operators are read and what is refused, on models made here: no package onnx is needed."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest

from nn512.errors import UsageError
from nn512.graph import ACTIVATIONS, KINDS, Shape
from nn512.graph.node import Layer
from nn512.onnx.importing import BY_OPERATOR
from nn512.onnx.kinds import RULES, __path__, activation
from nn512.onnx.plumbing import PLUMBING_RULES
from nn512.onnx.pointwise import SAMPLES
from nn512.onnx.rules import Rule
from tests.onnx.reading import Import, kinds, numbers, refusals


def test_every_kind_of_layer_is_read_from_something() -> None:
    assert set(RULES) == {kind for kind in KINDS if issubclass(kind, Layer)}
    found: list[Rule] = []
    for module in pkgutil.iter_modules(__path__, "nn512.onnx.kinds."):
        found += [
            rule
            for value in vars(importlib.import_module(module.name)).values()
            if isinstance(value, tuple)
            for rule in value
            if isinstance(rule, Rule)
        ]
    assert sorted(map(id, found)) == sorted(id(rule) for rules in RULES.values() for rule in rules)
    assert all(RULES.values())


def test_every_operator_has_one_rule() -> None:
    rules = [rule.operator for each in (*RULES.values(), PLUMBING_RULES) for rule in each]
    assert len(rules) == len(set(rules)) == len(BY_OPERATOR) > 35


def test_every_function_of_activation_is_recognized() -> None:
    assert tuple(activation.FITS) == ACTIVATIONS
    for kind, fit in activation.FITS.items():
        assert fit(SAMPLES**4) is None, kind
        assert fit(SAMPLES + 1) is None, kind


def test_everything_is_refused_at_once(imported: Import) -> None:
    texts = refusals(
        imported,
        ("Conv", "x,w", "a", {"auto_pad": "SAME"}),
        ("LSTM", "x", "l"),
        ("Relu", "l", "m"),
        ("MaxPool", "x", "p", {"kernel_shape": (3, 3), "dilations": (2, 2)}),
        ("MaxPool", "x", "q", {"kernel_shape": (3, 3), "fancy": 1}),
        ("Erf", "x", "unused"),
        to="a,m,p,q",
        constants={"w": numbers(2, 4, 3, 3)},
    )
    assert texts == [
        (
            "Conv 'a': auto_pad=SAME; accepted: auto_pad=NOTSET or auto_pad=VALID or auto_pad=SAME_UPPER "
            "or auto_pad=SAME_LOWER"
        ),
        "LSTM 'l': there is no such layer; accepted: what nn512 doc onnx lists",
        "MaxPool 'p': dilations=2; accepted: dilations=1",
        (
            "MaxPool 'q': attribute fancy=1 is unknown; accepted: auto_pad, kernel_shape, pads, strides, ceil_mode, "
            "dilations, storage_order"
        ),
    ]


def test_a_node_is_refused_once(imported: Import) -> None:
    """However many outputs it has, and whoever reads them."""
    (text,) = refusals(imported, ("TopK", "x", "a,b", {"axis": 1}), ("Sin", "a", "c"), to="a,b")
    assert text == "TopK 'a': there is no such layer; accepted: what nn512 doc onnx lists"
    turned = ("Transpose", "r", "t", {"perm": (0, 2, 1, 3)})
    pools = [("GlobalMaxPool", "t", name) for name in "ab"]
    (text,) = refusals(imported, ("Relu", "x", "r"), turned, *pools, to="a,b")
    assert text.startswith("Transpose 't'")


def test_channels_turned_in_three_axes_are_the_fault_of_the_transposition(imported: Import) -> None:
    shuffle = [
        ("Relu", "x", "a"),
        ("Reshape", "a,s", "r"),
        ("Transpose", "r", "t", {"perm": (0, 3, 2, 1, 4, 5)}),
        ("Reshape", "t,u", "v"),
        ("Conv", "v,w", "y"),
    ]
    constants = {"s": np.array([1, 2, 2, 2, 5, 6]), "u": np.array([1, 8, 5, 6]), "w": numbers(2, 8, 1, 1)}
    (text,) = refusals(imported, *shuffle, x=(1, 8, 5, 6), constants=constants)
    assert text.startswith("Transpose 't': perm=0,3,2,1,4,5: what reads 'v' would need the numbers moved")


@pytest.mark.parametrize(
    ("node", "constants", "told"),
    [
        (("Conv", "x,x", "y"), {}, "weights ('x') depend on an input"),
        (("Conv", "x", "y"), {}, "input 1 is missing"),
        (("Conv", "x,w", "y"), {"w": np.zeros((2, 3, 1, 1))}, "group=1 with weights 2x3x1x1 over 4 channels"),
        (("Conv", "x,w", "y"), {"w": np.zeros((2, 4, 1))}, "weights are 2x4x1"),
        (("Conv", "x,w", "y"), {"w": np.zeros((2, 4, 9, 1))}, "the window spans 9 rows"),
        (("Add", "x,c", "y"), {"c": np.zeros((5, 6))}, "a constant of 5x6 beside 1x4x5x6"),
        (("Add", "x,c", "y"), {"c": np.zeros((2, 4, 5, 6))}, "a constant of 2x4x5x6 beside 1x4x5x6"),
        (("Concat", "x,x", "y", {"axis": 0}), {}, "axis=0"),
        (("Slice", "x,a,b,c,d", "y"), {"a": [3], "b": [0], "c": [1], "d": [-1]}, "3,2,1 of axis 1"),
        (("Slice", "x,a,b", "y"), {"a": [0], "b": [0]}, "nothing is left of 1x4x5x6"),
        (("Split", "x,s", "y", {"axis": 1}), {"s": [3]}, "parts that do not fit"),
        (("Gather", "x,i", "y", {"axis": 1}), {"i": [0, 1, 3]}, "0,1,3 of axis 1"),
        (("Gather", "x,i", "y", {"axis": 1}), {"i": [4]}, "indices=4"),
        (("Gather", "x,i", "y", {"axis": 1}), {"i": [[0, 4]]}, "indices=0,4"),
        (("Reshape", "x,s", "y"), {"s": np.array([7, 7])}, "1x4x5x6 cannot become 7x7"),
        (("Dropout", "x,r,t", "y"), {"r": 0.5, "t": True}, "training_mode=1"),
        (("MaxPool", "x", "y,i", {"kernel_shape": (2, 2)}), {}, "places of the maxima"),
        (("MaxPool", "x", "y", {"kernel_shape": (2, 2), "pads": (2, 0, 0, 0)}), {}, "padding too large"),
        (("Clip", "x,a,b", "y"), {"a": 2.0, "b": 1.0}, "min=2 and max=1"),
        (("Cast", "x", "y", {"to": 7}), {}, "to=7"),
        (("LeakyRelu", "x", "y", {"alpha": np.inf}), {}, "Param would be inf"),
        (("CastLike", "x,c", "y"), {"c": np.zeros(1, np.int64)}, "to int64"),
        (("ReduceMean", "x", "y", {"axes": (1,)}), {}, "axes=1"),
        (("BatchNormalization", "x,c,c,c,c", "y", {"training_mode": 1}), {"c": np.zeros(4)}, "training_mode=1"),
        (("Pow", "x,c", "y"), {"c": np.float32(3)}, "such an exponent"),
        (("Sum", "x,x,c", "y"), {"c": 2.0}, "Sum of tensors and constants"),
        (("Max", "x,c", "y"), {"c": np.zeros((4, 1, 1))}, "Max of a constant alone"),
        (("Div", "x,c", "y"), {"c": np.array([[[2.0]], [[0]], [[1]], [[1]]])}, "Div by a constant with a 0 in it"),
        (("Identity", "c", "y"), {"c": np.zeros(3)}, "it depends on no input"),
    ],
)
def test_what_is_refused(node: tuple[Any, ...], constants: dict[str, Any], told: str, imported: Import) -> None:
    texts = refusals(imported, node, constants=constants)
    assert any(told in text for text in texts), texts


def test_extents_that_are_open(imported: Import) -> None:
    node = ("Relu", "x", "y")
    with pytest.raises(UsageError, match=r"--dim x\.2, called h \(input x is nx3xhx\?\)\n  --dim x\.3 \("):
        imported(node, x=("n", 3, "h", None))
    net = imported(node, x=("n", 3, "h", None), dims={"h": 5, "x.3": 6})
    assert net.graph.shapes["x"] == Shape(3, 5, 6)
    with pytest.raises(UsageError, match=r"--dim width: no input has such a dimension; open are n, h, x\.3"):
        imported(node, x=("n", 3, "h", None), dims={"h": 5, "x.3": 6, "width": 3})


def test_a_batch_of_more_can_be_pinned_to_one(imported: Import) -> None:
    node = ("GlobalMaxPool", "x", "y")
    assert "accepted: a batch of 1" in refusals(imported, node, x=(8, 3, 4, 4))[0]
    assert imported(node, x=(8, 3, 4, 4), dims={"x.0": 1}).graph.shapes["x"] == Shape(3, 4, 4)


def test_a_narrow_clip_twice_is_no_clip(imported: Import) -> None:
    constants = {"a": np.float32(1), "b": np.nextafter(np.float32(1), np.float32(2))}
    net = imported(("Clip", "x,a,b", "c"), ("Add", "c,c", "y"), constants=constants)
    assert kinds(net) == "Activation Add"


@pytest.mark.parametrize("operator", ["Relu", "Abs", "Neg"])
def test_almost_nothing_is_not_nothing(operator: str, imported: Import) -> None:
    almost = np.nextafter(np.float32(1), np.float32(2))
    net = imported((operator, "x", "r"), ("Mul", "r,c", "y"), constants={"c": almost})
    assert kinds(net) == "Activation BatchNorm"
    assert (net.params["yScales"] == almost).all()


def test_too_many_inputs_write_nowhere(imported: Import) -> None:
    """The third argument of numpy's functions of two is where they write to."""
    before = SAMPLES.copy()
    constants = {"a": np.float32(1), "b": np.float32(2)}
    refusals(imported, ("Mul", "x,a,x", "y"), constants=constants)
    refusals(imported, ("Mul", "a,b,a", "c"), ("Mul", "x,c", "y"), constants=constants)
    np.testing.assert_array_equal(SAMPLES, before)
    assert constants == {"a": 1, "b": 2}
