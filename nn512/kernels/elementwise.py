"""Layers that are nothing but a chain of element-wise steps."""

from __future__ import annotations

import dataclasses

from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import ZERO, Expression, Name
from nn512.cgen.writer import Writer, sentence
from nn512.ir import ElementwiseOp
from nn512.kernels.bodies import StepFunction
from nn512.kernels.chain import ChainCode
from nn512.kernels.edges import CHANNEL_TAIL
from nn512.kernels.interface import Context, Kernel, Place
from nn512.kernels.streaming import streaming_work
from nn512.plan.layout import LANES


def emit(op: ElementwiseOp, context: Context) -> LayerCode:
    """One layer: a vector at a time, block by block."""
    steps = ChainCode(op.chain)
    source, result = context.places[op.source], context.places[op.writes]
    return LayerCode(
        name=op.writes,
        algorithm="element-wise, a vector of 16 channels at a time",
        steps=(InferenceStep(op.writes, result.layout.block_count),),
        text=write_chain_step(context, source, result, steps),
        arrays=steps.fields(result.layout),
        packs=steps.packs(result.layout),
        edge_classes=(CHANNEL_TAIL(result.shape.channels % LANES),),
    )


KERNEL = Kernel("elementwise", ElementwiseOp, streaming_work, emit, edges=(CHANNEL_TAIL,))


def write_chain_step(context: Context, source: Place, result: Place, steps: ChainCode) -> str:
    """Text of a step function that applies a chain to a whole tensor; its items are blocks."""
    steps = dataclasses.replace(steps, holds=True)
    flat = not steps.by_rows
    function = StepFunction(
        context, source, (), (result,), ChainCode(()), (steps,), flat=flat, net=steps.has_parameters
    )

    block = Name("block")

    def write_pixels(writer: Writer, count: int, *pixel: Expression) -> None:
        """Write the loop over `count` pixels, the last of whose indices are `pixel`, and that before the bindings."""
        if not function.sharing:
            steps.bind(writer, block, *pixel[:-1], ZERO)
        with writer.block(f"for (ptrdiff_t {pixel[-1]} = 0; {pixel[-1]} < {count}; {pixel[-1]}++)"):
            writer.line(f"__m512 v = _mm512_loadu_ps({function.tensor(source).at(block, *pixel)});")
            steps.apply(writer, Name("v"), block if function.sharing else ZERO, pixel[-1] * 16)
            writer.line(f"_mm512_storeu_ps({function.tensor(result).at(block, *pixel)}, v);")

    def write_body(writer: Writer) -> None:
        with writer.block("for (ptrdiff_t block = share.first; block < share.last; block++)"):
            if flat:
                write_pixels(writer, result.shape.pixels, Name("p"))
            else:
                with writer.block(f"for (ptrdiff_t y = 0; y < {result.shape.height}; y++)"):
                    write_pixels(writer, result.shape.width, Name("y"), Name("x"))

    writer = Writer()
    picture = f"{result.shape.height}x{result.shape.width}"
    description = sentence(f"{', '.join(steps.description)} of pictures of {picture}: a share of the blocks.")
    function.write(writer, f"{steps.suffix}_{picture}".removeprefix("_"), description, write_body)
    return writer.text()
