"""An ONNX model as a function of PyTorch, which has no reader of its own: the operators that `export_onnx` writes.

Beside systems.py, which loads it by its path: it imports nothing of the project. Each operator is the one function of
PyTorch that means the same, so that what is judged is PyTorch's arithmetic. What shapes are computed of is computed in
Python: a compiler sees tensors only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

Values = dict[str, Any]
Attributes = dict[str, Any]
Operator = Callable[[Any, list[Any], Attributes], Any]
"""What an operator makes of what it reads, given PyTorch and its attributes."""


def module_of(model: Any) -> Callable[[Values], Values]:
    """The model: tensors by name, inputs and outputs with their batch axis. Raises KeyError for other operators."""
    torch, onnx = importlib.import_module("torch"), importlib.import_module("onnx")
    constants = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
    }
    nodes = [
        (
            _OPERATORS[node.op_type],
            list(node.input),
            node.output[0],
            {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute},
        )
        for node in model.graph.node
    ]
    wanted = [value.name for value in model.graph.output]

    def forward(inputs: Values) -> Values:
        values = {**constants, **inputs}
        for operator, reads, writes, attributes in nodes:
            values[writes] = operator(torch, [values[name] for name in reads], attributes)
        return {name: values[name] for name in wanted}

    return forward


def _conv(torch: Any, reads: list[Any], at: Attributes) -> Any:
    x, weights, biases = reads
    x, padding = _padded(torch, x, at["pads"])
    return torch.nn.functional.conv2d(x, weights, biases, at["strides"], padding, at["dilations"], at["group"])


def _padded(torch: Any, x: Any, pads: list[int]) -> tuple[Any, tuple[int, int]]:
    """What is left of padding to be done by an operator of PyTorch, which knows only as much behind as before."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return x, (top, left)
    return torch.nn.functional.pad(x, (left, right, top, bottom)), (0, 0)


def _max_pool(torch: Any, reads: list[Any], at: Attributes) -> Any:
    x = torch.nn.functional.pad(reads[0], _sides(at), value=-float("inf"))
    return torch.nn.functional.max_pool2d(x, at["kernel_shape"], at["strides"])


def _average_pool(torch: Any, reads: list[Any], at: Attributes) -> Any:
    """Where padding does not count, the quotient of the average and of that of the cells that are there."""
    pooled = torch.nn.functional.avg_pool2d
    x, sides = reads[0], _sides(at)
    if not any(sides):
        return pooled(x, at["kernel_shape"], at["strides"])
    total = pooled(torch.nn.functional.pad(x, sides), at["kernel_shape"], at["strides"], divisor_override=1)
    if at["count_include_pad"]:
        return total / (at["kernel_shape"][0] * at["kernel_shape"][1])
    there = torch.nn.functional.pad(torch.ones_like(x), sides)
    return total / pooled(there, at["kernel_shape"], at["strides"], divisor_override=1)


def _sides(at: Attributes) -> tuple[int, int, int, int]:
    top, left, bottom, right = at["pads"]
    return left, right, top, bottom


def _gemm(torch: Any, reads: list[Any], at: Attributes) -> Any:
    x, weights, biases = reads
    return torch.nn.functional.linear(x, weights if at.get("transB") else weights.T, biases)


def _batch_norm(torch: Any, reads: list[Any], at: Attributes) -> Any:
    x, scales, shifts, means, variances = reads
    return torch.nn.functional.batch_norm(x, means, variances, scales, shifts, eps=at["epsilon"])


def _layer_norm(torch: Any, reads: list[Any], at: Attributes) -> Any:
    x, *parameters = reads
    return torch.nn.functional.layer_norm(x, x.shape[-1:], *parameters, eps=at["epsilon"])


def _lrn(torch: Any, reads: list[Any], at: Attributes) -> Any:
    """Of an even size the additional channel is the one behind in ONNX, and the one before in PyTorch."""

    def normalized(x: Any) -> Any:
        return torch.nn.functional.local_response_norm(x, at["size"], at["alpha"], at["beta"], at["bias"])

    return normalized(reads[0].flip(1)).flip(1)


def _slice(torch: Any, reads: list[Any], _: Attributes) -> Any:
    x, (first,), (end,), (axis,), (step,) = reads
    index = [slice(None)] * x.ndim
    index[axis] = slice(first, end, step)
    return x[tuple(index)]


def _concat(torch: Any, reads: list[Any], at: Attributes) -> Any:
    if isinstance(reads[0], list):
        return [number for part in reads for number in part]
    return torch.cat(reads, at["axis"])


def _reshape(_: Any, reads: list[Any], at: Attributes) -> Any:
    """Where a shape says 0, the axis stays as it is."""
    x, shape = reads
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def _constant(_: Any, reads: list[Any], at: Attributes) -> Any:
    (value,) = at.values()
    return list(value) if isinstance(value, list | tuple) else value


def _clip(torch: Any, reads: list[Any], _: Attributes) -> Any:
    x, least, most = reads
    return torch.clamp(x, least, most)


def _prelu(torch: Any, reads: list[Any], _: Attributes) -> Any:
    x, slopes = reads
    return torch.nn.functional.prelu(x, slopes.reshape(-1))


def _functional(name: str, *positional: str) -> Operator:
    """A function of torch.nn.functional of one tensor and these attributes."""
    return lambda torch, reads, at: getattr(torch.nn.functional, name)(reads[0], *(at[key] for key in positional))


def _plain(name: str) -> Operator:
    """A function of torch, of all that is read."""
    return lambda torch, reads, _: getattr(torch, name)(*reads)


def _scalar(name: str) -> Operator:
    """The same where one side may be a number."""

    def operator(torch: Any, reads: list[Any], _: Attributes) -> Any:
        left, right = reads
        return getattr(torch, name)(left, right) if torch.is_tensor(left) else getattr(torch, name)(right, left)

    return operator


_OPERATORS: dict[str, Operator] = {
    "Abs": _plain("abs"),
    "Add": _scalar("add"),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _conv,
    "Div": _plain("div"),
    "Elu": _functional("elu", "alpha"),
    "Erf": _plain("erf"),
    "Exp": _plain("exp"),
    "Flatten": lambda torch, reads, _: torch.flatten(reads[0], 1),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, reads, at: reads[0].mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda _, reads, at: reads[0].amax((2, 3), keepdim=True),
    "HardSigmoid": lambda torch, reads, at: torch.clamp(reads[0] * at["alpha"] + at["beta"], 0.0, 1.0),
    "HardSwish": _functional("hardswish"),
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _functional("leaky_relu", "alpha"),
    "Log": _plain("log"),
    "Max": _plain("maximum"),
    "MaxPool": _max_pool,
    "Min": _plain("minimum"),
    "Mul": _scalar("mul"),
    "Neg": _plain("neg"),
    "PRelu": _prelu,
    "Reciprocal": _plain("reciprocal"),
    "ReduceMean": lambda _, reads, at: reads[0].mean(list(at["axes"]), keepdim=True),
    "Relu": _plain("relu"),
    "Reshape": _reshape,
    "Shape": lambda _, reads, at: list(reads[0].shape)[at.get("start", 0) :],
    "Sigmoid": _plain("sigmoid"),
    "Slice": _slice,
    "Softmax": lambda torch, reads, at: torch.softmax(reads[0], at["axis"]),
    "Softplus": _functional("softplus"),
    "Sqrt": _plain("sqrt"),
    "Sub": _plain("sub"),
    "Tanh": _plain("tanh"),
    "Transpose": lambda _, reads, at: reads[0].permute(*at["perm"]),
    "Unsqueeze": lambda _, reads, at: reads[0].reshape([*reads[0].shape, *([1] * len(reads[1]))]),
}
"""By the name of the operator."""
