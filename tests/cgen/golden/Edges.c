/* Edges: 4 layers, 0.2 MMAC, 28,608 bytes of packed weights.
 *
 *      layer                             MMAC    weights, bytes  kernel
 *   1  image_load                        0.00                 0  load
 *   2  norm                              0.22            27,840  direct
 *   3  relu                              0.02               768  planar
 *   4  relu_store                        0.00                 0  store
 *
 * A tensor is stored in blocks of 16 channels, [block][height][width][16]. A step function computes a
 * thread's share of its layer's items: blocks, rows of one or a few blocks, or tiles of pixels. */

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* madvise, where the system has it */
#endif
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200112L /* posix_memalign and pthread_sigmask, which C99 alone hides */
#endif

#include "Edges.h"
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

/* ---- Parameters, tensors ------------------------------------------------------------------------------------- */

/* Packed parameters, padded to whole blocks of 16 channels. Biases: [block][lane]. Batch norms: [block][scales, then
 * shifts][lane]. Weights: [panel of output blocks][input block][filter row][filter column][input lane][output block
 * of the panel][output lane], the order in which they are read. */
struct EdgesNet {
    float convBiases[48], convWeights[3 * 3 * 3 * 16 * 16];
    float shortcutBiases[48], shortcutWeights[3 * 3 * 16];
};

/* Where tensors begin in the arena, in floats, and the layers between which they live. */
enum {
    image_at = 9936, /* 3x9x23, layers 1 to 2 */
    norm_at = 0, /* 40x9x23, layers 2 to 3 */
    relu_at = 9936, /* 40x9x23, layers 3 to 4 */
    Layers = 4,
    ArenaFloats = 19872
};

struct EdgesEngine {
    const EdgesNet *net;
    float *arena;
    Team team;
    const float *imageData;
    float *reluData;
#ifdef NN512_PROFILE
    long long inferences, nanoseconds[Layers];
#endif
};

/* The memory of a tensor. The function is never inlined, so compilers take tensors for separate objects, although
 * all lie in one arena. */
static NOINLINE void *tensor(const EdgesEngine *engine, ptrdiff_t at) {
    return engine->arena + at;
}

/* ---- Shared routines ----------------------------------------------------------------------------------------- */

/* Up to 4 channels of `pixels` floats each into one block; lanes without a channel become 0. */
static INLINE void load_narrow(const float *x, ptrdiff_t pixels, ptrdiff_t channels, float (*out)[16]) {
    for (ptrdiff_t p = 0; p < pixels; p += 16) {
        const ptrdiff_t count = pixels - p < 16 ? pixels - p : 16;
        const __mmask16 mask = (__mmask16)((1u << count) - 1), four = 0xf;
        __m512 v[4], pair[4];
        UNROLL for (int c = 0; c < 4; c++)
            v[c] = c < channels ? _mm512_maskz_loadu_ps(mask, x + c * pixels + p) : _mm512_setzero_ps();
        UNROLL for (int c = 0; c < 4; c += 2) { /* two channels of pixels 0 and 1 of every four, then of 2 and 3 */
            pair[c] = _mm512_unpacklo_ps(v[c], v[c + 1]);
            pair[c + 1] = _mm512_unpackhi_ps(v[c], v[c + 1]);
        }
        UNROLL for (int i = 0; i < 2; i++) { /* all channels of pixel j of every four */
            v[2 * i] = _mm512_shuffle_ps(pair[i], pair[i + 2], 0x44);
            v[2 * i + 1] = _mm512_shuffle_ps(pair[i], pair[i + 2], 0xee);
        }
        UNROLL for (int j = 0; j < 4; j++) {
            if (j < count) _mm512_storeu_ps(out[p + j], _mm512_maskz_mov_ps(four, v[j]));
            const __m512 second = _mm512_shuffle_f32x4(v[j], v[j], 1), third = _mm512_shuffle_f32x4(v[j], v[j], 2);
            if (j + 4 < count) _mm512_storeu_ps(out[p + 4 + j], _mm512_maskz_mov_ps(four, second));
            if (j + 8 < count) _mm512_storeu_ps(out[p + 8 + j], _mm512_maskz_mov_ps(four, third));
            const __m512 fourth = _mm512_shuffle_f32x4(v[j], v[j], 3);
            if (j + 12 < count) _mm512_storeu_ps(out[p + 12 + j], _mm512_maskz_mov_ps(four, fourth));
        }
    }
}

/* What every tile routine of a convolution takes: inputs, weights, biases, and where the results go. `out` may alias
 * `bias`; without this gcc hoists the biases and spills the sums. Most routines also take `nextWeights`: the weights
 * that they prefetch begin so many floats after w, and are a share of those that are read after this panel. `pixels`
 * is a literal in every call, or the loops over it would not be unrolled. */
#define OPERANDS const float *restrict x, const float *restrict w, const float *bias, float *out

/* What a tile routine has to know about its layer. Planes and rows are distances in floats. */
typedef struct {
    ptrdiff_t channels;        /* input channels that are summed */
    ptrdiff_t inputPlane;      /* from one block of input channels to the next */
    ptrdiff_t inputRow;        /* from one row of the input picture to the next */
    ptrdiff_t bufferPlane;     /* from one block to the next in the buffer of inputs */
    ptrdiff_t outputPlane;     /* from one block of output channels to the next */
    ptrdiff_t prefetchShares;  /* number of tiles that share the prefetching of the next weights */
    ptrdiff_t prefetchPixels;  /* pixels to prefetch, with each block of inputs, of what is used after the sums */
    ptrdiff_t groups, outputs; /* number of groups, output channels of each */
    const ptrdiff_t *segments; /* channels of each segment of inputs, which begins a new block; a 0 ends the table */
} Sizes;

/* Prefetch cache lines of 16 floats into the level 1 cache. */
static INLINE void prefetch_lines(const float *from, ptrdiff_t lines) {
    UNROLL for (ptrdiff_t i = 0; i < lines; i++) _mm_prefetch((const char *)(from + i * 16), _MM_HINT_T0);
}

/* 2 blocks of 16 outputs at up to 14 neighbouring pixels: out[o][p] = bias[o] + sum over input channels and taps of
 * w[o] * x[p]; taps leave out pixels for which they fall on padding; x is the first input inside the picture, and so
 * are filter rows top to bottom-1. Of 32 registers: 28 sums, 2 of weights, 1 pixel. */
static INLINE void conv3x3_2xN_left_tail(OPERANDS, ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t nextWeights,
        const Sizes *sizes, const int pixels) {
    __m512 acc[2][14];
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int p = 0; p < pixels; p++) acc[o][p] = _mm512_loadu_ps(bias + o * 16);
    enum { tapWeights = 16 * 2 * 16 }; /* of one filter tap for a block of 16 inputs */
    for (ptrdiff_t c = 0; c < sizes->channels; c += 16, x += sizes->inputPlane, w += 3 * 3 * tapWeights) {
        const ptrdiff_t lanes = sizes->channels - c < 16 ? sizes->channels - c : 16;
        if (c * sizes->prefetchPixels < pixels * 16)
            UNROLL for (int o = 0; o < 2; o++)
                prefetch_lines(out + o * sizes->outputPlane + c * sizes->prefetchPixels, sizes->prefetchPixels);
        for (ptrdiff_t i = top; i < bottom; i++) {
            { /* filter column 0 */
                const float *pixel = x + (i - top) * sizes->inputRow;
                const float *tap = w + i * 3 * tapWeights;
                prefetch_lines(tap + nextWeights, (16 * 2 + sizes->prefetchShares - 1) / sizes->prefetchShares);
                ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane++, pixel++, tap += 32) {
                    const __m512 w0 = _mm512_loadu_ps(tap);
                    const __m512 w1 = _mm512_loadu_ps(tap + 16);
                    UNROLL for (int p = 1; p < pixels; p++) {
                        const __m512 xp = _mm512_set1_ps(pixel[(p - 1) * 16]);
                        acc[0][p] = _mm512_fmadd_ps(w0, xp, acc[0][p]);
                        acc[1][p] = _mm512_fmadd_ps(w1, xp, acc[1][p]);
                    }
                }
            }
            for (ptrdiff_t j = 1; j < 3; j++) {
                const float *pixel = x + ((i - top) * sizes->inputRow + (j - 1) * 16);
                const float *tap = w + (i * 3 + j) * tapWeights;
                prefetch_lines(tap + nextWeights, (16 * 2 + sizes->prefetchShares - 1) / sizes->prefetchShares);
                ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane++, pixel++, tap += 32) {
                    const __m512 w0 = _mm512_loadu_ps(tap);
                    const __m512 w1 = _mm512_loadu_ps(tap + 16);
                    UNROLL for (int p = 0; p < pixels; p++) {
                        const __m512 xp = _mm512_set1_ps(pixel[p * 16]);
                        acc[0][p] = _mm512_fmadd_ps(w0, xp, acc[0][p]);
                        acc[1][p] = _mm512_fmadd_ps(w1, xp, acc[1][p]);
                    }
                }
            }
        }
    }
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int p = 0; p < pixels; p++) _mm512_storeu_ps(out + o * sizes->outputPlane + p * 16, acc[o][p]);
}

/* 2 blocks of 16 outputs at up to 14 neighbouring pixels: out[o][p] = bias[o] + sum over input channels and taps of
 * w[o] * x[p]; taps leave out pixels for which they fall on padding; x is the first input inside the picture, and so
 * are filter rows top to bottom-1. Of 32 registers: 28 sums, 2 of weights, 1 pixel. */
static INLINE void conv3x3_2xN_right_tail(OPERANDS, ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t nextWeights,
        const Sizes *sizes, const int pixels) {
    __m512 acc[2][14];
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int p = 0; p < pixels; p++) acc[o][p] = _mm512_loadu_ps(bias + o * 16);
    enum { tapWeights = 16 * 2 * 16 }; /* of one filter tap for a block of 16 inputs */
    for (ptrdiff_t c = 0; c < sizes->channels; c += 16, x += sizes->inputPlane, w += 3 * 3 * tapWeights) {
        const ptrdiff_t lanes = sizes->channels - c < 16 ? sizes->channels - c : 16;
        if (c * sizes->prefetchPixels < pixels * 16)
            UNROLL for (int o = 0; o < 2; o++)
                prefetch_lines(out + o * sizes->outputPlane + c * sizes->prefetchPixels, sizes->prefetchPixels);
        for (ptrdiff_t i = top; i < bottom; i++) {
            for (ptrdiff_t j = 0; j < 2; j++) {
                const float *pixel = x + ((i - top) * sizes->inputRow + j * 16);
                const float *tap = w + (i * 3 + j) * tapWeights;
                prefetch_lines(tap + nextWeights, (16 * 2 + sizes->prefetchShares - 1) / sizes->prefetchShares);
                ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane++, pixel++, tap += 32) {
                    const __m512 w0 = _mm512_loadu_ps(tap);
                    const __m512 w1 = _mm512_loadu_ps(tap + 16);
                    UNROLL for (int p = 0; p < pixels; p++) {
                        const __m512 xp = _mm512_set1_ps(pixel[p * 16]);
                        acc[0][p] = _mm512_fmadd_ps(w0, xp, acc[0][p]);
                        acc[1][p] = _mm512_fmadd_ps(w1, xp, acc[1][p]);
                    }
                }
            }
            { /* filter column 2 */
                const float *pixel = x + ((i - top) * sizes->inputRow + 32);
                const float *tap = w + (i * 3 + 2) * tapWeights;
                prefetch_lines(tap + nextWeights, (16 * 2 + sizes->prefetchShares - 1) / sizes->prefetchShares);
                ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane++, pixel++, tap += 32) {
                    const __m512 w0 = _mm512_loadu_ps(tap);
                    const __m512 w1 = _mm512_loadu_ps(tap + 16);
                    UNROLL for (int p = 0; p < pixels - 1; p++) {
                        const __m512 xp = _mm512_set1_ps(pixel[p * 16]);
                        acc[0][p] = _mm512_fmadd_ps(w0, xp, acc[0][p]);
                        acc[1][p] = _mm512_fmadd_ps(w1, xp, acc[1][p]);
                    }
                }
            }
        }
    }
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int p = 0; p < pixels; p++) _mm512_storeu_ps(out + o * sizes->outputPlane + p * 16, acc[o][p]);
}

/* 1 block of 16 outputs at up to 14 neighbouring pixels: out[o][p] = bias[o] + sum over input channels and taps of
 * w[o] * x[p]; taps leave out pixels for which they fall on padding; x is the first input inside the picture, and so
 * are filter rows top to bottom-1. Of 32 registers: 14 sums, 1 of weights, 1 pixel. */
static INLINE void conv3x3_1xN_left_tail(OPERANDS, ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t nextWeights,
        const Sizes *sizes, const int pixels) {
    __m512 acc[14];
    UNROLL for (int p = 0; p < pixels; p++) acc[p] = _mm512_loadu_ps(bias);
    enum { tapWeights = 16 * 16 }; /* of one filter tap for a block of 16 inputs */
    for (ptrdiff_t c = 0; c < sizes->channels; c += 16, x += sizes->inputPlane, w += 3 * 3 * tapWeights) {
        const ptrdiff_t lanes = sizes->channels - c < 16 ? sizes->channels - c : 16;
        if (c * sizes->prefetchPixels < pixels * 16)
            prefetch_lines(out + c * sizes->prefetchPixels, sizes->prefetchPixels);
        for (ptrdiff_t i = top; i < bottom; i++) {
            { /* filter column 0 */
                const float *pixel = x + (i - top) * sizes->inputRow;
                const float *tap = w + i * 3 * tapWeights;
                prefetch_lines(tap + nextWeights, (16 + sizes->prefetchShares - 1) / sizes->prefetchShares);
                ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane++, pixel++, tap += 16) {
                    const __m512 w0 = _mm512_loadu_ps(tap);
                    UNROLL for (int p = 1; p < pixels; p++) {
                        const __m512 xp = _mm512_set1_ps(pixel[(p - 1) * 16]);
                        acc[p] = _mm512_fmadd_ps(w0, xp, acc[p]);
                    }
                }
            }
            for (ptrdiff_t j = 1; j < 3; j++) {
                const float *pixel = x + ((i - top) * sizes->inputRow + (j - 1) * 16);
                const float *tap = w + (i * 3 + j) * tapWeights;
                prefetch_lines(tap + nextWeights, (16 + sizes->prefetchShares - 1) / sizes->prefetchShares);
                ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane++, pixel++, tap += 16) {
                    const __m512 w0 = _mm512_loadu_ps(tap);
                    UNROLL for (int p = 0; p < pixels; p++) {
                        const __m512 xp = _mm512_set1_ps(pixel[p * 16]);
                        acc[p] = _mm512_fmadd_ps(w0, xp, acc[p]);
                    }
                }
            }
        }
    }
    UNROLL for (int p = 0; p < pixels; p++) _mm512_storeu_ps(out + p * 16, acc[p]);
}

/* 1 block of 16 outputs at up to 14 neighbouring pixels: out[o][p] = bias[o] + sum over input channels and taps of
 * w[o] * x[p]; taps leave out pixels for which they fall on padding; x is the first input inside the picture, and so
 * are filter rows top to bottom-1. Of 32 registers: 14 sums, 1 of weights, 1 pixel. */
static INLINE void conv3x3_1xN_right_tail(OPERANDS, ptrdiff_t top, ptrdiff_t bottom, ptrdiff_t nextWeights,
        const Sizes *sizes, const int pixels) {
    __m512 acc[14];
    UNROLL for (int p = 0; p < pixels; p++) acc[p] = _mm512_loadu_ps(bias);
    enum { tapWeights = 16 * 16 }; /* of one filter tap for a block of 16 inputs */
    for (ptrdiff_t c = 0; c < sizes->channels; c += 16, x += sizes->inputPlane, w += 3 * 3 * tapWeights) {
        const ptrdiff_t lanes = sizes->channels - c < 16 ? sizes->channels - c : 16;
        if (c * sizes->prefetchPixels < pixels * 16)
            prefetch_lines(out + c * sizes->prefetchPixels, sizes->prefetchPixels);
        for (ptrdiff_t i = top; i < bottom; i++) {
            for (ptrdiff_t j = 0; j < 2; j++) {
                const float *pixel = x + ((i - top) * sizes->inputRow + j * 16);
                const float *tap = w + (i * 3 + j) * tapWeights;
                prefetch_lines(tap + nextWeights, (16 + sizes->prefetchShares - 1) / sizes->prefetchShares);
                ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane++, pixel++, tap += 16) {
                    const __m512 w0 = _mm512_loadu_ps(tap);
                    UNROLL for (int p = 0; p < pixels; p++) {
                        const __m512 xp = _mm512_set1_ps(pixel[p * 16]);
                        acc[p] = _mm512_fmadd_ps(w0, xp, acc[p]);
                    }
                }
            }
            { /* filter column 2 */
                const float *pixel = x + ((i - top) * sizes->inputRow + 32);
                const float *tap = w + (i * 3 + 2) * tapWeights;
                prefetch_lines(tap + nextWeights, (16 + sizes->prefetchShares - 1) / sizes->prefetchShares);
                ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane++, pixel++, tap += 16) {
                    const __m512 w0 = _mm512_loadu_ps(tap);
                    UNROLL for (int p = 0; p < pixels - 1; p++) {
                        const __m512 xp = _mm512_set1_ps(pixel[p * 16]);
                        acc[p] = _mm512_fmadd_ps(w0, xp, acc[p]);
                    }
                }
            }
        }
    }
    UNROLL for (int p = 0; p < pixels; p++) _mm512_storeu_ps(out + p * 16, acc[p]);
}

/* 2 blocks of 16 outputs at up to 14 neighbouring pixels: out[o][p] = bias[o] + sum over input channels and taps of
 * w[o] * x[p]. Of 32 registers: 28 sums, 2 of weights, 1 pixel. */
static INLINE void conv1x1_2xN_planar_add_relu0p1(OPERANDS, const float *add0, const Sizes *sizes, const int pixels) {
    __m512 acc[2][14];
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int p = 0; p < pixels; p++) acc[o][p] = _mm512_loadu_ps(bias + o * 16);
    ROLLED for (ptrdiff_t c = 0; c < sizes->channels; c++, x += sizes->inputPlane, w += 16 * 2) {
        const float *pixel = x;
        const float *tap = w;
        const __m512 w0 = _mm512_loadu_ps(tap);
        const __m512 w1 = _mm512_loadu_ps(tap + 16);
        UNROLL for (int p = 0; p < pixels; p++) {
            const __m512 xp = _mm512_set1_ps(pixel[p]);
            acc[0][p] = _mm512_fmadd_ps(w0, xp, acc[0][p]);
            acc[1][p] = _mm512_fmadd_ps(w1, xp, acc[1][p]);
        }
    }
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int p = 0; p < pixels; p++) {
            acc[o][p] = _mm512_add_ps(acc[o][p], _mm512_loadu_ps(add0 + o * sizes->outputPlane + p * 16));
            const __mmask16 negative1 = _mm512_cmp_ps_mask(acc[o][p], _mm512_setzero_ps(), _CMP_LE_OQ);
            acc[o][p] = _mm512_mask_mul_ps(acc[o][p], negative1, acc[o][p], _mm512_set1_ps(0.100000001f));
            _mm512_storeu_ps(out + o * sizes->outputPlane + p * 16, acc[o][p]);
        }
}

/* 1 block of 16 outputs at up to 14 neighbouring pixels: out[o][p] = bias[o] + sum over input channels and taps of
 * w[o] * x[p]. Of 32 registers: 14 sums, 1 of weights, 1 pixel. */
static INLINE void conv1x1_1xN_planar_add_relu0p1(OPERANDS, const float *add0, const Sizes *sizes, const int pixels) {
    __m512 acc[14];
    UNROLL for (int p = 0; p < pixels; p++) acc[p] = _mm512_loadu_ps(bias);
    ROLLED for (ptrdiff_t c = 0; c < sizes->channels; c++, x += sizes->inputPlane, w += 16) {
        const float *pixel = x;
        const float *tap = w;
        const __m512 w0 = _mm512_loadu_ps(tap);
        UNROLL for (int p = 0; p < pixels; p++) {
            const __m512 xp = _mm512_set1_ps(pixel[p]);
            acc[p] = _mm512_fmadd_ps(w0, xp, acc[p]);
        }
    }
    UNROLL for (int p = 0; p < pixels; p++) {
        acc[p] = _mm512_add_ps(acc[p], _mm512_loadu_ps(add0 + p * 16));
        const __mmask16 negative1 = _mm512_cmp_ps_mask(acc[p], _mm512_setzero_ps(), _CMP_LE_OQ);
        acc[p] = _mm512_mask_mul_ps(acc[p], negative1, acc[p], _mm512_set1_ps(0.100000001f));
        _mm512_storeu_ps(out + p * 16, acc[p]);
    }
}

/* Transpose 16 vectors of 16: v[i][j] becomes v[j][i]. */
static INLINE void transpose16(__m512 v[16]) {
    __m512 t[16];
    UNROLL for (int i = 0; i < 16; i += 2) { /* pairs of rows, interleaved */
        t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) /* 4x4 blocks inside the 128-bit lanes */
        UNROLL for (int j = 0; j < 2; j++) {
            v[i + 2 * j] = _mm512_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            v[i + 2 * j + 1] = _mm512_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
    UNROLL for (int j = 0; j < 4; j++) { /* the lanes themselves, even ones and odd ones */
        t[j] = _mm512_shuffle_f32x4(v[j], v[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_f32x4(v[j], v[j + 4], 0xdd);
        t[j + 8] = _mm512_shuffle_f32x4(v[j + 8], v[j + 12], 0x88);
        t[j + 12] = _mm512_shuffle_f32x4(v[j + 8], v[j + 12], 0xdd);
    }
    UNROLL for (int j = 0; j < 4; j++) {
        v[j] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88);
        v[j + 4] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0x88);
        v[j + 8] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0xdd);
        v[j + 12] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0xdd);
    }
}

/* One block into up to 16 channels of `pixels` floats each. */
static INLINE void store_block(const float (*x)[16], ptrdiff_t pixels, ptrdiff_t channels, float *out) {
    for (ptrdiff_t p = 0; p < pixels; p += 16) {
        const ptrdiff_t count = pixels - p < 16 ? pixels - p : 16;
        const __mmask16 mask = (__mmask16)((1u << count) - 1);
        __m512 v[16];
        UNROLL for (int i = 0; i < 16; i++) v[i] = i < count ? _mm512_loadu_ps(x[p + i]) : _mm512_setzero_ps();
        transpose16(v);
        UNROLL for (int c = 0; c < 16; c++)
            if (c < channels) _mm512_mask_storeu_ps(out + c * pixels + p, mask, v[c]);
    }
}

/* ---- Packing of parameters: once, when a net is created ------------------------------------------------------ */

/* Parameters of a batch norm. A list of them ends with an empty one; NULL is an empty list. */
typedef struct { const float *means, *variances, *scales, *shifts; double epsilon; } Norm;

#define NORM(name, epsilon) \
    {params->name##Means, params->name##Variances, params->name##Scales, params->name##Shifts, epsilon}
#define NORMS(...) (const Norm[]){__VA_ARGS__, {0}}
/* For the calls in NetCreate: the arrays of a convolution with k outputs, c inputs per group and t filter taps. Packing
 * routines take a number of work items, and then named arguments. */
#define CONV(name, k, c, t) \
    .weights = params->name##Weights, .biases = params->name##Biases, .packed = net->name##Weights, \
    .packedBiases = net->name##Biases, .outputs = k, .inputs = c, .taps = t

/* What all batch norms of a list together do to one channel: value * scale + shift. */
typedef struct { double scale, shift; } Affine;

static Affine compose(const Norm *norms, ptrdiff_t channel) {
    Affine all = {1, 0};
    for (; norms != NULL && norms->means != NULL; norms++) {
        const double variance = (double)norms->variances[channel] + norms->epsilon;
        const double scale = norms->scales[channel] / _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(variance)));
        all.shift = (all.shift - norms->means[channel]) * scale + norms->shifts[channel];
        all.scale *= scale;
    }
    return all;
}

/* Where a channel stands, block * 16 + lane: each segment of channels begins a new block. NULL is one segment. Before
 * these may be minus the groups of a shuffle that makes the channels of those that stand there, and a group's size. */
static ptrdiff_t position(const ptrdiff_t *segments, ptrdiff_t channel) {
    if (segments == NULL) return channel;
    ptrdiff_t start = 0;
    if (*segments < 0) channel = channel % -segments[0] * segments[1] + channel / -segments[0], segments += 2;
    for (; channel >= *segments; channel -= *segments++) start += (*segments + 15) / 16 * 16;
    return start + channel;
}

#define SEGMENTS(...) (const ptrdiff_t[]){__VA_ARGS__}

/* Weights of a convolution, [output][input][tap], to [panel][input block][tap][input lane][output block][output lane]:
 * the order in which the tile routines read them. Batch norms of the input and of the result are folded in. */
typedef struct {
    const float *weights, *biases;
    float *packed, *packedBiases;
    ptrdiff_t outputs, inputs, taps; /* inputs of one group */
    ptrdiff_t panel;                 /* output blocks in a panel; the last panel may have fewer */
    ptrdiff_t lanes;                 /* input lanes of a block; 0 stands for 16 */
    const ptrdiff_t *segments;       /* of the input channels */
    const Norm *before, *after;      /* batch norms of the input, of the result */
    ptrdiff_t groupOutputs;          /* outputs of one group, if `before` is not NULL */
} ConvPack;

static void pack_conv(const void *context, Share share) {
    const ConvPack *p = context;
    const ptrdiff_t blocks = (p->outputs + 15) / 16;
    const ptrdiff_t lanes = p->lanes ? p->lanes : 16;
    const ptrdiff_t size = (position(p->segments, p->inputs - 1) / lanes + 1) * p->taps * lanes * 16;
    for (ptrdiff_t k = share.first * 16; k < share.last * 16 && k < p->outputs; k++) {
        const ptrdiff_t block = k / 16, start = block / p->panel * p->panel;
        const ptrdiff_t width = blocks - start < p->panel ? blocks - start : p->panel;
        float *to = p->packed + start * size + (block - start) * 16 + k % 16;
        const Affine after = compose(p->after, k);
        double bias = p->biases[k];
        for (ptrdiff_t c = 0; c < p->inputs; c++) {
            const ptrdiff_t source = p->before == NULL ? 0 : k / p->groupOutputs * p->inputs + c;
            const Affine before = compose(p->before, source);
            const ptrdiff_t place = position(p->segments, c), block0 = place / lanes, lane = place % lanes;
            for (ptrdiff_t t = 0; t < p->taps; t++) {
                const double weight = p->weights[(k * p->inputs + c) * p->taps + t];
                to[((block0 * p->taps + t) * lanes + lane) * width * 16] = (float)(after.scale * before.scale * weight);
                bias += before.shift * weight;
            }
        }
        p->packedBiases[k] = (float)(bias * after.scale + after.shift);
    }
}

#define PACK_CONV(items, ...) do { team_run(&team, pack_conv, &(ConvPack){__VA_ARGS__}, items); } while (0)

char *EdgesNetCreate(EdgesNet **to, EdgesParams *params, ptrdiff_t threads) {
    if (!__builtin_cpu_supports("avx512f")) return message("Edges: this processor does not have AVX-512F");
    Team team;
    char *error = team_create(&team, threads);
    if (error) return error;
    EdgesNet *net = allocate(sizeof *net);
    if (net == NULL) {
        team_destroy(&team);
        return message("Edges: no memory for %zu bytes of packed parameters", sizeof *net);
    }
    memset(net, 0, sizeof *net); /* lanes without a channel stay 0 */
    PACK_CONV(3, CONV(conv, 40, 3, 3 * 3), .panel = 2, .after = NORMS(NORM(norm, 1e-05)));
    PACK_CONV(3, CONV(shortcut, 40, 3, 1), .panel = 2, .lanes = 1);
    team_destroy(&team);
    *to = net;
    return NULL;
}

void EdgesNetDestroy(EdgesNet *net) {
    free(net);
}

/* ---- Layer 1: image_load   (graph line 3) -------------------------------------------------------------------------
 * Input image
 * caller  ->  image 3x9x23
 * Transposition into blocks of 16 channels. */
static NOINLINE void Edges_image_load(const void *context, Share share) {
    const EdgesEngine *engine = context;
    float (*restrict image)[9 * 23][16] = tensor(engine, image_at);
    for (ptrdiff_t block = share.first; block < share.last; block++)
        load_narrow(engine->imageData + block * 16 * 9 * 23, 9 * 23, 3, image[block]);
}

/* ---- Layer 2: norm   (graph lines 4, 5) ---------------------------------------------------------------------------
 * Conv conv (3x3, padding 1), BatchNorm norm
 * image 3x9x23  ->  norm 40x9x23     0.22 MMAC, 27,840 bytes of weights (fp32)
 * Direct, 32 or 16 outputs x 12 or 11 pixels in registers. Predicted: 4.5 us, planar 4.6, winograd-5x5 14, fourier-8
 *   25. */
static NOINLINE void Edges_norm(const void *context, Share share) {
    const EdgesEngine *engine = context;
    const float (*restrict image)[9][23][16] = tensor(engine, image_at);
    float (*restrict norm)[9][23][16] = tensor(engine, norm_at);
    static const Sizes sizes = {.channels = 3, .inputPlane = 9 * 23 * 16, .inputRow = 23 * 16,
        .outputPlane = 9 * 23 * 16, .prefetchShares = 9, .prefetchPixels = 12};
    {
        const float *w = engine->net->convWeights, *bias = engine->net->convBiases;
        for (ptrdiff_t y = share.first; y < share.last; y++) {
            const ptrdiff_t nextWeights = 2 * (3 * 3 * 16 * 16) + y * 64;
            const ptrdiff_t origin = y - 1; /* the input row under filter row 0 */
            const ptrdiff_t top = origin < 0 ? -origin : 0, bottom = 9 - origin < 3 ? 9 - origin : 3;
            conv3x3_2xN_left_tail(image[0][origin + top][0], w, bias, norm[0][y][0], top, bottom, nextWeights, &sizes,
                                  12);
            conv3x3_2xN_right_tail(image[0][origin + top][11], w, bias, norm[0][y][12], top, bottom, nextWeights,
                                   &sizes, 11);
        }
    }
    {
        const float *w = engine->net->convWeights + 2 * (3 * 3 * 16 * 16), *bias = engine->net->convBiases + 2 * 16;
        for (ptrdiff_t y = share.first; y < share.last; y++) {
            const ptrdiff_t nextWeights = 3 * 3 * 16 * 16 + y * 32;
            const ptrdiff_t origin = y - 1; /* the input row under filter row 0 */
            const ptrdiff_t top = origin < 0 ? -origin : 0, bottom = 9 - origin < 3 ? 9 - origin : 3;
            conv3x3_1xN_left_tail(image[0][origin + top][0], w, bias, norm[2][y][0], top, bottom, nextWeights, &sizes,
                                  12);
            conv3x3_1xN_right_tail(image[0][origin + top][11], w, bias, norm[2][y][12], top, bottom, nextWeights,
                                   &sizes, 11);
        }
    }
}

/* ---- Layer 3: relu   (graph lines 3, 6, 7, 8) ---------------------------------------------------------------------
 * Input image, Conv shortcut (1x1), Add sum (norm, shortcut), ReLU relu (slope 0.1)
 * caller's image 3x9x23 + norm 40x9x23  ->  relu 40x9x23     0.02 MMAC, 768 bytes of weights (fp32)
 * Planar, 32 or 16 outputs x 14 or 13 pixels in registers, from planes as the caller has them. Predicted: 0.66 us,
 *   direct 0.7, pointwise 0.71. */
static NOINLINE void Edges_relu(const void *context, Share share) {
    const EdgesEngine *engine = context;
    const float (*restrict image_data)[9 * 23] = (const float (*)[9 * 23])engine->imageData;
    const float (*restrict norm)[9 * 23][16] = tensor(engine, norm_at);
    float (*restrict relu)[9 * 23][16] = tensor(engine, relu_at);
    static const Sizes sizes = {.channels = 3, .inputPlane = 9 * 23, .outputPlane = 9 * 23 * 16};
    {
        const float *w = engine->net->shortcutWeights, *bias = engine->net->shortcutBiases;
        for (ptrdiff_t tile = share.first; tile < share.last; tile++) {
            const ptrdiff_t x = tile * 13 + (tile < 12 ? tile : 12);
            if (tile < 12)
                conv1x1_2xN_planar_add_relu0p1(image_data[0] + x, w, bias, relu[0][x], norm[0][x], &sizes, 14);
            else
                conv1x1_2xN_planar_add_relu0p1(image_data[0] + x, w, bias, relu[0][x], norm[0][x], &sizes, 13);
        }
    }
    {
        const float *w = engine->net->shortcutWeights + 2 * (3 * 16), *bias = engine->net->shortcutBiases + 2 * 16;
        for (ptrdiff_t tile = share.first; tile < share.last; tile++) {
            const ptrdiff_t x = tile * 13 + (tile < 12 ? tile : 12);
            if (tile < 12)
                conv1x1_1xN_planar_add_relu0p1(image_data[0] + x, w, bias, relu[2][x], norm[2][x], &sizes, 14);
            else
                conv1x1_1xN_planar_add_relu0p1(image_data[0] + x, w, bias, relu[2][x], norm[2][x], &sizes, 13);
        }
    }
}

/* ---- Layer 4: relu_store   (graph line 9) -------------------------------------------------------------------------
 * Output relu
 * relu 40x9x23  ->  caller
 * Transposition out of blocks of 16 channels. */
static NOINLINE void Edges_relu_store(const void *context, Share share) {
    const EdgesEngine *engine = context;
    const float (*restrict relu)[9 * 23][16] = tensor(engine, relu_at);
    for (ptrdiff_t block = share.first; block < share.last; block++)
        store_block(relu[block], 9 * 23, block < 2 ? 16 : 8, engine->reluData + block * 16 * 9 * 23);
}

/* ---- The engine ---------------------------------------------------------------------------------------------- */

char *EdgesEngineCreate(EdgesEngine **engine, EdgesNet *net, ptrdiff_t threads) {
    EdgesEngine *created = malloc(sizeof *created);
    if (created == NULL) return message("Edges: no memory for an engine");
    char *error = team_create(&created->team, threads);
    if (error) {
        free(created);
        return error;
    }
    const size_t bytes = (size_t)ArenaFloats * sizeof(float);
    created->arena = allocate(bytes);
    if (created->arena == NULL) {
        team_destroy(&created->team);
        free(created);
        return message("Edges: no memory for tensors of %zu bytes", bytes);
    }
    created->net = net;
#ifdef NN512_PROFILE
    created->inferences = 0;
    memset(created->nanoseconds, 0, sizeof created->nanoseconds);
#endif
    *engine = created;
    return NULL;
}

char *EdgesEnginePthreadT(EdgesEngine *engine, ptrdiff_t index, pthread_t *to) {
    team_check(&engine->team);
    if (index < 0 || index >= engine->team.threads)
        return message("Edges: no thread %td, the engine has threads 0 to %td",
                       index, engine->team.threads - 1);
    *to = engine->team.workers[index].thread;
    return NULL;
}

void EdgesEngineDestroy(EdgesEngine *engine) {
    if (engine == NULL) return;
    team_destroy(&engine->team);
    free(engine->arena);
    free(engine);
}

/* With -DNN512_PROFILE, an engine measures the time of every layer; with -DNN512_TAP, your function nn512tap sees all
 * tensors before every step, and so what the step before has made. Without them, nothing is added to the calls. */
#ifdef NN512_PROFILE
static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}
#define TIMED(engine, layer, call) \
    do { \
        const long long before = now(); \
        call; \
        (engine)->nanoseconds[layer] += now() - before; \
        (engine)->inferences += (layer) == 0; \
    } while (0)
#elif defined NN512_TAP
void nn512tap(const float *arena, int layer);
#define TIMED(engine, layer, call) (nn512tap((engine)->arena, layer), call)
#else
#define TIMED(engine, layer, call) call
#endif

#define run_shared(engine, layer, step, items) TIMED(engine, layer, team_run(&(engine)->team, step, engine, items))
#define run_alone(engine, layer, step, items) TIMED(engine, layer, step(engine, (Share){.last = items}))

void EdgesEngineInference(EdgesEngine *engine, const float *imageData, float *reluData) {
    team_check(&engine->team);
    engine->imageData = imageData;
    engine->reluData = reluData;
    run_alone(engine, 0, Edges_image_load, 1);
    run_shared(engine, 1, Edges_norm, 9);
    run_alone(engine, 2, Edges_relu, 15);
    run_alone(engine, 3, Edges_relu_store, 3);
}

char *EdgesEngineRun(EdgesEngine *engine, const EdgesTensors *tensors) {
    if (tensors->image == NULL) return message("Edges: the tensor image is NULL");
    if (tensors->relu == NULL) return message("Edges: the tensor relu is NULL");
    EdgesEngineInference(engine, tensors->image, tensors->relu);
    return NULL;
}

#ifdef NN512_PROFILE
void EdgesEngineProfile(EdgesEngine *engine, FILE *to) {
    static const char *const layers[] = {"image_load", "norm", "relu", "relu_store"};
    for (int i = 0; i < Layers; i++)
        fprintf(to, "%s\t%lld\t%lld\n", layers[i], engine->inferences, engine->nanoseconds[i]);
}
#endif
