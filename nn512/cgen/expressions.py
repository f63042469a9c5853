"""Index arithmetic as values that fold constants, know the precedence of their operators and print themselves as C.

Operators fold: a sum loses its zeros, a product its ones, and constants that meet become one. Constructors do not: what
is to be read as it was counted, such as 7 * 7 * 16 floats of a picture, is an `extent`. Quotients and remainders are
those of C for operands that are not negative.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

# Precedence, from loose to tight.
_CONDITIONAL, _RELATION, _SUM, _PRODUCT, _UNARY, _PRIMARY = range(6)

_INT_LIMIT = 1 << 31


class Expression(ABC):
    """An integer, or an element of an array, in emitted C; `str` gives its text."""

    __slots__ = ()
    precedence: ClassVar[int] = _PRIMARY

    @abstractmethod
    def __str__(self) -> str: ...

    def __add__(self, other: Expression | int) -> Expression:
        return _sum((*_terms(self), *_terms(_lift(other))))

    def __sub__(self, other: Expression | int) -> Expression:
        return self + -_lift(other)

    def __neg__(self) -> Expression:
        return Negated(self)

    def __mul__(self, other: Expression | int) -> Expression:
        right = _lift(other)
        if ZERO in (self, right):
            return ZERO
        if isinstance(self, Constant) and isinstance(right, Constant):
            return Constant(self.number * right.number)
        if self == ONE:
            return right
        if right == ONE:
            return self
        return Product((*self.factors, right) if isinstance(self, Product) else (self, right))

    def __floordiv__(self, other: Expression | int) -> Expression:
        divisor = _lift(other)
        if isinstance(self, Constant) and isinstance(divisor, Constant) and self.number >= 0:
            return Constant(self.number // divisor.number)
        return self if divisor == ONE else Quotient(self, divisor)

    def __mod__(self, other: Expression | int) -> Expression:
        divisor = _lift(other)
        if isinstance(self, Constant) and isinstance(divisor, Constant) and self.number >= 0:
            return Constant(self.number % divisor.number)
        return ZERO if divisor == ONE else Remainder(self, divisor)

    def at(self, *indices: Expression | int) -> Expression:
        """The element with these indices, one for each dimension."""
        element = self
        for index in indices:
            element = Element(element, _lift(index))
        return element

    def offset(self, by: Expression | int) -> Expression:
        """The pointer `by` elements further on. The offset is summed before it meets the pointer.

        So the pointer never leaves its array on the way, which C forbids.
        """
        return self if by in (0, ZERO) else Sum((self, _lift(by)))

    def inside(self, precedence: int) -> str:
        """The text as an operand of an operator: in parentheses where that binds tighter."""
        return str(self) if self.precedence >= precedence else f"({self})"


@dataclass(frozen=True, slots=True)
class Constant(Expression):
    """A number."""

    number: int

    def inside(self, precedence: int) -> str:
        """The text as an operand; a sign binds less than a name does."""
        return f"({self})" if self.number < 0 and precedence > _UNARY else str(self)

    def __str__(self) -> str:
        return str(self.number)

    def __neg__(self) -> Expression:
        return Constant(-self.number)


@dataclass(frozen=True, slots=True)
class Name(Expression):
    """A variable, a field of a struct such as `net->biases`, or what else stands alone, such as `sizeof(float)`."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Element(Expression):
    """`array[index]`: a number, or a row of several."""

    array: Expression
    index: Expression

    def __str__(self) -> str:
        return f"{self.array.inside(_PRIMARY)}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Negated(Expression):
    """`-operand`."""

    operand: Expression
    precedence: ClassVar[int] = _UNARY

    def __str__(self) -> str:
        return f"-{self.operand.inside(_PRIMARY)}"

    def __neg__(self) -> Expression:
        return self.operand


@dataclass(frozen=True, slots=True)
class Cast(Expression):
    """`(type)operand`."""

    type: str
    operand: Expression
    precedence: ClassVar[int] = _UNARY

    def __str__(self) -> str:
        return f"({self.type}){self.operand.inside(_UNARY)}"


@dataclass(frozen=True, slots=True)
class Sum(Expression):
    """Two terms or more; what is subtracted is negated, or a negative constant."""

    terms: tuple[Expression, ...]
    precedence: ClassVar[int] = _SUM

    def __str__(self) -> str:
        text = self.terms[0].inside(_SUM)
        for term in self.terms[1:]:
            match term:
                case Negated(operand):
                    text += f" - {operand.inside(_PRODUCT)}"
                case Constant(number) if number < 0:
                    text += f" - {-number}"
                case _:
                    text += f" + {term.inside(_PRODUCT)}"
        return text


@dataclass(frozen=True, slots=True)
class Product(Expression):
    """Two factors or more. Constants at its beginning that overflow an int make it one of ptrdiff_t."""

    factors: tuple[Expression, ...]
    precedence: ClassVar[int] = _PRODUCT

    def __str__(self) -> str:
        total = 1
        for factor in self.factors:
            if not isinstance(factor, Constant):
                break
            total *= factor.number
        first, *others = self.factors
        text = " * ".join((first.inside(_PRODUCT), *(factor.inside(_UNARY) for factor in others)))
        return f"(ptrdiff_t){text}" if total >= _INT_LIMIT else text


@dataclass(frozen=True, slots=True)
class Quotient(Expression):
    """`dividend / divisor`."""

    dividend: Expression
    divisor: Expression
    precedence: ClassVar[int] = _PRODUCT

    def __str__(self) -> str:
        return f"{self.dividend.inside(_PRODUCT)} / {self.divisor.inside(_UNARY)}"


@dataclass(frozen=True, slots=True)
class Remainder(Expression):
    """`dividend % divisor`."""

    dividend: Expression
    divisor: Expression
    precedence: ClassVar[int] = _PRODUCT

    def __str__(self) -> str:
        return f"{self.dividend.inside(_PRODUCT)} % {self.divisor.inside(_UNARY)}"


@dataclass(frozen=True, slots=True)
class Less(Expression):
    """`left < right`."""

    left: Expression
    right: Expression
    precedence: ClassVar[int] = _RELATION

    def __str__(self) -> str:
        return f"{self.left.inside(_SUM)} < {self.right.inside(_SUM)}"


@dataclass(frozen=True, slots=True)
class Conditional(Expression):
    """`condition ? then : otherwise`."""

    condition: Expression
    then: Expression
    otherwise: Expression
    precedence: ClassVar[int] = _CONDITIONAL

    def __str__(self) -> str:
        condition, then, otherwise = (part.inside(_RELATION) for part in (self.condition, self.then, self.otherwise))
        return f"{condition} ? {then} : {otherwise}"


ZERO, ONE = Constant(0), Constant(1)


def extent(*factors: int) -> Expression:
    """A product of numbers as it was counted, without ones: 7 * 7 * 16."""
    kept = tuple(Constant(factor) for factor in factors if factor != 1)
    return Product(kept) if len(kept) > 1 else Constant(math.prod(factors))


def sum_of(*terms: Expression | int) -> Expression:
    """A sum whose constants are collected at its end."""
    lifted = [_lift(term) for term in terms]
    constants = [term for term in lifted if isinstance(term, Constant)]
    return _sum((*(term for term in lifted if not isinstance(term, Constant)), *constants))


def least(left: Expression | int, right: Expression | int) -> Expression:
    """The smaller of two numbers."""
    return Conditional(Less(_lift(left), _lift(right)), _lift(left), _lift(right))


def _lift(value: Expression | int) -> Expression:
    return Constant(value) if isinstance(value, int) else value


def _terms(value: Expression) -> tuple[Expression, ...]:
    return value.terms if isinstance(value, Sum) else (value,)


def _sum(terms: tuple[Expression, ...]) -> Expression:
    """The sum of terms: neighbouring constants become one, zeros vanish."""
    kept: list[Expression] = []
    for term in terms:
        match term, kept[-1:]:
            case Constant(number), [Constant(before)]:
                kept[-1] = Constant(before + number)
            case _:
                kept.append(term)
    kept = [term for term in kept if term != ZERO]
    return Sum(tuple(kept)) if len(kept) > 1 else kept[0] if kept else ZERO
