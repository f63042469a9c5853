"""The C that packs parameters when a net is created: plain loops over named arrays, in double, rounded once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nn512.cgen import names
from nn512.cgen.writer import Writer
from nn512.graph.nodes import BatchNorm
from nn512.kernels.layer import Context
from nn512.plan.layout import Layout

NORMALIZATION = """
/* Batch norm of one channel as value * scale + shift. */
typedef struct { double scale, shift; } Normalization;

static Normalization normalization(double mean, double variance, double scale, double shift, double epsilon) {
    const double deviation = _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(variance + epsilon)));
    const Normalization result = {scale / deviation, shift - mean * (scale / deviation)};
    return result;
}
"""


class Channel(NamedTuple):
    """C expressions for one channel of a tensor: its number, and the block and lane it is stored in."""

    number: str
    block: str
    lane: str


def pack_signature(prefix: str, name: str) -> str:
    """Signature of the function that packs one layer's parameters: items first to last-1."""
    return f"static void {names.static(prefix, 'pack_' + name)}(const void *context, ptrdiff_t first, ptrdiff_t last)"


def begin_pack(writer: Writer, prefix: str) -> None:
    """First lines of the body of a packing function: parameters in, packed weights out."""
    writer.line(f"const {names.static(prefix, 'Packing')} *packing = context;")
    writer.line(f"const {prefix}Params *params = packing->params;")
    writer.line(f"{prefix}Net *net = packing->net;")


def write_block_tables(writer: Writer, layout: Layout) -> None:
    """Write tables of every block's first channel and its number of channels."""
    writer.table("static const ptrdiff_t firsts[]", (str(b.first) for b in layout.blocks))
    writer.table("static const ptrdiff_t counts[]", (str(b.channels) for b in layout.blocks))


@contextlib.contextmanager
def each_channel(writer: Writer, layout: Layout, variable: str = "c", bound: int | None = None) -> Iterator[Channel]:
    """Write a loop over the channels of a tensor (the first `bound` of them)."""
    if layout.regular:
        limit = layout.channels if bound is None else bound
        with writer.block(f"for (ptrdiff_t {variable} = 0; {variable} < {limit}; {variable}++)"):
            yield Channel(variable, f"{variable} / 16", f"{variable} % 16")
        return
    write_block_tables(writer, layout)
    with writer.block(f"for (ptrdiff_t block = 0; block < {len(layout.blocks)}; block++)"):
        with writer.block("for (ptrdiff_t lane = 0; lane < counts[block]; lane++)"):
            writer.line(f"const ptrdiff_t {variable} = firsts[block] + lane;")
            yield Channel(variable, "block", "lane")


def declare_normalization(writer: Writer, context: Context, node: BatchNorm, channel: str) -> None:
    """Write the declaration of `norm`, the `Normalization` of one channel of a batch norm."""
    context.library.add("normalization", lambda _: NORMALIZATION)
    fields = [f"params->{node.to_tensor}{s}[{channel}]" for s in ("Means", "Variances", "Scales", "Shifts")]
    writer.statement("const Normalization norm = normalization", [*fields, repr(node.epsilon)], ";")


def pack_batch_norm(writer: Writer, context: Context, node: BatchNorm, layout: Layout) -> None:
    """Write the loop that turns a batch norm's four parameters into a scale and a shift per lane."""
    with each_channel(writer, layout) as channel:
        declare_normalization(writer, context, node, channel.number)
        for suffix, member in (("Scales", "scale"), ("Shifts", "shift")):
            place = f"net->{node.to_tensor}{suffix}[{channel.block}][{channel.lane}]"
            writer.line(f"{place} = (float)norm.{member};")


def fold_channel(writer: Writer, context: Context, norms: Sequence[BatchNorm], channel: str) -> None:
    """Write `scale` and `shift`, doubles: the product of batch norms in a row for one channel."""
    writer.line("double scale = 1, shift = 0;")
    for node in norms:
        with writer.block():
            declare_normalization(writer, context, node, channel)
            writer.line("shift = shift * norm.scale + norm.shift;")
            writer.line("scale *= norm.scale;")
