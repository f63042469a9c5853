/* The net's threads, and what they wait for. The linker sends the net's pthread_create, pthread_join ... here (--wrap). */
#define _GNU_SOURCE
#include "nn512_driver.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum { MAX_WORKERS = 1024 };

struct worker {
    void *(*routine)(void *);
    void *argument;
    pthread_t thread;
    int used, running, joined, detached;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct worker workers[MAX_WORKERS];
static struct worker *top = workers; /* one past the last entry ever used */
static size_t fail_countdown;
static long mutexes, conditions; /* initialized and not destroyed */
static int failed, keep_signals, troubled;
static unsigned waits;

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __real_pthread_join(pthread_t, void **);
int __real_pthread_detach(pthread_t);
int __real_pthread_mutex_init(pthread_mutex_t *, const pthread_mutexattr_t *);
int __real_pthread_mutex_destroy(pthread_mutex_t *);
int __real_pthread_cond_init(pthread_cond_t *, const pthread_condattr_t *);
int __real_pthread_cond_destroy(pthread_cond_t *);
int __real_pthread_cond_wait(pthread_cond_t *, pthread_mutex_t *);

/* In a program that is linked statically the C library's own allocations come to heap.c as well, and it keeps what it has
 * allocated for a thread for the next one. */
static int create(pthread_t *to, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument) {
    heap_aside(1);
    const int status = __real_pthread_create(to, attributes, routine, argument);
    heap_aside(0);
    return status;
}

void workers_fail_at(size_t nth) {
    pthread_mutex_lock(&lock);
    fail_countdown = nth;
    failed = 0;
    pthread_mutex_unlock(&lock);
}

int workers_failed(void) {
    return failed;
}

static int fails_now(void) {
    pthread_mutex_lock(&lock);
    const int now = fail_countdown && !--fail_countdown;
    if (now) failed = 1;
    pthread_mutex_unlock(&lock);
    return now;
}

static void ended(void *worker) {
    pthread_mutex_lock(&lock);
    ((struct worker *)worker)->running = 0;
    pthread_mutex_unlock(&lock);
}

void workers_keep_signals(void) {
    keep_signals = 1;
}

/* A signal to the program shall not end up in a thread that the program does not know, faults of the thread's own must. */
static void check_signals(void) {
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    sigset_t wanted, mask;
    sigfillset(&wanted);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&wanted, own[i]);
    pthread_sigmask(SIG_SETMASK, &wanted, &mask);
    pthread_sigmask(SIG_SETMASK, &mask, &wanted); /* what can be had: an emulator may keep signals for itself */
    for (int number = 1; number < NSIG; number++) {
        const int blocked = sigismember(&mask, number) == 1;
        if (blocked == (sigismember(&wanted, number) == 1)) continue;
        report_violation("threads", blocked ? "a thread of the net blocks signal %d, a fault of its own"
                                            : "a thread of the net does not leave signal %d to the program", number);
        return;
    }
}

static void *run(void *argument) {
    struct worker *const worker = argument;
    void *result;
    if (keep_signals) check_signals();
    const unsigned mode = mode_get();
    pthread_cleanup_push(ended, worker); /* runs on pthread_exit and cancellation, too */
    result = worker->routine(worker->argument);
    pthread_cleanup_pop(1);
    if (mode_get() != mode) report_violation("mxcsr", "a thread of the net changes MXCSR from %#x to %#x", mode, mode_get());
    return result;
}

int __wrap_pthread_create(pthread_t *to, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument) {
    if (fails_now()) return EAGAIN;
    int detach = PTHREAD_CREATE_JOINABLE;
    if (attributes) pthread_attr_getdetachstate(attributes, &detach);
    pthread_mutex_lock(&lock);
    struct worker *worker = workers;
    while (worker < workers + MAX_WORKERS && worker->used) worker++;
    if (worker == workers + MAX_WORKERS) {
        pthread_mutex_unlock(&lock);
        report_violation("threads", "more than %d threads", (int)MAX_WORKERS);
        return EAGAIN;
    }
    if (worker == top) top++;
    memset(worker, 0, sizeof *worker);
    worker->routine = routine;
    worker->argument = argument;
    worker->used = worker->running = 1;
    worker->detached = detach == PTHREAD_CREATE_DETACHED;
    /* The lock is held so that nobody sees the entry without its thread. */
    const int status = create(&worker->thread, attributes, run, worker);
    if (status)
        worker->used = 0;
    else
        *to = worker->thread;
    pthread_mutex_unlock(&lock);
    return status;
}

/* Numbers of threads that were joined, or detached and have ended, are given to new ones. */
static struct worker *find(pthread_t thread) {
    for (struct worker *worker = workers; worker < top; worker++)
        if (worker->used && !worker->joined && !worker->detached && pthread_equal(worker->thread, thread)) return worker;
    return NULL;
}

int __wrap_pthread_join(pthread_t thread, void **result) {
    /* The entry is taken before: once a thread has been joined, a new one of another engine may have the same number. */
    pthread_mutex_lock(&lock);
    struct worker *const worker = find(thread);
    if (worker) worker->joined = 1;
    pthread_mutex_unlock(&lock);
    if (!worker) report_fatal("threads", "pthread_join of a thread that was not created, or was joined before");
    const int status = __real_pthread_join(thread, result);
    if (status) {
        pthread_mutex_lock(&lock);
        worker->joined = 0;
        pthread_mutex_unlock(&lock);
    }
    return status;
}

int __wrap_pthread_detach(pthread_t thread) {
    pthread_mutex_lock(&lock);
    struct worker *const worker = find(thread);
    if (worker) worker->detached = 1;
    pthread_mutex_unlock(&lock);
    return __real_pthread_detach(thread);
}

/* Counts by `change` what succeeded, and hands its status on. */
static int counted(int status, long *count, long change) {
    if (status == 0) __atomic_add_fetch(count, change, __ATOMIC_RELAXED);
    return status;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes) {
    return fails_now() ? EAGAIN : counted(__real_pthread_mutex_init(mutex, attributes), &mutexes, 1);
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex) {
    return counted(__real_pthread_mutex_destroy(mutex), &mutexes, -1);
}

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes) {
    return fails_now() ? EAGAIN : counted(__real_pthread_cond_init(condition, attributes), &conditions, 1);
}

int __wrap_pthread_cond_destroy(pthread_cond_t *condition) {
    return counted(__real_pthread_cond_destroy(condition), &conditions, -1);
}

void pause_for(long microseconds) {
    const struct timespec time = {.tv_nsec = microseconds * 1000};
    nanosleep(&time, NULL);
}

void workers_trouble(int on) {
    __atomic_store_n(&troubled, on, __ATOMIC_RELAXED);
}

/* Both are legal: POSIX lets a wait end without a reason, and between a thread's last look at what it waits for and its
 * wait there may be any time, in which whoever wakes it has to wait for the mutex. */
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    if (__atomic_load_n(&troubled, __ATOMIC_RELAXED)) {
        if (__atomic_fetch_add(&waits, 1, __ATOMIC_RELAXED) % 2) return 0;
        pause_for(100);
    }
    return __real_pthread_cond_wait(condition, mutex);
}

struct workers_state workers_now(void) {
    return (struct workers_state){__atomic_load_n(&mutexes, __ATOMIC_RELAXED), __atomic_load_n(&conditions, __ATOMIC_RELAXED)};
}

void workers_check_leak(struct workers_state before, const char *after) {
    const struct workers_state now = workers_now();
    if (now.mutexes > before.mutexes) report_violation("leak", "%s leaves %ld mutexes", after, now.mutexes - before.mutexes);
    if (now.conditions > before.conditions)
        report_violation("leak", "%s leaves %ld condition variables", after, now.conditions - before.conditions);
}

int workers_check_ended(const char *after) {
    size_t running = 0, unjoined = 0;
    pthread_mutex_lock(&lock);
    for (struct worker *worker = workers; worker < top; worker++) {
        if (!worker->used) continue;
        running += (size_t)worker->running;
        unjoined += !worker->running && !worker->joined && !worker->detached;
        if (!worker->running) worker->used = 0;
    }
    pthread_mutex_unlock(&lock);
    if (running) report_violation("threads", "%s leaves %zu threads running", after, running);
    if (unjoined) report_violation("threads", "%s leaves %zu threads that ended and were not joined", after, unjoined);
    return running == 0;
}

int workers_start(pthread_t *thread, void *(*routine)(void *), void *argument) {
    return create(thread, NULL, routine, argument);
}

int workers_wait(pthread_t thread) {
    return __real_pthread_join(thread, NULL);
}
