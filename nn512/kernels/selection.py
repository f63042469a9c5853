"""Which kernel computes a convolution: every one that applies is priced, and the cheapest is taken unless the user insists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nn512.kernels import convolution, depthwise, grouped, pointwise
from nn512.kernels.layer import Context, ConvKernel
from nn512.passes.program import ConvOp
from nn512.plan.cost import microseconds

CONV_KERNELS: Sequence[ConvKernel] = (convolution.KERNEL, pointwise.KERNEL, grouped.KERNEL, depthwise.KERNEL)


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel taken, and the price in microseconds of each that applies, cheapest first."""

    kernel: ConvKernel
    prices: tuple[tuple[str, float], ...]
    forced: bool


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
