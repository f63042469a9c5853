"""The text of a convolution's inner loops: a few blocks of outputs at a tile of pixels, accumulated in registers.

Routines are inlined into the loops over tiles of a layer's step function. As long as the loop over input lanes stays
rolled, gcc 12 and clang 14 make the same inner loops of that as of functions of their own (-O2 and -O3, times equal
within 1 % on three nets), and a layer is one function in the text and in a profile.

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

from nn512.cgen.expressions import ZERO, Constant, Expression, Name, extent, sum_of
from nn512.cgen.writer import Writer
from nn512.kernels.chain import Chain
from nn512.kernels.tiles import edge_word, write_tap_bounds
from nn512.plan.conv_geometry import Run


class Channels(enum.Enum):
    """How a tile routine walks over its input channels."""

    FULL = "full"  # whole blocks of 16
    TAIL = "tail"  # the last block may be partial
    PLANAR = "planar"  # one after another, each in a plane of its own
    TABLE = "table"  # a table of segments of channels says how many lanes of each block hold some
    GROUPS = "groups"  # several groups share a block of outputs: masked lanes, one group after another
    SCATTERED_GROUPS = "scattered"  # the same, and that table says where each channel stands


MASKED = (Channels.GROUPS, Channels.SCATTERED_GROUPS)

# The others have weights that are worth fetching ahead, each tile its share.
UNFETCHED = (*MASKED, Channels.PLANAR)


@dataclass(frozen=True, slots=True)
class TileRoutine:
    """What the text of a tile routine depends on; layers that agree in it share the text.

    A tile is `pixels` neighbouring pixels of one row, or of each of `rows` rows that it spans from end to end. For one
    row the caller says which filter rows are inside the picture (if `clipped`); for several, `row_runs` does.
    """

    blocks: int
    rows: int
    pixels: int
    filter_h: int
    filter_w: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    clipped: bool
    padded: bool  # x + at, where filter row and column 0 would be, may lie outside the picture
    row_runs: tuple[Run, ...]
    runs: tuple[Run, ...]
    channels: Channels
    far: bool  # the source comes from beyond the level 2 cache: the next tile's pixels are fetched
    chain: Chain
    prologue: Chain  # on the input, which is then a buffer of the tile's own

    @property
    def whole(self) -> bool:
        """Whether every filter column sees every pixel."""
        return self.runs == (Run(0, self.filter_w, 0, self.pixels),)

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
    def lanes(self) -> int:
        """Floats from one pixel to the next."""
        return 1 if self.channels is Channels.PLANAR else 16

    @property
    def hint(self) -> str:
        """Name of the routine, unless another has it."""
        stride = f"s{self.stride_w}" if self.stride_w > 1 else ""
        dilation = f"d{self.dilation_w}" if self.dilation_w > 1 else ""
        rows = f"x{self.rows}" if self.rows > 1 else ""
        words = [f"conv{self.filter_h}x{self.filter_w}{stride}{dilation}", f"{self.blocks}{rows}x{self.pixels}"]
        words += filter(None, (self.edge, self.row_edge))
        words += [self.channels.value] if self.channels is not Channels.FULL else []
        words += ["far"] if self.far else []
        words += [f"after{self.prologue.suffix}", "then"] if self.prologue.steps else []
        return "_".join(words).removesuffix("_then" if not self.chain.steps else "") + self.chain.suffix

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
            *(["at"] if self.padded else []),
            *(["origin"] if self.clipped else []),
            *(["k"] if self.channels in MASKED else []),
            *(["ahead"] if self.channels not in UNFETCHED else []),
        ]

    def constants(self) -> list[str]:
        """Names of the parameters that are constants of the layer."""
        match self.channels:
            case Channels.FULL | Channels.TAIL | Channels.PLANAR:
                extent = ["channels"]
            case Channels.TABLE:
                extent = ["channels", "segments"]
            case Channels.GROUPS:
                extent = ["groups", "inputs", "outputs"]
            case Channels.SCATTERED_GROUPS:
                extent = ["groups", "inputs", "outputs", "segments"]
            case _:
                assert_never(self.channels)
        rows = ["row"] if self.steps_rows else []
        down = ["down"] if self.rows > 1 else ["height"] if self.clipped else []
        out = ["outPlane"] if self.blocks > 1 else []
        fetched = [] if self.channels in UNFETCHED else ["fetched", "soon"]
        return [*extent, "plane", *rows, *down, *out, *fetched, *(["xPlane"] if self.prologue.steps else [])]

    @property
    def steps_rows(self) -> bool:
        """Whether the routine goes from filter row to filter row."""
        return self.clipped or any(run.last > 1 for run in self.row_runs)

    def write(self, name: str) -> str:
        """Text of the routine."""
        writer = Writer()
        writer.comment(self._description())
        writer.statement(f"static INLINE void {name}", [*self.parameters(), *map(_declared, self.constants())], " {")
        with writer.indented():
            self._write_body(writer)
        writer.line("}")
        return writer.text()

    def _description(self) -> str:
        where = f"{self.rows} rows of {self.pixels} pixels" if self.rows > 1 else f"{self.pixels} neighbouring pixels"
        what = f"{self.blocks} block{'s' if self.blocks > 1 else ''} of 16 outputs at {where}"
        text = f"{what}: out[o][p] = bias[o] + sum over input channels and taps of w[o] * x[p]"
        if self.channels in MASKED:
            text += "; the lanes of a group (outputs k to k+15 belong to several) see only its input channels"
        if not self.whole or self.row_edge:
            text += "; taps leave out pixels for which they fall on padding"
        if self.padded:
            text += "; filter row 0 and column 0 are at x + at for the first pixel"
        if self.clipped:
            text += "; origin is the row of the picture under filter row 0"
        if self.far:
            text += ". The next tile's pixels are fetched, a block of inputs at a time"
        if self.prologue.steps:
            text += (
                ". The sums are over input, which is first computed from x if there is one; the next tile's pixels "
                "are fetched then, as they are too short a run for the hardware to see it"
            )
        return f"{text}."

    def _write_body(self, writer: Writer) -> None:
        blocks, pixels = self.blocks, self.rows * self.pixels
        if self.clipped:
            write_tap_bounds(writer, Name("height"), self.filter_h, self.dilation_h)
        block = Name("o") if blocks > 1 else ZERO
        acc, element = self._sum(block, Name("p")), block * Name("outPlane") + Name("p") * 16
        writer.line(f"__m512 {self._sum(Constant(blocks), Constant(pixels))};")
        self._each(writer, [f"{acc} = _mm512_loadu_ps({Name('bias') + block * 16});"])
        if self.channels in MASKED:
            self._write_groups(writer)
        elif self.channels is Channels.PLANAR:
            self._write_planes(writer)
        else:
            self._write_blocks(writer)
        store = Writer()
        self.chain.apply(store, acc, block, element)
        store.line(f"_mm512_storeu_ps({Name('out') + element}, {acc});")
        self._each(writer, store.text().splitlines())

    def _sum(self, block: Expression, pixel: Expression) -> Expression:
        """The accumulator of a block of outputs at a pixel."""
        sums = Name("acc")
        return sums.at(block, pixel) if self.blocks > 1 else sums.at(pixel)

    def _each(self, writer: Writer, statements: list[str]) -> None:
        """Write statements for every accumulator."""
        inner = f"UNROLL for (int p = 0; p < {self.rows * self.pixels}; p++)"
        outer = f"UNROLL for (int o = 0; o < {self.blocks}; o++)"
        with writer.loop(outer) if self.blocks > 1 else contextlib.nullcontext():
            if len(statements) == 1:
                writer.line(f"{inner} {statements[0]}")
                return
            with writer.block(inner):
                for statement in statements:
                    writer.line(statement)

    def _write_blocks(self, writer: Writer) -> None:
        taps, step = self.filter_h * self.filter_w, extent(16, self.blocks, 16)
        if taps > 1:
            writer.line(f"enum {{ tapWeights = {step} }}; /* of one filter tap for a block of 16 inputs */")
            step = extent(self.filter_h, self.filter_w) * Name("tapWeights")
        source = Name("input" if self.prologue.steps else "x")
        if self.channels is Channels.TABLE:
            writer.line("ptrdiff_t rest = *segments; /* of the segment's channels; a 0 ends the table */")
        with writer.block(f"for (ptrdiff_t c = 0; c < channels; c += 16, {source} += plane, w += {step})"):
            bound = "16"
            if self.channels is not Channels.FULL:
                left = "rest" if self.channels is Channels.TABLE else "channels - c"
                writer.line(f"const ptrdiff_t lanes = {left} < 16 ? {left} : 16;")
                if self.channels is Channels.TABLE:
                    writer.line("rest = rest > 16 ? rest - 16 : *++segments;")
                bound = "lanes"
            if self.prologue.steps:
                self._write_prologue(writer)
            self._write_soon(writer)
            for tap in self._each_tap(writer, source, Name("w")):
                writer.line(f"const float *pixel = {tap.pixel};")
                writer.line(f"const float *tap = {tap.weights};")
                with writer.loop("UNROLL for (ptrdiff_t line = 0; line < fetched; line++)"):
                    writer.line("_mm_prefetch((const char *)(tap + ahead + line * 16), _MM_HINT_T0);")
                step_lane = f"lane++, pixel++, tap += {16 * self.blocks}"
                with writer.block(f"for (ptrdiff_t lane = 0; lane < {bound}; {step_lane})"):
                    self._write_multiply(writer, tap)

    def _write_soon(self, writer: Writer) -> None:
        """Write what fetches, of all that is needed after this block of inputs, a part that does not take long."""
        if self.far:
            with writer.loop(f"UNROLL for (int p = 0; p < {self.pixels}; p++)"):
                writer.line(f"_mm_prefetch((const char *)(x + {self.pixels} * 16 + p * 16), _MM_HINT_T0);")
        block: Expression = ZERO
        loops = ["UNROLL for (ptrdiff_t p = 0; p < soon; p++)"]
        if self.blocks > 1:
            block = Name("o")
            loops.insert(0, f"UNROLL for (int o = 0; o < {self.blocks}; o++)")
        place = block * Name("outPlane") + Name("c") * Name("soon") + Name("p") * 16
        pointers = ("out", *self.chain.addends)
        with contextlib.ExitStack() as stack:
            for opening in (f"if (c * soon < {self.rows * self.pixels} * 16)", *loops[:-1]):
                stack.enter_context(writer.loop(opening))
            stack.enter_context(writer.block(loops[-1]) if len(pointers) > 1 else writer.loop(loops[-1]))
            for pointer in pointers:
                writer.line(f"_mm_prefetch((const char *)({Name(pointer) + place}), _MM_HINT_T0);")

    def _write_prologue(self, writer: Writer) -> None:
        """Write what fills the input buffer for one block of inputs."""
        with writer.loop("if (x)"), writer.block(f"UNROLL for (int p = 0; p < {self.pixels}; p++)"):
            writer.line("const float *raw = x + c / 16 * xPlane + p * 16;")
            writer.line(f"_mm_prefetch((const char *)(raw + {self.pixels} * 16), _MM_HINT_T0);")
            writer.line("__m512 v = _mm512_loadu_ps(raw);")
            self.prologue.apply(writer, Name("v"), Name("c") // 16, ZERO)
            writer.line("_mm512_storeu_ps(input + p * 16, v);")

    def _write_planes(self, writer: Writer) -> None:
        taps, step = self.filter_h * self.filter_w, extent(16, self.blocks)
        if taps > 1:
            writer.line(f"enum {{ tapWeights = {step} }}; /* of one filter tap for one input channel */")
            step = extent(self.filter_h, self.filter_w) * Name("tapWeights")
        with writer.block(f"for (ptrdiff_t c = 0; c < channels; c++, x += plane, w += {step})"):
            for tap in self._each_tap(writer, Name("x"), Name("w")):
                writer.line(f"const float *pixel = {tap.pixel};")
                writer.line(f"const float *tap = {tap.weights};")
                if self.filter_w > 1:
                    writer.line('__asm__("" : "+r"(pixel)); /* or gcc would keep pixels from tap to tap, and spill */')
                self._write_multiply(writer, tap)

    def _write_groups(self, writer: Writer) -> None:
        opening = "for (ptrdiff_t group = k / outputs; group < groups && group * outputs < k + 16; group++)"
        several = self.filter_h * self.filter_w > 1
        if several:
            note = "/* input lanes in a block of weights */"
            writer.line(f"const ptrdiff_t lanes = inputs < 16 ? inputs : 16, tapWeights = lanes * 16; {note}")
        with writer.block(opening):
            writer.line("const ptrdiff_t low = group * outputs > k ? group * outputs - k : 0;")
            end = "(group + 1) * outputs"
            writer.line(f"const ptrdiff_t high = {end} < k + 16 ? {end} - k : 16;")
            writer.line("const __mmask16 mask = (__mmask16)((1u << high) - (1u << low));")
            with writer.block("for (ptrdiff_t c = 0; c < inputs; c++)"):
                writer.line("const ptrdiff_t channel = group * inputs + c;")
                block, lane = Name("channel") // 16, Name("channel") % 16
                if self.channels is Channels.SCATTERED_GROUPS:
                    writer.line("const ptrdiff_t place = position(segments, channel);")
                    block, lane = Name("place") // 16, Name("place") % 16
                writer.line(f"const float *source = {Name('x') + block * Name('plane') + lane};")
                c, lanes = Name("c"), Name("lanes")
                position = c // lanes * self.filter_h * self.filter_w * lanes + c % lanes if several else c
                writer.line(f"const float *weights = {Name('w') + position * 16};")
                for tap in self._each_tap(writer, Name("source"), Name("weights")):
                    writer.line(f"const float *pixel = {tap.pixel};")
                    writer.line(f"const float *tap = {tap.weights};")
                    self._write_multiply(writer, tap)

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
                        place = sum_of(
                            *([Name("at")] if self.padded else []),
                            i * Name("row"),
                            Constant(row_run.low) * Name("down"),
                            j * (self.dilation_w * self.lanes),
                            run.low * self.stride_w * self.lanes,
                        )
                        tap: Expression = ZERO
                        if self.filter_h * self.filter_w > 1:
                            tap = sum_of(i * self.filter_w, j) * Name("tapWeights")
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
        for o in range(self.blocks):
            writer.line(f"const __m512 w{o} = _mm512_loadu_ps({Name('tap') + 16 * o});")
        run, row_run = tap.run, tap.row_run
        loops = [f"UNROLL for (int p = {run.low}; p < {run.high}; p++)"]
        r, p = Name("r"), Name("p")
        pixel: Expression = (p - run.low) * (self.lanes * self.stride_w)
        element: Expression = p
        if self.rows > 1:
            loops.insert(0, f"UNROLL for (int r = {row_run.low}; r < {row_run.high}; r++)")
            pixel = (r - row_run.low) * Name("down") + pixel
            element = r * self.pixels + p
        with contextlib.ExitStack() as stack:
            for opening in loops[:-1]:
                stack.enter_context(writer.loop(opening))
            stack.enter_context(writer.block(loops[-1]))
            writer.line(f"const __m512 xp = _mm512_set1_ps({Name('pixel').at(pixel)});")
            for o in range(self.blocks):
                acc = self._sum(Constant(o), element)
                if self.channels in MASKED:
                    writer.line(f"{acc} = _mm512_mask3_fmadd_ps(w{o}, xp, {acc}, mask);")
                else:
                    writer.line(f"{acc} = _mm512_fmadd_ps(w{o}, xp, {acc});")


def _declared(constant: str) -> str:
    return f"const ptrdiff_t *{constant}" if constant == "segments" else f"ptrdiff_t {constant}"


class _Tap(NamedTuple):
    """Inside the loops over taps: where the first pixel and the weights are, and which pixels take part."""

    pixel: Expression
    weights: Expression
    row_run: Run
    run: Run
