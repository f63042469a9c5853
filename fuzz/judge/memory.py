"""What each layer of emitted C may touch of the memory of its engine, by the plan; the driver holds it to that."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.run.interface import Region
from nn512.plan.plan import Plan, PlannedTensor

HOOK = "nn512tap"
"""What emitted C calls where its memory can be seen."""


def regions_of(plan: Plan) -> list[Region]:
    """The regions of all layers, in their order.

    A layer keeps what layers before it have written and it or one behind it reads. It writes its own tensors, and
    working memory that exists for no other layer. Wholes of which parts are written one by one, and views, are no
    regions: their parts, or what they are of, are.
    """
    first = _first_writers(plan)
    working = [tensor for tensor in plan.tensors if tensor.name not in first and _is_working_memory(tensor, plan)]
    only_written = (False, True)
    regions = []
    for tensor in plan.tensors:
        place = tensor.offset_bytes // 4, tensor.bytes // 4
        if tensor in working:
            regions.append(Region(tensor.name, tensor.first_layer - 1, *only_written, *place))
        for number in range(first.get(tensor.name, tensor.last_layer), tensor.last_layer):
            writes, keeps = tensor.name in plan.layers[number].writes, number > first[tensor.name]
            regions.append(Region(tensor.name, number, keeps, writes, *place))
    return sorted(regions, key=lambda region: region.layer)


def _first_writers(plan: Plan) -> dict[str, int]:
    """The first layer that writes each tensor, counted from 0."""
    first: dict[str, int] = {}
    for number, layer in enumerate(plan.layers):
        for name in layer.writes:
            first.setdefault(name, number)
    return first


def _is_working_memory(tensor: PlannedTensor, plan: Plan) -> bool:
    """Whether one layer alone has it, between tensors that are others."""
    if tensor.first_layer != tensor.last_layer or any(tensor.name in layer.reads for layer in plan.layers):
        return False
    return not any(_meet(tensor, other) for other in _alive(plan, tensor.first_layer) if other is not tensor)


def _alive(plan: Plan, layer: int) -> Iterator[PlannedTensor]:
    return (tensor for tensor in plan.tensors if tensor.first_layer <= layer <= tensor.last_layer)


def _meet(one: PlannedTensor, other: PlannedTensor) -> bool:
    return one.offset_bytes < other.offset_bytes + other.bytes and other.offset_bytes < one.offset_bytes + one.bytes
