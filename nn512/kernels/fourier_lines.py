"""The C of Fourier transforms along one axis, of vectors that each hold 16 channels.

A transform of N numbers is two of N/2, of those with even and with odd numbers, joined by butterflies (Cooley and Tukey
1965): each length is a short routine that calls that of half the length twice, and all are inlined.

A spectrum of N real numbers is N numbers again: the two that are real, 0 and N/2, then real and imaginary parts of
1, 2, ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nn512.cgen.code import Library, Routine
from nn512.cgen.writer import Writer

BUTTERFLY = Routine(
    "butterfly",
    """
/* Two complex numbers, real parts first, become a + w b and a - w b, or its conjugate, where w = cosine + i sine. All
 * numbers but a and b are literals in every call. */
static INLINE void butterfly(__m512 *a, __m512 *b, const double cosine, const double sine, const int conjugate) {
    const int steep = sine * sine > cosine * cosine;
    const __m512 ratio = _mm512_set1_ps((float)(steep ? cosine / sine : sine / cosine));
    const __m512 scale = _mm512_set1_ps((float)(steep ? sine : cosine));
    __m512 real = b[0], imaginary = b[1]; /* of w b / scale */
    if (sine != 0) {
        real = steep ? _mm512_fmsub_ps(ratio, b[0], b[1]) : _mm512_fnmadd_ps(ratio, b[1], b[0]);
        imaginary = steep ? _mm512_fmadd_ps(ratio, b[1], b[0]) : _mm512_fmadd_ps(ratio, b[0], b[1]);
        b[0] = _mm512_fnmadd_ps(scale, real, a[0]);
        b[1] = conjugate ? _mm512_fmsub_ps(scale, imaginary, a[1]) : _mm512_fnmadd_ps(scale, imaginary, a[1]);
        a[0] = _mm512_fmadd_ps(scale, real, a[0]);
        a[1] = _mm512_fmadd_ps(scale, imaginary, a[1]);
    } else {
        b[0] = _mm512_sub_ps(a[0], real);
        b[1] = conjugate ? _mm512_sub_ps(imaginary, a[1]) : _mm512_sub_ps(a[1], imaginary);
        a[0] = _mm512_add_ps(a[0], real);
        a[1] = _mm512_add_ps(a[1], imaginary);
    }
}
""",
)

QUARTER = Routine(
    "quarter_butterfly",
    """
/* A butterfly where w = -i. */
static INLINE void quarter_butterfly(__m512 *a, __m512 *b) {
    const __m512 real = b[1], imaginary = b[0];
    b[0] = _mm512_sub_ps(a[0], real);
    b[1] = _mm512_add_ps(a[1], imaginary);
    a[0] = _mm512_add_ps(a[0], real);
    a[1] = _mm512_sub_ps(a[1], imaginary);
}
""",
)

PART = Routine(
    "part_butterfly",
    """
/* What a butterfly with conjugate does, transposed: two complex numbers a and b become those of the even and of the odd
 * numbers, where w = cosine + i sine. */
static INLINE void part_butterfly(__m512 *a, __m512 *b, const double cosine, const double sine) {
    const __m512 c = _mm512_set1_ps((float)cosine), s = _mm512_set1_ps((float)sine);
    const __m512 real = _mm512_sub_ps(a[0], b[0]), imaginary = _mm512_add_ps(a[1], b[1]);
    a[0] = _mm512_add_ps(a[0], b[0]);
    a[1] = _mm512_sub_ps(a[1], b[1]);
    b[0] = _mm512_fmadd_ps(s, imaginary, _mm512_mul_ps(c, real));
    b[1] = _mm512_fnmadd_ps(s, real, _mm512_mul_ps(c, imaginary));
}
""",
)


def _root(turn: int, size: int) -> str:
    """Cosine and sine of -2 pi turn / size as C has them; exact where they are 0 or 1."""
    angle = -2 * math.pi * turn / size
    return ", ".join(f"{number:.17g}" if abs(number) > 1e-12 else "0" for number in (math.cos(angle), math.sin(angle)))


def real_operations(size: int) -> int:
    """Vector operations of the transform of real numbers."""
    return 0 if size == 1 else 2 if size == 2 else 2 * real_operations(size // 2) + 3 + 6 * (size // 4 - 1)


def complex_operations(size: int) -> int:
    """The same for complex numbers."""
    if size == 1:
        return 0
    return 2 * complex_operations(size // 2) + (4 if size == 2 else 8 + 6 * (size // 2 - 2))


@dataclass(frozen=True, slots=True)
class LineRoutine:
    """A transform of so many numbers along one axis, in place: `real`, `complex` or back, `results`."""

    size: int
    kind: str

    def add(self, library: Library) -> str:
        """The name of the routine, which is in the library then, behind what it calls."""
        if self.kind == "complex" or (self.kind == "real" and self.size > 4):
            library.use(BUTTERFLY)
        if self.kind == "complex" and self.size > 2:
            library.use(QUARTER)
        if self.kind == "results" and self.size > 4:
            library.use(PART)
        if self.size > 2:
            LineRoutine(self.size // 2, self.kind).add(library)
        return library.add(f"fourier{self.size}_{self.kind}", self._text, self)

    def _text(self, name: str) -> str:
        n = self.size
        writer = Writer()
        half = f"fourier{n // 2}_{self.kind}"
        length = 2 * n if self.kind == "complex" else n
        comment, body = {"real": self._real, "complex": self._complex, "results": self._results}[self.kind](half)
        writer.comment(comment)
        with writer.block(f"static INLINE void {name}(__m512 d[{length}])"):
            if n == 2:
                body = ["const __m512 even = d[0];", "d[0] = _mm512_add_ps(even, d[1]);"]
                body += ["d[1] = _mm512_sub_ps(even, d[1]);"]
                if self.kind == "complex":
                    body = ["butterfly(d, d + 2, 1, 0, 0);"]
            for line in body:
                writer.line(line)
        return writer.text()

    def _real(self, half: str) -> tuple[str, list[str]]:
        n = self.size
        comment = f"Fourier transform of {n} real numbers"
        if n == 2:
            return f"{comment}: their sum and their difference.", []
        comment += (
            f", whose spectrum is two real ones, 0 and {n // 2}, and then real and imaginary parts of "
            f"{'1' if n == 4 else f'1 to {n // 2 - 1}'}: two of {n // 2}, of the even and the odd numbers, joined "
            "(Cooley and Tukey 1965)."
        )
        body = [
            f"__m512 even[{n // 2}], odd[{n // 2}];",
            f"UNROLL for (int i = 0; i < {n // 2}; i++) even[i] = d[2 * i], odd[i] = d[2 * i + 1];",
            f"{half}(even);",
            f"{half}(odd);",
            *(f"butterfly(even + {2 * k}, odd + {2 * k}, {_root(k, n)}, 1);" for k in range(1, n // 4)),
            "d[0] = _mm512_add_ps(even[0], odd[0]);",
            "d[1] = _mm512_sub_ps(even[0], odd[0]);",
        ]
        if n > 4:
            copies = f"d[k] = even[k], d[{n} - k] = odd[k], d[k + 1] = even[k + 1], d[{n + 1} - k] = odd[k + 1];"
            body += [f"UNROLL for (int k = 2; k < {n // 2}; k += 2)", f"    {copies}"]
        return comment, [
            *body,
            f"d[{n // 2}] = even[1];",
            f"d[{n // 2 + 1}] = _mm512_sub_ps(_mm512_setzero_ps(), odd[1]);",
        ]

    def _complex(self, half: str) -> tuple[str, list[str]]:
        n = self.size
        comment = f"Fourier transform of {n} complex numbers, real parts before imaginary parts"
        if n == 2:
            return f"{comment}: their sum and their difference.", []
        comment += f": two of {n // 2}, joined. With both parts exchanged it is its own inverse."
        roots = [
            "butterfly(even, odd, 1, 0, 0);"
            if k == 0
            else f"quarter_butterfly(even + {2 * k}, odd + {2 * k});"
            if 4 * k == n
            else f"butterfly(even + {2 * k}, odd + {2 * k}, {_root(k, n)}, 0);"
            for k in range(n // 2)
        ]
        return comment, [
            f"__m512 even[{n}], odd[{n}];",
            f"UNROLL for (int i = 0; i < {n}; i++) even[i] = d[i / 2 * 4 + i % 2], odd[i] = d[i / 2 * 4 + 2 + i % 2];",
            f"{half}(even);",
            f"{half}(odd);",
            *roots,
            f"UNROLL for (int i = 0; i < {n}; i++) d[i] = even[i], d[{n} + i] = odd[i];",
        ]

    def _results(self, half: str) -> tuple[str, list[str]]:
        n = self.size
        comment = f"The way back to {n} real numbers"
        if n == 2:
            return f"{comment}: sum and difference.", []
        comment += (
            ": the transform of real numbers transposed, which is its inverse but for factors that weights have "
            "already. The compiler leaves out what is needed for no result."
        )
        body = [
            f"__m512 even[{n // 2}], odd[{n // 2}];",
            "even[0] = _mm512_add_ps(d[0], d[1]);",
            "odd[0] = _mm512_sub_ps(d[0], d[1]);",
            f"even[1] = d[{n // 2}];",
            f"odd[1] = _mm512_sub_ps(_mm512_setzero_ps(), d[{n // 2 + 1}]);",
        ]
        if n > 4:
            copies = f"even[k] = d[k], odd[k] = d[{n} - k], even[k + 1] = d[k + 1], odd[k + 1] = d[{n + 1} - k];"
            body += [f"UNROLL for (int k = 2; k < {n // 2}; k += 2)", f"    {copies}"]
        return comment, [
            *body,
            *(f"part_butterfly(even + {2 * k}, odd + {2 * k}, {_root(k, n)});" for k in range(1, n // 4)),
            f"{half}(even);",
            f"{half}(odd);",
            f"UNROLL for (int i = 0; i < {n // 2}; i++) d[2 * i] = even[i], d[2 * i + 1] = odd[i];",
        ]
