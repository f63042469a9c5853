"""The text of the inner loops of grouped and depthwise convolutions: one block of outputs at a tile of pixels.

The inputs of a lane's own group are brought into that lane by a permutation of the vector of the one input block that
the output block sees. Loading and permuting cost as much as arithmetic, so an input vector serves all taps that see it:
the loop runs over input columns, and each is multiplied by up to `filter_w` weights held in registers. Columns in the
padding are left out of the loop.
"""

from __future__ import annotations

import contextlib
import enum
import math
from dataclasses import dataclass
from typing import assert_never

from nn512.cgen.expressions import ZERO, Constant, Expression, Name
from nn512.cgen.writer import Writer
from nn512.kernels.chain import Chain
from nn512.kernels.tiles import edge_word
from nn512.plan.conv_geometry import TILE_PIXELS, Axis, PixelTile, Repeat, Run, row_tiles, span_of

UNROLLED = 32  # iterations that the macro UNROLL unrolls
SMALLEST_SWEEP = 6  # output pixels below which weights are loaded too often
WEIGHTS_IN_REGISTERS = 12  # beside 14 accumulators, an input and the permutation
MOST_ROUTINES = 8  # per layer, for tiles at the edges

IN_REGISTER = """
/* Keeps a vector in its register: gcc would rather read memory again at each use. */
#ifdef __AVX512F__
#define IN_REGISTER(vector) __asm__("" : "+v"(vector))
#else
#define IN_REGISTER(vector) (void)(vector)
#endif
"""


class Spread(enum.Enum):
    """How the inputs of a group come into the lanes of its outputs."""

    SAME = "depthwise"  # each lane is its own group
    COPIED = "multiplied"  # a group has one input and several outputs: a permutation copies it
    PERMUTED = "grouped"  # a group has 2, 4 or 8 inputs: one permutation for each


@dataclass(frozen=True, slots=True)
class SlidingTile:
    """What the text of a tile routine depends on; layers that agree in it share the text.

    Columns are counted from the one under the first tap of the first pixel; there are `span`, and `low` to `high`-1 are
    inside the picture. A loop over them `sweeps` the row; otherwise `runs` say which taps see which pixels, and every
    tap reads its inputs for itself (where no two taps see the same column).
    """

    spread: Spread
    pixels: int
    filter_h: int
    filter_w: int
    stride_w: int
    dilation_w: int
    clipped: bool  # filter rows can fall on padding, or there are several
    sweeps: bool
    span: int
    low: int
    high: int
    runs: tuple[Run, ...]
    far: bool  # the source comes from beyond the level 2 cache: what the next row of outputs needs of it is fetched
    chain: Chain

    @property
    def edge(self) -> str:
        """Which ends of the tile hang over the picture, as part of a name."""
        left = self.low > 0 if self.sweeps else any(run.low > 0 for run in self.runs)
        right = self.high < self.span if self.sweeps else any(run.high < self.pixels for run in self.runs)
        whole = self.sweeps or self.runs == (Run(0, self.filter_w, 0, self.pixels),)
        return edge_word(left=left, right=right, whole=whole)

    @property
    def hint(self) -> str:
        """Name of the routine, unless another has it."""
        stride = f"s{self.stride_w}" if self.stride_w > 1 else ""
        dilation = f"d{self.dilation_w}" if self.dilation_w > 1 else ""
        words = [f"{self.spread.value}{self.filter_h}x{self.filter_w}{stride}{dilation}", str(self.pixels)]
        words += filter(None, (self.edge, "far" if self.far else ""))
        return "_".join(words) + self.chain.suffix

    @property
    def permutes(self) -> bool:
        """Whether the routine takes a permutation."""
        return self.spread is not Spread.SAME

    def parameters(self) -> list[str]:
        """Declarations of the parameters that change from call to call."""
        return [
            "OPERANDS",
            *self.chain.parameters(),
            *(["ptrdiff_t top", "ptrdiff_t bottom"] if self.clipped else []),
            *(["const int *lanes"] if self.permutes else []),
        ]

    def constants(self) -> list[str]:
        """Names of the parameters that are constants of the layer."""
        channels = ["channels"] if self.spread is Spread.PERMUTED else []
        return [*channels, *(["row"] if self.clipped else []), *(["down", "soon"] if self.far else [])]

    def write(self, name: str) -> str:
        """Text of the routine."""
        writer = Writer()
        writer.comment(self._description())
        writer.statement(
            f"static INLINE void {name}",
            [*self.parameters(), *(f"ptrdiff_t {name}" for name in self.constants())],
            " {",
        )
        with writer.indented():
            self._write_body(writer)
        writer.line("}")
        return writer.text()

    def _description(self) -> str:
        inputs = "the group's input channels and " if self.spread is Spread.PERMUTED else ""
        text = f"16 outputs at {self.pixels} neighbouring pixels: out[p] = bias + sum over {inputs}taps of w * x[p]"
        if self.permutes:
            text += "; lanes[l] is where lane l finds its group's first input"
        if self.sweeps:
            text += "; each input is read once and serves every column of the filter row"
        if self.edge:
            text += "; columns in the padding are left out"
        text += "; x is the first input inside the picture"
        if self.clipped:
            text += ", and so are filter rows top to bottom-1"
        if self.far:
            text += ". What the next row of outputs needs is fetched, in parts that do not take long"
        return f"{text}."

    def _write_body(self, writer: Writer) -> None:
        writer.line(f"__m512 acc[{self.pixels}];")
        writer.line(f"UNROLL for (int p = 0; p < {self.pixels}; p++) acc[p] = _mm512_loadu_ps(bias);")
        if self.permutes:
            writer.line("const __m512i own = _mm512_loadu_si512(lanes);")
        rows: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.clipped:
            rows = writer.block("for (ptrdiff_t i = top; i < bottom; i++)")
        with rows:
            self._write_row(writer)
        store = Writer()
        self.chain.apply(store, Name("acc").at(Name("p")), ZERO, Name("p") * 16)
        store.line("_mm512_storeu_ps(out + p * 16, acc[p]);")
        statements = store.text().splitlines()
        opening = f"UNROLL for (int p = 0; p < {self.pixels}; p++)"
        if len(statements) == 1:
            writer.line(f"{opening} {statements[0]}")
            return
        with writer.block(opening):
            for statement in statements:
                writer.line(statement)

    def _write_row(self, writer: Writer) -> None:
        """Write what happens to one row of inputs."""
        step = self.filter_w * 16  # weights of a filter row for one input
        several = self.spread is Spread.PERMUTED
        row = Name("i") * Name("channels") * step if several else Name("i") * step
        line = Name("x") + (Name("i") - Name("top")) * Name("row") if self.clipped else Name("x")
        writer.line(f"const float *line = {line};")
        writer.line(f"const float *weights = {Name('w') + row if self.clipped else Name('w')};")
        if not several:
            self._write_columns(writer)
            return
        writer.line("__m512i from = own;")
        with writer.block(f"for (ptrdiff_t c = 0; c < channels; c++, weights += {step})"):
            writer.comment("inputs are read anew for each channel: a row of them would not fit beside the sums")
            writer.line('__asm__("" : "+r"(line));')
            self._write_soon(writer)
            self._write_columns(writer)
            writer.line("from = _mm512_add_epi32(from, _mm512_set1_epi32(1));")

    def _write_soon(self, writer: Writer) -> None:
        """Write what fetches inputs of the next row of outputs, and the places of results."""
        if self.far:
            with writer.block("UNROLL for (ptrdiff_t p = 0; p < soon; p++)"):
                for pointer in ("line + down", "out"):
                    writer.line(f"_mm_prefetch((const char *)({pointer} + (c * soon + p) * 16), _MM_HINT_T0);")

    def _write_columns(self, writer: Writer) -> None:
        if self.sweeps:
            self._write_sweep(writer)
        else:
            self._write_taps(writer)

    def _input(self, column: Expression) -> str:
        loaded = f"_mm512_loadu_ps({Name('line') + (column - self.low) * 16})"
        match self.spread:
            case Spread.SAME:
                return loaded
            case Spread.COPIED:
                return f"_mm512_permutexvar_ps(own, {loaded})"
            case Spread.PERMUTED:
                return f"_mm512_permutexvar_ps(from, {loaded})"
            case _:
                assert_never(self.spread)

    def _write_sweep(self, writer: Writer) -> None:
        taps, stride, dilation = self.filter_w, self.stride_w, self.dilation_w
        writer.line(f"__m512 tap[{taps}];")
        writer.line(f"UNROLL for (int j = 0; j < {taps}; j++) tap[j] = _mm512_loadu_ps(weights + j * 16);")
        with writer.block(f"UNROLL for (int column = {self.low}; column < {self.high}; column++)"):
            writer.line(f"__m512 v = {self._input(Name('column'))};")
            writer.line("IN_REGISTER(v);")
            with writer.block(f"UNROLL for (int j = 0; j < {taps}; j++)"):
                first = Name("column") - Name("j") * dilation
                if stride == 1:
                    writer.line(f"const int p = {first};")
                    writer.line(f"if (p >= 0 && p < {self.pixels}) acc[p] = _mm512_fmadd_ps(tap[j], v, acc[p]);")
                else:
                    writer.line(f"const int start = {first}, p = {Name('start') // stride};")
                    with writer.loop(f"if (start >= 0 && start % {stride} == 0 && p < {self.pixels})"):
                        writer.line("acc[p] = _mm512_fmadd_ps(tap[j], v, acc[p]);")

    def _write_taps(self, writer: Writer) -> None:
        for run in self.runs:
            several = run.last - run.first > 1
            with writer.block(f"for (ptrdiff_t j = {run.first}; j < {run.last}; j++)" if several else ""):
                j = Name("j") if several else Constant(run.first)
                writer.line(f"const __m512 tap = _mm512_loadu_ps({Name('weights') + j * 16});")
                with writer.block(f"UNROLL for (int p = {run.low}; p < {run.high}; p++)"):
                    writer.line(f"const ptrdiff_t column = {j * self.dilation_w + Name('p') * self.stride_w};")
                    writer.line(f"const __m512 v = {self._input(Name('column'))};")
                    writer.line("acc[p] = _mm512_fmadd_ps(tap, v, acc[p]);")


def inside(axis: Axis, tile: PixelTile) -> tuple[int, int]:
    """The columns inside the picture that a tile sees, counted from the one under tap 0 of its first pixel."""
    first = tile.start * axis.stride - axis.padding
    return max(0, -first), min(span_of(axis, tile.size), axis.size - first)


def sliding_tiles(axis: Axis) -> tuple[tuple[Repeat, ...], bool]:
    """The tiles of a row, and whether their routines loop over input columns or over taps.

    A loop over columns pays where two taps see the same column; it is unrolled, so a tile must not be too wide.
    """
    shared = axis.stride // math.gcd(axis.stride, axis.dilation) < axis.taps <= WEIGHTS_IN_REGISTERS
    for limit in range(TILE_PIXELS, SMALLEST_SWEEP - 1, -1) if shared else ():
        tiles, sweeps = [], set()
        for repeat in row_tiles(axis, limit):
            low, high = inside(axis, repeat.tile)
            tiles.append(repeat)
            sweeps.add((repeat.tile.size, low, high))
            if span_of(axis, repeat.tile.size) > UNROLLED or len(sweeps) > MOST_ROUTINES or low >= high:
                break
        else:
            return tuple(tiles), True
    return tuple(row_tiles(axis, TILE_PIXELS)), False


def inputs_read(axis: Axis, tile: PixelTile, *, sweeps: bool) -> int:
    """Vectors that a tile's routine reads (and permutes) for one input channel and one filter row."""
    low, high = inside(axis, tile)
    seen = [p * axis.stride + tap * axis.dilation for p in range(tile.size) for tap in range(axis.taps)]
    columns = [column for column in seen if low <= column < high]
    return len(set(columns) if sweeps else columns)
