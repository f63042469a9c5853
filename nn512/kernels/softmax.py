"""Softmax over channels, at every spatial position."""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import Constant, Expression, Name, extent
from nn512.cgen.writer import Writer
from nn512.ir import SoftmaxOp
from nn512.kernels.deciding import Lanes
from nn512.kernels.edges import CHANNEL_TAIL, tail
from nn512.kernels.elementary import EXP
from nn512.kernels.interface import Context, Kernel
from nn512.kernels.layer import begin_step, declare_tensor, step_signature, write_segments
from nn512.kernels.streaming import streaming_work
from nn512.plan.layout import LANES, Layout

TABLE = tail("table of segments, tail")


def _routine(name: str, *, table: bool) -> str:
    writer = Writer()
    writer.comment(
        "Softmax of one pixel: x and out are its first block, planes of `plane` floats follow. The largest value is "
        "subtracted first, so nothing overflows."
    )
    count = "const ptrdiff_t *segments" if table else "ptrdiff_t lastLanes"
    parameters = ["const float *x", "float *out", "ptrdiff_t blocks", count, "ptrdiff_t plane"]
    lanes = "(rest < 16 ? rest : 16)" if table else "(block < blocks - 1 ? 16 : lastLanes)"
    following = "rest = rest > 16 ? rest - 16 : *++segment;"
    writer.statement(f"static INLINE void {name}", parameters, " {")
    with writer.indented():
        each = "for (ptrdiff_t block = 0; block < blocks; block++)"
        mask = f"const __mmask16 mask = (__mmask16)((1u << {lanes}) - 1);"
        writer.line("const __m512 least = _mm512_set1_ps(-104.0f); /* its exponential is 0 in float */")
        writer.line("__m512 largest = _mm512_set1_ps(*x), sum = _mm512_setzero_ps();")
        if table:
            writer.line("const ptrdiff_t *segment = segments;")
            writer.line("ptrdiff_t rest = *segment; /* of the segment's channels; a 0 ends the table */")
        with writer.block(each):
            writer.line(mask)
            if table:
                writer.line(following)
            writer.line("largest = _mm512_mask_max_ps(largest, mask, largest, _mm512_loadu_ps(x + block * plane));")
        writer.line("const __m512 offset = _mm512_set1_ps(_mm512_reduce_max_ps(largest));")
        if table:
            writer.line("segment = segments;")
            writer.line("rest = *segment;")
        with writer.block(each):
            writer.line(mask)
            if table:
                writer.line(following)
            writer.line("const __m512 below = _mm512_sub_ps(_mm512_loadu_ps(x + block * plane), offset);")
            writer.line("const __m512 v = exp_of(_mm512_max_ps(least, below));")
            writer.line("_mm512_storeu_ps(out + block * plane, v);")
            writer.line("sum = _mm512_mask_add_ps(sum, mask, sum, v);")
        writer.line("const __m512 part = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(sum)); /* the sum is 1 or more */")
        writer.line(each)
        with writer.indented():
            place = "out + block * plane"
            writer.line(f"_mm512_storeu_ps({place}, _mm512_mul_ps(_mm512_loadu_ps({place}), part));")
    writer.line("}")
    return writer.text()


def emit(op: SoftmaxOp, context: Context) -> LayerCode:
    """One layer: a pixel is one item."""
    source, result = context.places[op.source], context.places[op.writes]
    layout: Layout = source.layout
    table = not layout.regular
    context.decided(Lanes.TABLE if table else Lanes.LAST)
    context.library.use(EXP.routine)
    routine = context.library.add(
        "softmax_pixel_table" if table else "softmax_pixel", lambda name: _routine(name, table=table)
    )
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        declare_tensor(writer, source, written=False, flat=True)
        declare_tensor(writer, result, written=True, flat=True)
        lanes: Expression = Constant(layout.spans[-1].channels)
        if table:
            write_segments(writer, layout)
            lanes = Name("segments")
        writer.line("for (ptrdiff_t p = share.first; p < share.last; p++)")
        with writer.indented():
            arguments = [
                *(Name(names.local(place.name)).at(0, Name("p")) for place in (source, result)),
                Constant(layout.block_count),
                lanes,
                extent(source.shape.height, source.shape.width, 16),
            ]
            writer.statement(routine, arguments, ";")
    return LayerCode(
        name=op.writes,
        algorithm="softmax, pixel by pixel",
        steps=(InferenceStep(op.writes, source.shape.pixels),),
        text=writer.text(),
        edge_classes=((TABLE if table else CHANNEL_TAIL)(source.shape.channels % LANES),),
    )


KERNEL = Kernel("softmax", SoftmaxOp, streaming_work, emit, edges=(CHANNEL_TAIL, TABLE), decisions=(*Lanes,))
