"""Windows that slide over the pixels of a tensor: filters of convolutions and windows of pooling, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

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
        """`x`, C x H x W, with the padding around it, holding `fill`; `x` itself where there is none."""
        if not self.padded:
            return x
        height, width = x.shape[1:]
        padded = np.full((len(x), self.top + height + self.bottom, self.left + width + self.right), fill, x.dtype)
        padded[:, self.top : self.top + height, self.left : self.left + width] = x
        return padded

    def over(self, padded: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of shape C x OH x OW x FH x FW: the taps of every window of an already padded C x H x W array.

        By strides alone, as sliding_window_view takes longer than the arithmetic on a small tensor.
        """
        height, width = self._places(*padded.shape[1:])
        channel, row, column = padded.strides
        shape = len(padded), height, width, self.height, self.width
        across = row * self.stride_h, column * self.stride_w, row * self.dilation_h, column * self.dilation_w
        return as_strided(padded, shape, (channel, *across), writeable=False)

    def taps(self, x: npt.NDArray[Any], fill: float = 0.0) -> npt.NDArray[Any]:
        """The taps of every window of `x`, C x OH x OW x FH x FW."""
        return self.over(self.pad(x, fill))

    def real_cells(self, x: npt.NDArray[Any]) -> Array:
        """How many cells of each window lie inside the tensor: 1 x OH x OW."""
        return np.asarray(self.taps(np.ones((1, *x.shape[1:]))).sum(axis=(-2, -1)))

    def result_size(self, x: npt.NDArray[Any]) -> tuple[int, int]:
        """Height and width of what is computed from the windows of `x`."""
        height, width = x.shape[-2:]
        return self._places(self.top + height + self.bottom, self.left + width + self.right)

    def _places(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of windows in a padded tensor of this size. Raises ValueError where there is no room."""
        down = (height - 1 - (self.height - 1) * self.dilation_h) // self.stride_h + 1
        across = (width - 1 - (self.width - 1) * self.dilation_w) // self.stride_w + 1
        if min(down, across) < 1:
            raise ValueError(f"a window of {self.height}x{self.width} has no place in {height}x{width}")
        return down, across
