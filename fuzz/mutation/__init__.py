"""The mutation score: how many of the bugs that can be planted in emitted C the tester finds.

    judging.py      one mutant: does it build, is it found, and by what
    equivalent.py   mutants that are no bugs: same object code, other prefetches, code that no data reach in a net
    scoring.py      the mutants of several nets, judged by several processes, counted
    nets/           a small net for every kernel, in the form of the corpus
    compiler.py     the same of the compiler: how many graphs it takes to find bugs planted in that
    compiler_bugs.py  which bugs these are

A mutant that is neither found nor recognised as harmless is a hole, in the data or in the sandbox; a bug of the
compiler that takes too many graphs is one in what is drawn.
"""

from __future__ import annotations

from pathlib import Path

_NETS = Path(__file__).with_name("nets")


def nets() -> tuple[Path, ...]:
    """The nets that cover all kernels, sorted by name."""
    return tuple(sorted(_NETS.glob("*.graph")))
