"""A graph with its parameters as an ONNX model, which ONNX Runtime, OpenVINO and others run.

Operator set 17, float32, batch 1: a tensor C x H x W of the graph is 1 x C x H x W there, under the same name, and
parameters keep their names too. Every node means the same for finite numbers; what maxima make of NaN is up to the
runtime. Needs the package `onnx`, which the extra `peers` brings.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from nn512 import __version__
from nn512.arrays import Array, PathLike, write_file
from nn512.errors import INSTALL_PEERS, CannotRunError
from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    FullyConnected,
    Graph,
    Layer,
    Pooling,
    Shape,
    Softmax,
)
from nn512.params import Params, check_params, params_bytes

OPSET = 17
"""Version of the operators used (ONNX 1.12, June 2022); nothing in a model needs a newer one."""

IR_VERSION = 8
"""Version of the file format, the one that came with the operators."""

MOST_INLINE_BYTES = 2_000_000_000
"""Parameters beyond this go to a file beside the model: no protocol buffer may pass 2^31 - 1 bytes."""

_ALIGNMENT = 4096
"""Parameters in a file of their own begin on pages, so that a runtime can map them."""


def export_onnx(
    path: PathLike, graph: Graph, params: Mapping[str, Array], *, most_inline_bytes: int = MOST_INLINE_BYTES
) -> tuple[Path, ...]:
    """Write `graph` with `params` to the ONNX file `path`; the same arguments give the same bytes.

    Where the parameters take more than `most_inline_bytes` they go to `<path>.data` beside it. Gives the files written.
    Raises UsageError for parameters that do not fit and for a file that cannot be written, CannotRunError where the
    package `onnx` is missing.
    """
    onnx = import_onnx()
    target = Path(path)
    arrays, shapes = check_params(graph, params), _onnx_shapes(graph)
    if params_bytes(graph) <= most_inline_bytes:
        data, tensors = None, [_inline(onnx, name, shapes[name], array) for name, array in arrays.items()]
    else:
        data = target.with_name(target.name + ".data")
        tensors = _write_data(onnx, data, shapes, arrays)
    model = _model(onnx, graph, tensors)
    with write_file(target) as stream:
        stream.write(model.SerializeToString(deterministic=True))
    return (target,) if data is None else (target, data)


def import_onnx() -> Any:  # noqa: ANN401 - the package has no usable types
    """The package `onnx`. Raises CannotRunError that says how to install it."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise CannotRunError(f"writing ONNX needs the package onnx ({error}): {INSTALL_PEERS}") from error


def _model(onnx: Any, graph: Graph, tensors: list[Any]) -> Any:  # noqa: ANN401
    """The model whose initializers are `tensors`."""
    ends = {node.to_tensor for node in graph.inputs} | {node.from_tensor for node in graph.outputs}
    # Shapes of inner tensors are stated too: the checker then compares its opinion of every node with ours.
    inner = [_declare(onnx, name, shape) for name, shape in graph.shapes.items() if name not in ends]
    body = onnx.helper.make_graph(
        [node for layer in graph.layers for node in _nodes(onnx, layer)],
        graph.config.prefix,
        [_declare(onnx, node.to_tensor, graph.shapes[node.to_tensor]) for node in graph.inputs],
        [_declare(onnx, node.from_tensor, graph.shapes[node.from_tensor]) for node in graph.outputs],
        tensors,
        value_info=inner,
    )
    return onnx.helper.make_model(
        body,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nn512",
        producer_version=__version__,
    )


def _declare(onnx: Any, name: str, shape: Shape) -> Any:  # noqa: ANN401
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, *shape))


# --- nodes ----------------------------------------------------------------------------------------------------------


def _nodes(onnx: Any, layer: Layer) -> Iterator[Any]:  # noqa: ANN401
    """The ONNX nodes of one layer; the last writes its tensor and bears its name.

    Names with an underscore are ours alone: those of a graph have letters and digits.
    """
    to = layer.to_tensor

    def node(operator: str, reads: list[str], **attributes: object) -> Any:  # noqa: ANN401
        return onnx.helper.make_node(operator, reads, [to], name=to, **attributes)

    match layer:
        case Conv():
            yield node(
                "Conv",
                [layer.from_tensor, f"{to}Weights", f"{to}Biases"],
                kernel_shape=[layer.filter_h, layer.filter_w],
                strides=[layer.stride_h, layer.stride_w],
                pads=[layer.padding_h, layer.padding_w] * 2,
                dilations=[layer.dilation_h, layer.dilation_w],
                group=layer.groups,
            )
        case FullyConnected():
            yield from _fully_connected(onnx, layer)
        case BatchNorm():
            parameters = [f"{to}{suffix}" for suffix in ("Scales", "Shifts", "Means", "Variances")]
            yield node("BatchNormalization", [layer.from_tensor, *parameters], epsilon=layer.epsilon)
        case Activation():
            slope = float(np.float32(layer.param))
            if slope == 0:
                yield node("Relu", [layer.from_tensor])
            else:  # alpha * x below zero, for an alpha of any size and sign
                yield node("LeakyRelu", [layer.from_tensor], alpha=slope)
        case Add():
            yield node("Add", [layer.from_tensor1, layer.from_tensor2])
        case Concat():
            yield node("Concat", [layer.from_tensor1, layer.from_tensor2], axis=1)
        case Pooling(window=None):
            yield node("GlobalMaxPool" if layer.is_max else "GlobalAveragePool", [layer.from_tensor])
        case Pooling(window=window):
            attributes: dict[str, object] = {} if layer.is_max else {"count_include_pad": 0}
            yield node(
                "MaxPool" if layer.is_max else "AveragePool",
                [layer.from_tensor],
                kernel_shape=[window, window],
                strides=[2, 2],
                pads=[layer.padding_h, layer.padding_w] * 2,
                ceil_mode=0,
                **attributes,
            )
        case Softmax():
            yield node("Softmax", [layer.from_tensor], axis=1)
        case _:
            assert_never(layer)


def _fully_connected(onnx: Any, layer: FullyConnected) -> Iterator[Any]:  # noqa: ANN401
    """A product of matrices, which runtimes do faster than a convolution whose filter is the whole tensor.

    Its weights are declared as K x CHW, which in memory is K x C x H x W.
    """
    to, make = layer.to_tensor, onnx.helper.make_node
    yield make("Flatten", [layer.from_tensor], [f"{to}_flat"], name=f"{to}_flatten", axis=1)
    yield make("Gemm", [f"{to}_flat", f"{to}Weights", f"{to}Biases"], [f"{to}_row"], name=f"{to}_gemm", transB=1)
    yield make("Constant", [], [f"{to}_axes"], name=f"{to}_axes", value_ints=[2, 3])
    yield make("Unsqueeze", [f"{to}_row", f"{to}_axes"], [to], name=to)


# --- parameters -----------------------------------------------------------------------------------------------------


def _onnx_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """The shape under which the model declares each parameter."""
    return {
        p.name: (p.shape[0], prod(p.shape[1:])) if isinstance(p.owner, FullyConnected) and len(p.shape) > 1 else p.shape
        for p in graph.parameters
    }


def _inline(onnx: Any, name: str, shape: tuple[int, ...], array: Array) -> Any:  # noqa: ANN401
    """A parameter inside the model."""
    return onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=shape, raw_data=_little_endian(array))


def _write_data(onnx: Any, path: Path, shapes: Mapping[str, tuple[int, ...]], arrays: Params) -> list[Any]:  # noqa: ANN401
    """Parameters written to a file of their own, as tensors that refer to it."""
    tensors = []
    with write_file(path) as stream:
        offset = 0
        for name, array in arrays.items():
            stream.write(bytes(-offset % _ALIGNMENT))
            offset += -offset % _ALIGNMENT
            stream.write(_little_endian(array))
            where = {"location": path.name, "offset": offset, "length": array.nbytes}
            tensors.append(
                onnx.TensorProto(
                    name=name,
                    data_type=onnx.TensorProto.FLOAT,
                    dims=shapes[name],
                    data_location=onnx.TensorProto.EXTERNAL,
                    external_data=[onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in where.items()],
                )
            )
            offset += array.nbytes
    return tensors


def _little_endian(array: Array) -> bytes:
    return array.astype("<f4", copy=False).tobytes()
