"""Faults that only numbers at the ends of what a float32 holds can show are seen in emitted C."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_sources, draw
from fuzz.judge.report import Report
from fuzz.run.checks import LIGHT
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from nn512.options import Options

NET = """\
Config
Input ToTensor=x Channels=19 Height=4 Width=4
Pooling FromTensor=x ToTensor=p Kind=Max2x2Stride2
Conv FromTensor=p ToTensor=y ToChannels=5 FilterH=1 FilterW=1
Output FromTensor=p
Output FromTensor=y
"""
STORE = "_mm512_mask_storeu_ps("
CHANGED = f"static void changed_store(float *to, __mmask16 mask, __m512 x) {{ CODE {STORE}to, mask, x); }}\n"
LARGE = "_mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(1.2e-38f), _CMP_GE_OQ)"


@functools.cache
def emitted() -> Sources:
    made = nn512.compile(nn512.parse(NET), Options())
    return Sources(made.prefix, made.header, made.source, made.plan)


def check(sources: Sources, *regimes: str) -> Report:
    case = Case(NET, optimisation="-Og", data=tuple(DataSeed(regime, seed) for regime in regimes for seed in (0, 1)))
    graph = nn512.parse(NET)
    return check_sources(case, graph, sources, draw(case, graph), runner_for(), checks=LIGHT, strict=False)


def storing(code: str) -> Sources:
    """The emitted C, whose masked stores do something before."""
    head, section, rest = emitted().source.partition("/* ---- Shared routines")
    assert STORE in rest
    return replace(
        emitted(), source=head + CHANGED.replace("CODE", code) + section + rest.replace(STORE, "changed_store(")
    )


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize(
    ("regime", "code"),
    [
        ("subnormal", f"x = _mm512_maskz_mov_ps({LARGE}, x);"),
        ("huge", "x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-1e30f)), _mm512_set1_ps(1e30f));"),
        ("nan", "x = _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) & 1u << 2, _mm512_setzero_ps());"),
    ],
    ids=["flushed", "capped", "NaN dropped in one lane"],
)
def test_what_is_lost_at_the_ends(regime: str, code: str) -> None:
    broken = storing(code)
    assert check(broken, "gaussian", "exact").problems == ()
    assert {problem.kind for problem in check(broken, regime).problems} == {"values"}


@pytest.mark.usefixtures("runs_here")
def test_a_mode_that_is_put_back() -> None:
    """Subnormals as zeros during an inference: between layers the mode is seen; else only subnormals show it."""
    changed = "const unsigned mode = __builtin_ia32_stmxcsr(); __builtin_ia32_ldmxcsr(mode | 0x8040); team_check("
    source = emitted().source.replace(
        "team_check(&engine->team);\n    engine->", changed + "&engine->team);\n    engine->"
    )
    assert source != emitted().source
    end = source.index("\n}\n", source.index(changed))
    broken = replace(emitted(), source=source[:end] + "\n    __builtin_ia32_ldmxcsr(mode);" + source[end:])
    assert [problem.kind for problem in check(broken, "gaussian").problems] == ["mxcsr"]
    hidden = replace(broken, source=broken.source.replace("nn512tap", "tap"))
    assert check(hidden, "gaussian").problems == ()
    assert check(hidden, "subnormal").problems
