"""What the package onnx knows of operators: whether a node has the form its operator set asks for, and its shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nn512.onnx.model import OnnxNode, show

_NUMPY = {"float": "float32", "double": "float64"}
"""Types that are called otherwise in numpy."""


class Schemas:
    """The operators of one operator set, as the package onnx describes them."""

    _MOST_DATA = 64

    def __init__(self, onnx: Any, model: Any, opset: int) -> None:  # noqa: ANN401
        self._onnx, self._opset = onnx, opset
        self._nodes: Mapping[str, Any] = {name: node for node in model.graph.node for name in node.output if name}

    def complaint(self, node: OnnxNode, read: Sequence[object]) -> tuple[str, str] | None:
        """What is wrong with the form of a node, and what would be right: it lacks something, or has too much.

        `read` has the arrays of constants and the shapes of tensors of floats, None for anything else. Other readers
        refuse such a model, so nobody could say whether what it is taken for is what was meant.
        """
        schema = self._schema(node)
        if schema is None:
            return None
        known = schema.attributes
        missing = [name for name, attribute in known.items() if attribute.required and name not in node.attributes]
        if missing:
            return f"{missing[0]} is missing", f"all that operator set {self._opset} asks for"
        for name, value in node.attributes.items():
            if name not in known:
                told = f"attribute {name}={show(value)} is unknown in operator set {self._opset}"
                return told, ", ".join(known) or "no attributes"
        if not schema.min_input <= len(node.reads) <= schema.max_input:
            least, most = schema.min_input, schema.max_input
            return f"{len(node.reads)} inputs", f"{least}" if least == most else f"{least} to {most}"
        return self._wrong_input(schema, node, read)

    def _wrong_input(self, schema: Any, node: OnnxNode, read: Sequence[object]) -> tuple[str, str] | None:  # noqa: ANN401
        """The same of inputs that are not there, or of a type that they may not have."""
        optional = self._onnx.defs.OpSchema.FormalParameterOption.Optional
        formals = [schema.inputs[min(i, len(schema.inputs) - 1)] for i in range(len(node.reads))]
        of_floats = {f.type_str for f, value in zip(formals, read, strict=True) if isinstance(value, tuple)}
        for formal, name, value in zip(formals, node.reads, read, strict=True):
            if not name and formal.option != optional:
                return f"input {formal.name} is missing", "nodes with all their inputs"
            if not isinstance(value, np.ndarray):
                continue
            told = f"input {formal.name} ({name!r}) is {value.dtype}"
            allowed = {_NUMPY.get(kind, kind) for kind in (each[7:-1] for each in formal.types)}
            is_float = value.dtype.kind == "f"  # bfloat16 is read as float32
            if not any("float" in kind if is_float else kind == value.dtype.name for kind in allowed):
                return told, ", ".join(sorted(allowed))
            if formal.is_homogeneous and formal.type_str in of_floats and not is_float:
                return told, "the type of the other inputs"
        return None

    def _schema(self, node: OnnxNode) -> Any:  # noqa: ANN401
        """The description of an operator; None where the package does not know it, or only in older sets."""
        defs = self._onnx.defs
        if self._opset > defs.onnx_opset_version():
            return None
        try:
            return defs.get_schema(node.operator, self._opset, "")
        except defs.SchemaError:
            return None

    def shapes(self, node: OnnxNode, read: Sequence[object]) -> Sequence[tuple[int, ...] | None]:
        """The shapes of what a node writes: it may be one that nobody here reads."""
        onnx, proto = self._onnx, self._nodes[next(filter(None, node.writes))]
        try:
            schema = onnx.defs.get_schema(node.operator, self._opset, "")
            types, data = {}, {}
            for name, value in zip(node.reads, read, strict=True):
                if isinstance(value, np.ndarray):
                    types[name] = onnx.helper.make_tensor_type_proto(
                        onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
                    )
                    if value.size <= self._MOST_DATA:
                        data[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
                elif value is not None and name:
                    types[name] = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, value)
            imports = [onnx.helper.make_opsetid("", self._opset)]
            found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
        except Exception:  # noqa: BLE001 - it is a guess, and a node that makes no sense has no shape
            return [None] * len(node.writes)
        return [self._shape(found.get(name)) for name in node.writes]

    @staticmethod
    def _shape(found: Any) -> tuple[int, ...] | None:  # noqa: ANN401
        if found is None or not found.HasField("tensor_type") or not found.tensor_type.HasField("shape"):
            return None
        extents = found.tensor_type.shape.dim
        if not all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in extents):
            return None
        return tuple(dim.dim_value for dim in extents)
