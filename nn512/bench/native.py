"""The C programs that are measured: the emitted code behind a small driver, and the processor's FMA limit."""

from __future__ import annotations

from pathlib import Path

from nn512 import toolchain
from nn512.compiler import Emitted
from nn512.errors import CannotRunError
from nn512.graph import Graph, Input, argument_tensor
from nn512.toolchain import Compiler

PROGRAMS = Path(__file__).resolve().parent / "programs"

FLAGS = (*toolchain.LANGUAGE_FLAGS, "-O2", *toolchain.NATIVE_FLAGS)
"""How the documentation tells users to build emitted code."""

PROFILE_MACRO = "NN512_PROFILE"


def build_net(compiler: Compiler, graph: Graph, emitted: Emitted, *, profile: bool = False) -> Path:
    """The program that runs a net (see programs/bench_net.c), with counters per layer if `profile`.

    Raises CannotRunError where the emitted code has no counters, BuildError where it does not build.
    """
    if profile and PROFILE_MACRO not in emitted.source:
        raise CannotRunError(f"the emitted code has no {PROFILE_MACRO}: it cannot count the time of each layer")
    files = {
        f"{emitted.prefix}.h": emitted.header,
        "bench_emitted.c": emitted.source,
        "bench_net.c": program("bench_net.c"),
        "bench_serve.h": program("bench_serve.h"),
        "bench_adapter.h": adapter(graph, emitted.prefix),
    }
    flags = [*FLAGS, *([f"-D{PROFILE_MACRO}"] if profile else []), "bench_net.c", "bench_emitted.c"]
    return toolchain.build(compiler, files, flags, "bench_net").path


def build_peak(compiler: Compiler) -> Path:
    """The program that measures the processor's FMA limit (see programs/bench_peak.c)."""
    files = {name: program(name) for name in ("bench_peak.c", "bench_serve.h")}
    return toolchain.build(compiler, files, [*FLAGS, "bench_peak.c"], "bench_peak").path


def program(name: str) -> str:
    """The text of a file of programs/."""
    return (PROGRAMS / name).read_text("utf-8")


def adapter(graph: Graph, prefix: str) -> str:
    """C text by which the driver, the same for all nets, knows one net: its names, sizes and arguments."""
    tensors = [
        f"    {{{graph.shapes[argument_tensor(node)].elements}, {int(isinstance(node, Input))}}},"
        for node in graph.arguments
    ]
    count = len(tensors)
    arguments = ", ".join(f"tensors[{i}]" for i in range(count))
    functions = ("NetCreate", "NetDestroy", "EngineCreate", "EngineDestroy", "EnginePthreadT", "EngineProfile")
    lines = [
        "/* What bench_net.c calls the net at hand. */",
        f'#include "{prefix}.h"',
        *(f"typedef {prefix}{name} bench_{name};" for name in ("Params", "Net", "Engine")),
        *(f"#define bench_{name} {prefix}{name}" for name in functions),
        f"#define BENCH_HAS_PARAMS {int(bool(graph.parameters))}",
        f"#define BENCH_TENSORS {count}",
        "static const struct {",
        "    size_t elements;",
        "    int is_input;",
        "} bench_tensors[BENCH_TENSORS] = {",
        *tensors,
        "};",
        "static void bench_infer(bench_Engine *engine, float *const *tensors) {",
        f"    {prefix}EngineInference(engine, {arguments});",
        "}",
    ]
    return "\n".join(lines) + "\n"
