"""What layers have in common whose results are sums of products with weights, and a bias each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from fuzz.draw.kinds.base import WIDE, Arrays, Floats, Kind, Shapes, as_rows, integers
from nn512.graph import Conv, FullyConnected, layer_parameters

S = TypeVar("S", bound=Conv | FullyConnected)


class SumsOfProducts(Kind[S]):
    """Convolutions and fully connected layers."""

    grows = True

    def weights(self, layer: S, params: Arrays) -> Floats:
        """The filters."""
        return params[layer.to_tensor + "Weights"]

    def exact(
        self,
        layer: S,
        shapes: Shapes,
        params: Arrays,
        rng: np.random.Generator,
        read: Sequence[float],
        limit: float,
    ) -> float:
        """Weights of which as many are non-zero as the limit allows."""
        parameters, below = layer_parameters(layer, shapes), max(*read, 1.0)  # a function may be 0 everywhere
        rows, columns = layer.to_channels, parameters[0].elements // layer.to_channels
        limit = max(limit, below)
        largest = int(np.clip(limit / (below * columns), 1, 3))
        taps = int(np.clip((limit - largest) // (below * largest), 1, columns))
        weights = rng.integers(1, largest + 1, (rows, columns)) * rng.choice([-1, 1], (rows, columns))
        if taps < columns:
            dropped = rng.random((rows, columns)).argpartition(taps, axis=1)[:, taps:]
            np.put_along_axis(weights, dropped, 0, axis=1)
        params[layer.to_tensor + "Weights"] = weights.astype(np.float32).reshape(parameters[0].shape)
        params[layer.to_tensor + "Biases"] = integers(rng, (rows,), largest)
        return taps * largest * below + largest

    def rescale(self, layer: S, params: Arrays, factor: float) -> float:
        """Biases are added."""
        params[layer.to_tensor + "Biases"] *= np.float32(factor)
        return factor

    def scale_wide(self, layer: S, params: Arrays, rng: np.random.Generator, decade: float) -> float:
        """A decade more or less from channel to channel, so that neighbouring lanes cannot be mistaken."""
        shift = float(np.clip(rng.uniform(-WIDE, WIDE), -12 - decade, 12 - decade))
        spread = rng.uniform(-1.0, 1.0, (layer.to_channels, 1))
        weights = as_rows(self.weights(layer, params))
        weights *= (10.0 ** (shift + spread)).astype(np.float32)
        params[layer.to_tensor + "Biases"] *= (10.0 ** (decade + shift + spread[:, 0])).astype(np.float32)
        return decade + shift
