"""The emitted file's thread team: the caller and its workers share the items of every step."""

from __future__ import annotations

TEAM = """
/* ---- Threads ---------------------------------------------------------------------------------------------------
 * A team is the calling thread and its workers. Every step has a number of equal items; each thread computes its share
 * of them, and the caller returns when all are done. A team of one just calls the step. */

/* What one thread does of a step: items first to last-1. Threads are numbered from 0, which is the caller. */
typedef struct {
    ptrdiff_t first, last, thread;
} Share;

typedef void (*Step)(const void *context, Share share);

/* A number that one thread changes and others wait for: they spin for a moment, then sleep. */
typedef struct {
    unsigned value;
    int sleepers, spins;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} Gate;

enum { SpinsBeforeSleep = 4000 }; /* 0.05 to 0.2 ms, as long as waking a sleeper may take */

static int gate_create(Gate *gate, ptrdiff_t threads) {
    *gate = (Gate){.spins = SpinsBeforeSleep};
#ifdef _SC_NPROCESSORS_ONLN /* of more threads, whoever spins may keep one from the thread that it waits for */
    if (threads > sysconf(_SC_NPROCESSORS_ONLN)) gate->spins /= 40;
#endif
    if (pthread_mutex_init(&gate->mutex, NULL)) return 0;
    if (pthread_cond_init(&gate->changed, NULL)) {
        pthread_mutex_destroy(&gate->mutex);
        return 0;
    }
    return 1;
}

static void gate_destroy(Gate *gate) {
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->mutex);
}

/* Both sides are sequentially consistent: either the waker sees the sleeper, or the sleeper sees the new value. The
 * sleeper holds the mutex from its last look at the value until it sleeps, so the broadcast cannot come too early. */
static void gate_set(Gate *gate, unsigned value) {
    __atomic_store_n(&gate->value, value, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&gate->sleepers, __ATOMIC_SEQ_CST) == 0) return;
    pthread_mutex_lock(&gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
    pthread_cond_broadcast(&gate->changed);
}

static void gate_await(Gate *gate, unsigned value) {
    for (int spin = 0; spin < gate->spins; spin++) {
        if (__atomic_load_n(&gate->value, __ATOMIC_ACQUIRE) == value) return;
        _mm_pause();
    }
    pthread_mutex_lock(&gate->mutex);
    __atomic_add_fetch(&gate->sleepers, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&gate->value, __ATOMIC_SEQ_CST) != value) pthread_cond_wait(&gate->changed, &gate->mutex);
    __atomic_sub_fetch(&gate->sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&gate->mutex);
}

typedef struct Team Team;

typedef struct {
    Team *team;
    ptrdiff_t index; /* the caller is 0 */
    pthread_t thread;
} Worker;

struct Team {
    ptrdiff_t threads;
    Step step; /* NULL tells the workers to leave */
    const void *context;
    ptrdiff_t items;
    ptrdiff_t working; /* workers that have not finished the step */
    unsigned steps;    /* how many steps have begun */
    Gate begun, done;
    Worker *workers; /* [threads], the caller's entry included */
    pid_t process;
};

/* A child of fork() inherits the team without its workers: there the caller works alone, and touches no gate. */
static void team_check(Team *team) {
    if (team->threads > 1 && team->process != getpid()) team->threads = 1;
}

static void team_share(const Team *team, ptrdiff_t index) {
    const ptrdiff_t each = team->items / team->threads, rest = team->items % team->threads;
    const ptrdiff_t first = index * each + (index < rest ? index : rest);
    const ptrdiff_t last = first + each + (index < rest);
    if (first < last) team->step(team->context, (Share){first, last, index});
}

static void *team_work(void *argument) {
    const Worker *worker = argument;
    Team *team = worker->team;
    for (unsigned number = 1;; number++) {
        gate_await(&team->begun, number);
        if (team->step == NULL) return NULL;
        team_share(team, worker->index);
        if (__atomic_sub_fetch(&team->working, 1, __ATOMIC_ACQ_REL) == 0) gate_set(&team->done, number);
    }
}
"""

TEAM_RUN = """
/* Run a step on all threads. */
static void team_run(Team *team, Step step, const void *context, ptrdiff_t items) {
    if (team->threads == 1) {
        step(context, (Share){.last = items});
        return;
    }
    team->step = step;
    team->context = context;
    team->items = items;
    team->working = team->threads - 1;
    gate_set(&team->begun, ++team->steps);
    team_share(team, 0);
    gate_await(&team->done, team->steps);
}
"""

TEAM_END = """
/* Dismiss the first `workers` workers, wait for them and free what the team holds. */
static void team_dismiss(Team *team, ptrdiff_t workers) {
    team_check(team);
    if (team->threads > 1) {
        team->step = NULL;
        gate_set(&team->begun, ++team->steps);
        for (ptrdiff_t i = 1; i <= workers; i++) pthread_join(team->workers[i].thread, NULL);
        gate_destroy(&team->done);
        gate_destroy(&team->begun);
    }
    free(team->workers);
}

static void team_destroy(Team *team) {
    team_dismiss(team, team->threads - 1);
}

/* Returns NULL or an error message. Workers leave signals to the program's threads, except for their own faults. */
static char *team_create(Team *team, ptrdiff_t threads) {
    if (threads < 1) return message("threads must be at least 1, not %td", threads);
    *team = (Team){.threads = threads, .process = getpid()};
    if ((size_t)threads > SIZE_MAX / sizeof *team->workers ||
        (team->workers = malloc((size_t)threads * sizeof *team->workers)) == NULL)
        return message("no memory for a team of %td threads", threads);
    team->workers[0].thread = pthread_self();
    if (threads == 1) return NULL;
    const int begun = gate_create(&team->begun, threads);
    if (!begun || !gate_create(&team->done, threads)) {
        if (begun) gate_destroy(&team->begun);
        free(team->workers);
        return message("cannot create a mutex and a condition variable");
    }
    sigset_t blocked, before;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    ptrdiff_t created = 0;
    int error = 0;
    while (created < threads - 1 && error == 0) {
        Worker *worker = &team->workers[created + 1];
        worker->team = team;
        worker->index = created + 1;
        error = pthread_create(&worker->thread, NULL, team_work, worker);
        if (error == 0) created++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) return NULL;
    team_dismiss(team, created);
    return message("cannot create thread %td of %td (error %d)", created + 2, threads, error);
}
"""

MESSAGE = """
/* An error message that the caller frees. It takes as few bytes as it can, since memory may be what is missing. Without
 * them the program ends: NULL would mean success, and a string constant could not be freed. */
static char *message(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const size_t bytes = strlen(text) + 1;
    char *copy = malloc(bytes);
    if (copy == NULL) abort();
    return memcpy(copy, text, bytes);
}
"""
