"""Every way in which a net can be wrong besides values is found, and named; a correct net passes everything.

The nets are written by hand, so that nothing here depends on the emitter or on the processor.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fuzz.run.build import BuildError, Executable, build_net
from fuzz.run.checks import QUICK, Checks, Configuration, Placement
from fuzz.run.demands import waive
from fuzz.run.interface import Argument, Interface
from fuzz.run.outcome import Kind, RunReport, Status
from fuzz.run.runners import Runner, Sanitizer, Unavailable, soft
from fuzz.run.sandbox import execute
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.graph import Shape, parse
from nn512.toolchain import Compiler, build, find_compiler, find_compilers

GRAPH = parse("""
    Config Prefix=Tiny
    Input ToTensor=image Channels=2 Height=3 Width=5
    BatchNorm FromTensor=image ToTensor=norm
    Activation FromTensor=norm ToTensor=relu Kind=ReLU
    Output FromTensor=relu
    Output FromTensor=norm
""")

HEADER, SOURCE = (Path(__file__).with_name(f"tiny.{kind}").read_text() for kind in "hc")

PARAMS = {
    "normMeans": [0.5, -1.0],
    "normScales": [2.0, 0.25],
    "normShifts": [0.0, 1.0],
    "normVariances": [1.0, 4.0],
}


EVERY_FILE = "for (int i = 0; i < 1000; i++) close(i);"


def broken(**changes: str) -> str:
    """The source with text put at marks; `instead_` before the name replaces the whole line of the mark."""
    text = SOURCE
    for name, code in changes.items():
        mark = f"/*{name.removeprefix('instead_').replace('_', ' ')}*/"
        assert text.count(mark) == 1, name
        if name.startswith("instead_"):
            line = next(line for line in text.splitlines() if mark in line)
            text = text.replace(line, code)
        else:
            text = text.replace(mark, code)
    return text


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return find_compiler()


@pytest.fixture(params=find_compilers(), ids=lambda compiler: compiler.kind.value)
def each(request: pytest.FixtureRequest) -> Compiler:
    compiler: Compiler = request.param
    return compiler


@pytest.fixture(scope="module")
def runner(compiler: Compiler) -> Runner:
    """The processor, without any special instruction: the nets of this file are plain C."""
    return Runner("plain", "plain C", compiler, ())


def data_sets(count: int = 3) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(7)
    return [{"image": generator.standard_normal((2, 3, 5)).astype(np.float32)} for _ in range(count)]


def run(runner: Runner, source: str, checks: Checks | None = None, count: int = 3) -> RunReport:
    executable = build_net(GRAPH, HEADER, source, runner, strict=False)
    return execute(executable, PARAMS, data_sets(count), checks or Checks(timeout=60))


def kinds(report: RunReport) -> set[Kind]:
    return {violation.kind for violation in report.violations}


def only(report: RunReport) -> str:
    """The detail of the violations, which must all be of one kind."""
    assert len(kinds(report)) == 1, report.violations
    return report.violations[0].detail


def test_a_correct_net_passes_every_check(runner: Runner) -> None:
    report = run(runner, SOURCE, count=5)
    assert (report.status, report.violations, report.log) == (Status.OK, (), "")
    assert len(report.outputs) == len(report.nanoseconds) == 5
    for given, got in zip(data_sets(5), report.outputs, strict=True):
        scale = np.array(PARAMS["normScales"]).reshape(2, 1, 1) / np.sqrt([[[1.0 + 1e-5]], [[4.0 + 1e-5]]])
        norm = (given["image"] - np.reshape(PARAMS["normMeans"], (2, 1, 1))) * scale
        norm += np.reshape(PARAMS["normShifts"], (2, 1, 1))
        np.testing.assert_allclose(got["norm"], norm, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(got["relu"], np.maximum(got["norm"], 0))


def test_quick_checks_pass_a_correct_net(runner: Runner) -> None:
    assert run(runner, SOURCE, Checks(QUICK, api=False, sharing=False, failures=False)).ok


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        # Beyond the caller's memory
        ({"inferred": "reluData[30] = 1;"}, Kind.OUT_OF_BOUNDS, "write past the end of reluData: 0 bytes"),
        ({"inferred": "normData[-1] = 1;"}, Kind.OUT_OF_BOUNDS, "normData"),
        ({"inferred": "engine->calls += imageData[30] > 0;"}, Kind.OUT_OF_BOUNDS, "read past the end of imageData"),
        (
            {"inferred": "engine->calls += imageData[-1] > 0;"},
            Kind.OUT_OF_BOUNDS,
            "read before the beginning of imageD",
        ),
        ({"inferred": "reluData[0] = imageData[30];"}, Kind.OUT_OF_BOUNDS, "imageData"),
        ({"net_created": "net->table[0] = params->normVariances[2];"}, Kind.OUT_OF_BOUNDS, "the parameters"),
        # What is not the net's to change, or no longer there
        ({"inference": "imageData[3] += 1;"}, Kind.INPUT_MODIFIED, "imageData, element 3"),
        ({"net_created": "params->normMeans[0] = 1;"}, Kind.INPUT_MODIFIED, "the parameters, element 0"),
        ({"inference": "p = engine->net->theirs;"}, Kind.PARAMS_USED_LATE, "the parameters"),
        # Its own memory
        ({"inferred": "normData[4] = engine->net->table[5];"}, Kind.UNINITIALIZED, "normData: 1 of 30"),
        ({"inferred": "engine->scratch[30] = 0;"}, Kind.HEAP, "written 0 bytes past its end"),
        ({"inferred": "engine->scratch[4096] = 0;"}, Kind.HEAP, "120 bytes"),
        ({"engine": "free(engine);"}, Kind.HEAP, "freed twice"),
        ({"engine": "engine->calls = 0;"}, Kind.HEAP, "has freed"),
        ({"instead_table": ""}, Kind.LEAK, "1 allocations, 64 bytes"),
        ({"instead_scratch": ""}, Kind.LEAK, "EngineDestroy leaves 1 allocations, 120 bytes"),
        (
            {"net_create": "char *volatile huge = malloc((size_t)1 << 50); free(huge);"},
            Kind.RUNAWAY_ALLOCATION,
            "1125899906842624 bytes",
        ),
        # Threads
        ({"instead_join": ""}, Kind.THREADS, "thread"),
        ({"work": "pthread_exit(argument);"}, None, ""),
        # Results that depend on what they must not depend on
        ({"inferred": "reluData[7] = (float)engine->calls;"}, Kind.NOT_REPEATABLE, "element 7 is 2"),
        ({"inferred": "reluData[7] = (float)engine->threads;"}, Kind.VARIES_WITH_THREADS, "element 7"),
        ({"inferred": "reluData[7] = (float)((size_t)reluData / 4 % 16);"}, Kind.VARIES, "element 7"),
        ({"inferred": "reluData[7] = (float)(engine->threads > 4);"}, Kind.VARIES_WITH_THREADS, "element 7 is 1"),
        ({"inferred": "if (engine->calls == 3) reluData[7] += 1;"}, Kind.NOT_REPEATABLE, "element 7"),
        (
            {"inferred": "if (engine->calls > 3) reluData[7] = engine->scratch[7] = 5;"},
            Kind.VARIES_WITH_HISTORY,
            "element 7 is 5",
        ),
        (
            {
                "inference": "static float first[30]; if (!engine->calls) memcpy(first, imageData, sizeof first);"
                "imageData = first;"
            },
            Kind.VARIES_WITH_THREADS,
            "normData differs from the first configuration in 30 of 30 elements",
        ),
        (
            {"net_created": "net->table[0] = 0;", "inferred": "reluData[7] += engine->net->table[0]++;"},
            Kind.NET_MODIFIED,
            "byte 0 of an allocation of the net",
        ),
        # Reads in front of memory, whose guard page is there for every second configuration
        ({"inferred": "engine->calls += engine->scratch[-1] > 0;"}, Kind.HEAP, "byte -4 of an allocation"),
        # What belongs to the whole program
        ({"instead_unblock": ""}, Kind.PROCESS, "EngineCreate leaves signal 1 blocked"),
        (
            {"inferred": "signal(SIGPIPE, SIG_IGN);"},
            Kind.PROCESS,
            "EngineInference changes what is done about signal 13",
        ),
        ({"net_created": "net->table[0] = (float)dup(0);"}, Kind.PROCESS, "NetCreate leaves open file descriptor"),
        ({"inferred": "close(0);"}, Kind.PROCESS, "EngineInference closes file descriptor 0"),
        ({"inferred": EVERY_FILE}, Kind.PROCESS, "EngineInference closes file descriptor 0"),
        ({"inferred": 'if (chdir("/tmp")) engine->calls++;'}, Kind.PROCESS, "changes the working directory"),
        ({"net_created": 'setenv("OMP_NUM_THREADS", "1", 1);'}, Kind.PROCESS, "NetCreate changes the environment"),
        ({"inferred": 'puts("layer 1 done");'}, Kind.PROCESS, "the net prints 'layer 1 done"),
        # The processor's mode
        (
            {"inferred": "__builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);"},
            Kind.MXCSR,
            "EngineInference changes MXCSR",
        ),
        (
            {"net_created": "__builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8000);"},
            Kind.MXCSR,
            "NetCreate changes MXCSR",
        ),
        (
            {"work": "__builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);"},
            Kind.MXCSR,
            "a thread of the net changes MXCSR",
        ),
        # The API
        ({"instead_range": ""}, Kind.API, "is no error"),
        ({"net_create": 'return message("not today");'}, Kind.CREATE_FAILED, "not today"),
        ({"net_create": "return NULL;"}, Kind.API, "sets no net"),
        ({"instead_threads_of_net": ""}, Kind.API, "NetCreate with 0 threads is no error"),
        ({"instead_threads_of_engine": ""}, Kind.API, "EngineCreate with 0 threads is no error"),
        # Threads that the program does not know
        ({"instead_block": "before = blocked;"}, Kind.THREADS, "does not leave signal 1 to the program"),
        ({"instead_own": "(void)own;"}, Kind.THREADS, "blocks signal 4, a fault of its own"),
        ({"instead_forked": ""}, Kind.FORK, "gives a thread that a child of fork() does not have"),
        ({"forked": "if (engine->process != getpid()) abort();"}, Kind.FORK, "does not come to its end"),
        # Locks
        (
            {"net_created": "static pthread_mutex_t kept; pthread_mutex_init(&kept, NULL);"},
            Kind.LEAK,
            "NetDestroy leaves 1 mutexes",
        ),
        (
            {"inferred": "if (engine->calls == 1) { static pthread_cond_t kept; pthread_cond_init(&kept, NULL); }"},
            Kind.LEAK,
            "EngineDestroy leaves 1 condition variables",
        ),
        # Refused allocations and threads
        (
            {"instead_scratch_refused": "if (!engine->scratch) engine->scratch = malloc(4); if (!engine->scratch) {"},
            Kind.HEAP,
            "byte 16 of an allocation of the net",
        ),
        ({"instead_table_refused": ""}, Kind.LEAK, "NetCreate leaves 1 allocations"),
        ({"table_refused": "*to = NULL;"}, Kind.FAILURE, "sets its result"),
        ({"instead_unwind": ""}, Kind.THREADS, "EngineCreate leaves"),
    ],
    ids=lambda value: ",".join(value.values()) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_found_and_named(
    runner: Runner, changes: dict[str, str], kind: Kind | None, words: str
) -> None:
    report = run(runner, broken(**changes))
    if kind is None:
        assert report.ok
        return
    assert report.status is not Status.OK
    assert kind in kinds(report), report.violations
    assert any(words in violation.detail for violation in report.violations if violation.kind is kind), (
        report.violations
    )


@pytest.mark.parametrize(
    "code",
    ["huge[(3 << 20) - 64] = 0;", "(void)huge[3 << 20];", "huge[3 << 20] = 0;", "huge[-1] = 0;"],
)
def test_memory_in_large_pages_is_guarded_where_it_ends(runner: Runner, code: str) -> None:
    allocated = 'void *memory; if (posix_memalign(&memory, 2 << 20, (3 << 20) - 64)) return message("no memory");'
    used = 'volatile char *huge = memory; if ((size_t)huge % (2 << 20)) return message("unaligned");'
    last = "huge[(3 << 20) - 65] = 0;"
    sound = f"{allocated} {used} {last} free(memory);"
    source = "#define _POSIX_C_SOURCE 200112L" + broken(net_create=sound)
    assert run(runner, source).ok
    assert Kind.HEAP in kinds(run(runner, source.replace(last, code)))


def test_an_unwritten_element_is_found_with_its_index(runner: Runner) -> None:
    source = SOURCE.replace("reluData[i] = engine", "if (i != 13) reluData[i] = engine")
    assert "reluData: 1 of 30 elements not written, the first is element 13" in only(run(runner, source))


def test_a_null_pointer_is_a_crash_that_keeps_what_came_before(runner: Runner) -> None:
    source = broken(inference="if (engine->calls == 4) *(volatile int *)NULL = 1;")
    report = run(runner, source)
    assert report.status is Status.CRASH
    assert kinds(report) == {Kind.CRASH}
    assert "EngineInference" in only(report)
    assert report.violations[0].data_set == 2
    assert len(report.outputs) == 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("abort();", "SIGABRT"),
        ("exit(3);", "ended by itself with status 3"),
        ("__builtin_trap();", "SIGILL"),
        ("volatile char deep[64 << 20]; deep[0] = 1;", "SIGSEGV: the stack is used up: write at 0x"),
    ],
)
def test_every_death_is_a_crash(runner: Runner, code: str, words: str) -> None:
    report = run(runner, broken(inference=code))
    assert report.status is Status.CRASH
    assert words in only(report)


def test_a_net_that_closes_every_file_can_be_judged_all_the_same(runner: Runner) -> None:
    report = run(runner, broken(inferred=EVERY_FILE), waive(Checks(timeout=60), ["process"]))
    assert (report.status, report.violations) == (Status.OK, ())
    assert len(report.outputs) == 3


def test_a_wild_pointer_is_no_used_up_stack(runner: Runner) -> None:
    report = run(runner, broken(inference="*(volatile int *)4096 = 1;"))
    assert only(report).startswith("SIGSEGV: write at 0x1000")


def test_a_refused_allocation_that_is_not_looked_at_is_found(runner: Runner) -> None:
    source = SOURCE.replace('if (!engine) return message("no memory");', "")
    report = run(runner, source)
    assert report.status is Status.CRASH
    assert "EngineCreate, allocation 1 refused" in only(report)


@pytest.mark.parametrize(
    "code", ["for (;;) engine->calls++;", "pthread_mutex_lock(&mutex); pthread_mutex_lock(&mutex);"]
)
def test_a_hang_ends_at_the_time_limit(runner: Runner, code: str) -> None:
    source = broken(inference=code).replace(
        "enum { channels", "static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;\nenum { channels"
    )
    report = run(runner, source, Checks(timeout=1))
    assert report.status is Status.HANG
    assert "EngineInference" in only(report)


def test_a_flood_of_output_is_bounded(runner: Runner) -> None:
    source = broken(inference='for (;;) puts("flood");').replace(
        "#include <math.h>", "#include <math.h>\n#include <stdio.h>"
    )
    report = run(runner, source)
    assert report.status is not Status.OK
    assert len(report.log) <= 64 << 10


def test_small_appetite_for_memory_is_enough(runner: Runner) -> None:
    assert run(runner, SOURCE, Checks(heap_bytes=2000)).ok  # engines beside each other hold 1,008 bytes at times
    report = run(runner, SOURCE, Checks(heap_bytes=100))
    assert Kind.RUNAWAY_ALLOCATION in kinds(report)


def test_a_struct_of_another_size_is_no_params_struct(runner: Runner) -> None:
    header = HEADER.replace("normVariances[2]", "normVariances[3]")
    report = execute(build_net(GRAPH, header, SOURCE, runner), PARAMS, data_sets())
    assert "36 bytes; the graph's parameters have 32" in only(report)


def test_a_wrong_signature_does_not_build(runner: Runner) -> None:
    swap = ("float *normData, float *reluData", "float *normData, const int *reluData")
    with pytest.raises(BuildError, match=r"reluData|incompatible|discards"):
        build_net(GRAPH, HEADER.replace(*swap), SOURCE.replace(*swap).replace("reluData[i] =", "normData[i] ="), runner)


def test_not_even_one_configuration_is_refused(runner: Runner) -> None:
    executable = build_net(GRAPH, HEADER, SOURCE, runner)
    with pytest.raises(UsageError, match="checks nothing"):
        execute(executable, PARAMS, data_sets(), Checks(()))


def test_a_driver_that_runs_again_stays_in_the_cache(runner: Runner) -> None:
    executable = build_net(GRAPH, HEADER, SOURCE, runner)
    entry = executable.path.parent
    os.utime(entry, (0, 0))
    assert execute(executable, PARAMS, data_sets()).ok
    assert entry.stat().st_mtime > 0


@pytest.mark.parametrize(
    ("params", "inputs"),
    [
        ({}, {"image": np.zeros((2, 3, 5))}),
        (PARAMS, {"picture": np.zeros((2, 3, 5))}),
        (PARAMS, {"image": np.zeros((2, 5, 3))}),
        ({**PARAMS, "more": [1.0]}, {"image": np.zeros((2, 3, 5))}),
    ],
)
def test_wrong_names_and_shapes_are_refused(runner: Runner, params: dict[str, Any], inputs: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"image|missing|unknown"):
        execute(build_net(GRAPH, HEADER, SOURCE, runner), params, [inputs])


def test_nothing_is_left_when_the_tester_is_interrupted(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = build_net(GRAPH, HEADER, broken(inference="for (;;) engine->calls++;"), runner)
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(process: subprocess.Popen[bytes], *_: object) -> None:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr("fuzz.run.process._wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(executable, PARAMS, data_sets())
    assert started[0].returncode == -signal.SIGKILL


def test_alignment_is_exactly_four_where_it_can_be(runner: Runner) -> None:
    source = broken(inferred="reluData[7] = (float)((size_t)reluData % 64);")
    one = Checks((Configuration(1, Placement.UNALIGNED),), sharing=False)
    assert run(runner, source, one).outputs[0]["relu"].ravel()[7] == 4


def test_a_static_program_has_no_leaks_of_the_c_library(runner: Runner) -> None:
    """What it allocates for threads comes to the driver's allocator then, and is kept for threads to come."""
    static = dataclasses.replace(runner, link_flags=("-static",))
    report = run(static, SOURCE)
    assert report.ok, report
    leaking = run(static, SOURCE.replace("free(net->table); /*table*/", ""))
    assert Kind.LEAK in kinds(leaking)


# --- sanitizers (soft builds) -----------------------------------------------------------------------------------------


def sanitized(compiler: Compiler, *sanitizers: Sanitizer) -> Runner:
    answer = soft.probe(compiler, sanitizers)
    assert not isinstance(answer, Unavailable)
    flags = [flag for sanitizer in sanitizers for flag in sanitizer.flags]
    try:
        build(compiler, {"empty.c": "int main(void) { return 0; }\n"}, [*flags, "empty.c"], "empty")
    except BuildError:
        pytest.skip("this compiler has no sanitizer library")
    report = run(answer, SOURCE)
    assert report.ok, report
    return answer


def test_address_sanitizer_sees_what_lies_between_guard_pages(each: Compiler) -> None:
    runner = sanitized(each, Sanitizer.ADDRESS)
    report = run(runner, broken(inferred="engine->scratch[31] = 0;"))
    assert Kind.SANITIZER in kinds(report), report
    assert "heap-buffer-overflow" in report.log
    # The buffer begins at a page, so that what follows it is in the same page: only the sanitizer can see the read.
    checks = Checks((Configuration(1, Placement.AT_BEGIN),))
    assert kinds(run(runner, broken(inferred="engine->calls += imageData[40] > 0;"), checks)) == {Kind.SANITIZER}


def test_thread_sanitizer_sees_a_race(each: Compiler) -> None:
    runner = sanitized(each, Sanitizer.THREAD)
    report = run(runner, broken(work="((TinyEngine *)argument)->calls++;"))
    assert Kind.SANITIZER in kinds(report), report
    assert "data race" in report.log


def test_undefined_behaviour_sanitizer_sees_an_overflow(each: Compiler) -> None:
    runner = sanitized(each, Sanitizer.UNDEFINED)
    report = run(runner, broken(inferred="engine->calls += 0x7fffffff;"))
    assert Kind.SANITIZER in kinds(report), report
    assert "signed integer overflow" in report.log


def test_interfaces_list_what_the_api_sorts() -> None:
    interface = Interface.of(GRAPH)
    assert [argument.name for argument in interface.arguments] == ["imageData", "normData", "reluData"]
    assert [argument.tensor for argument in interface.inputs] == ["image"]
    assert interface.parameter_elements == 8
    assert (
        dataclasses.replace(interface, prefix="Other").shim("Other.c", include_header=True).count('#include "Other')
        == 2
    )


def test_the_driver_alone_says_what_it_is(runner: Runner, tmp_path: Path) -> None:
    path = build_net(GRAPH, HEADER, SOURCE, runner).path
    done = subprocess.run([path], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "differential tester" in done.stderr


def test_a_driver_that_is_killed_is_no_finding(runner: Runner) -> None:
    """The system does that where memory runs out."""
    source = broken(inference="kill(getpid(), SIGKILL);")
    head = "#define _POSIX_C_SOURCE 200809L\n#include <signal.h>\n#include <unistd.h>\n"
    executable = build_net(GRAPH, HEADER, head + source, runner)
    with pytest.raises(MachineError, match="the system killed the program under test"):
        execute(executable, PARAMS, data_sets())


def test_more_arguments_than_there_are_guard_pages(tmp_path: Path) -> None:
    """It is no finding about a legal net that this machine cannot run it."""
    argument = Argument("x", "x", Shape(1, 1, 1), is_input=True)
    interface = Interface("N", (argument,) * 5001, ())
    executable = Executable(tmp_path / "none", interface, Runner("none", "", find_compiler(), ()), (), "")
    with pytest.raises(CannotRunError, match="guard pages for 5,000 inputs and outputs; this net has 5,001"):
        execute(executable, {}, [{}])
