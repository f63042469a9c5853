/* Uses an emitted net as programs do, and worse. `threads NAME [ROUNDS]` runs one of the trials at the end of this file;
 * status 0 and silence say that all went well. A deadlock shows as a program that does not end. */
#define _GNU_SOURCE
#include "Net.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { Inputs = INPUTS, Outputs = OUTPUTS, MostThreads = 8 };

static float input[Inputs], expected[Outputs];
static NetNet *net;

static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    _exit(1);
}

#define check(condition) \
    do { \
        if (!(condition)) fail("line %d: %s", __LINE__, #condition); \
    } while (0)

static void expect_no_error(char *error) {
    if (error) fail("%s", error);
}

/* Between -1 and 1, from a linear congruential generator. */
static void fill(float *to, size_t elements, uint32_t seed) {
    for (size_t i = 0; i < elements; i++) {
        seed = seed * 1664525 + 1013904223;
        to[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
}

static NetNet *create_net(ptrdiff_t threads) {
    NetParams *params = malloc(sizeof *params);
    NetNet *created;
    fill((float *)params, sizeof *params / sizeof(float), 1);
    expect_no_error(NetNetCreate(&created, params, threads));
    free(params);
    return created;
}

static NetEngine *create_engine(ptrdiff_t threads) {
    NetEngine *engine;
    expect_no_error(NetEngineCreate(&engine, net, threads));
    return engine;
}

/* The bits are those of one thread. */
static void infer(NetEngine *engine) {
    float output[Outputs];
    memset(output, 255, sizeof output);
    NetEngineInference(engine, input, output);
    check(!memcmp(output, expected, sizeof output));
}

static void prepare(void) {
    fill(input, Inputs, 2);
    net = create_net(1);
    NetEngine *engine = create_engine(1);
    NetEngineInference(engine, input, expected);
    infer(engine);
    NetEngineDestroy(engine);
}

static __attribute__((unused)) int count_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    check(tasks != NULL);
    int threads = 0;
    for (const struct dirent *task; (task = readdir(tasks));) threads += task->d_name[0] != '.';
    closedir(tasks);
    return threads;
}

/* No thread is left, besides the first. The system still lists a thread for a moment after it has been joined.
 * ThreadSanitizer has a thread of its own, and complains itself about threads that nobody joined. */
static void await_end_of_threads(void) {
#ifndef THREAD_SANITIZER
    while (count_threads() != 1) sched_yield();
#endif
}

static void check_identities(NetEngine *engine, ptrdiff_t threads) {
    pthread_t identities[MostThreads];
    for (ptrdiff_t i = 0; i < threads; i++) {
        expect_no_error(NetEnginePthreadT(engine, i, &identities[i]));
        for (ptrdiff_t j = 0; j < i; j++) check(!pthread_equal(identities[i], identities[j]));
    }
    check(pthread_equal(identities[0], pthread_self()));
    const ptrdiff_t absent[] = {-1, threads, PTRDIFF_MIN, PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        pthread_t untouched = pthread_self();
        char *error = NetEnginePthreadT(engine, absent[i], &untouched);
        check(error != NULL && pthread_equal(untouched, pthread_self()));
        free(error);
    }
}

/* ---- Failures: of every call that the net makes to create something, one fails ---- */

void *__real_malloc(size_t bytes);
void __real_free(void *memory);
int __real_posix_memalign(void **to, size_t alignment, size_t bytes);
int __real_pthread_create(pthread_t *to, const pthread_attr_t *how, void *(*routine)(void *), void *argument);
int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how);
int __real_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __real_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *how);
int __real_pthread_cond_destroy(pthread_cond_t *condition);
int __real_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);

static int counting; /* only while the program has no thread but the first and an engine's workers */
static int calls_until_failure, allocations, synchronizers;
static size_t spare; /* bytes that malloc still finds after the first failure */

static int fails(void) {
    return counting && --calls_until_failure == 0;
}

void *__wrap_malloc(size_t bytes) {
    if (fails()) return NULL;
    if (counting && calls_until_failure < 0 && bytes > spare) return NULL;
    if (counting) allocations++;
    return __real_malloc(bytes);
}

void __wrap_free(void *memory) {
    if (counting && memory != NULL) allocations--;
    __real_free(memory);
}

int __wrap_posix_memalign(void **to, size_t alignment, size_t bytes) {
    if (fails()) return ENOMEM;
    if (counting) allocations++;
    return __real_posix_memalign(to, alignment, bytes);
}

int __wrap_pthread_create(pthread_t *to, const pthread_attr_t *how, void *(*routine)(void *), void *argument) {
    return fails() ? EAGAIN : __real_pthread_create(to, how, routine, argument);
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how) {
    if (fails()) return ENOMEM;
    if (counting) synchronizers++;
    return __real_pthread_mutex_init(mutex, how);
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex) {
    if (counting) synchronizers--;
    return __real_pthread_mutex_destroy(mutex);
}

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *how) {
    if (fails()) return ENOMEM;
    if (counting) synchronizers++;
    return __real_pthread_cond_init(condition, how);
}

int __wrap_pthread_cond_destroy(pthread_cond_t *condition) {
    if (counting) synchronizers--;
    return __real_pthread_cond_destroy(condition);
}

/* The thread that creates an engine gets its signal mask back: SIGUSR2 alone is blocked. */
static void check_signal_mask(void) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < 32; number++) check(sigismember(&mask, number) == (number == SIGUSR2));
}

/* Whoever is about to sleep takes its time, so that a wake-up that can be missed is missed. */
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    for (int i = 0; i < 20; i++) sched_yield();
    return __real_pthread_cond_wait(condition, mutex);
}

/* `left` is what malloc still finds after a failure. */
static void failures(size_t left) {
    spare = left;
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &usr2, NULL);
    for (ptrdiff_t threads = 1; threads <= MostThreads; threads++) {
        int failing = 1;
        for (;; failing++) {
            NetEngine *const untouched = (NetEngine *)&failing;
            NetEngine *engine = untouched;
            calls_until_failure = failing, counting = 1;
            char *error = NetEngineCreate(&engine, net, threads);
            if (!error) calls_until_failure = 0;
            check((error == NULL) == (engine != untouched));
            if (!error) NetEngineDestroy(engine);
            free(error);
            counting = 0;
            check(allocations == 0 && synchronizers == 0);
            await_end_of_threads();
            check_signal_mask();
            if (!error) break;
        }
        /* The engine, its team, the arena; two mutexes and two conditions; the workers. */
        check(failing == 1 + 3 + (threads > 1 ? 4 : 0) + (int)threads - 1);
    }
    const ptrdiff_t wrong[] = {0, -1, PTRDIFF_MIN, PTRDIFF_MAX, PTRDIFF_MAX / 64};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        NetEngine *engine = NULL;
        char *error = NetEngineCreate(&engine, net, wrong[i]);
        check(error != NULL && engine == NULL);
        free(error);
    }
}

/* ---- Rounds of creation, inference, destruction ---- */

static void rounds(long count) {
    for (long round = 0; round < count; round++) {
        const ptrdiff_t threads = round % MostThreads + 1;
        NetNet *const own = round % 16 < 8 ? create_net(threads) : NULL;
        NetEngine *engine;
        expect_no_error(NetEngineCreate(&engine, own ? own : net, threads));
        check_identities(engine, threads);
        for (long i = 0; i < round % 3; i++) infer(engine); /* an engine that was never used must end, too */
        NetEngineDestroy(engine);
        NetNetDestroy(own);
    }
    await_end_of_threads();
}

/* Far more threads than cores, and than items. */
static void many(void) {
    NetEngine *engine = create_engine(200);
    for (int i = 0; i < 5; i++) infer(engine);
    NetEngineDestroy(engine);
    await_end_of_threads();
}

/* ---- Several threads of the program ---- */

enum { Hosts = 4 };

typedef struct {
    ptrdiff_t index;
    long rounds;
    pthread_t thread;
} Host;

static NetEngine *handed[Hosts];
static pthread_barrier_t everyone;

/* Every engine is made by one thread, used by the next and destroyed by the one after that. */
static void *host(void *argument) {
    const Host *self = argument;
    for (long round = 0; round < self->rounds; round++) {
        handed[self->index] = create_engine(1 + (self->index + round) % 3);
        infer(handed[self->index]);
        pthread_barrier_wait(&everyone);
        for (int i = 0; i < 3; i++) infer(handed[(self->index + 1) % Hosts]);
        pthread_barrier_wait(&everyone);
        infer(handed[(self->index + 2) % Hosts]);
        NetEngineDestroy(handed[(self->index + 2) % Hosts]);
        pthread_barrier_wait(&everyone);
    }
    return NULL;
}

static void hosts(long count) {
    Host all[Hosts];
    pthread_barrier_init(&everyone, NULL, Hosts);
    for (ptrdiff_t i = 0; i < Hosts; i++) {
        all[i].index = i, all[i].rounds = count;
        check(pthread_create(&all[i].thread, NULL, host, &all[i]) == 0);
    }
    for (int i = 0; i < Hosts; i++) pthread_join(all[i].thread, NULL);
    pthread_barrier_destroy(&everyone);
    await_end_of_threads();
}

/* ---- fork() ---- */

static int stop;

static void *infer_until_stopped(void *argument) {
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) infer(argument);
    return NULL;
}

/* The child of a program whose engines work, sleep or both. */
static void child(NetEngine *engine, NetEngine *busy, int way) {
    check(count_threads() == 1);
    switch (way) {
    case 0:
        exit(0);
    case 1:
        infer(engine);
        break;
    case 2: {
        pthread_t thread;
        expect_no_error(NetEnginePthreadT(engine, 0, &thread));
        char *error = NetEnginePthreadT(engine, 1, &thread);
        check(error != NULL); /* there is no such thread here */
        free(error);
    }
    }
    NetEngineDestroy(engine);
    if (way != 3) infer(busy); /* another thread of the parent was using it */
    NetEngineDestroy(busy);
    engine = create_engine(3);
    infer(engine);
    NetEngineDestroy(engine);
    await_end_of_threads();
    exit(0);
}

static void forks(long count) {
    NetEngine *engine = create_engine(3), *busy = create_engine(2);
    pthread_t thread;
    check(pthread_create(&thread, NULL, infer_until_stopped, busy) == 0);
    for (long i = 0; i < count; i++) {
        infer(engine);
        if (i % 8 < 4) { /* let the workers fall asleep, or not */
            for (int other = 0; other < 100; other++) sched_yield();
        }
        const pid_t process = fork();
        check(process >= 0);
        if (process == 0) child(engine, busy, (int)(i % 4));
        infer(engine);
        int status;
        check(waitpid(process, &status, 0) == process);
        check(status == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    NetEngineDestroy(engine);
    NetEngineDestroy(busy);
    await_end_of_threads();
}

/* ---- Signals ---- */

static pthread_t receiver;
static volatile sig_atomic_t received, received_elsewhere;

static void on_signal(int number) {
    (void)number;
    received++;
    if (!pthread_equal(pthread_self(), receiver)) received_elsewhere = 1;
}

static void *send_until_stopped(void *argument) {
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        kill(getpid(), SIGUSR1);
        sched_yield();
    }
    return argument;
}

/* Signals interrupt the caller at any moment, whether it computes, spins or sleeps; workers never see one. */
static void signals(long count) {
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: calls of the system end with EINTR */
    sigaction(SIGUSR1, &action, NULL);
    receiver = pthread_self();
    sigset_t usr1, before;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, &before);
    pthread_t sender;
    check(pthread_create(&sender, NULL, send_until_stopped, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (ptrdiff_t threads = 1; threads <= 4; threads++) {
        NetEngine *engine = create_engine(threads);
        for (received = 0; received < count;) {
            for (ptrdiff_t i = 1; i < threads; i++) {
                pthread_t worker;
                expect_no_error(NetEnginePthreadT(engine, i, &worker));
                check(pthread_kill(worker, SIGUSR1) == 0);
            }
            infer(engine);
        }
        NetEngineDestroy(engine);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(sender, NULL);
    check(!received_elsewhere);
}

/* Without memory for a message there is no answer that a caller could understand. */
static void exhaustion(void) {
    const pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        NetEngine *engine = NULL;
        freopen("/dev/null", "w", stderr); /* what sanitizers say about it */
        spare = 0, calls_until_failure = 1, counting = 1;
        _exit(NetEngineCreate(&engine, net, 2) == NULL);
    }
    int status;
    check(waitpid(child, &status, 0) == child);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* A fault of a worker (parameters in a file that became shorter, say) is for the program's handler. */
static void on_fault(int number) {
    _exit(number == SIGSEGV && !pthread_equal(pthread_self(), receiver) ? 0 : 1);
}

static void faults(void) {
    signal(SIGSEGV, on_fault);
    receiver = pthread_self();
    NetEngine *engine = create_engine(2);
    pthread_t worker;
    expect_no_error(NetEnginePthreadT(engine, 1, &worker));
    check(pthread_kill(worker, SIGSEGV) == 0);
    NetEngineDestroy(engine);
    fail("the handler was not called");
}

int main(int count, char **arguments) {
    check(count >= 2);
    const char *name = arguments[1];
    const long n = count > 2 ? atol(arguments[2]) : 1;
    prepare();
    if (!strcmp(name, "rounds")) rounds(n);
    else if (!strcmp(name, "many")) many();
    else if (!strcmp(name, "hosts")) hosts(n);
    else if (!strcmp(name, "failures")) failures(SIZE_MAX);
    else if (!strcmp(name, "shortage")) failures(100);
    else if (!strcmp(name, "exhaustion")) exhaustion();
    else if (!strcmp(name, "forks")) forks(n);
    else if (!strcmp(name, "signals")) signals(n);
    else if (!strcmp(name, "faults")) faults();
    else fail("no trial is called %s", name);
    NetNetDestroy(net);
    return 0;
}
