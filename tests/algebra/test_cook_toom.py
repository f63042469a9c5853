"""The matrices of tile algorithms compute what a filter does, exactly, and so do the programs that apply them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from nn512.algebra.cook_toom import MOST_PRODUCTS, POINTS, Matrix, cook_toom, is_known
from nn512.algebra.linear import Program, Sum, is_dyadic, program_of

KNOWN = [(m, r) for m in range(1, MOST_PRODUCTS) for r in range(1, MOST_PRODUCTS) if is_known(m, r)]


def apply(matrix: Matrix, vector: Sequence[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


def execute(program: Program, vector: Sequence[Fraction]) -> list[Fraction]:
    values: dict[int | str, Fraction] = dict(enumerate(vector))

    def value(total: Sum) -> Fraction:
        return sum((term.factor * values[term.value] for term in total.terms), Fraction(0))

    for total in program.sums:
        assert total.name not in values
        values[total.name] = value(total)
    return [value(total) for total in program.results]


def test_there_are_algorithms() -> None:
    assert {(2, 3), (3, 3), (4, 3), (5, 3), (2, 5), (4, 5), (2, 7), (1, 1)} <= set(KNOWN)
    assert max(POINTS) == MOST_PRODUCTS
    assert not is_known(1, 3)
    assert not is_known(6, 7)


@pytest.mark.parametrize(("outputs", "taps"), KNOWN)
def test_a_transform_computes_the_filter(outputs: int, taps: int) -> None:
    transform = cook_toom(outputs, taps)
    inputs = [Fraction(7 * i * i - 3 * i + 1, i + 2) for i in range(transform.products)]
    weights = [Fraction(5 - 2 * k * k, k + 1) for k in range(taps)]
    products = [w * x for w, x in zip(apply(transform.weights, weights), apply(transform.inputs, inputs), strict=True)]
    expected = [sum(weights[k] * inputs[i + k] for k in range(taps)) for i in range(outputs)]
    assert apply(transform.results, products) == expected
    assert len(transform.point_names) in (0, transform.products)


@pytest.mark.parametrize(("outputs", "taps"), KNOWN)
def test_a_program_applies_its_matrix(outputs: int, taps: int) -> None:
    transform = cook_toom(outputs, taps)
    for matrix in (transform.inputs, transform.results, transform.weights):
        vector = [Fraction(3 * i * i + i + 1, i + 3) for i in range(len(matrix[0]))]
        program = program_of(matrix)
        assert execute(program, vector) == apply(matrix, vector)
        terms = sum(sum(factor != 0 for factor in row) for row in matrix)
        assert program.operations <= terms


def test_opposite_points_share_operations() -> None:
    transform = cook_toom(4, 3)
    assert program_of(transform.inputs).operations == 12
    assert program_of(transform.results).operations == 12


def test_points_must_suffice() -> None:
    with pytest.raises(ValueError, match="no points"):
        cook_toom(6, 7)
    with pytest.raises(ValueError, match="takes 3 or 4 different points"):
        cook_toom(2, 3, (Fraction(0), Fraction(0), Fraction(1)))


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (3, 3), (4, 3), (5, 3), (2, 5), (4, 5), (2, 7)])
def test_constants_are_numbers_of_float32(outputs: int, taps: int) -> None:
    """Where the matrices hold no others: then what is exact by the matrices is so by the programs."""
    transform = cook_toom(outputs, taps)
    for matrix in (transform.inputs, transform.results):
        program = program_of(matrix)
        assert all(is_dyadic(term.factor) for one in (*program.sums, *program.results) for term in one.terms)


@pytest.mark.parametrize(("outputs", "taps"), [(1, 1), (2, 3), (4, 3), (2, 7)])
def test_errors_of_weights_are_amplified(outputs: int, taps: int) -> None:
    """Random data, and an error of a thousandth in each transformed weight."""
    transform, rng = cook_toom(outputs, taps), np.random.default_rng(0)
    results, weights, inputs = (
        np.array(matrix, np.float64) for matrix in (transform.results, transform.weights, transform.inputs)
    )
    w, x, noise = (rng.standard_normal((size, 100_000)) for size in (taps, transform.products, transform.products))
    errors = results @ (1e-3 * noise * (weights @ w) * (inputs @ x))
    exact = results @ ((weights @ w) * (inputs @ x))
    found = np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(exact)))
    assert transform.amplification == pytest.approx(1e3 * found, rel=0.02)
