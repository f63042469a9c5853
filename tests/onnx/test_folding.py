"""Constants are computed as ONNX says, within bounds that are asked first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn512.onnx.folding import FOLDS, fold
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError

LARGE = np.array([1 << 40])


def folded(operator: str, *arrays: Any, opset: int = 17, **attributes: Any) -> Any:
    read = [None if array is None else np.asarray(array) for array in arrays]
    node = OnnxNode(operator, tuple("abcdef"[: len(read)]), ("y",), "", attributes)
    found = fold(node, read, opset)
    assert found is not None
    return found[0] if len(found) == 1 else found


ROWS = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize(
    ("operator", "arrays", "attributes", "expected"),
    [
        ("Constant", [], {"value_ints": (1, 2)}, [1, 2]),
        ("ConstantOfShape", [[2, 1]], {"value": np.array([7])}, [[7], [7]]),
        ("Gather", [ROWS, [-1, 0]], {"axis": 1}, [[3, 0], [7, 4], [11, 8]]),
        ("Concat", [[1], [2, 3]], {"axis": 0}, [1, 2, 3]),
        ("Slice", [ROWS, [1], [2**63 - 1]], {}, ROWS[1:]),
        ("Slice", [ROWS, [-1], [-(2**63)], [1], [-2]], {}, ROWS[:, ::-2]),
        ("Slice", [ROWS, [-3, 0], [-1, -1]], {}, ROWS[-3:-1, :-1]),
        ("Unsqueeze", [[5], [0, -1]], {}, [[[5]]]),
        ("Squeeze", [[[5, 6]], None], {}, [5, 6]),
        ("Reshape", [ROWS, [0, -1, 2]], {}, ROWS.reshape(3, 2, 2)),
        ("Transpose", [ROWS], {}, ROWS.T),
        ("Flatten", [ROWS], {"axis": 0}, ROWS.reshape(1, 12)),
        ("Div", [[7, -7], [2, 2]], {}, [3, -3]),  # towards zero, as in C
        ("Cast", [[1.9, -1.9]], {"to": 7}, [1, -1]),
        ("CastLike", [[1.9, -1.9], [0]], {}, [1, -1]),
        ("Range", [2, 9, 3], {}, [2, 5, 8]),
        ("Expand", [[1, 2], [2, 1]], {}, [[1, 2], [1, 2]]),
        ("Where", [[True, False], [1, 2], [3, 4]], {}, [1, 4]),
        ("Clip", [[1, 5, 9], 2, None], {}, [2, 5, 9]),
        ("Tile", [[1, 2], [2]], {}, [1, 2, 1, 2]),
        ("ReduceProd", [ROWS + 1], {"axes": (1,), "keepdims": 0}, [24, 1680, 11880]),
        ("ReduceSum", [ROWS, [0]], {}, [[12, 15, 18, 21]]),
        ("Size", [ROWS], {}, 12),
        ("Shape", [ROWS], {"start": 1}, [4]),
    ],
)
def test_values(operator: str, arrays: list[Any], attributes: dict[str, Any], expected: Any) -> None:
    found = folded(operator, *arrays, **attributes)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == np.shape(expected)


def test_parts() -> None:
    first, second = fold(OnnxNode("Split", ("a",), ("x", "y"), "", {"axis": 1}), [ROWS], 17) or ()
    np.testing.assert_array_equal(np.concatenate([first, second], 1), ROWS)


def test_slices_of_old() -> None:
    np.testing.assert_array_equal(folded("Slice", ROWS, opset=9, starts=(1,), ends=(-1,), axes=(1,)), ROWS[:, 1:-1])


def test_weights_that_a_model_standardizes() -> None:
    weights = np.random.default_rng(0).normal(size=(1, 5, 27)).astype(np.float32)
    ones, zeros = np.ones(5, np.float32), np.zeros(5, np.float32)
    options: dict[str, Any] = {"training_mode": 1, "epsilon": 0.0, "momentum": 0.25}
    found, mean, variance = folded("BatchNormalization", weights, ones, zeros, zeros, ones, **options)
    np.testing.assert_allclose(mean, 0.75 * weights.mean(2)[0], rtol=1e-5)
    np.testing.assert_allclose(variance, 0.25 + 0.75 * weights.var(2)[0], rtol=1e-5)
    np.testing.assert_allclose(found.mean(2), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(2), 1, rtol=1e-5)


def test_repeated_numbers_take_no_memory() -> None:
    found = folded("ConstantOfShape", [4096, 25088])
    assert found.strides == (0, 0)


@pytest.mark.parametrize(
    ("operator", "arrays"),
    [
        ("ConstantOfShape", [LARGE]),
        ("ConstantOfShape", [[-1]]),
        ("Expand", [[1], LARGE]),
        ("Range", [0, 1 << 40, 1]),
        ("Range", [0, 1, 0]),
        ("Tile", [[1, 2], LARGE]),
        ("Add", [np.zeros((1 << 14, 1), np.int8), np.zeros((1, 1 << 14), np.int8)]),
        ("Gather", [np.zeros((2, 1 << 14), np.int8), np.zeros(1 << 14, np.int64)]),
        ("Div", [[1], [0]]),
        ("Gather", [ROWS, [7]]),
        ("Gather", [[1], None]),
        ("Concat", [[1], [[2]]]),
        ("Add", [[1, 2], [1, 2, 3]]),
        ("Add", [[1.0], [2.0], [3.0]]),
        ("Reshape", [ROWS, [5, -1]]),
        ("Squeeze", [ROWS, [0]]),
        ("Unsqueeze", [ROWS, [0, 0]]),
        ("Unsqueeze", [ROWS, [9]]),
        ("Cast", [ROWS]),
        ("CastLike", [ROWS]),
        ("Transpose", []),
    ],
)
def test_too_large_or_senseless(operator: str, arrays: list[Any]) -> None:
    with pytest.raises(RefusedError):
        folded(operator, *arrays)


@pytest.mark.parametrize("operator", FOLDS)
def test_inputs_that_are_not_there(operator: str) -> None:
    for count in range(3):
        try:
            fold(OnnxNode(operator, ("a",) * count, ("y",)), [None] * count, 17)
        except RefusedError:
            continue
