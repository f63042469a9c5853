"""Functions of the value and another tensor, or of the value and itself.

Of an operand that is one element for many, a vector of all channels stands for the pixels of a block, and a single
element for all lanes. Lanes without a channel may become anything, 0 / 0 included: nobody reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nn512.cgen.expressions import ZERO, Expression, Name
from nn512.cgen.writer import Writer
from nn512.graph.nodes import Add, Binary, Div, Max, Min, Mul, Sub
from nn512.ir import WHOLE, BinaryStep, Spread
from nn512.kernels.chain.code import StepCode, Value
from nn512.plan.layout import LANES


@dataclass(frozen=True, slots=True)
class Function:
    """How a kind is written: the words that name it, and of the value and itself; `write` gives the statements.

    `reversed` is the word where the value is the second tensor.
    """

    word: str
    description: str
    write: Callable[[Writer, Value, str, str], None]
    own_word: str
    own_description: str
    reversed: str = ""


def _call(intrinsic: str) -> Callable[[Writer, Value, str, str], None]:
    def write(writer: Writer, value: Value, first: str, second: str) -> None:
        writer.line(f"{value.variable} = {intrinsic}({first}, {second});")

    return write


def _extreme(intrinsic: str) -> Callable[[Writer, Value, str, str], None]:
    def write(writer: Writer, value: Value, first: str, second: str) -> None:
        if first == second:
            return
        ordered = f"ordered{value.number}"
        # both return their second operand when one is NaN; where the first one is, it stays
        writer.line(f"const __mmask16 {ordered} = _mm512_cmp_ps_mask({first}, {first}, _CMP_ORD_Q);")
        writer.line(f"{value.variable} = {intrinsic}({first}, {ordered}, {first}, {second});")

    return write


FUNCTIONS: Mapping[type[Binary], Function] = MappingProxyType(
    {
        Add: Function("add", "addition", _call("_mm512_add_ps"), "double", "doubling"),
        Sub: Function("sub", "subtraction", _call("_mm512_sub_ps"), "subself", "itself subtracted", "subfrom"),
        Mul: Function("mul", "multiplication", _call("_mm512_mul_ps"), "square", "squaring"),
        Div: Function("div", "division", _call("_mm512_div_ps"), "divself", "division by itself", "divinto"),
        Max: Function("max", "maximum", _extreme("_mm512_mask_max_ps"), "maxself", "maximum of itself"),
        Min: Function("min", "minimum", _extreme("_mm512_mask_min_ps"), "minself", "minimum of itself"),
    }
)
"""By kind of node."""


def operand_name(step: BinaryStep, number: int) -> str:
    """The pointer to the operand, for the step with this number."""
    return f"{_function(step).word}{number}"


def spread_indices(spread: Spread, block: Expression, pixel: tuple[Expression, ...]) -> tuple[Expression | int, ...]:
    """Where the element of an operand stands that meets the value of a block at a pixel, by one index or by two.

    What has only channels is passed as blocks.
    """
    if spread.is_pixel:
        return (0,) * (1 + len(pixel)) if spread.channels else (block, *(0 for _ in pixel[1:]))
    places: tuple[Expression | int, ...] = pixel
    if len(pixel) > 1:
        row, column = pixel
        places = (0 if spread.rows else row, 0 if spread.columns else column)
    return (0 if spread.channels else block, *places)


def operand_pointer(spread: Spread, name: str) -> str:
    """Declaration of a pointer to an operand: to blocks where it has only channels.

    It is not restrict: the same tensor may be an operand twice, and gcc takes that for a mistake. Pointers to what is
    written are.
    """
    blocks = spread.is_pixel and not spread.channels
    return f"const float (*{name})[{LANES}]" if blocks else f"const float *{name}"


def held(spread: Spread, argument: Expression) -> str:
    """An operand that is the same along a row as a vector, from where it is in memory."""
    if spread.channels:
        return f"_mm512_set1_ps({argument.at(0)})"
    return f"_mm512_loadu_ps({argument.at(0) if spread.is_pixel else argument})"


def _operand(step: BinaryStep, value: Value) -> str:
    """The operand as a vector."""
    pointer, spread = Name(operand_name(step, value.number)), step.spread
    if value.holds and spread.columns:
        return str(pointer)
    offset = ZERO if spread.columns else value.at
    if spread.channels:
        return f"_mm512_set1_ps({pointer.at(offset)})"
    return f"_mm512_loadu_ps({pointer.at(value.block) if spread.is_pixel else pointer + offset})"


def _apply(writer: Writer, step: BinaryStep, value: Value) -> None:
    own = str(value.variable)
    other = _operand(step, value) if step.operands else own
    first, second = (other, own) if step.reverses else (own, other)
    _function(step).write(writer, value, first, second)


def _word(step: BinaryStep) -> str:
    function = _function(step)
    if not step.operands:
        return function.own_word
    word = function.reversed if step.reverses else function.word
    return word if step.spread == WHOLE else f"{word}_by_{_name_of(step.spread).replace(' ', '_')}"


def _description(step: BinaryStep) -> str:
    function = _function(step)
    if not step.operands:
        return function.own_description
    side = " from the other side" if step.reverses else ""
    return f"{function.description}{side}" + ("" if step.spread == WHOLE else f" by {_name_of(step.spread)}")


def _name_of(spread: Spread) -> str:
    """The axes along which an operand has several elements, in a word."""
    axes = [axis for axis, single in zip(("channel", "row", "column"), spread, strict=True) if not single]
    return " and ".join(axes).replace("row and column", "pixel") or "number"


def _function(step: BinaryStep) -> Function:
    return FUNCTIONS[type(step.node)]


CODE = StepCode(_word, _description, _apply)
