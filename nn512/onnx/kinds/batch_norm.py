"""BatchNorm in ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nn512.graph import BatchNorm
from nn512.onnx import view
from nn512.onnx.maker import Export, NodeMaker
from nn512.onnx.model import OnnxNode
from nn512.onnx.refusal import RefusedError
from nn512.onnx.rules import IGNORED, Rule, integer, need, one_output, real, shortest
from nn512.onnx.work import Tensor, Work


def _nodes(maker: NodeMaker, layer: BatchNorm) -> Iterator[Any]:
    parameters = [maker.parameter(suffix) for suffix in ("Scales", "Shifts", "Means", "Variances")]
    yield maker.last("BatchNormalization", [layer.from_tensor, *parameters], epsilon=layer.epsilon)


BATCH_NORM = Export(_nodes)


# --- and back ---------------------------------------------------------------------------------------------------------


def _read(work: Work, node: OnnxNode) -> Tensor:
    """Normalization with statistics given."""
    need("training_mode", integer(node, "training_mode", 0), 0)
    need("spatial", integer(node, "spatial", 1), 1)
    one_output(node, "statistics of the batch")
    x = work.tensor(node)
    channels = work.shapes[x.name].channels
    if len(x.dims) < 2 or x.dims[1] != view.whole("C", channels):
        raise work.misplaced(x, "channels on the second axis")
    words = ("Scales", "Shifts", "Means", "Variances")
    params = {suffix: work.constant(node, i, suffix.lower()) for i, suffix in enumerate(words, 1)}
    epsilon = shortest(real(node, "epsilon", 1e-5))
    if not epsilon >= 0:
        raise RefusedError(f"epsilon={epsilon:g}", "0 and more")
    name = work.emit(node, lambda to: BatchNorm(x.name, to, epsilon), params, stem=node.reads[1])
    return Tensor(name, x.dims)


BATCH_NORM_RULES = (
    Rule(
        "BatchNormalization",
        _read,
        "BatchNorm",
        {"epsilon": "0 and more", "momentum": IGNORED, "spatial": "1", "training_mode": "0"},
        inputs=5,
    ),
)
