"""Which kernel computes a layer: every one that applies is priced, the cheapest is taken unless the user insists."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from nn512.errors import UsageError
from nn512.graph.nodes import Output
from nn512.graph.suggest import NameIndex, close_match, did_you_mean
from nn512.ir import ConvOp, FullyConnectedOp, Op
from nn512.kernels import convolution, depthwise, fully_connected, grouped, planar, pointwise
from nn512.kernels.layer import Choice, Context, ConvKernel
from nn512.plan.cost import Work, microseconds
from nn512.plan.layout import blocks_of

CONV_KERNELS: Sequence[ConvKernel] = (
    convolution.KERNEL,
    pointwise.KERNEL,
    grouped.KERNEL,
    depthwise.KERNEL,
    planar.KERNEL,
)

_CHOICE = (ConvOp, FullyConnectedOp)

_SHOWN_NAMES = 8
"""Names of layers that a message lists at most."""


def kernel_names() -> tuple[str, ...]:
    """Names of all kernels that a user may force."""
    return (*(kernel.name for kernel in CONV_KERNELS), *fully_connected.KERNELS)


def resolve_forced(ops: Iterable[Op], context: Context) -> dict[str, str]:
    """What the user forces, by the names under which layers ask for it (see `Context.force`).

    The user may name a layer by any tensor of the graph that it computes, fused ones included.
    Raises UsageError for a kernel or layer that does not exist, and for a kernel that cannot compute the layer.
    """
    choices = {_name(op): op for op in ops if isinstance(op, _CHOICE)}
    forced: dict[str, str] = {}
    for tensor, wanted in context.force.items():
        if wanted not in kernel_names():
            guess = did_you_mean(close_match(wanted, kernel_names()))
            raise UsageError(f"there is no kernel {wanted!r} to force; there are {', '.join(kernel_names())}{guess}")
        layer = tensor and _layer_of(tensor, choices)
        if layer and wanted not in (able := _applicable(choices[layer], context)):
            raise UsageError(f"kernel {wanted!r} cannot compute layer {layer!r}; it takes {' or '.join(able)}")
        if forced.setdefault(layer, wanted) != wanted:
            raise UsageError(f"kernels {forced[layer]!r} and {wanted!r} are both forced upon layer {layer!r}")
    return forced


def _name(op: ConvOp | FullyConnectedOp) -> str:
    """The tensor that names the layer."""
    return op.branches[0].writes if isinstance(op, ConvOp) else op.writes


def _layer_of(tensor: str, choices: Mapping[str, ConvOp | FullyConnectedOp]) -> str:
    """The name of the layer that computes a tensor, in memory or on the way. Raises UsageError."""
    if tensor in choices:
        return tensor
    covered: dict[str, list[str]] = {}
    for layer, op in choices.items():
        tensors = {node.to_tensor for node in op.nodes if not isinstance(node, Output)}
        for name in tensors.union(op.tensors_written):
            covered.setdefault(name, []).append(layer)
    found = covered.get(tensor, [])
    if len(found) > 1:  # what they read is normalized or activated by each of them
        raise UsageError(f"{tensor!r} is computed in several layers: {_listed(found)}; name one of these")
    if not found:
        guess = did_you_mean(NameIndex(covered).find(tensor))
        known = _listed(list(choices)) or "none"
        raise UsageError(
            f"{tensor!r} is no convolution or fully connected layer of this net{guess or f'; there are {known}'} "
            "(nn512 explain lists all layers)"
        )
    return found[0]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown if len(names) <= _SHOWN_NAMES else f"{shown} and {len(names) - _SHOWN_NAMES} more"


def _applicable(op: ConvOp | FullyConnectedOp, context: Context) -> tuple[str, ...]:
    if isinstance(op, FullyConnectedOp):
        return fully_connected.applicable(op, context)
    return tuple(kernel.name for kernel in CONV_KERNELS if kernel.applies(op, context))


def choose_convs(ops: Iterable[Op], context: Context) -> dict[str, Choice]:
    """The kernels of all convolutions, by their first results.

    Those that read the same tensor of the caller take planes all together, or else the load is not saved.
    """
    convs = {op.branches[0].writes: op for op in ops if isinstance(op, ConvOp)}
    choices = {name: choose_conv(op, context) for name, op in convs.items()}
    disputed = [
        name for name, sharing in context.planes.items() if len({choices[o].kernel.planes for o in sharing}) > 1
    ]
    if disputed:
        context = dataclasses.replace(context, planes={**context.planes, **dict.fromkeys(disputed, frozenset())})
        choices |= {name: choose_conv(convs[name], context) for name in disputed}
    return choices


def choose_conv(op: ConvOp, context: Context) -> Choice:
    """The cheapest kernel for a convolution, or the one forced upon it where that applies."""
    load = _load_saved(op, context)
    priced = sorted(
        (
            (
                microseconds(kernel.work(op, context), context.machine) + (0 if kernel.planes else load),
                number,
                kernel,
            )
            for number, kernel in enumerate(CONV_KERNELS)
            if kernel.applies(op, context)
        ),
        key=lambda entry: entry[:2],
    )
    prices = tuple((kernel.name, price) for price, _, kernel in priced)
    wanted = context.force.get(_name(op), context.force.get(""))
    forced = next((kernel for _, _, kernel in priced if kernel.name == wanted), None)
    return Choice(forced or priced[0][2], prices, forced is not None)


def _load_saved(op: ConvOp, context: Context) -> float:
    """What bringing a caller's tensor into blocks takes, where only kernels that read blocks need it: their share."""
    sharing = context.planes.get(op.branches[0].writes)
    if not sharing:
        return 0.0
    shape = context.graph.shapes[op.branches[0].node.from_tensor]
    return microseconds(Work(0, 1, 0, 64.0 * blocks_of(shape.channels) * shape.pixels), context.machine) / len(sharing)
