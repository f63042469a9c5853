"""Which axis of an input has the channels: what its first reader says, or another where that leads nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn512.onnx.folding import fold
from tests.onnx.reading import Import, kinds, numbers, refusals, run

TO_LAST, TO_FIRST = {"perm": (0, 2, 3, 1)}, {"perm": (0, 3, 1, 2)}


def test_a_constant_for_every_channel_between_two_transpositions(imported: Import) -> None:
    a = numbers(5)
    nodes = ("Transpose", "x", "t", TO_LAST), ("Add", "t,a", "u"), ("Transpose", "u", "y", TO_FIRST)
    net = imported(*nodes, x=(1, 5, 11, 13), constants={"a": a})
    x = numbers(1, 5, 11, 13)
    np.testing.assert_array_equal(run(net, x=x)["y"], x + a.reshape(5, 1, 1))
    assert "Channels=5 Height=11 Width=13" in net.text
    assert "Order" not in net.text


def test_an_input_whose_channels_are_declared_last(imported: Import) -> None:
    """Nothing turns them: only the constant says where they are."""
    a = numbers(5)
    net = imported(("Add", "x,a", "y"), x=(1, 11, 13, 5), constants={"a": a})
    x = numbers(1, 11, 13, 5)
    np.testing.assert_array_equal(run(net, x=x)["y"], x + a)


def test_three_axes(imported: Import) -> None:
    a = numbers(5)
    turn = {"perm": (0, 2, 1)}
    nodes = ("Transpose", "x", "t", turn), ("Mul", "t,a", "u"), ("Transpose", "u", "y", turn)
    net = imported(*nodes, x=(1, 5, 7), constants={"a": a})
    x = numbers(1, 5, 7)
    np.testing.assert_array_equal(run(net, x=x)["y"], x * a.reshape(5, 1))


def test_two_inputs_of_which_one_is_turned(imported: Import) -> None:
    a = numbers(5)
    nodes = (
        ("Transpose", "x", "t", TO_LAST),
        ("Add", "t,a", "u"),
        ("Add", "z,u", "v"),
        ("Transpose", "v", "y", TO_FIRST),
    )
    net = imported(*nodes, inputs={"x": (1, 5, 2, 3), "z": (1, 2, 3, 5)}, constants={"a": a})
    x, z = numbers(1, 5, 2, 3), numbers(1, 2, 3, 5)
    expected = x + a.reshape(5, 1, 1) + z.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(run(net, x=x, z=z)["y"], expected)


def test_the_first_reader_is_believed_where_it_can_be(imported: Import) -> None:
    """The convolution has its channels where the transposition puts them."""
    weights = numbers(4, 13, 1, 1)
    net = imported(("Transpose", "x", "t", TO_LAST), ("Conv", "t,w", "y"), x=(1, 5, 13, 11), constants={"w": weights})
    assert kinds(net) == "Conv"


def test_what_no_reading_mends_is_told_of_the_first(imported: Import) -> None:
    (text,) = refusals(imported, ("Add", "x,a", "y"), x=(1, 2, 3, 5), constants={"a": numbers(3, 5)})
    assert text == "Add 'y': a constant of 3x5 beside 1x2x3x5; accepted: one number, or one for every channel"


def test_constants_are_computed_once(imported: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the inputs are read: they may take long."""
    computed: list[str] = []

    def counted(node: Any, *arguments: Any) -> Any:
        computed.append(node.label)
        return fold(node, *arguments)

    monkeypatch.setattr("nn512.onnx.importing.fold", counted)
    nodes = ("Add", "a,a", "b"), ("Add", "x,b", "y")
    refusals(imported, *nodes, x=(1, 2, 3, 5), constants={"a": numbers(3, 5)})
    assert computed == ["b"]
