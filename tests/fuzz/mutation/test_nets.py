"""Every kernel has a net whose C is broken, and what is broken there is found."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.campaign.corpus import load_corpus_case
from fuzz.mutation import nets
from fuzz.mutation.judging import Fate, Judge
from fuzz.targets.mutants import OPERATORS, Mutant, mutants, operators_named
from nn512.compiler import compile as compile_graph
from nn512.graph import parse
from nn512.kernels.registry import kernel_names
from nn512.options import Options

TELLING = operators_named(
    *("dropped tap", "unwritten lane", "short tile", "one turn less", "begun late", "overhang written", "shifted tile"),
    *("load past the end", "store past the end", "wrong element", "minus for plus", "sign: fmadd to fnmadd"),
    *("other bound: max to min", "other operation: add to sub", "other operation: mul to div", "swapped operands"),
)
"""What hardly ever means the same as before: a few places stand for all that `nn512 mutate` tries."""

SAMPLE = 2
"""Mutants of each net."""


@functools.cache
def judge_of(net: Path) -> Judge:
    case = load_corpus_case(net)
    return Judge(case.graph, net.name, Options.from_dict(dict(case.options)))


def algorithm(kernel: str) -> str:
    """A kernel without the size of its tiles and the format of its weights: these share their code."""
    return kernel.partition("-")[0]


def of_layers(net: Path) -> Iterator[Mutant]:
    for mutant in mutants(judge_of(net).sources, TELLING):
        if mutant.section.startswith("Layer") or mutant.section == "Shared routines":
            yield mutant


def test_every_kernel_has_a_net() -> None:
    plans = [compile_graph(parse(judge_of(net).text), judge_of(net).options).plan for net in nets()]
    covered = {algorithm(layer.kernel) for plan in plans for layer in plan.layers}
    assert covered == {algorithm(kernel) for kernel in kernel_names()}


def test_every_operator_finds_a_place() -> None:
    found = {mutant.operator for net in nets() for mutant in mutants(judge_of(net).sources)}
    assert found == {operator.name for operator in OPERATORS}


@pytest.mark.usefixtures("runs_here")
@pytest.mark.parametrize("net", nets(), ids=lambda path: path.stem)
def test_what_is_planted_in_a_kernel_is_found(net: Path) -> None:
    planted = random.Random(net.stem).sample(list(of_layers(net)), SAMPLE)
    for mutant in planted:
        judgement = judge_of(net).judge(mutant)
        assert judgement.fate is not Fate.SURVIVED, str(mutant)
