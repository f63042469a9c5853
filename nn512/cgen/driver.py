"""The emitted driver: a program that reads parameters and inputs from files, infers, and writes outputs to files."""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.header import in_and_out
from nn512.cgen.writer import Writer
from nn512.graph.graph import Graph, argument_tensor
from nn512.graph.nodes import Input

_HEAD = """\
/* {p}: a program that infers once, with parameters and tensors in files.
 *
 *     cc -std=c99 -O2 -mavx512f -pthread {p}.c {p}_driver.c -o {p}_driver
 *     ./{p}_driver {words}--threads=2
 *
 * Files hold float32 numbers as they lie in memory: parameters in the order of {p}Params, as written by
 * `nn512 params -o params.bin`, tensors as {p}.h describes them. If its only word is a number, as in
 *
 *     ./{p}_driver 1 <everything >results
 *
 * it reads the parameters, then all inputs, from standard input, and writes all outputs to the open file of that
 * number, in the order of {p}Tensors. Ends with 0; 1 where net or engine cannot be made; 2 for words or files
 * that are wrong. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200112L /* fdopen, which C99 alone hides */
#endif

#include "{p}.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
"""

_BODY = """\
/* Say what is wrong with the words or files given, and end. */
static void refuse(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("{p}_driver: ", stderr);
    vfprintf(stderr, format, values);
    fputs("\\n", stderr);
    va_end(values);
    exit(2);
}

static void *memory(size_t bytes) {
    void *made = malloc(bytes);
    if (made == NULL) refuse("no memory for %lu bytes", (unsigned long)bytes);
    return made;
}

static FILE *opened(const char *name, const char *mode) {
    FILE *file = fopen(name, mode);
    if (file == NULL) refuse("cannot open %s", name);
    return file;
}

static void read_part(FILE *file, const char *name, void *to, size_t bytes) {
    if (fread(to, 1, bytes, file) != bytes) refuse("%s has fewer bytes than %lu", name, (unsigned long)bytes);
}

static void read_whole(const char *name, void *to, size_t bytes) {
    FILE *file = opened(name, "rb");
    read_part(file, name, to, bytes);
    if (fgetc(file) != EOF) refuse("%s has more bytes than %lu", name, (unsigned long)bytes);
    fclose(file);
}

static void write_part(FILE *file, const char *name, const void *from, size_t bytes) {
    if (fwrite(from, 1, bytes, file) != bytes) refuse("cannot write %s", name);
}

static void end_file(FILE *file, const char *name) {
    if (fclose(file)) refuse("cannot write %s", name);
}

/* A natural number from 1 to 999, or 0 for a word that is none. */
static int number(const char *word) {
    for (size_t i = 0; word[i] != 0; i++)
        if (i == 3 || !isdigit((unsigned char)word[i])) return 0;
    return atoi(word);
}

static void check(char *error) {
    if (error == NULL) return;
    fprintf(stderr, "{p}_driver: %s\\n", error);
    free(error);
    exit(1);
}

/* What a word of the form name=value gives to `name`; NULL for other words. */
static const char *value_of(const char *word, const char *name) {
    const size_t length = strlen(name);
    return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

/* Find the file of every tensor and of the parameters among the words. Gives the number of threads. */
static int understand(int count, char **words, const char **params_file) {
    int threads = 1;
    for (int i = 1; i < count; i++) {
        const char *value = NULL;
        for (int k = 0; k < TENSORS && value == NULL; k++) {
            value = value_of(words[i], tensors[k].name);
            if (value != NULL) tensors[k].file = value;
        }
        if (value != NULL) continue;
        if ((value = value_of(words[i], "--params")) != NULL)
            *params_file = value;
        else if ((value = value_of(words[i], "--threads")) == NULL)
            refuse("what is %s? Words are --params=FILE, --threads=N, and TENSOR=FILE for every tensor", words[i]);
        else if ((threads = number(value)) == 0)
            refuse("--threads must be from 1 to 999, not %s", value);
    }
    for (int k = 0; k < TENSORS; k++)
        if (tensors[k].file == NULL) refuse("no file for %s: %s=FILE", tensors[k].name, tensors[k].name);
    if (HAS_PARAMS && *params_file == NULL) refuse("no file for the parameters: --params=FILE");
    return threads;
}

int main(int count, char **words) {
    const int to = count == 2 ? number(words[1]) : 0;
    const char *params_file = NULL;
    const int threads = to ? 1 : understand(count, words, &params_file);
    {p}Params *params = memory(sizeof *params);
    memset(params, 0, sizeof *params);
    if (to) read_part(stdin, "standard input", params, HAS_PARAMS ? sizeof *params : 0);
    if (params_file != NULL) read_whole(params_file, params, sizeof *params);
    for (int k = 0; k < TENSORS; k++) {
        tensors[k].data = memory(tensors[k].floats * sizeof(float));
        if (!tensors[k].is_input) continue;
        if (to)
            read_part(stdin, "standard input", tensors[k].data, tensors[k].floats * sizeof(float));
        else
            read_whole(tensors[k].file, tensors[k].data, tensors[k].floats * sizeof(float));
    }

    {p}Net *net;
    {p}Engine *engine;
    check({p}NetCreate(&net, params, threads));
    free(params);
    check({p}EngineCreate(&engine, net, threads));
"""

_TAIL = """\
    {p}EngineDestroy(engine);
    {p}NetDestroy(net);

    FILE *results = to ? fdopen(to, "wb") : NULL;
    if (to && results == NULL) refuse("there is no open file %d", to);
    for (int k = 0; k < TENSORS; k++) {
        if (!tensors[k].is_input) {
            FILE *file = to ? results : opened(tensors[k].file, "wb");
            write_part(file, tensors[k].name, tensors[k].data, tensors[k].floats * sizeof(float));
            if (!to) end_file(file, tensors[k].file);
        }
        free(tensors[k].data);
    }
    if (to) end_file(results, "the results");
    return 0;
}
"""


_SHOWN = 4
"""Tensors that stand in the example of use."""


def driver_name(prefix: str) -> str:
    """Name of the file."""
    return f"{prefix}_driver.c"


def write_driver(graph: Graph) -> str:
    """Text of `<Prefix>_driver.c`, which goes with what is emitted for the same graph."""
    prefix = graph.config.prefix
    tensors = [(node, argument_tensor(node)) for node in in_and_out(graph)]
    words = ["--params=params.bin"] if graph.parameters else []
    words += [f"{name}={name}.bin" for _, name in tensors[:_SHOWN]]
    words += ["..."] if len(tensors) > _SHOWN else []
    writer = Writer()
    writer.lines(_HEAD.replace("{p}", prefix).replace("{words}", "".join(f"{word} " for word in words)))
    writer.line()
    writer.line(f"enum {{ TENSORS = {len(tensors)}, HAS_PARAMS = {int(bool(graph.parameters))} }};")
    writer.line()
    with writer.block("static struct", "} tensors[TENSORS] = {"):
        writer.lines("const char *name;\nsize_t floats;\nint is_input;\nconst char *file;\nfloat *data;")
    with writer.indented():
        for node, name in tensors:
            is_input = int(isinstance(node, Input))
            writer.line(f'{{"{name}", {names.floats(prefix, name)}, {is_input}, NULL, NULL}},')
    writer.line("};")
    writer.line()
    writer.lines(_BODY.replace("{p}", prefix))
    with writer.indented():
        writer.line(f"{prefix}Tensors given;")
        for number, (_, name) in enumerate(tensors):
            writer.line(f"given.{names.member(name)} = tensors[{number}].data;")
        writer.line(f"check({prefix}EngineRun(engine, &given));")
    writer.lines(_TAIL.replace("{p}", prefix))
    return writer.text()
