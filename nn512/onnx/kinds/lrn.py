"""LRN in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import LRN
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import Rule, integer, real, shortest
from nn512.onnx.work import Tensor, Work


def _nodes(maker: NodeMaker, layer: LRN) -> Iterator[Any]:
    numbers = {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta, "bias": layer.bias}
    yield maker.last("LRN", [layer.from_tensor], **numbers)


LRN_EXPORT = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read(work: Work, node: OnnxNode) -> Tensor:
    x = work.tensor(node)
    if len(x.dims) < 2 or x.dims[1] != view.whole("C", work.shapes[x.name].channels):
        raise work.misplaced(x, "channels on the second axis")
    size = integer(node, "size", 0)
    alpha, beta, bias = (shortest(real(node, *a)) for a in (("alpha", 0.0001), ("beta", 0.75), ("bias", 1.0)))
    for name, number in (("alpha", alpha), ("beta", beta), ("bias", bias)):
        if not 0 < number < float("inf"):
            raise RefusedError(f"{name}={number:g}", "above 0")
    return Tensor(work.emit(node, lambda to: LRN(x.name, to, size, alpha, beta, bias)), x.dims)


LRN_RULES = (
    Rule(
        "LRN",
        _read,
        "LRN",
        {"size": "1 to 33", "alpha": "above 0", "beta": "above 0, up to 8", "bias": "above 0"},
    ),
)
