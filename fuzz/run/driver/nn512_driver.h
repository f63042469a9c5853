/* The driver: a stand-alone program that runs one net through everything a caller may do and watches what it does.
 *
 *   driver.c    the plan: which nets and engines are created, which inferences run
 *   scenarios.c several nets and engines at a time, in any order, and with too little of everything
 *   calls.c     one call each: nets, engines, inferences, and what they compute compared
 *   blocks.c    the caller's memory: tensors and parameters between pages that nobody may touch
 *   heap.c      the net's memory: every allocation poisoned, guarded, counted, and made to fail on demand
 *   workers.c   the net's threads, mutexes and conditions: counted, and made to fail on demand
 *   process.c   what belongs to the whole program: signals, files, environment, floating-point modes
 *   taps.c      the net's own tensors, where the emitted code shows them
 *   arena.c     the memory between them: what a layer writes that is not its own, or reads that nobody wrote
 *   report.c    what the tester gets to read, also when the net crashes in the middle
 *
 * Nothing here knows a particular net: the tester generates a small unit around the emitted source that defines `nn512_driver_net`.
 */
#ifndef NN512_DRIVER_H
#define NN512_DRIVER_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct driver_argument {
    const char *name; /* of the parameter of the inference function */
    size_t elements;
    int is_input;
};

/* A tensor in the net's memory, complete when the layer (counted from 0) has ended that writes it. */
struct driver_tap {
    int layer;
    size_t offset, elements;
};

/* What stands in the net's memory while a layer (counted from 0) is computed: `is_kept` was there before, `is_written` is
 * the layer's to write. Everything else is nothing to it.
 */
struct driver_region {
    const char *name;
    int layer, is_kept, is_written;
    size_t offset, elements;
};

/* One net behind types that do not depend on its prefix; same order of parameters as in its header. */
struct driver_net {
    const char *prefix;
    size_t parameter_bytes; /* as the graph says */
    size_t struct_bytes;    /* as the header says */
    size_t argument_count;
    const struct driver_argument *arguments;
    size_t tap_count;
    const struct driver_tap *taps; /* in the order of their layers */
    size_t region_count;
    const struct driver_region *regions; /* in the order of their layers */
    size_t arena_elements; /* behind them in its memory, threads have their own */
    char *(*net_create)(void **net, void *params, ptrdiff_t threads);
    void (*net_destroy)(void *net);
    char *(*engine_create)(void **engine, void *net, ptrdiff_t threads);
    char *(*engine_pthread)(void *engine, ptrdiff_t index, pthread_t *to);
    void (*inference)(void *engine, float *const *data);
    char *(*run)(void *engine, float *const *data); /* an inference by EngineRun; NULL where there is none */
    void (*engine_destroy)(void *engine);
};

extern const struct driver_net nn512_driver_net;

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#elif __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#elif __has_feature(memory_sanitizer)
#define WITH_MSAN 1
#endif
#endif

/* --- the job, as the tester writes it -------------------------------------------------------------------------- */

enum {
    CHECK_API = 1,
    CHECK_SHARING = 2,
    CHECK_FAILURES = 4,
    CATCH_SIGNALS = 8,
    CHECK_PROMISES = 16,
    CHECK_PROCESS = 32,
    CHECK_ENDURANCE = 128,
    PORTABLE = 64 /* intrinsics in C, which trap where an instruction would demand alignment */
};

struct job {
    uint64_t magic, flags, heap_bytes, address_space, cpu_seconds, file_bytes, data_sets, configurations, parameter_bytes,
        input_bytes; /* of one data set */
};

struct configuration {
    uint64_t threads, placement, repeats;
};

/* NaNs that say where they come from when they turn up in an output. Quiet, so that arithmetic keeps the payload. */
#define POISON_OUTPUT 0x7fedbee5u /* an output nobody wrote */
#define POISON_HEAP 0x7fe5c8a7u   /* memory of the net nobody initialized */
#define POISON_SLACK 0x7fe0b0b1u  /* beside a tensor or the parameters */
#define HUGE_HEAP 0x7e967699u     /* 1e38: what max() and comparisons do not drop as they drop NaN */
#define LOW_HEAP 0xfe967699u      /* -1e38: the same of min() */

/* blocks.c */

enum placement { AT_END, AT_BEGIN, UNALIGNED }; /* against the page after, against the page before, 4 bytes past a cache line */

struct block {
    const char *name;
    char *map, *low, *high; /* the mapping begins; what is accessible begins and ends */
    char *base;             /* what the net is given */
    size_t map_bytes, bytes;
    int is_input, retired; /* retired: the net may no longer touch it */
};

struct block *block_new(const char *name, size_t bytes, enum placement placement, int is_input);
void block_write(struct block *block, int writable);      /* open for the driver and the net, or for reading only */
void block_poison(struct block *block, uint32_t pattern); /* what the net is given; the slack gets its own pattern */
void block_check_slack(struct block *block);
void block_retire(struct block *block); /* from now on every access is a fault */
void block_delete(struct block *block);
size_t describe_address(const char *address, int is_write, char *text, size_t limit, const char **kind);

/* heap.c */

struct heap_state {
    size_t live_count, live_bytes;
};
struct heap_state heap_now(void);
void heap_limit(size_t bytes);
void heap_aside(int aside); /* from now on this thread allocates for the C library, which is nobody's business */
void heap_pattern(uint32_t pattern);
void heap_place(enum placement placement); /* AT_BEGIN: allocations lie against the page before them, else against the page after */
size_t heap_serial(void);                  /* of the last allocation */
void heap_freeze(size_t first, size_t last, int frozen); /* allocations of these numbers can be read only, or written again */
size_t heap_bytes_of(const void *pointer); /* of a live allocation, 0 for anything else */
void heap_fail_at(size_t nth); /* 1: the next allocation; 0: never */
int heap_failed(void);         /* whether that allocation was asked for */
void heap_check_leak(struct heap_state before, const char *after);
size_t heap_describe(const char *address, char *text, size_t limit, const char **kind);
void *real_malloc(size_t bytes);
void real_free(void *pointer);

/* workers.c */

void workers_fail_at(size_t nth);
int workers_failed(void);
int workers_check_ended(const char *after); /* 0 when a thread is still there */
void workers_keep_signals(void);            /* from now on they must leave the program's signals to it */
void workers_trouble(int on);               /* whoever waits wakes at times without a reason, or waits late */
void pause_for(long microseconds);

struct workers_state {
    long mutexes, conditions;
};
struct workers_state workers_now(void);
void workers_check_leak(struct workers_state before, const char *after);
int workers_start(pthread_t *thread, void *(*routine)(void *), void *argument);
int workers_wait(pthread_t thread);

/* calls.c */

const struct job *job(void);
const struct configuration *configuration(size_t number);
extern void *const untouched; /* stands where a result will */

void job_open(void);
void job_begin(void);

/* Memory, mutexes and conditions of the net that are held. */
struct held {
    struct heap_state heap;
    struct workers_state workers;
};
struct held held_now(void);
void held_check(struct held before, const char *after);
void held_check_growth(struct held before, const char *during);

struct block *parameters_new(enum placement placement);
void *net_new(size_t threads, struct block *block);
void *engine_new(void *net, size_t threads);
void check_pthreads(void *engine, size_t threads);
void forget_message(char *message);

struct block **tensors_new(enum placement placement);
void tensors_delete(struct block **tensors);
void tensors_fill(struct block *const *tensors, size_t data_set);
uint64_t infer(void *engine, struct block *const *tensors);
void run_by_name(void *engine, struct block *const *tensors);
void tensors_keep(struct block *const *tensors, size_t data_set); /* as what is expected, and as results */
void check_tensors(struct block *const *tensors, size_t data_set, const char *kind, const char *what);

/* scenarios.c */

void run_sharing(void);
void run_failures(void);
void run_promises(void);
void run_endurance(void);

/* process.c */

unsigned mode_get(void); /* the floating-point mode of the calling thread */
void mode_set(unsigned mode);
unsigned mode_unusual(void); /* another one than that */
void process_remember(void);
void process_check(const char *after);

/* taps.c: between begin and end is one inference of the calling thread */

void taps_mode(unsigned before); /* the floating-point mode that every layer has to leave as it is */
void taps_begin(size_t data_set); /* its tensors are shown to the tester */
void taps_watch(uint32_t pattern); /* its layers are held to their regions, and what holds nothing gets the pattern */
void taps_end(void);

/* arena.c */

void arena_begin(float *memory, int layer, uint32_t pattern);
void arena_end(void); /* the layer has ended */

/* report.c */

void report_open(int descriptor, int signals, int portable);
void report_phase(const char *call, size_t config, size_t threads, size_t placement, size_t data_set, size_t repeat);
void report_output(size_t data_set, size_t argument, const float *data, size_t elements);
void report_tap(size_t data_set, size_t tap, const float *data, size_t elements);
void report_layer(int layer); /* the one under way, counted from 1; 0 for none */
void report_time(size_t data_set, uint64_t nanoseconds);
void report_done(void);
void report_violation(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same about elements of a tensor: a bit of `marks` for each says which. */
void report_marked(const char *kind, size_t argument, const unsigned char *marks, size_t elements, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void report_fatal(const char *kind, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

#endif
