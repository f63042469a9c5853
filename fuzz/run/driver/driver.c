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
#include <sys/prctl.h>
#include <sys/resource.h>

static void run_data_set(void *engine, struct block *const *tensors, size_t c, size_t data_set, uint32_t pattern) {
    const struct configuration *const one = configuration(c);
    uint64_t best = UINT64_MAX;
    tensors_fill(tensors, data_set);
    for (size_t repeat = 0; repeat < one->repeats; repeat++) {
        report_phase("EngineInference", c, one->threads, one->placement, data_set, repeat);
        if (c == 0 && repeat == 0) taps_begin(data_set);
        if (repeat == 0) taps_watch(pattern);
        const uint64_t time = infer(engine, tensors);
        if (time < best) best = time;
        if (c == 0 && repeat == 0) {
            check_tensors(tensors, data_set, "", NULL);
            tensors_keep(tensors, data_set);
        } else {
            const int same_threads = one->threads == configuration(0)->threads;
            check_tensors(tensors, data_set, repeat && c == 0 ? "not-repeatable" : same_threads ? "varies" : "varies-with-threads",
                          c == 0 ? "the first run" : "the first configuration");
        }
    }
    if (c == 0) report_time(data_set, best);
}

/* Once more, backwards: on the same engine every data set but the last now follows another one. */
static void run_backwards(void *engine, struct block *const *tensors, size_t c) {
    for (size_t data_set = job()->data_sets - 1; data_set-- > 0;) {
        report_phase("EngineInference", c, configuration(c)->threads, configuration(c)->placement, data_set, configuration(c)->repeats);
        tensors_fill(tensors, data_set);
        infer(engine, tensors);
        check_tensors(tensors, data_set, "varies-with-history", "what it was before other inputs");
    }
}

static void run_configuration(size_t c) {
    /* What nobody initialized is NaN in one configuration, large in the next, then low: no max() or min() hides all. */
    static const uint32_t patterns[] = {POISON_HEAP, HUGE_HEAP, LOW_HEAP};
    const uint32_t pattern = patterns[c % 3];
    const struct configuration *const one = configuration(c);
    const size_t threads = one->threads, placement = one->placement;
    const struct held before = held_now();
    heap_pattern(pattern);
    heap_place((enum placement)placement);

    report_phase("NetCreate", c, threads, placement, 0, 0);
    struct block *const block = parameters_new((enum placement)placement);
    const size_t first = heap_serial() + 1;
    void *const net = net_new(threads, block);
    const size_t last = heap_serial();
    if (job()->flags & CHECK_PROCESS) process_check("NetCreate");
    if (job()->flags & CHECK_PROMISES) heap_freeze(first, last, 1);

    const struct held with_net = held_now();
    report_phase("EngineCreate", c, threads, placement, 0, 0);
    void *const engine = engine_new(net, threads);
    if (job()->flags & CHECK_PROCESS) process_check("EngineCreate");
    if (job()->flags & CHECK_API) {
        report_phase("EnginePthreadT", c, threads, placement, 0, 0);
        check_pthreads(engine, threads);
    }
    struct block **const tensors = tensors_new((enum placement)placement);
    /* Each data set is the first of some engine, and follows another one in the next. */
    for (size_t i = 0; i < job()->data_sets; i++)
        run_data_set(engine, tensors, c, c % 2 ? job()->data_sets - 1 - i : i, pattern);
    if (c == 0 && job()->data_sets > 1) run_backwards(engine, tensors, c);
    tensors_delete(tensors);
    if (job()->flags & CHECK_PROCESS) process_check("EngineInference");

    report_phase("EngineDestroy", c, threads, placement, 0, 0);
    nn512_driver_net.engine_destroy(engine);
    held_check(with_net, "EngineDestroy");
    heap_freeze(first, last, 0);
    report_phase("NetDestroy", c, threads, placement, 0, 0);
    nn512_driver_net.net_destroy(net);
    held_check(before, "NetDestroy");
    block_delete(block);
}

static void limit(int resource, uint64_t value, uint64_t more) {
    const struct rlimit both = {value, value + more};
    if (value) setrlimit(resource, &both);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fputs("this program is started by the differential tester\n", stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no tester, no test */
    prctl(PR_SET_DUMPABLE, 0);        /* crashes are expected; nobody wants the core files */
    job_open();
    limit(RLIMIT_AS, job()->address_space, 0);
    limit(RLIMIT_CPU, job()->cpu_seconds, 2);
    limit(RLIMIT_FSIZE, job()->file_bytes, 0);
    report_open(atoi(arguments[1]), (job()->flags & CATCH_SIGNALS) != 0, (job()->flags & PORTABLE) != 0);
    heap_limit(job()->heap_bytes);
    job_begin();
    process_remember();

    if (nn512_driver_net.parameter_bytes && nn512_driver_net.parameter_bytes != nn512_driver_net.struct_bytes)
        report_fatal("api", "the Params struct has %zu bytes; the graph's parameters have %zu", nn512_driver_net.struct_bytes,
                     nn512_driver_net.parameter_bytes);
    if (job()->flags & CHECK_PROMISES) {
        report_phase("Destroy(NULL)", 0, 1, AT_END, 0, 0);
        nn512_driver_net.engine_destroy(NULL);
        nn512_driver_net.net_destroy(NULL);
    }
    if (job()->flags & CHECK_PROMISES) workers_keep_signals();
    for (size_t c = 0; c < job()->configurations; c++) run_configuration(c);
    heap_place(AT_END);
    if (job()->flags & CHECK_SHARING && job()->data_sets) run_sharing();
    if (job()->flags & CHECK_ENDURANCE && job()->data_sets) run_endurance();
    if (job()->flags & CHECK_FAILURES) run_failures();
    if (job()->flags & CHECK_PROMISES && job()->data_sets) run_promises();
    report_done();
    return 0;
}
