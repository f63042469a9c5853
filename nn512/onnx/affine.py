"""One factor and one summand for every channel: what multiplications and additions of constants become.

They join the layer before them where nobody else reads it: as its biases, where a sum of products has none in the
model, or as scales and shifts of a batch norm. What is left is a BatchNorm of its own, which the compiler folds.
"""

from __future__ import annotations

import numpy as np

from nn512.arrays import Array
from nn512.graph import BatchNorm, LayerNorm, RMSNorm
from nn512.onnx import view
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.work import Known, Tensor, Work
from nn512.params import show_shape


def affine(work: Work, node: OnnxNode, x: Tensor, factor: Array | None, summand: Array | None) -> Tensor:
    """The tensor x times a factor plus a summand; where one is None nothing is multiplied or added."""
    channels = work.shapes[x.name].channels
    scales = np.ones(channels) if factor is None else per_channel(work, x, factor)
    shifts = np.zeros(channels) if summand is None else per_channel(work, x, summand)
    if (scales == 1).all() and (shifts == 0).all():
        return x
    before = work.alone_behind(node, x)
    if before is not None and before.bare and (scales == 1).all():
        layer, params = before.layer, {**before.params, "Biases": shifts}
        name = work.emit(node, lambda to: layer.with_tensors(layer.reads, to), params, stem=before.stem)
    elif (
        before is not None
        and isinstance(before.node, BatchNorm | LayerNorm | RMSNorm)
        and ("Shifts" in before.params or (shifts == 0).all())
    ):
        norm, old = before.node, {suffix: array.astype(np.float64) for suffix, array in before.params.items()}
        params = {**before.params, "Scales": scales * old["Scales"]}
        if "Shifts" in old:
            params["Shifts"] = scales * old["Shifts"] + shifts
        name = work.emit(node, lambda to: norm.with_tensors(norm.reads, to), params, stem=before.stem)
    else:
        params = {
            "Scales": scales,
            "Shifts": shifts,
            "Means": np.zeros(channels, np.float32),
            "Variances": np.ones(channels, np.float32),
        }
        name = work.emit(node, lambda to: BatchNorm(x.name, to, 0.0), params)
    return Tensor(name, x.dims)


def per_channel(work: Work, x: Tensor, constant: Array) -> Array:
    """A constant that is broadcast to x, as one value per channel in float64."""
    channels = work.shapes[x.name].channels
    told = f"a constant of {show_shape(constant.shape)} beside {show_shape(x.shape)}"
    error = RefusedError(told, "one number, or one for every channel")
    try:
        if np.broadcast_shapes(constant.shape, x.shape) != x.shape:
            raise error
    except ValueError:
        raise error from None
    extents = (1,) * (len(x.dims) - constant.ndim) + constant.shape
    for extent, dim in zip(extents, x.dims, strict=True):
        if extent > 1 and dim != view.whole("C", channels):
            raise error
    return np.broadcast_to(constant.reshape(-1).astype(np.float64), (channels,))


def constant_of(work: Work, name: str) -> Array:
    """A constant in float64."""
    found = work.values[name]
    assert isinstance(found, Known)
    return found.array.astype(np.float64)
