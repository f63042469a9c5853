"""Programs on the processor and in the emulator: equal bit for bit, and what is not equal is found."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

import nn512
from fuzz.campaign import emulated
from fuzz.campaign.comparing import differences
from fuzz.campaign.emulated import check_equal, outside
from fuzz.case import Case, DataSeed
from fuzz.problem import Problem
from fuzz.run.build import Executable
from fuzz.run.checks import LIGHT, Checks
from fuzz.run.emulator import service
from fuzz.run.emulator.parts import find_parts
from fuzz.run.ended import Ended
from fuzz.run.outcome import Kind, RunReport, Status, Violation
from fuzz.run.runners import Runner, bochs, soft
from fuzz.run.standalone import infer
from fuzz.targets import OURS, Sources
from nn512.arrays import Array
from nn512.errors import CannotRunError
from nn512.graph import Graph, parse
from nn512.kernels.registry import competing_kernels
from nn512.options import Options
from nn512.params import random_params
from nn512.toolchain import NATIVE_FLAGS, Compiler, find_compiler, has_avx512

GRAPH = """\
Config Prefix=Net
Input ToTensor=x Channels=20 Height=9 Width=10
Conv FromTensor=x ToTensor=y ToChannels=18 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=y ToTensor=z Kind=GELU
Softmax FromTensor=z ToTensor=p
Output FromTensor=p
"""
DATA = (DataSeed("gaussian", 0), DataSeed("nonfinite", 0))
CASE = Case(GRAPH, {}, "-O1", DATA)


@dataclass(frozen=True)
class Changed:
    """Our C with one intrinsic replaced by another, at its first place."""

    before: str
    after: str
    name: str = "changed"
    strict: bool = False
    skips: frozenset[str] = frozenset()

    def prepare(self, graph: Graph, options: Options) -> Sources | Problem:
        sources = OURS.prepare(graph, options)
        assert isinstance(sources, Sources)
        assert self.before in sources.source
        return replace(sources, source=sources.source.replace(self.before, self.after, 1))


LINK_FLAGS = ("-static", "-s")

REPLACED = (
    Changed("_mm512_fmadd_ps(", "_mm512_fmsub_ps("),
    Changed("_mm512_max_ps(", "_mm512_min_ps("),
    Changed("_mm512_sub_ps(", "_mm512_add_ps("),
)


def run_here(compiler: Compiler, program: Path, job: bytes, limit: float) -> Ended:
    """A machine that is this one."""
    assert compiler.version
    assert limit > 0
    result, log = os.memfd_create("result"), os.memfd_create("log")
    try:
        command = [str(program), str(result)]
        with open(os.memfd_create("job"), "w+b") as file:  # noqa: PTH123 - it has no path
            file.write(job)
            file.seek(0)
            done = subprocess.run(command, stdin=file, stdout=log, stderr=log, pass_fds=(result,), check=False)
        sizes = [os.fstat(file).st_size for file in (result, log)]
        return Ended(os.pread(result, sizes[0], 0), os.pread(log, sizes[1], 0), done.returncode, hung=False, used=0.0)
    finally:
        os.close(result)
        os.close(log)


@pytest.fixture
def stand_in() -> Runner:
    """A machine that is this one: what can run here is linked for it as for an emulator."""
    compiler = find_compiler()
    if has_avx512(compiler):
        return Runner("stand-in", "this processor", compiler, NATIVE_FLAGS, machine=run_here, link_flags=LINK_FLAGS)
    portable = soft.probe(compiler)
    assert isinstance(portable, Runner)
    return replace(portable, machine=run_here, link_flags=LINK_FLAGS, bfloat16=False)


@pytest.fixture(scope="module")
def bochs_here() -> Iterator[Runner]:
    """The emulator; it boots once for all tests of this file."""
    try:
        find_parts()
    except CannotRunError as error:
        pytest.skip(str(error))
    runner = bochs.probe(find_compiler())
    assert isinstance(runner, Runner)
    yield runner
    service.close()


def report(*arrays: list[float], status: Status = Status.OK, kinds: tuple[Kind, ...] = ()) -> RunReport:
    outputs = tuple(MappingProxyType({"y": np.array(array, np.float32)}) for array in arrays)
    return RunReport(status, outputs, tuple(Violation(kind, "", 0) for kind in kinds), (), 0.0, {}, "")


@pytest.mark.parametrize(
    ("right", "other", "says"),
    [
        (report([1, 2]), report([1, 2]), []),
        (report([1, np.nan]), report([1, np.nan]), []),
        (report([0.0, 2]), report([-0.0, 2]), ["element 0 is 00000000 here and 80000000 there"]),
        (report([1, 2], [3, 4]), report([1, 2], [4, 4]), ["y, data set 1: 1 of 2 elements differ"]),
        (report([1]), report(), ["1 data sets computed here, 0 there"]),
        (report([1]), report([1], status=Status.CRASH, kinds=(Kind.CRASH,)), ["crash, ['crash'] there"]),
        (report([1], kinds=(Kind.LEAK,)), report([1], kinds=(Kind.HEAP,)), ["['heap'] there"]),
    ],
)
def test_what_differs_is_said(right: RunReport, other: RunReport, says: list[str]) -> None:
    found = differences(right, other, "there")
    assert len(found) == len(says)
    assert all(part in text for part, text in zip(says, found, strict=True))


def test_one_program_is_equal_to_itself(stand_in: Runner) -> None:
    found = check_equal(CASE, stand_in, outside(stand_in))
    assert found.executed
    assert not found.problems


@pytest.mark.parametrize(("seed", "first"), [(0, emulated.FULLY), (emulated.SHARE, emulated.FULLY), (1, LIGHT)])
def test_some_cases_get_every_check(
    seed: int, first: Checks, stand_in: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On their first data set, and in both places."""
    seen: list[Checks] = []

    def executed(
        program: Executable, params: Mapping[str, Array], inputs: list[Mapping[str, Array]], checks: Checks
    ) -> RunReport:
        assert program.path.exists()
        assert params
        assert len(inputs) == 1
        seen.append(checks)
        return report([1])

    monkeypatch.setattr(emulated, "execute", executed)
    data = (DataSeed("gaussian", seed), DataSeed("exact", seed))
    assert check_equal(replace(CASE, data=data), stand_in, outside(stand_in)).executed
    assert seen == [first, first, LIGHT, LIGHT]


def test_what_the_emulator_lacks_is_left_out(stand_in: Runner) -> None:
    """Bochs has no AVX512_BF16: a net for that would be refused there, and differ."""
    options = {"force": [["", "direct-bf16"]], "platform": "AVX512BFloat16"}
    found = check_equal(replace(CASE, options=options), stand_in, outside(stand_in))
    assert found.executed
    assert not found.problems
    assert "bf16" not in {layer.weights for layer in found.layers}


@pytest.mark.parametrize("changed", REPLACED, ids=lambda changed: changed.before.strip("("))
def test_a_replaced_intrinsic_is_found(stand_in: Runner, changed: Changed) -> None:
    found = check_equal(CASE, stand_in, outside(stand_in), elsewhere=changed)
    assert {problem.kind for problem in found.problems} == {"emulated"}
    assert "elements differ" in found.problems[0].detail


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["", *competing_kernels()])
def test_the_emulator_computes_what_is_computed_outside(kernel: str, bochs_here: Runner) -> None:
    force = {"force": [["", kernel]]} if kernel else {}
    case = replace(CASE, options=Options.from_dict(force).to_dict(), data=DATA[:1])
    found = check_equal(case, bochs_here, outside(bochs_here))
    assert found.executed
    assert not found.problems, f"{kernel}: {found.problems[0]}"


@pytest.mark.slow
def test_a_replaced_intrinsic_is_found_in_the_emulator(bochs_here: Runner) -> None:
    found = check_equal(CASE, bochs_here, outside(bochs_here), elsewhere=REPLACED[0])
    assert {problem.kind for problem in found.problems} == {"emulated"}


def test_the_driver_that_users_get_computes_the_same_there(bochs_here: Runner) -> None:
    graph = parse(GRAPH)
    params, inputs = random_params(graph, 0), {"x": np.random.default_rng(0).standard_normal((20, 9, 10), np.float32)}
    runners = (bochs_here, outside(bochs_here))
    there, right = (infer(graph, nn512.compile(graph), params, inputs, runner) for runner in runners)
    assert {name: array.tobytes() for name, array in there.items()} == {n: a.tobytes() for n, a in right.items()}


def test_another_build_may_have_another_nan() -> None:
    right, other = report([np.nan, 1.0]), report([-np.nan, 1.0])
    assert not differences(right, other, "there")
    (found,) = differences(right, other, "there", same_code=True)
    assert "1 of 2 elements differ; element 0 is 7fc00000 here and ffc00000" in found
    assert "is 7fc00000 here and 00000000" in differences(right, report([0.0, 1.0]), "there")[0]
