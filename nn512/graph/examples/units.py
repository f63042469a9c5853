"""Convolution, batch normalization and activation in a row: what most nets after 2015 are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nn512.graph.examples.builder import Builder, Size
from nn512.graph.nodes import Activation, Layer


def _relu(source: str, name: str) -> Layer:
    return Activation(source, name, "ReLU")


@dataclass(frozen=True, slots=True)
class Units:
    """Adds such rows to a net, all with one activation and one Epsilon."""

    builder: Builder
    activation: Callable[[str, str], Layer] = _relu
    epsilon: float = 0.00001

    def add(
        self,
        source: str,
        name: str,
        channels: int,
        size: Size,
        *,
        stride: int = 1,
        groups: int = 1,
        padded: bool = True,
    ) -> str:
        """The whole row; the tensor it ends with has its name."""
        tensor = self.linear(source, f"{name}Norm", channels, size, stride=stride, groups=groups, padded=padded)
        return self.builder.layer(self.activation(tensor, name))

    def linear(
        self,
        source: str,
        name: str,
        channels: int,
        size: Size,
        *,
        stride: int = 1,
        groups: int = 1,
        padded: bool = True,
    ) -> str:
        """The row without its activation."""
        conv = f"{name.removesuffix('Norm')}Conv"
        tensor = self.builder.conv(source, conv, channels, size, stride=stride, groups=groups, padded=padded)
        return self.builder.norm(tensor, name, self.epsilon)
