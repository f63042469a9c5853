"""Which kernel computes a layer: every one that applies is priced, the cheapest is taken unless the user insists."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from nn512.errors import UsageError
from nn512.kernels import convolution, depthwise, fully_connected, grouped, planar, pointwise
from nn512.kernels.layer import Choice, Context, ConvKernel
from nn512.passes.program import ConvOp, FullyConnectedOp, Op
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


def kernel_names() -> tuple[str, ...]:
    """Names of all kernels that a user may force."""
    return (*(kernel.name for kernel in CONV_KERNELS), *fully_connected.KERNELS)


def check_forced(ops: Iterable[Op], context: Context) -> None:
    """UsageError where the user forces a kernel that does not exist, or upon a layer that it cannot compute."""
    layers = {
        op.branches[0].writes if isinstance(op, ConvOp) else op.writes: op for op in ops if isinstance(op, _CHOICE)
    }
    for layer, wanted in context.force.items():
        if wanted not in kernel_names():
            raise UsageError(f"there is no kernel {wanted!r} to force; there are {', '.join(kernel_names())}")
        if not layer:
            continue
        if layer not in layers:
            message = (
                f"{layer!r} is no convolution or fully connected layer of this net; nn512 explain lists its layers"
            )
            raise UsageError(message)
        if wanted not in _applicable(layers[layer], context):
            raise UsageError(f"kernel {wanted!r} cannot compute layer {layer!r}")


def _applicable(op: ConvOp | FullyConnectedOp, context: Context) -> tuple[str, ...]:
    if isinstance(op, FullyConnectedOp):
        return fully_connected.KERNELS
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
    wanted = context.force.get(op.branches[0].writes, context.force.get(""))
    forced = next((kernel for _, _, kernel in priced if kernel.name == wanted), None)
    return Choice(forced or priced[0][2], prices, forced is not None)


def _load_saved(op: ConvOp, context: Context) -> float:
    """What bringing a caller's tensor into blocks takes, where only kernels that read blocks need it: their share."""
    sharing = context.planes.get(op.branches[0].writes)
    if not sharing:
        return 0.0
    shape = context.graph.shapes[op.branches[0].node.from_tensor]
    return microseconds(Work(0, 1, 0, 64.0 * blocks_of(shape.channels) * shape.pixels), context.machine) / len(sharing)
