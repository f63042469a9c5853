"""Windows that slide over the pixels of a tensor: filters of convolutions and windows of pooling, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Single: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """Size, stride and dilation of a window in rows and columns, and the cells of padding on each side of the tensor.

    It is placed at every multiple of the stride at which it lies in the padded tensor as a whole: the remainder of the
    division by the stride leaves rows and columns at the bottom and right unread.
    """

    height: int
    width: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @property
    def padded(self) -> bool:
        """Whether there is any padding."""
        return bool(self.top or self.bottom or self.left or self.right)

    @property
    def pixelwise(self) -> bool:
        """Whether every pixel of the result is computed from the one at its place."""
        return (self.height, self.width, self.stride_h, self.stride_w) == (1, 1, 1, 1) and not self.padded

    def pad(self, x: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        """`x`, C x H x W, with the padding around it, holding `fill`."""
        return np.pad(x, ((0, 0), (self.top, self.bottom), (self.left, self.right)), constant_values=fill)

    def over(self, padded: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of shape C x OH x OW x FH x FW: the taps of every window of an already padded C x H x W array."""
        reach = 1 + (self.height - 1) * self.dilation_h, 1 + (self.width - 1) * self.dilation_w
        dense = sliding_window_view(padded, reach, axis=(1, 2))
        return dense[:, :: self.stride_h, :: self.stride_w, :: self.dilation_h, :: self.dilation_w]

    def taps(self, x: npt.NDArray[Any], fill: float = 0.0) -> npt.NDArray[Any]:
        """The taps of every window of `x`, C x OH x OW x FH x FW."""
        return self.over(self.pad(x, fill))

    def real_cells(self, x: npt.NDArray[Any]) -> Array:
        """How many cells of each window lie inside the tensor: 1 x OH x OW."""
        return np.asarray(self.taps(np.ones((1, *x.shape[1:]))).sum(axis=(-2, -1)))

    def result_size(self, x: npt.NDArray[Any]) -> tuple[int, int]:
        """Height and width of what is computed from the windows of `x`."""
        height, width = self.taps(x[:1]).shape[1:3]
        return height, width
