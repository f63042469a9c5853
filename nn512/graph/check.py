"""Statements to a checked graph: wiring, then shapes, then the names the emitted C needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from nn512.graph.diagnostics import Diagnostics
from nn512.graph.graph import Graph, freeze_shapes
from nn512.graph.kinds import AnyLayer, Config, Input, Output
from nn512.graph.names import check_names
from nn512.graph.node import Layer
from nn512.graph.shapes import infer_shapes
from nn512.graph.statement import Statement
from nn512.graph.wiring import check_wiring


def check(statements: Sequence[Statement], diagnostics: Diagnostics) -> Graph | None:
    """The graph that the statements describe; None, with the diagnostics saying why, if there is a mistake anywhere."""
    wiring = check_wiring(statements, diagnostics)
    shapes = infer_shapes(wiring, diagnostics)
    check_names(statements, diagnostics)
    if diagnostics.diagnostics:
        return None
    nodes = [s.node for s in statements if s.node is not None]
    (config,) = (node for node in nodes if isinstance(node, Config))
    return Graph(
        config=config,
        inputs=tuple(node for node in nodes if isinstance(node, Input)),
        layers=cast("tuple[AnyLayer, ...]", tuple(s.node for s in wiring.order if isinstance(s.node, Layer))),
        outputs=tuple(node for node in nodes if isinstance(node, Output)),
        shapes=freeze_shapes(shapes),
        source=diagnostics.source,
    )
