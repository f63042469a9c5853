"""Slices, parts, joins and shuffles of models give what numpy gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from nn512.onnx.imported import Imported
from nn512.onnx.refusal import UnsupportedError
from nn512.onnx.view import elements
from tests.onnx.conftest import Import
from tests.onnx.reading import refusals

X = np.arange(8 * 5 * 6, dtype=np.float32).reshape(1, 8, 5, 6)


def run(net: Imported) -> dict[str, Any]:
    """Every output as ONNX sees it, for X."""
    results = reference.run(net.graph, net.params, {"x": X[0]})
    return {seen.onnx: elements(seen.dims, results[seen.tensor].value) for seen in net.outputs}


def kinds(net: Imported) -> str:
    return " ".join(sorted(type(layer).__name__ for layer in net.graph.layers))


def moved(imported: Import, *nodes: tuple[Any, ...], **rest: Any) -> tuple[str, dict[str, Any]]:
    net = imported(*nodes, x=X.shape, **rest)
    return kinds(net), run(net)


LAST = 2**63 - 1


@pytest.mark.parametrize(
    ("constants", "expected"),
    [
        (([1], [LAST], [1]), X[:, 1:]),
        (([-3], [-1], [-3]), X[:, -3:-1]),
        (([0], [LAST], [2], [2]), X[:, :, ::2]),
        (([5], [-LAST], [3], [-9]), X[:, :, :, 5:6]),
        (([1, 3], [LAST, 5], [1, 3], [3, 1]), X[:, 1::3, :, 3:5]),
        (([0, 0, 1], [LAST, 99, 4]), X[:, :, 1:4]),
    ],
)
def test_slices(constants: tuple[Any, ...], expected: Any, imported: Import) -> None:
    names = ("starts", "ends", "axes", "steps")[: len(constants)]
    node = ("Slice", ",".join(("x", *names)), "y")
    _, results = moved(imported, node, constants=dict(zip(names, map(np.asarray, constants), strict=True)))
    np.testing.assert_array_equal(results["y"], expected)


def test_slices_of_old_operator_sets(imported: Import) -> None:
    node = ("Slice", "x", "y", {"starts": (2, -4), "ends": (LAST, -1), "axes": (1, -1)})
    what, results = moved(imported, node, opset=9)
    assert what == "Slice Slice"
    np.testing.assert_array_equal(results["y"], X[:, 2:, :, -4:-1])


@pytest.mark.parametrize(
    ("node", "opset", "constants", "cuts"),
    [
        (("Split", "x", "a,b", {"axis": 1}), 11, {}, [4]),
        (("Split", "x", "a,b", {"axis": -3, "split": (1, 7)}), 11, {}, [1]),
        (("Split", "x,s", "a,b", {"axis": 1}), 13, {"s": [3, 5]}, [3]),
        (("Split", "x", "a,b,c", {"axis": 1, "num_outputs": 3}), 18, {}, [3, 6]),
    ],
)
def test_parts(node: Any, opset: int, constants: dict[str, Any], cuts: list[int], imported: Import) -> None:
    what, results = moved(imported, node, opset=opset, constants=constants, to=node[2])
    assert what == " ".join(["Slice"] * (len(cuts) + 1))
    for result, part in zip(results.values(), np.split(X, cuts, 1), strict=True):
        np.testing.assert_array_equal(result, part)


def test_one_part_is_all(imported: Import) -> None:
    assert moved(imported, ("Split", "x", "a", {"axis": 1}), ("Relu", "a", "y"))[0] == "Activation"


@pytest.mark.parametrize(
    ("indices", "axis"),
    [
        *(([1, 2, 3], 1), ([-7, -4], 1), ([4], 2), (3, -1), ([0, 2, 4], 3)),
        *(([[0, 1, 2, 3], [4, 5, 6, 7]], 1), ([[[1]], [[4]]], 1), ([[2, 3, 4]], -1), ([[[3]]], 2)),
    ],
)
def test_gathered_places(indices: Any, axis: int, imported: Import) -> None:
    _, results = moved(imported, ("Gather", "x,i", "y", {"axis": axis}), constants={"i": indices})
    np.testing.assert_array_equal(results["y"], np.take(X, indices, axis))


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_joins_along_any_axis(axis: int, imported: Import) -> None:
    what, results = moved(imported, ("Relu", "x", "r"), ("Concat", "x,r,x", "y", {"axis": axis}))
    assert what == "Activation Concat"
    np.testing.assert_array_equal(results["y"], np.concatenate([X, np.maximum(X, 0), X], axis))


def test_a_join_of_many_is_several(imported: Import) -> None:
    what, results = moved(imported, ("Concat", ",".join("x" * 16), "y", {"axis": 1}))
    assert what == "Concat Concat Concat"
    np.testing.assert_array_equal(results["y"], np.concatenate([X] * 16, 1))


SHUFFLE = (
    ("Reshape", "a,s", "r"),
    ("Transpose", "r", "t", {"perm": (0, 2, 1, 3, 4)}),
    ("Reshape", "t,u", "v"),
)


@pytest.mark.parametrize("behind", [("Conv", "v,w", "y"), ("Split", "v", "y,z", {"axis": 1}), ("MaxPool", "v", "y")])
def test_shuffles(behind: tuple[Any, ...], imported: Import) -> None:
    if behind[0] == "MaxPool":
        behind = (*behind, {"kernel_shape": (1, 1)})
    constants = {"s": [1, 2, 4, 5, 6], "u": [1, 8, 5, 6], "w": np.eye(8)[:, :, None, None]}
    what, results = moved(imported, ("Relu", "x", "a"), *SHUFFLE, behind, constants=constants, to=behind[2])
    assert "Shuffle" in what
    expected = X[:, [0, 4, 1, 5, 2, 6, 3, 7]]
    np.testing.assert_array_equal(np.concatenate(list(results.values()), 1), expected)


@pytest.mark.parametrize("first", ["Relu", "Identity"])
@pytest.mark.parametrize("last", ["Identity", "Relu"])
def test_outputs_are_shuffled(first: str, last: str, imported: Import) -> None:
    """Behind a layer and an input, and behind an activation, which leaves channels as they stand."""
    constants = {"s": [1, 2, 4, 5, 6], "u": [1, 8, 5, 6]}
    what, results = moved(imported, (first, "x", "a"), *SHUFFLE, (last, "v", "y"), constants=constants)
    assert "Shuffle" in what
    expected = np.maximum(X, 0) if "Relu" in (first, last) else X
    np.testing.assert_array_equal(results["y"], expected[:, [0, 4, 1, 5, 2, 6, 3, 7]])


def test_an_output_in_an_order_that_no_layer_gives(imported: Import) -> None:
    """Three parts of the channels, turned around."""
    nodes = [("Reshape", "x,s", "r"), ("Transpose", "r", "t", {"perm": (0, 3, 2, 1, 4, 5)}), ("Reshape", "t,u", "y")]
    constants = {"s": [1, 2, 2, 2, 5, 6], "u": [1, 8, 5, 6]}
    (told,) = refusals(imported, *nodes, x=X.shape, constants=constants)
    assert "another order" in told


def test_a_shuffle_is_done_once_for_all_readers(imported: Import) -> None:
    constants = {"s": [1, 2, 4, 5, 6], "u": [1, 8, 5, 6]}
    pools = [("GlobalMaxPool", "v", "y"), ("GlobalAveragePool", "v", "z")]
    what, _ = moved(imported, ("Relu", "x", "a"), *SHUFFLE, *pools, constants=constants, to="y,z")
    assert what == "Activation Pooling Pooling Shuffle"


def test_an_input_whose_channels_are_shuffled_keeps_them_for_others(imported: Import) -> None:
    constants = {"s": [1, 2, 4, 5, 6], "u": [1, 8, 5, 6]}
    shuffled = [(node[0], node[1].replace("a,", "x,"), *node[2:]) for node in SHUFFLE]
    nodes = [*shuffled, ("MaxPool", "v", "y", {"kernel_shape": (1, 1)}), ("Relu", "x", "z")]
    _, results = moved(imported, *nodes, constants=constants, to="y,z")
    np.testing.assert_array_equal(results["y"], X[:, [0, 4, 1, 5, 2, 6, 3, 7]])
    np.testing.assert_array_equal(results["z"], np.maximum(X, 0))


def test_a_shuffle_in_front_of_an_activation_is_found(imported: Import) -> None:
    """The activation leaves channels as they stand; Softmax does not take them so."""
    constants = {"s": [1, 2, 4, 5, 6], "u": [1, 8, 5, 6]}
    nodes = [("Relu", "x", "a"), *SHUFFLE, ("Tanh", "v", "b"), ("Softmax", "b", "y", {"axis": 1})]
    what, _ = moved(imported, *nodes, constants=constants)
    assert what == "Activation Activation Shuffle Softmax"


def test_halves_of_a_split_axis(imported: Import) -> None:
    """As some write the two halves of a shuffle: every second channel, as places of an axis of two."""
    nodes = [("Relu", "x", "a"), ("Reshape", "a,s", "r"), ("Gather", "r,i", "y", {"axis": 2})]
    what, results = moved(imported, *nodes, constants={"s": [1, 4, 2, 5, 6], "i": 1})
    assert what == "Activation Slice"
    np.testing.assert_array_equal(results["y"], X[:, 1::2])
    nodes = [("Relu", "x", "a"), ("Reshape", "a,s", "r"), ("Gather", "r,i", "y", {"axis": 1})]
    what, results = moved(imported, *nodes, constants={"s": [1, 2, 4, 5, 6], "i": 1})
    np.testing.assert_array_equal(results["y"], X[:, 4:])


def test_parts_of_what_was_refused(imported: Import) -> None:
    """What stands in for it is arranged as the input that it reads, which another layer has settled: no fault of it."""
    nodes = (("Relu", "x", "r"), ("Det", "x", "d"), ("Split", "d", "a,b", {"axis": 1}), ("Mod", "a,b", "y"))
    with pytest.raises(UnsupportedError) as caught:
        imported(*nodes, x=X.shape, to="r,y", infer=lambda *_: (X.shape,))
    assert {refusal.operator for refusal in caught.value.refusals} == {"Det", "Mod"}
