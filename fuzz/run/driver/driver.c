/* The plan of a run. Standard input is the job; the first argument is the number of the open file that takes the results.
 *
 * job: a struct job, its configurations, the parameter block, then for each data set the inputs in argument order.
 * The first inference of every data set in the first configuration is the result; every other inference must equal it
 * bit for bit (two NaNs are equal, whatever their payload).
 */
#define _GNU_SOURCE
#include "nn512_driver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHECK_API = 1, CHECK_SHARING = 2, CHECK_FAILURES = 4, CATCH_SIGNALS = 8, MAX_INJECTED = 64, MAX_SHARED_SETS = 4 };

struct job {
    uint64_t magic, flags, heap_bytes, address_space, cpu_seconds, file_bytes, data_sets, configurations, parameter_bytes,
        input_bytes; /* of one data set */
};

struct configuration {
    uint64_t threads, placement, repeats;
};

static const struct job *job;
static const struct configuration *configurations;
static const char *parameters, *inputs;
static float *expected; /* [data set][outputs in argument order] */
static size_t output_elements;

#define ARGUMENTS(i) for (size_t i = 0; i < nn512_driver_net.argument_count; i++)

/* --- the floating-point mode of the calling thread ------------------------------------------------------------- */

#if defined(__x86_64__) || defined(__i386__)
enum { MODE_BITS = 0xffc0 }; /* without the six flags of exceptions that happened */
static unsigned mode_get(void) {
    unsigned word = 0; /* the memory sanitizer does not see the instruction write it */
    __asm__ volatile("stmxcsr %0" : "=m"(word));
    return word & MODE_BITS;
}
static void mode_set(unsigned word) {
    __asm__ volatile("ldmxcsr %0" : : "m"(word));
}
#else
#include <fenv.h>
static unsigned mode_get(void) {
    return (unsigned)fegetround();
}
static void mode_set(unsigned word) {
    fesetround((int)word);
}
#endif

static void mode_check(unsigned before, const char *call) {
    const unsigned after = mode_get();
    if (after == before) return;
    mode_set(before);
    report_violation("mxcsr", "%s changes MXCSR from %#x to %#x", call, before, after);
}

/* --- nets and engines ------------------------------------------------------------------------------------------ */

static void *const untouched = (void *)(uintptr_t)0x5eed5eed5eed5eedu;

static struct block *parameters_new(enum placement placement) {
    /* A net without parameters may have a struct with a filler in it, of any type. */
    const size_t bytes = job->parameter_bytes ? job->parameter_bytes : (nn512_driver_net.struct_bytes + 7) / 8 * 8;
    struct block *block = block_new("the parameters", bytes, placement, 1);
    block_poison(block, POISON_SLACK);
    if (job->parameter_bytes) memcpy(block->base, parameters, job->parameter_bytes);
    block_write(block, 0);
    return block;
}

static void forget_message(char *message) {
    extern void __wrap_free(void *);
    __wrap_free(message);
}

/* A net; its parameters are out of reach from then on, as if the caller had freed them. */
static void *net_new(size_t threads, struct block *block) {
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

static void *engine_new(void *net, size_t threads) {
    void *engine = untouched;
    const unsigned mode = mode_get();
    char *const message = nn512_driver_net.engine_create(&engine, net, (ptrdiff_t)threads);
    mode_check(mode, "EngineCreate");
    if (message) report_fatal("create-failed", "EngineCreate(threads %zu) answers: %.300s", threads, message);
    if (engine == untouched) report_fatal("api", "EngineCreate returns NULL and sets no engine");
    return engine;
}

static void check_pthreads(void *engine, size_t threads) {
    pthread_t *const ids = real_malloc(threads * sizeof *ids);
    for (size_t i = 0; i < threads; i++) {
        char *const message = nn512_driver_net.engine_pthread(engine, (ptrdiff_t)i, &ids[i]);
        if (message) {
            report_violation("api", "EnginePthreadT(%zu) of %zu threads answers: %.300s", i, threads, message);
            forget_message(message);
            real_free(ids);
            return;
        }
        if (i == 0 && !pthread_equal(ids[0], pthread_self()))
            report_violation("api", "EnginePthreadT(0) is not the thread that created the engine");
        for (size_t j = 0; j < i; j++)
            if (pthread_equal(ids[i], ids[j])) report_violation("api", "EnginePthreadT gives one thread for %zu and %zu", j, i);
    }
    real_free(ids);
    const ptrdiff_t outside[] = {-1, (ptrdiff_t)threads};
    for (size_t i = 0; i < 2; i++) {
        pthread_t id;
        char *const message = nn512_driver_net.engine_pthread(engine, outside[i], &id);
        if (!message) report_violation("api", "EnginePthreadT(%td) of %zu threads is no error", outside[i], threads);
        forget_message(message);
    }
}

/* --- one inference --------------------------------------------------------------------------------------------- */

static struct block **tensors_new(enum placement placement) {
    struct block **const tensors = real_malloc(nn512_driver_net.argument_count * sizeof *tensors);
    ARGUMENTS(i) {
        const struct driver_argument *const argument = &nn512_driver_net.arguments[i];
        tensors[i] = block_new(argument->name, argument->elements * sizeof(float), placement, argument->is_input);
    }
    return tensors;
}

static void tensors_delete(struct block **tensors) {
    ARGUMENTS(i) block_delete(tensors[i]);
    real_free(tensors);
}

static void tensors_fill(struct block *const *tensors, size_t data_set) {
    const char *from = inputs + data_set * job->input_bytes;
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

static uint64_t infer(void *engine, struct block *const *tensors) {
    float *data[nn512_driver_net.argument_count ? nn512_driver_net.argument_count : 1];
    ARGUMENTS(i) {
        data[i] = (float *)tensors[i]->base;
        if (!tensors[i]->is_input) block_poison(tensors[i], POISON_OUTPUT);
    }
    const unsigned mode = mode_get();
    const uint64_t start = nanoseconds();
    nn512_driver_net.inference(engine, data);
    const uint64_t end = nanoseconds();
    mode_check(mode, "EngineInference");
    return end - start;
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

static void check_tensors(struct block *const *tensors, size_t data_set, const char *kind, const char *what) {
    const float *from = expected + data_set * output_elements;
    ARGUMENTS(i) {
        block_check_slack(tensors[i]);
        if (tensors[i]->is_input) continue;
        scan(tensors[i], i);
        if (what) compare(tensors[i], i, from, kind, what);
        from += tensors[i]->bytes / sizeof(float);
    }
}

static void keep(struct block *const *tensors, size_t data_set) {
    float *to = expected + data_set * output_elements;
    ARGUMENTS(i) {
        if (tensors[i]->is_input) continue;
        memcpy(to, tensors[i]->base, tensors[i]->bytes);
        report_output(data_set, i, to, tensors[i]->bytes / sizeof(float));
        to += tensors[i]->bytes / sizeof(float);
    }
}

/* --- configurations -------------------------------------------------------------------------------------------- */

static void run_data_set(void *engine, struct block *const *tensors, size_t c, size_t data_set) {
    const struct configuration *const one = &configurations[c];
    uint64_t best = UINT64_MAX;
    tensors_fill(tensors, data_set);
    for (size_t repeat = 0; repeat < one->repeats; repeat++) {
        report_phase("EngineInference", c, one->threads, one->placement, data_set, repeat);
        if (c == 0 && repeat == 0) taps_begin(data_set);
        const uint64_t time = infer(engine, tensors);
        taps_end();
        if (time < best) best = time;
        if (c == 0 && repeat == 0) {
            check_tensors(tensors, data_set, "", NULL);
            keep(tensors, data_set);
        } else {
            const int same_threads = one->threads == configurations[0].threads;
            check_tensors(tensors, data_set, repeat && c == 0 ? "not-repeatable" : same_threads ? "varies" : "varies-with-threads",
                          c == 0 ? "the first run" : "the first configuration");
        }
    }
    if (c == 0) report_time(data_set, best);
}

static void run_configuration(size_t c) {
    const struct configuration *const one = &configurations[c];
    const size_t threads = one->threads, placement = one->placement;
    const struct heap_state before = heap_now();
    /* What nobody initialized is NaN in one configuration and large in the next: no max() hides both. */
    heap_pattern(c % 2 ? HUGE_HEAP : POISON_HEAP);

    report_phase("NetCreate", c, threads, placement, 0, 0);
    struct block *const block = parameters_new((enum placement)placement);
    void *const net = net_new(threads, block);

    const struct heap_state with_net = heap_now();
    report_phase("EngineCreate", c, threads, placement, 0, 0);
    void *const engine = engine_new(net, threads);
    if (job->flags & CHECK_API) {
        report_phase("EnginePthreadT", c, threads, placement, 0, 0);
        check_pthreads(engine, threads);
    }
    struct block **const tensors = tensors_new((enum placement)placement);
    for (size_t data_set = 0; data_set < job->data_sets; data_set++) run_data_set(engine, tensors, c, data_set);
    tensors_delete(tensors);

    report_phase("EngineDestroy", c, threads, placement, 0, 0);
    nn512_driver_net.engine_destroy(engine);
    if (!workers_check_ended("EngineDestroy")) report_fatal("threads", "giving up: a thread is left");
    heap_check_leak(with_net, "EngineDestroy");
    report_phase("NetDestroy", c, threads, placement, 0, 0);
    nn512_driver_net.net_destroy(net);
    if (!workers_check_ended("NetDestroy")) report_fatal("threads", "giving up: a thread is left");
    heap_check_leak(before, "NetDestroy");
    block_delete(block);
}

/* --- two engines share a net ----------------------------------------------------------------------------------- */

struct side {
    void *net;
    size_t index;
    struct block **tensors; /* made by the main thread: the table of blocks has no lock */
};

static void *run_side(void *argument) {
    const struct side *const side = argument;
    const size_t sets = job->data_sets < MAX_SHARED_SETS ? job->data_sets : MAX_SHARED_SETS;
    void *const engine = engine_new(side->net, 1 + side->index);
    for (size_t i = 0; i < sets; i++) {
        const size_t data_set = side->index ? sets - 1 - i : i;
        tensors_fill(side->tensors, data_set);
        infer(engine, side->tensors);
        check_tensors(side->tensors, data_set, "varies-with-sharing", "the first configuration");
    }
    nn512_driver_net.engine_destroy(engine);
    return NULL;
}

static void run_sharing(void) {
    const struct heap_state before = heap_now();
    report_phase("two engines sharing a net", 0, 2, AT_END, 0, 0);
    struct block *const block = parameters_new(AT_END);
    void *const net = net_new(2, block);
    const struct heap_state with_net = heap_now();
    struct side sides[2] = {{net, 0, tensors_new(AT_END)}, {net, 1, tensors_new(AT_BEGIN)}};
    pthread_t other;
    if (workers_start(&other, run_side, &sides[1])) report_fatal("driver", "pthread_create failed");
    run_side(&sides[0]);
    workers_wait(other);
    tensors_delete(sides[0].tensors);
    tensors_delete(sides[1].tensors);
    if (!workers_check_ended("EngineDestroy")) report_fatal("threads", "giving up: a thread is left");
    heap_check_leak(with_net, "EngineDestroy");
    nn512_driver_net.net_destroy(net);
    heap_check_leak(before, "NetDestroy");
    block_delete(block);
}

/* --- what the net needs is refused ----------------------------------------------------------------------------- */

static void arm(int of_heap, size_t nth) {
    heap_fail_at(of_heap ? nth : 0);
    workers_fail_at(of_heap ? 0 : nth);
}

/* Every request of one kind fails in turn, in a creation of a net or, where there is one, of an engine. */
static void run_failures(void *net, int of_heap, size_t threads) {
    const char *const call = net ? "EngineCreate" : "NetCreate";
    const char *const what = of_heap ? "allocation" : "thread, mutex or condition";
    char text[64];
    struct block *const block = net ? NULL : parameters_new(AT_END);
    for (size_t nth = 1; nth <= MAX_INJECTED; nth++) {
        const struct heap_state before = heap_now();
        void *made = untouched;
        snprintf(text, sizeof text, "%s, %s %zu refused", call, what, nth);
        report_phase(text, 0, threads, AT_END, 0, 0);
        arm(of_heap, nth);
        char *const message = net ? nn512_driver_net.engine_create(&made, net, (ptrdiff_t)threads)
                                  : nn512_driver_net.net_create(&made, block->base, (ptrdiff_t)threads);
        const int refused = of_heap ? heap_failed() : workers_failed();
        arm(of_heap, 0);
        if (message) {
            if (!refused) report_violation("create-failed", "%s answers: %.300s", call, message);
            if (!*message) report_violation("failure", "%s answers an empty message", call);
            if (made != untouched) report_violation("failure", "%s fails and yet sets its result", call);
            forget_message(message);
        } else if (made == untouched) {
            report_violation("failure", "%s returns NULL and sets no result", call);
        } else if (net) {
            nn512_driver_net.engine_destroy(made);
        } else {
            nn512_driver_net.net_destroy(made);
        }
        if (!workers_check_ended(call)) report_fatal("threads", "giving up: a thread is left");
        heap_check_leak(before, call);
        if (!refused) break; /* fewer requests than that */
    }
    if (block) block_delete(block);
}

static void run_all_failures(void) {
    size_t threads = 1;
    for (size_t c = 0; c < job->configurations; c++)
        if (configurations[c].threads > threads) threads = configurations[c].threads;
    run_failures(NULL, 1, threads);
    run_failures(NULL, 0, threads);
    const struct heap_state before = heap_now();
    struct block *const block = parameters_new(AT_END);
    void *const net = net_new(threads, block);
    run_failures(net, 1, threads);
    run_failures(net, 0, threads);
    nn512_driver_net.net_destroy(net);
    heap_check_leak(before, "NetDestroy");
    block_delete(block);
}

/* --------------------------------------------------------------------------------------------------------------- */

static void limit(int resource, uint64_t value, uint64_t more) {
    const struct rlimit both = {value, value + more};
    if (value) setrlimit(resource, &both);
}

static void read_job(void) {
    struct stat status;
    if (fstat(0, &status)) _exit(92);
    const char *at = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, 0, 0);
    if (at == MAP_FAILED) _exit(91);
    job = (const struct job *)at;
    if (job->magic != 0x3231354e424f4a31u) _exit(90);
    configurations = (const struct configuration *)(at + sizeof *job);
    parameters = (const char *)(configurations + job->configurations);
    inputs = parameters + job->parameter_bytes;
    if (inputs + job->data_sets * job->input_bytes != at + status.st_size) _exit(89);
    size_t input_elements = 0;
    ARGUMENTS(i) *(nn512_driver_net.arguments[i].is_input ? &input_elements : &output_elements) += nn512_driver_net.arguments[i].elements;
    if (input_elements * sizeof(float) != job->input_bytes) _exit(88);
    if (nn512_driver_net.parameter_bytes != job->parameter_bytes) _exit(87);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fputs("this program is started by the differential tester\n", stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no tester, no test */
    prctl(PR_SET_DUMPABLE, 0);        /* crashes are expected; nobody wants the core files */
    read_job();
    limit(RLIMIT_AS, job->address_space, 0);
    limit(RLIMIT_CPU, job->cpu_seconds, 2);
    limit(RLIMIT_FSIZE, job->file_bytes, 0);
    report_open(atoi(arguments[1]), (job->flags & CATCH_SIGNALS) != 0);
    heap_limit(job->heap_bytes);
    expected = real_malloc((job->data_sets ? job->data_sets : 1) * output_elements * sizeof *expected);

    if (nn512_driver_net.parameter_bytes && nn512_driver_net.parameter_bytes != nn512_driver_net.struct_bytes)
        report_fatal("api", "the Params struct has %zu bytes; the graph's parameters have %zu", nn512_driver_net.struct_bytes,
                     nn512_driver_net.parameter_bytes);
    if (job->flags & CHECK_API) {
        report_phase("Destroy(NULL)", 0, 1, AT_END, 0, 0);
        nn512_driver_net.engine_destroy(NULL);
        nn512_driver_net.net_destroy(NULL);
    }
    for (size_t c = 0; c < job->configurations; c++) run_configuration(c);
    if (job->flags & CHECK_SHARING && job->data_sets) run_sharing();
    if (job->flags & CHECK_FAILURES) run_all_failures();
    report_done();
    return 0;
}
