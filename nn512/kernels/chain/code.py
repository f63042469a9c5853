"""The C of one element-wise step: what every sort of step must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nn512.cgen.code import PackCall, PackedArray, Routine
from nn512.cgen.expressions import Expression
from nn512.cgen.writer import Writer
from nn512.ir import Spread
from nn512.plan.layout import Layout


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor that a step reads besides the value, and how it is spread over it."""

    tensor: str
    spread: Spread


@dataclass(frozen=True, slots=True)
class Parameters:
    """Packed parameters that a step reads: an array of the net, of `extents` for each block.

    `array` and `pack` give it, and the call that packs it, for a tensor of a layout.
    """

    field: str
    extents: str
    array: Callable[[Layout], PackedArray]
    pack: Callable[[Layout], PackCall]

    def pointer(self, name: str) -> str:
        """Declaration of a pointer to what the step does to each block."""
        return f"const float (*restrict {name}){self.extents}"


@dataclass(frozen=True, slots=True)
class Value:
    """A value in registers while a chain is applied to it.

    `variable` is the C variable that holds it, `number` that of the step in the chain, for names that must differ;
    `block` indexes the blocks whose data the chain was given, `at` is the offset in floats of an operand's element.
    `holds`: operands that are the same along a row are in registers already.
    """

    variable: Expression
    number: int
    block: Expression
    at: Expression
    holds: bool = False


@dataclass(frozen=True, slots=True)
class StepCode:
    """How a sort of step is written.

    `word` is part of the names of routines, `description` names the step in a comment, `apply` writes the statements
    that change the value. Each gets the step. `calls` are the routines that these statements call. `parameters` are
    those that it reads, by a pointer that has the name `pointer` and the number of the step.
    """

    word: Callable[[Any], str]
    description: Callable[[Any], str]
    apply: Callable[[Writer, Any, Value], None]
    calls: tuple[Routine, ...] = ()
    pointer: str = ""
    parameters: Callable[[Any], Parameters] | None = None


def number_word(value: float) -> str:
    """A number as part of a name: -0.5 is m0p5."""
    return f"{value:g}".replace("-", "m").replace(".", "p").replace("+", "")


def called(routine: Routine, word: str, description: str) -> StepCode:
    """A function of the value that is one call of a routine."""

    def apply(writer: Writer, _: object, value: Value) -> None:
        writer.line(f"{value.variable} = {routine.name}({value.variable});")

    return StepCode(lambda _: word, lambda _: description, apply, (routine,))
