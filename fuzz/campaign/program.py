"""A finding as a C program of its own: it needs a compiler and nothing else, and ends with 1 where results are wrong.

Results that are right clear C of a fault that is one of values. Of another fault the program says that it cannot show
it, and what does, and ends with 3.

`repro.c` includes the C of the finding. Parameters, inputs, expected results and how far off they may be stand in
`repro.bin` beside it, as they lie in memory: floats, and doubles for what is expected and allowed.
"""

from __future__ import annotations

import json
from collections.abc import Collection

import numpy as np

from fuzz.judge.report import Report
from fuzz.run.interface import Interface
from fuzz.run.outcome import Kind

PORTABLE = "portable"
"""The folder of the portable <immintrin.h> in a finding that was made with it."""

_HEAD = """\
/* A finding of nn512 {version}: {what}
 *
 *     {command}
 *     ./repro
 *
 * {ends} */
#define _GNU_SOURCE
#include "{prefix}.c"
{header}"""

_PROGRAM = """
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {{ MOST_THREADS = 4, ARGUMENTS = {count} }};

static const struct {{
    const char *name;
    size_t elements;
    int is_input;
}} arguments[ARGUMENTS] = {{
{table}}};

/* Memory that ends where a page ends behind which nothing may be touched. */
static void *block(size_t bytes) {{
    const size_t page = 4096, whole = (bytes + page - 1) / page * page;
    char *const memory = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + whole, page, PROT_NONE)) {{
        fprintf(stderr, "no memory\\n");
        exit(2);
    }}
    return memory + whole - bytes;
}}

static void load(FILE *file, void *to, size_t bytes) {{
    if (fread(to, 1, bytes, file) == bytes) return;
    fprintf(stderr, "repro.bin ends too early\\n");
    exit(2);
}}

static void check(char *error) {{
    if (!error) return;
    fprintf(stderr, "%s\\n", error);
    exit(1);
}}

/* Not a number where it should be, an infinity that is none, or too far off. Where anything goes, `allowed` is NaN. */
static int is_wrong(float got, double expected, double allowed) {{
    if (isnan(allowed)) return 0;
    if (isnan(expected)) return !isnan(got);
    if (isinf(expected)) return (double)got != expected;
    return !(fabs(got - expected) <= allowed);
}}

static size_t compare(const char *name, const float *got, const double *expected, const double *allowed,
                      size_t elements, int threads) {{
    size_t wrong = 0, first = 0;
    for (size_t i = 0; i < elements; i++)
        if (is_wrong(got[i], expected[i], allowed[i]) && !wrong++) first = i;
    if (wrong)
        printf("%s, %d threads: %zu of %zu elements are wrong; element %zu is %.9g, expected %.9g +- %.3g\\n", name,
               threads, wrong, elements, first, got[first], expected[first], allowed[first]);
    return wrong;
}}

{mode}int main(int count, char **words) {{
{guard}    FILE *const file = fopen(count > 1 ? words[1] : "repro.bin", "rb");
    if (!file) {{
        perror(count > 1 ? words[1] : "repro.bin");
        return 2;
    }}
    const size_t parameter_bytes = {parameter_bytes};
    {p}Params *const params = block(parameter_bytes ? parameter_bytes : sizeof *params);
    load(file, params, parameter_bytes);
    float *data[ARGUMENTS];
    double *expected[ARGUMENTS], *allowed[ARGUMENTS];
    for (int i = 0; i < ARGUMENTS; i++) {{
        data[i] = block(arguments[i].elements * sizeof(float));
        if (arguments[i].is_input) load(file, data[i], arguments[i].elements * sizeof(float));
    }}
    for (int i = 0; i < ARGUMENTS; i++) {{
        if (arguments[i].is_input) continue;
        expected[i] = block(arguments[i].elements * sizeof(double));
        allowed[i] = block(arguments[i].elements * sizeof(double));
        load(file, expected[i], arguments[i].elements * sizeof(double));
        load(file, allowed[i], arguments[i].elements * sizeof(double));
    }}
    fclose(file);

    size_t wrong = 0;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {{
        {p}Net *net;
        {p}Engine *engine;
        check({p}NetCreate(&net, params, threads));
        check({p}EngineCreate(&engine, net, threads));
        for (int i = 0; i < ARGUMENTS; i++) /* what is not written stays NaN */
            if (!arguments[i].is_input) memset(data[i], 0xff, arguments[i].elements * sizeof(float));
        {p}EngineInference(engine{call});
        for (int i = 0; i < ARGUMENTS; i++)
            if (!arguments[i].is_input)
                wrong += compare(arguments[i].name, data[i], expected[i], allowed[i], arguments[i].elements, threads);
{check_mode}        {p}EngineDestroy(engine);
        {p}NetDestroy(net);
    }}
    puts(wrong ? "WRONG" : "all results are right"{silence});
    return wrong ? 1 : {right};
}}
"""

_MODE = """\
/* 1 if the modes of floating-point arithmetic are not those that a program begins with; they are put back. */
static size_t is_mode_changed(int threads) {
#ifdef __SSE__
    const unsigned begins = 0x1f80, bits = 0xffc0, now = __builtin_ia32_stmxcsr() & bits;
    if (now == begins) return 0;
    printf("%d threads: the net leaves MXCSR at %#x, which was %#x\\n", threads, now, begins);
    __builtin_ia32_ldmxcsr(begins);
    return 1;
#else
    return (void)threads, 0;
#endif
}

"""

_CHECK_MODE = """\
        wrong += is_mode_changed(threads);
"""

_GUARD = """\
    if (!__builtin_cpu_supports("avx512f")) {
        fprintf(stderr, "this processor has no AVX-512F\\n");
        return 3;
    }
"""

_EMPTY = """
#include <stdio.h>

int main(void) {
    puts("with these flags the C builds; nn512 repro has those with which it did not");
    return 3;
}
"""

_VALUES = frozenset({"values", Kind.UNWRITTEN})
"""Faults that wrong results are; what is not written stays NaN."""

_BUILDS = {
    **dict.fromkeys((Kind.LEAK, Kind.OUT_OF_BOUNDS, Kind.HEAP, Kind.CRASH, Kind.SANITIZER), "address"),
    **dict.fromkeys((Kind.VARIES, Kind.VARIES_WITH_THREADS, Kind.VARIES_WITH_SHARING, Kind.NOT_REPEATABLE), "thread"),
    Kind.UNINITIALIZED: "memory (clang's)",
}
"""With which sanitizer a fault of some kind may be seen in this program, too."""


def program_of(report: Report, what: str, version: str) -> str:
    """The text of `repro.c`; where the C does not even build, the program has nothing to do but to show that."""
    assert report.sources is not None
    interface = Interface.of(report.graph)
    is_portable = report.ran is not None and report.ran.portable
    target = f"-I {PORTABLE}" if is_portable else "-mavx512f"
    flags = f"-std=gnu11 {report.case.optimisation} {target} -pthread"
    compiler = report.case.compiler or "cc"
    has_data = report.culprit is not None and bool(report.culprit.expected)
    kinds = list(dict.fromkeys(problem.kind for problem in report.problems))
    is_value, words = not _VALUES.isdisjoint(kinds), ", ".join(kinds)
    shows = f"nn512 repro shows it{_build_for(kinds)}"
    if not has_data:
        ends = "ends with 3 if it builds all the same. The C does not build."
    elif is_value:
        refusal = "" if is_portable else ", with 3 where the processor has no AVX-512"
        ends = (
            f"ends with 1 where a result is wrong, with 0 where all are right{refusal}. "
            "Faults of memory and threads show best with\n * -fsanitize=address or -fsanitize=thread."
        )
    else:
        ends = (
            f"cannot show this fault by itself, which is none of values ({words}): {shows}.\n"
            " * It ends with 1 where something is wrong all the same, else with 3."
        )
    head = _HEAD.format(
        version=version,
        what=" ".join(what.replace("*/", "").split()),
        command=f"{compiler} {flags} repro.c -o repro -lm",
        ends=ends,
        prefix=interface.prefix,
        header="" if interface.is_included(report.sources.source) else f'#include "{interface.prefix}.h"\n',
    )
    if not has_data:
        return head + _EMPTY
    has_mode = Kind.MXCSR in kinds
    silence = f"; the fault is none of values ({words}): {shows}"
    return head + _PROGRAM.format(
        mode=_MODE if has_mode else "",
        check_mode=_CHECK_MODE if has_mode else "",
        silence="" if is_value else f"\n         {json.dumps(silence)}",
        right=0 if is_value else 3,
        guard="" if is_portable else _GUARD,
        p=interface.prefix,
        count=len(interface.arguments),
        table="".join(
            f"    {{{json.dumps(a.tensor)}, {a.elements}u, {int(a.is_input)}}},\n" for a in interface.arguments
        ),
        parameter_bytes=f"{4 * interface.parameter_elements}u",
        call="".join(f", data[{number}]" for number in range(len(interface.arguments))),
    )


def _build_for(kinds: Collection[str]) -> str:
    """Which build of the program may show a fault of these kinds, if one does."""
    builds = dict.fromkeys(_BUILDS[Kind(kind)] for kind in kinds if kind in _BUILDS)
    return f", and so may a build of this program with -fsanitize={' or '.join(builds)}" if builds else ""


def data_of(report: Report) -> bytes:
    """What `repro.bin` holds; nothing where nothing was run."""
    culprit = report.culprit
    if culprit is None or not culprit.expected:
        return b""
    interface = Interface.of(report.graph)
    parts = [np.asarray(culprit.data.params[name], np.float32) for name, _ in interface.parameters]
    parts += [np.asarray(culprit.data.inputs[argument.tensor], np.float32) for argument in interface.inputs]
    raw = [part.tobytes() for part in parts]
    for argument in interface.outputs:
        raw.append(culprit.expected[argument.tensor].value.astype(np.float64).tobytes())
        raw.append(culprit.allowed[argument.tensor].astype(np.float64).tobytes())
    return b"".join(raw)
