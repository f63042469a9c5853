"""Bilinear algorithms for short filters in exact fractions: F(m, r) computes m outputs of r taps from m+r-1 products.

The product of two polynomials is known from its values at as many points as it has coefficients, one of which may be
infinity (Toom 1963, Cook 1966). Transposed, that computes a filter: Winograd (Arithmetic Complexity of Computations,
1980) proved that no algorithm needs fewer products; Lavin and Gray (Fast Algorithms for Convolutional Neural Networks,
CVPR 2016) nested it in two dimensions for nets.

    y[i] = sum over k of w[k] x[i+k]        y = R ((W w) * (I x)), * element by element

With n = m+r-1 products, I (n x n) transforms inputs, W (n x r) weights, R (m x n) products to results. In two
dimensions columns are transformed, then rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from types import MappingProxyType

Matrix = tuple[tuple[Fraction, ...], ...]

MOST_PRODUCTS = 8
"""Errors grow with the number of points: F(6, 3) needs 8 and errs 15 times as much as F(2, 3) in two dimensions."""


def _points(text: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(point) for point in text.split())


POINTS: Mapping[int, tuple[Fraction, ...]] = MappingProxyType(
    {
        3: _points("0 1 -1"),
        4: _points("0 1 -1"),
        5: _points("0 1/2 -1/2 3/2 -3/2"),
        6: _points("0 1/2 -1/2 3/2 -3/2"),
        7: _points("0 1/2 -1/2 1 -1 2 -2"),
        8: _points("0 1 -1 2 -2 1/2 -1/2"),
    }
)
"""Finite points by the number of products; infinity joins them where there is one less than products.

Pairs of opposite points share most of their arithmetic. For six products, rms errors of F(4x4, 3x3) over 64 channels in
units of 1e-7 are 17.6 with 1 and 2, 8.2 with 5/8 and 3/2, 10.6 with 1/2 and 3/2; only the last makes the algorithm
exact for some weights (multiples of 81), so that it can be checked bit for bit.
"""

FINE_POINTS: Mapping[int, tuple[Fraction, ...]] = MappingProxyType({6: _points("0 5/8 -5/8 3/2 -3/2")})
"""Those with the smallest errors, where others are usual: for narrow formats, in which little is exact anyway.

On pairs of bfloat16 results of F(4x4, 3x3) err 11.4 thousandths in rms with them, and 14.3 with the usual ones.
"""


@dataclass(frozen=True, slots=True)
class Transform:
    """F(`outputs`, `taps`) along one axis; `points` are the finite points.

    results: outputs x products, weights: products x taps, inputs: products x products; see the module. Fractions are
    slow to hash, and what stands before the matrices tells transforms apart.
    """

    outputs: int
    taps: int
    points: tuple[Fraction, ...]
    results: Matrix = field(hash=False)
    weights: Matrix = field(hash=False)
    inputs: Matrix = field(hash=False)

    @property
    def products(self) -> int:
        """Elements of a transformed tile, and of the window of inputs that it sees."""
        return self.outputs + self.taps - 1

    @property
    def is_trivial(self) -> bool:
        """Whether nothing is transformed: one tap for one output."""
        return self.products == 1

    @property
    def amplification(self) -> float:
        """How much larger the relative rms error of results is than that of transformed weights, for random data.

        Of weights and inputs with the variance 1 an element of (W w) has the sum of squares of its row as variance, one
        of (I x) likewise, and a result without the rounding as many as there are taps. Of two dimensions it is the
        product of both axes'.
        """
        return _amplification(self)

    @property
    def mark(self) -> str:
        """What tells names of routines for these points from those for the usual ones."""
        return "_fine" if self.points == FINE_POINTS.get(self.products) else ""

    @property
    def point_names(self) -> tuple[str, ...]:
        """The points in words, infinity last."""
        names = tuple(str(point) for point in self.points)
        return names if len(names) == self.products else (*names, "inf")


TRIVIAL = Transform(1, 1, (), *(((Fraction(1),),),) * 3)
"""F(1, 1), for an axis along which the filter has one tap."""


def is_known(outputs: int, taps: int) -> bool:
    """Whether there are points for F(outputs, taps), and it saves products."""
    return (outputs, taps) == (1, 1) or (outputs > 1 and taps > 1 and outputs + taps - 1 in POINTS)


def cook_toom(outputs: int, taps: int, points: Sequence[Fraction] | None = None) -> Transform:
    """F(outputs, taps) at the given finite points, or at the usual ones. Raises ValueError where there are none.

    Of as many points as products all are finite; of one less, infinity is the last one.
    """
    return _cook_toom(outputs, taps, None if points is None else tuple(points))


@cache
def _cook_toom(outputs: int, taps: int, points: tuple[Fraction, ...] | None) -> Transform:
    products = outputs + taps - 1
    if products == 1:
        return TRIVIAL
    if points is None:
        if products not in POINTS:
            raise ValueError(f"no points for F({outputs}, {taps})")
        points = POINTS[products]
    finite = points
    infinite = products - len(finite)
    if infinite not in (0, 1) or len(set(finite)) < len(finite):
        raise ValueError(f"F({outputs}, {taps}) takes {products - 1} or {products} different points")
    results = [[point**power for point in finite] for power in range(outputs)]
    weights, inputs = [], []
    for point in finite:
        others = [other for other in finite if other != point]
        factor = math.prod((point - other for other in others), start=Fraction(1))
        weights.append([point**power / factor for power in range(taps)])
        inputs.append(_with_roots(others, products))
    if infinite:
        for power, row in enumerate(results):
            row.append(Fraction(power == outputs - 1))
        weights.append([Fraction(power == taps - 1) for power in range(taps)])
        inputs.append(_with_roots(finite, products))
    return Transform(outputs, taps, finite, _frozen(results), _frozen(weights), _frozen(inputs))


@cache
def _amplification(transform: Transform) -> float:
    sizes = [_squares(w) * _squares(i) for w, i in zip(transform.weights, transform.inputs, strict=True)]
    errors = sum(factor**2 * size for row in transform.results for factor, size in zip(row, sizes, strict=True))
    return math.sqrt(errors / (transform.outputs * transform.taps))


def _squares(row: Sequence[Fraction]) -> Fraction:
    return sum((entry**2 for entry in row), start=Fraction(0))


def _with_roots(roots: Sequence[Fraction], length: int) -> list[Fraction]:
    """Coefficients, the constant first, of the polynomial that is zero at `roots` alone; zeros up to `length`."""
    polynomial = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *polynomial], [*polynomial, Fraction(0)]
        polynomial = [high - root * low for high, low in zip(shifted, scaled, strict=True)]
    return polynomial + [Fraction(0)] * (length - len(polynomial))


def _frozen(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return tuple(tuple(row) for row in rows)
