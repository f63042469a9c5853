"""All kernels. A new one is a line here, beside its own file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from nn512.ir import Op
from nn512.ir.decision import Decision
from nn512.kernels import (
    bfloat16,
    border,
    channel_norm,
    convolution,
    copying,
    depthwise,
    elementwise,
    fourier,
    fully_connected,
    fully_connected_pairs,
    grouped,
    grouped_pairs,
    lrn,
    picking,
    planar,
    planar_pairs,
    pointwise,
    pooling,
    softmax,
    winograd,
)
from nn512.kernels.deciding import Choosing
from nn512.kernels.interface import Kernel

KERNELS: tuple[Kernel[Any], ...] = (
    convolution.KERNEL,
    pointwise.KERNEL,
    grouped.KERNEL,
    depthwise.KERNEL,
    planar.KERNEL,
    planar_pairs.KERNEL,
    *winograd.KERNELS,
    *fourier.KERNELS,
    bfloat16.KERNEL,
    grouped_pairs.KERNEL,
    fully_connected.FLOATS,
    fully_connected.HALVES,
    fully_connected_pairs.KERNEL,
    pooling.POOLING,
    pooling.SAMPLING,
    softmax.KERNEL,
    channel_norm.KERNEL,
    lrn.KERNEL,
    elementwise.KERNEL,
    border.LOAD,
    border.STORE,
    copying.CONCAT,
    picking.PICK,
    picking.CROP,
    copying.COPY,
    copying.RELAYOUT,
    copying.PAD,
)
"""Of kernels with the same price the first is taken."""


def _by_operation() -> Mapping[type[Op], tuple[Kernel[Any], ...]]:
    kinds = dict.fromkeys(kernel.computes for kernel in KERNELS)
    return MappingProxyType({kind: tuple(k for k in KERNELS if k.computes is kind) for kind in kinds})


_KERNELS_OF = _by_operation()
_KERNELS: Mapping[str, Kernel[Any]] = MappingProxyType({kernel.name: kernel for kernel in KERNELS})


def kernels_of(op: Op) -> tuple[Kernel[Any], ...]:
    """The kernels for operations like this one, whether they apply to it or not."""
    return _KERNELS_OF[type(op)]


def kernel_names() -> tuple[str, ...]:
    """Names of all kernels, which a user may force."""
    return tuple(kernel.name for kernel in KERNELS)


def kernel_named(name: str) -> Kernel[Any]:
    """The kernel of that name. Raises KeyError where there is none."""
    return _KERNELS[name]


def family_of(name: str) -> str:
    """The kernels with which one of that name decides, or itself; a name that is none of ours stands for itself."""
    return _KERNELS[name].family or name if name in _KERNELS else name


RIVALRY = (Choosing.CHEAPEST, Choosing.FORCED, Choosing.DEARER, Choosing.OVERRULED)
"""What may become of every kernel that has rivals."""


def stated_decisions() -> Mapping[str, tuple[Decision, ...]]:
    """All decisions of kernels, by their families: what they state, and what may become of those that have rivals."""
    stated: dict[str, dict[Decision, None]] = {}
    rivals = competing_kernels()
    for kernel in KERNELS:
        made = (*kernel.decisions, *(RIVALRY if kernel.name in rivals else ()))
        stated.setdefault(family_of(kernel.name), {}).update(dict.fromkeys(made))
    return {family: tuple(made) for family, made in stated.items() if made}


def competing_kernels() -> tuple[str, ...]:
    """Names of the kernels that share their operation with others: to force these makes a difference."""
    rivals = Counter(kernel.computes for kernel in KERNELS)
    return tuple(kernel.name for kernel in KERNELS if rivals[kernel.computes] > 1)
