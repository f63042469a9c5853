"""The emitted source file: what stands around the layers, in the order in which a reader needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nn512.cgen import names
from nn512.cgen.header import inference_signature
from nn512.cgen.threads import MESSAGE, TEAM
from nn512.cgen.writer import Writer
from nn512.graph.graph import Graph, argument_name
from nn512.graph.nodes import Input
from nn512.kernels.layer import LayerCode, Library
from nn512.plan.planner import Plan

# Before the first header. <immintrin.h> happens to declare what we use, but not every version of it.
POSIX = """\
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200112L /* posix_memalign and pthread_sigmask, which C99 alone hides */
#endif"""

PREAMBLE = """
#include <immintrin.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNROLL _Pragma("GCC unroll 32")
#define INLINE inline __attribute__((always_inline)) /* a shared routine: each layer has its own copy in the object */
#define NOINLINE __attribute__((noinline))           /* a layer's inner loops: registers are allocated for it alone */
"""

NET_CREATE = """
char *{p}NetCreate({p}Net **net, {p}Params *params, ptrdiff_t threads) {
    if (!__builtin_cpu_supports("avx512f")) return message("{p}: this processor does not have AVX-512F");
    Team team;
    char *error = team_create(&team, threads);
    if (error) return error;
    void *memory;
    if (posix_memalign(&memory, 64, sizeof({p}Net))) {
        team_destroy(&team);
        return message("{p}: no memory for %zu bytes of packed parameters", sizeof({p}Net));
    }
    memset(memory, 0, sizeof({p}Net)); /* lanes without a channel stay 0 */
    {packing} packing = {memory, params};
    {runs}
    team_destroy(&team);
    *net = memory;
    return NULL;
}

void {p}NetDestroy({p}Net *net) {
    free(net);
}
"""

ENGINE_CREATE = """
char *{p}EngineCreate({p}Engine **engine, {p}Net *net, ptrdiff_t threads) {
    {p}Engine *created = malloc(sizeof *created);
    if (created == NULL) return message("{p}: no memory for an engine");
    char *error = team_create(&created->team, threads);
    if (error) {
        free(created);
        return error;
    }
    void *memory;
    if (posix_memalign(&memory, 64, (size_t)ArenaFloats * sizeof(float))) {
        team_destroy(&created->team);
        free(created);
        return message("{p}: no memory for tensors of %zu bytes", (size_t)ArenaFloats * sizeof(float));
    }
    created->arena = memory;
    created->net = net;
    *engine = created;
    return NULL;
}

char *{p}EnginePthreadT({p}Engine *engine, ptrdiff_t index, pthread_t *to) {
    if (index < 0 || index >= engine->team.threads)
        return message("{p}: no thread %td, the engine has threads 0 to %td", index, engine->team.threads - 1);
    *to = engine->team.workers[index].thread;
    return NULL;
}

void {p}EngineDestroy({p}Engine *engine) {
    if (engine == NULL) return;
    team_destroy(&engine->team);
    free(engine->arena);
    free(engine);
}
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """An emitted layer and what its comment says: title, graph lines, figures."""

    code: LayerCode
    title: str
    comment: tuple[str, ...]
    mmac: float
    split: bool


def write_source(plan: Plan, layers: Sequence[Layer], library: Library) -> str:
    """Text of `<Prefix>.c`."""
    graph = plan.program.graph
    prefix = graph.config.prefix
    writer = Writer()
    _write_overview(writer, prefix, layers)
    writer.line()
    writer.lines(POSIX)
    writer.line()
    writer.line(f'#include "{prefix}.h"')
    writer.lines(PREAMBLE)
    for text in (MESSAGE, TEAM):
        writer.line()
        writer.lines(text)
    _write_types(writer, plan, layers)
    if list(library):
        _section(writer, "Shared routines")
    for routine in library:
        writer.line()
        writer.lines(routine.text)
    _write_packing(writer, graph, layers)
    for number, layer in enumerate(layers, 1):
        writer.line()
        writer.banner([f"Layer {number}: {layer.title}", *layer.comment])
        writer.lines(layer.code.code)
    _section(writer, "The engine")
    writer.line()
    writer.lines(ENGINE_CREATE.replace("{p}", prefix))
    writer.line()
    _write_inference(writer, graph, layers)
    return writer.text()


def _section(writer: Writer, title: str) -> None:
    writer.line()
    writer.line(f"/* ---- {title} {'-' * (104 - len(title))} */")


def _write_overview(writer: Writer, prefix: str, layers: Sequence[Layer]) -> None:
    total = sum(layer.mmac for layer in layers)
    size = sum(layer.code.weight_bytes for layer in layers)
    writer.line(f"/* {prefix}: {len(layers)} layers, {total:,.1f} MMAC, {size:,} bytes of packed weights.")
    writer.line(" *")
    writer.line(f" * {'':>5}{'layer':<28}{'MMAC':>10}{'weights, bytes':>18}  algorithm")
    for number, layer in enumerate(layers, 1):
        code = layer.code
        line = f" * {number:>3}  {code.name:<28}{layer.mmac:>10.2f}{code.weight_bytes:>18,}  {code.algorithm}"
        writer.line(line)
    writer.line(" *")
    writer.line(" * A tensor is stored in blocks of 16 channels, [block][height][width][16]. A step function computes items first to")
    writer.line(" * last-1 of its layer; an item is a block, or a row of one or a few blocks. */")


def _write_types(writer: Writer, plan: Plan, layers: Sequence[Layer]) -> None:
    graph = plan.program.graph
    prefix = graph.config.prefix
    _section(writer, "Parameters, tensors")
    writer.line()
    writer.comment("Packed parameters, in the order in which the kernels read them.")
    with writer.block(f"struct {prefix}Net", "};"):
        fields = [f for layer in layers for f in layer.code.fields]
        for f in fields:
            extents = "".join(f"[{e}]" for e in f.extents)
            writer.line(f"{f.element} {f.name}{extents}; /* {f.comment} */")
        if not fields:
            writer.line("char none; /* this net has no parameters */")
    writer.line()
    writer.comment("Where tensors begin in the arena, in floats, and the layers between which they live.")
    with writer.block("enum", "};"):
        for tensor in plan.tensors.values():
            lifetime = f"layers {tensor.first_step + 1} to {tensor.last_step + 1}"
            segments = ""
            if len(tensor.layout.segments) > 1:
                segments = f" in segments of {', '.join(map(str, tensor.layout.segments))} channels"
            writer.line(f"{names.offset(tensor.name)} = {tensor.offset * 16}, /* {tensor.shape}{segments}, {lifetime} */")
        writer.line(f"ArenaFloats = {plan.arena.size * 16}")
    writer.line()
    with writer.block(f"struct {prefix}Engine", "};"):
        writer.line(f"const {prefix}Net *net;")
        writer.line("float *arena;")
        writer.line("Team team;")
        for node in graph.arguments:
            qualifier = "const " if isinstance(node, Input) else ""
            writer.line(f"{qualifier}float *{argument_name(node)};")


def _write_packing(writer: Writer, graph: Graph, layers: Sequence[Layer]) -> None:
    prefix = graph.config.prefix
    packing = names.static(prefix, "Packing")
    _section(writer, "Packing of parameters")
    writer.line()
    writer.line(f"typedef struct {{ {prefix}Net *net; const {prefix}Params *params; }} {packing};")
    packed = [layer.code for layer in layers if layer.code.packs]
    for code in packed:
        writer.line()
        writer.lines(code.packing)
    writer.line()
    function = NET_CREATE.replace("{p}", prefix).replace("{packing}", packing)
    runs = "\n".join(
        f"    team_run(&team, {names.static(prefix, part.name)}, &packing, {part.items});"
        for code in packed
        for part in code.packs
    )
    function = function.replace("    {runs}", runs)
    if not runs:
        function = function.replace(f"    {packing} packing = {{memory, params}};\n", "    (void)params;\n")
    writer.lines(function)


def _write_inference(writer: Writer, graph: Graph, layers: Sequence[Layer]) -> None:
    prefix = graph.config.prefix
    with writer.block(inference_signature(graph)):
        for node in graph.arguments:
            writer.line(f"engine->{argument_name(node)} = {argument_name(node)};")
        if any(layer.split for layer in layers):
            writer.line("Team *team = &engine->team;")
        for layer in layers:
            for part in layer.code.steps:
                step = names.static(prefix, part.name)
                if layer.split:
                    writer.line(f"team_run(team, {step}, engine, {part.items});")
                else:
                    writer.line(f"{step}(engine, 0, {part.items});")
