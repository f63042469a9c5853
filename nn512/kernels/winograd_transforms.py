"""The C of Winograd's transforms: of a tile of inputs into products' factors, and of products into a tile of results.

Every vector holds 16 channels, so a transform is plain vector arithmetic. Along one axis it is a straight-line routine
that applies a matrix of `nn512.algebra.cook_toom` in place; a tile is transformed column by column, then row by row.
A tile does not fit into the registers: of the 36 vectors of F(4x4, 3x3) a few are spilled, which costs less than the
loads and stores that are needed anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from nn512.algebra.cook_toom import Matrix, Transform
from nn512.algebra.linear import Sum, Term, program_of
from nn512.cgen.code import Library
from nn512.cgen.literals import float_literal
from nn512.cgen.writer import Writer
from nn512.kernels.chain import ChainCode
from nn512.kernels.full_panel import Stored
from nn512.kernels.products import LONGEST_PASS
from nn512.kernels.tile_results import begin_results, write_results
from nn512.plan.plan import PlannedAxis


@dataclass(frozen=True, slots=True)
class AxisRoutine:
    """A transform along one axis, in place: of `inputs`, or of products into `results`."""

    transform: Transform
    direction: str

    @property
    def matrix(self) -> Matrix:
        """The matrix that it applies."""
        return self.transform.inputs if self.direction == "inputs" else self.transform.results

    @property
    def name(self) -> str:
        """Name of the routine."""
        return f"winograd{self.transform.outputs}_{self.transform.taps}{self.transform.mark}_{self.direction}"

    def write(self, name: str) -> str:
        """Text of the routine."""
        program, transform = program_of(self.matrix), self.transform
        writer = Writer()
        points = ", ".join(point.replace("inf", "infinity") for point in transform.point_names)
        whole = f"F({transform.outputs}, {transform.taps})"
        what = (
            f"Winograd's {whole}: {transform.outputs} results of {transform.taps} taps from {transform.products} "
            f"products, at the points {points} (Winograd 1980, Lavin and Gray 2015). Here {transform.products} inputs "
            "become the factors of the products:"
            if self.direction == "inputs"
            else f"Winograd's {whole}: {transform.products} products become {transform.outputs} results:"
        )
        lines = _rows_in_words(self.matrix)
        writer.comment_with_table(what, lines)
        with writer.block(f"static INLINE void {name}(__m512 d[{transform.products}])"):
            for total in program.sums:
                writer.assign(f"const __m512 {total.name}", _expression(total))
            kept = _overwritten(program.results)
            for number, total in enumerate(program.results):
                target = f"const __m512 result{number}" if number in kept else f"d[{number}]"
                writer.assign(target, _expression(total))
            if kept:
                writer.line(" ".join(f"d[{number}] = result{number};" for number in kept))
        return writer.text()


def _overwritten(results: Sequence[Sum]) -> tuple[int, ...]:
    """Results that must wait in variables of their own, because later ones read what stands in their place."""
    last = {
        term.value: number
        for number, total in enumerate(results)
        for term in total.terms
        if isinstance(term.value, int)
    }
    return tuple(number for number in range(len(results)) if last.get(number, -1) > number)


def _rows_in_words(matrix: Matrix) -> Iterator[str]:
    """A matrix as a table of fractions."""
    columns = [[str(factor) for factor in column] for column in zip(*matrix, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        yield "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))


def _expression(total: Sum) -> str:
    """A sum as nested intrinsics, terms without a multiplication first."""
    terms = sorted(total.terms, key=lambda term: (abs(term.factor) != 1, term.factor == -1))
    if not terms:
        return "_mm512_setzero_ps()"
    first, *others = terms
    text = _operand(first)
    if first.factor != 1:
        text = f"_mm512_mul_ps({_constant(first.factor)}, {text})"
    for term in others:
        if abs(term.factor) == 1:
            text = f"_mm512_{'add' if term.factor == 1 else 'sub'}_ps({text}, {_operand(term)})"
        else:
            text = f"_mm512_fmadd_ps({_constant(term.factor)}, {_operand(term)}, {text})"
    return text


def _operand(term: Term) -> str:
    return term.value if isinstance(term.value, str) else f"d[{term.value}]"


def _constant(factor: Fraction) -> str:
    return f"_mm512_set1_ps({float_literal(float(factor))})"


@dataclass(frozen=True, slots=True)
class TileTransform:
    """F(m x n, r x s): a transform for each axis; rows are those of the picture, transformed column by column."""

    rows: Transform
    columns: Transform

    phases: ClassVar[int] = 1
    weight_uses: ClassVar[int] = 1
    longest_pass: ClassVar[int] = LONGEST_PASS
    few_tiles: ClassVar[int] = 2 * LONGEST_PASS

    def most_tiles(self, vectors: int, cache: int) -> int:
        """Tiles of a block at most: one pass."""
        del vectors, cache
        return self.longest_pass

    @property
    def outputs(self) -> tuple[int, int]:
        """Rows and columns of a tile of results."""
        return self.rows.outputs, self.columns.outputs

    @property
    def windows(self) -> tuple[int, int]:
        """Rows and columns of a tile of inputs."""
        return self.rows.products, self.columns.products

    @property
    def positions(self) -> int:
        """Elements of a transformed tile."""
        return self.rows.products * self.columns.products

    @property
    def multiplications(self) -> int:
        """Products for a tile, an input channel and an output."""
        return self.positions

    @property
    def input_operations(self) -> int:
        """Vector operations that transform a tile of 16 input channels, loads and stores included."""
        rows, columns = (program_of(axis.inputs).operations for axis in (self.rows, self.columns))
        return self.columns.products * rows + self.rows.products * columns + 2 * self.positions

    @property
    def result_operations(self) -> int:
        """The same for the products of a tile and 16 outputs."""
        rows, columns = (program_of(axis.results).operations for axis in (self.rows, self.columns))
        transforms = self.columns.products * rows + self.rows.outputs * columns
        return transforms + self.positions + self.rows.outputs * self.columns.outputs

    @property
    def name(self) -> str:
        """Part of the names of routines."""
        filter_ = f"{self.rows.taps}x{self.columns.taps}"
        mark = self.rows.mark or self.columns.mark
        return f"winograd{self.rows.outputs}x{self.columns.outputs}_{filter_}{mark}"

    @property
    def short_title(self) -> str:
        """The algorithm as papers write it."""
        outputs, taps = ((f"{a}x{b}") for a, b in (self.outputs, (self.rows.taps, self.columns.taps)))
        return f"F({outputs}, {taps})"

    @property
    def title(self) -> str:
        """The algorithm with its author."""
        return f"Winograd {self.short_title}"

    @property
    def axes(self) -> tuple[PlannedAxis, PlannedAxis]:
        """What the plan says of it."""
        return _planned(self.rows), _planned(self.columns)

    def _apply(self, writer: Writer, library: Library, transform: Transform, direction: str, array: str) -> None:
        """Write the call that transforms an array along one axis, unless that is trivial."""
        if transform.is_trivial:
            return
        routine = AxisRoutine(transform, direction)
        name = library.add(routine.name, routine.write, routine)
        writer.line(f"{name}({array});")

    def write_columns(self, writer: Writer, library: Library, direction: str, load: str, kept: int) -> None:
        """Write the loop that transforms all columns: `load` gives element i, j, the first `kept` rows stay."""
        height, width = self.rows.products, self.columns.products
        writer.line(f"__m512 d[{kept}][{width}];")
        with writer.block(f"UNROLL for (int j = 0; j < {width}; j++)"):
            writer.line(f"__m512 column[{height}];")
            writer.nest([f"UNROLL for (int i = 0; i < {height}; i++)"], [f"column[i] = {load};"])
            self._apply(writer, library, self.rows, direction, "column")
            writer.line(f"UNROLL for (int i = 0; i < {kept}; i++) d[i][j] = column[i];")

    def write_row(self, writer: Writer, library: Library, direction: str) -> None:
        """Write the call that transforms row i."""
        self._apply(writer, library, self.columns, direction, "d[i]")


def _planned(axis: Transform) -> PlannedAxis:
    return PlannedAxis(outputs=axis.outputs, taps=axis.taps, size=axis.products, points=axis.point_names)


@dataclass(frozen=True, slots=True)
class InputRoutine:
    """Transforms a tile of a block of input channels; a `clipped` one may hang over the picture's edges."""

    tile: TileTransform
    stored: Stored
    clipped: bool

    @property
    def hint(self) -> str:
        """Name of the routine."""
        return f"{self.tile.name}_{'clipped_' if self.clipped else ''}inputs{'_as_pairs' if self._pairs else ''}"

    @property
    def _pairs(self) -> bool:
        return self.stored is Stored.PAIRS

    def add(self, library: Library) -> str:
        """The name of the routine, which is in the library then, behind what it calls."""
        text = self._text(library)
        return library.add(self.hint, lambda _: text, self)

    def _text(self, library: Library) -> str:
        height, width = self.tile.rows.products, self.tile.columns.products
        writer = Writer()
        what = (
            f"One tile for {self.tile.short_title}, 16 channels: {height}x{width} inputs become the factors of as many "
            f"products, `position` floats apart{', rounded to pairs of bfloat16' if self._pairs else ''}."
        )
        where = [
            "const float *restrict x",
            "ptrdiff_t row",
        ]
        if self.clipped:
            what += (
                " The tile begins at row y and column x of a picture of height x width; outside it, and in lanes "
                "without a channel, are zeros."
            )
            where = [
                "const float *restrict picture",
                "ptrdiff_t height",
                "ptrdiff_t width",
                "ptrdiff_t y",
                "ptrdiff_t x",
                "__mmask16 lanes",
            ]
        else:
            what += " `row` is the distance from one row of the picture to the next."
        writer.comment(what)
        head = f"static NOINLINE {self.stored.target}void {self.hint}"
        writer.statement(head, [*where, "float *restrict v", "ptrdiff_t position"], " {")
        with writer.indented():
            load = "_mm512_loadu_ps(x + i * row + j * 16)"
            if self.clipped:
                self._write_bounds(writer, height, width)
                load = "_mm512_maskz_loadu_ps(rowLanes[i] & columnLanes[j], rows[i] + columns[j])"
            self.tile.write_columns(writer, library, "inputs", load, height)
            with writer.block(f"UNROLL for (int i = 0; i < {height}; i++)"):
                self.tile.write_row(writer, library, "inputs")
                place = f"v + (i * {width} + j) * position"
                store = f"_mm512_storeu_ps({place}, d[i][j]);"
                if self._pairs:
                    store = f"_mm256_storeu_si256((__m256i *)({place}), (__m256i)_mm512_cvtneps_pbh(d[i][j]));"
                writer.nest([f"UNROLL for (int j = 0; j < {width}; j++)"], [store])
        writer.line("}")
        return writer.text()

    @staticmethod
    def _write_bounds(writer: Writer, height: int, width: int) -> None:
        """Write which rows and columns of the tile are in the picture, and where."""
        writer.lines(f"""
            const float *rows[{height}];
            ptrdiff_t columns[{width}];
            __mmask16 rowLanes[{height}], columnLanes[{width}];
            UNROLL for (int i = 0; i < {height}; i++) {{
                const int inside = y + i >= 0 && y + i < height;
                rows[i] = picture + (inside ? (y + i) * width * 16 : 0);
                rowLanes[i] = inside ? lanes : 0;
            }}
            UNROLL for (int j = 0; j < {width}; j++) {{
                const int inside = x + j >= 0 && x + j < width;
                columns[j] = inside ? (x + j) * 16 : 0;
                columnLanes[j] = inside ? 0xffff : 0;
            }}""")


@dataclass(frozen=True, slots=True)
class ResultRoutine:
    """Transforms the products of a tile into results; of a `ragged` one some may lie outside the picture."""

    tile: TileTransform
    ragged: bool
    chain: ChainCode

    @property
    def hint(self) -> str:
        """Name of the routine, unless another has it."""
        return f"{self.tile.name}_{'ragged_' if self.ragged else ''}results{self.chain.suffix}"

    def add(self, library: Library) -> str:
        """The name of the routine, which is in the library then, behind what it calls."""
        body = self._body(library)
        return library.add(self.hint, lambda name: self._text(name, body), self)

    def _body(self, library: Library) -> str:
        products = self.tile.columns.products
        height, width = self.tile.rows.outputs, self.tile.columns.outputs
        writer = Writer()
        with writer.indented():
            writer.line("const __m512 b = _mm512_loadu_ps(bias);")
            load = f"_mm512_loadu_ps(m + (i * {products} + j) * position)"
            self.tile.write_columns(writer, library, "results", load, height)
            with writer.block(f"UNROLL for (int i = 0; i < {height}; i++)"):
                if self.ragged:
                    writer.line("if (i == rows) return;")
                self.tile.write_row(writer, library, "results")
                write_results(writer, width, "d[i][j]", self.chain, ragged=self.ragged)
        writer.line("}")
        return writer.text()

    def _text(self, name: str, body: str) -> str:
        writer = Writer()
        height, width = self.tile.rows.outputs, self.tile.columns.outputs
        what = (
            f"One tile for {self.tile.short_title}, 16 outputs: {self.tile.positions} products, `position` floats "
            f"apart, become {height}x{width}"
        )
        begin_results(writer, name, what, self.chain, ragged=self.ragged)
        return writer.text() + body
