"""What PyTorch, ONNX Runtime and OpenVINO compute for a node on given numbers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from nn512.graph import (
    LRN,
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
from reference.windows import Array
from tests.peers.node_cases import Arrays


class UnsupportedError(Exception):
    """The peer cannot express this case."""


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
