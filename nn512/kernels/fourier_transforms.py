"""The C of Fourier transforms of tiles: inputs become spectra, products of spectra become results.

Every vector holds 16 channels, so a transform is plain vector arithmetic. Inputs and results are real: a tile is
transformed row by row, and then column by column. Columns 0 and N/2 are spectra of real columns, one after the other;
the others are complex.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from nn512.cgen.code import Library
from nn512.cgen.expressions import ZERO, Name
from nn512.cgen.writer import Writer
from nn512.kernels.chain import ChainCode
from nn512.kernels.fourier_lines import LineRoutine
from nn512.kernels.tile_results import begin_results, write_results


@dataclass(frozen=True, slots=True)
class InputRoutine:
    """Transforms a tile of a block of input channels; a `clipped` one may hang over the picture's edges."""

    sizes: tuple[int, int]
    steps: tuple[int, int]
    clipped: bool

    @property
    def hint(self) -> str:
        """Name of the routine."""
        (height, width), (down, across) = self.sizes, self.steps
        step = f"_step{down}x{across}" if self.steps != (1, 1) else ""
        return f"fourier{height}x{width}{step}_{'clipped_' if self.clipped else ''}inputs"

    def add(self, library: Library) -> str:
        """The name of the routine, which is in the library then, behind what it calls."""
        text = self._text(library)
        return library.add(self.hint, lambda _: text, self)

    def _text(self, library: Library) -> str:
        (height, width), (down, across) = self.sizes, self.steps
        writer = Writer()
        every = [f"every second {word}" for word, step in (("row", down), ("column", across)) if step > 1]
        which = f", of {' and '.join(every)}," if every else ""
        what = (
            f"Fourier transform of one tile, 16 channels: {height}x{width} inputs{which} become as many numbers of a "
            "spectrum, `position` floats apart."
        )
        if self.clipped:
            what += (
                " The tile begins at row y and column x of a picture whose rows are `row` floats apart; outside of "
                "height x width, and in lanes without a channel, are zeros."
            )
            where = ["const float *restrict picture", "ptrdiff_t row", "ptrdiff_t height", "ptrdiff_t width"]
            where += ["ptrdiff_t y", "ptrdiff_t x", "__mmask16 lanes"]
        else:
            where = ["const float *restrict x"]
            if self.sizes[0] > 1:
                what += " `row` is the distance from one row of the picture to the next."
                where.append("ptrdiff_t row")
        writer.comment(what)
        writer.statement(f"static NOINLINE void {self.hint}", [*where, "float *restrict v", "ptrdiff_t position"], " {")
        with writer.indented():
            if self.clipped:
                self._write_bounds(writer)
            if 1 in self.sizes:
                self._write_line(writer, library)
            else:
                self._write_tile(writer, library)
        writer.line("}")
        return writer.text()

    def _load(self, i: str, j: str) -> str:
        if self.clipped:
            return f"_mm512_maskz_loadu_ps(rowLanes[{i}] & columnLanes[{j}], rows[{i}] + columns[{j}])"
        row = Name("x") + (Name(i) * self.steps[0] * Name("row") if i != "0" else ZERO)
        return f"_mm512_loadu_ps({row + (Name(j) * (16 * self.steps[1]) if j != '0' else ZERO)})"

    def _write_line(self, writer: Writer, library: Library) -> None:
        """Write the body for one row or one column."""
        size = max(self.sizes)
        transform = LineRoutine(size, "real").add(library)
        load = self._load("0", "i") if self.sizes[0] == 1 else self._load("i", "0")
        writer.line(f"__m512 d[{size}];")
        writer.nest([f"UNROLL for (int i = 0; i < {size}; i++)"], [f"d[i] = {load};"])
        writer.line(f"{transform}(d);")
        writer.line(f"UNROLL for (int i = 0; i < {size}; i++) _mm512_storeu_ps(v + i * position, d[i]);")

    def _write_tile(self, writer: Writer, library: Library) -> None:
        """Write the body for a tile: rows, then columns."""
        height, width = self.sizes
        rows, real, whole = (
            LineRoutine(size, kind).add(library)
            for size, kind in ((width, "real"), (height, "real"), (height, "complex"))
        )
        writer.comment(f"Real columns of spectra of rows, 0 and {width // 2}, wait in v; the others are complex.")
        writer.line(f"__m512 d[{width // 2 - 1}][{2 * height}];")
        with writer.block(f"for (int i = 0; i < {height}; i++)"):
            writer.line(f"__m512 line[{width}];")
            writer.nest([f"UNROLL for (int j = 0; j < {width}; j++)"], [f"line[j] = {self._load('i', 'j')};"])
            writer.line(f"{rows}(line);")
            writer.line(
                f"UNROLL for (int j = 0; j < 2; j++) _mm512_storeu_ps(v + (j * {height} + i) * position, line[j]);"
            )
            writer.line(f"UNROLL for (int j = 2; j < {width}; j++) d[j / 2 - 1][2 * i + j % 2] = line[j];")
        with writer.block("for (int j = 0; j < 2; j++)"):
            writer.line(f"float *const at = v + j * {height} * position;")
            writer.line(f"__m512 column[{height}];")
            writer.line(f"UNROLL for (int i = 0; i < {height}; i++) column[i] = _mm512_loadu_ps(at + i * position);")
            writer.line(f"{real}(column);")
            writer.line(f"UNROLL for (int i = 0; i < {height}; i++) _mm512_storeu_ps(at + i * position, column[i]);")
        with writer.block(f"for (int j = 1; j < {width // 2}; j++)"):
            writer.line(f"float *const at = v + j * {2 * height} * position;")
            writer.line(f"__m512 column[{2 * height}];")
            writer.line(f"UNROLL for (int i = 0; i < {2 * height}; i++) column[i] = d[j - 1][i];")
            writer.line(f"{whole}(column);")
            writer.line(
                f"UNROLL for (int i = 0; i < {2 * height}; i++) _mm512_storeu_ps(at + i * position, column[i]);"
            )

    def _write_bounds(self, writer: Writer) -> None:
        """Write which rows and columns of the tile are in the picture, and where."""
        (height, width), (down, across) = self.sizes, self.steps
        at_row, at_column = (Name(a) + Name(b) * step for a, b, step in (("y", "i", down), ("x", "j", across)))
        writer.lines(f"""
            const float *rows[{height}];
            ptrdiff_t columns[{width}];
            __mmask16 rowLanes[{height}], columnLanes[{width}];
            for (int i = 0; i < {height}; i++) {{
                const ptrdiff_t at = {at_row};
                const int inside = at >= 0 && at < height;
                rows[i] = picture + (inside ? at * row : 0);
                rowLanes[i] = inside ? lanes : 0;
            }}
            for (int j = 0; j < {width}; j++) {{
                const ptrdiff_t at = {at_column};
                const int inside = at >= 0 && at < width;
                columns[j] = inside ? at * 16 : 0;
                columnLanes[j] = inside ? 0xffff : 0;
            }}""")


@dataclass(frozen=True, slots=True)
class ResultRoutine:
    """Transforms the products of a tile into results; of a `ragged` one some may lie outside the picture."""

    sizes: tuple[int, int]
    outputs: tuple[int, int]
    ragged: bool
    chain: ChainCode

    @property
    def hint(self) -> str:
        """Name of the routine, unless another has it."""
        (height, width), (rows, columns) = self.sizes, self.outputs
        ragged = "ragged_" if self.ragged else ""
        return f"fourier{height}x{width}_{ragged}results{rows}x{columns}{self.chain.suffix}"

    def add(self, library: Library) -> str:
        """The name of the routine, which is in the library then, behind what it calls."""
        body = self._body(library)
        return library.add(self.hint, lambda name: self._text(name, body), self)

    def _body(self, library: Library) -> str:
        writer = Writer()
        with writer.indented():
            writer.line("const __m512 b = _mm512_loadu_ps(bias);")
            if 1 in self.sizes:
                self._write_line(writer, library)
            else:
                self._write_tile(writer, library)
        writer.line("}")
        return writer.text()

    def _write_line(self, writer: Writer, library: Library) -> None:
        size = max(self.sizes)
        back = LineRoutine(size, "results").add(library)
        writer.line(f"__m512 d[{size}];")
        writer.line(f"UNROLL for (int i = 0; i < {size}; i++) d[i] = _mm512_loadu_ps(m + i * position);")
        writer.line(f"{back}(d);")
        with self._rows(writer, "UNROLL "):
            self._write_row(writer, "d[j]" if self.sizes[0] == 1 else "d[i]")

    def _write_tile(self, writer: Writer, library: Library) -> None:
        (height, width), rows = self.sizes, self.outputs[0]
        lines, real, whole = (
            LineRoutine(size, kind).add(library)
            for size, kind in ((width, "results"), (height, "results"), (height, "complex"))
        )
        writer.line(f"__m512 d[{rows}][{width}];")
        load = f"_mm512_loadu_ps(m + (j * {height} + i) * position)"
        with writer.block("for (int j = 0; j < 2; j++)", note="two real columns"):
            writer.line(f"__m512 column[{height}];")
            writer.nest([f"UNROLL for (int i = 0; i < {height}; i++)"], [f"column[i] = {load};"])
            writer.line(f"{real}(column);")
            writer.line(f"UNROLL for (int i = 0; i < {rows}; i++) d[i][j] = column[i];")
        with writer.block(f"for (int j = 2; j < {width}; j += 2)", note="complex columns, parts exchanged"):
            writer.line(f"__m512 column[{2 * height}];")
            writer.nest([f"UNROLL for (int i = 0; i < {2 * height}; i++)"], [f"column[i ^ 1] = {load};"])
            writer.line(f"{whole}(column);")
            writer.line(f"UNROLL for (int i = 0; i < {2 * rows}; i++) d[i / 2][j + i % 2] = column[i ^ 1];")
        with self._rows(writer, ""):
            writer.line(f"__m512 line[{width}];")
            writer.line(f"UNROLL for (int j = 0; j < {width}; j++) line[j] = d[i][j];")
            writer.line(f"{lines}(line);")
            self._write_row(writer, "line[j]")

    @contextlib.contextmanager
    def _rows(self, writer: Writer, unroll: str) -> Iterator[None]:
        """Write the loop over rows of results around what the body of the `with` writes."""
        with writer.block(f"{unroll}for (int i = 0; i < {self.outputs[0]}; i++)"):
            if self.ragged:
                writer.line("if (i == rows) return;")
            yield

    def _write_row(self, writer: Writer, value: str) -> None:
        """Write what becomes of the results of row i."""
        write_results(writer, self.outputs[1], value, self.chain, ragged=self.ragged)

    def _text(self, name: str, body: str) -> str:
        writer = Writer()
        (height, width), (rows, columns) = self.sizes, self.outputs
        what = (
            f"One tile of 16 outputs: products of spectra, {height}x{width} numbers that are `position` floats apart, "
            f"become {rows}x{columns}"
        )
        begin_results(writer, name, what, self.chain, ragged=self.ragged)
        return writer.text() + body
