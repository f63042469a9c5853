"""A matrix times a vector as straight-line code: sums of a few terms, those that rows or columns share computed once.

Transforms at pairs of opposite points p and -p have pairs of rows, or of columns, that differ in signs alone: what two
such rows agree in, and what they do not, are two sums that serve both; two such columns meet only as their sum and as
their difference. That halves the multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from nn512.algebra.cook_toom import Matrix


@dataclass(frozen=True, slots=True)
class Term:
    """A factor times a value: an input, by its number, or a named sum."""

    factor: Fraction
    value: int | str


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of terms; one without a name is a result."""

    terms: tuple[Term, ...]
    name: str = ""

    @property
    def operations(self) -> int:
        """Additions, multiplications and fused multiply-adds that it takes."""
        plain = any(abs(term.factor) == 1 for term in self.terms)
        alone = len(self.terms) == 1 and self.terms[0].factor == 1
        return 0 if alone or not self.terms else len(self.terms) - (1 if plain and len(self.terms) > 1 else 0)


def is_dyadic(number: Fraction) -> bool:
    """Whether a number is an integer times a power of two, as those of float32 are."""
    return number.denominator.bit_count() == 1


@dataclass(frozen=True, slots=True)
class Program:
    """Named sums in the order in which they are computed, and the results, a sum for each row of the matrix."""

    sums: tuple[Sum, ...]
    results: tuple[Sum, ...]

    @property
    def operations(self) -> int:
        """All operations."""
        return sum(one.operations for one in (*self.sums, *self.results))


@dataclass(slots=True)
class _Sums:
    """The named sums of a program while it is made."""

    sums: list[Sum] = field(default_factory=list)

    def define(self, name: str, terms: Sequence[Term]) -> Term:
        """A sum as a term of others: named, and scaled so that as many of its terms as can be have the factor 1."""
        if len(terms) == 1:
            return terms[0]
        scale = _scale_of(terms)
        self.sums.append(Sum(tuple(Term(term.factor / scale, term.value) for term in terms), name))
        return Term(scale, name)


@cache
def program_of(matrix: Matrix) -> Program:
    """The program with the fewest operations of those that share rows or share columns."""
    return min((_sharing_rows(matrix), _sharing_columns(matrix)), key=lambda program: program.operations)


def _scale_of(terms: Sequence[Term]) -> Fraction:
    """The factor by which a sum is divided: the most frequent magnitude, with a sign that leaves a term positive.

    Of several one that leaves numbers of float32: 9/8 and 1/2 become 9/4 and 1, not 1 and 4/9.
    """
    magnitudes = [abs(term.factor) for term in terms]

    def worth(magnitude: Fraction) -> tuple[int, bool, bool]:
        whole = all(is_dyadic(other / magnitude) for other in magnitudes)
        return magnitudes.count(magnitude), magnitude == 1, whole

    scale = max(magnitudes, key=worth)
    return scale if any(term.factor == scale for term in terms) else -scale


def _sharing_rows(matrix: Matrix) -> Program:
    program = _Sums()
    results: dict[int, Sum] = {}
    pairs = 0
    for i, row in enumerate(matrix):
        if i in results:
            continue
        j = next((j for j in range(i + 1, len(matrix)) if j not in results and _differ_in_signs(row, matrix[j])), None)
        terms = [Term(factor, column) for column, factor in enumerate(row) if factor]
        if j is None:
            results[i] = Sum(tuple(terms))
            continue
        pairs += 1
        same = program.define(f"even{pairs}", [t for t in terms if matrix[j][int(t.value)] == t.factor])
        other = program.define(f"odd{pairs}", [t for t in terms if matrix[j][int(t.value)] != t.factor])
        results[i] = Sum((same, other))
        results[j] = Sum((same, Term(-other.factor, other.value)))
    return Program(tuple(program.sums), tuple(results[i] for i in range(len(matrix))))


def _differ_in_signs(row: Sequence[Fraction], other: Sequence[Fraction]) -> bool:
    """Whether two rows agree but for signs, in some of which they do and in some of which they do not."""
    pairs = [(a, b) for a, b in zip(row, other, strict=True) if a or b]
    same = sum(a == b for a, b in pairs)
    return 0 < same < len(pairs) and all(abs(a) == abs(b) for a, b in pairs)


def _sharing_columns(matrix: Matrix) -> Program:
    program = _Sums()
    columns = list(zip(*matrix, strict=True))
    rows: list[list[Term]] = [[] for _ in matrix]
    paired: set[int] = set()
    for i, column in enumerate(columns):
        if i in paired:
            continue
        partners = (j for j in range(i + 1, len(columns)) if j not in paired)
        j = next((j for j in partners if _differ_in_signs(column, columns[j])), None)
        if j is None:
            for row, factor in zip(rows, column, strict=True):
                row.extend([Term(factor, i)] if factor else [])
            continue
        paired.add(j)
        number = len(paired)
        one = Fraction(1)
        total = program.define(f"plus{number}", [Term(one, i), Term(one, j)])
        difference = program.define(f"minus{number}", [Term(one, i), Term(-one, j)])
        for row, factor, other in zip(rows, column, columns[j], strict=True):
            if factor:
                row.append(Term(factor, (total if factor == other else difference).value))
    return Program(tuple(program.sums), tuple(Sum(tuple(row)) for row in rows))
