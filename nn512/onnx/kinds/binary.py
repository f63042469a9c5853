"""Add, Sub, Mul, Div, Max and Min in ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from nn512.graph import Activation, Add, Binary, Div, Max, Min, Mul, Sub
from nn512.graph.binary import fits
from nn512.onnx.affine import affine, constant_of
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import MANY, Rule
from nn512.onnx.view import Dims
from nn512.onnx.work import Known, Tensor, Work
from nn512.params import show_shape


def _nodes(maker: NodeMaker, layer: Binary) -> Iterator[Any]:
    yield maker.last(type(layer).__name__, [layer.from_tensor1, layer.from_tensor2])


BINARY = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------

KINDS: Mapping[str, type[Binary]] = MappingProxyType(
    {"Add": Add, "Sum": Add, "Sub": Sub, "Mul": Mul, "Div": Div, "Max": Max, "Min": Min}
)
"""By operator."""


def _read(work: Work, node: OnnxNode) -> Tensor:
    """A function of tensors, two by two from the left, or of a tensor and a constant."""
    known = [isinstance(work.value(node, i), Known) for i in range(len(node.reads))]
    tensors = [work.tensor(node, i) for i, is_known in enumerate(known) if not is_known]
    if not any(known):
        return _of_tensors(work, node, tensors)
    if len(known) > 2:
        raise RefusedError(f"{node.operator} of tensors and constants", "tensors alone, or one tensor and one constant")
    (x,), constant = tensors, constant_of(work, node.reads[known.index(True)])
    match node.operator, known[0]:
        case "Add" | "Sum", _:
            return affine(work, node, x, None, constant)
        case "Mul", _:
            return affine(work, node, x, constant, None)
        case "Sub", False:
            return affine(work, node, x, None, -constant)
        case "Sub", True:
            return affine(work, node, x, np.asarray(-1.0), constant)
        case "Div", False if (constant != 0).all():
            return affine(work, node, x, 1 / constant, None)
        case "Div", False:
            raise RefusedError("Div by a constant with a 0 in it", "constants none of which is 0")
        case "Div", True:
            alone = bool((constant == 1).all())
            return affine(work, node, _reciprocal(work, node, x, alone=alone), constant, None)
    raise RefusedError(
        f"{node.operator} of a constant alone is no activation", "as a part of a larger function, such as HardSwish"
    )


def _of_tensors(work: Work, node: OnnxNode, tensors: list[Tensor]) -> Tensor:
    """One layer for every two tensors, but for a single one."""
    done = tensors[0]
    for number, tensor in enumerate(tensors[1:], 2):
        writes = None if number == len(tensors) else f"{node.writes[0]}.first{number}"
        done = _pair(work, node, done, tensor, writes)
    return done


def _pair(work: Work, node: OnnxNode, first: Tensor, second: Tensor, writes: str | None) -> Tensor:
    """A layer of two tensors, the larger of which comes first in the language: they may have to change places."""
    rank = max(len(first.dims), len(second.dims))
    first, second = _padded(first, rank), _padded(second, rank)
    kind = KINDS[node.operator]
    if _meets(work, first, second):
        name = work.emit(node, lambda to: kind(first.name, second.name, to), writes=writes)
        return Tensor(name, first.dims)
    if not _meets(work, second, first):
        raise _unfit(work, node, first, second)
    if kind is Sub:  # a - b is -b + a
        second, kind = affine(work, node, second, np.asarray(-1.0), None), Add
    elif kind is Div:  # a / b is 1 / b * a
        second, kind = _reciprocal(work, node, second, alone=False), Mul
    name = work.emit(node, lambda to: kind(second.name, first.name, to), writes=writes)
    return Tensor(name, second.dims)


def _reciprocal(work: Work, node: OnnxNode, x: Tensor, *, alone: bool) -> Tensor:
    """A layer that divides 1 by a tensor; `alone` if it is all that the node becomes."""
    writes = None if alone else f"{node.writes[0]}.reciprocal"
    return Tensor(work.emit(node, lambda to: Activation(x.name, to, "Reciprocal"), writes=writes), x.dims)


def _unfit(work: Work, node: OnnxNode, first: Tensor, second: Tensor) -> RefusedError:
    """What to say of two tensors whose shapes do not go together, or their axes."""
    pairs = list(zip(first.shape, second.shape, strict=True))
    if all(b in {a, 1} for a, b in pairs) or all(a in {b, 1} for a, b in pairs):
        return work.misplaced(second, "the first operand is")
    told = f"{node.operator} of {show_shape(first.shape)} and {show_shape(second.shape)}"
    return RefusedError(told, "two tensors, of which one has all extents of the result")


def _padded(tensor: Tensor, rank: int) -> Tensor:
    """The tensor seen with as many axes: those in front have the extent 1."""
    missing: Dims = ((),) * (rank - len(tensor.dims))
    return replace(tensor, dims=(*missing, *tensor.dims)) if missing else tensor


def _meets(work: Work, first: Tensor, second: Tensor) -> bool:
    """Whether every element of the first tensor meets the one of the second that a layer would give it."""
    alike = all(other in {dim, ()} for dim, other in zip(first.dims, second.dims, strict=True))
    return alike and fits(work.shapes[first.name], work.shapes[second.name])


_OR_PART = "; part of an activation that is recognized as a whole: {}"

ADD_RULES = (
    Rule("Add", _read, "Add; of a constant, biases or the shifts of a BatchNorm", inputs=2),
    Rule("Sum", _read, "Add, one for every two tensors", inputs=MANY),
)
SUB_RULES = (Rule("Sub", _read, "Sub; of a number or one for every channel, BatchNorm", inputs=2),)
MUL_RULES = (Rule("Mul", _read, "Mul; of a number or one for every channel, BatchNorm; part of HardSwish", inputs=2),)
DIV_RULES = (
    Rule(
        "Div",
        _read,
        "Div, or Mul by the reciprocal; by a number or one for every channel, BatchNorm; part of HardSwish",
        inputs=2,
    ),
)
MAX_RULES = (Rule("Max", _read, "Max, one for every two tensors" + _OR_PART.format("Max(x, a * x)"), inputs=MANY),)
MIN_RULES = (Rule("Min", _read, "Min, one for every two tensors" + _OR_PART.format("Min(Max(x, a), b)"), inputs=MANY),)
