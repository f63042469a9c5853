"""What becomes of mutants whose fate is known."""

from __future__ import annotations

import functools
import re

import pytest

from fuzz.mutation.judging import Fate, Judge
from fuzz.targets.mutants import Mutant
from fuzz.targets.text import Text
from nn512.options import Options

NET = """\
Config
Input ToTensor=x Channels=19 Height=5 Width=6
Conv FromTensor=x ToTensor=y ToChannels=17 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=y ToTensor=z Kind=Tanh
Output FromTensor=z
"""


@functools.cache
def judge() -> Judge:
    return Judge(NET, "net.graph", Options())


def planted(pattern: str, put: str) -> Mutant:
    """A change of the first place of a pattern."""
    text = Text(judge().sources.source)
    match = re.search(pattern, text.source)
    assert match is not None, pattern
    return Mutant("by hand", judge().sources, text, match.start(), match.end(), match.expand(put))


@pytest.mark.usefixtures("runs_here")
def test_the_unbroken_net_is_right() -> None:
    assert judge().unbroken() == ()


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize(
    ("pattern", "put", "by"),
    [
        (r"(acc\[0\]\[p\]) = _mm512_fmadd_ps\([^;]*;", r"\1 = \1;", "values"),
        (r"if \(c < channels\) _mm512_mask_storeu", r"if (c < 0) _mm512_mask_storeu", "unwritten"),
        (r"free\(engine->arena\);", r";", "leak"),
        (r"if \(tensors->x == NULL\)", r"if (tensors->x != NULL)", "api"),
        (r"(EnginePthreadT\([^{]*\{\s+)team_check\([^;]*;", r"\1;", "fork"),
        (r"if \(i < count\) (_mm512_storeu_ps\(out)", r"if (i <= count) \1", "arena"),
    ],
    ids=["values", "unwritten", "leak", "by name", "fork", "arena"],
)
def test_bugs_are_found_by_what_they_do(pattern: str, put: str, by: str) -> None:
    judgement = judge().judge(planted(pattern, put))
    assert (judgement.fate, judgement.by) == (Fate.KILLED, by)


@pytest.mark.usefixtures("runs_here")
def test_what_does_not_build_is_no_mutant() -> None:
    assert judge().judge(planted(r"share\.first;", r"share.nothing;")).fate is Fate.STILLBORN


@pytest.mark.native
@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize(
    ("pattern", "put", "reason"),
    [
        (r"\(i < count\)", r"(!(i >= count))", "the same object code"),
        (r"(prefetch_lines\(tap \+ nextWeights), ", r"\1 + 16, ", "prefetches other addresses"),
        (r"(\.prefetchShares = \d+)", r"\1 + 1", "prefetches other addresses"),
        (r"(SpinsBeforeSleep = 4)000", r"\g<1>001", "changes speed alone"),
        (r"index, engine->team\.threads - 1", r"index, engine->team.threads", "changes what a message says alone"),
        (r"(PACK_CONV\(.*?\.panel = )2", r"\g<1>3", "the same bits on numbers that are all different"),
    ],
    ids=["same code", "prefetch", "field of prefetches", "spins", "message", "same bits"],
)
def test_what_changes_nothing_is_recognised(pattern: str, put: str, reason: str) -> None:
    judgement = judge().judge(planted(pattern, put))
    assert (judgement.fate, judgement.by) == (Fate.EQUIVALENT, reason)


@pytest.mark.usefixtures("runs_here")
def test_code_that_the_shape_does_not_reach() -> None:
    """There is no norm to fold, so the loop over norms has no turn; what is behind it is reached."""
    inner = planted(r"all\.shift = \(all\.shift - ", r"all.shift = (all.shift + ")
    judgement = judge().judge(inner)
    assert (judgement.fate, judgement.by) == (Fate.EQUIVALENT, "nothing reaches it in this shape")
    reached = planted(r"float\)\(bias \* after", r"float)(2 * bias * after")
    assert judge().judge(reached).fate is Fate.KILLED


@pytest.mark.usefixtures("runs_here")
def test_a_coefficient_is_judged_over_all_floats() -> None:
    """Off by a few millionths: data of nets do not show it."""
    judgement = judge().judge(planted(r"(static INLINE __m512 tanh_of[\s\S]*?)\b(0\.\d+)f", r"\1(1.00001f * \2f)"))
    assert judgement.fate is Fate.KILLED
