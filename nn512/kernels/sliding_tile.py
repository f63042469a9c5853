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
from nn512.ir.decision import Decision
from nn512.kernels.chain import ChainCode
from nn512.kernels.tiles import BFLOAT16_TARGET, Unrolled, edge_word, registers, size, store_pairs
from nn512.plan.conv_geometry import TILE_PIXELS, Axis, PixelTile, Repeat, Run, row_tiles, span_of

UNROLLED = 32  # iterations that the macro UNROLL unrolls
SMALLEST_SWEEP = 6  # output pixels below which weights are loaded too often
WEIGHTS_IN_REGISTERS = 12  # beside 14 accumulators, an input and the permutation
MOST_ROUTINES = 8  # per layer, for tiles at the edges

IN_REGISTER = """
/* Keep a vector in its register; without this gcc loads it from memory again at each use. */
#ifdef __AVX512F__
#define IN_REGISTER(vector) __asm__("" : "+v"(vector))
#else
#define IN_REGISTER(vector) (void)(vector)
#endif
"""


class Sweeping(Decision):
    """What the loop of a tile's routine goes over."""

    COLUMNS = "a loop over columns, each of which several taps see"
    APART = "a loop over taps: no two of them see the same column"
    LONG = "a loop over taps: their weights do not fit in registers"
    UNROLLED = "a loop over taps: one over columns would be long, or of many kinds"


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
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    clipped: bool  # filter rows can fall on padding, or there are several
    sweeps: bool
    span: int
    low: int
    high: int
    runs: tuple[Run, ...]
    far: bool  # the source comes from beyond the level 2 cache: what the next row of outputs needs of it is fetched
    chain: ChainCode
    pairs: bool  # a float of the input and of the weights is a pair of bfloat16, a channel is two
    rounds: bool  # results are stored as pairs of bfloat16, of which two blocks are one

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
        words += filter(None, (self.edge, "pairs" if self.pairs else "", "to_pairs" if self.rounds else ""))
        words += ["fetching"] if self.far else []
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

    def sizes(self) -> list[str]:
        """The sizes of the layer that the routine reads."""
        channels = ["channels"] if self.spread is Spread.PERMUTED else []
        rows = ["inputRow"] if self.clipped or self.far else []
        return [*channels, *rows, *(["prefetchPixels"] if self.far else [])]

    def write(self, name: str) -> str:
        """Text of the routine."""
        writer = Writer()
        writer.comment(self._description())
        sizes = ["const Sizes *sizes"] if self.sizes() else []
        target = BFLOAT16_TARGET if self.pairs or self.rounds else ""
        writer.statement(f"static INLINE {target}void {name}", [*self.parameters(), *sizes], " {")
        with writer.indented():
            self._write_body(writer)
        writer.line("}")
        return writer.text()

    def _description(self) -> str:
        inputs = "the group's input channels and " if self.spread is Spread.PERMUTED else ""
        text = f"16 outputs at {self.pixels} neighbouring pixels: out[p] = bias + sum over {inputs}taps of w * x[p]"
        if self.pairs:
            text += ", where each of x and of w is a pair of channels as bfloat16"
        if self.permutes:
            text += "; lanes[l] is where lane l finds its group's first input"
        if self.sweeps:
            text += "; each input is read once and serves every column of the filter row"
        if self.edge:
            text += "; columns in the padding are left out"
        if self.rounds:
            text += "; out is of pairs of bfloat16"
        text += "; x is the first input inside the picture"
        if self.clipped:
            text += ", and so are filter rows top to bottom-1"
        if self.far:
            text += ". What the next row of outputs needs is prefetched, in parts that do not take long"
        taps = self.filter_w if self.sweeps else 1
        sums = f"{self.pixels} sum{'s' if self.pixels > 1 else ''}"
        lanes = (
            []
            if self.spread is Spread.SAME
            else ["1 permutation"]
            if self.spread is Spread.COPIED
            else ["2 permutations"]
        )
        text += f". {registers(sums, f'{taps} of weights', '1 of inputs', *lanes)}"
        return f"{text}."

    def _write_body(self, writer: Writer) -> None:
        pixels = Unrolled("p", 0, self.pixels)
        acc, place = Name("acc").at(pixels.index), pixels.index * 16
        writer.line(f"__m512 acc[{self.pixels}];")
        writer.nest(pixels.openings, [f"{acc} = _mm512_loadu_ps(bias);"])
        if self.permutes:
            writer.line("const __m512i own = _mm512_loadu_si512(lanes);")
        rows: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.clipped:
            rows = writer.block("for (ptrdiff_t i = top; i < bottom; i++)")
        with rows:
            self._write_row(writer)
        store = Writer()
        self.chain.apply(store, acc, ZERO, place)
        to = Name("out") + place
        store.line(store_pairs(to, acc) if self.rounds else f"_mm512_storeu_ps({to}, {acc});")
        writer.nest(pixels.openings, store.text().splitlines())

    def _write_row(self, writer: Writer) -> None:
        """Write what happens to one row of inputs."""
        step = self.filter_w * 16  # weights of a filter row for one input
        several = self.spread is Spread.PERMUTED
        i, top = Name("i"), Name("top")
        line: Expression = Name("x")
        weights: Expression = Name("w")
        if self.clipped:
            row = i * size("channels") * step if several else i * step
            line, weights = line + (i - top) * self.dilation_h * size("inputRow"), weights + row
        writer.line(f"const float *line = {line};")
        writer.line(f"const float *weights = {weights};")
        if not several:
            self._write_columns(writer)
            return
        writer.line("__m512i from = own;")
        with writer.block(f"for (ptrdiff_t c = 0; c < {size('channels')}; c++, weights += {step})"):
            writer.comment(
                "read the inputs again for each channel; without this gcc keeps a row of them and spills the sums"
            )
            writer.line('__asm__("" : "+r"(line));')
            self._write_prefetching(writer)
            self._write_columns(writer)
            writer.line("from = _mm512_add_epi32(from, _mm512_set1_epi32(1));")

    def _write_prefetching(self, writer: Writer) -> None:
        """Write what prefetches inputs of the next row of outputs, and the places of results."""
        if self.far:
            pixels = size("prefetchPixels")
            below = Name("line") + Constant(self.stride_h) * size("inputRow")
            for place in (below, Name("out")):
                writer.line(f"prefetch_lines({place + Name('c') * pixels * 16}, {pixels});")

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

    def _product(self, tap: str, acc: str | Expression) -> str:
        """A sum with the product of a weight and the input `v`."""
        if self.pairs:
            return f"_mm512_dpbf16_ps({acc}, (__m512bh){tap}, (__m512bh)v)"
        return f"_mm512_fmadd_ps({tap}, v, {acc})"

    def _write_sweep(self, writer: Writer) -> None:
        taps, stride, dilation = self.filter_w, self.stride_w, self.dilation_w
        columns = Unrolled("column", self.low, self.high)
        loop = columns.openings[0] if columns.openings else ""
        writer.line(f"__m512 tap[{taps}];")
        writer.line(f"UNROLL for (int j = 0; j < {taps}; j++) tap[j] = _mm512_loadu_ps(weights + j * 16);")
        with writer.block(loop):
            writer.line(f"__m512 v = {self._input(columns.index)};")
            writer.line("IN_REGISTER(v);")
            with writer.block(f"UNROLL for (int j = 0; j < {taps}; j++)"):
                first = columns.index - Name("j") * dilation
                if stride == 1:
                    writer.line(f"const int p = {first};")
                    product = self._product("tap[j]", "acc[p]")
                    writer.line(f"if (p >= 0 && p < {self.pixels}) acc[p] = {product};")
                else:
                    writer.line(f"const int start = {first}, p = {Name('start') // stride};")
                    with writer.loop(f"if (start >= 0 && start % {stride} == 0 && p < {self.pixels})"):
                        writer.line(f"acc[p] = {self._product('tap[j]', 'acc[p]')};")

    def _write_taps(self, writer: Writer) -> None:
        for run in self.runs:
            several = run.last - run.first > 1
            with writer.block(f"for (ptrdiff_t j = {run.first}; j < {run.last}; j++)" if several else ""):
                j, pixels = Name("j") if several else Constant(run.first), Unrolled("p", run.low, run.high)
                writer.line(f"const __m512 tap = _mm512_loadu_ps({Name('weights') + j * 16});")
                column = j * self.dilation_w + pixels.index * self.stride_w
                acc = Name("acc").at(pixels.index)
                statements = [f"const __m512 v = {self._input(column)};", f"{acc} = {self._product('tap', acc)};"]
                writer.nest(pixels.openings, statements)


def inside(axis: Axis, tile: PixelTile) -> tuple[int, int]:
    """The columns inside the picture that a tile sees, counted from the one under tap 0 of its first pixel."""
    first = tile.start * axis.stride - axis.before
    return max(0, -first), min(span_of(axis, tile.size), axis.size - first)


def sliding_tiles(axis: Axis) -> tuple[tuple[Repeat, ...], Sweeping]:
    """The tiles of a row, and whether their routines loop over input columns or over taps, and why.

    A loop over columns pays where two taps see the same column; it is unrolled, so a tile must not be too wide.
    """
    if axis.stride // math.gcd(axis.stride, axis.dilation) >= axis.taps:
        return tuple(row_tiles(axis, TILE_PIXELS)), Sweeping.APART
    if axis.taps > WEIGHTS_IN_REGISTERS:
        return tuple(row_tiles(axis, TILE_PIXELS)), Sweeping.LONG
    for limit in range(TILE_PIXELS, SMALLEST_SWEEP - 1, -1):
        tiles, sweeps = [], set()
        for repeat in row_tiles(axis, limit):
            low, high = inside(axis, repeat.tile)
            tiles.append(repeat)
            sweeps.add((repeat.tile.size, low, high))
            if span_of(axis, repeat.tile.size) > UNROLLED or len(sweeps) > MOST_ROUTINES or low >= high:
                break
        else:
            return tuple(tiles), Sweeping.COLUMNS
    return tuple(row_tiles(axis, TILE_PIXELS)), Sweeping.UNROLLED


def inputs_read(axis: Axis, tile: PixelTile, *, sweeps: bool) -> int:
    """Vectors that a tile's routine reads (and permutes) for one input channel and one filter row."""
    low, high = inside(axis, tile)
    seen = [p * axis.stride + tap * axis.dilation for p in range(tile.size) for tap in range(axis.taps)]
    columns = [column for column in seen if low <= column < high]
    return len(set(columns) if sweeps else columns)
