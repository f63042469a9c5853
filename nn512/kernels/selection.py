"""Which kernel computes a convolution: every one that applies is priced, and the cheapest is taken unless the user insists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nn512.errors import UsageError
from nn512.kernels import convolution, depthwise, grouped, pointwise
from nn512.kernels.layer import Context, ConvKernel
from nn512.passes.program import ConvOp, Op
from nn512.plan.cost import microseconds

CONV_KERNELS: Sequence[ConvKernel] = (convolution.KERNEL, pointwise.KERNEL, grouped.KERNEL, depthwise.KERNEL)


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel taken, and the price in microseconds of each that applies, cheapest first."""

    kernel: ConvKernel
    prices: tuple[tuple[str, float], ...]
    forced: bool


def check_forced(ops: Iterable[Op], context: Context) -> None:
    """UsageError where the user forces a kernel that does not exist, or upon a layer that it cannot compute."""
    names = [kernel.name for kernel in CONV_KERNELS]
    convs = {op.branches[0].writes: op for op in ops if isinstance(op, ConvOp)}
    for layer, wanted in context.force.items():
        if wanted not in names:
            raise UsageError(f"there is no kernel {wanted!r} for convolutions; there are {', '.join(names)}")
        if not layer:
            continue
        if layer not in convs:
            raise UsageError(f"{layer!r} is not a layer of this net that is a convolution; nn512 explain lists the layers")
        if not any(kernel.name == wanted and kernel.applies(convs[layer], context) for kernel in CONV_KERNELS):
            raise UsageError(f"kernel {wanted!r} cannot compute layer {layer!r}")


def choose_conv(op: ConvOp, context: Context) -> Choice:
    """The cheapest kernel for a convolution, or the one forced upon it where that applies."""
    priced = sorted(
        (
            (microseconds(kernel.work(op, context), context.machine), number, kernel)
            for number, kernel in enumerate(CONV_KERNELS)
            if kernel.applies(op, context)
        ),
        key=lambda entry: entry[:2],
    )
    prices = tuple((kernel.name, price) for price, _, kernel in priced)
    wanted = context.force.get(op.branches[0].writes, context.force.get(""))
    forced = next((kernel for _, _, kernel in priced if kernel.name == wanted), None)
    return Choice(forced or priced[0][2], prices, forced is not None)
