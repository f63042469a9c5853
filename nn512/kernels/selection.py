"""Which kernel computes a layer: every one that applies is priced, the cheapest is taken unless the user insists."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nn512.errors import UsageError
from nn512.graph.nodes import Output
from nn512.graph.suggest import NameIndex, close_match, did_you_mean
from nn512.ir import ConvOp, Op
from nn512.ir.decision import Decision
from nn512.kernels.deciding import Choosing
from nn512.kernels.interface import Choice, Kernel, Setting
from nn512.kernels.registry import kernel_names, kernels_of
from nn512.plan.cost import Machine, Work, microseconds
from nn512.plan.layout import blocks_of

PRICE_OF_HALVES = 1.25
"""How many times as long single precision may take and still be taken: half weights cost accuracy.

They are a thousandth in rms of a layer in tiles, where one thread saves a tenth by them and two, which share the
memory, a fifth: DenseNet121 would err 1.3e-3 of its largest output for less than a hundredth of its time. A fully
connected layer takes half the time with them, and errs as little as they do.
"""

_SHOWN_NAMES = 8
"""Names of layers that a message lists at most."""


def resolve_forced(ops: Iterable[Op], setting: Setting, force: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """What the user forces, by names of layers; "" stands for every layer to which the kernel applies.

    The user may name a layer by any tensor of the graph that it computes, fused ones included. Raises UsageError for a
    kernel or layer that does not exist, for a kernel that cannot compute the layer, and for two kernels for one layer.
    """
    layers = {op.name: op for op in ops}
    forced: dict[str, str] = {}
    for tensor, wanted in force:
        if wanted not in kernel_names():
            guess = did_you_mean(close_match(wanted, kernel_names()))
            raise UsageError(f"there is no kernel {wanted!r} to force; there are {', '.join(kernel_names())}{guess}")
        layer = tensor and _layer_of(tensor, layers)
        if layer and wanted not in (able := _applicable(layers[layer], setting)):
            why = _why_not(layers[layer], wanted, setting)
            raise UsageError(f"kernel {wanted!r} cannot compute layer {layer!r}{why}; it takes {' or '.join(able)}")
        if forced.setdefault(layer, wanted) != wanted:
            upon = f"layer {layer!r}" if layer else "all layers"
            raise UsageError(f"kernels {forced[layer]!r} and {wanted!r} are both forced upon {upon}")
    return forced


def _layer_of(tensor: str, layers: Mapping[str, Op]) -> str:
    """The name of the layer that computes a tensor, in memory or on the way. Raises UsageError."""
    if tensor in layers:
        return tensor
    covered: dict[str, list[str]] = {}
    for layer, op in layers.items():
        tensors = {node.to_tensor for node in op.nodes if not isinstance(node, Output)}
        for name in tensors.union(op.tensors_written):
            covered.setdefault(name, []).append(layer)
    found = covered.get(tensor, [])
    if len(found) > 1:  # what they read is normalized or activated by each of them
        raise UsageError(f"{tensor!r} is computed in several layers: {_listed(found)}; name one of these")
    if not found:
        guess = did_you_mean(NameIndex(covered).find(tensor))
        raise UsageError(
            f"no layer of this net computes {tensor!r}{guess or f'; there are {_listed(list(layers))}'} "
            "(nn512 explain lists all layers)"
        )
    return found[0]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown if len(names) <= _SHOWN_NAMES else f"{shown} and {len(names) - _SHOWN_NAMES} more"


def _why_not(op: Op, wanted: str, setting: Setting) -> str:
    """The reason that a kernel for such operations gives."""
    reasons = (kernel.refusal(op, setting) for kernel in kernels_of(op) if kernel.name == wanted)
    return "".join(f" ({reason})" for reason in reasons if reason is not None)


def _applicable(op: Op, setting: Setting) -> tuple[str, ...]:
    return tuple(kernel.name for kernel in kernels_of(op) if kernel.takes(op, setting))


def choose(
    ops: Iterable[Op], setting: Setting, forced: Mapping[str, str], settled: Mapping[str, Choice] | None = None
) -> Mapping[str, Choice]:
    """The kernels of all operations, by their names; those that are `settled` stay.

    Convolutions that read the same tensor of the caller take planes all together, or else the load is not saved.
    """
    by_name = {op.name: op for op in ops}
    given = {} if settled is None else settled
    choices = {name: given.get(name) or _choice(op, setting, forced) for name, op in by_name.items()}
    disputed = [
        name
        for name, sharing in setting.planes.items()
        if name not in given and len({choices[other].kernel.planes for other in sharing}) > 1
    ]
    if disputed:
        setting = dataclasses.replace(setting, planes={**setting.planes, **dict.fromkeys(disputed, frozenset())})
        choices |= {name: _choice(by_name[name], setting, forced) for name in disputed}
    return choices


def _choice(op: Op, setting: Setting, forced: Mapping[str, str]) -> Choice:
    """The cheapest kernel for an operation, or the one forced upon it where that applies."""
    able = [kernel for kernel in kernels_of(op) if kernel.takes(op, setting)]
    priced = sorted((_price(op, kernel, setting, setting.machine), number) for number, kernel in enumerate(able))
    prices = tuple((able[number].name, price) for price, number in priced)
    wanted = forced.get(op.name, forced.get(""))
    insisted = next((kernel for kernel in able if kernel.name == wanted), None)
    kernel = insisted or able[_best(priced, able)]
    alone = _price(op, kernel, setting, dataclasses.replace(setting.machine, threads=1))
    errors = tuple((able[number].name, able[number].added_error(op, setting)) for _, number in priced)
    narrow = tuple((name, error) for name, error in errors if error)
    verdicts = _verdicts(op, setting, kernel, dict(prices), forced=insisted is not None)
    return Choice(kernel, prices, narrow, verdicts, insisted is not None, alone)


def _verdicts(
    op: Op, setting: Setting, taken: Kernel[Any], prices: Mapping[str, float], *, forced: bool
) -> Mapping[str, Decision]:
    """Why each kernel for such an operation was taken or not, where there are several."""

    def verdict(kernel: Kernel[Any]) -> Decision:
        if reason := kernel.refusal(op, setting):
            return reason
        if kernel is taken:
            return Choosing.FORCED if forced else Choosing.CHEAPEST
        if forced:
            return Choosing.OVERRULED
        return Choosing.INEXACT if prices[kernel.name] < prices[taken.name] else Choosing.DEARER

    kernels = kernels_of(op)
    return MappingProxyType({kernel.name: verdict(kernel) for kernel in kernels} if len(kernels) > 1 else {})


def _best(priced: Sequence[tuple[float, int]], able: Sequence[Kernel[Any]]) -> int:
    """The number of the cheapest kernel; one with floats instead of half weights, if these save little."""
    least, number = priced[0]
    if able[number].weights == "fp16":
        for price, other in priced:
            if able[other].weights == "fp32":
                return other if price <= least * PRICE_OF_HALVES else number
    return number


def _price(op: Op, kernel: Kernel[Any], setting: Setting, machine: Machine) -> float:
    """Microseconds that an operation takes by a kernel, with the load that it needs."""
    time = microseconds(kernel.work(op, setting), machine)
    return time if kernel.planes else time + _load_saved(op, setting, machine)


def _load_saved(op: Op, setting: Setting, machine: Machine) -> float:
    """What bringing a caller's tensor into blocks takes, where only kernels that read blocks need it: their share."""
    sharing = setting.planes.get(op.name)
    if not sharing or not isinstance(op, ConvOp):
        return 0.0
    shape = setting.graph.shapes[op.node.from_tensor]
    return microseconds(Work(0, 1, 0, 64.0 * blocks_of(shape.channels) * shape.pixels), machine) / len(sharing)
