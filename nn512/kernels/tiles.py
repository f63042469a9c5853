"""What all tile routines have in common: their operands, words for edges, bounds of filter rows, unrolled loops."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.cgen.code import Library, Routine
from nn512.cgen.expressions import ZERO, Conditional, Constant, Expression, Less, Name, least
from nn512.cgen.writer import Writer
from nn512.plan.conv_geometry import Axis

OPERANDS = """
/* What every tile routine of a convolution takes: inputs, weights, biases, and where the results go. `out` may alias
 * `bias`; without this gcc hoists the biases and spills the sums. Most routines also take `nextWeights`: the weights
 * that they prefetch begin so many floats after w, and are a share of those that are read after this panel. `pixels`
 * is a literal in every call, or the loops over it would not be unrolled. */
#define OPERANDS const float *restrict x, const float *restrict w, const float *bias, float *out

/* What a tile routine has to know about its layer. Planes and rows are distances in floats. */
typedef struct {
    ptrdiff_t channels;        /* input channels that are summed */
    ptrdiff_t inputPlane;      /* from one block of input channels to the next */
    ptrdiff_t inputRow;        /* from one row of the input picture to the next */
    ptrdiff_t bufferPlane;     /* from one block to the next in the buffer of inputs */
    ptrdiff_t outputPlane;     /* from one block of output channels to the next */
    ptrdiff_t prefetchShares;  /* number of tiles that share the prefetching of the next weights */
    ptrdiff_t prefetchPixels;  /* pixels to prefetch, with each block of inputs, of what is used after the sums */
    ptrdiff_t groups, outputs; /* number of groups, output channels of each */
    const ptrdiff_t *segments; /* channels of each segment of inputs, which begins a new block; a 0 ends the table */
} Sizes;
"""

PREFETCH = Routine(
    "prefetch_lines",
    """
/* Prefetch cache lines of 16 floats into the level 1 cache. */
static INLINE void prefetch_lines(const float *from, ptrdiff_t lines) {
    UNROLL for (ptrdiff_t i = 0; i < lines; i++) _mm_prefetch((const char *)(from + i * 16), _MM_HINT_T0);
}
""",
)

BFLOAT16 = Routine(
    "BFLOAT16",
    """
/* Stands before functions with instructions of AVX512_BF16: the file compiles with -mavx512f alone. */
#ifdef __AVX512BF16__
#define BFLOAT16
#else
#define BFLOAT16 __attribute__((target("avx512bf16")))
#endif
""",
)


def store_pairs(place: Expression, value: Expression) -> str:
    """The statement that stores a block of 16 channels as the pairs from `place` on, which are half a block of them."""
    return f"_mm256_storeu_si256((__m256i *)({place}), (__m256i)_mm512_cvtneps_pbh({value}));"


BFLOAT16_TARGET = f"{BFLOAT16.name} "
"""What stands before the type of such a function."""

SIZES = Name("sizes")
"""The parameter of a tile routine, and the constant of a layer, that holds its sizes."""


def size(field: str) -> Name:
    """A field of the sizes, in a tile routine."""
    return Name(f"{SIZES}->{field}")


def add_operands(library: Library, *, prefetching: bool) -> None:
    """Have the declarations that tile routines need in the emitted file, and what those that prefetch call.

    Nothing stands there that nobody calls: clang warns of that.
    """
    library.add("OPERANDS", lambda _: OPERANDS, OPERANDS)
    if prefetching:
        library.use(PREFETCH)


@dataclass(frozen=True, slots=True)
class Unrolled:
    """A loop that is unrolled: none, where it would have a single iteration."""

    variable: str
    low: int
    high: int | Expression

    @property
    def index(self) -> Expression:
        """The counter, or its only value."""
        return Constant(self.low) if self.high == self.low + 1 else Name(self.variable)

    @property
    def openings(self) -> list[str]:
        """What opens the loop."""
        if self.high == self.low + 1:
            return []
        v = self.variable
        return [f"UNROLL for (int {v} = {self.low}; {v} < {self.high}; {v}++)"]


def registers(sums: str, *others: str) -> str:
    """What a tile keeps in registers, as its comment says it."""
    return f"Of 32 registers: {', '.join((sums, *others))}"


EDGE_WORDS = ("both", "left", "right", "part")
"""Words for a tile that is not inside the picture as a whole."""


def edge_word(*, left: bool, right: bool, whole: bool) -> str:
    """Which ends of a tile hang over the picture; `part` where only some taps see none of it, "" for a `whole` one."""
    return "both" if left and right else "left" if left else "right" if right else "" if whole else "part"


def write_tap_bounds(writer: Writer, axis: Axis) -> None:
    """Write which filter rows are inside the picture if filter row 0 is on row `origin`: top to bottom-1."""
    origin = Name("origin")
    above, below = ((rows + (axis.dilation - 1)) // axis.dilation for rows in (-origin, Constant(axis.size) - origin))
    # A side without padding is not asked about, because gcc takes any answer for possible and warns of a row -1.
    top = Conditional(Less(origin, ZERO), above, ZERO) if axis.starts_outside else ZERO
    bottom = least(below, axis.taps) if axis.ends_outside else Constant(axis.taps)
    writer.enumeration("const ptrdiff_t ", [f"top = {top}", f"bottom = {bottom}"], ";")


def first_row(axis: Axis) -> Expression:
    """The input row under the first filter row inside the picture, given `origin` and `top`."""
    return Name("origin") + Name("top") * axis.dilation
