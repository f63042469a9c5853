"""The emitted source file: what stands around the layers, in the order in which a reader needs it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from nn512.cgen import names
from nn512.cgen.code import LayerCode, Library
from nn512.cgen.comments import LayerComment
from nn512.cgen.header import in_and_out, write_inference_signature
from nn512.cgen.threads import MESSAGE, TEAM, TEAM_END, TEAM_RUN
from nn512.cgen.writer import Writer
from nn512.graph.graph import Graph, argument_name, argument_tensor
from nn512.graph.nodes import Input
from nn512.plan.layout import LANES
from nn512.plan.placing import Placement
from nn512.plan.plan import Plan, uses_bfloat16

# Before the first header. <immintrin.h> happens to declare what we use, but not every version of it.
POSIX = """\
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* madvise, where the system has it */
#endif
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
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* UNROLL stands before loops with few iterations: sums stay in registers only if no loop over them is left. ROLLED
 * stands before loops over channels: gcc would unroll short ones at -O3, and spill what their copies share. INLINE is a
 * shared routine: every layer that calls it has a copy. NOINLINE is a function of its own: the compiler allocates
 * registers for it alone, and a profile names its layer. no_icf keeps gcc from merging layers whose code is equal. */
#define INLINE inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#define NOINLINE __attribute__((noinline))
#else
#define UNROLL _Pragma("GCC unroll 32")
#define ROLLED _Pragma("GCC unroll 1")
#define NOINLINE __attribute__((noinline, no_icf))
#endif
"""

ALLOCATE = """
/* Memory for a net or an engine. A large one is asked for in pages of 2 MiB: an inference reads all weights once, and
 * streams faster than pages of 4 KiB are looked up. */
static void *allocate(size_t bytes) {
    const size_t page = 2 << 20;
    void *memory;
    if (posix_memalign(&memory, bytes < page ? 64 : page, bytes)) return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= page) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}
"""

NET_CREATE = """
if (!__builtin_cpu_supports("avx512f")) return message("{p}: this processor does not have AVX-512F");
{bfloat16}Team team;
char *error = team_create(&team, threads);
if (error) return error;
{p}Net *net = allocate(sizeof *net);
if (net == NULL) {
    team_destroy(&team);
    return message("{p}: no memory for %zu bytes of packed parameters", sizeof *net);
}
memset(net, 0, sizeof *net); /* lanes without a channel stay 0 */
"""

NEEDS_BFLOAT16 = """\
if (!__builtin_cpu_supports("avx512bf16"))
    return message("{p}: this processor does not have AVX512_BF16; emit the net for the platform AVX512Float32");
"""

RUN = """
/* With -DNN512_PROFILE, an engine measures the time of every layer; with -DNN512_TAP, your function nn512tap sees all
 * tensors before every step, and so what the step before has made. Without them, nothing is added to the calls. */
#ifdef NN512_PROFILE
static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}
#define TIMED(engine, layer, call) \\
    do { \\
        const long long before = now(); \\
        call; \\
        (engine)->nanoseconds[layer] += now() - before; \\
        (engine)->inferences += (layer) == 0; \\
    } while (0)
#elif defined NN512_TAP
void nn512tap(const float *arena, int layer);
#define TIMED(engine, layer, call) (nn512tap((engine)->arena, layer), call)
#else
#define TIMED(engine, layer, call) call
#endif

#define run_shared(engine, layer, step, items) TIMED(engine, layer, team_run(&(engine)->team, step, engine, items))
#define run_alone(engine, layer, step, items) TIMED(engine, layer, step(engine, (Share){.last = items}))
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
    const size_t bytes = (size_t){floats} * sizeof(float);
    created->arena = allocate(bytes);
    if (created->arena == NULL) {
        team_destroy(&created->team);
        free(created);
        return message("{p}: no memory for tensors of %zu bytes", bytes);
    }
    created->net = net;
#ifdef NN512_PROFILE
    created->inferences = 0;
    memset(created->nanoseconds, 0, sizeof created->nanoseconds);
#endif
    *engine = created;
    return NULL;
}

char *{p}EnginePthreadT({p}Engine *engine, ptrdiff_t index, pthread_t *to) {
    team_check(&engine->team);
    if (index < 0 || index >= engine->team.threads)
        return message("{p}: no thread %td, the engine has threads 0 to %td",
                       index, engine->team.threads - 1);
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


def write_source(
    placement: Placement, plan: Plan, layers: Sequence[LayerCode], comments: Sequence[LayerComment], library: Library
) -> str:
    """Text of `<Prefix>.c`."""
    graph = placement.program.graph
    prefix = graph.config.prefix
    writer = Writer()
    _write_overview(writer, plan)
    writer.line()
    writer.lines(POSIX)
    writer.line()
    writer.line(f'#include "{prefix}.h"')
    writer.lines(PREAMBLE)
    shared = any(layer.packs for layer in layers) or any(layer.shared_by_threads for layer in plan.layers)
    for text in (MESSAGE, ALLOCATE, TEAM, TEAM_RUN if shared else "", TEAM_END):
        if text:
            writer.line()
            writer.lines(text)
    _write_types(writer, placement, layers)
    if list(library):
        _section(writer, "Shared routines")
    for routine in library:
        writer.line()
        writer.lines(routine.text)
    _write_packing(writer, graph, plan, layers, library)
    for number, (layer, comment) in enumerate(zip(layers, comments, strict=True), 1):
        writer.line()
        writer.banner(f"Layer {number}: {comment.title}", comment.lines)
        writer.lines(layer.text)
    _section(writer, "The engine")
    writer.line()
    floats = "(ArenaFloats + threads * ThreadFloats)" if placement.thread_vectors else "ArenaFloats"
    writer.lines(ENGINE_CREATE.replace("{p}", prefix).replace("{floats}", floats))
    writer.line()
    writer.lines(RUN)
    writer.line()
    _write_inference(writer, graph, plan)
    return writer.text()


def _section(writer: Writer, title: str) -> None:
    writer.line()
    writer.line(f"/* ---- {title} {'-' * (104 - len(title))} */")


def _write_overview(writer: Writer, plan: Plan) -> None:
    total = sum(layer.mmac for layer in plan.layers)
    size = sum(layer.weight_bytes for layer in plan.layers)
    writer.line(f"/* {plan.prefix}: {len(plan.layers)} layers, {total:,.1f} MMAC, {size:,} bytes of packed weights.")
    if plan.threads > 1:
        writer.line(f" * Kernels are chosen for {plan.threads} threads; the code runs on any number.")
    writer.line(" *")
    writer.line(f" * {'':>5}{'layer':<28}{'MMAC':>10}{'weights, bytes':>18}  kernel")
    for number, layer in enumerate(plan.layers, 1):
        writer.line(f" * {number:>3}  {layer.name:<28}{layer.mmac:>10.2f}{layer.weight_bytes:>18,}  {layer.kernel}")
    writer.line(" *")
    writer.line(
        " * A tensor is stored in blocks of 16 channels, [block][height][width][16]. A step function computes a"
    )
    writer.line(" * thread's share of its layer's items: blocks, rows of one or a few blocks, or tiles of pixels. */")


def _write_types(writer: Writer, placement: Placement, layers: Sequence[LayerCode]) -> None:
    graph = placement.program.graph
    prefix = graph.config.prefix
    _section(writer, "Parameters, tensors")
    writer.line()
    writer.comment(
        "Packed parameters, padded to whole blocks of 16 channels. Biases: [block][lane]. Batch norms: [block]"
        "[scales, then shifts][lane]. Weights: [panel of output blocks][input block][filter row][filter column]"
        "[input lane][output block of the panel][output lane], the order in which they are read."
    )
    with writer.block(f"struct {prefix}Net", "};"):
        fields = [f for layer in layers for f in layer.arrays]
        for layer in layers:
            for element, group in itertools.groupby(layer.arrays, key=lambda f: f.element):
                writer.enumeration(f"{element} ", [f"{f.name}{f.extents}" for f in group], ";")
        if not fields:
            writer.line("char none; /* this net has no parameters */")
    writer.line()
    writer.comment("Where tensors begin in the arena, in floats, and the layers between which they live.")
    with writer.block("enum", "};"):
        for tensor in placement.tensors.values():
            lifetime = f"layers {tensor.first_step + 1} to {tensor.last_step + 1}"
            segments = ""
            if not tensor.layout.regular:
                segments = f" in segments of {', '.join(map(str, tensor.layout.segments))} channels"
            if tensor.layout.lanes < LANES:
                segments += " in planes" if tensor.layout.lanes == 1 else " as height x width x channels"
            comment = f"/* {tensor.shape}{segments}, {lifetime} */"
            writer.line(f"{names.offset(tensor.name)} = {tensor.offset * 16}, {comment}")
        writer.line(f"Layers = {len(layers)},")
        own = placement.thread_vectors * 16
        writer.line(f"ArenaFloats = {placement.arena.size * 16}{',' if own else ''}")
        if own:
            writer.line(f"ThreadFloats = {own} /* behind the tensors, for every thread: its own working memory */")
    writer.line()
    with writer.block(f"struct {prefix}Engine", "};"):
        writer.line(f"const {prefix}Net *net;")
        writer.line("float *arena;")
        writer.line("Team team;")
        for node in graph.arguments:
            qualifier = "const " if isinstance(node, Input) else ""
            writer.line(f"{qualifier}float *{argument_name(node)};")
        writer.line("#ifdef NN512_PROFILE")
        writer.line("long long inferences, nanoseconds[Layers];")
        writer.line("#endif")
    writer.line()
    writer.comment(
        "The memory of a tensor. The function is never inlined, so compilers take tensors for separate objects, "
        "although all lie in one arena."
    )
    with writer.block(f"static NOINLINE void *tensor(const {prefix}Engine *engine, ptrdiff_t at)"):
        writer.line("return engine->arena + at;")


def _write_packing(writer: Writer, graph: Graph, plan: Plan, layers: Sequence[LayerCode], library: Library) -> None:
    prefix = graph.config.prefix
    calls = [call for layer in layers for call in layer.packs]
    _section(writer, "Packing of parameters: once, when a net is created")
    routines = Library()
    for call in calls:
        for routine in (call.routine, *call.tables):
            routines.use(routine)
    for routine in routines:
        if routine not in library:
            writer.line()
            writer.lines(routine.text)
    writer.line()
    with writer.block(f"char *{prefix}NetCreate({prefix}Net **to, {prefix}Params *params, ptrdiff_t threads)"):
        needed = NEEDS_BFLOAT16 if uses_bfloat16(plan) else ""
        writer.lines(NET_CREATE.replace("{bfloat16}", needed).replace("{p}", prefix))
        for call in calls:
            writer.statement(call.routine.name.upper(), [str(call.items), *call.arguments], ";")
        if not calls:
            writer.line("(void)params;")
        writer.lines("team_destroy(&team);\n*to = net;\nreturn NULL;")
    writer.line()
    with writer.block(f"void {prefix}NetDestroy({prefix}Net *net)"):
        writer.line("free(net);")


def _write_inference(writer: Writer, graph: Graph, plan: Plan) -> None:
    prefix = graph.config.prefix
    write_inference_signature(writer, graph, " {")
    with writer.indented():
        writer.line("team_check(&engine->team);")
        for node in graph.arguments:
            writer.line(f"engine->{argument_name(node)} = {argument_name(node)};")
        for number, layer in enumerate(plan.layers):
            run = "run_shared" if layer.shared_by_threads else "run_alone"
            for step in layer.steps:
                function = names.static(prefix, step.name)
                writer.line(f"{run}(engine, {number}, {function}, {step.items});")
    writer.line("}")
    writer.line()
    with writer.block(f"char *{prefix}EngineRun({prefix}Engine *engine, const {prefix}Tensors *tensors)"):
        for node in in_and_out(graph):
            tensor = argument_tensor(node)
            condition = f"if (tensors->{names.member(tensor)} == NULL)"
            writer.nest([condition], [f'return message("{prefix}: the tensor {tensor} is NULL");'])
        members = (f"tensors->{names.member(argument_tensor(node))}" for node in graph.arguments)
        writer.statement(f"{prefix}EngineInference", ["engine", *members], ";")
        writer.line("return NULL;")
    writer.line()
    writer.line("#ifdef NN512_PROFILE")
    with writer.block(f"void {prefix}EngineProfile({prefix}Engine *engine, FILE *to)"):
        writer.table("static const char *const layers[]", (f'"{layer.name}"' for layer in plan.layers))
        writer.line("for (int i = 0; i < Layers; i++)")
        with writer.indented():
            writer.line('fprintf(to, "%s\\t%lld\\t%lld\\n", layers[i], engine->inferences, engine->nanoseconds[i]);')
    writer.line("#endif")
