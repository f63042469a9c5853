"""The reference against PyTorch, ONNX Runtime and OpenVINO: the same node on the same numbers, thousands of cases.

Most data are small integers, so sums are exact and results must be equal; what divides or takes roots is compared to a
few units of the peer's precision. A peer that is not installed is skipped, and the message says how many cases that
leaves uncompared.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from nn512.graph import (
    ACTIVATIONS,
    LRN,
    POOLINGS,
    Activation,
    Add,
    BatchNorm,
    Binary,
    Concat,
    Conv,
    Div,
    FullyConnected,
    Layer,
    LayerNorm,
    Max,
    Min,
    Mul,
    Pooling,
    RMSNorm,
    Shuffle,
    Slice,
    Softmax,
    Sub,
)
from nn512.graph.axes import AXES
from reference import functions, kinds
from reference.windows import Array

pytestmark = pytest.mark.peers

CASES = {"torch": 1000, "onnxruntime": 200, "openvino": 25}
"""Cases per node kind and per activation function; the slower a peer builds a net, the fewer."""

EXACT = ("Abs", "Clip", "Neg", "PReLU", "ReLU")
"""Activation functions that choose between numbers, rather than compute."""

PRODUCTS = ("GELU", "GELUTanh", "HardSwish", "Mish", "SiLU")
"""Activation functions of -inf that PyTorch computes as -inf * 0."""

Arrays = list[Array]
Case = tuple[Layer, Arrays]
"""A node, and the arrays it works on: what it reads, then its parameters in the order of `ops`."""


class UnsupportedError(Exception):
    """The peer cannot express this case."""


def integers(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-8, 9, shape).astype(np.float64)


def conv_case(rng: np.random.Generator) -> Case:
    groups, per_group, filters, stride_h, stride_w, dilation_h, dilation_w = rng.integers(1, 4, 7).tolist()
    filter_h, filter_w, height, width = rng.integers(1, 5, 2).tolist() + rng.integers(1, 9, 2).tolist()
    reach = (1 + (filter_h - 1) * dilation_h, 1 + (filter_w - 1) * dilation_w)
    top, left, *more = rng.integers(0, 5, 4).tolist()
    bottom, right = (
        n + max(0, r - size - before)
        for n, r, size, before in zip(more, reach, (height, width), (top, left), strict=True)
    )
    node = Conv(
        "x",
        "y",
        groups * filters,
        filter_h,
        filter_w,
        stride_h,
        stride_w,
        padding_top=top,
        padding_bottom=bottom,
        padding_left=left,
        padding_right=right,
        dilation_h=dilation_h,
        dilation_w=dilation_w,
        groups=groups,
    )
    weights = integers(rng, node.to_channels, per_group, filter_h, filter_w)
    return node, [integers(rng, groups * per_group, height, width), weights, integers(rng, node.to_channels)]


def fully_connected_case(rng: np.random.Generator) -> Case:
    channels, height, width, filters = rng.integers(1, 6, 4).tolist()
    node = FullyConnected("x", "y", filters)
    x, weights = integers(rng, channels, height, width), integers(rng, filters, channels, height, width)
    return node, [x, weights, integers(rng, filters)]


def batch_norm_case(rng: np.random.Generator) -> Case:
    x = any_shape(rng)
    epsilon = float(rng.choice([1e-5, 1e-3, 0.5]))
    means, scales, shifts = (integers(rng, len(x)) for _ in range(3))
    return BatchNorm("x", "y", epsilon), [x, means, rng.integers(1, 9, len(x)).astype(np.float64), scales, shifts]


def activation_case(kind: str) -> Callable[[np.random.Generator], Case]:
    """Of float32, large and small; integers where nothing is rounded."""

    def case(rng: np.random.Generator) -> Case:
        x = any_shape(rng)
        if kind not in EXACT:
            x = (rng.standard_normal(x.shape) * rng.choice([0.01, 1, 8])).astype(np.float32).astype(np.float64)
        match kind:
            case "ReLU":
                return Activation("x", "y", kind, float(rng.choice([0, 0.25, -1, 1, 2, -0.5]))), [x]
            case "ELU":
                return Activation("x", "y", kind, float(rng.choice([0.25, 1, 2]))), [x]
            case "Clip":  # the bounds are operands in ONNX
                least, greatest = float(rng.choice([-2, -0.5, 0])), float(rng.choice([0.25, 1, 6]))
                return Activation("x", "y", kind, min=least, max=greatest), [x, np.array(least), np.array(greatest)]
            case "PReLU":
                return Activation("x", "y", kind), [x, integers(rng, len(x), 1, 1)]
            case "HardSigmoid":
                alpha, beta = float(rng.choice([0.125, 0.25, 1])), float(rng.choice([-1, 0, 0.5]))
                return Activation("x", "y", kind, alpha=alpha, beta=beta), [x]
            case _:
                return Activation("x", "y", kind), [x]

    return case


def binary_case(kind: type[Binary]) -> Callable[[np.random.Generator], Case]:
    """With a second tensor that has extents of 1 in places; what divides are powers of two."""

    def case(rng: np.random.Generator) -> Case:
        x = any_shape(rng)
        other = integers(rng, *(int(rng.choice([1, n, n])) for n in x.shape))
        return kind("x", "z", "y"), [x, np.exp2(np.round(other)) if kind is Div else other]

    return case


def concat_case(rng: np.random.Generator) -> Case:
    x, axis = any_shape(rng), int(rng.integers(3))
    extents = list(x.shape)
    extents[axis] = int(rng.integers(1, 5))
    return Concat("x", "z", "y", axis=AXES[axis]), [x, integers(rng, *extents)]


def slice_case(rng: np.random.Generator) -> Case:
    x, axis, step = any_shape(rng), int(rng.integers(3)), int(rng.integers(1, 4))
    first = int(rng.integers(x.shape[axis]))
    count = int(rng.integers(1, (x.shape[axis] - 1 - first) // step + 2))
    return Slice("x", "y", first, count, step, axis=AXES[axis]), [x]


def shuffle_case(rng: np.random.Generator) -> Case:
    groups, height, width = rng.integers(1, 5, 3)
    return Shuffle("x", "y", int(groups)), [integers(rng, int(groups * rng.integers(1, 6)), int(height), int(width))]


def pooling_case(rng: np.random.Generator) -> Case:
    kind = str(rng.choice(POOLINGS))
    node, x = Pooling("x", "y", kind), any_shape(rng)
    if node.is_global:
        return node, [x]
    if rng.integers(2):
        least = [max(0, math.ceil((node.window_h - n) / 2)) for n in x.shape[1:]]
        paddings = [int(rng.integers(n, node.window_h)) for n in least]
        return Pooling("x", "y", kind, paddings[0], paddings[1]), [x]
    window = rng.integers(1, 6, 2)
    sides = [(int(rng.integers(0, w)), int(rng.integers(0, w))) for w in window]
    x = integers(rng, 3, *[max(int(rng.integers(1, 9)), int(w) - sum(s)) for w, s in zip(window, sides, strict=True)])
    strides, is_max = rng.integers(1, 5, 2), bool(rng.integers(2))
    node = Pooling(
        "x", "y", "Max" if is_max else "Avg",
        window_h=int(window[0]), window_w=int(window[1]), stride_h=int(strides[0]), stride_w=int(strides[1]),
        padding_top=sides[0][0], padding_bottom=sides[0][1], padding_left=sides[1][0], padding_right=sides[1][1],
        count_padding=0 if is_max else int(rng.integers(2)),
    )  # fmt: skip
    return node, [x]


def softmax_case(rng: np.random.Generator) -> Case:
    return Softmax("x", "y"), [any_shape(rng) * float(rng.choice([0.25, 1, 20]))]


def layer_norm_case(rng: np.random.Generator) -> Case:
    x = any_shape(rng) * float(rng.choice([0.25, 1, 20])) + float(rng.choice([0, 30]))
    return LayerNorm("x", "y", float(rng.choice([1e-5, 0.5]))), [x, *(integers(rng, len(x)) for _ in range(2))]


def rms_norm_case(rng: np.random.Generator) -> Case:
    x = any_shape(rng) * float(rng.choice([0.25, 1, 20]))
    return RMSNorm("x", "y", float(rng.choice([1e-5, 0.5]))), [x, integers(rng, len(x))]


def lrn_case(rng: np.random.Generator) -> Case:
    numbers = (float(rng.choice(some)) for some in ([0.5, 2], [0.5, 0.75, 1, 1.5], [0.25, 1, 2]))
    return LRN("x", "y", int(rng.choice([1, 2, 3, 4, 5, 7, 9])), *numbers), [any_shape(rng)]


def any_shape(rng: np.random.Generator) -> Array:
    return integers(rng, *rng.integers(1, 9, 3))


KINDS: dict[str, Callable[[np.random.Generator], Case]] = {
    "Conv": conv_case,
    "FullyConnected": fully_connected_case,
    "BatchNorm": batch_norm_case,
    **{kind: activation_case(kind) for kind in ACTIVATIONS},
    **{kind.__name__: binary_case(kind) for kind in (Add, Sub, Mul, Div, Max, Min)},
    "Concat": concat_case,
    "Slice": slice_case,
    "Shuffle": shuffle_case,
    "Pooling": pooling_case,
    "Softmax": softmax_case,
    "LayerNorm": layer_norm_case,
    "RMSNorm": rms_norm_case,
    "LRN": lrn_case,
}


def expected(node: Layer, arrays: Arrays) -> Array:
    """What the reference says."""
    match node:
        case Conv():
            return kinds.conv.value(arrays[0], arrays[1], arrays[2], node)
        case FullyConnected():
            return kinds.fully_connected.value(*arrays)
        case BatchNorm():
            x, means, variances, scales, shifts = arrays
            return kinds.batch_norm.value(x, means, variances, scales, shifts, node)
        case Activation():
            return functions.function_of(node).with_parameters(lambda _: arrays[1]).value(arrays[0], node)
        case Add() | Sub() | Mul() | Div() | Max() | Min():
            value: Callable[..., Array] = getattr(kinds, type(node).__name__.lower()).value
            return value(*arrays)
        case Concat():
            return kinds.concat.value(*arrays, axis=AXES.index(node.axis))
        case Slice():
            return kinds.slice.value(arrays[0], node)
        case Shuffle():
            return kinds.shuffle.value(arrays[0], node.groups)
        case Pooling():
            return kinds.pooling.value(arrays[0], node)
        case Softmax():
            return kinds.softmax.value(arrays[0])
        case LayerNorm():
            return kinds.layer_norm.value(arrays[0], arrays[1], arrays[2], node)
        case RMSNorm():
            return kinds.rms_norm.value(arrays[0], arrays[1], node)
        case LRN():
            return kinds.lrn.value(arrays[0], node)


def by_torch(node: Layer, arrays: Arrays) -> Array:
    """In float64."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    functional = torch.nn.functional
    x, *rest = map(torch.from_numpy, arrays)
    x = x[None]
    y: Any
    match node:
        case Conv():
            padded = functional.pad(x, (node.padding_left, node.padding_right, node.padding_top, node.padding_bottom))
            steps, dilation = (node.stride_h, node.stride_w), (node.dilation_h, node.dilation_w)
            y = functional.conv2d(padded, *rest, steps, 0, dilation, node.groups)
        case FullyConnected():
            y = functional.linear(x.flatten(1), rest[0].flatten(1), rest[1])[..., None, None]
        case BatchNorm():
            means, variances, scales, shifts = rest
            y = functional.batch_norm(x, means, variances, scales, shifts, eps=node.epsilon)
        case Activation():
            y = (
                functional.prelu(x, rest[0].flatten())
                if rest and node.kind == "PReLU"
                else torch_activation(functional, x, node)
            )
        case Add() | Sub() | Mul() | Div() | Max() | Min():
            names = {Add: "add", Sub: "sub", Mul: "mul", Div: "div", Max: "maximum", Min: "minimum"}
            y = getattr(torch, names[type(node)])(x, rest[0])
        case Concat():
            y = torch.cat((x, rest[0][None]), dim=1 + AXES.index(node.axis))
        case Slice():
            axis = 1 + AXES.index(node.axis)
            y = x.narrow(axis, node.first, x.shape[axis] - node.first).unfold(axis, 1, node.step)[..., 0]
            y = y.narrow(axis, 0, node.count)
        case Shuffle():
            y = functional.channel_shuffle(x, node.groups)
        case Pooling():
            y = torch_pooling(functional, x, node)
        case Softmax():
            y = functional.softmax(x, dim=1)
        case LayerNorm():
            y = functional.layer_norm(x.movedim(1, -1), [x.shape[1]], *rest, node.epsilon).movedim(-1, 1)
        case LRN():
            if node.size % 2 == 0:
                raise UnsupportedError("PyTorch has the larger half of an even window before the channel")
            y = functional.local_response_norm(x, node.size, node.alpha, node.beta, node.bias)
        case RMSNorm():
            y = functional.rms_norm(x.movedim(1, -1), [x.shape[1]], *rest, node.epsilon).movedim(-1, 1)
    result: Array = y[0].numpy()
    return result


def torch_activation(functional: Any, x: Any, node: Activation) -> Any:
    match node.kind:
        case "ReLU":
            return functional.relu(x) if node.param == 0 else functional.leaky_relu(x, node.param)
        case "Clip":
            return x.clamp(node.min, node.max)
        case "Sigmoid":
            return x.sigmoid()
        case "HardSigmoid":
            alpha, beta = (float(np.float32(value)) for value in (node.alpha, node.beta))
            return (alpha * x + beta).clamp(0, 1)
        case "SiLU":
            return functional.silu(x)
        case "Tanh" | "Exp" | "Log" | "Sqrt" | "Square" | "Abs" | "Neg" | "Reciprocal":
            return getattr(x, node.kind.lower())()
        case "Softplus":
            return functional.softplus(x, threshold=800)
        case "ELU":
            return functional.elu(x, float(np.float32(node.param)))
        case "GELU" | "GELUTanh":
            return functional.gelu(x, approximate="none" if node.kind == "GELU" else "tanh")
        case "Mish":
            return functional.mish(x)
        case "HardSwish":
            return functional.hardswish(x)
        case _:
            raise AssertionError(node)


def torch_pooling(functional: Any, x: Any, node: Pooling) -> Any:
    if node.is_global:
        return functional.adaptive_max_pool2d(x, 1) if node.is_max else functional.adaptive_avg_pool2d(x, 1)
    window, strides = (node.window_h, node.window_w), (node.stride_h, node.stride_w)
    paddings = (node.padding_top, node.padding_left)
    if paddings != (node.padding_bottom, node.padding_right):
        raise UnsupportedError("PyTorch pads both sides alike")
    if any(padding > size // 2 for padding, size in zip(paddings, window, strict=True)):
        raise UnsupportedError("PyTorch pads by half a window at most")
    if node.is_max:
        return functional.max_pool2d(x, window, strides, paddings)
    return functional.avg_pool2d(x, window, strides, paddings, count_include_pad=bool(node.count_padding))


def by_onnxruntime(node: Layer, arrays: Arrays) -> Array:
    """In float32, without graph optimizations."""
    if isinstance(node, LRN) and node.size % 2 == 0:
        raise UnsupportedError("ONNX Runtime has no even windows")
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(onnx_model(node, arrays), options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {f"t{i}": a[None].astype(np.float32) for i, a in enumerate(arrays[: reads(node)])})
    return np.asarray(y, np.float64).reshape(y.shape[1], *y.shape[2:] or (1, 1))


def by_openvino(node: Layer, arrays: Arrays) -> Array:
    """In float32, through the same ONNX model."""
    if isinstance(node, LRN) and (node.size % 2 == 0 or node.bias % 1):
        raise UnsupportedError("OpenVINO makes even windows odd, and biases integers")
    if isinstance(node, Activation) and node.kind == "HardSigmoid" and node.beta == 0:
        raise UnsupportedError("OpenVINO takes a beta of 0 for the default")
    core = importlib.import_module("openvino").Core()
    model = core.read_model(onnx_model(node, arrays))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"})
    y = compiled([a[None].astype(np.float32) for a in arrays[: reads(node)]])[0]
    return np.asarray(y, np.float64).reshape(y.shape[1], *y.shape[2:] or (1, 1))


def reads(node: Layer) -> int:
    """How many of a case's arrays are tensors, not parameters."""
    return 2 if isinstance(node, Binary | Concat) else 1


def onnx_model(node: Layer, arrays: Arrays) -> bytes:
    """An ONNX model of one node that reads t0 (and t1) as float32 and gives y; the parameters are the next t's."""
    onnx = importlib.import_module("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    names = [f"t{i}" for i in range(len(arrays))]
    tensors, parameters = arrays[: reads(node)], [a.astype(np.float32) for a in arrays[reads(node) :]]
    order, nodes = list(names), []
    if isinstance(node, BatchNorm):  # ONNX wants scale, shift, mean, variance
        order = [names[i] for i in (0, 3, 4, 1, 2)]
    if isinstance(node, FullyConnected):  # Gemm multiplies matrices
        nodes.append(helper.make_node("Flatten", ["t0"], ["flat"]))
        order[0] = "flat"
        parameters[0] = parameters[0].reshape(node.to_channels, -1)
    if isinstance(node, Slice | Shuffle):
        order += [f"given{i}" for i in range(len(onnx_constants(node, arrays[0])))]
        for name, numbers in zip(order[1:], onnx_constants(node, arrays[0]), strict=True):
            nodes.append(helper.make_node("Constant", [], [name], value_ints=numbers))
    if isinstance(node, Shuffle):
        nodes.append(helper.make_node("Reshape", ["t0", order[1]], ["split"]))
        nodes.append(helper.make_node("Transpose", ["split"], ["turned"], perm=[0, 2, 1, 3, 4]))
        order = ["turned", order[2]]
    if isinstance(node, LayerNorm | RMSNorm):  # over the last axis
        nodes.append(helper.make_node("Transpose", ["t0"], ["turned"], perm=[0, 2, 3, 1]))
        order[0] = "turned"
    if isinstance(node, Activation) and node.kind == "SiLU":
        nodes.append(helper.make_node("Sigmoid", ["t0"], ["share"]))
        order.append("share")
    if isinstance(node, Activation) and node.kind == "Square":
        order.append("t0")
    operator, attributes = onnx_operator(node)
    nodes.append(helper.make_node(operator, order, ["y"], **attributes))
    if isinstance(node, LayerNorm | RMSNorm):
        nodes[-1].output[0] = "normed"
        nodes.append(helper.make_node("Transpose", ["normed"], ["y"], perm=[0, 3, 1, 2]))
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info(n, float32, (1, *a.shape)) for n, a in zip(names, tensors, strict=False)],
        [helper.make_tensor_value_info("y", float32, None)],
        [onnx.numpy_helper.from_array(a, n) for n, a in zip(names[reads(node) :], parameters, strict=True)],
    )
    opset = 23 if isinstance(node, RMSNorm) else 20
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    text: bytes = model.SerializeToString()
    return text


def onnx_constants(node: Slice | Shuffle, x: Array) -> list[list[int]]:
    """Inputs of the operators that are constants."""
    if isinstance(node, Slice):
        return [[node.first], [node.last + 1], [1 + AXES.index(node.axis)], [node.step]]
    return [[1, node.groups, -1, *x.shape[1:]], [1, *x.shape]]


def onnx_operator(node: Layer) -> tuple[str, dict[str, Any]]:
    """The operator's name and attributes."""
    match node:
        case Conv():
            return "Conv", {
                "kernel_shape": [node.filter_h, node.filter_w],
                "strides": [node.stride_h, node.stride_w],
                "pads": [node.padding_top, node.padding_left, node.padding_bottom, node.padding_right],
                "dilations": [node.dilation_h, node.dilation_w],
                "group": node.groups,
            }
        case FullyConnected():
            return "Gemm", {"transB": 1}
        case BatchNorm():
            return "BatchNormalization", {"epsilon": node.epsilon}
        case Activation():
            return onnx_activation(node)
        case Add() | Sub() | Mul() | Div() | Max() | Min():
            return type(node).__name__, {}
        case Concat():
            return "Concat", {"axis": 1 + AXES.index(node.axis)}
        case Slice():
            return "Slice", {}
        case Shuffle():
            return "Reshape", {}
        case Pooling(is_global=True):
            return ("GlobalMaxPool" if node.is_max else "GlobalAveragePool"), {}
        case Pooling():
            attributes = {
                "kernel_shape": [node.window_h, node.window_w],
                "strides": [node.stride_h, node.stride_w],
                "pads": [node.padding_top, node.padding_left, node.padding_bottom, node.padding_right],
            }
            if node.is_max:
                return "MaxPool", attributes
            return "AveragePool", {**attributes, "count_include_pad": node.count_padding}
        case Softmax():
            return "Softmax", {"axis": 1}
        case LayerNorm():
            return "LayerNormalization", {"epsilon": node.epsilon}
        case LRN():
            return "LRN", {"size": node.size, "alpha": node.alpha, "beta": node.beta, "bias": node.bias}
        case RMSNorm():
            return "RMSNormalization", {"epsilon": node.epsilon}


def onnx_activation(node: Activation) -> tuple[str, dict[str, Any]]:
    match node.kind:
        case "ReLU":
            return ("Relu", {}) if node.param == 0 else ("LeakyRelu", {"alpha": node.param})
        case "ELU":
            return "Elu", {"alpha": node.param}
        case "HardSigmoid":
            return "HardSigmoid", {"alpha": node.alpha, "beta": node.beta}
        case "GELU" | "GELUTanh":
            return "Gelu", {"approximate": "none" if node.kind == "GELU" else "tanh"}
        case "SiLU" | "Square":  # of two factors
            return "Mul", {}
        case "PReLU":
            return "PRelu", {}
        case _:
            return node.kind, {}


PEERS: dict[str, Callable[[Layer, Arrays], Array]] = {
    "torch": by_torch,
    "onnxruntime": by_onnxruntime,
    "openvino": by_openvino,
}


def cases(kind: str, count: int) -> Iterator[Case]:
    """The first `count` cases of a node kind, the same in every run."""
    rng = np.random.default_rng(list(KINDS).index(kind))
    for _ in range(count):
        yield KINDS[kind](rng)


def compare(peer: str, kind: str, *, planted: bool) -> None:
    """All cases of a kind; `planted` puts NaN and infinities into what the node reads."""
    count = CASES[peer]
    for module in (peer, "torch" if peer == "torch" else "onnx"):
        pytest.importorskip(module, reason=f"{module} is not installed: {count} cases of {kind} not compared")
    rng = np.random.default_rng(0)
    compared = 0
    for node, arrays in cases(kind, count):
        if planted:
            spots = rng.random(arrays[0].shape) < 0.1
            choices = [math.nan, math.inf, -math.inf][: 2 if kind in PRODUCTS else 3]
            arrays[0][spots] = rng.choice(choices, spots.sum())
        try:
            theirs = PEERS[peer](node, arrays)
        except UnsupportedError:
            continue
        with np.errstate(invalid="ignore"):
            ours = expected(node, arrays)
        assert ours.shape == theirs.shape, node
        average = isinstance(node, Pooling) and not node.is_max
        precision = 1e-13 if peer == "torch" else 2e-6
        rounded = (
            average
            or isinstance(node, BatchNorm | LayerNorm | LRN | RMSNorm | Softmax)
            or (isinstance(node, Activation) and node.kind not in EXACT)
        )
        tolerance = precision if rounded else 0.0
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance * 10, err_msg=str(node))
        compared += 1
    assert compared > count / 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.filterwarnings("ignore")  # what others warn about while they load is theirs
def test_peers_agree(peer: str, kind: str) -> None:
    compare(peer, kind, planted=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_pytorch_agrees_on_what_is_not_finite(kind: str) -> None:
    # Of the peers only PyTorch keeps NaN in maxima everywhere.
    compare("torch", kind, planted=True)
