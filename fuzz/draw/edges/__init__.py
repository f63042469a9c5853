"""Nets for edge classes: for every operation small nets, one after another, that together have every class there is.

`nn512 fuzz --edges` compiles them in this order, a kernel forced, and runs those that have a class which none before
had. A kernel that computes an operation which is known here needs nothing; a new class needs a net that has it, which
a test demands.

net.py     nets as text, and their parts
convs.py   convolutions
others.py  all other operations
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from fuzz.draw.edges import others
from fuzz.draw.edges.convs import conv_nets
from fuzz.draw.edges.net import EdgeNet
from nn512 import ir
from nn512.kernels.interface import Kernel

_NETS: Mapping[type[ir.Op], Callable[[], Iterator[EdgeNet]]] = MappingProxyType(
    {
        ir.FullyConnectedOp: others.full_nets,
        ir.PoolOp: others.pooling_nets,
        ir.SampleOp: others.sampling_nets,
        ir.SoftmaxOp: others.softmax_nets,
        ir.ChannelNormOp: others.channel_norm_nets,
        ir.LRNOp: others.lrn_nets,
        ir.ElementwiseOp: others.elementwise_nets,
        ir.LoadOp: others.load_nets,
        ir.StoreOp: others.store_nets,
        ir.ConcatOp: others.concat_nets,
        ir.CopyOp: others.copy_nets,
        ir.RelayoutOp: others.relayout_nets,
        ir.PickOp: others.pick_nets,
        ir.CropOp: others.crop_nets,
        ir.PadOp: others.pad_nets,
    }
)


def edge_nets(kernel: Kernel[Any]) -> Iterator[EdgeNet]:
    """Nets for all edge classes of a kernel."""
    return conv_nets(kernel.name) if kernel.computes is ir.ConvOp else _NETS[kernel.computes]()
