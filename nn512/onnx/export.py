"""A graph with its parameters as an ONNX model, which ONNX Runtime, OpenVINO and others run.

Operator set 17, float32, batch 1: a tensor C x H x W of the graph is 1 x C x H x W there, under the same name, and
parameters keep their names too. An input with Order=HWC is 1 x H x W x C, and a Transpose follows it. Every node means
the same for finite numbers; what maxima make of NaN is up to the runtime. Needs the package `onnx`, which the extras
`onnx` and `peers` bring.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nn512.arrays import Array, PathLike, write_file
from nn512.graph import Graph
from nn512.onnx.kinds import EXPORTS
from nn512.onnx.maker import NodeMaker
from nn512.onnx.package import import_onnx
from nn512.params import Params, check_params, params_bytes
from nn512.version import __version__

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


def _model(onnx: Any, graph: Graph, tensors: list[Any]) -> Any:  # noqa: ANN401
    """The model whose initializers are `tensors`."""
    turned = {node.to_tensor: f"{node.to_tensor}_planes" for node in graph.inputs if node.interleaved}
    ends = {node.to_tensor for node in graph.inputs} | {node.from_tensor for node in graph.outputs}
    # Shapes of inner tensors are stated too: the checker then compares its opinion of every node with ours.
    inner = [_declare(onnx, name, shape) for name, shape in graph.shapes.items() if name not in ends]
    inner += [_declare(onnx, planes, graph.shapes[name]) for name, planes in turned.items()]
    make = onnx.helper.make_node
    turns = [make("Transpose", [name], [to], name=to, perm=[0, 3, 1, 2]) for name, to in turned.items()]
    layers = [layer.renamed(turned) for layer in graph.layers]
    body = onnx.helper.make_graph(
        turns + [node for layer in layers for node in EXPORTS[type(layer)].nodes(NodeMaker(onnx, layer), layer)],
        graph.config.prefix,
        [_declare(onnx, name, shape) for name, shape in graph.input_shapes.items()],
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


def _declare(onnx: Any, name: str, shape: tuple[int, int, int]) -> Any:  # noqa: ANN401
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, *shape))


# --- parameters -----------------------------------------------------------------------------------------------------


def _onnx_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """The shape under which the model declares each parameter."""
    return {p.name: EXPORTS[type(p.owner)].declared(p) for p in graph.parameters}


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
