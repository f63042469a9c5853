"""Emitted C on 64-bit Arm: the same bits as here, and a fault there is told as one."""

from __future__ import annotations

import numpy as np
import pytest

import nn512
from fuzz.run.build import build_net
from fuzz.run.checks import LIGHT
from fuzz.run.outcome import Status
from fuzz.run.runners import Runner, Unavailable, aarch64, choose_runner, with_bfloat16
from fuzz.run.sandbox import execute
from fuzz.run.standalone import infer
from nn512.errors import CannotRunError
from nn512.graph import parse
from nn512.options import Options
from nn512.params import random_params
from nn512.toolchain import find_compiler

GRAPH = parse("""
Config Prefix=Net
Input ToTensor=x Channels=18 Height=3 Width=5
Activation FromTensor=x ToTensor=a Kind=GELU
Softmax FromTensor=a ToTensor=y
Output FromTensor=y
""")
X = np.random.default_rng(0).standard_normal((18, 3, 5), np.float32)


@pytest.fixture(scope="module")
def arm() -> Runner:
    try:
        return choose_runner("aarch64")
    except CannotRunError as error:
        pytest.skip(str(error))


def soft_here() -> Runner:
    return choose_runner("soft", find_compiler())


def test_sandbox_and_driver_compute_what_the_portable_intrinsics_do_here(arm: Runner) -> None:
    emitted = nn512.compile(GRAPH)
    outputs = []
    for runner in (arm, soft_here()):
        executable = build_net(GRAPH, emitted.header, emitted.source, runner, flags=("-O0",))
        report = execute(executable, {}, [{"x": X}], LIGHT)
        assert report.ok, report
        outputs.append(report.outputs[0]["y"].tobytes())
    assert outputs[0] == outputs[1] == infer(GRAPH, emitted, {}, {"x": X}, arm)["y"].tobytes()


def test_pairs_of_bfloat16_are_computed_there_too(arm: Runner) -> None:
    text = "Config Prefix=Net Input ToTensor=x Channels=18 Height=3 Width=5 Conv FromTensor=x ToTensor=y ToChannels=4"
    graph = parse(f"{text} FilterH=3 FilterW=3 Output FromTensor=y")
    options = Options(platform="AVX512BFloat16", force=(("", "direct-bf16"),))
    runner = with_bfloat16(arm)
    assert runner.name == "aarch64"
    params = random_params(graph, 0)
    there, here = (infer(graph, nn512.compile(graph, options), params, {"x": X}, one) for one in (runner, soft_here()))
    assert there["y"].tobytes() == here["y"].tobytes()


def test_a_fault_on_arm_is_found(arm: Runner) -> None:
    emitted = nn512.compile(GRAPH)
    beyond = emitted.source.replace("load_block(engine->xData", "load_block(engine->xData - 1", 1)
    assert beyond != emitted.source
    report = execute(build_net(GRAPH, emitted.header, beyond, arm, flags=("-O0",)), {}, [{"x": X}], LIGHT)
    assert report.status is Status.CRASH


def test_an_intrinsic_that_demands_alignment_is_told_on_arm(arm: Runner) -> None:
    emitted = nn512.compile(GRAPH)
    load = "_mm512_maskz_loadu_ps(mask, x + c * pixels + p)"
    assert load in emitted.source
    aligned = emitted.source.replace(load, "_mm512_load_ps(x + c * pixels + p)", 1)
    executable = build_net(GRAPH, emitted.header, aligned, arm, flags=("-O0",), strict=False)
    report = execute(executable, {}, [{"x": X}], LIGHT)
    assert report.violations[0].detail.startswith("ended by SIGTRAP: an intrinsic that demands alignment")


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = find_compiler()
    monkeypatch.setenv("PATH", "/nowhere")
    answer = aarch64.probe(compiler)
    assert isinstance(answer, Unavailable)
    assert answer.reason == "apt-get install gcc-aarch64-linux-gnu qemu-user"
