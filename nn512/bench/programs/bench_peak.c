/* Measures the processor's limit for `nn512 bench`: bench_peak CPUS. On each CPU a thread does nothing but 512-bit FMAs.
 *
 * They form 16 independent chains, more than latency times throughput of any processor (4 cycles, 2 per cycle), and all
 * operands stay in registers. Lines understood: `run U T`, as bench_net.c.
 */
#define _GNU_SOURCE /* CPU sets */
#include "bench_serve.h"

#include <immintrin.h>
#include <pthread.h>

#define MOST_CPUS 1024
#define STEPS 200000L /* of 16 FMAs: about a millisecond */
#define FLOPS_PER_STEP (16 * 16 * 2)

#define CHAINS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)

static int cpus[MOST_CPUS], threads;
static long begun, done; /* rounds that the first thread began; times that one of the others finished a round */
static volatile float sink[MOST_CPUS * 16]; /* a cache line each; keeps the work from being optimized away */

static __attribute__((noinline)) float chains(void) {
    /* x becomes x/2 + 1/2: stays near 1, where no number is subnormal. */
    __m512 half = _mm512_set1_ps(0.5f);
#define DECLARE(i) __m512 x##i = _mm512_set1_ps(1.0f + i);
    CHAINS(DECLARE)
    for (long step = 0; step < STEPS; step += 1) {
#define MULTIPLY_ADD(i) x##i = _mm512_fmadd_ps(x##i, half, half);
        CHAINS(MULTIPLY_ADD)
    }
    __m512 sum = _mm512_setzero_ps();
#define TOTAL(i) sum = _mm512_add_ps(sum, x##i);
    CHAINS(TOTAL)
    return _mm512_cvtss_f32(sum);
}

static void pin_self(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) refuse("cannot pin a thread");
}

static void *work_forever(void *cpu) {
    int index = (int)((int *)cpu - cpus);
    pin_self(cpus[index]);
    for (long round = 1;; round += 1) {
        while (__atomic_load_n(&begun, __ATOMIC_ACQUIRE) < round) _mm_pause();
        sink[16 * index] = chains();
        __atomic_add_fetch(&done, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* All threads do their chains at the same time. They spin in between: the one who measures stops the program then. */
static void work_once(void) {
    long round = __atomic_add_fetch(&begun, 1, __ATOMIC_RELEASE);
    sink[0] = chains();
    while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < round * (threads - 1)) _mm_pause();
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    threads = parse_list(arguments[1], cpus, MOST_CPUS);
    pin_self(cpus[0]);
    for (int i = 1; i < threads; i += 1) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work_forever, &cpus[i])) refuse("cannot start a thread");
    }
    printf("{\"ready\": true, \"flops\": %ld}\n", STEPS * FLOPS_PER_STEP * threads);
    serve(work_once, NULL);
    return 0; /* ends the waiting threads too */
}
