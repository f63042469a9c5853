"""Layers that are nothing but a chain of element-wise steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import ZERO, Expression, Name
from nn512.cgen.writer import Writer, sentence
from nn512.ir import ElementwiseOp
from nn512.ir.decision import Decision
from nn512.kernels.bodies import Body, StepFunction
from nn512.kernels.chain import ChainCode
from nn512.kernels.edges import CHANNEL_TAIL
from nn512.kernels.interface import Context, Kernel, Place
from nn512.kernels.streaming import streaming_work
from nn512.plan.layout import LANES


class Walking(Decision):
    """What the loops go over."""

    PIXELS = "a picture is one row of pixels"
    ROWS = "row by row: what the steps read has an element for a row or a column"


def emit(op: ElementwiseOp, context: Context) -> LayerCode:
    """One layer: a vector at a time, block by block."""
    steps = ChainCode(op.chain)
    context.decided(Walking.ROWS if steps.by_rows else Walking.PIXELS)
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


KERNEL = Kernel(
    "elementwise",
    ElementwiseOp,
    streaming_work,
    emit,
    edges=(CHANNEL_TAIL,),
    decisions=(*Walking, Body.OWN, Body.LONE, Body.SHARED),
)


class Store:
    """What a chain step does with a vector: it becomes a block of the result at a pixel."""

    word = ""
    """Part of the name of a shared body."""
    target = ""
    """See `step_signature`."""

    def begin(self, writer: Writer) -> None:
        """Write what stands before the loops."""

    def write(self, writer: Writer, value: str, result: Name, block: Expression, pixel: Sequence[Expression]) -> None:
        """Write the store of the variable `value`."""
        del self
        writer.line(f"_mm512_storeu_ps({result.at(block, *pixel)}, {value});")


def write_chain_step(
    context: Context, source: Place, result: Place, steps: ChainCode, store: Store | None = None
) -> str:
    """Text of a step function that applies a chain to a whole tensor; its items are blocks of the source."""
    steps, store = dataclasses.replace(steps, holds=True), store or Store()
    flat = not steps.by_rows
    function = StepFunction(
        *(context, source, (), (result,), ChainCode(()), (steps,)),
        flat=flat,
        net=steps.has_parameters,
        target=store.target,
    )

    block = Name("block")

    def write_pixels(writer: Writer, count: int, *pixel: Expression) -> None:
        """Write the loop over `count` pixels, the last of whose indices are `pixel`, and that before the bindings."""
        if not function.sharing:
            steps.bind(writer, block, *pixel[:-1], ZERO)
        with writer.block(f"for (ptrdiff_t {pixel[-1]} = 0; {pixel[-1]} < {count}; {pixel[-1]}++)"):
            writer.line(f"__m512 v = _mm512_loadu_ps({function.tensor(source).at(block, *pixel)});")
            steps.apply(writer, Name("v"), block if function.sharing else ZERO, pixel[-1] * 16)
            store.write(writer, "v", function.tensor(result), block, pixel)

    def write_body(writer: Writer) -> None:
        store.begin(writer)
        with writer.block("for (ptrdiff_t block = share.first; block < share.last; block++)"):
            if flat:
                write_pixels(writer, result.shape.pixels, Name("p"))
            else:
                with writer.block(f"for (ptrdiff_t y = 0; y < {result.shape.height}; y++)"):
                    write_pixels(writer, result.shape.width, Name("y"), Name("x"))

    writer = Writer()
    picture = f"{result.shape.height}x{result.shape.width}"
    words = ", ".join(filter(None, (*steps.description, store.word)))
    description = sentence(f"{words} of pictures of {picture}: a share of the blocks.")
    word = f"_{store.word}" if store.word else ""
    function.write(writer, f"{steps.suffix}{word}_{picture}".removeprefix("_"), description, write_body)
    return writer.text()
