"""Which step functions share a body: those whose bodies are the same text under neutral names."""

from __future__ import annotations

from dataclasses import dataclass

from nn512.cgen.expressions import Constant, Expression


@dataclass(frozen=True, slots=True)
class Sharing:
    """What several step functions with the same body differ in, besides names: how many blocks of channels they read.

    If there are several numbers (`varying`), of which `most_blocks` is the largest, the body has a parameter for the
    channels. `body` tells it from others.
    """

    body: int
    most_blocks: Expression
    varying: bool


class Candidates:
    """Bodies of step functions as texts under neutral names, and whose they are: equal texts are worth sharing."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, int]] = {}

    def add(self, step: str, body: str, blocks: int) -> None:
        """Note the body of a step, with the number of blocks that it reads as a parameter if it can have one."""
        self._users.setdefault(body, {})[step] = blocks

    def shared(self) -> dict[str, Sharing]:
        """Every step that is not the only one with its body, and what those that share it differ in."""
        alike = [users for users in self._users.values() if len(users) > 1]
        return {
            step: Sharing(number, Constant(max(users.values())), len(set(users.values())) > 1)
            for number, users in enumerate(alike)
            for step in users
        }
