"""A caller's tensor as pairs of columns of bfloat16 in working memory: what `planar_pairs` multiplies.

A pair takes the place of a float: in every plane and row, pair i has column g * i - padding in its lower half and the
column under the next tap of the filter in its upper half; beside the picture are zeros. So a filter of n columns is one
of n/2 pairs, and g is what makes the strides of the two whole: with stride 2 it is 2, and the filter has stride 1.

A row is rounded as it stands. If its pairs are then every other column with its neighbour, in planes, it is a row of
pairs already; otherwise they are put together from a copy in memory of the thread's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nn512.cgen import names
from nn512.cgen.code import InferenceStep, Routine
from nn512.cgen.expressions import Expression, Name, extent
from nn512.cgen.writer import Writer
from nn512.graph.nodes import Conv, Shape
from nn512.graph.windows import padding_of
from nn512.kernels.interface import Context, Place
from nn512.kernels.layer import THREAD_MEMORY, begin_step, declare_tensor, step_signature
from nn512.kernels.tiles import BFLOAT16, BFLOAT16_TARGET
from nn512.plan.conv_geometry import Axis
from nn512.plan.layout import LANES, Layout
from nn512.plan.workspace import Scratch, Workspace

ROUND_ROW = Routine(
    "round_row",
    """
/* So many floats as bfloat16; behind the last one may be up to 15 zeros. */
static INLINE BFLOAT16 void round_row(const float *from, ptrdiff_t count, uint16_t *to) {
    for (ptrdiff_t i = 0; i < count; i += 16) {
        const __mmask16 mask = count - i < 16 ? (__mmask16)((1u << (count - i)) - 1) : 0xffff;
        const __m512 v = _mm512_maskz_loadu_ps(mask, from + i);
        _mm256_storeu_si256((__m256i *)(to + i), (__m256i)_mm512_cvtneps_pbh(v));
    }
}
""",
    (BFLOAT16,),
)

PAIR_COLUMNS = Routine(
    "pair_columns",
    """
/* So many pairs, each of elements that are `apart` from each other; each begins a `step` behind the one before. */
static INLINE void pair_columns(const uint16_t *row, ptrdiff_t apart, ptrdiff_t step, ptrdiff_t count, float *to) {
    for (ptrdiff_t i = 0; i < count; i++) {
        const uint32_t pair = row[i * step] | (uint32_t)row[i * step + apart] << 16;
        memcpy(to + i, &pair, sizeof pair);
    }
}
""",
)


@dataclass(frozen=True, slots=True)
class PairedColumns:
    """The pairs of columns that one convolution reads of a tensor of the caller, whose pixels have `lanes` floats."""

    node: Conv
    source: Shape
    result: Shape
    lanes: int

    @property
    def taps(self) -> int:
        """Pairs of filter columns."""
        return -(-self.node.filter_w // 2)

    @property
    def step(self) -> int:
        """Columns from the lower half of a pair to that of the next."""
        return math.gcd(self.node.stride_w, 2 * self.node.dilation_w)

    @property
    def axis(self) -> Axis:
        """The columns of the convolution on pairs."""
        stride, dilation = self.node.stride_w // self.step, 2 * self.node.dilation_w // self.step
        return Axis(self._width, self.result.width, self.taps, stride, 0, dilation)

    @property
    def _before(self) -> int:
        return padding_of(self.node).left

    @property
    def _whole_row(self) -> int:
        """Floats of a row of pixels with the zeros before them, rounded up as `round_row` writes it."""
        return self._before * self.lanes + -(-self.source.width * self.lanes // LANES) * LANES

    @property
    def as_they_stand(self) -> bool:
        """Whether a rounded row is a row of pairs."""
        return (self.step, self.node.dilation_w, self.lanes) == (2, 1, 1)

    @property
    def _width(self) -> int:
        """Pairs of a row."""
        stride, dilation = self.node.stride_w // self.step, 2 * self.node.dilation_w // self.step
        needed = (self.result.width - 1) * stride + (self.taps - 1) * dilation + 1
        return max(needed, -(-self._whole_row // 2)) if self.as_they_stand else needed

    @property
    def _copied(self) -> int:
        """Elements of the copy of a rounded row."""
        last = (self._width - 1) * self.step + self.node.dilation_w
        return max(self._whole_row, (last + 1) * self.lanes)

    def workspace(self, name: str) -> Workspace:
        """Working memory for the pairs, and of each thread for a row."""
        shape = Shape(self.source.channels, self.source.height, self._width)
        layout = Layout((shape.channels,), lanes=1)
        row = 0 if self.as_they_stand else -(-self._copied // (2 * LANES))
        return Workspace((Scratch(name, shape, layout),), row)

    def first_step(self, name: str) -> InferenceStep:
        """The step that writes them; its items are rows of planes, or of pixels."""
        planes = self.source.channels if self.lanes == 1 else 1
        return InferenceStep(name, planes * self.source.height)

    def text(self, context: Context, given: Place, pairs: Place) -> str:
        """Text of that step."""
        context.library.use(ROUND_ROW)
        if not self.as_they_stand:
            context.library.use(PAIR_COLUMNS)
        height, item = self.source.height, Name("item")
        writer = Writer()
        with writer.block(step_signature(context.prefix, pairs.name, BFLOAT16_TARGET)):
            begin_step(writer, context.prefix)
            declare_tensor(writer, given, written=False)
            declare_tensor(writer, pairs, written=True)
            if not self.as_they_stand:
                writer.assign("uint16_t *row", f"(uint16_t *){THREAD_MEMORY}")
                writer.line(f"memset(row, 0, {extent(self._copied)} * sizeof *row); /* zeros beside the picture */")
            with writer.block("for (ptrdiff_t item = share.first; item < share.last; item++)"):
                indices = [f"y = {item % height}"]
                if self.lanes == 1:
                    indices.insert(0, f"c = {item // height}")
                writer.line(f"const ptrdiff_t {', '.join(indices)};")
                if self.as_they_stand:
                    self._write_rounded(writer, given, pairs)
                else:
                    self._write_paired(writer, given, pairs)
        return writer.text()

    def _write_rounded(self, writer: Writer, given: Place, pairs: Place) -> None:
        """Write what rounds a row to where its pairs belong."""
        source, to = (Name(names.local(place.name)).at(Name("c"), Name("y")) for place in (given, pairs))
        writer.line(f"memset({to}, 0, sizeof {to}); /* zeros beside the picture */")
        writer.statement("round_row", [source, self._floats, f"(uint16_t *){to}{self._offset(1)}"], ";")

    def _write_paired(self, writer: Writer, given: Place, pairs: Place) -> None:
        """Write what rounds a row to a copy and puts pairs together from that."""
        c, y = Name("c"), Name("y")
        source, to = Name(names.local(given.name)), Name(names.local(pairs.name)).at(c, y)
        from_ = source.at(c, y) if self.lanes == 1 else source.at(0, y, 0)
        writer.line(f"round_row({from_}, {self._floats}, row{self._offset(self.lanes)});")
        first: Expression = Name("row")
        loops: list[str] = []
        if self.lanes > 1:
            first += c
            loops.append(f"for (ptrdiff_t c = 0; c < {self.lanes}; c++)")
        apart, step = self.node.dilation_w * self.lanes, self.step * self.lanes
        writer.nest(loops, [f"pair_columns({first}, {apart}, {step}, {self._width}, {to});"])

    def _offset(self, lanes: int) -> str:
        """How far behind the start of a row the picture begins."""
        return f" + {extent(self._before, lanes)}" if self._before else ""

    @property
    def _floats(self) -> Expression:
        """Floats of a row."""
        return extent(self.source.width, self.lanes)
