"""ONNX files to models of plain data, with everything checked that later code relies on.

Files come from anywhere. A file that is broken, hostile or of an unknown operator set costs a message and little time:
nothing is computed from it, sizes are compared with limits first, and files beside it are read only below its folder.
Needs the package onnx.
"""

from __future__ import annotations

import heapq
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nn512.arrays import Array, PathLike
from nn512.errors import UsageError
from nn512.graph.diagnostics import visible
from nn512.onnx.folding import TYPES
from nn512.onnx.model import NEWEST_OPSET, OLDEST_OPSET, Declared, Extent, OnnxModel, OnnxNode, Opaque
from nn512.onnx.package import import_onnx
from nn512.onnx.protos import BrokenError, UnreadError, tensor_array, text
from nn512.onnx.schemas import Schemas

MOST_BYTES = 2**31 - 1
"""Largest file: no protocol buffer may be larger."""

MOST_NODES = 100_000
"""Nodes of a model, and its tensors with values."""

_ALIASES = {"", "ai.onnx"}
"""Names of the domain of ONNX's own operators."""

_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
_SCOPES = re.compile(r"'([\w.]{1,200})', '[^']*'\]\Z")
_OTHERS = {5: "a graph", 9: "tensors", 10: "graphs", 11: "a sparse tensor", 12: "sparse tensors", 13: "a type"}


def load_model(path: PathLike) -> OnnxModel:
    """Read an ONNX file. Raises UsageError for one that cannot be read, CannotRunError without the package onnx."""
    onnx = import_onnx("reading")
    target = Path(path)
    try:
        with target.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        message = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {str(target)!r}: {message}") from error
    if len(data) > MOST_BYTES:
        raise UsageError(f"{str(target)!r}: the model is larger than {MOST_BYTES:,} bytes")
    return model_of(onnx, data, target)


def model_of(onnx: Any, data: bytes, path: Path) -> OnnxModel:  # noqa: ANN401
    """The model in the bytes of a file. Raises UsageError."""
    try:
        model = onnx.ModelProto()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.ParseFromString(data)
        except Exception as error:  # protobuf's own, of a class that depends on its version
            raise BrokenError(f"is no ONNX model: {error}") from error
        return _model(onnx, model, path)
    except UnreadError as error:
        raise UsageError(f"{str(path)!r}: the model is not read: {error}") from error
    except BrokenError as error:
        raise UsageError(f"{str(path)!r}: the model is broken: {error}") from error
    except MemoryError as error:
        raise UsageError(f"{str(path)!r}: the model does not fit into memory") from error


def _model(onnx: Any, model: Any, path: Path) -> OnnxModel:  # noqa: ANN401
    if not model.HasField("graph"):
        raise BrokenError("it has no graph")
    opset = _opset(model)
    graph = model.graph
    if max(len(graph.node), len(graph.initializer), len(graph.input), len(graph.output)) > MOST_NODES:
        raise BrokenError(f"it has more than {MOST_NODES:,} nodes or tensors")
    if len(graph.sparse_initializer):
        raise UnreadError("it has sparse tensors, which are not read")
    constants: dict[str, Array] = {}
    for tensor in graph.initializer:
        if not text(tensor.name) or tensor.name in constants:
            raise BrokenError(f"two tensors are called {visible(tensor.name)!r}")
        constants[tensor.name] = tensor_array(tensor, path.parent)
    inputs = tuple(_declared(info) for info in graph.input if info.name not in constants)
    nodes = tuple(_node(node, path.parent) for node in graph.node)
    schemas = Schemas(onnx, model, opset)
    return OnnxModel(
        opset=opset,
        nodes=_sorted(nodes, {*constants, *(i.name for i in inputs)}),
        inputs=_unique(inputs),
        outputs=_unique(tuple(_declared(info) for info in graph.output)),
        constants=constants,
        declared={d.name: d.dims for d in map(_declared, graph.value_info) if d.dims is not None},
        origin=path.name,
        infer=schemas.shapes,
        complaint=schemas.complaint,
    )


def _opset(model: Any) -> int:  # noqa: ANN401
    versions = {entry.version for entry in model.opset_import if entry.domain in _ALIASES}
    if len(versions) != 1:
        raise BrokenError("it names no operator set of ONNX" if not versions else "it names two operator sets of ONNX")
    (version,) = versions
    if not OLDEST_OPSET <= version <= NEWEST_OPSET:
        age = "old" if version < OLDEST_OPSET else "new"
        raise UnreadError(
            f"its operator set is {version}, which is too {age}; {OLDEST_OPSET} to {NEWEST_OPSET} are read"
        )
    return int(version)


def _declared(info: Any) -> Declared:  # noqa: ANN401
    """An input, an output or a tensor between, as it is declared."""
    if not text(info.name):
        raise BrokenError("an input or output has no name")
    kind = info.type.WhichOneof("value")
    if kind not in {"tensor_type", None}:
        return Declared(info.name, f"a {kind.removesuffix('_type').replace('_', ' ')}")
    tensor = info.type.tensor_type
    number = tensor.elem_type
    name = TYPES.get(number, "bfloat16" if number == 16 else f"of type {number}")
    if not tensor.HasField("shape"):
        return Declared(info.name, name)
    return Declared(info.name, name, tuple(_extent(dim) for dim in tensor.shape.dim))


def _extent(dim: Any) -> Extent:  # noqa: ANN401
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return text(dim.dim_param) or None


def _unique(declared: tuple[Declared, ...]) -> tuple[Declared, ...]:
    seen: set[str] = set()
    for each in declared:
        if each.name in seen:
            raise BrokenError(f"{visible(each.name)!r} is there twice")
        seen.add(each.name)
    return declared


# --- nodes ------------------------------------------------------------------------------------------------------------


def _node(node: Any, folder: Path) -> OnnxNode:  # noqa: ANN401
    reads, writes = tuple(map(text, node.input)), tuple(map(text, node.output))
    label = visible(text(node.name) or next(iter(writes), ""))
    if not any(writes):
        raise BrokenError(f"node {label!r} writes nothing")
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if text(attribute.name) in attributes:
            raise BrokenError(f"node {label!r} has the attribute {visible(attribute.name)!r} twice")
        attributes[attribute.name] = _attribute(attribute, folder)
    operator = text(node.op_type) if text(node.domain) in _ALIASES else f"{node.domain}::{text(node.op_type)}"
    return OnnxNode(operator, reads, writes, node.name, attributes, _module(node))


def _module(node: Any) -> str:  # noqa: ANN401
    """The path of the submodule that a node is of: the last but one of PyTorch's scopes, before the function itself."""
    for entry in node.metadata_props:
        found = _SCOPES.search(entry.value) if entry.key == "pkg.torch.onnx.name_scopes" else None
        if found:
            return found[1]
    return ""


def _attribute(attribute: Any, folder: Path) -> Any:  # noqa: ANN401
    if attribute.ref_attr_name or attribute.type not in _ATTRIBUTES:
        return Opaque(_OTHERS.get(attribute.type, "a reference"))
    value = getattr(attribute, _ATTRIBUTES[attribute.type])
    match attribute.type:
        case 3:
            return value.decode("utf-8", "replace")
        case 4:
            return tensor_array(value, folder)
        case 6 | 7:
            return tuple(value)
        case 8:
            return tuple(text.decode("utf-8", "replace") for text in value)
        case _:
            return value


def _sorted(nodes: Sequence[OnnxNode], known: Iterable[str]) -> tuple[OnnxNode, ...]:
    """Nodes in an order in which they can be computed, that of the file where it is one."""
    writers: dict[str, int] = {}
    taken = set(known)
    for i, node in enumerate(nodes):
        for name in filter(None, node.writes):
            if name in taken:
                raise BrokenError(f"two nodes or tensors write {visible(name)!r}")
            taken.add(name)
            writers[name] = i
    readers: dict[int, list[int]] = {}
    waiting = [0] * len(nodes)
    for i, node in enumerate(nodes):
        for name in set(filter(None, node.reads)):
            if name not in taken:
                raise BrokenError(f"node {visible(node.label)!r} reads {visible(name)!r}, which nothing writes")
            if name in writers:
                readers.setdefault(writers[name], []).append(i)
                waiting[i] += 1
    ready = [i for i, count in enumerate(waiting) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(nodes[i])
        for reader in readers.get(i, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count)
        raise BrokenError(f"its nodes form a circle: {visible(stuck.label)!r} waits for itself or for such a node")
    return tuple(order)
