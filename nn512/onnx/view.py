"""How an ONNX tensor looks at a tensor of the graph: which of its axes stand where, merged or split.

A tensor of the graph is C x H x W in memory. Reshape, Transpose, Flatten, Squeeze and Unsqueeze move no number as long
as every axis of theirs is made of whole factors of C, H and W, so they become views and no layer: a Flatten before a
Gemm is a matter of the order of weights, and so is a transposition to N x H x W x C.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np

from nn512.arrays import Array
from nn512.graph import Shape

AXES = ("C", "H", "W")


class Factor(NamedTuple):
    """Part of an axis: `size` places that are `stride` places of the axis apart."""

    axis: str
    size: int
    stride: int


Dim: TypeAlias = tuple[Factor, ...]
Dims: TypeAlias = tuple[Dim, ...]
"""Every ONNX axis as the factors that it runs through, the last one fastest; factors of size 1 are left out."""


def whole(axis: str, size: int) -> Dim:
    """All of an axis."""
    return (Factor(axis, size, 1),) if size > 1 else ()


def sizes(dims: Dims) -> tuple[int, ...]:
    """The ONNX shape."""
    return tuple(prod(factor.size for factor in dim) for dim in dims)


def usual(shape: Shape, rank: int) -> Dims | None:
    """1 x C x H x W, 1 x C x W or 1 x C of a tensor, the usual views by their rank; None where there is none."""
    c, h, w = (whole(axis, size) for axis, size in zip(AXES, shape, strict=True))
    match rank:
        case 4:
            return (), c, h, w
        case 3 if shape.height == 1:
            return (), c, w
        case 2 if shape.pixels == 1:
            return (), c
        case _:
            return None


def merged(dim: Sequence[Factor]) -> Dim:
    """The same places in as few factors as there can be."""
    done: list[Factor] = []
    for factor in dim:
        if factor.size == 1:
            continue
        last = done[-1] if done else None
        if last is not None and last.axis == factor.axis and last.stride == factor.stride * factor.size:
            done[-1] = Factor(factor.axis, last.size * factor.size, factor.stride)
        else:
            done.append(factor)
    return tuple(done)


def reshaped(dims: Dims, shape: Sequence[int]) -> Dims | None:
    """The view under another shape of as many elements; None where an axis would be no product of factors."""
    rest = [factor for dim in dims for factor in dim][::-1]
    result: list[Dim] = []
    for size in shape:
        taken: list[Factor] = []
        need = size
        while need > 1:
            if not rest:
                return None
            factor = rest.pop()
            if need % factor.size == 0:
                taken.append(factor)
                need //= factor.size
            elif factor.size % need == 0:  # its outer part is here, the inner one on the next axis
                inner = factor.size // need
                taken.append(Factor(factor.axis, need, factor.stride * inner))
                rest.append(Factor(factor.axis, inner, factor.stride))
                need = 1
            else:
                return None
        result.append(merged(taken))
    return None if rest else tuple(result)


def scrambled(dims: Dims) -> bool:
    """Whether some ONNX axis runs through parts of one axis in another order than that axis does."""
    pairs = [pair for dim in dims for pair in itertools.pairwise(dim)]
    return any(first.axis == second.axis and first.stride < second.stride for first, second in pairs)


def elements(dims: Dims, array: Array) -> Array:
    """What ONNX sees of a C x H x W array through a view that covers it: an array of the ONNX shape."""
    order = np.arange(array.size).reshape(array.shape)
    factors = [factor for dim in dims for factor in dim]
    strides = dict(zip(AXES, (order.strides[i] for i in range(3)), strict=True))
    index = np.lib.stride_tricks.as_strided(
        order, [f.size for f in factors], [f.stride * strides[f.axis] for f in factors], writeable=False
    )
    return array.reshape(-1)[index.reshape(-1)].reshape(sizes(dims))


def order_of(dim: Dim, shape: Shape) -> Array:
    """For every place of a tensor, in memory order, where it stands along an ONNX axis that runs through all of it."""
    seen = elements((dim,), np.arange(shape.elements).reshape(shape))
    places = np.empty(shape.elements, np.int64)
    places[seen] = np.arange(shape.elements)
    return places


def covers(dim: Dim, shape: Shape) -> bool:
    """Whether an axis runs through the whole tensor, every place once."""
    return prod(f.size for f in dim) == shape.elements and _distinct(dim, shape)


def _distinct(dim: Dim, shape: Shape) -> bool:
    """Whether the factors of every axis make up that axis."""
    for axis, size in zip(AXES, shape, strict=True):
        parts = sorted((f for f in dim if f.axis == axis), key=lambda f: -f.stride)
        if merged(parts) != whole(axis, size):
            return False
    return True
