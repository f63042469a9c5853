"""What a pass is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from nn512.ir import Program
from nn512.ir.decision import Decided, Decision, unheard

Gone: TypeAlias = Callable[[Program], Mapping[str, str]]
"""For a program before a pass, why tensors vanish in it, by name."""


def nothing_gone(program: Program) -> Mapping[str, str]:
    """No tensor vanishes."""
    del program
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Pass:
    """A rewriting of programs that keeps their meaning, under the name by which users know it.

    `reason` says in a few words what it is good for. `exact`: results are those of the same arithmetic in the same
    order, so that an evaluation of the program in float64 gives the same bits before and after it. `gone` explains
    tensors that no operation produces any more. `decisions` are all that it makes.
    """

    name: str
    rewrite: Callable[[Program, Decided], Program]
    reason: str
    decisions: type[Decision]
    exact: bool = True
    gone: Gone = nothing_gone

    def __call__(self, program: Program, decided: Decided = unheard) -> Program:
        """The program after the pass; `decided` hears of its decisions."""
        return self.rewrite(program, decided)
