"""Pooling of all kinds, at the speed of the cache that tensors are read from.

Columns that see a whole window are one loop without any bounds; the few columns at the edges, whose windows hang over
the picture, have calls of their own with fewer columns. Rows of a window inside the picture are the bounds of its loop.
So are the columns of a wide window, and those at an edge, which are many then, are a loop that cuts each of them.
Where windows overlap, the largest or the sum of each column of theirs is computed once, and stays in a register for
all windows that have the column.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, LayerCode
from nn512.cgen.expressions import ONE, ZERO, Constant, Expression, Name, Product, extent, least
from nn512.cgen.writer import Writer
from nn512.ir import PoolOp, SampleOp
from nn512.ir.decision import Decided, Decision
from nn512.kernels.chain import ChainCode
from nn512.kernels.deciding import Chaining, tell_steps
from nn512.kernels.edges import CHANNEL_TAIL, Edges
from nn512.kernels.interface import Context, Kernel
from nn512.kernels.layer import begin_step, declare_tensor, step_signature
from nn512.kernels.pooling_columns import WIDEST, Column, columns_of
from nn512.kernels.streaming import streaming_work
from nn512.kernels.tiles import Unrolled
from nn512.plan.layout import LANES

ACCUMULATORS = 4
MOST_SHARED = 16
"""Most columns of windows that are kept in registers, of which there are twice as many."""

AXES = ("rows", "columns")
POOLED = ("maximum", "average")
COUNTED = Edges("average with padding counted")

_BLOCK, _VALUE = Name("block"), Name("v")


def _pixels(what: str) -> Edges:
    """How many pixels a window has that is the picture; for as many as accumulators or more, those and the rest."""
    return Edges(f"{what} pixels", tuple(range(1, 2 * ACCUMULATORS)))


def _columns(what: str) -> Edges:
    """How many columns of the picture a window sees: unrolled, a loop, or a loop that cuts each."""
    return Edges(f"{what} columns", (*range(1, WIDEST + 2), "cut"))


def _rows(what: str) -> Edges:
    return Edges(f"{what} rows", ("whole", "clipped"))


def _windows(what: str, axis: str) -> Edges:
    """How neighbouring windows lie."""
    return Edges(f"{what} windows' {axis}", ("overlap", "side by side", "apart"))


MAXIMUM = """
/* The larger of two vectors. NaN in either stays NaN; max alone returns its second operand if one is NaN. */
static INLINE __m512 maximum(__m512 largest, __m512 v) {
    const __mmask16 ordered = _mm512_cmp_ps_mask(largest, largest, _CMP_ORD_Q);
    return _mm512_mask_max_ps(largest, ordered, largest, v);
}
"""


class Windowing(Decision):
    """How a window is walked over."""

    PICTURE = "the window is the picture: neighbouring pixels go to different accumulators"
    SHARED = "columns that windows have in common are in registers"
    UNROLLED = "columns of windows are unrolled, those at an edge by themselves"
    WIDE = "columns of windows are a loop: there are many"
    CUT = "a loop cuts the windows at an edge: there are many of them"
    ROWS = "rows of windows are counted: some are outside the picture"


class Dividing(Decision):
    """How a sum becomes an average."""

    NOTHING = "the average of one cell is that"
    POWER = "a sum is multiplied: of a power of two of cells"
    CONSTANT = "a sum is divided by a constant"
    COUNT = "a sum is divided by a count: some cells are outside the picture"


def emit(op: PoolOp | SampleOp, context: Context) -> LayerCode:
    """One layer: an output row of a block is one item."""
    return _PoolLayer(op, context).emit()


STEPS: tuple[Decision, ...] = (Chaining.READING, Chaining.WRITING)
POOLING = Kernel(
    "pooling",
    PoolOp,
    streaming_work,
    emit,
    decisions=(*Windowing, *Dividing, *STEPS),
    edges=(
        CHANNEL_TAIL,
        COUNTED,
        *(family(what) for what in POOLED for family in (_pixels, _columns, _rows)),
        *(_windows(what, axis) for what in POOLED for axis in AXES),
    ),
)
SAMPLING = Kernel("sampling", SampleOp, streaming_work, emit, edges=(CHANNEL_TAIL,), decisions=STEPS)


class _PoolLayer:
    """The numbers of one layer while it is written."""

    def __init__(self, op: PoolOp | SampleOp, context: Context) -> None:
        self.op = op
        self.copies = isinstance(op, SampleOp)
        self.is_max = isinstance(op, PoolOp) and op.is_max
        self.is_average = isinstance(op, PoolOp) and not op.is_max
        self.context = context
        self.source, self.result = context.places[op.source], context.places[op.writes]
        self.before = ChainCode(op.prologue)
        self.after = ChainCode(op.epilogue, start=len(op.prologue))
        self.both = ChainCode((*op.prologue, *op.epilogue))
        self.windows = op.windows(self.source.shape)
        self.rows = self.windows.rows
        self.columns = columns_of(self.windows.columns)
        self.wide = self.windows.columns.window > WIDEST
        self.divisor = op.divisor if isinstance(op, PoolOp) else None
        self.clipped = self.rows.starts_outside or self.rows.ends_outside
        self.cell = "_mm512_loadu_ps"

    def emit(self) -> LayerCode:
        if self.is_max:
            self.context.library.add("maximum", lambda _: MAXIMUM)
        if not self.copies:
            if self.before.steps:
                self.cell = self.context.library.add(f"cell{self.before.suffix}", self._write_cell_routine)
            self._tell()
        tell_steps(self.context.decided, Chaining.READING, self.op.prologue, self.op.epilogue)
        what = "every second row and column" if self.copies else "pooling"
        rows = self.result.shape.height
        return LayerCode(
            name=self.op.writes,
            algorithm=f"{what}, a vector of 16 channels at a time",
            steps=(InferenceStep(self.op.writes, self.result.layout.block_count * rows),),
            text=self._code(),
            arrays=self.both.fields(self.result.layout),
            packs=self.both.packs(self.result.layout),
            edge_classes=tuple(sorted(self._edge_classes())),
        )

    def _tell(self) -> None:
        """Tell how windows are walked over; how sums become averages is told where that is written."""
        decided = self.context.decided
        if self.windows.is_whole:
            decided(Windowing.PICTURE)
            return
        if any(column.columns is None for column in self.columns):
            decided(Windowing.CUT)
        if any(map(self._is_shared, self.columns)):
            decided(Windowing.SHARED)
        if not all(map(self._is_shared, self.columns)):
            decided(Windowing.WIDE if self.wide else Windowing.UNROLLED)
        if self.clipped:
            decided(Windowing.ROWS)

    def _edge_classes(self) -> set[str]:
        """Cells that are seen at the edges and elsewhere; whether windows overlap; whatever numbers they are."""
        what = "maximum" if self.is_max else "average"
        classes = {CHANNEL_TAIL(self.result.shape.channels % LANES)}
        if self.copies:
            return classes
        if self.windows.is_whole:
            pixels = self.source.shape.pixels
            rest = pixels if pixels < ACCUMULATORS else ACCUMULATORS + pixels % ACCUMULATORS
            return classes | {_pixels(what)(rest)}
        if self.divisor is not None:
            classes.add(COUNTED())
        for axis, along in zip(AXES, self.windows, strict=True):
            gap = along.stride - along.window
            classes.add(_windows(what, axis)("overlap" if gap < 0 else "apart" if gap else "side by side"))
        seen = (column.columns for column in self.columns)
        classes |= {_columns(what)("cut" if n is None else min(n, WIDEST + 1)) for n in seen}
        return classes | {_rows(what)("clipped" if self.clipped else "whole")}

    def _code(self) -> str:
        rows = self.result.shape.height
        writer = Writer()
        with writer.block(step_signature(self.context.prefix, self.op.writes)):
            begin_step(writer, self.context.prefix)
            if self.both.has_parameters:
                writer.line(f"const {self.context.prefix}Net *net = engine->net;")
            for name in dict.fromkeys((self.source.name, *self.both.operands)):
                declare_tensor(writer, self.context.places[name], written=False)
            declare_tensor(writer, self.result, written=True)
            with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
                row = f", y = {Name('item') % rows}" if rows > 1 else ""
                writer.line(f"const ptrdiff_t block = {Name('item') // rows}{row};")
                self.before.bind(writer, _BLOCK, ZERO, ZERO)
                self.after.bind(writer, _BLOCK, self._row, ZERO)
                if self.windows.is_whole:
                    self._write_whole(writer)
                else:
                    self._write_row(writer)
        return writer.text()

    @property
    def _row(self) -> Expression:
        """Index of the output row."""
        return Name("y") if self.result.shape.height > 1 else ZERO

    def _write_whole(self, writer: Writer) -> None:
        routine = self.context.library.add(self._hint("all"), self._write_all_routine)
        pixels = extent(self.source.shape.height, self.source.shape.width)
        arguments = [self._source.at(_BLOCK, 0, 0), pixels, *self.before.forwarded()]
        writer.line(f"__m512 v = {routine}({', '.join(map(str, arguments))});")
        if self.is_average:
            _write_quotient(writer, self.source.shape.pixels, pixels, self.context.decided)
        self._write_result(writer, ZERO)

    @property
    def _source(self) -> Name:
        return Name(names.local(self.source.name))

    @property
    def _result(self) -> Expression:
        """The row of results."""
        return Name(names.local(self.result.name)).at(_BLOCK, self._row)

    def _write_row(self, writer: Writer) -> None:
        start = self._row * self.rows.stride - self.rows.before
        if self.clipped:
            self._write_rows_inside(writer, start)
        steps = self.both.steps if self.copies else self.after.steps
        plain = not (self.is_average or steps)  # one statement per cell
        for column in self.columns:
            if self._is_shared(column):
                self._write_sliding(writer, column, start)
                continue
            if column.count == 1:
                with contextlib.nullcontext() if plain else writer.block(note=f"column {column.first}"):
                    self._write_cell(writer, column, Constant(column.first), start, plain=plain)
                continue
            loop = f"for (ptrdiff_t x = {column.first}; x < {column.first + column.count}; x++)"
            with writer.loop(loop) if plain and column.columns is not None else writer.block(loop):
                self._write_cell(writer, column, Name("x"), start, plain=plain)

    def _is_shared(self, column: Column) -> bool:
        """Whether windows that begin in neighbouring places of `column` have columns in common that are kept."""
        along = self.windows.columns
        return column.columns is not None and column.count > 1 and along.stride < along.window <= MOST_SHARED

    def _write_sliding(self, writer: Writer, column: Column, start: Expression) -> None:
        """Write a loop over windows that overlap: what is known of a column stays until no window has it any more."""
        along = self.windows.columns
        shared = along.window - along.stride
        rows, top = self._rows_and_top(start)
        part = Name("column")

        def fill(unrolled: Unrolled, cell: Expression) -> None:
            value = self._call(self._source.at(_BLOCK, top, cell), rows, ONE)
            writer.nest(unrolled.openings, [f"{part.at(unrolled.index)} = {value};"])

        writer.comment("Columns that windows have in common are in registers.")
        writer.line(f"__m512 column[{along.window}];")
        kept, new = Unrolled("c", 0, shared), Unrolled("c", shared, along.window)
        fill(kept, kept.index + column.cell)
        with writer.block(f"for (ptrdiff_t x = {column.first}; x < {column.first + column.count}; x++)"):
            fill(new, Name("x") * along.stride + new.index + (column.cell - along.stride * column.first))
            writer.line("__m512 v = column[0];")
            others = Unrolled("c", 1, along.window)
            writer.nest(others.openings, [f"v = {self._combine}(v, {part.at(others.index)});"])
            if self.is_average:
                self._write_average(writer, rows, Constant(along.window))
            self._write_result(writer, Name("x"))
            writer.nest(kept.openings, [f"{part.at(kept.index)} = {part.at(kept.index + along.stride)};"])

    def _rows_and_top(self, start: Expression) -> tuple[Expression, Expression]:
        """The rows of a window inside the picture, and the first of them, if the window begins in row `start`."""
        return (Name("rows"), Name("top")) if self.clipped else (Constant(self.rows.window), start)

    def _write_rows_inside(self, writer: Writer, start: Expression) -> None:
        """Write the first row inside the picture of the window that begins in row `start`, and how many rows are."""
        height, window = self.rows.size, self.rows.window
        sees_bottom = window - self.rows.before >= height  # gcc takes a condition that is never met for a mistake
        end = "" if sees_bottom else f", end = origin + {window}"
        writer.line(f"const ptrdiff_t origin = {start}{end};")
        first = "origin > 0 ? origin : 0" if self.rows.starts_outside else "origin"
        writer.line(f"const ptrdiff_t top = {first};")
        bottom = str(height) if sees_bottom else f"(end < {height} ? end : {height})"
        writer.line(f"const ptrdiff_t rows = {bottom} - top;")

    def _write_cell(self, writer: Writer, column: Column, x: Expression, start: Expression, *, plain: bool) -> None:
        """Write what computes the result at `x`, whose window begins in row `start`."""
        cell, columns = self._write_cut(writer, column, x)
        rows, top = self._rows_and_top(start)
        pixel = self._source.at(_BLOCK, top, cell)
        value = f"_mm512_loadu_ps({pixel})" if self.copies else self._call(pixel, rows, columns)
        if plain:
            writer.statement("_mm512_storeu_ps", [self._result.at(x), value], ";")
            return
        writer.line(f"__m512 v = {value};")
        if self.copies:
            self.before.apply(writer, _VALUE, ZERO, ZERO)
        if self.is_average:
            self._write_average(writer, rows, columns)
        self._write_result(writer, x)

    def _write_cut(self, writer: Writer, column: Column, x: Expression) -> tuple[Expression, Expression]:
        """The first cell of the windows of `column` and the number of cells, and write what computes them."""
        along = self.windows.columns
        if column.count == 1:
            first: Expression = Constant(column.cell)
        else:
            first = x * along.stride + (column.cell - along.stride * column.first)
        if column.columns is not None:
            return first, Constant(column.columns)
        last = column.cell + along.stride * (column.count - 1)
        if last <= 0 and last + along.window <= along.size:
            writer.line(f"const ptrdiff_t count = {first + along.window};")
            return ZERO, Name("count")
        if column.cell >= 0 and column.cell + along.window >= along.size:
            after = along.size - column.cell + along.stride * column.first
            writer.line(f"const ptrdiff_t count = {Constant(after) - x * along.stride};")
            return first, Name("count")
        writer.line(f"const ptrdiff_t first = {first}, from = first > 0 ? first : 0;")
        writer.line(f"const ptrdiff_t count = ({least(Name('first') + along.window, along.size)}) - from;")
        return Name("from"), Name("count")

    def _call(self, pixel: Expression, rows: Expression, columns: Expression) -> str:
        """The call that computes the maximum or the sum of a window whose first cell is `pixel`."""
        if columns == ONE:
            sizes = [rows]
            routine = self.context.library.add(self._hint("column"), self._write_column_routine)
        elif isinstance(columns, Constant) and not self.wide:
            sizes = [rows]
            routine = self.context.library.add(self._hint(str(columns)), self._writer_of(columns.number))
        else:
            sizes = [rows, columns]
            routine = self.context.library.add(self._hint("window"), self._writer_of(None))
        row = extent(self.source.shape.width, 16)
        return f"{routine}({', '.join(map(str, [pixel, *sizes, row, *self.before.forwarded()]))})"

    def _write_average(self, writer: Writer, rows: Expression, columns: Expression) -> None:
        """Write the division of a sum by the cells of the window, or by those of them that are in the picture."""
        decided = self.context.decided
        if self.divisor is not None:
            count = extent(self.rows.window, self.windows.columns.window)
            _write_quotient(writer, self.divisor, count, decided)
        elif isinstance(rows, Constant) and isinstance(columns, Constant):
            count = rows if columns == ONE else Product((rows, columns))
            _write_quotient(writer, rows.number * columns.number, count, decided)
        else:
            _write_quotient(writer, None, rows if columns == ONE else Product((rows, columns)), decided)

    def _write_result(self, writer: Writer, x: Expression) -> None:
        self.after.apply(writer, _VALUE, ZERO, x * 16)
        writer.line(f"_mm512_storeu_ps({self._result.at(x)}, v);")

    def _hint(self, what: str) -> str:
        return f"{'largest' if self.is_max else 'sum'}_of_{what}{self.before.suffix}"

    def _writer_of(self, columns: int | None) -> Callable[[str], str]:
        return lambda name: self._write_window_routine(name, columns)

    def _write_window_routine(self, name: str, columns: int | None) -> str:
        """Text of the routine for a window: its rows are counted when it runs, its columns here unless that is None."""
        writer = Writer()
        what = "The largest" if self.is_max else "The sum"
        sizes = ["ptrdiff_t rows"]
        if columns is None:
            cells, loop, index = "`columns` cells", ["for (ptrdiff_t j = 0; j < columns; j++)"], Name("j") * 16
            sizes.append("ptrdiff_t columns")
        else:
            cells = f"{columns} neighbouring cells"
            unrolled = Unrolled("j", 0, columns)
            loop, index = unrolled.openings, unrolled.index * 16
        writer.comment(f"{what} of {cells} in each of `rows` rows, which begin `row` floats apart.")
        chain = self.before.neutral
        parameters = ["const float *restrict x", *sizes, "ptrdiff_t row", *chain.parameters()]
        writer.statement(f"static INLINE __m512 {name}", parameters, " {")
        with writer.indented():
            self._write_start(writer)
            writer.line("for (ptrdiff_t i = 0; i < rows; i++, x += row)")
            with writer.indented():
                writer.nest(loop, [self._combined("v", index)])
            writer.line("return v;")
        writer.line("}")
        return writer.text()

    def _write_column_routine(self, name: str) -> str:
        """Text of the routine for one column of a window."""
        writer = Writer()
        what = "The largest" if self.is_max else "The sum"
        writer.comment(f"{what} of the first cell in each of `rows` rows, which begin `row` floats apart.")
        parameters = ["const float *restrict x", "ptrdiff_t rows", "ptrdiff_t row", *self.before.neutral.parameters()]
        writer.statement(f"static INLINE __m512 {name}", parameters, " {")
        with writer.indented():
            writer.line(f"__m512 v = {self._cell_at(ZERO)};")
            writer.nest(["for (ptrdiff_t i = 1; i < rows; i++)"], [self._combined("v", Name("i") * Name("row"))])
            writer.line("return v;")
        writer.line("}")
        return writer.text()

    def _write_all_routine(self, name: str) -> str:
        """Text of the routine for a whole picture: neighbouring pixels go to different accumulators."""
        writer = Writer()
        what = "The largest" if self.is_max else "The sum"
        writer.comment(f"{what} of all pixels, in {ACCUMULATORS} independent accumulators.")
        parameters = ["const float *restrict x", "ptrdiff_t pixels", *self.before.neutral.parameters()]
        writer.statement(f"static INLINE __m512 {name}", parameters, " {")
        with writer.indented():
            self._write_start(writer)
            writer.line(f"__m512 part[{ACCUMULATORS}] = {{{', '.join(['v'] * ACCUMULATORS)}}};")
            writer.line("ptrdiff_t p = 0;")
            writer.line(f"for (; p + {ACCUMULATORS} <= pixels; p += {ACCUMULATORS})")
            with writer.indented():
                k = Unrolled("k", 0, ACCUMULATORS)
                writer.nest(k.openings, [self._combined("part[k]", (Name("p") + k.index) * 16)])
            writer.nest(["for (; p < pixels; p++)"], [self._combined("part[0]", Name("p") * 16)])
            combine = self._combine
            writer.line(f"return {combine}({combine}(part[0], part[1]), {combine}(part[2], part[3]));")
        writer.line("}")
        return writer.text()

    @property
    def _combine(self) -> str:
        return "maximum" if self.is_max else "_mm512_add_ps"

    def _write_start(self, writer: Writer) -> None:
        writer.line(f"__m512 v = {self._cell_at(ZERO) if self.is_max else '_mm512_setzero_ps()'};")

    def _combined(self, accumulator: str, offset: Expression) -> str:
        """The statement that adds the cell at `offset` to an accumulator."""
        return f"{accumulator} = {self._combine}({accumulator}, {self._cell_at(offset)});"

    def _cell_at(self, offset: Expression) -> str:
        """A cell of a routine's picture, after the steps before the pooling."""
        return f"{self.cell}({', '.join(map(str, [Name('x') + offset, *self.before.forwarded()]))})"

    def _write_cell_routine(self, name: str) -> str:
        """Text of the routine for a cell that steps are done on."""
        writer = Writer()
        writer.comment(f"A cell, and on it {', '.join(self.before.description)}.")
        chain = self.before.neutral
        writer.statement(f"static INLINE __m512 {name}", ["const float *restrict x", *chain.parameters()], " {")
        with writer.indented():
            writer.line("__m512 v = _mm512_loadu_ps(x);")
            chain.apply(writer, _VALUE, ZERO, ZERO)
            writer.line("return v;")
        writer.line("}")
        return writer.text()


def _dividing(cells: int | None) -> Dividing:
    """How a sum of so many cells becomes their average; None where that is known only when the code runs."""
    if cells is None:
        return Dividing.COUNT
    if cells == 1:
        return Dividing.NOTHING
    return Dividing.CONSTANT if cells & (cells - 1) else Dividing.POWER


def _write_quotient(writer: Writer, cells: int | None, count: Expression, decided: Decided) -> None:
    """Divide v by the number of cells, which is `count` in C; `cells` is None where it is known only then."""
    dividing = _dividing(cells)
    decided(dividing)
    if dividing is Dividing.NOTHING:
        return
    if dividing is Dividing.POWER:
        writer.line(f"v = _mm512_mul_ps(v, _mm512_set1_ps(1.0f / {cells}));")
    else:
        writer.line(f"v = _mm512_div_ps(v, _mm512_set1_ps((float)({count})));")
