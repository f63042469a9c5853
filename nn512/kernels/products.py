"""The small matrix products of tile algorithms: at one position, factors of several tiles times transformed weights.

It is the inner loop of a pointwise convolution whose pixels are tiles: sums for one or two blocks of outputs stay in
registers while input channels pass. Weights are fetched a little ahead: they are read once per block of tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

from nn512.cgen.code import Library
from nn512.cgen.expressions import Expression, Name
from nn512.cgen.writer import Writer
from nn512.kernels.full_panel import LOAD_HALVES, Stored
from nn512.kernels.tiles import PREFETCH, Unrolled, registers

LONGEST_PASS = 14
"""Tiles that are summed at a time with two blocks of outputs; with one, twice as many."""


@dataclass(frozen=True, slots=True)
class ProductRoutine:
    """What the text of the routine depends on: output blocks that are summed at a time, and the format of weights."""

    blocks: int
    stored: Stored

    @property
    def hint(self) -> str:
        """Name of the routine."""
        return f"multiply_{self.blocks}xN{self._word}"

    @property
    def _word(self) -> str:
        return f"_{self.stored.value}" if self.stored.value else ""

    @property
    def most(self) -> int:
        """Tiles at most."""
        return LONGEST_PASS * 2 // self.blocks

    def add(self, library: Library) -> str:
        """The name of the routine, which is in the library then, behind what it calls."""
        library.use(PREFETCH)
        if self.stored is Stored.HALVES:
            library.add("load_halves", lambda _: LOAD_HALVES)
        return library.add(self.hint, self._text, self)

    def _product(self, weights: Expression, acc: Expression) -> str:
        """C of a sum with a product; the factor may come from memory."""
        if self.stored is Stored.PAIRS:
            return f"_mm512_dpbf16_ps({acc}, {weights}, factor)"
        return f"_mm512_fmadd_ps({weights}, factor, {acc})"

    def _text(self, name: str) -> str:
        writer = Writer()
        outputs, tiles, lanes = Unrolled("o", 0, self.blocks), Unrolled("n", 0, Name("tiles")), self.stored.input_lanes
        held = registers(f"{self.most * self.blocks} sums", f"{self.blocks} of weights", "1 factor")
        count = f"{self.blocks} block{'s' if self.blocks > 1 else ''}"
        scale = "scale[o] * " if self.stored.scaled else ""
        apart = ", blocks of outputs `outputBlock`" if self.blocks > 1 else ""
        writer.comment(
            f"One position of up to {self.most} tiles, {count} of 16 outputs: out[o][n] = {scale}sum over input "
            f"channels of w[o] * x[n]{self.stored.note}. Tiles are {lanes} floats apart, blocks of input channels "
            "`inputBlock` floats"
            f"{apart}; weights are fetched `ahead` of where they are read. `tiles` is a literal in every call, so that "
            f"loops are unrolled. {held}."
        )
        parameters = [
            "const float *restrict x",
            "ptrdiff_t blocks",
            "ptrdiff_t inputBlock",
            f"const {self.stored.element} *restrict w",
            *(["const float *restrict scale"] if self.stored.scaled else []),
            "ptrdiff_t ahead",
            "float *restrict out",
            *(["ptrdiff_t outputBlock"] if self.blocks > 1 else []),
            "const int tiles",
        ]
        writer.statement(f"static INLINE {self.stored.target}void {name}", parameters, " {")
        with writer.indented():
            self._write_body(writer, outputs, tiles)
        writer.line("}")
        return writer.text()

    def _write_body(self, writer: Writer, outputs: Unrolled, tiles: Unrolled) -> None:
        acc = Name("acc").at(outputs.index, tiles.index)
        step = 16 * self.blocks
        lanes, narrow = self.stored.input_lanes, self.stored is Stored.HALVES
        writer.line(f"__m512 acc[{self.blocks}][{self.most}];")
        writer.nest([*outputs.openings, *tiles.openings], [f"{acc} = _mm512_setzero_ps();"])
        with (
            writer.block("for (ptrdiff_t block = 0; block < blocks; block++, x += inputBlock)"),
            writer.block(f"for (ptrdiff_t lane = 0; lane < {lanes}; lane++, w += {step})"),
        ):
            ahead = "(const float *)w + ahead" if narrow else "w + ahead"
            lines = 1 if narrow else self.blocks
            writer.line(f"prefetch_lines({ahead}, {lines});")
            kind, loaded = self.stored.vector(Name("w") + outputs.index * 16)
            writer.line(f"{kind} weights[{self.blocks}];")
            weights = Name("weights").at(outputs.index)
            writer.nest(outputs.openings, [f"{weights} = {loaded};"])
            inner = Writer()
            inner.line(f"const {kind} factor = {self.stored.spread(Name('x'), tiles.index * lanes + Name('lane'))};")
            inner.nest(outputs.openings, [f"{acc} = {self._product(weights, acc)};"])
            writer.nest(tiles.openings, inner.text().splitlines())
        value = (
            f"_mm512_mul_ps({acc}, _mm512_loadu_ps({Name('scale') + outputs.index * 16}))"
            if self.stored.scaled
            else acc
        )
        place = Name("out") + outputs.index * Name("outputBlock") + tiles.index * 16
        writer.nest([*outputs.openings, *tiles.openings], [f"_mm512_storeu_ps({place}, {value});"])
