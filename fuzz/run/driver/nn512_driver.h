/* The driver: a stand-alone program that runs one net through everything a caller may do and watches what it does.
 *
 *   driver.c    the plan: which nets and engines are created, which inferences run, what is compared
 *   blocks.c    the caller's memory: tensors and parameters between pages that nobody may touch
 *   heap.c      the net's memory: every allocation poisoned, guarded, counted, and made to fail on demand
 *   workers.c   the net's threads: counted, and made to fail on demand
 *   taps.c      the net's own tensors, where the emitted code shows them
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

/* One net behind types that do not depend on its prefix; same order of parameters as in its header. */
struct driver_net {
    const char *prefix;
    size_t parameter_bytes; /* as the graph says */
    size_t struct_bytes;    /* as the header says */
    size_t argument_count;
    const struct driver_argument *arguments;
    size_t tap_count;
    const struct driver_tap *taps; /* in the order of their layers */
    char *(*net_create)(void **net, void *params, ptrdiff_t threads);
    void (*net_destroy)(void *net);
    char *(*engine_create)(void **engine, void *net, ptrdiff_t threads);
    char *(*engine_pthread)(void *engine, ptrdiff_t index, pthread_t *to);
    void (*inference)(void *engine, float *const *data);
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

/* NaNs that say where they come from when they turn up in an output. Quiet, so that arithmetic keeps the payload. */
#define POISON_OUTPUT 0x7fedbee5u /* an output nobody wrote */
#define POISON_HEAP 0x7fe5c8a7u   /* memory of the net nobody initialized */
#define POISON_SLACK 0x7fe0b0b1u  /* beside a tensor or the parameters */
#define HUGE_HEAP 0x7e967699u     /* 1e38: what max() and comparisons do not drop as they drop NaN */

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
void heap_pattern(uint32_t pattern);
void heap_fail_at(size_t nth); /* 1: the next allocation; 0: never */
int heap_failed(void);         /* whether that allocation was asked for */
void heap_check_leak(struct heap_state before, const char *after);
size_t heap_describe(const char *address, char *text, size_t limit);
void *real_malloc(size_t bytes);
void real_free(void *pointer);

/* workers.c */

void workers_fail_at(size_t nth);
int workers_failed(void);
int workers_check_ended(const char *after); /* 0 when a thread is still there */
int workers_start(pthread_t *thread, void *(*routine)(void *), void *argument);
int workers_wait(pthread_t thread);

/* taps.c */

void taps_begin(size_t data_set); /* the inference that follows is shown to the tester */
void taps_end(void);

/* report.c */

void report_open(int descriptor, int signals);
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
