"""Layers that are nothing but a chain of element-wise steps."""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.writer import Writer
from nn512.graph.nodes import BatchNorm
from nn512.kernels.epilogue import Chain, chain
from nn512.kernels.layer import Context, LayerCode, Place, begin_step, declare_tensor, step_signature
from nn512.kernels.packing import begin_pack, pack_signature
from nn512.passes.program import ElementwiseOp


def emit(op: ElementwiseOp, context: Context) -> LayerCode:
    """One layer: a vector at a time, block by block."""
    steps = chain(op.steps)
    source, result = context.places[op.source], context.places[op.writes]
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_layer(writer, context, (source.name, *steps.operands), result, steps)
        with writer.block("for (ptrdiff_t block = first; block < last; block++)"):
            steps.bind(writer, "block", "[0]")
            with writer.block(f"for (ptrdiff_t p = 0; p < {result.shape.pixels}; p++)"):
                writer.line(f"__m512 v = _mm512_loadu_ps({names.local(source.name)}[block][p]);")
                steps.apply(writer, "v", "0", "p * 16")
                writer.line(f"_mm512_storeu_ps({names.local(result.name)}[block][p], v);")
    blocks = len(result.layout.blocks)
    return LayerCode(
        name=op.writes,
        kernel="elementwise",
        algorithm="element-wise, a vector of 16 channels at a time",
        items=blocks,
        code=writer.text(),
        fields=steps.fields(result.layout),
        pack=pack_chain(context, steps, result),
        pack_items=1 if steps.fields(result.layout) else 0,
        edge_classes=(f"elementwise channel tail {result.shape.channels % 16}",),
    )


def begin_layer(writer: Writer, context: Context, read: tuple[str, ...], result: Place, steps: Chain) -> None:
    """Write the declarations at the head of a step function over flat pictures."""
    begin_step(writer, context.prefix)
    if any(isinstance(step.node, BatchNorm) for step in steps.steps):
        writer.line(f"const {context.prefix}Net *net = engine->net;")
    for name in dict.fromkeys(read):
        writer.line(declare_tensor(context.places[name], written=False, flat=True))
    writer.line(declare_tensor(result, written=True, flat=True))


def pack_chain(context: Context, steps: Chain, result: Place) -> str:
    """Text of the packing function for a chain's batch norms; empty where there are none."""
    if not steps.fields(result.layout):
        return ""
    writer = Writer()
    with writer.block(pack_signature(context.prefix, result.name)):
        begin_pack(writer, context.prefix)
        writer.line("(void)first, (void)last;")
        steps.pack(writer, context, result.layout)
    return writer.text()
