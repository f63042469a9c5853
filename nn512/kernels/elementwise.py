"""Layers that are nothing but a chain of element-wise steps."""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.writer import Writer
from nn512.kernels.epilogue import Chain
from nn512.kernels.layer import Context, LayerCode, Part, Place, begin_step, declare_tensor, step_signature
from nn512.passes.program import ElementwiseOp


def emit(op: ElementwiseOp, context: Context) -> LayerCode:
    """One layer: a vector at a time, block by block."""
    steps = Chain(op.steps)
    source, result = context.places[op.source], context.places[op.writes]
    return LayerCode(
        name=op.writes,
        kernel="elementwise",
        algorithm="element-wise, a vector of 16 channels at a time",
        steps=(Part(op.writes, len(result.layout.blocks)),),
        code=write_chain_step(context, op.writes, source, result, steps),
        fields=steps.fields(result.layout),
        packs=steps.packs(result.layout),
        edge_classes=(f"elementwise channel tail {result.shape.channels % 16}",),
    )


def write_chain_step(context: Context, name: str, source: Place, result: Place, steps: Chain) -> str:
    """Text of a step function that applies a chain to a whole tensor; its items are blocks."""
    writer = Writer()
    with writer.block(step_signature(context.prefix, name)):
        begin_step(writer, context.prefix)
        if steps.normalizes:
            writer.line(f"const {context.prefix}Net *net = engine->net;")
        for read in dict.fromkeys((source.name, *steps.operands)):
            declare_tensor(writer, context.places[read], written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        with writer.block("for (ptrdiff_t block = first; block < last; block++)"):
            steps.bind(writer, "block", "[0]")
            with writer.block(f"for (ptrdiff_t p = 0; p < {result.shape.pixels}; p++)"):
                writer.line(f"__m512 v = _mm512_loadu_ps({names.local(source.name)}[block][p]);")
                steps.apply(writer, "v", "0", "p * 16")
                writer.line(f"_mm512_storeu_ps({names.local(result.name)}[block][p], v);")
    return writer.text()
