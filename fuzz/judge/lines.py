"""Which lines of emitted C any case executed: a line that none does is tested by nobody.

Every net has C of its own, so lines are counted by what they have in common: the kernel whose function they stand in,
or the name of a function that layers share, and their text with # for every number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from fuzz.run.lines import Line
from nn512.plan.plan import PlannedLayer

LineKey: TypeAlias = tuple[str, str]
"""A kernel, or a function that is no layer's, and the text of a line."""

_NUMBER = re.compile(r"(?<![0-9.])\d+(?:\.\d+)?(?:e[+-]?\d+)?[fu]?\b")
"""Numbers, also at the end of names; not those inside of names such as _mm512_add_ps."""


@dataclass(slots=True)
class Lines:
    """Counts of lines: in how many nets they were emitted, and in how many executed.

    `missed` has a net for every line that was never executed: the least of their names.
    """

    emitted: Counter[LineKey] = field(default_factory=Counter)
    executed: Counter[LineKey] = field(default_factory=Counter)
    missed: dict[LineKey, str] = field(default_factory=dict)

    @classmethod
    def of(cls, prefix: str, source: str, layers: Sequence[PlannedLayer], counted: Iterable[Line]) -> Lines:
        """The lines of one net, without its name; functions begin with `prefix`. Lines that are alike count once."""
        kernels = {f"{prefix}_{step.name}": layer.kernel for layer in layers for step in layer.steps}
        text = source.splitlines()
        ran: dict[LineKey, bool] = {}
        for line in counted:
            shared = _NUMBER.sub("#", line.function.removeprefix(prefix))
            key = kernels.get(line.function, shared), _NUMBER.sub("#", text[line.number - 1].strip())
            ran[key] = ran.get(key, False) or line.executed
        executed = Counter(key for key, was in ran.items() if was)
        return cls(Counter(ran.keys()), executed, {key: "" for key, was in ran.items() if not was})

    def of_net(self, name: str) -> Lines:
        """The lines of one net that is called so."""
        return replace(self, missed=dict.fromkeys(self.missed, name))

    def update(self, other: Lines) -> None:
        """Add the counts of other nets."""
        self.emitted.update(other.emitted)
        self.executed.update(other.executed)
        for key, name in other.missed.items():
            self.missed[key] = min(name, self.missed.get(key, name))
        self.missed = {key: name for key, name in self.missed.items() if not self.executed[key]}

    def told(self) -> Iterator[str]:
        """Lines for people: what was never executed, where, and in which nets."""
        for (where, text), name in sorted(self.missed.items()):
            count = self.emitted[where, text]
            nets = name if count == 1 else f"{count} nets, such as {name}"
            yield f"{where}: {text}   ({nets})"
