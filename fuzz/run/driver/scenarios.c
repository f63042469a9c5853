/* What callers do besides one engine after the other: several at a time, in any order, with too little of everything. */
#define _GNU_SOURCE
#include "nn512_driver.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_INJECTED = 64, MAX_SHARED_SETS = 4, SIDES = 4 };

static size_t most_threads(void) {
    size_t threads = 1;
    for (size_t c = 0; c < job()->configurations; c++)
        if (configuration(c)->threads > threads) threads = configuration(c)->threads;
    return threads;
}

/* One inference that must give what the first configuration gave. */
static void infer_again(void *engine, struct block *const *tensors, size_t data_set, const char *kind) {
    tensors_fill(tensors, data_set);
    infer(engine, tensors);
    check_tensors(tensors, data_set, kind, "the first configuration");
}

/* --- engines that share a net ---------------------------------------------------------------------------------- */

static const char *const sharing = "varies-with-sharing";

struct side {
    void *net, *engine; /* an engine of its own where none is given */
    size_t index;
    struct block **tensors; /* made by the main thread: the table of blocks has no lock */
};

static void *run_side(void *argument) {
    const struct side *const side = argument;
    const size_t sets = job()->data_sets < MAX_SHARED_SETS ? job()->data_sets : MAX_SHARED_SETS;
    void *const engine = side->engine ? side->engine : engine_new(side->net, 1 + side->index % 2);
    for (size_t i = 0; i < sets; i++) infer_again(engine, side->tensors, side->index % 2 ? sets - 1 - i : i, sharing);
    nn512_driver_net.engine_destroy(engine);
    return NULL;
}

/* All at once. */
static void run_sides(void *net) {
    struct side sides[SIDES];
    pthread_t others[SIDES];
    for (size_t i = 0; i < SIDES; i++) sides[i] = (struct side){net, NULL, i, tensors_new(i % 2 ? AT_BEGIN : AT_END)};
    for (size_t i = 1; i < SIDES; i++)
        if (workers_start(&others[i], run_side, &sides[i])) report_fatal("driver", "pthread_create failed");
    run_side(&sides[0]);
    for (size_t i = 1; i < SIDES; i++) workers_wait(others[i]);
    for (size_t i = 0; i < SIDES; i++) tensors_delete(sides[i].tensors);
}

/* One after the other: the first engine goes first, a second net comes and goes meanwhile, and the last engine is used and
 * destroyed by a thread that has not created it. */
static void run_orders(void *net) {
    struct block **const tensors = tensors_new(AT_END);
    struct block *const block = parameters_new(AT_END);
    void *const first = engine_new(net, 2);
    void *const second_net = net_new(1, block);
    void *const second = engine_new(second_net, 1);
    void *const third = engine_new(net, 1);
    infer_again(first, tensors, 0, sharing);
    infer_again(second, tensors, job()->data_sets - 1, sharing);
    infer_again(third, tensors, 0, sharing);
    nn512_driver_net.engine_destroy(first);
    infer_again(third, tensors, job()->data_sets - 1, sharing);
    nn512_driver_net.engine_destroy(second);
    nn512_driver_net.net_destroy(second_net);
    infer_again(third, tensors, 0, sharing);
    struct side moved = {net, engine_new(net, 2), 0, tensors};
    nn512_driver_net.engine_destroy(third);
    pthread_t other;
    if (workers_start(&other, run_side, &moved)) report_fatal("driver", "pthread_create failed");
    workers_wait(other);
    tensors_delete(tensors);
    block_delete(block);
}

void run_sharing(void) {
    const struct held before = held_now();
    report_phase("engines sharing a net", 0, 2, AT_END, 0, 0);
    struct block *const block = parameters_new(AT_END);
    void *const net = net_new(2, block);
    const struct held with_net = held_now();
    run_sides(net);
    held_check(with_net, "EngineDestroy");
    report_phase("nets and engines in another order", 0, 2, AT_END, 0, 0);
    run_orders(net);
    held_check(with_net, "EngineDestroy");
    nn512_driver_net.net_destroy(net);
    held_check(before, "NetDestroy");
    block_delete(block);
}

/* --- what the net needs is refused ----------------------------------------------------------------------------- */

static void arm(int of_heap, size_t nth) {
    heap_fail_at(of_heap ? nth : 0);
    workers_fail_at(of_heap ? 0 : nth);
}

/* What was created, although something was refused, must work. */
static void try_out(void *net, void *made, size_t threads) {
    void *const engine = net ? made : engine_new(made, threads);
    struct block **const tensors = tensors_new(AT_END);
    infer_again(engine, tensors, 0, "failure");
    tensors_delete(tensors);
    if (!net) nn512_driver_net.engine_destroy(engine);
}

/* Every request of one kind fails in turn, in a creation of a net or, where there is one, of an engine. */
static void refuse_each(void *net, int of_heap, size_t threads) {
    const char *const call = net ? "EngineCreate" : "NetCreate";
    const char *const what = of_heap ? "allocation" : "thread, mutex or condition";
    char text[64];
    struct block *const block = net ? NULL : parameters_new(AT_END);
    for (size_t nth = 1; nth <= MAX_INJECTED; nth++) {
        const struct held before = held_now();
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
        } else {
            if (refused && job()->data_sets) try_out(net, made, threads);
            (net ? nn512_driver_net.engine_destroy : nn512_driver_net.net_destroy)(made);
        }
        held_check(before, call);
        if (!refused) break; /* fewer requests than that */
    }
    if (block) block_delete(block);
}

void run_failures(void) {
    const size_t most = most_threads(), threads = most < 8 ? most : 8;
    refuse_each(NULL, 1, threads);
    refuse_each(NULL, 0, threads);
    const struct held before = held_now();
    struct block *const block = parameters_new(AT_END);
    void *const net = net_new(threads, block);
    refuse_each(net, 1, threads);
    refuse_each(net, 0, threads);
    nn512_driver_net.net_destroy(net);
    held_check(before, "NetDestroy");
    block_delete(block);
}

/* --- what only our own C promises ------------------------------------------------------------------------------ */

/* No thread, fewer than none, and more than can be counted in bytes. */
static void refuse_threads(void *net) {
    static const ptrdiff_t numbers[] = {0, -1, PTRDIFF_MIN, PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const char *const call = net ? "EngineCreate" : "NetCreate";
        const struct held before = held_now();
        struct block *const block = net ? NULL : parameters_new(AT_END);
        void *made = untouched;
        char *const message = net ? nn512_driver_net.engine_create(&made, net, numbers[i])
                                  : nn512_driver_net.net_create(&made, block->base, numbers[i]);
        if (!message) report_fatal("api", "%s with %td threads is no error", call, numbers[i]);
        if (made != untouched) report_violation("failure", "%s fails and yet sets its result", call);
        forget_message(message);
        if (block) block_delete(block);
        held_check(before, call);
    }
}

/* The way in that takes tensors by their names. */
static void run_named(void *net) {
    if (!nn512_driver_net.run) return;
    struct block **const tensors = tensors_new(AT_END);
    void *const engine = engine_new(net, 1);
    tensors_fill(tensors, 0);
    run_by_name(engine, tensors);
    nn512_driver_net.engine_destroy(engine);
    tensors_delete(tensors);
}

/* What a child does first with the engine it has: each call finds out by itself that the threads are not there. */
enum { FIRST_PTHREAD, FIRST_INFERENCE, FIRST_DESTROY, FIRST_CALLS };

static const char *const forked = "fork";

static void live_as_child(void *net, void *engine, struct block *const *tensors, int first) {
    pthread_t thread;
    if (first == FIRST_PTHREAD) {
        char *const message = nn512_driver_net.engine_pthread(engine, 1, &thread);
        if (!message) report_violation(forked, "EnginePthreadT gives a thread that a child of fork() does not have");
        forget_message(message);
    }
    if (first != FIRST_DESTROY) infer_again(engine, tensors, 0, forked);
    nn512_driver_net.engine_destroy(engine);
    nn512_driver_net.net_destroy(net);
}

/* A child of fork() has the engine without its threads, and may go on with it; so may the parent. */
static void run_forked(void *net) {
    struct block **const tensors = tensors_new(AT_END);
    void *const engine = engine_new(net, 2);
#if !defined(WITH_ASAN) && !defined(WITH_TSAN) && !defined(WITH_MSAN)
    for (int first = 0; first < FIRST_CALLS; first++) {
        const pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            live_as_child(net, engine, tensors, first);
            _exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child) report_fatal("driver", "no child");
        if (status) report_violation(forked, "a child of fork() does not come to its end");
    }
#endif
    infer_again(engine, tensors, 0, forked);
    nn512_driver_net.engine_destroy(engine);
    tensors_delete(tensors);
}

/* --- an engine that is used for long ------------------------------------------------------------------------------- */

/* `count` inferences of two inputs in turn: what is left of the one before is wrong for the next. */
static void infer_in_turn(void *net, size_t threads, size_t count, const char *text) {
    report_phase(text, 0, threads, AT_END, 0, 0);
    const size_t sets = job()->data_sets < 2 ? 1 : 2;
    struct block **const tensors[2] = {tensors_new(AT_END), tensors_new(AT_BEGIN)};
    for (size_t i = 0; i < 2; i++) tensors_fill(tensors[i], i % sets);
    void *const engine = engine_new(net, threads);
    struct held before = held_now();
    for (size_t i = 0; i < count; i++) {
        const size_t turn = i % 2;
        if (i % 16 == 0) report_phase(text, 0, threads, AT_END, turn % sets, i);
        infer(engine, tensors[turn]);
        check_tensors(tensors[turn], turn % sets, threads > 2 ? "varies-with-threads" : "varies-with-history",
                      "the first configuration");
        if (i == 1) before = held_now(); /* the first ones may get what all need */
    }
    held_check_growth(before, "EngineInference");
    nn512_driver_net.engine_destroy(engine);
    for (size_t i = 0; i < 2; i++) tensors_delete(tensors[i]);
}

/* The same with pauses, and threads that wake and fall asleep at bad moments. */
static void infer_in_trouble(void *net) {
    report_phase("threads that wake without a reason", 0, 3, AT_END, 0, 0);
    struct block **const tensors = tensors_new(AT_END);
    workers_trouble(1);
    void *const engine = engine_new(net, 3);
    for (size_t i = 0; i < 16; i++) {
        pause_for((long)(i % 8) * 40);
        report_phase("threads that wake without a reason", 0, 3, AT_END, 0, i);
        infer_again(engine, tensors, 0, "varies-with-history");
    }
    nn512_driver_net.engine_destroy(engine);
    workers_trouble(0);
    tensors_delete(tensors);
}

void run_endurance(void) {
    static const struct {
        size_t threads, inferences;
    } crowds[] = {{2, 300}, {5, 6}, {6, 6}, {9, 6}, {16, 40}};
    const struct held before = held_now();
    struct block *const block = parameters_new(AT_END);
    void *const net = net_new(2, block);
    for (size_t i = 0; i < sizeof crowds / sizeof *crowds; i++)
        infer_in_turn(net, crowds[i].threads, crowds[i].inferences, "one inference after the other");
    infer_in_trouble(net);
    nn512_driver_net.net_destroy(net);
    held_check(before, "NetDestroy");
    block_delete(block);
}

/* --- what only our own C promises, all of it ----------------------------------------------------------------------- */

/* Threads of an engine compute in the mode of the thread that made it: they end in what they began with. */
static void run_unusual_mode(void *net) {
    struct block **const tensors = tensors_new(AT_END);
    const unsigned usual = mode_get();
    mode_set(mode_unusual());
    void *const engine = engine_new(net, 2);
    tensors_fill(tensors, 0);
    infer(engine, tensors);
    nn512_driver_net.engine_destroy(engine);
    mode_set(usual);
    tensors_delete(tensors);
}

void run_promises(void) {
    const struct held before = held_now();
    report_phase("as many threads as there cannot be", 0, 0, AT_END, 0, 0);
    refuse_threads(NULL);
    struct block *const block = parameters_new(AT_END);
    void *const net = net_new(1, block);
    refuse_threads(net);
    report_phase("EngineRun", 0, 1, AT_END, 0, 0);
    run_named(net);
    report_phase("another floating-point mode", 0, 2, AT_END, 0, 0);
    run_unusual_mode(net);
    report_phase("a child of fork()", 0, 2, AT_END, 0, 0);
    run_forked(net);
    nn512_driver_net.net_destroy(net);
    held_check(before, "NetDestroy");
    block_delete(block);
}
