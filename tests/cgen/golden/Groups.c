/* Groups: 4 layers, 0.0 MMAC, 3,008 bytes of packed weights.
 *
 *      layer                             MMAC    weights, bytes  kernel
 *   1  image_load                        0.00                 0  load
 *   2  fours                             0.02             2,368  grouped
 *   3  own                               0.00               640  depthwise
 *   4  own_store                         0.00                 0  store
 *
 * A tensor is stored in blocks of 16 channels, [block][height][width][16]. A step function computes a
 * thread's share of its layer's items: blocks, rows of one or a few blocks, or tiles of pixels. */

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* madvise, where the system has it */
#endif
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200112L /* posix_memalign and pthread_sigmask, which C99 alone hides */
#endif

#include "Groups.h"
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
struct GroupsNet {
    float foursBiases[16], foursWeights[3 * 4 * 3 * 16];
    float ownBiases[16], ownWeights[3 * 3 * 16];
};

/* Where tensors begin in the arena, in floats, and the layers between which they live. */
enum {
    image_at = 0, /* 16x8x8, layers 1 to 2 */
    fours_at = 1024, /* 16x8x4, layers 2 to 3 */
    own_at = 0, /* 16x8x4, layers 3 to 4 */
    Layers = 4,
    ArenaFloats = 1536
};

struct GroupsEngine {
    const GroupsNet *net;
    float *arena;
    Team team;
    const float *imageData;
    float *ownData;
#ifdef NN512_PROFILE
    long long inferences, nanoseconds[Layers];
#endif
};

/* The memory of a tensor. The function is never inlined, so compilers take tensors for separate objects, although
 * all lie in one arena. */
static NOINLINE void *tensor(const GroupsEngine *engine, ptrdiff_t at) {
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

/* Keep a vector in its register; without this gcc loads it from memory again at each use. */
#ifdef __AVX512F__
#define IN_REGISTER(vector) __asm__("" : "+v"(vector))
#else
#define IN_REGISTER(vector) (void)(vector)
#endif

/* 16 outputs at 4 neighbouring pixels: out[p] = bias + sum over the group's input channels and taps of w * x[p];
 * lanes[l] is where lane l finds its group's first input; each input is read once and serves every column of the
 * filter row; columns in the padding are left out; x is the first input inside the picture, and so are filter rows
 * top to bottom-1. Of 32 registers: 4 sums, 3 of weights, 1 of inputs, 2 permutations. */
static INLINE void grouped3x3s2_4_left(OPERANDS, ptrdiff_t top, ptrdiff_t bottom, const int *lanes,
        const Sizes *sizes) {
    __m512 acc[4];
    UNROLL for (int p = 0; p < 4; p++) acc[p] = _mm512_loadu_ps(bias);
    const __m512i own = _mm512_loadu_si512(lanes);
    for (ptrdiff_t i = top; i < bottom; i++) {
        const float *line = x + (i - top) * sizes->inputRow;
        const float *weights = w + i * sizes->channels * 48;
        __m512i from = own;
        for (ptrdiff_t c = 0; c < sizes->channels; c++, weights += 48) {
            /* read the inputs again for each channel; without this gcc keeps a row of them and spills the sums */
            __asm__("" : "+r"(line));
            __m512 tap[3];
            UNROLL for (int j = 0; j < 3; j++) tap[j] = _mm512_loadu_ps(weights + j * 16);
            UNROLL for (int column = 1; column < 9; column++) {
                __m512 v = _mm512_permutexvar_ps(from, _mm512_loadu_ps(line + (column - 1) * 16));
                IN_REGISTER(v);
                UNROLL for (int j = 0; j < 3; j++) {
                    const int start = column - j, p = start / 2;
                    if (start >= 0 && start % 2 == 0 && p < 4)
                        acc[p] = _mm512_fmadd_ps(tap[j], v, acc[p]);
                }
            }
            from = _mm512_add_epi32(from, _mm512_set1_epi32(1));
        }
    }
    UNROLL for (int p = 0; p < 4; p++) _mm512_storeu_ps(out + p * 16, acc[p]);
}

/* 16 outputs at 4 neighbouring pixels: out[p] = bias + sum over taps of w * x[p]; each input is read once and serves
 * every column of the filter row; columns in the padding are left out; x is the first input inside the picture, and
 * so are filter rows top to bottom-1. Of 32 registers: 4 sums, 3 of weights, 1 of inputs. */
static INLINE void depthwise3x3_4_both(OPERANDS, ptrdiff_t top, ptrdiff_t bottom, const Sizes *sizes) {
    __m512 acc[4];
    UNROLL for (int p = 0; p < 4; p++) acc[p] = _mm512_loadu_ps(bias);
    for (ptrdiff_t i = top; i < bottom; i++) {
        const float *line = x + (i - top) * sizes->inputRow;
        const float *weights = w + i * 48;
        __m512 tap[3];
        UNROLL for (int j = 0; j < 3; j++) tap[j] = _mm512_loadu_ps(weights + j * 16);
        UNROLL for (int column = 1; column < 5; column++) {
            __m512 v = _mm512_loadu_ps(line + (column - 1) * 16);
            IN_REGISTER(v);
            UNROLL for (int j = 0; j < 3; j++) {
                const int p = column - j;
                if (p >= 0 && p < 4) acc[p] = _mm512_fmadd_ps(tap[j], v, acc[p]);
            }
        }
    }
    UNROLL for (int p = 0; p < 4; p++) _mm512_storeu_ps(out + p * 16, acc[p]);
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

/* Weights of a grouped convolution, [output][input of the group][row][column], to [output block][row][input][column]
 * [output lane]. Batch norms of the input and of the result are folded in. */
typedef struct {
    const float *weights, *biases;
    float *packed, *packedBiases;
    ptrdiff_t outputs, inputs, taps, columns; /* inputs of one group; columns of the filter */
    const ptrdiff_t *segments;                /* of the outputs */
    const Norm *before, *after;
    ptrdiff_t groupOutputs; /* if `before` is not NULL */
} GroupedPack;

static void pack_grouped(const void *context, Share share) {
    const GroupedPack *p = context;
    for (ptrdiff_t k = share.first * 16; k < share.last * 16 && k < p->outputs; k++) {
        const ptrdiff_t place = position(p->segments, k);
        float *to = p->packed + place / 16 * p->inputs * p->taps * 16 + place % 16;
        const Affine after = compose(p->after, k);
        double bias = p->biases[k];
        for (ptrdiff_t c = 0; c < p->inputs; c++) {
            const ptrdiff_t source = p->before == NULL ? 0 : k / p->groupOutputs * p->inputs + c;
            const Affine before = compose(p->before, source);
            for (ptrdiff_t t = 0; t < p->taps; t++) {
                const double weight = p->weights[(k * p->inputs + c) * p->taps + t];
                const ptrdiff_t row = t / p->columns * p->inputs + c;
                to[(row * p->columns + t % p->columns) * 16] = (float)(after.scale * before.scale * weight);
                bias += before.shift * weight;
            }
        }
        p->packedBiases[place] = (float)(bias * after.scale + after.shift);
    }
}

#define PACK_GROUPED(items, ...) do { team_run(&team, pack_grouped, &(GroupedPack){__VA_ARGS__}, items); } while (0)

char *GroupsNetCreate(GroupsNet **to, GroupsParams *params, ptrdiff_t threads) {
    if (!__builtin_cpu_supports("avx512f")) return message("Groups: this processor does not have AVX-512F");
    Team team;
    char *error = team_create(&team, threads);
    if (error) return error;
    GroupsNet *net = allocate(sizeof *net);
    if (net == NULL) {
        team_destroy(&team);
        return message("Groups: no memory for %zu bytes of packed parameters", sizeof *net);
    }
    memset(net, 0, sizeof *net); /* lanes without a channel stay 0 */
    PACK_GROUPED(1, CONV(fours, 16, 4, 3 * 3), .columns = 3);
    PACK_GROUPED(1, CONV(own, 16, 1, 3 * 3), .columns = 3);
    team_destroy(&team);
    *to = net;
    return NULL;
}

void GroupsNetDestroy(GroupsNet *net) {
    free(net);
}

/* ---- Layer 1: image_load   (graph line 3) -------------------------------------------------------------------------
 * Input image
 * caller  ->  image 16x8x8
 * Transposition into blocks of 16 channels. */
static NOINLINE void Groups_image_load(const void *context, Share share) {
    const GroupsEngine *engine = context;
    float (*restrict image)[8 * 8][16] = tensor(engine, image_at);
    for (ptrdiff_t block = share.first; block < share.last; block++)
        load_block(engine->imageData + block * 16 * 8 * 8, 8 * 8, 16, image[block]);
}

/* ---- Layer 2: fours   (graph line 4) ------------------------------------------------------------------------------
 * Conv fours (3x3, stride 1x2, padding 1, 4 groups)
 * image 16x8x8  ->  fours 16x8x4     0.02 MMAC, 2,368 bytes of weights (fp32)
 * Grouped, 16 outputs x 4 pixels in registers, 4 inputs per group permuted. Predicted: 0.36 us, direct 2.4. */
static NOINLINE void Groups_fours(const void *context, Share share) {
    const GroupsEngine *engine = context;
    const float (*restrict image)[8][8][16] = tensor(engine, image_at);
    float (*restrict fours)[8][4][16] = tensor(engine, fours_at);
    /* for each output lane, the input lane that holds the first input of its group */
    static const int lanes[1][16] = {{0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12}};
    static const Sizes sizes = {.channels = 4, .inputRow = 8 * 16};
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t block = item / 8, y = item % 8, origin = y - 1; /* origin: input row under filter row 0 */
        const float *w = engine->net->foursWeights + block * (3 * 4 * 3 * 16);
        const float *bias = engine->net->foursBiases + block * 16;
        const ptrdiff_t top = origin < 0 ? -origin : 0, bottom = 8 - origin < 3 ? 8 - origin : 3;
        grouped3x3s2_4_left(image[block][origin + top][0], w, bias, fours[block][y][0], top, bottom, lanes[0], &sizes);
    }
}

/* ---- Layer 3: own   (graph line 5) --------------------------------------------------------------------------------
 * Conv own (3x3, padding 1, 16 groups)
 * fours 16x8x4  ->  own 16x8x4     0.00 MMAC, 640 bytes of weights (fp32)
 * Depthwise, 16 outputs x 4 pixels in registers, channels stay in their lanes. Predicted: 0.095 us, direct 2.1. */
static NOINLINE void Groups_own(const void *context, Share share) {
    const GroupsEngine *engine = context;
    const float (*restrict fours)[8][4][16] = tensor(engine, fours_at);
    float (*restrict own)[8][4][16] = tensor(engine, own_at);
    static const Sizes sizes = {.inputRow = 4 * 16};
    for (ptrdiff_t item = share.first; item < share.last; item++) {
        const ptrdiff_t block = item / 8, y = item % 8, origin = y - 1; /* origin: input row under filter row 0 */
        const float *w = engine->net->ownWeights + block * (3 * 3 * 16);
        const float *bias = engine->net->ownBiases + block * 16;
        const ptrdiff_t top = origin < 0 ? -origin : 0, bottom = 8 - origin < 3 ? 8 - origin : 3;
        depthwise3x3_4_both(fours[block][origin + top][0], w, bias, own[block][y][0], top, bottom, &sizes);
    }
}

/* ---- Layer 4: own_store   (graph line 6) --------------------------------------------------------------------------
 * Output own
 * own 16x8x4  ->  caller
 * Transposition out of blocks of 16 channels. */
static NOINLINE void Groups_own_store(const void *context, Share share) {
    const GroupsEngine *engine = context;
    const float (*restrict own)[8 * 4][16] = tensor(engine, own_at);
    for (ptrdiff_t block = share.first; block < share.last; block++)
        store_block(own[block], 8 * 4, 16, engine->ownData + block * 16 * 8 * 4);
}

/* ---- The engine ---------------------------------------------------------------------------------------------- */

char *GroupsEngineCreate(GroupsEngine **engine, GroupsNet *net, ptrdiff_t threads) {
    GroupsEngine *created = malloc(sizeof *created);
    if (created == NULL) return message("Groups: no memory for an engine");
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
        return message("Groups: no memory for tensors of %zu bytes", bytes);
    }
    created->net = net;
#ifdef NN512_PROFILE
    created->inferences = 0;
    memset(created->nanoseconds, 0, sizeof created->nanoseconds);
#endif
    *engine = created;
    return NULL;
}

char *GroupsEnginePthreadT(GroupsEngine *engine, ptrdiff_t index, pthread_t *to) {
    team_check(&engine->team);
    if (index < 0 || index >= engine->team.threads)
        return message("Groups: no thread %td, the engine has threads 0 to %td",
                       index, engine->team.threads - 1);
    *to = engine->team.workers[index].thread;
    return NULL;
}

void GroupsEngineDestroy(GroupsEngine *engine) {
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

void GroupsEngineInference(GroupsEngine *engine, const float *imageData, float *ownData) {
    team_check(&engine->team);
    engine->imageData = imageData;
    engine->ownData = ownData;
    run_alone(engine, 0, Groups_image_load, 1);
    run_alone(engine, 1, Groups_fours, 8);
    run_alone(engine, 2, Groups_own, 8);
    run_alone(engine, 3, Groups_own_store, 1);
}

char *GroupsEngineRun(GroupsEngine *engine, const GroupsTensors *tensors) {
    if (tensors->image == NULL) return message("Groups: the tensor image is NULL");
    if (tensors->own == NULL) return message("Groups: the tensor own is NULL");
    GroupsEngineInference(engine, tensors->image, tensors->own);
    return NULL;
}

#ifdef NN512_PROFILE
void GroupsEngineProfile(GroupsEngine *engine, FILE *to) {
    static const char *const layers[] = {"image_load", "fours", "own", "own_store"};
    for (int i = 0; i < Layers; i++)
        fprintf(to, "%s\t%lld\t%lld\n", layers[i], engine->inferences, engine->nanoseconds[i]);
}
#endif
