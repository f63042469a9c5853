"""A plan in words, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from nn512.plan.advice import advice
from nn512.plan.layout import LANES
from nn512.plan.plan import Plan, PlannedLayer, PlannedNode, PlannedTensor

_WIDTH = 110

MANY_EDGES = 11
"""Edge cases of a layer from which on they are told: a layer whose shapes fit has six to ten."""

_REFUSED = "refused: "
"""How the verdict on a kernel begins that cannot compute a layer."""

_TOGETHER = "\N{NO-BREAK SPACE}"
"""A space at which lines do not break."""


def explain(plan: Plan, *, why: bool = False) -> str:
    """A plan in words; `why` adds why kernels refused each layer, and what that of the layer decided about its code."""
    lines = [*_summary(plan), "", "Passes", *_passes(plan)]
    if plan.dropped_nodes:
        lines += ["", "Nodes without a layer", *_dropped(plan.dropped_nodes)]
    tensors = {tensor.name: tensor for tensor in plan.tensors}
    cores = "one core" if plan.threads == 1 else f"{plan.threads} cores"
    hints = advice(plan)
    for number, layer in enumerate(plan.layers, 1):
        lines += ["", f"Layer {number}: {layer.name}", *_layer(layer, tensors, cores)]
        if why:
            lines += _reasons(layer)
        if layer.name in hints:
            lines += _wrapped("advice", hints[layer.name])
    return "\n".join(lines) + "\n"


def _summary(plan: Plan) -> Iterator[str]:
    layers = plan.layers
    work = sum(layer.mmac for layer in layers)
    weights = sum(layer.weight_bytes for layer in layers)
    ratio = plan.arena_bytes / max(plan.arena_lower_bound_bytes, 1)
    yield f"{plan.prefix}: {_count(len(layers), 'layer')}, {work:,.2f} MMAC, {weights:,} bytes of packed weights"
    own = f", {plan.thread_bytes:,} for each thread" if plan.thread_bytes else ""
    yield f"{plan.arena_bytes:,} bytes of tensors, {ratio:.2f} times what is alive at once{own}"


def _passes(plan: Plan) -> Iterator[str]:
    width = max((len(done.name) for done in plan.passes), default=0)
    for done in plan.passes:
        yield f"  {done.name:<{width}}  {done.did}"
    if not plan.passes:
        yield "  none"


def _dropped(nodes: Sequence[PlannedNode]) -> Iterator[str]:
    width = max(len(str(node.line or "")) for node in nodes)
    for node in nodes:
        yield f"  line {node.line or '':>{width}}  {node.node}: {node.why}"


def _layer(layer: PlannedLayer, tensors: Mapping[str, PlannedTensor], cores: str) -> Iterator[str]:
    width = max((len(str(node.line or "")) for node in layer.nodes), default=0)
    for node in layer.nodes:
        why = f": {node.why}" if node.why else ""
        yield from _wrapped(f"line {node.line or '':>{width}}", f"{node.node}{why}")
    if layer.reason:
        yield from _wrapped("because", layer.reason)
    if layer.pixels:
        yield from _wrapped("pixels", layer.pixels)
    yield from _wrapped("algorithm", f"{layer.algorithm} (kernel {layer.kernel})")
    if len(layer.prices) > 1 or layer.forced:
        prices = ", ".join(f"{kernel}{_TOGETHER}{price:,.1f}{_TOGETHER}us" for kernel, price in layer.prices.items())
        yield from _wrapped("prices", f"{prices}{_remark(layer)}")
    if layer.added_errors:
        errors = ", ".join(f"{kernel}{_TOGETHER}{error:.1e}" for kernel, error in layer.added_errors.items())
        yield from _wrapped("rounding", f"adds an error (rms, relative to that of random results): {errors}")
    for word, names in (("reads", layer.reads), ("writes", layer.writes)):
        for name in dict.fromkeys(names):
            yield from _wrapped(word, _tensor(tensors[name]))
    moved = sum(tensors[name].bytes for name in dict.fromkeys((*layer.reads, *layer.writes)))
    yield from _wrapped(
        "work",
        f"{layer.mmac:,.2f} MMAC, {layer.weight_bytes:,} bytes of {_weights(layer)}, {moved:,} bytes of tensors, "
        f"{layer.predicted_microseconds:,.1f} us predicted on {cores}",
    )
    steps = ", then ".join(_count(step.items, "item") for step in layer.steps)
    yield from _wrapped("threads", f"{steps}, {'shared by all' if layer.shared_by_threads else 'done by the caller'}")
    if len(layer.edge_classes) >= MANY_EDGES:
        edges = ", ".join(layer.edge_classes)
        yield from _wrapped("edges", f"{len(layer.edge_classes)} cases, which is many (verify --edges): {edges}")


def _reasons(layer: PlannedLayer) -> Iterator[str]:
    for verdict, kernels in layer.verdicts.items():
        if verdict.startswith(_REFUSED):
            yield from _wrapped("refused", f"{', '.join(kernels)}: {verdict.removeprefix(_REFUSED)}")
    for decision in layer.decisions:
        yield from _wrapped("code", decision)


def _weights(layer: PlannedLayer) -> str:
    """What the weights of a layer are."""
    narrow = f" ({layer.weights})" if layer.weights != "fp32" else ""
    return f"{'transformed ' if layer.tiles else ''}weights{narrow}"


def _remark(layer: PlannedLayer) -> str:
    """Why a kernel was taken that is not the cheapest."""
    if layer.forced:
        return " (forced)"
    return "" if layer.kernel == next(iter(layer.prices)) else "; fp16 saves too little to be worth its error"


def _tensor(tensor: PlannedTensor) -> str:
    shape = "x".join(map(str, tensor.shape))
    segments = tensor.segments
    blocks = " + ".join(map(str, segments)) if len(segments) <= 6 else f"{len(segments)} segments"
    if tensor.lanes < LANES:
        blocks += " in planes" if tensor.lanes == 1 else " interleaved"
    else:
        blocks += f" in blocks of {tensor.lanes}"
    return (
        f"{tensor.name} {shape}, channels {blocks}, {tensor.bytes:,} bytes at "
        f"{tensor.offset_bytes:,}, alive in layers {tensor.first_layer} to {tensor.last_layer}"
    )


def _wrapped(word: str, text: str) -> list[str]:
    lines = textwrap.wrap(
        text, _WIDTH, initial_indent=f"  {word:<10}", subsequent_indent=" " * 12, break_on_hyphens=False
    )
    return [line.replace(_TOGETHER, " ") for line in lines]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
