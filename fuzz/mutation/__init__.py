"""The mutation score: how many of the bugs that can be planted in emitted C the tester finds.

    judging.py      one mutant: does it build, is it found, and by what
    equivalent.py   mutants that are no bugs: same object code, other prefetches, code that no data reach in a net
    scoring.py      the mutants of several nets, judged by several processes, counted
    nets/           a small net for every kernel, in the form of the corpus

A mutant that is neither found nor recognised as harmless is a hole, in the data or in the sandbox.
"""

from __future__ import annotations

from pathlib import Path

_NETS = Path(__file__).with_name("nets")


def nets() -> tuple[Path, ...]:
    """The nets that cover all kernels, sorted by name."""
    return tuple(sorted(_NETS.glob("*.graph")))
