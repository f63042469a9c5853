"""The small matrix products of complex numbers: at one position, spectra of several tiles times those of filters.

See `products` for real numbers. A number is a factor of two weights, so that four fused multiply-adds share two loads.
"""

from __future__ import annotations

from dataclasses import dataclass

from nn512.cgen.code import Library
from nn512.cgen.expressions import Name
from nn512.cgen.writer import Writer
from nn512.kernels.full_panel import LOAD_HALVES
from nn512.kernels.tiles import PREFETCH, Unrolled, registers

LONGEST = {1: 13, 2: 6}
"""Tiles that are summed at a time, by blocks of outputs."""


@dataclass(frozen=True, slots=True)
class ComplexProductRoutine:
    """What the text of the routine depends on: output blocks that are summed at a time, and the format of weights."""

    blocks: int
    halves: bool

    @property
    def hint(self) -> str:
        """Name of the routine."""
        return f"multiply_complex_{self.blocks}xN{'_half' if self.halves else ''}"

    @property
    def most(self) -> int:
        """Tiles at most."""
        return LONGEST[self.blocks]

    def add(self, library: Library) -> str:
        """The name of the routine, which is in the library then, behind what it calls."""
        library.use(PREFETCH)
        if self.halves:
            library.add("load_halves", lambda _: LOAD_HALVES)
        return library.add(self.hint, self._text, self)

    def _text(self, name: str) -> str:
        writer = Writer()
        held = registers(f"{2 * self.most * self.blocks} sums", f"{2 * self.blocks} of weights", "2 factors")
        count = f"{self.blocks} block{'s' if self.blocks > 1 else ''}"
        scale = "scale[o] * " if self.halves else ""
        apart = ", blocks of outputs `outputBlock`" if self.blocks > 1 else ""
        writer.comment(
            f"One position of up to {self.most} tiles, {count} of 16 outputs, in complex numbers: out[o][n] = {scale}"
            "sum over input channels of w[o] * x[n]. Imaginary parts stand `inputPart` and `outputPart` floats behind "
            f"real parts. Tiles are 16 floats apart, blocks of input channels `inputBlock` floats{apart}; weights are "
            "fetched `ahead` of where they are read. `tiles` is a literal in every call, so that loops are unrolled. "
            f"{held}."
        )
        element = "uint16_t" if self.halves else "float"
        parameters = [
            "const float *restrict x",
            "ptrdiff_t inputPart",
            "ptrdiff_t blocks",
            "ptrdiff_t inputBlock",
            f"const {element} *restrict w",
            *(["const float *restrict scale"] if self.halves else []),
            "ptrdiff_t ahead",
            "float *restrict out",
            "ptrdiff_t outputPart",
            *(["ptrdiff_t outputBlock"] if self.blocks > 1 else []),
            "const int tiles",
        ]
        writer.statement(f"static INLINE void {name}", parameters, " {")
        with writer.indented():
            self._write_body(writer)
        writer.line("}")
        return writer.text()

    def _write_body(self, writer: Writer) -> None:
        outputs, tiles = Unrolled("o", 0, self.blocks), Unrolled("n", 0, Name("tiles"))
        o = outputs.index
        real, imaginary = (Name(name).at(o, tiles.index) for name in ("real", "imaginary"))
        load = "load_halves" if self.halves else "_mm512_loadu_ps"
        writer.line(f"__m512 real[{self.blocks}][{self.most}], imaginary[{self.blocks}][{self.most}];")
        zeros = f"{real} = {imaginary} = _mm512_setzero_ps();"
        writer.nest([*outputs.openings, *tiles.openings], [zeros])
        with (
            writer.block("for (ptrdiff_t block = 0; block < blocks; block++, x += inputBlock)"),
            writer.block(f"for (ptrdiff_t lane = 0; lane < 16; lane++, w += {32 * self.blocks})"),
        ):
            ahead = "(const float *)w + ahead" if self.halves else "w + ahead"
            writer.line(f"prefetch_lines({ahead}, {self.blocks if self.halves else 2 * self.blocks});")
            writer.line(f"__m512 c[{self.blocks}], s[{self.blocks}]; /* parts of the weights */")
            first, second = Name("w") + o * 16, Name("w") + o * 16 + 16 * self.blocks
            loads = [f"{Name('c').at(o)} = {load}({first});", f"{Name('s').at(o)} = {load}({second});"]
            if outputs.openings:
                writer.nest(outputs.openings, loads)
            else:
                writer.nest([], [loads[0]])
                writer.nest([], [loads[1]])
            c, s = Name("c").at(o), Name("s").at(o)
            with writer.block(tiles.openings[0]):
                at = Name("x").at(tiles.index * 16 + Name("lane"))
                part = Name("x").at(Name("inputPart") + tiles.index * 16 + Name("lane"))
                writer.line(f"const __m512 a = _mm512_set1_ps({at});")
                writer.line(f"const __m512 b = _mm512_set1_ps({part});")
                for sums in (
                    [
                        f"{real} = _mm512_fmadd_ps({c}, a, {real});",
                        f"{imaginary} = _mm512_fmadd_ps({s}, a, {imaginary});",
                    ],
                    [
                        f"{real} = _mm512_fnmadd_ps({s}, b, {real});",
                        f"{imaginary} = _mm512_fmadd_ps({c}, b, {imaginary});",
                    ],
                ):
                    if outputs.openings:
                        writer.nest(outputs.openings, sums)
                    else:
                        for one in sums:
                            writer.line(one)
        scale = f"_mm512_loadu_ps({Name('scale') + o * 16})"
        place = Name("out") + o * Name("outputBlock") + tiles.index * 16
        stores = [
            f"_mm512_storeu_ps({at}, {f'_mm512_mul_ps({value}, {scale})' if self.halves else value});"
            for at, value in ((place, real), (Name("outputPart") + place, imaginary))
        ]
        stores[1] = stores[1].replace("(outputPart + out", "(out + outputPart")
        writer.nest([*outputs.openings, *tiles.openings], stores)
