"""Pooling of all kinds: windows cut to the real cells at the edges of the picture."""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.writer import Writer
from nn512.kernels.epilogue import Chain
from nn512.kernels.layer import Context, LayerCode, Part, begin_step, declare_tensor, step_signature
from nn512.passes.program import PoolOp

MAXIMUM = """
/* The larger of two vectors; NaN stays NaN whichever it is in (max alone returns its second operand then). */
static INLINE __m512 maximum(__m512 largest, __m512 v) {
    const __mmask16 ordered = _mm512_cmp_ps_mask(largest, largest, _CMP_ORD_Q);
    return _mm512_mask_max_ps(largest, ordered, largest, v);
}
"""


def emit(op: PoolOp, context: Context) -> LayerCode:
    """One layer: an output row of a block is one item."""
    source, result = context.places[op.source], context.places[op.writes]
    before, after = _chains(op)
    both = Chain((*op.prologue, *op.epilogue))
    node = op.node
    window = node.window
    rows = result.shape.height
    if node.is_max:
        context.library.add("maximum", lambda _: MAXIMUM)
    writer = Writer()
    with writer.block(step_signature(context.prefix, op.writes)):
        begin_step(writer, context.prefix)
        if both.normalizes:
            writer.line(f"const {context.prefix}Net *net = engine->net;")
        for name in dict.fromkeys((source.name, *after.operands)):
            declare_tensor(writer, context.places[name], written=False)
        declare_tensor(writer, result, written=True)
        with writer.block("for (ptrdiff_t item = first; item < last; item++)"):
            writer.line(f"const ptrdiff_t block = item{f' / {rows}' if rows > 1 else ''};")
            y = "y" if rows > 1 else "0"
            if rows > 1:
                writer.line(f"const ptrdiff_t y = item % {rows};")
            before.bind(writer, "block", "[0][0]")
            if window is None:
                writer.line(f"const ptrdiff_t top = 0, bottom = {source.shape.height};")
                writer.line(f"const ptrdiff_t left = 0, right = {source.shape.width}, x = 0;")
                _write_window(writer, op, names.local(source.name))
                _write_result(writer, op, names.local(result.name), y)
            else:
                _write_bounds(writer, ("top", "bottom"), y, (window, node.padding_h, source.shape.height))
                with writer.block(f"for (ptrdiff_t x = 0; x < {result.shape.width}; x++)"):
                    _write_bounds(writer, ("left", "right"), "x", (window, node.padding_w, source.shape.width))
                    _write_window(writer, op, names.local(source.name))
                    _write_result(writer, op, names.local(result.name), y)
    return LayerCode(
        name=op.writes,
        kernel="pooling",
        algorithm="pooling, a vector of 16 channels at a time",
        steps=(Part(op.writes, len(result.layout.blocks) * rows),),
        code=writer.text(),
        fields=both.fields(result.layout),
        packs=both.packs(result.layout),
        edge_classes=(
            f"pooling {node.kind} padding {min(node.padding_h, 1)}{min(node.padding_w, 1)}",
            f"pooling channel tail {result.shape.channels % 16}",
        ),
    )


def _write_bounds(writer: Writer, bounds: tuple[str, str], position: str, axis: tuple[int, int, int]) -> None:
    """Write the first and the end of a window's real cells along one axis (window, padding, size)."""
    window, padding, size = axis
    low, high = bounds
    start = f"{position} * 2" + (f" - {padding}" if padding else "")
    end = f"{position} * 2 + {window - padding}"
    first = f"{start} > 0 ? {start} : 0" if padding else start
    writer.line(f"const ptrdiff_t {low} = {first}, {high} = {end} < {size} ? {end} : {size};")


def _chains(op: PoolOp) -> tuple[Chain, Chain]:
    """What happens to elements as they are read, and to results."""
    return Chain(op.prologue), Chain(op.epilogue, start=len(op.prologue))


def _write_window(writer: Writer, op: PoolOp, source: str) -> None:
    before, _ = _chains(op)
    is_max = op.node.is_max
    start = f"_mm512_loadu_ps({source}[block][top][left])" if is_max else "_mm512_setzero_ps()"
    writer.line(f"__m512 v = {start};")
    if is_max:
        before.apply(writer, "v", "0", "0")
    combine = "maximum" if is_max else "_mm512_add_ps"
    writer.line("for (ptrdiff_t i = top; i < bottom; i++)")
    with writer.indented():
        element = f"_mm512_loadu_ps({source}[block][i][j])"
        if before.steps:
            with writer.block("for (ptrdiff_t j = left; j < right; j++)"):
                writer.line(f"__m512 cell = {element};")
                before.apply(writer, "cell", "0", "0")
                writer.line(f"v = {combine}(v, cell);")
        else:
            writer.line("for (ptrdiff_t j = left; j < right; j++)")
            with writer.indented():
                writer.line(f"v = {combine}(v, {element});")
    if not is_max:
        writer.line("v = _mm512_div_ps(v, _mm512_set1_ps((float)((bottom - top) * (right - left))));")


def _write_result(writer: Writer, op: PoolOp, result: str, y: str) -> None:
    _, after = _chains(op)
    pixel = f"[{y}][x]"
    after.bind(writer, "block", pixel)
    after.apply(writer, "v", "0", "0")
    writer.line(f"_mm512_storeu_ps({result}[block]{pixel}, v);")
