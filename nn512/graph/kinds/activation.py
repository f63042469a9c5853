"""The node Activation: a function of every element. Functions are a table of siblings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import erfc, exp, expm1, log, log1p, pi, sqrt, tanh
from types import MappingProxyType
from typing import Any, ClassVar

from nn512.graph.fields import REQUIRED, ValueType, declare, read_tensor, written_tensor
from nn512.graph.moments import Moments, above_zero, through
from nn512.graph.node import Distribution, Layer, Mistake, ParameterKind, Shape


@dataclass(frozen=True, slots=True)
class Function:
    """One function that Activation offers.

    `value` is what it makes of a number, roughly: magnitudes are planned by it. `fields` are those that it has beside
    Kind, by name, with their defaults (REQUIRED: none). `details` are the words that tell it from its siblings of the
    same name. `spread` says how its values are spread for arguments that are so, where there is a formula for it.
    """

    name: str
    meaning: str
    value: Callable[[Activation, float], float]
    fields: Mapping[str, Any] = field(default_factory=dict)
    details: Callable[[Activation], str] = lambda _: ""
    spread: Callable[[Activation, Moments], Moments] | None = None

    def moments(self, node: Activation, read: Moments) -> Moments:
        """How its values are spread, roughly, for arguments that are so."""
        return through(lambda x: self.value(node, x), read) if self.spread is None else self.spread(node, read)


def _rectified(node: Activation, read: Moments) -> Moments:
    above, below = above_zero(read), above_zero(Moments(-read.mean, read.variance))
    mean = above.mean - node.param * below.mean
    return Moments(mean, above.power + node.param**2 * below.power - mean**2)


def _slope(node: Activation) -> str:
    return f"slope {node.param:g}" if node.param else ""


def _bounds(node: Activation) -> str:
    return f"{node.min:g} to {node.max:g}"


def _line(node: Activation) -> str:
    return f"{node.alpha:g} x + {node.beta:g}"


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x > -700 else 0.0


def _softplus(x: float) -> float:
    return max(x, 0.0) + log1p(exp(-abs(x)))


def _powers(_: Activation, read: Moments) -> Moments:
    """Those of the log-normal distribution."""
    variance = min(read.variance, _BEYOND)
    mean = exp(min(read.mean + variance / 2, _BEYOND))
    return Moments(mean, expm1(variance) * mean**2)


def _squares(_: Activation, read: Moments) -> Moments:
    return Moments(read.power, 2 * read.variance**2 + 4 * read.mean**2 * read.variance)


_BEYOND = 80.0
"""What is larger is near the end of float32 behind an exponential."""

_NEAR = 1e-3
"""Numbers nearer to 0 than this are taken to be rare before a Reciprocal and a Log."""

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        function.name: function
        for function in (
            Function(
                "ReLU",
                "`x` where x > 0, otherwise `Param * x`.",
                lambda node, x: x if x > 0 else node.param * x,
                {"Param": 0.0},
                _slope,
                _rectified,
            ),
            Function(
                "PReLU",
                "`x` where x > 0, otherwise `Slope * x`, with a slope for every channel.",
                lambda _, x: x if x > 0 else 0.25 * x,
            ),
            Function(
                "Clip",
                "`x`, but Min where x < Min, and Max where x > Max.",
                lambda node, x: min(max(x, node.min), node.max),
                {"Min": REQUIRED, "Max": REQUIRED},
                _bounds,
            ),
            Function("Sigmoid", "`1 / (1 + exp(-x))`, within 3.17 ulp.", lambda _, x: _sigmoid(x)),
            Function(
                "HardSigmoid",
                "`min(max(Alpha * x + Beta, 0), 1)`.",
                lambda node, x: min(max(node.alpha * x + node.beta, 0.0), 1.0),
                {"Alpha": REQUIRED, "Beta": REQUIRED},
                _line,
            ),
            Function("SiLU", "`x / (1 + exp(-x))`, also called Swish, within 3.95 ulp.", lambda _, x: x * _sigmoid(x)),
            Function("HardSwish", "`x * min(max(x + 3, 0), 6) / 6`.", lambda _, x: x * min(max(x + 3, 0.0), 6.0) / 6),
            Function("Tanh", "The hyperbolic tangent of `x`, within 4.95 ulp.", lambda _, x: tanh(x)),
            Function(
                "GELU",
                "`x * (1 + erf(x / sqrt(2))) / 2`, within 1.34 ulp of the larger of that and x / 2.",
                lambda _, x: x * erfc(-x / sqrt(2)) / 2,
            ),
            Function(
                "GELUTanh",
                "`x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2`, within 3.32 ulp of "
                "the larger of that and x / 2.",
                lambda _, x: x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * min(max(x, -100), 100) ** 3))) / 2,
            ),
            Function(
                "ELU",
                "`x` where x > 0, otherwise `Param * (exp(x) - 1)`, the difference within 0.96 ulp.",
                lambda node, x: x if x > 0 else node.param * expm1(x),
                {"Param": 1.0},
                lambda node: f"factor {node.param:g}" if node.param != 1 else "",
            ),
            Function("Softplus", "`log(1 + exp(x))`, within 3.12 ulp.", lambda _, x: _softplus(x)),
            Function("Mish", "`x * tanh(log(1 + exp(x)))`, within 4.69 ulp.", lambda _, x: x * tanh(_softplus(x))),
            Function("Exp", "`exp(x)`, within 1.08 ulp.", lambda _, x: exp(min(x, _BEYOND)), spread=_powers),
            Function(
                "Log",
                "The natural logarithm of `x`, within 1.05 ulp; -inf where x = 0, NaN where x < 0.",
                lambda _, x: log(max(x, _NEAR)),
            ),
            Function("Sqrt", "The square root of `x`; NaN where x < 0.", lambda _, x: sqrt(max(x, 0.0))),
            Function("Square", "`x * x`.", lambda _, x: x * x, spread=_squares),
            Function("Abs", "`x` where x > 0, otherwise `-x`.", lambda _, x: abs(x)),
            Function("Neg", "`-x`.", lambda _, x: -x),
            Function("Reciprocal", "`1 / x`.", lambda _, x: 1 / x if abs(x) > _NEAR else 1 / _NEAR),
        )
    }
)
"""By name, in documented order."""

ACTIVATIONS = tuple(FUNCTIONS)


def _parameter(name: str, doc: str) -> Any:  # noqa: ANN401 - as all declarations
    """A field of the functions that list it."""
    homes = {function.name: function.fields[name] for function in FUNCTIONS.values() if name in function.fields}
    return declare(name, ValueType.NUMBER, doc, goes_with=homes)


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """Element-wise function.

    Parameter of `Kind=PReLU`, one value per channel: `<ToTensor>Slopes`.
    """

    PARAMETERS: ClassVar[tuple[ParameterKind, ...]] = (ParameterKind("Slopes", Distribution.SLOPES, ("PReLU",)),)

    from_tensor: str = read_tensor()
    to_tensor: str = written_tensor()
    kind: str = declare(
        "Kind",
        ValueType.CHOICE,
        "Which function.",
        choices={function.name: function.meaning for function in FUNCTIONS.values()},
    )
    param: float = _parameter("Param", "Of ReLU the slope for x <= 0: 0 is ReLU, 0.1 a leaky ReLU. Of ELU its factor.")
    min: float = _parameter("Min", "The smallest value of the result.")
    max: float = _parameter("Max", "The largest value of the result, above Min.")
    alpha: float = _parameter("Alpha", "The slope between 0 and 1: 1/6 in PyTorch, as 0.16666667, and 0.2 in Keras.")
    beta: float = _parameter("Beta", "The value at x = 0, such as 0.5.")

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:  # noqa: ARG002 - of any shape
        """Bounds in the wrong order, and a line that does not rise."""
        if "Min" in FUNCTIONS[self.kind].fields and self.min >= self.max:
            yield Mistake("Max", f"Max is {self.max:g}, not above Min, which is {self.min:g}")
        if "Alpha" in FUNCTIONS[self.kind].fields and self.alpha <= 0:
            yield Mistake("Alpha", f"Alpha is {self.alpha:g}, not above 0")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """That of the tensor read."""
        return shapes[self.from_tensor]

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> tuple[tuple[int, ...], ...]:
        """One value per channel."""
        return ((shapes[self.from_tensor].channels,),) * len(self.parameter_kinds)

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        """Those of the function."""
        return FUNCTIONS[self.kind].moments(self, read[0])

    def of(self, x: float) -> float:
        """What the function makes of a number, roughly."""
        return FUNCTIONS[self.kind].value(self, x)

    def describe(self) -> str:
        """The function, the tensor, and what the function is told."""
        details = FUNCTIONS[self.kind].details(self) if self.kind in FUNCTIONS else ""
        return f"{self.kind} {self.to_tensor}" + (f" ({details})" if details else "")
