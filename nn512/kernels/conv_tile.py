"""The text of a convolution's inner loops: a few blocks of outputs at a tile of pixels, accumulated in registers."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from nn512.cgen import names
from nn512.cgen.writer import Writer
from nn512.kernels.conv_geometry import Run
from nn512.kernels.epilogue import Chain


class Channels(enum.Enum):
    """How a tile routine walks over its input channels."""

    FULL = "full"  # whole blocks of 16
    TAIL = "tail"  # the last block may be partial
    TABLE = "table"  # a table says how many lanes of each block hold channels
    GROUPS = "groups"  # several groups share a block of outputs: masked lanes, one group after another
    SCATTERED_GROUPS = "scattered"  # the same, and a table says where each channel stands


MASKED = (Channels.GROUPS, Channels.SCATTERED_GROUPS)


@dataclass(frozen=True, slots=True)
class TileRoutine:
    """What the text of a tile routine depends on; layers that agree in it share the text."""

    blocks: int
    pixels: int
    filter_h: int
    filter_w: int
    stride_w: int
    dilation_w: int
    clipped: bool  # filter rows can fall on padding, or there are several
    runs: tuple[Run, ...]
    channels: Channels
    chain: Chain

    @property
    def whole(self) -> bool:
        """Whether every filter column sees every pixel."""
        return self.runs == (Run(0, self.filter_w, 0, self.pixels),)

    @property
    def edge(self) -> str:
        """Which ends of the tile hang over the picture, as part of a name."""
        left = any(run.low > 0 for run in self.runs)
        right = any(run.high < self.pixels for run in self.runs)
        return "both" if left and right else "left" if left else "right" if right else "" if self.whole else "part"

    @property
    def hint(self) -> str:
        """Name of the routine, unless another has it."""
        stride = f"s{self.stride_w}" if self.stride_w > 1 else ""
        dilation = f"d{self.dilation_w}" if self.dilation_w > 1 else ""
        words = [f"conv{self.filter_h}x{self.filter_w}{stride}{dilation}", f"{self.blocks}x{self.pixels}"]
        words += [self.edge] if self.edge else []
        words += [self.channels.value] if self.channels is not Channels.FULL else []
        return "_".join(words) + self.chain.suffix

    def parameters(self) -> list[str]:
        """Declarations of the parameters that change from call to call."""
        return [
            "const float *restrict x",
            "const float *restrict w",
            "const float *restrict bias",
            "float *restrict out",
            *self.chain.parameters(),
            *(["ptrdiff_t top", "ptrdiff_t bottom"] if self.clipped else []),
            *(["ptrdiff_t k"] if self.channels in MASKED else []),
        ]

    def forwarded(self) -> list[str]:
        """The names of `parameters`, to hand them on."""
        taps = ["top", "bottom"] if self.clipped else []
        masked = ["k"] if self.channels in MASKED else []
        return ["x", "w", "bias", "out", *self.chain.forwarded(), *taps, *masked]

    def constants(self) -> list[str]:
        """Declarations of the parameters that are constants of the layer."""
        match self.channels:
            case Channels.FULL | Channels.TAIL:
                extent = ["ptrdiff_t channels"]
            case Channels.TABLE:
                extent = ["ptrdiff_t channels", "const unsigned char *counts"]
            case Channels.GROUPS:
                extent = ["ptrdiff_t groups", "ptrdiff_t inputs", "ptrdiff_t outputs"]
            case Channels.SCATTERED_GROUPS:
                extent = ["ptrdiff_t groups", "ptrdiff_t inputs", "ptrdiff_t outputs", "const int (*at)[2]"]
            case _:
                assert_never(self.channels)
        rows = ["ptrdiff_t row"] if self.clipped else []
        return [*extent, "ptrdiff_t plane", *rows, *(["ptrdiff_t outPlane"] if self.blocks > 1 else [])]

    def write(self, name: str) -> str:
        """Text of the routine."""
        writer = Writer()
        writer.comment(self._description())
        writer.statement(f"static INLINE void {name}", [*self.parameters(), *self.constants()], " {")
        with writer.indented():
            self._write_body(writer)
        writer.line("}")
        return writer.text()

    def _description(self) -> str:
        what = f"{self.blocks} block{'s' if self.blocks > 1 else ''} of 16 outputs at {self.pixels} neighbouring pixels"
        text = f"{what}: out[o][p] = bias[o] + sum over input channels and taps of w[o] * x[p]"
        if self.channels in MASKED:
            text += "; the lanes of a group (outputs k to k+15 belong to several) see only its input channels"
        if not self.whole:
            text += "; filter columns leave out pixels for which they fall on padding"
        if self.clipped:
            text += "; filter rows top to bottom-1 are inside the picture, x is where row 0 would be"
        return f"{text}."

    def _write_body(self, writer: Writer) -> None:
        blocks, pixels = self.blocks, self.pixels
        writer.line(f"__m512 acc[{blocks}][{pixels}];")
        self._each(writer, ["acc[o][p] = _mm512_loadu_ps(bias + o * 16);"])
        if self.channels in MASKED:
            self._write_groups(writer)
        else:
            self._write_blocks(writer)
        store = Writer()
        element = "o * outPlane + p * 16" if blocks > 1 else "p * 16"
        self.chain.apply(store, "acc[o][p]", "o", element)
        store.line(f"_mm512_storeu_ps(out + {element}, acc[o][p]);")
        self._each(writer, store.text().splitlines())

    def _each(self, writer: Writer, statements: list[str]) -> None:
        """Write statements for every accumulator."""
        inner = f"UNROLL for (int p = 0; p < {self.pixels}; p++)"
        writer.line(f"UNROLL for (int o = 0; o < {self.blocks}; o++)")
        with writer.indented():
            if len(statements) == 1:
                writer.line(f"{inner} {statements[0]}")
                return
            with writer.block(inner):
                for statement in statements:
                    writer.line(statement)

    def _write_blocks(self, writer: Writer) -> None:
        step = names.product(self.filter_h, self.filter_w, 16, self.blocks, 16)
        with writer.block(f"for (ptrdiff_t c = 0; c < channels; c += 16, x += plane, w += {step})"):
            bound = "16"
            if self.channels is not Channels.FULL:
                count = "counts[c / 16]" if self.channels is Channels.TABLE else "channels - c < 16 ? channels - c : 16"
                writer.line(f"const ptrdiff_t lanes = {count};")
                bound = "lanes"
            for row, tap, run, column in self._each_tap(writer, "x", "w", str(16 * 16 * self.blocks)):
                writer.line(f"const float *pixel = {row}{_plus(column, self.dilation_w * 16)};")
                writer.line(f"const float *tap = {tap};")
                step_lane = f"lane++, pixel++, tap += {16 * self.blocks}"
                with writer.block(f"for (ptrdiff_t lane = 0; lane < {bound}; {step_lane})"):
                    self._write_multiply(writer, run)

    def _write_groups(self, writer: Writer) -> None:
        taps = names.product(self.filter_h, self.filter_w)
        opening = "for (ptrdiff_t group = k / outputs; group < groups && group * outputs < k + 16; group++)"
        writer.line("const ptrdiff_t lanes = inputs < 16 ? inputs : 16; /* input lanes in a block of weights */")
        with writer.block(opening):
            writer.line("const ptrdiff_t low = group * outputs > k ? group * outputs - k : 0;")
            end = "(group + 1) * outputs"
            writer.line(f"const ptrdiff_t high = {end} < k + 16 ? {end} - k : 16;")
            writer.line("const __mmask16 mask = (__mmask16)((1u << high) - (1u << low));")
            with writer.block("for (ptrdiff_t c = 0; c < inputs; c++)"):
                writer.line("const ptrdiff_t channel = group * inputs + c;")
                place = "channel / 16 * plane + channel % 16"
                if self.channels is Channels.SCATTERED_GROUPS:
                    place = "at[channel][0] * plane + at[channel][1]"
                writer.line(f"const float *source = x + {place};")
                writer.line(f"const float *weights = w + (c / lanes * lanes * {taps} + c % lanes) * 16;")
                for row, tap, run, column in self._each_tap(writer, "source", "weights", "lanes * 16"):
                    writer.line(f"const float *pixel = {row}{_plus(column, self.dilation_w * 16)};")
                    writer.line(f"const float *tap = {tap};")
                    self._write_multiply(writer, run)

    def _each_tap(self, writer: Writer, row: str, tap: str, size: str) -> Iterator[tuple[str, str, Run, str]]:
        """Write the loops over filter rows and columns; gives (row pointer, tap pointer, run, column) inside each."""
        rows: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.clipped:
            rows = writer.block("for (ptrdiff_t i = top; i < bottom; i++)")
            row, tap = f"{row} + i * row", f"{tap} + i * {_times(self.filter_w, size)}"
        with rows:
            for run in self.runs:
                if run.last - run.first > 1:
                    with writer.block(f"for (ptrdiff_t j = {run.first}; j < {run.last}; j++)"):
                        yield row, f"{tap} + j * {size}", run, "j"
                else:
                    with writer.block():
                        constant = f" + {_times(run.first, size)}" if run.first else ""
                        yield row, tap + constant, run, str(run.first)

    def _write_multiply(self, writer: Writer, run: Run) -> None:
        for o in range(self.blocks):
            writer.line(f"const __m512 w{o} = _mm512_loadu_ps(tap{f' + {16 * o}' if o else ''});")
        with writer.block(f"UNROLL for (int p = {run.low}; p < {run.high}; p++)"):
            writer.line(f"const __m512 xp = _mm512_set1_ps(pixel[p * {16 * self.stride_w}]);")
            for o in range(self.blocks):
                if self.channels in MASKED:
                    writer.line(f"acc[{o}][p] = _mm512_mask3_fmadd_ps(w{o}, xp, acc[{o}][p], mask);")
                else:
                    writer.line(f"acc[{o}][p] = _mm512_fmadd_ps(w{o}, xp, acc[{o}][p]);")


def _plus(index: str, factor: int) -> str:
    if index.isdigit():
        return f" + {int(index) * factor}" if int(index) else ""
    return f" + {index} * {factor}"


def _times(count: int, size: str) -> str:
    if size.isdigit():
        return str(count * int(size))
    return size if count == 1 else f"{count} * {size}"
