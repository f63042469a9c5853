/* What a caller does: nets, engines and inferences, each watched, and what they compute compared. */
#define _GNU_SOURCE
#include "nn512_driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void mode_check(unsigned before, const char *call) {
    const unsigned after = mode_get();
    if (after == before) return;
    mode_set(before);
    report_violation("mxcsr", "%s changes MXCSR from %#x to %#x", call, before, after);
}

/* --- the job ------------------------------------------------------------------------------------------ */

static const struct job *given;
static const struct configuration *configurations;
static const char *parameters, *inputs;
static float *expected; /* [data set][outputs in argument order] */
static size_t output_elements;
static char untouched_mark; /* an address that no net and no engine has */
void *const untouched = &untouched_mark;

#define ARGUMENTS(i) for (size_t i = 0; i < nn512_driver_net.argument_count; i++)

/* The job that standard input is. */
void job_open(void) {
    struct stat status;
    if (fstat(0, &status)) _exit(92);
    const char *at = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, 0, 0);
    if (at == MAP_FAILED) _exit(91);
    given = (const struct job *)at;
    if (given->magic != 0x3231354e424f4a31u) _exit(90);
    configurations = (const struct configuration *)(given + 1);
    parameters = (const char *)(configurations + given->configurations);
    inputs = parameters + given->parameter_bytes;
    if (inputs + given->data_sets * given->input_bytes != at + status.st_size) _exit(89);
    size_t input_elements = 0;
    ARGUMENTS(i) *(nn512_driver_net.arguments[i].is_input ? &input_elements : &output_elements) += nn512_driver_net.arguments[i].elements;
    if (input_elements * sizeof(float) != given->input_bytes) _exit(88);
    if (nn512_driver_net.parameter_bytes != given->parameter_bytes) _exit(87);
}

const struct job *job(void) {
    return given;
}

const struct configuration *configuration(size_t number) {
    return &configurations[number];
}

/* Memory for what is expected; the limits of memory hold by now. */
void job_begin(void) {
    expected = real_malloc((given->data_sets ? given->data_sets : 1) * output_elements * sizeof *expected);
}

/* --- what is held ---------------------------------------------------------------------------------------------- */

struct held held_now(void) {
    return (struct held){heap_now(), workers_now()};
}

void held_check(struct held before, const char *after) {
    if (!workers_check_ended(after)) report_fatal("threads", "giving up: a thread is left");
    heap_check_leak(before.heap, after);
    workers_check_leak(before.workers, after);
    if (given->flags & CHECK_PROCESS) process_check(after);
}

/* Nothing is given back yet, but there must not be more than before. */
void held_check_growth(struct held before, const char *during) {
    const size_t bytes = heap_now().live_bytes;
    if (bytes > before.heap.live_bytes)
        report_violation("leak", "%s after %s leaves %zu bytes more in the engine", during, during, bytes - before.heap.live_bytes);
    workers_check_leak(before.workers, during);
}

/* --- nets and engines ------------------------------------------------------------------------------------------ */

struct block *parameters_new(enum placement placement) {
    /* A net without parameters may have a struct with a filler in it, of any type. */
    const size_t bytes = given->parameter_bytes ? given->parameter_bytes : (nn512_driver_net.struct_bytes + 7) / 8 * 8;
    struct block *block = block_new("the parameters", bytes, placement, 1);
    block_poison(block, POISON_SLACK);
    if (given->parameter_bytes) memcpy(block->base, parameters, given->parameter_bytes);
    block_write(block, 0);
    return block;
}

void forget_message(char *message) {
    extern void __wrap_free(void *);
    __wrap_free(message);
}

/* A net; its parameters are out of reach from then on, as if the caller had freed them. */
void *net_new(size_t threads, struct block *block) {
    void *net = untouched;
    const unsigned mode = mode_get();
    char *const message = nn512_driver_net.net_create(&net, block->base, (ptrdiff_t)threads);
    mode_check(mode, "NetCreate");
    if (message) report_fatal("create-failed", "NetCreate(threads %zu) answers: %.300s", threads, message);
    if (net == untouched) report_fatal("api", "NetCreate returns NULL and sets no net");
    block_check_slack(block);
    block_retire(block);
    return net;
}

void *engine_new(void *net, size_t threads) {
    void *engine = untouched;
    const unsigned mode = mode_get();
    char *const message = nn512_driver_net.engine_create(&engine, net, (ptrdiff_t)threads);
    mode_check(mode, "EngineCreate");
    if (message) report_fatal("create-failed", "EngineCreate(threads %zu) answers: %.300s", threads, message);
    if (engine == untouched) report_fatal("api", "EngineCreate returns NULL and sets no engine");
    return engine;
}

void check_pthreads(void *engine, size_t threads) {
    pthread_t *const ids = real_malloc(threads * sizeof *ids);
    for (size_t i = 0; i < threads; i++) {
        char *const message = nn512_driver_net.engine_pthread(engine, (ptrdiff_t)i, &ids[i]);
        if (message) {
            report_violation("api", "EnginePthreadT(%zu) of %zu threads answers: %.300s", i, threads, message);
            forget_message(message);
            real_free(ids);
            return;
        }
        if (i == 0 && given->flags & CHECK_PROMISES && !pthread_equal(ids[0], pthread_self()))
            report_violation("api", "EnginePthreadT(0) is not the thread that created the engine");
        for (size_t j = 0; j < i; j++)
            if (pthread_equal(ids[i], ids[j])) report_violation("api", "EnginePthreadT gives one thread for %zu and %zu", j, i);
    }
    real_free(ids);
    const ptrdiff_t outside[] = {-1, (ptrdiff_t)threads, -2, (ptrdiff_t)threads + 1, PTRDIFF_MIN, PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        pthread_t id;
        char *const message = nn512_driver_net.engine_pthread(engine, outside[i], &id);
        if (!message) report_violation("api", "EnginePthreadT(%td) of %zu threads is no error", outside[i], threads);
        forget_message(message);
    }
}

/* --- one inference --------------------------------------------------------------------------------------------- */

struct block **tensors_new(enum placement placement) {
    struct block **const tensors = real_malloc(nn512_driver_net.argument_count * sizeof *tensors);
    ARGUMENTS(i) {
        const struct driver_argument *const argument = &nn512_driver_net.arguments[i];
        tensors[i] = block_new(argument->name, argument->elements * sizeof(float), placement, argument->is_input);
    }
    return tensors;
}

void tensors_delete(struct block **tensors) {
    ARGUMENTS(i) block_delete(tensors[i]);
    real_free(tensors);
}

void tensors_fill(struct block *const *tensors, size_t data_set) {
    const char *from = inputs + data_set * given->input_bytes;
    ARGUMENTS(i) {
        if (!tensors[i]->is_input) continue;
        block_write(tensors[i], 1);
        memcpy(tensors[i]->base, from, tensors[i]->bytes);
        block_write(tensors[i], 0);
        from += tensors[i]->bytes;
    }
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void point_at(struct block *const *tensors, float **data) {
    ARGUMENTS(i) {
        data[i] = (float *)tensors[i]->base;
        if (!tensors[i]->is_input) block_poison(tensors[i], POISON_OUTPUT);
    }
}

uint64_t infer(void *engine, struct block *const *tensors) {
    float *data[nn512_driver_net.argument_count ? nn512_driver_net.argument_count : 1];
    point_at(tensors, data);
    const unsigned mode = mode_get();
    taps_mode(mode);
    const uint64_t start = nanoseconds();
    nn512_driver_net.inference(engine, data);
    const uint64_t end = nanoseconds();
    mode_check(mode, "EngineInference");
    taps_end();
    return end - start;
}

/* The same by name, with all tensors and without each of them. */
void run_by_name(void *engine, struct block *const *tensors) {
    float *data[nn512_driver_net.argument_count ? nn512_driver_net.argument_count : 1];
    memset(data, 0, sizeof data); /* compilers do not see that all are set */
    point_at(tensors, data);
    char *const failed = nn512_driver_net.run(engine, data);
    if (failed) report_violation("api", "EngineRun answers: %.300s", failed);
    forget_message(failed);
    check_tensors(tensors, 0, "api", "EngineInference");
    ARGUMENTS(i) {
        float *const kept = data[i];
        data[i] = NULL;
        char *const message = nn512_driver_net.run(engine, data);
        if (!message) report_violation("api", "EngineRun without %s is no error", nn512_driver_net.arguments[i].name);
        forget_message(message);
        data[i] = kept;
    }
}

static unsigned char *marks_new(size_t elements) {
    unsigned char *const marks = real_malloc((elements + 7) / 8);
    memset(marks, 0, (elements + 7) / 8);
    return marks;
}

static void mark(unsigned char *marks, size_t element) {
    marks[element / 8] |= (unsigned char)(1u << element % 8);
}

static void scan(const struct block *block, size_t argument) {
    static const struct {
        uint32_t pattern;
        const char *kind, *text;
    } poisons[] = {{POISON_OUTPUT, "unwritten", "not written"},
                   {POISON_HEAP, "uninitialized", "computed from memory of the net that nobody had written"},
                   {POISON_SLACK, "out-of-bounds", "computed from what lies beside a tensor or the parameters"}};
    size_t counts[3] = {0}, firsts[3] = {0};
    const uint32_t *const words = (const uint32_t *)block->base;
    const size_t elements = block->bytes / sizeof *words;
    for (size_t i = 0; i < elements; i++) {
        const uint32_t word = words[i] & 0x7fffffff;
        if (word <= 0x7f800000) continue;
        for (size_t p = 0; p < 3; p++)
            if (word == poisons[p].pattern && !counts[p]++) firsts[p] = i;
    }
    for (size_t p = 0; p < 3; p++) {
        if (!counts[p]) continue;
        unsigned char *const marks = marks_new(elements);
        for (size_t i = firsts[p]; i < elements; i++)
            if ((words[i] & 0x7fffffff) == poisons[p].pattern) mark(marks, i);
        report_marked(poisons[p].kind, argument, marks, elements, "%s: %zu of %zu elements %s, the first is element %zu",
                      block->name, counts[p], elements, poisons[p].text, firsts[p]);
        real_free(marks);
    }
}

static int is_nan(uint32_t word) {
    return (word & 0x7fffffff) > 0x7f800000;
}

static void compare(const struct block *block, size_t argument, const float *with, const char *kind, const char *what) {
    if (!memcmp(block->base, with, block->bytes)) return;
    const uint32_t *const got = (const uint32_t *)block->base, *const want = (const uint32_t *)with;
    const size_t elements = block->bytes / sizeof *got;
    unsigned char *const marks = marks_new(elements);
    size_t count = 0, first = 0;
    for (size_t i = 0; i < elements; i++) {
        if (got[i] == want[i] || (is_nan(got[i]) && is_nan(want[i]))) continue;
        mark(marks, i);
        if (!count++) first = i;
    }
    if (count)
        report_marked(kind, argument, marks, elements,
                      "%s differs from %s in %zu of %zu elements; element %zu is %.9g (%08x), was %.9g (%08x)", block->name, what,
                      count, elements, first, (double)((const float *)block->base)[first], got[first], (double)with[first],
                      want[first]);
    real_free(marks);
}

void check_tensors(struct block *const *tensors, size_t data_set, const char *kind, const char *what) {
    const float *from = expected + data_set * output_elements;
    ARGUMENTS(i) {
        block_check_slack(tensors[i]);
        if (tensors[i]->is_input) continue;
        scan(tensors[i], i);
        if (what) compare(tensors[i], i, from, kind, what);
        from += tensors[i]->bytes / sizeof(float);
    }
}

void tensors_keep(struct block *const *tensors, size_t data_set) {
    float *to = expected + data_set * output_elements;
    ARGUMENTS(i) {
        if (tensors[i]->is_input) continue;
        memcpy(to, tensors[i]->base, tensors[i]->bytes);
        report_output(data_set, i, to, tensors[i]->bytes / sizeof(float));
        to += tensors[i]->bytes / sizeof(float);
    }
}

