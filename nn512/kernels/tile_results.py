"""What all routines have in common that turn products into a tile of results, whatever the transform between."""

from __future__ import annotations

from nn512.cgen.expressions import ZERO, Name
from nn512.cgen.writer import Writer, sentence
from nn512.kernels.chain import ChainCode


def begin_results(writer: Writer, name: str, what: str, chain: ChainCode, *, ragged: bool) -> None:
    """Write the comment and the head of a routine; of a `ragged` one some results may lie outside the picture."""
    outside = "; rows x columns of them are in the picture." if ragged else "."
    writer.comment(sentence(f"{what} results, to which the bias is added{outside}"))
    parameters = [
        "const float *restrict m",
        "ptrdiff_t position",
        "const float *restrict bias",
        "float *restrict out",
        "ptrdiff_t row",
        *(["ptrdiff_t rows", "ptrdiff_t columns"] if ragged else []),
        *chain.parameters(),
    ]
    writer.statement(f"static NOINLINE void {name}", parameters, " {")


def write_results(writer: Writer, columns: int, value: str, chain: ChainCode, *, ragged: bool) -> None:
    """Write what becomes of the results of row i: of `value`, an expression in the column j, and the bias b."""
    with writer.block(f"UNROLL for (int j = 0; j < {columns}; j++)"):
        if ragged:
            writer.line("if (j == columns) break;")
        at = Name("i") * Name("row") + Name("j") * 16
        writer.line(f"__m512 sum = _mm512_add_ps(b, {value});")
        chain.apply(writer, Name("sum"), ZERO, at)
        writer.line(f"_mm512_storeu_ps({Name('out') + at}, sum);")
