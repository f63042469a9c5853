/* Tiles: 5 layers, 5.3 MMAC, 265,280 bytes of packed weights.
 *
 *      layer                             MMAC    weights, bytes  kernel
 *   1  image_load                        0.00                 0  load
 *   2  blocks                            3.89           147,584  winograd-4x4
 *   3  halved                            0.00                 0  pooling
 *   4  steps                             1.39           117,696  winograd-4x4-fp16
 *   5  steps_store                       0.00                 0  store
 *
 * A tensor is stored in blocks of 16 channels, [block][height][width][16]. A step function computes a
 * thread's share of its layer's items: blocks, rows of one or a few blocks, or tiles of pixels. */

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* madvise, where the system has it */
#endif
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200112L /* posix_memalign and pthread_sigmask, which C99 alone hides */
#endif

#include "Tiles.h"
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
struct TilesNet {
    float convBiases[32], convWeights[36 * 32 * 32];
    float stepsBiases[48], stepsScales[36 * 48];
    uint16_t stepsWeights[36 * 32 * 48];
};

/* Where tensors begin in the arena, in floats, and the layers between which they live. */
enum {
    image_at = 0, /* 20x26x26, layers 1 to 2 */
    blocks_at = 21632, /* 32x26x26, layers 2 to 3 */
    halved_at = 43264, /* 32x13x13, layers 3 to 4 */
    steps_at = 27072, /* 40x11x11, layers 4 to 5 */
    steps_factors_at = 16128, /* 576x1x19, layers 4 to 4 */
    steps_products_at = 0, /* 576x1x28, layers 4 to 4 */
    Layers = 5,
    ArenaFloats = 48672,
    ThreadFloats = 31104 /* behind the tensors, for every thread: its own working memory */
};

struct TilesEngine {
    const TilesNet *net;
    float *arena;
    Team team;
    const float *imageData;
    float *stepsData;
#ifdef NN512_PROFILE
    long long inferences, nanoseconds[Layers];
#endif
};

/* The memory of a tensor. The function is never inlined, so compilers take tensors for separate objects, although
 * all lie in one arena. */
static NOINLINE void *tensor(const TilesEngine *engine, ptrdiff_t at) {
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

/* Winograd's F(4, 3): 4 results of 3 taps from 6 products, at the points 0, 1/2, -1/2, 3/2, -3/2, infinity (Winograd
 * 1980, Lavin and Gray 2015). Here 6 inputs become the factors of the products:
 *     9/16     0  -5/2     0  1  0
 *        0  -9/8  -9/4   1/2  1  0
 *        0   9/8  -9/4  -1/2  1  0
 *        0  -3/8  -1/4   3/2  1  0
 *        0   3/8  -1/4  -3/2  1  0
 *        0  9/16     0  -5/2  0  1 */
static INLINE void winograd4_3_inputs(__m512 d[6]) {
    const __m512 even1 = _mm512_fmadd_ps(_mm512_set1_ps(-2.25f), d[2], d[4]);
    const __m512 odd1 = _mm512_fmadd_ps(_mm512_set1_ps(-2.25f), d[1], d[3]);
    const __m512 even2 = _mm512_fmadd_ps(_mm512_set1_ps(-0.25f), d[2], d[4]);
    const __m512 odd2 = _mm512_fmadd_ps(_mm512_set1_ps(-4.0f), d[3], d[1]);
    d[0] = _mm512_fmadd_ps(_mm512_set1_ps(-2.5f), d[2], _mm512_fmadd_ps(_mm512_set1_ps(0.5625f), d[0], d[4]));
    const __m512 result1 = _mm512_fmadd_ps(_mm512_set1_ps(0.5f), odd1, even1);
    d[2] = _mm512_fmadd_ps(_mm512_set1_ps(-0.5f), odd1, even1);
    const __m512 result3 = _mm512_fmadd_ps(_mm512_set1_ps(-0.375f), odd2, even2);
    d[4] = _mm512_fmadd_ps(_mm512_set1_ps(0.375f), odd2, even2);
    d[5] = _mm512_fmadd_ps(_mm512_set1_ps(-2.5f), d[3], _mm512_fmadd_ps(_mm512_set1_ps(0.5625f), d[1], d[5]));
    d[1] = result1; d[3] = result3;
}

/* One tile for F(4x4, 3x3), 16 channels: 6x6 inputs become the factors of as many products, `position` floats apart.
 * `row` is the distance from one row of the picture to the next. */
static NOINLINE void winograd4x4_3x3_inputs(const float *restrict x, ptrdiff_t row, float *restrict v,
        ptrdiff_t position) {
    __m512 d[6][6];
    UNROLL for (int j = 0; j < 6; j++) {
        __m512 column[6];
        UNROLL for (int i = 0; i < 6; i++) column[i] = _mm512_loadu_ps(x + i * row + j * 16);
        winograd4_3_inputs(column);
        UNROLL for (int i = 0; i < 6; i++) d[i][j] = column[i];
    }
    UNROLL for (int i = 0; i < 6; i++) {
        winograd4_3_inputs(d[i]);
        UNROLL for (int j = 0; j < 6; j++) _mm512_storeu_ps(v + (i * 6 + j) * position, d[i][j]);
    }
}

/* One tile for F(4x4, 3x3), 16 channels: 6x6 inputs become the factors of as many products, `position` floats apart.
 * The tile begins at row y and column x of a picture of height x width; outside it, and in lanes without a channel,
 * are zeros. */
static NOINLINE void winograd4x4_3x3_clipped_inputs(const float *restrict picture, ptrdiff_t height, ptrdiff_t width,
        ptrdiff_t y, ptrdiff_t x, __mmask16 lanes, float *restrict v, ptrdiff_t position) {
    const float *rows[6];
    ptrdiff_t columns[6];
    __mmask16 rowLanes[6], columnLanes[6];
    UNROLL for (int i = 0; i < 6; i++) {
        const int inside = y + i >= 0 && y + i < height;
        rows[i] = picture + (inside ? (y + i) * width * 16 : 0);
        rowLanes[i] = inside ? lanes : 0;
    }
    UNROLL for (int j = 0; j < 6; j++) {
        const int inside = x + j >= 0 && x + j < width;
        columns[j] = inside ? (x + j) * 16 : 0;
        columnLanes[j] = inside ? 0xffff : 0;
    }
    __m512 d[6][6];
    UNROLL for (int j = 0; j < 6; j++) {
        __m512 column[6];
        UNROLL for (int i = 0; i < 6; i++)
            column[i] = _mm512_maskz_loadu_ps(rowLanes[i] & columnLanes[j], rows[i] + columns[j]);
        winograd4_3_inputs(column);
        UNROLL for (int i = 0; i < 6; i++) d[i][j] = column[i];
    }
    UNROLL for (int i = 0; i < 6; i++) {
        winograd4_3_inputs(d[i]);
        UNROLL for (int j = 0; j < 6; j++) _mm512_storeu_ps(v + (i * 6 + j) * position, d[i][j]);
    }
}

/* Prefetch cache lines of 16 floats into the level 1 cache. */
static INLINE void prefetch_lines(const float *from, ptrdiff_t lines) {
    UNROLL for (ptrdiff_t i = 0; i < lines; i++) _mm_prefetch((const char *)(from + i * 16), _MM_HINT_T0);
}

/* One position of up to 14 tiles, 2 blocks of 16 outputs: out[o][n] = sum over input channels of w[o] * x[n]. Tiles
 * are 16 floats apart, blocks of input channels `inputBlock` floats, blocks of outputs `outputBlock`; weights are
 * fetched `ahead` of where they are read. `tiles` is a literal in every call, so that loops are unrolled. Of 32
 * registers: 28 sums, 2 of weights, 1 factor. */
static INLINE void multiply_2xN(const float *restrict x, ptrdiff_t blocks, ptrdiff_t inputBlock,
        const float *restrict w, ptrdiff_t ahead, float *restrict out, ptrdiff_t outputBlock, const int tiles) {
    __m512 acc[2][14];
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int n = 0; n < tiles; n++) acc[o][n] = _mm512_setzero_ps();
    for (ptrdiff_t block = 0; block < blocks; block++, x += inputBlock) {
        for (ptrdiff_t lane = 0; lane < 16; lane++, w += 32) {
            prefetch_lines(w + ahead, 2);
            __m512 weights[2];
            UNROLL for (int o = 0; o < 2; o++) weights[o] = _mm512_loadu_ps(w + o * 16);
            UNROLL for (int n = 0; n < tiles; n++) {
                const __m512 factor = _mm512_set1_ps(x[n * 16 + lane]);
                UNROLL for (int o = 0; o < 2; o++) acc[o][n] = _mm512_fmadd_ps(weights[o], factor, acc[o][n]);
            }
        }
    }
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int n = 0; n < tiles; n++) _mm512_storeu_ps(out + o * outputBlock + n * 16, acc[o][n]);
}

/* Winograd's F(4, 3): 6 products become 4 results:
 *     1    1     1     1      1  0
 *     0  1/2  -1/2   3/2   -3/2  0
 *     0  1/4   1/4   9/4    9/4  0
 *     0  1/8  -1/8  27/8  -27/8  1 */
static INLINE void winograd4_3_results(__m512 d[6]) {
    const __m512 plus1 = _mm512_add_ps(d[1], d[2]);
    const __m512 minus1 = _mm512_sub_ps(d[1], d[2]);
    const __m512 plus2 = _mm512_add_ps(d[3], d[4]);
    const __m512 minus2 = _mm512_sub_ps(d[3], d[4]);
    d[0] = _mm512_add_ps(_mm512_add_ps(d[0], plus1), plus2);
    d[1] = _mm512_fmadd_ps(_mm512_set1_ps(1.5f), minus2, _mm512_mul_ps(_mm512_set1_ps(0.5f), minus1));
    d[2] = _mm512_fmadd_ps(_mm512_set1_ps(2.25f), plus2, _mm512_mul_ps(_mm512_set1_ps(0.25f), plus1));
    d[3] = _mm512_fmadd_ps(_mm512_set1_ps(3.375f), minus2, _mm512_fmadd_ps(_mm512_set1_ps(0.125f), minus1, d[5]));
}

/* One tile for F(4x4, 3x3), 16 outputs: 36 products, `position` floats apart, become 4x4 results, to which the bias
 * is added; rows x columns of them are in the picture. */
static NOINLINE void winograd4x4_3x3_ragged_results_relu(const float *restrict m, ptrdiff_t position,
        const float *restrict bias, float *restrict out, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t columns) {
    const __m512 b = _mm512_loadu_ps(bias);
    __m512 d[4][6];
    UNROLL for (int j = 0; j < 6; j++) {
        __m512 column[6];
        UNROLL for (int i = 0; i < 6; i++) column[i] = _mm512_loadu_ps(m + (i * 6 + j) * position);
        winograd4_3_results(column);
        UNROLL for (int i = 0; i < 4; i++) d[i][j] = column[i];
    }
    UNROLL for (int i = 0; i < 4; i++) {
        if (i == rows) return;
        winograd4_3_results(d[i]);
        UNROLL for (int j = 0; j < 4; j++) {
            if (j == columns) break;
            __m512 sum = _mm512_add_ps(b, d[i][j]);
            sum = _mm512_max_ps(_mm512_setzero_ps(), sum);
            _mm512_storeu_ps(out + i * row + j * 16, sum);
        }
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

/* Sixteen half floats as floats. */
static INLINE __m512 load_halves(const uint16_t *halves) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)halves));
}

/* One position of up to 14 tiles, 2 blocks of 16 outputs: out[o][n] = scale[o] * sum over input channels of w[o] *
 * x[n]. Tiles are 16 floats apart, blocks of input channels `inputBlock` floats, blocks of outputs `outputBlock`;
 * weights are fetched `ahead` of where they are read. `tiles` is a literal in every call, so that loops are
 * unrolled. Of 32 registers: 28 sums, 2 of weights, 1 factor. */
static INLINE void multiply_2xN_half(const float *restrict x, ptrdiff_t blocks, ptrdiff_t inputBlock,
        const uint16_t *restrict w, const float *restrict scale, ptrdiff_t ahead, float *restrict out,
        ptrdiff_t outputBlock, const int tiles) {
    __m512 acc[2][14];
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int n = 0; n < tiles; n++) acc[o][n] = _mm512_setzero_ps();
    for (ptrdiff_t block = 0; block < blocks; block++, x += inputBlock) {
        for (ptrdiff_t lane = 0; lane < 16; lane++, w += 32) {
            prefetch_lines((const float *)w + ahead, 1);
            __m512 weights[2];
            UNROLL for (int o = 0; o < 2; o++) weights[o] = load_halves(w + o * 16);
            UNROLL for (int n = 0; n < tiles; n++) {
                const __m512 factor = _mm512_set1_ps(x[n * 16 + lane]);
                UNROLL for (int o = 0; o < 2; o++) acc[o][n] = _mm512_fmadd_ps(weights[o], factor, acc[o][n]);
            }
        }
    }
    UNROLL for (int o = 0; o < 2; o++)
        UNROLL for (int n = 0; n < tiles; n++)
            _mm512_storeu_ps(out + o * outputBlock + n * 16, _mm512_mul_ps(acc[o][n], _mm512_loadu_ps(scale + o * 16)));
}

/* One position of up to 28 tiles, 1 block of 16 outputs: out[o][n] = scale[o] * sum over input channels of w[o] *
 * x[n]. Tiles are 16 floats apart, blocks of input channels `inputBlock` floats; weights are fetched `ahead` of
 * where they are read. `tiles` is a literal in every call, so that loops are unrolled. Of 32 registers: 28 sums, 1
 * of weights, 1 factor. */
static INLINE void multiply_1xN_half(const float *restrict x, ptrdiff_t blocks, ptrdiff_t inputBlock,
        const uint16_t *restrict w, const float *restrict scale, ptrdiff_t ahead, float *restrict out,
        const int tiles) {
    __m512 acc[1][28];
    UNROLL for (int n = 0; n < tiles; n++) acc[0][n] = _mm512_setzero_ps();
    for (ptrdiff_t block = 0; block < blocks; block++, x += inputBlock) {
        for (ptrdiff_t lane = 0; lane < 16; lane++, w += 16) {
            prefetch_lines((const float *)w + ahead, 1);
            __m512 weights[1];
            weights[0] = load_halves(w);
            UNROLL for (int n = 0; n < tiles; n++) {
                const __m512 factor = _mm512_set1_ps(x[n * 16 + lane]);
                acc[0][n] = _mm512_fmadd_ps(weights[0], factor, acc[0][n]);
            }
        }
    }
    UNROLL for (int n = 0; n < tiles; n++)
        _mm512_storeu_ps(out + n * 16, _mm512_mul_ps(acc[0][n], _mm512_loadu_ps(scale)));
}

/* One tile for F(4x4, 3x3), 16 outputs: 36 products, `position` floats apart, become 4x4 results, to which the bias
 * is added; rows x columns of them are in the picture. */
static NOINLINE void winograd4x4_3x3_ragged_results(const float *restrict m, ptrdiff_t position,
        const float *restrict bias, float *restrict out, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t columns) {
    const __m512 b = _mm512_loadu_ps(bias);
    __m512 d[4][6];
    UNROLL for (int j = 0; j < 6; j++) {
        __m512 column[6];
        UNROLL for (int i = 0; i < 6; i++) column[i] = _mm512_loadu_ps(m + (i * 6 + j) * position);
        winograd4_3_results(column);
        UNROLL for (int i = 0; i < 4; i++) d[i][j] = column[i];
    }
    UNROLL for (int i = 0; i < 4; i++) {
        if (i == rows) return;
        winograd4_3_results(d[i]);
        UNROLL for (int j = 0; j < 4; j++) {
            if (j == columns) break;
            __m512 sum = _mm512_add_ps(b, d[i][j]);
            _mm512_storeu_ps(out + i * row + j * 16, sum);
        }
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

/* The nearest half float. */
static uint16_t half_of(float weight) {
    const __m256i halves = _mm512_cvtps_ph(_mm512_set1_ps(weight), 0);
    uint16_t first;
    memcpy(&first, &halves, sizeof first);
    return first;
}

/* Weights of a convolution, [output][input][filter row][filter column], to the factors of Winograd's products, [group]
 * [position][panel][input][output block][output lane]: W w W', with a matrix W for each axis, computed in double and
 * rounded once. Batch norms of the input and of the result are folded in. */
enum { MostPositions = 64 };

typedef struct {
    const float *weights, *biases;
    void *packed;
    float *packedBiases, *scales;    /* scales are those of halves */
    ptrdiff_t outputs, inputs, taps; /* inputs of one group */
    ptrdiff_t filterColumns, groupOutputs;
    ptrdiff_t rowProducts, columnProducts; /* rows and columns of a tile's positions */
    const double *rowFactors, *columnFactors; /* W for columns of the filter and for rows of it, [product][tap] */
    ptrdiff_t panel;           /* output blocks in a panel; the last panel of a group may have fewer */
    const ptrdiff_t *segments; /* of the input channels */
    const Norm *before, *after;
} WinogradPack;

/* The factors for one output and one input channel, by position. */
static void winograd_factors(const WinogradPack *p, const float *weights, double scale, double *factors) {
    const ptrdiff_t rows = p->taps / p->filterColumns, columns = p->filterColumns;
    for (ptrdiff_t i = 0; i < p->rowProducts; i++)
        for (ptrdiff_t j = 0; j < p->columnProducts; j++) {
            double sum = 0;
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t c = 0; c < columns; c++)
                    sum += p->rowFactors[i * rows + r] * weights[r * columns + c] * p->columnFactors[j * columns + c];
            factors[i * p->columnProducts + j] = scale * sum;
        }
}

/* These factors as floats, or as halves where there are scales. The halves of an output at a position share a power of
 * two; `scales`, [position][output block][lane], has its inverse. */
static void pack_winograd(const void *context, Share share) {
    const WinogradPack *p = context;
    const ptrdiff_t positions = p->rowProducts * p->columnProducts;
    const ptrdiff_t allBlocks = (p->outputs + 15) / 16, blocks = (p->groupOutputs + 15) / 16; /* of one group */
    const ptrdiff_t size = (position(p->segments, p->inputs - 1) / 16 + 1) * 16;
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t group = item / blocks, block = item % blocks, start = block / p->panel * p->panel;
        const ptrdiff_t width = blocks - start < p->panel ? blocks - start : p->panel;
        const ptrdiff_t first = group * p->groupOutputs + block * 16, rest = p->groupOutputs - block * 16;
        const ptrdiff_t lanes = rest < 16 ? rest : 16;
        double factors[MostPositions], biases[16];
        float *scales = p->scales ? p->scales + item * 16 : NULL; /* at position 0 */
        Affine after[16];
        for (ptrdiff_t o = 0; o < lanes; o++) {
            after[o] = compose(p->after, first + o);
            biases[o] = p->biases[first + o];
            Range ranges[MostPositions] = {{0, 0}};
            for (ptrdiff_t c = 0; c < p->inputs && scales; c++) {
                const Affine before = compose(p->before, group * p->inputs + c);
                const float *weights = p->weights + ((first + o) * p->inputs + c) * p->taps;
                winograd_factors(p, weights, after[o].scale * before.scale, factors);
                for (ptrdiff_t t = 0; t < positions; t++) widen_range(&ranges[t], factors[t]);
            }
            for (ptrdiff_t t = 0; t < positions; t++) {
                if (scales) scales[t * allBlocks * 16 + o] = (float)power_of_two(-half_exponent(ranges[t]));
            }
        }
        for (ptrdiff_t c = 0; c < p->inputs; c++) {
            const Affine before = compose(p->before, group * p->inputs + c);
            for (ptrdiff_t o = 0; o < lanes; o++) {
                const float *weights = p->weights + ((first + o) * p->inputs + c) * p->taps;
                winograd_factors(p, weights, after[o].scale * before.scale, factors);
                for (ptrdiff_t t = 0; t < p->taps; t++) biases[o] += before.shift * weights[t];
                for (ptrdiff_t t = 0; t < positions; t++) {
                    const ptrdiff_t panel = ((group * positions + t) * blocks + start) * size;
                    const ptrdiff_t to = (panel + position(p->segments, c) * width + block - start) * 16;
                    const ptrdiff_t at = to + o;
                    if (scales)
                        ((uint16_t *)p->packed)[at] = half_of((float)(factors[t] / scales[t * allBlocks * 16 + o]));
                    else
                        ((float *)p->packed)[at] = (float)factors[t];
                }
            }
        }
        for (ptrdiff_t o = 0; o < lanes; o++)
            p->packedBiases[first + o] = (float)(biases[o] * after[o].scale + after[o].shift);
    }
}

#define PACK_WINOGRAD(items, ...) \
    do { team_run(&team, pack_winograd, &(WinogradPack){__VA_ARGS__}, items); } while (0)

/* W of F(4, 3), [product][tap]. */
static const double winograd4_3_weights[6 * 3] = {
    16.0 / 9, 0, 0, -1, -1.0 / 2, -1.0 / 4, -1, 1.0 / 2, -1.0 / 4, 1.0 / 9, 1.0 / 6, 1.0 / 4, 1.0 / 9, -1.0 / 6,
    1.0 / 4, 0, 0, 1
};

char *TilesNetCreate(TilesNet **to, TilesParams *params, ptrdiff_t threads) {
    if (!__builtin_cpu_supports("avx512f")) return message("Tiles: this processor does not have AVX-512F");
    Team team;
    char *error = team_create(&team, threads);
    if (error) return error;
    TilesNet *net = allocate(sizeof *net);
    if (net == NULL) {
        team_destroy(&team);
        return message("Tiles: no memory for %zu bytes of packed parameters", sizeof *net);
    }
    memset(net, 0, sizeof *net); /* lanes without a channel stay 0 */
    PACK_WINOGRAD(2, CONV(conv, 32, 20, 3 * 3), .filterColumns = 3, .groupOutputs = 32, .rowProducts = 6,
        .columnProducts = 6, .rowFactors = winograd4_3_weights, .columnFactors = winograd4_3_weights, .panel = 2);
    PACK_WINOGRAD(3, CONV(steps, 40, 32, 3 * 3), .scales = net->stepsScales, .filterColumns = 3, .groupOutputs = 40,
                  .rowProducts = 6, .columnProducts = 6, .rowFactors = winograd4_3_weights,
                  .columnFactors = winograd4_3_weights, .panel = 2);
    team_destroy(&team);
    *to = net;
    return NULL;
}

void TilesNetDestroy(TilesNet *net) {
    free(net);
}

/* ---- Layer 1: image_load   (graph line 3) -------------------------------------------------------------------------
 * Input image
 * caller  ->  image 20x26x26
 * Transposition into blocks of 16 channels. */
static NOINLINE void Tiles_image_load(const void *context, Share share) {
    const TilesEngine *engine = context;
    float (*restrict image)[26 * 26][16] = tensor(engine, image_at);
    for (ptrdiff_t block = share.first; block < share.last; block++)
        load_block(engine->imageData + block * 16 * 26 * 26, 26 * 26, block < 1 ? 16 : 4, image[block]);
}

/* ---- Layer 2: blocks   (graph lines 4, 5) -------------------------------------------------------------------------
 * Conv conv (3x3, padding 1), ReLU blocks
 * image 20x26x26  ->  blocks 32x26x26     3.89 MMAC, 147,584 bytes of weights (fp32)
 * Winograd F(4x4, 3x3), 4 times fewer multiplications, 49 tiles, 13 of them overhang by 2 rows or columns. Forced:
 *   53 us, winograd-4x4-fp16 55, direct 67, fourier-8 89. */
static NOINLINE void Tiles_blocks(const void *context, Share share) {
    const TilesEngine *engine = context;
    const TilesNet *net = engine->net;
    const float (*restrict image)[26][26][16] = tensor(engine, image_at);
    float (*restrict blocks)[26][26][16] = tensor(engine, blocks_at);
    float (*restrict factors)[27][16] = tensor(engine, ArenaFloats + share.thread * ThreadFloats);
    float (*const products)[27][16] = (void *)(factors + 36);
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t first = item * 12 + (item < 1 ? item : 1), tiles = item < 1 ? 13 : 12;
        for (ptrdiff_t block = 0; block < 2; block++) {
            const __mmask16 lanes = block == 1 ? 0x000f : 0xffff;
            for (ptrdiff_t n = 0; n < tiles; n++) {
                const ptrdiff_t tile = first + n;
                const ptrdiff_t y = tile / 7 * 4 - 1, x = tile % 7 * 4 - 1;
                if (y >= 0 && y <= 20 && x >= 0 && x <= 20 && lanes == 0xffff)
                    winograd4x4_3x3_inputs(image[block][y][x], 26 * 16, factors[0][block * 13 + n], 27 * 16);
                else
                    winograd4x4_3x3_clipped_inputs(image[block][0][0], 26, 26, y, x, lanes, factors[0][block * 13 + n],
                        27 * 16);
            }
        }
        for (ptrdiff_t position = 0; position < 36; position++) {
            if (tiles == 13) {
                multiply_2xN(factors[position][0], 2, 13 * 16, net->convWeights + position * 2 * (32 * 16), 1024,
                             products[position][0], 13 * 16, 13);
            }
            else {
                multiply_2xN(factors[position][0], 2, 13 * 16, net->convWeights + position * 2 * (32 * 16), 1024,
                             products[position][0], 13 * 16, 12);
            }
        }
        for (ptrdiff_t block = 0; block < 2; block++) {
            for (ptrdiff_t n = 0; n < tiles; n++) {
                const ptrdiff_t tile = first + n;
                const ptrdiff_t y = tile / 7 * 4, x = tile % 7 * 4;
                winograd4x4_3x3_ragged_results_relu(products[0][block * 13 + n], 27 * 16, net->convBiases + block * 16,
                    blocks[block][y][x], 26 * 16, 26 - y, 26 - x);
            }
        }
    }
}

/* ---- Layer 3: halved   (graph line 6) -----------------------------------------------------------------------------
 * Pooling halved (Max2x2Stride2)
 * blocks 32x26x26  ->  halved 32x13x13
 * Pooling, a vector of 16 channels at a time. */
static NOINLINE void Tiles_halved(const void *context, Share share) {
    const TilesEngine *engine = context;
    const float (*restrict blocks)[26][26][16] = tensor(engine, blocks_at);
    float (*restrict halved)[13][13][16] = tensor(engine, halved_at);
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t block = item / 13, y = item % 13;
        for (ptrdiff_t x = 0; x < 13; x++)
            _mm512_storeu_ps(halved[block][y][x], largest_of_2(blocks[block][y * 2][x * 2], 2, 26 * 16));
    }
}

/* ---- Layer 4: steps   (graph line 7) ------------------------------------------------------------------------------
 * Conv steps (3x3)
 * halved 32x13x13  ->  steps 40x11x11     1.39 MMAC, 117,696 bytes of weights (fp16)
 * Winograd F(4x4, 3x3), 4 times fewer multiplications, 9 tiles, 5 of them overhang by 1 row or column, weights in
 *   fp16. Forced: 16 us, winograd-4x4 15, fourier-8-fp16 23, direct 30. */
static NOINLINE void Tiles_steps_factors(const void *context, Share share) {
    const TilesEngine *engine = context;
    const float (*restrict halved)[13][13][16] = tensor(engine, halved_at);
    float (*restrict steps_factors)[1][19][16] = tensor(engine, steps_factors_at);
    for (ptrdiff_t block = share.first; block < share.last; block++) {
        for (ptrdiff_t n = 0; n < 9; n++) {
            const ptrdiff_t y = n / 3 * 4, x = n % 3 * 4;
            if (y <= 7 && x <= 7)
                winograd4x4_3x3_inputs(halved[block][y][x], 13 * 16, steps_factors[0][0][block * 9 + n], 19 * 16);
            else
                winograd4x4_3x3_clipped_inputs(halved[block][0][0], 13, 13, y, x, 0xffff,
                    steps_factors[0][0][block * 9 + n], 19 * 16);
        }
    }
}

static NOINLINE void Tiles_steps_products(const void *context, Share share) {
    const TilesEngine *engine = context;
    const TilesNet *net = engine->net;
    const float (*restrict steps_factors)[1][19][16] = tensor(engine, steps_factors_at);
    float (*restrict steps_products)[1][28][16] = tensor(engine, steps_products_at);
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t position = item / 2, block = item % 2 * 2;
        if (block < 2) {
            multiply_2xN_half(steps_factors[position][0][0], 2, 9 * 16,
                              net->stepsWeights + (position * 3 + block) * (32 * 16),
                              net->stepsScales + position * (3 * 16) + block * 16, 1024,
                              steps_products[position][0][block * 9], 9 * 16, 9);
        }
        else {
            multiply_1xN_half(steps_factors[position][0][0], 2, 9 * 16,
                net->stepsWeights + (position * 3 + block) * (32 * 16),
                net->stepsScales + position * (3 * 16) + block * 16, 1024, steps_products[position][0][block * 9], 9);
        }
    }
}

static NOINLINE void Tiles_steps(const void *context, Share share) {
    const TilesEngine *engine = context;
    const TilesNet *net = engine->net;
    const float (*restrict steps_products)[1][28][16] = tensor(engine, steps_products_at);
    float (*restrict steps)[11][11][16] = tensor(engine, steps_at);
    for (ptrdiff_t block = share.first; block < share.last; block++) {
        for (ptrdiff_t n = 0; n < 9; n++) {
            const ptrdiff_t y = n / 3 * 4, x = n % 3 * 4;
            winograd4x4_3x3_ragged_results(steps_products[0][0][block * 9 + n], 28 * 16, net->stepsBiases + block * 16,
                steps[block][y][x], 11 * 16, 11 - y, 11 - x);
        }
    }
}

/* ---- Layer 5: steps_store   (graph line 8) ------------------------------------------------------------------------
 * Output steps
 * steps 40x11x11  ->  caller
 * Transposition out of blocks of 16 channels. */
static NOINLINE void Tiles_steps_store(const void *context, Share share) {
    const TilesEngine *engine = context;
    const float (*restrict steps)[11 * 11][16] = tensor(engine, steps_at);
    for (ptrdiff_t block = share.first; block < share.last; block++)
        store_block(steps[block], 11 * 11, block < 2 ? 16 : 8, engine->stepsData + block * 16 * 11 * 11);
}

/* ---- The engine ---------------------------------------------------------------------------------------------- */

char *TilesEngineCreate(TilesEngine **engine, TilesNet *net, ptrdiff_t threads) {
    TilesEngine *created = malloc(sizeof *created);
    if (created == NULL) return message("Tiles: no memory for an engine");
    char *error = team_create(&created->team, threads);
    if (error) {
        free(created);
        return error;
    }
    const size_t bytes = (size_t)(ArenaFloats + threads * ThreadFloats) * sizeof(float);
    created->arena = allocate(bytes);
    if (created->arena == NULL) {
        team_destroy(&created->team);
        free(created);
        return message("Tiles: no memory for tensors of %zu bytes", bytes);
    }
    created->net = net;
#ifdef NN512_PROFILE
    created->inferences = 0;
    memset(created->nanoseconds, 0, sizeof created->nanoseconds);
#endif
    *engine = created;
    return NULL;
}

char *TilesEnginePthreadT(TilesEngine *engine, ptrdiff_t index, pthread_t *to) {
    team_check(&engine->team);
    if (index < 0 || index >= engine->team.threads)
        return message("Tiles: no thread %td, the engine has threads 0 to %td",
                       index, engine->team.threads - 1);
    *to = engine->team.workers[index].thread;
    return NULL;
}

void TilesEngineDestroy(TilesEngine *engine) {
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

void TilesEngineInference(TilesEngine *engine, const float *imageData, float *stepsData) {
    team_check(&engine->team);
    engine->imageData = imageData;
    engine->stepsData = stepsData;
    run_alone(engine, 0, Tiles_image_load, 2);
    run_shared(engine, 1, Tiles_blocks, 4);
    run_alone(engine, 2, Tiles_halved, 26);
    run_shared(engine, 3, Tiles_steps_factors, 2);
    run_shared(engine, 3, Tiles_steps_products, 72);
    run_shared(engine, 3, Tiles_steps, 3);
    run_alone(engine, 4, Tiles_steps_store, 3);
}

char *TilesEngineRun(TilesEngine *engine, const TilesTensors *tensors) {
    if (tensors->image == NULL) return message("Tiles: the tensor image is NULL");
    if (tensors->steps == NULL) return message("Tiles: the tensor steps is NULL");
    TilesEngineInference(engine, tensors->image, tensors->steps);
    return NULL;
}

#ifdef NN512_PROFILE
void TilesEngineProfile(TilesEngine *engine, FILE *to) {
    static const char *const layers[] = {"image_load", "blocks", "halved", "steps", "steps_store"};
    for (int i = 0; i < Layers; i++)
        fprintf(to, "%s\t%lld\t%lld\n", layers[i], engine->inferences, engine->nanoseconds[i]);
}
#endif
