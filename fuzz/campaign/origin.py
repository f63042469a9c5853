"""Names of drawn cases, such as `1000.50-a237c31b0ae8`, from which the case can be drawn again.

Seed of Hypothesis and number of examples (together they decide what is drawn), then, where there are such, the regimes
as bits, the largest number of layers and the kernel that was forced, then the key of the case. Without examples it is
one of the nets for the edge classes of that kernel, and the seed that of its data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fuzz.draw.regimes import REGIMES

_FORM = re.compile(
    r"(\d{1,30})\.(\d{1,9})(?:\.m([0-9a-f]{1,8}))?(?:\.l(\d{1,9}))?(?:\.([a-z][a-z0-9_-]*?))?-([0-9a-f]{12})"
)


SEEDS = 1_000
"""Seeds of Hypothesis for each seed of a chunk: one for each run."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a chunk was drawn from, and the key of one of its cases."""

    seed: int
    examples: int
    regimes: tuple[str, ...]
    kernels: tuple[str, ...] = ()
    layers: int | None = None
    key: str = ""

    def turn(self, run: int) -> int:
        """Whose turn it is among the rows of decisions in a run: of the next ones after earlier runs and chunks."""
        return self.seed // SEEDS * self.examples + run

    def __str__(self) -> str:
        every = tuple(REGIMES)
        bits = sum(1 << every.index(regime) for regime in self.regimes)
        some = f".m{bits:x}" if self.regimes != every else ""
        layers = f".l{self.layers}" if self.layers is not None else ""
        kernel = f".{self.kernels[0]}" if self.kernels else ""
        return f"{self.seed}.{self.examples}{some}{layers}{kernel}-{self.key}"


def parse_origin(text: str) -> Origin | None:
    """The origin that a name tells; None where it is no such name."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    seed, examples, bits, layers, kernel, key = found.groups()
    every = tuple(REGIMES)
    chosen = every if bits is None else tuple(r for n, r in enumerate(every) if int(bits, 16) >> n & 1)
    kernels = () if kernel is None else (kernel,)
    return Origin(int(seed), int(examples), chosen, kernels, None if layers is None else int(layers), key)
