/* Head: 6 layers, 0.0 MMAC, 1,600 bytes of packed weights.
 *
 *      layer                             MMAC    weights, bytes  kernel
 *   1  features_load                     0.00                 0  load
 *   2  halved                            0.00                 0  pooling
 *   3  pooled                            0.00                 0  pooling
 *   4  scores                            0.00             1,600  fully_connected
 *   5  probabilities                     0.00                 0  softmax
 *   6  probabilities_store               0.00                 0  store
 *
 * A tensor is stored in blocks of 16 channels, [block][height][width][16]. A step function computes a
 * thread's share of its layer's items: blocks, rows of one or a few blocks, or tiles of pixels. */

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* madvise, where the system has it */
#endif
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200112L /* posix_memalign and pthread_sigmask, which C99 alone hides */
#endif

#include "Head.h"
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
struct HeadNet {
    float scoresBiases[16], scoresWeights[24 * 16];
};

/* Where tensors begin in the arena, in floats, and the layers between which they live. */
enum {
    features_at = 0, /* 24x6x6, layers 1 to 2 */
    halved_at = 1152, /* 24x3x3, layers 2 to 3 */
    pooled_at = 0, /* 24x1x1, layers 3 to 4 */
    scores_at = 32, /* 10x1x1, layers 4 to 5 */
    probabilities_at = 0, /* 10x1x1, layers 5 to 6 */
    Layers = 6,
    ArenaFloats = 1440
};

struct HeadEngine {
    const HeadNet *net;
    float *arena;
    Team team;
    const float *featuresData;
    float *probabilitiesData;
#ifdef NN512_PROFILE
    long long inferences, nanoseconds[Layers];
#endif
};

/* The memory of a tensor. The function is never inlined, so compilers take tensors for separate objects, although
 * all lie in one arena. */
static NOINLINE void *tensor(const HeadEngine *engine, ptrdiff_t at) {
    return engine->arena + at;
}

/* ---- Shared routines ----------------------------------------------------------------------------------------- */

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

/* Up to 16 channels of `pixels` floats each into one block; lanes without a channel become 0. */
static INLINE void load_block(const float *x, ptrdiff_t pixels, ptrdiff_t channels, float (*out)[16]) {
    for (ptrdiff_t p = 0; p < pixels; p += 16) {
        const ptrdiff_t count = pixels - p < 16 ? pixels - p : 16;
        const __mmask16 mask = (__mmask16)((1u << count) - 1);
        __m512 v[16];
        UNROLL for (int c = 0; c < 16; c++)
            v[c] = c < channels ? _mm512_maskz_loadu_ps(mask, x + c * pixels + p) : _mm512_setzero_ps();
        transpose16(v);
        UNROLL for (int i = 0; i < 16; i++)
            if (i < count) _mm512_storeu_ps(out[p + i], v[i]);
    }
}

/* The larger of two vectors. NaN in either stays NaN; max alone returns its second operand if one is NaN. */
static INLINE __m512 maximum(__m512 largest, __m512 v) {
    const __mmask16 ordered = _mm512_cmp_ps_mask(largest, largest, _CMP_ORD_Q);
    return _mm512_mask_max_ps(largest, ordered, largest, v);
}

/* The largest of 2 neighbouring cells in each of `rows` rows, which begin `row` floats apart. */
static INLINE __m512 largest_of_2(const float *restrict x, ptrdiff_t rows, ptrdiff_t row) {
    __m512 v = _mm512_loadu_ps(x);
    for (ptrdiff_t i = 0; i < rows; i++, x += row)
        UNROLL for (int j = 0; j < 2; j++) v = maximum(v, _mm512_loadu_ps(x + j * 16));
    return v;
}

/* The largest of the first cell in each of `rows` rows, which begin `row` floats apart. */
static INLINE __m512 largest_of_column(const float *restrict x, ptrdiff_t rows, ptrdiff_t row) {
    __m512 v = _mm512_loadu_ps(x);
    for (ptrdiff_t i = 1; i < rows; i++) v = maximum(v, _mm512_loadu_ps(x + i * row));
    return v;
}

/* The sum of all pixels, in 4 independent accumulators. */
static INLINE __m512 sum_of_all(const float *restrict x, ptrdiff_t pixels) {
    __m512 v = _mm512_setzero_ps();
    __m512 part[4] = {v, v, v, v};
    ptrdiff_t p = 0;
    for (; p + 4 <= pixels; p += 4)
        UNROLL for (int k = 0; k < 4; k++) part[k] = _mm512_add_ps(part[k], _mm512_loadu_ps(x + (p + k) * 16));
    for (; p < pixels; p++) part[0] = _mm512_add_ps(part[0], _mm512_loadu_ps(x + p * 16));
    return _mm512_add_ps(_mm512_add_ps(part[0], part[1]), _mm512_add_ps(part[2], part[3]));
}

/* 1 block of 16 outputs: out[o] = bias[o] + sum over inputs of w[o] * x. A span is a number of rows of 16 floats of
 * which the first few are inputs. */
static INLINE void full_1x8(const float *restrict x, const float *restrict w, const float *restrict bias,
                            float *restrict out, const ptrdiff_t (*span)[2], ptrdiff_t spans) {
    __m512 acc[8][1];
    UNROLL for (int s = 0; s < 8; s++) acc[s][0] = _mm512_setzero_ps();
    for (const ptrdiff_t (*end)[2] = span + spans; span < end; span++)
        ROLLED for (ptrdiff_t row = 0, lanes = (*span)[1]; row < (*span)[0]; row++, x += 16) {
            ROLLED for (ptrdiff_t lane = 0; lane < lanes; lane += 8, w += 128) {
                UNROLL for (int s = 0; s < 8; s++) {
                    const __m512 input = _mm512_set1_ps(x[lane + s]);
                    acc[s][0] = _mm512_fmadd_ps(_mm512_loadu_ps(w + s * 16), input, acc[s][0]);
                }
            }
        }
    UNROLL for (int s = 1; s < 8; s++) acc[0][0] = _mm512_add_ps(acc[0][0], acc[s][0]);
    __m512 v = _mm512_add_ps(acc[0][0], _mm512_loadu_ps(bias));
    _mm512_storeu_ps(out, v);
}

/* exp(x) for |x| <= 105, within 1.08 ulp: a power of 2 in sixteenths, from a table and by scaling, times exp(r) for
 * |r| <= ln(2)/32. */
static INLINE __m512 exp_of(__m512 x) {
    static const float powers[16] = {
        1.0f, 1.04427373f, 1.09050775f, 1.13878858f, 1.18920708f, 1.24185777f, 1.29683959f, 1.35425556f,
        1.41421354f, 1.47682619f, 1.54221082f, 1.61049032f, 1.68179286f, 1.75625217f, 1.8340081f, 1.91520655f
    }; /* 2^(i/16) */
    const __m512 shift = _mm512_set1_ps(786432.0f); /* 1.5 * 2^19: sums with it are rounded to sixteenths */
    const __m512 sum = _mm512_fmadd_ps(x, _mm512_set1_ps(1.44269502f), shift);
    const __m512 n = _mm512_sub_ps(sum, shift);
    const __m512 power = _mm512_permutexvar_ps(_mm512_castps_si512(sum), _mm512_loadu_ps(powers));
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693147182f), x); /* ln(2) in two parts */
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-1.90465421e-09f), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.166666672f), r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(_mm512_fmadd_ps(_mm512_mul_ps(power, r), p, power), n);
}

/* Softmax of one pixel: x and out are its first block, planes of `plane` floats follow. The largest value is
 * subtracted first, so nothing overflows. */
static INLINE void softmax_pixel(const float *x, float *out, ptrdiff_t blocks, ptrdiff_t lastLanes, ptrdiff_t plane) {
    const __m512 least = _mm512_set1_ps(-104.0f); /* its exponential is 0 in float */
    __m512 largest = _mm512_set1_ps(*x), sum = _mm512_setzero_ps();
    for (ptrdiff_t block = 0; block < blocks; block++) {
        const __mmask16 mask = (__mmask16)((1u << (block < blocks - 1 ? 16 : lastLanes)) - 1);
        largest = _mm512_mask_max_ps(largest, mask, largest, _mm512_loadu_ps(x + block * plane));
    }
    const __m512 offset = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    for (ptrdiff_t block = 0; block < blocks; block++) {
        const __mmask16 mask = (__mmask16)((1u << (block < blocks - 1 ? 16 : lastLanes)) - 1);
        const __m512 below = _mm512_sub_ps(_mm512_loadu_ps(x + block * plane), offset);
        const __m512 v = exp_of(_mm512_max_ps(least, below));
        _mm512_storeu_ps(out + block * plane, v);
        sum = _mm512_mask_add_ps(sum, mask, sum, v);
    }
    const __m512 part = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(sum)); /* the sum is 1 or more */
    for (ptrdiff_t block = 0; block < blocks; block++)
        _mm512_storeu_ps(out + block * plane, _mm512_mul_ps(_mm512_loadu_ps(out + block * plane), part));
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

/* Halves have 11 significant bits from 2^-14 to 2^16. Weights that share a scale are multiplied by a power of two, the
 * one nearest 1 that leaves none of them outside; where their range is too wide for that, the largest comes to 2^14. */
static double power_of_two(int exponent) {
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static int exponent_of(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (int)(bits >> 52 & 2047) - 1023;
}

/* Magnitudes of weights that are not zero; none if the largest is. */
typedef struct { double smallest, largest; } Range;

static void widen_range(Range *range, double weight) {
    const double magnitude = weight < 0 ? -weight : weight;
    if (magnitude > 0 && (range->smallest == 0 || magnitude < range->smallest)) range->smallest = magnitude;
    if (magnitude > range->largest) range->largest = magnitude;
}

static int half_exponent(Range range) {
    const int up = -14 - exponent_of(range.smallest), most = 14 - exponent_of(range.largest);
    const int lift = up > 0 ? up : 0, exponent = lift < most ? lift : most;
    if (range.largest == 0) return 0;
    return exponent < -126 ? -126 : exponent > 126 ? 126 : exponent; /* the inverse must be a float, too */
}

/* Weights of a fully connected layer, [output][input channel][pixel], to [panel][input][output block][output lane] with
 * the inputs as they stand in memory: [input block][pixel][input lane], lanes that hold channels only. Batch norms of
 * the input and of the result are folded in. The halves of an output share a power of two; `scales` has its inverse. */
typedef struct {
    const float *weights, *biases;
    void *packed;
    float *packedBiases, *scales; /* without scales, weights stay floats */
    ptrdiff_t outputs, channels, pixels;
    ptrdiff_t panel;           /* output blocks in a panel; the last panel may have fewer */
    const ptrdiff_t *segments, *unshuffled; /* of the channels as they stand; where these are in the input */
    const Norm *before, *after;
} FullPack;

static void pack_full(const void *context, Share share) {
    const FullPack *p = context;
    const ptrdiff_t blocks = (p->outputs + 15) / 16, inputs = p->channels * p->pixels;
    for (ptrdiff_t block = share.first; block < share.last; block++) {
        const ptrdiff_t start = block / p->panel * p->panel;
        const ptrdiff_t width = blocks - start < p->panel ? blocks - start : p->panel;
        const ptrdiff_t lanes = p->outputs - block * 16 < 16 ? p->outputs - block * 16 : 16;
        const float *weights = p->weights + block * 16 * inputs;
        Affine after[16];
        double scales[16], biases[16];
        for (ptrdiff_t o = 0; o < lanes; o++) {
            after[o] = compose(p->after, block * 16 + o);
            scales[o] = after[o].scale;
            biases[o] = p->biases[block * 16 + o];
            if (p->scales == NULL) continue;
            Range range = {0};
            for (ptrdiff_t i = 0; i < inputs; i++) widen_range(&range, scales[o] * weights[o * inputs + i]);
            const int exponent = half_exponent(range);
            scales[o] *= power_of_two(exponent);
            p->scales[block * 16 + o] = (float)power_of_two(-exponent);
        }
        for (ptrdiff_t begin = 0, count; begin < p->channels; begin += count) { /* channels of an input block */
            for (count = 1; begin + count < p->channels && position(p->segments, begin + count) % 16; count++) continue;
            for (ptrdiff_t c = 0; c < count; c++) {
                const ptrdiff_t channel = position(p->unshuffled, begin + c);
                const Affine before = compose(p->before, channel);
                for (ptrdiff_t t = 0; t < p->pixels; t++) {
                    const ptrdiff_t input = begin * p->pixels + t * count + c;
                    const ptrdiff_t to = (start * inputs + input * width + block - start) * 16;
                    float packed[16] = {0};
                    for (ptrdiff_t o = 0; o < lanes; o++) {
                        const double weight = weights[o * inputs + channel * p->pixels + t];
                        packed[o] = (float)(scales[o] * before.scale * weight);
                        biases[o] += before.shift * weight;
                    }
                    const __m512 v = _mm512_loadu_ps(packed);
                    if (p->scales)
                        _mm256_storeu_si256((__m256i *)((uint16_t *)p->packed + to), _mm512_cvtps_ph(v, 0));
                    else
                        _mm512_storeu_ps((float *)p->packed + to, v);
                }
            }
        }
        for (ptrdiff_t o = 0; o < lanes; o++)
            p->packedBiases[block * 16 + o] = (float)(biases[o] * after[o].scale + after[o].shift);
    }
}

#define PACK_FULL(items, ...) do { team_run(&team, pack_full, &(FullPack){__VA_ARGS__}, items); } while (0)

char *HeadNetCreate(HeadNet **to, HeadParams *params, ptrdiff_t threads) {
    if (!__builtin_cpu_supports("avx512f")) return message("Head: this processor does not have AVX-512F");
    Team team;
    char *error = team_create(&team, threads);
    if (error) return error;
    HeadNet *net = allocate(sizeof *net);
    if (net == NULL) {
        team_destroy(&team);
        return message("Head: no memory for %zu bytes of packed parameters", sizeof *net);
    }
    memset(net, 0, sizeof *net); /* lanes without a channel stay 0 */
    PACK_FULL(1, .weights = params->scoresWeights, .biases = params->scoresBiases, .packed = net->scoresWeights,
              .packedBiases = net->scoresBiases, .outputs = 10, .channels = 24, .pixels = 1, .panel = 1);
    team_destroy(&team);
    *to = net;
    return NULL;
}

void HeadNetDestroy(HeadNet *net) {
    free(net);
}

/* ---- Layer 1: features_load   (graph line 3) ----------------------------------------------------------------------
 * Input features
 * caller  ->  features 24x6x6
 * Transposition into blocks of 16 channels. */
static NOINLINE void Head_features_load(const void *context, Share share) {
    const HeadEngine *engine = context;
    float (*restrict features)[6 * 6][16] = tensor(engine, features_at);
    for (ptrdiff_t block = share.first; block < share.last; block++)
        load_block(engine->featuresData + block * 16 * 6 * 6, 6 * 6, block < 1 ? 16 : 8, features[block]);
}

/* ---- Layer 2: halved   (graph line 4) -----------------------------------------------------------------------------
 * Pooling halved (Max3x3Stride2, padding 1)
 * features 24x6x6  ->  halved 24x3x3
 * Pooling, a vector of 16 channels at a time. */
static NOINLINE void Head_halved(const void *context, Share share) {
    const HeadEngine *engine = context;
    const float (*restrict features)[6][6][16] = tensor(engine, features_at);
    float (*restrict halved)[3][3][16] = tensor(engine, halved_at);
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t block = item / 3, y = item % 3;
        const ptrdiff_t origin = y * 2 - 1, end = origin + 3;
        const ptrdiff_t top = origin > 0 ? origin : 0;
        const ptrdiff_t rows = (end < 6 ? end : 6) - top;
        _mm512_storeu_ps(halved[block][y][0], largest_of_2(features[block][top][0], rows, 6 * 16));
        /* Columns that windows have in common are in registers. */
        __m512 column[3];
        column[0] = largest_of_column(features[block][top][1], rows, 6 * 16);
        for (ptrdiff_t x = 1; x < 3; x++) {
            UNROLL for (int c = 1; c < 3; c++)
                column[c] = largest_of_column(features[block][top][x * 2 + c - 1], rows, 6 * 16);
            __m512 v = column[0];
            UNROLL for (int c = 1; c < 3; c++) v = maximum(v, column[c]);
            _mm512_storeu_ps(halved[block][y][x], v);
            column[0] = column[2];
        }
    }
}

/* ---- Layer 3: pooled   (graph line 5) -----------------------------------------------------------------------------
 * Pooling pooled (AvgGlobal)
 * halved 24x3x3  ->  pooled 24x1x1
 * Pooling, a vector of 16 channels at a time. */
static NOINLINE void Head_pooled(const void *context, Share share) {
    const HeadEngine *engine = context;
    const float (*restrict halved)[3][3][16] = tensor(engine, halved_at);
    float (*restrict pooled)[1][1][16] = tensor(engine, pooled_at);
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t block = item;
        __m512 v = sum_of_all(halved[block][0][0], 3 * 3);
        v = _mm512_div_ps(v, _mm512_set1_ps((float)(3 * 3)));
        _mm512_storeu_ps(pooled[block][0][0], v);
    }
}

/* ---- Layer 4: scores   (graph line 6) -----------------------------------------------------------------------------
 * FullyConnected scores
 * pooled 24x1x1  ->  scores 10x1x1     0.00 MMAC, 1,600 bytes of weights (fp32)
 * Fully connected, 16 outputs in registers, float weights. Predicted: 0.024 us, fully_connected_fp16 0.024. */
static NOINLINE void Head_scores(const void *context, Share share) {
    const HeadEngine *engine = context;
    const HeadNet *net = engine->net;
    const float (*restrict pooled)[1][16] = tensor(engine, pooled_at);
    float (*restrict scores)[1][16] = tensor(engine, scores_at);
    /* numbers of rows of 16 floats, and how many floats of such a row are inputs */
    static const ptrdiff_t input_spans[][2] = {{1, 16}, {1, 8}};
    for (ptrdiff_t block = share.first; block < share.last; block++) {
        full_1x8(pooled[0][0], net->scoresWeights + block * 24 * 16, net->scoresBiases + block * 16, scores[block][0],
                 input_spans, 2);
    }
}

/* ---- Layer 5: probabilities   (graph line 7) ----------------------------------------------------------------------
 * Softmax probabilities
 * scores 10x1x1  ->  probabilities 10x1x1
 * Softmax, pixel by pixel. */
static NOINLINE void Head_probabilities(const void *context, Share share) {
    const HeadEngine *engine = context;
    const float (*restrict scores)[1][16] = tensor(engine, scores_at);
    float (*restrict probabilities)[1][16] = tensor(engine, probabilities_at);
    for (ptrdiff_t p = share.first; p < share.last; p++)
        softmax_pixel(scores[0][p], probabilities[0][p], 1, 10, 16);
}

/* ---- Layer 6: probabilities_store   (graph line 8) ----------------------------------------------------------------
 * Output probabilities
 * probabilities 10x1x1  ->  caller
 * Transposition out of blocks of 16 channels. */
static NOINLINE void Head_probabilities_store(const void *context, Share share) {
    const HeadEngine *engine = context;
    const float (*restrict probabilities)[1][16] = tensor(engine, probabilities_at);
    for (ptrdiff_t block = share.first; block < share.last; block++)
        memcpy(engine->probabilitiesData + block * 16, probabilities[block], (size_t)10 * sizeof(float));
}

/* ---- The engine ---------------------------------------------------------------------------------------------- */

char *HeadEngineCreate(HeadEngine **engine, HeadNet *net, ptrdiff_t threads) {
    HeadEngine *created = malloc(sizeof *created);
    if (created == NULL) return message("Head: no memory for an engine");
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
        return message("Head: no memory for tensors of %zu bytes", bytes);
    }
    created->net = net;
#ifdef NN512_PROFILE
    created->inferences = 0;
    memset(created->nanoseconds, 0, sizeof created->nanoseconds);
#endif
    *engine = created;
    return NULL;
}

char *HeadEnginePthreadT(HeadEngine *engine, ptrdiff_t index, pthread_t *to) {
    team_check(&engine->team);
    if (index < 0 || index >= engine->team.threads)
        return message("Head: no thread %td, the engine has threads 0 to %td",
                       index, engine->team.threads - 1);
    *to = engine->team.workers[index].thread;
    return NULL;
}

void HeadEngineDestroy(HeadEngine *engine) {
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

void HeadEngineInference(HeadEngine *engine, const float *featuresData, float *probabilitiesData) {
    team_check(&engine->team);
    engine->featuresData = featuresData;
    engine->probabilitiesData = probabilitiesData;
    run_alone(engine, 0, Head_features_load, 2);
    run_alone(engine, 1, Head_halved, 6);
    run_alone(engine, 2, Head_pooled, 2);
    run_alone(engine, 3, Head_scores, 1);
    run_alone(engine, 4, Head_probabilities, 1);
    run_alone(engine, 5, Head_probabilities_store, 1);
}

char *HeadEngineRun(HeadEngine *engine, const HeadTensors *tensors) {
    if (tensors->features == NULL) return message("Head: the tensor features is NULL");
    if (tensors->probabilities == NULL) return message("Head: the tensor probabilities is NULL");
    HeadEngineInference(engine, tensors->features, tensors->probabilities);
    return NULL;
}

#ifdef NN512_PROFILE
void HeadEngineProfile(HeadEngine *engine, FILE *to) {
    static const char *const layers[] = {
        "features_load", "halved", "pooled", "scores", "probabilities", "probabilities_store"
    };
    for (int i = 0; i < Layers; i++)
        fprintf(to, "%s\t%lld\t%lld\n", layers[i], engine->inferences, engine->nanoseconds[i]);
}
#endif
