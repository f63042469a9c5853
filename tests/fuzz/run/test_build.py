"""Driver programs out of any pair with the API: ours or foreign, tidy or not, with gcc and with clang."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn512
from fuzz.run import build as builder
from fuzz.run.build import BuildError, build_net, check_header
from fuzz.run.checks import QUICK, Checks
from fuzz.run.interface import Interface
from fuzz.run.runners import Runner
from fuzz.run.sandbox import execute
from nn512.graph import parse
from nn512.options import Options
from nn512.toolchain import NATIVE_FLAGS, BuildCache, Built, Compiler, build, find_compilers, soft_flags

HEADER = """
#include <pthread.h>
#include <stddef.h>
typedef struct {p}Params {p}Params;
typedef struct {p}Net {p}Net;
typedef struct {p}Engine {p}Engine;
char *{p}NetCreate({p}Net **, {p}Params *, ptrdiff_t threads);
void {p}NetDestroy({p}Net *);
char *{p}EngineCreate({p}Engine **, {p}Net *, ptrdiff_t threads);
char *{p}EnginePthreadT({p}Engine *, ptrdiff_t index, pthread_t *to);
void {p}EngineInference({p}Engine *, float *xData, float *yData);
void {p}EngineDestroy({p}Engine *);
struct {p}Params {{ char filler; }};
"""

CONVOLUTION = """\
Config Prefix=Tiny
Input ToTensor=x Channels=20 Height=5 Width=5
Conv FromTensor=x ToTensor=y ToChannels=18 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=y
"""

GUARDED = "#ifndef GUARD_H\n#define GUARD_H\n" + HEADER + "#endif\n"

SOURCE = """
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
struct {p}Net {{ int unused; }};
struct {p}Engine {{ pthread_t self; }};
char *{p}NetCreate({p}Net **to, {p}Params *params, ptrdiff_t threads) {{
    (void)params, (void)threads;
    {p}Net *net = calloc(1, sizeof *net);
    if (!net) return strcpy(malloc(8), "memory");
    *to = net;
    return NULL;
}}
void {p}NetDestroy({p}Net *net) {{ free(net); }}
char *{p}EngineCreate({p}Engine **to, {p}Net *net, ptrdiff_t threads) {{
    (void)net, (void)threads;
    {p}Engine *engine = malloc(sizeof *engine);
    if (!engine) return strcpy(malloc(8), "memory");
    engine->self = pthread_self();
    *to = engine;
    return NULL;
}}
char *{p}EnginePthreadT({p}Engine *engine, ptrdiff_t index, pthread_t *to) {{
    if (index) return strcpy(malloc(8), "index");
    *to = engine->self;
    return NULL;
}}
void {p}EngineInference({p}Engine *engine, float *xData, float *yData) {{
    (void)engine;
    for (int i = 0; i < 6; i++) yData[i] = xData[i] > 0 ? xData[i] : 0;
}}
void {p}EngineDestroy({p}Engine *engine) {{ free(engine); }}
"""

CHECKS = Checks(QUICK, api=False, sharing=False, promises=False, timeout=60)


def interface(prefix: str = "Tiny") -> Interface:
    text = "Config Prefix={p} Input ToTensor=x Channels=1 Height=2 Width=3 Activation FromTensor=x ToTensor=y Kind=ReLU"
    return Interface.of(parse(text.format(p=prefix) + " Output FromTensor=y"))


def pair(prefix: str = "Tiny", start: str = '#include "{p}.h"\n') -> tuple[str, str]:
    return GUARDED.format(p=prefix), (start + SOURCE).format(p=prefix)


@pytest.fixture(params=find_compilers(), ids=lambda compiler: compiler.kind.value)
def runner(request: pytest.FixtureRequest) -> Runner:
    compiler: Compiler = request.param
    return Runner("plain", "plain C", compiler, ())


@pytest.fixture(scope="module")
def one() -> Runner:
    return Runner("plain", "plain C", find_compilers()[0], ())


def works(executable: builder.Executable) -> bool:
    x = np.array([[[1, -2, 3], [-4, 5, -6]]], np.float32)
    report = execute(executable, {}, [{"x": x}], CHECKS)
    assert report.ok, report
    return bool((report.outputs[0]["y"] == np.maximum(x, 0)).all())


def test_every_compiler_builds_a_pair_that_runs(runner: Runner) -> None:
    assert works(build_net(interface(), *pair(), runner))


@pytest.mark.parametrize("flags", [("-O0",), ("-Og",), ("-O3", "-fno-inline"), ("-O1", "-g")], ids=" ".join)
def test_flags_vary(runner: Runner, flags: tuple[str, ...]) -> None:
    executable = build_net(interface(), *pair(), runner, flags=flags)
    assert executable.flags == flags
    assert works(executable)


@pytest.mark.parametrize(
    "prefix", ["math", "immintrin", "stdlib", "driver", "Driver", "main", "start", "nn512", "heap", "shim", "memcpy1"]
)
def test_any_prefix_works(one: Runner, prefix: str) -> None:
    """Prefixes that are names of headers, or of things in the driver."""
    assert works(build_net(interface(prefix), *pair(prefix), one))


@pytest.mark.parametrize(
    "start",
    [
        "#include <{p}.h>\n",
        '#  include "{p}.h" /* and more */\n',
        '#define _POSIX_C_SOURCE 200809L\n#include <immintrin.h>\n#include "{p}.h"\n',
        '#define _GNU_SOURCE\n#include "{p}.h"\n',
        '#define _XOPEN_SOURCE 700 // for something\n#include "{p}.h"\n',
    ],
)
def test_foreign_habits_at_the_top_are_no_problem(runner: Runner, start: str) -> None:
    assert works(build_net(interface(), *pair(start=start), runner))


def test_a_header_without_guards_is_included_once(one: Runner) -> None:
    assert works(build_net(interface(), HEADER.format(p="Tiny"), pair()[1], one))


def test_a_source_that_repeats_its_header_is_fine(one: Runner) -> None:
    source = HEADER.format(p="Tiny") + SOURCE.format(p="Tiny")
    assert works(build_net(interface(), "/* everything is in the source */\n", source, one))


def test_warnings_are_errors_for_our_code_alone(one: Runner) -> None:
    header, source = pair()
    source += "static int never_used(void) { return 1; }\n"
    with pytest.raises(BuildError, match="never_used"):
        build_net(interface(), header, source, one)
    executable = build_net(interface(), header, source, one, strict=False)
    assert "never_used" in executable.warnings
    assert works(executable)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(void)engine;", "syntax error here;", "error"),
        ("float *xData, float *yData", "float *xData", "few arguments|undeclared"),
        ("void {p}NetDestroy", "void {p}NetDestroyed", "NetDestroy"),
    ],
)
def test_what_does_not_build_carries_the_compilers_text(one: Runner, old: str, new: str, words: str) -> None:
    header, source = ((text).replace(old.format(p="Tiny"), new.format(p="Tiny")) for text in pair())
    with pytest.raises(BuildError, match=words) as caught:
        build_net(interface(), header, source, one)
    assert "error: " in caught.value.text


def test_a_precompiled_header_that_fails_is_done_without(one: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "_precompiled", lambda *_: ("-include", "no-such-file.h"))
    assert works(build_net(interface(), *pair(), one))


def test_names_for_sizes_of_tensors_are_theirs(one: Runner) -> None:
    made = nn512.compile(parse(CONVOLUTION))
    assert "#define Tiny_x_floats 500\n" in made.header
    wrong = made.header.replace("#define Tiny_x_floats 500\n", "#define Tiny_x_floats 400\n")
    with pytest.raises(BuildError, match="Tiny_x_floats is not 500"):
        build_net(parse(CONVOLUTION), wrong, made.source, dataclasses.replace(one, net_flags=NATIVE_FLAGS))


@pytest.mark.parametrize("flags", [("-O0",), ("-O1",)])
def test_headers_that_are_precompiled_are_those_of_the_source(one: Runner, flags: tuple[str, ...]) -> None:
    """A source that forgets one does not build: nothing else brings it along."""
    header, source = pair()
    forgetful = source.replace("#include <string.h>\n", "")
    assert forgetful != source
    with pytest.raises(BuildError, match="strcpy"):
        build_net(interface(), header, forgetful, one, flags=flags)


@pytest.mark.parametrize("name", ["native", "soft"])
@pytest.mark.parametrize("kernel", ["", "direct-bf16"])
def test_what_is_emitted_is_compiled_once(runner: Runner, name: str, kernel: str) -> None:
    """With the precompiled header, that is, and not once more without it."""
    graph = parse(CONVOLUTION)
    options = Options.from_dict({"force": [["", kernel]], "platform": "AVX512BFloat16"} if kernel else {})
    emitted = nn512.compile(graph, options)
    flags = NATIVE_FLAGS if name == "native" else soft_flags()
    one = dataclasses.replace(runner, net_flags=tuple(flags))
    built = []

    def count(compiler: Compiler, files: Mapping[str, str], arguments: Sequence[str], output: str, **how: Any) -> Built:
        built.append(output)
        return build(compiler, files, arguments, output, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "build", count)
        build_net(graph, emitted.header, emitted.source, one, flags=("-O1",))
    assert built.count("driver") == 1
    assert built.count("start.h.gch") + built.count("start.pch") == 1


def test_a_foreign_source_may_use_any_intrinsic(one: Runner) -> None:
    native = dataclasses.replace(one, net_flags=NATIVE_FLAGS)
    header, source = pair()
    source += """
    #include <immintrin.h>
    __attribute__((target("avx512bw"))) __m512i tinyExtra(__m512i x) { return _mm512_abs_epi16(x); }
    """
    assert build_net(interface(), header, source, native).path.exists()


def test_nothing_but_entries_stays_in_the_cache(one: Runner, tmp_path: Path) -> None:
    cache = BuildCache(tmp_path / "cache")
    executable = build_net(interface(), *pair(), one, cache=cache)
    again = build_net(interface(), *pair(), one, cache=cache)
    assert executable.path == again.path
    assert not list(cache.directory.glob("tmp-*"))
    assert not list(cache.directory.glob("*/*.c"))


def test_the_environment_names_the_cache_at_any_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    caches = []
    for name in ("one", "two", "one"):
        monkeypatch.setenv("NN512_CACHE", str(tmp_path / name))
        caches.append(builder.fuzz_cache())
    assert [cache.directory for cache in caches] == [tmp_path / name / "fuzz" for name in ("one", "two", "one")]
    assert caches[0] is caches[2], "it counts what it stores, and others remember what is in it"


def test_headers_are_checked_alone_and_as_cpp(runner: Runner) -> None:
    cpp = 'extern "C" {{\n'.format()
    header = GUARDED.format(p="Tiny")
    check_header(interface(), header, runner)
    for wrong in (
        header.replace("#include <stddef.h>", "").replace("#include <pthread.h>", ""),
        header.replace("ptrdiff_t index", "ptrdiff_t class"),
        HEADER.format(p="Tiny"),
        header + cpp,
    ):
        with pytest.raises(BuildError):
            check_header(interface(), wrong, runner)


@pytest.mark.parametrize("name", builder.DRIVER_SOURCES)
def test_the_driver_itself_builds_without_a_warning(runner: Runner, name: str) -> None:
    texts = builder._driver_texts()
    files = {"nn512_driver.h": texts["nn512_driver.h"], name: texts[name]}
    flags = ("-std=gnu11", "-O2", "-pthread", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes")
    build(runner.compiler, files, [*flags, "-c", name], "part.o", cache=builder.fuzz_cache())
