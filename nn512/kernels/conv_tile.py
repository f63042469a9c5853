"""The text of a convolution's inner loops: a few blocks of outputs at a tile of pixels, accumulated in registers.

Routines are inlined into the loops over tiles of a layer's step function. As long as the loop over input lanes stays
rolled, gcc 12 and clang 14 make the same inner loops of that as of functions of their own (-O2 and -O3, times equal
within 1 % on three nets), and a layer is one function in the text and in a profile. The sizes of a layer are a constant
struct, of which nothing is left after inlining.

The number of pixels is a parameter, a literal in every call: both compilers unroll the loops over it after inlining, to
the code of literal bounds (as many multiplications and accesses to the stack in three nets). For clang that takes
`unroll(full)`; under a count of 32, as gcc wants it, loops and sums in memory remain, and nets take 1.7 times as long.

Weights that are needed next are fetched ahead, spread evenly over the tiles that share a panel. In ResNet50 on Zen 4,
3x3 at 14x14 takes 1,800 us for that instead of 1,911, and 512 -> 2048 at 7x7, whose weights come from memory, 900
instead of 1,030 (881 with weights in a cache).

So are the places where results go, and what is added to them, spread over the blocks of inputs: misses in a burst at
the end of a tile, or at its beginning, hold up everything else. 64 -> 256 at 56x56 with an addend takes 929 us for that
instead of 1,043. Where a picture is larger than the level 2 cache, the next tile's pixels are fetched as well: 256 ->
128 at 56x56 takes 1,814 us instead of 1,856.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from nn512.cgen.expressions import ZERO, Constant, Expression, Less, Name, extent, least
from nn512.cgen.writer import Writer
from nn512.kernels.chain import ChainCode
from nn512.kernels.tiles import BFLOAT16_TARGET, Unrolled, edge_word, registers, size, store_pairs
from nn512.plan.conv_geometry import Run
from nn512.plan.layout import LANES


class Channels(enum.Enum):
    """How a tile routine walks over its input channels."""

    WHOLE = "whole"  # whole blocks of 16
    TAIL = "tail"  # the last block may be partial
    PLANAR = "planar"  # one after another, each in a plane of its own or all of a pixel together
    TABLE = "table"  # a table of segments of channels says how many lanes of each block hold some
    GROUPS = "groups"  # several groups share a block of outputs: masked lanes, one group after another
    SCATTERED_GROUPS = "scattered"  # the same, and that table says where each channel stands


MASKED = (Channels.GROUPS, Channels.SCATTERED_GROUPS)

# The others have weights that are worth fetching ahead, each tile its share.
UNFETCHED = (*MASKED, Channels.PLANAR)


@dataclass(frozen=True, slots=True)
class TileRoutine:
    """What the text of a tile routine depends on; layers that agree in it share the text.

    A tile is neighbouring pixels of one row, up to `pixels` as the caller says, or so many of each of `rows` rows that
    it spans from end to end. For one row, ends of `runs` are for the most pixels, and the caller says which filter rows
    are inside the picture (if `clipped`); for several rows, `row_runs` does. The routine's x is the first input that it
    reads: row `first_row` and column `first_column`, counted from the input under filter row and column 0 for the first
    pixel.
    """

    blocks: int
    rows: int
    pixels: int
    filter_h: int
    filter_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    clipped: bool
    row_runs: tuple[Run, ...]
    runs: tuple[Run, ...]
    channels: Channels
    lanes: int  # floats from one pixel to the next
    far: bool  # the source comes from beyond the level 2 cache: the next tile's pixels are fetched
    chain: ChainCode
    prologue: ChainCode  # on the input, which is then a buffer of the tile's own
    pairs: bool  # a float of the input and of the weights is a pair of bfloat16, a channel is two
    rounds: bool  # results are stored as pairs of bfloat16, of which two blocks are one
    lone: bool  # of pairs under the last filter column only the lower one counts; weights of it are upper ones

    @property
    def first_row(self) -> int:
        """The first row of inputs that the tile reads, if it is not `clipped`."""
        return min((run.first * self.dilation_h + run.low * self.stride_h for run in self.row_runs), default=0)

    @property
    def first_column(self) -> int:
        """The first column of inputs that it reads."""
        return min((run.first * self.dilation_w + run.low * self.stride_w for run in self.runs), default=0)

    @property
    def whole(self) -> bool:
        """Whether every filter column sees every pixel."""
        ends = self.runs and (self.runs[0].first, self.runs[-1].last) == (0, self.filter_w)
        return bool(ends) and all((run.low, run.high) == (0, self.pixels) for run in self.runs)

    @property
    def edge(self) -> str:
        """Which ends of the tile hang over the picture, as part of a name."""
        left = any(run.low > 0 for run in self.runs)
        right = any(run.high < self.pixels for run in self.runs)
        return edge_word(left=left, right=right, whole=self.whole)

    @property
    def row_edge(self) -> str:
        """Which rows of the tile see padding, as part of a name."""
        above = any(run.low > 0 for run in self.row_runs)
        below = any(run.high < self.rows for run in self.row_runs)
        return "ends" if above and below else "top" if above else "bottom" if below else ""

    @property
    def hint(self) -> str:
        """Name of the routine, unless another has it."""
        stride = f"s{self.stride_w}" if self.stride_w > 1 else ""
        dilation = f"d{self.dilation_w}" if self.dilation_w > 1 else ""
        pixels = f"{self.rows}x{self.pixels}" if self.rows > 1 else "N"
        words = [f"conv{self.filter_h}x{self.filter_w}{stride}{dilation}", f"{self.blocks}x{pixels}"]
        words += filter(None, (self.edge, self.row_edge))
        words += [self._order] if self.channels is not Channels.WHOLE else []
        words += ["pairs"] if self.pairs else []
        words += ["to_pairs"] if self.rounds else []
        words += ["odd"] if self.lone else []
        words += ["fetching"] if self.far else []
        words += [f"after{self.prologue.suffix}", "then"] if self.prologue.steps else []
        return "_".join(words).removesuffix("_then" if not self.chain.steps else "") + self.chain.suffix

    @property
    def _order(self) -> str:
        """How input channels follow each other, as part of a name."""
        if self.channels is Channels.PLANAR and self.lanes > 1:
            return f"of{self.lanes}"
        return self.channels.value

    def parameters(self) -> list[str]:
        """Declarations of the parameters that change from call to call."""
        return [
            "OPERANDS",
            *(["float *restrict input", *self.prologue.parameters()] if self.prologue.steps else []),
            *self.chain.parameters(),
            *(f"ptrdiff_t {name}" for name in self.varying()),
        ]

    def varying(self) -> list[str]:
        """Names of the parameters, besides pointers, that change from call to call."""
        return [
            *(["top", "bottom"] if self.clipped else []),
            *(["k"] if self.channels in MASKED else []),
            *(["nextWeights"] if self.prefetches else []),
        ]

    @property
    def prefetches(self) -> bool:
        """Whether it prefetches the next weights and what is used after the sums."""
        return self.channels not in UNFETCHED

    def sizes(self) -> list[str]:
        """The sizes of the layer that the routine reads."""
        match self.channels:
            case Channels.WHOLE | Channels.TAIL | Channels.PLANAR:
                extents = ["channels"]
            case Channels.TABLE:
                extents = ["channels", "segments"]
            case Channels.GROUPS:
                extents = ["channels", "groups", "outputs"]
            case Channels.SCATTERED_GROUPS:
                extents = ["channels", "groups", "outputs", "segments"]
            case _:
                assert_never(self.channels)
        rows = ["inputRow"] if self.steps_rows else []
        buffer = ["bufferPlane"] if self.prologue.steps else []
        out = ["outputPlane"] if self.blocks > 1 else []
        fetched = ["prefetchShares", "prefetchPixels"] if self.prefetches else []
        return [*extents, "inputPlane", *rows, *buffer, *out, *fetched]

    @property
    def steps_rows(self) -> bool:
        """Whether the routine goes from row to row of inputs."""
        return self.clipped or self.rows > 1 or any(run.last > 1 for run in self.row_runs)

    def write(self, name: str) -> str:
        """Text of the routine."""
        writer = Writer()
        writer.comment(self._description())
        size_of_tile = ["const int pixels"] if self.rows == 1 else []
        target = BFLOAT16_TARGET if self.pairs or self.rounds else ""
        writer.statement(
            f"static INLINE {target}void {name}", [*self.parameters(), "const Sizes *sizes", *size_of_tile], " {"
        )
        with writer.indented():
            self._write_body(writer)
        writer.line("}")
        return writer.text()

    def _description(self) -> str:
        one_row = f"up to {self.pixels} neighbouring pixels"
        where = f"{self.rows} rows of {self.pixels} pixels" if self.rows > 1 else one_row
        what = f"{self.blocks} block{'s' if self.blocks > 1 else ''} of 16 outputs at {where}"
        text = f"{what}: out[o][p] = bias[o] + sum over input channels and taps of w[o] * x[p]"
        if self.pairs:
            what = "columns" if self.channels is Channels.PLANAR else "channels"
            text += f", where each of x and of w is a pair of {what} as bfloat16"
        if self.lone:
            text += "; the last column has none beside it, and the one there, perhaps a NaN, is shifted out"
        if self.channels in MASKED:
            text += "; the lanes of a group (outputs k to k+15 belong to several) see only its input channels"
        if not self.whole or self.row_edge:
            text += "; taps leave out pixels for which they fall on padding"
        if self.rounds:
            text += "; out is of pairs of bfloat16"
        if self.clipped or not self.whole or self.row_edge:
            text += "; x is the first input inside the picture"
        if self.clipped:
            text += ", and so are filter rows top to bottom-1"
        if self.far:
            text += ". The next tile's pixels are prefetched, a block of inputs at a time"
        if self.prologue.steps:
            text += (
                ". The sums are over `input`, which is computed from x first unless x is NULL. Meanwhile the next "
                "tile's pixels are prefetched: the run is too short for the hardware's prefetcher"
            )
        sums = f"{self.blocks * self.rows * self.pixels} sums"
        text += f". {registers(sums, f'{self.blocks} of weights', '1 pixel')}"
        return f"{text}."

    def _write_body(self, writer: Writer) -> None:
        loops = Unrolled("o", 0, self.blocks), Unrolled("p", 0, self._all_pixels)
        openings = [opening for loop in loops for opening in loop.openings]
        block, pixel = (loop.index for loop in loops)
        acc, element = self._sum(block, pixel), block * size("outputPlane") + pixel * 16
        writer.line(f"__m512 {self._sum(Constant(self.blocks), Constant(self.rows * self.pixels))};")
        writer.nest(openings, [f"{acc} = _mm512_loadu_ps({Name('bias') + block * 16});"])
        if self.channels in MASKED:
            self._write_groups(writer)
        elif self.channels is Channels.PLANAR:
            self._write_planes(writer)
        else:
            self._write_blocks(writer)
        store = Writer()
        self.chain.apply(store, acc, block, element)
        if self.rounds:
            store.line(store_pairs(Name("out") + block * (LANES // 2) + pixel * LANES, acc))
        else:
            store.line(f"_mm512_storeu_ps({Name('out') + element}, {acc});")
        writer.nest(openings, store.text().splitlines())

    @property
    def _all_pixels(self) -> int | Expression:
        """How many pixels the tile has."""
        return Name("pixels") if self.rows == 1 else self.rows * self.pixels

    def _sum(self, block: Expression, pixel: Expression) -> Expression:
        """The accumulator of a block of outputs at a pixel."""
        sums = Name("acc")
        return sums.at(block, pixel) if self.blocks > 1 else sums.at(pixel)

    def _write_blocks(self, writer: Writer) -> None:
        taps, step = self.filter_h * self.filter_w, extent(16, self.blocks, 16)
        if taps > 1:
            writer.line(f"enum {{ tapWeights = {step} }}; /* of one filter tap for a block of 16 inputs */")
            step = extent(self.filter_h, self.filter_w) * Name("tapWeights")
        source, plane = (Name("input"), "bufferPlane") if self.prologue.steps else (Name("x"), "inputPlane")
        c, channels = Name("c"), size("channels")
        if self.channels is Channels.TABLE:
            writer.line(f"const ptrdiff_t *segment = {size('segments')};")
            writer.line("ptrdiff_t rest = *segment; /* of the segment's channels */")
        steps = f"c += 16, {source} += {size(plane)}, w += {step}"
        with writer.block(f"for (ptrdiff_t c = 0; c < {channels}; {steps})"):
            bound: Expression = Constant(16)
            if self.channels is not Channels.WHOLE:
                table = self.channels is Channels.TABLE
                bound = Name("lanes")
                writer.line(f"const ptrdiff_t {bound} = {least(Name('rest') if table else channels - c, 16)};")
                if table:
                    writer.line("rest = rest > 16 ? rest - 16 : *++segment;")
            if self.prologue.steps:
                self._write_prologue(writer)
            self._write_prefetching(writer)
            for tap in self._each_tap(writer, source, Name("w")):
                writer.line(f"const float *pixel = {tap.pixel};")
                writer.line(f"const float *tap = {tap.weights};")
                shares = size("prefetchShares")
                lines = (extent(16, self.blocks) + shares - 1) // shares
                writer.line(f"prefetch_lines({Name('tap') + Name('nextWeights')}, {lines});")
                step_lane = f"lane++, pixel++, tap += {16 * self.blocks}"
                with writer.block(f"ROLLED for (ptrdiff_t lane = 0; lane < {bound}; {step_lane})"):
                    self._write_multiply(writer, tap)

    def _write_prefetching(self, writer: Writer) -> None:
        """Write what prefetches, of all that is needed after this block of inputs, a part that does not take long."""
        if self.far:
            writer.line(f"prefetch_lines({Name('x') + Name('pixels') * 16}, pixels);")
        outputs, pixels = Unrolled("o", 0, self.blocks), size("prefetchPixels")
        place = outputs.index * size("outputPlane") + Name("c") * pixels
        end = Name("pixels") * 16 if self.rows == 1 else extent(self.rows * self.pixels, 16)
        condition = f"if ({Less(Name('c') * pixels, end)})"
        read = self.chain.streams if self.rounds else ("out", *self.chain.streams)
        calls = [f"prefetch_lines({Name(pointer) + place}, {pixels});" for pointer in read]
        if self.rounds:
            writer.nest([condition], [f"prefetch_lines({Name('out') + Name('c') * pixels}, {pixels});"])
        if calls:
            writer.nest([condition, *outputs.openings], calls)

    def _write_prologue(self, writer: Writer) -> None:
        """Write what fills the input buffer for one block of inputs."""
        block, pixels = Name("c") // 16, Unrolled("p", 0, Name("pixels"))
        place = pixels.index * 16
        steps = Writer()
        steps.line(f"const float *raw = {Name('x') + block * size('inputPlane') + place};")
        steps.line(f"prefetch_lines({Name('raw') + Name('pixels') * 16}, 1);")
        steps.line("__m512 v = _mm512_loadu_ps(raw);")
        self.prologue.apply(steps, Name("v"), block, ZERO)
        steps.line(f"_mm512_storeu_ps({Name('input') + place}, v);")
        writer.nest([f"if ({Name('x')})", *pixels.openings], steps.text().splitlines())

    def _write_planes(self, writer: Writer) -> None:
        taps, step = self.filter_h * self.filter_w, extent(16, self.blocks)
        if taps > 1:
            writer.line(f"enum {{ tapWeights = {step} }}; /* of one filter tap for one input channel */")
            step = extent(self.filter_h, self.filter_w) * Name("tapWeights")
        loop = f"ROLLED for (ptrdiff_t c = 0; c < {size('channels')}; c++, x += {size('inputPlane')}, w += {step})"
        with writer.block(loop):
            for tap in self._each_tap(writer, Name("x"), Name("w")):
                writer.line(f"const float *pixel = {tap.pixel};")
                writer.line(f"const float *tap = {tap.weights};")
                if self.filter_w > 1:
                    writer.line(
                        '__asm__("" : "+r"(pixel)); /* without this gcc keeps pixels from tap to tap and spills */'
                    )
                self._write_multiply(writer, tap)

    def _write_groups(self, writer: Writer) -> None:
        outputs, inputs = size("outputs"), size("channels")
        opening = (
            f"for (ptrdiff_t group = k / {outputs}; group < {size('groups')} && group * {outputs} < k + 16; group++)"
        )
        several = self.filter_h * self.filter_w > 1
        if several:
            step = "" if self._first_tap_alone else ", tapWeights = lanes * 16"
            writer.line(f"const ptrdiff_t lanes = {least(inputs, 16)}{step}; /* input lanes in a block of weights */")
        with writer.block(opening):
            writer.line(f"const ptrdiff_t begin = group * {outputs} - k, end = begin + {outputs};")
            writer.line("const ptrdiff_t low = begin > 0 ? begin : 0, high = end < 16 ? end : 16;")
            writer.line("const __mmask16 mask = (__mmask16)((1u << high) - (1u << low));")
            with writer.block(f"ROLLED for (ptrdiff_t c = 0; c < {inputs}; c++)"):
                writer.line(f"const ptrdiff_t channel = group * {inputs} + c;")
                block, lane = Name("channel") // 16, Name("channel") % 16
                if self.channels is Channels.SCATTERED_GROUPS:
                    writer.line(f"const ptrdiff_t place = position({size('segments')}, channel);")
                    block, lane = Name("place") // 16, Name("place") % 16
                writer.line(f"const float *source = {Name('x') + block * size('inputPlane') + lane};")
                c, lanes = Name("c"), Name("lanes")
                position = c // lanes * self.filter_h * self.filter_w * lanes + c % lanes if several else c
                writer.line(f"const float *weights = {Name('w') + position * 16};")
                for tap in self._each_tap(writer, Name("source"), Name("weights")):
                    writer.line(f"const float *pixel = {tap.pixel};")
                    writer.line(f"const float *tap = {tap.weights};")
                    self._write_multiply(writer, tap)

    @property
    def _first_tap_alone(self) -> bool:
        """Whether no other tap than that of the first row and column falls on the picture."""
        return not self.clipped and all(run.last <= 1 for run in (*self.row_runs, *self.runs))

    def _each_tap(self, writer: Writer, pixel: Expression, weights: Expression) -> Iterator[_Tap]:
        """Write the loops over filter rows and columns; gives what is inside each."""
        for row_run in self.row_runs or (Run(0, 0, 0, 1),):
            rows: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
            i: Expression = Constant(row_run.first)
            if self.clipped:
                rows, i = writer.block("for (ptrdiff_t i = top; i < bottom; i++)"), Name("i")
            elif row_run.last - row_run.first > 1:
                rows, i = writer.block(f"for (ptrdiff_t i = {row_run.first}; i < {row_run.last}; i++)"), Name("i")
            alone = len(self.runs) == 1 and (isinstance(i, Name) or len(self.row_runs) <= 1)
            with rows:
                for run in self.runs:
                    columns, j = self._columns(writer, run, i, alone=alone)
                    with columns:
                        row = i * self.dilation_h + (row_run.low * self.stride_h - self.first_row)
                        if self.clipped:
                            row = (i - Name("top")) * self.dilation_h
                        column = j * self.dilation_w + (run.low * self.stride_w - self.first_column)
                        place = row * size("inputRow") + column * self.lanes
                        tap: Expression = ZERO
                        if self.filter_h * self.filter_w > 1:
                            tap = (i * self.filter_w + j) * Name("tapWeights")
                        yield _Tap(pixel.offset(place), weights.offset(tap), row_run, run)

    def _columns(
        self, writer: Writer, run: Run, i: Expression, *, alone: bool
    ) -> tuple[contextlib.AbstractContextManager[None], Expression]:
        """What is written around the taps of a run, and the filter column inside. `alone`: nothing else is in scope."""
        if run.last - run.first > 1:
            return writer.block(f"for (ptrdiff_t j = {run.first}; j < {run.last}; j++)"), Name("j")
        j = Constant(run.first)
        if alone:
            return contextlib.nullcontext(), j
        return writer.block(note=f"filter column {j}" if isinstance(i, Name) else f"filter row {i}, column {j}"), j

    def _write_multiply(self, writer: Writer, tap: _Tap) -> None:
        kind, cast = ("__m512bh", "(__m512bh)") if self.pairs else ("__m512", "")
        for o in range(self.blocks):
            writer.line(f"const {kind} w{o} = {cast}_mm512_loadu_ps({Name('tap') + 16 * o});")
        high = Name("pixels") - (self.pixels - tap.run.high) if self.rows == 1 else tap.run.high
        pixels, rows = Unrolled("p", tap.run.low, high), Unrolled("r", tap.row_run.low, tap.row_run.high)
        pixel = (pixels.index - tap.run.low) * (self.lanes * self.stride_w)
        element = pixels.index
        if self.rows > 1:
            pixel = (rows.index - tap.row_run.low) * self.stride_h * size("inputRow") + pixel
            element = rows.index * self.pixels + element
        spread = f"_mm512_set1_ps({Name('pixel').at(pixel)})"
        if self.pairs:  # clang 16 crashes on a set1_ps of which it sees that it becomes bfloat16
            spread = f"_mm512_broadcastss_ps(_mm_load_ss({Name('pixel').offset(pixel)}))"
        if self.lone and tap.run.last == self.filter_w:
            statements = [
                f"const __m512i both = _mm512_castps_si512({spread});",
                f"const {kind} xp = {cast}_mm512_castsi512_ps(_mm512_slli_epi32(both, 16));",
            ]
        else:
            statements = [f"const {kind} xp = {cast}{spread};"]
        for o in range(self.blocks):
            acc = self._sum(Constant(o), element)
            if self.channels in MASKED:
                statements.append(f"{acc} = _mm512_mask3_fmadd_ps(w{o}, xp, {acc}, mask);")
            elif self.pairs:
                statements.append(f"{acc} = _mm512_dpbf16_ps({acc}, w{o}, xp);")
            else:
                statements.append(f"{acc} = _mm512_fmadd_ps(w{o}, xp, {acc});")
        writer.nest([*(rows.openings if self.rows > 1 else []), *pixels.openings], statements)


class _Tap(NamedTuple):
    """Inside the loops over taps: where the first pixel and the weights are, and which pixels take part."""

    pixel: Expression
    weights: Expression
    row_run: Run
    run: Run
