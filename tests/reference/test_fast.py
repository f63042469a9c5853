import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from reference import fast
from reference.windows import Window

WINDOWS = (
    Window(1, 1),
    Window(3, 2),
    Window(2, 3, stride_h=2, stride_w=3),
    Window(3, 2, dilation_h=2, dilation_w=3),
    Window(3, 3, top=1, bottom=2, left=3, right=0),
    Window(2, 2, 3, 2, 2, 3, 1, 0, 2, 4),
)


@pytest.mark.parametrize("window", WINDOWS)
def test_taps_are_those_of_a_window_that_slides(window: Window) -> None:
    x = np.random.default_rng(0).standard_normal((3, 8, 9))
    sides = (0, 0), (window.top, window.bottom), (window.left, window.right)
    reach = 1 + (window.height - 1) * window.dilation_h, 1 + (window.width - 1) * window.dilation_w
    dense = sliding_window_view(np.pad(x, sides, constant_values=7.0), reach, axis=(1, 2))
    expected = dense[:, :: window.stride_h, :: window.stride_w, :: window.dilation_h, :: window.dilation_w]
    # Of views, too, whose strides are not those of a whole array.
    for given in (x, np.repeat(x, 2, axis=2)[:, :, ::2]):
        np.testing.assert_array_equal(window.taps(given, 7.0), expected)
    assert window.result_size(x) == expected.shape[1:3]


def test_a_window_larger_than_the_tensor_has_no_place() -> None:
    with pytest.raises(ValueError, match="no place"):
        Window(3, 3).taps(np.zeros((1, 2, 5)))


@pytest.mark.parametrize(("window", "groups"), [*itertools.product(WINDOWS, (1, 2))])
def test_convolutions_of_signs_are_the_same_one_by_one(
    window: Window, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(groups)
    x = rng.integers(-1, 2, (6, 4, 8, 9)).astype(np.float32)
    weights = rng.integers(-1, 2, (8, 4, 6 // groups, window.height, window.width)).astype(np.float32)
    expected = [fast.correlate(x[:, i].astype(float), weights[:, i].astype(float), window) for i in range(4)]
    for block in (fast.BLOCK, 1):
        monkeypatch.setattr(fast, "BLOCK", block)
        np.testing.assert_array_equal(fast.correlate_each(x, weights, window), np.stack(expected, axis=1))
