/* The net's memory. The linker sends every malloc, posix_memalign, free ... of the net here (--wrap).
 *
 * An allocation gets a mapping of its own that ends, or begins, at a page that faults, is filled with a pattern, and is
 * checked on release; released addresses stay unusable for a while. Under a sanitizer, and when there are very many allocations,
 * the C library's allocator serves instead, and allocations are still poisoned and counted.
 */
#define _GNU_SOURCE
#include "nn512_driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(WITH_MSAN)
#include <sanitizer/msan_interface.h>
#define UNINITIALIZED(from, bytes) __msan_poison(from, bytes) /* whatever is in it */
#else
#define UNINITIALIZED(from, bytes) ((void)(from), (void)(bytes))
#endif

#if defined(WITH_ASAN) || defined(WITH_TSAN) || defined(WITH_MSAN)
#define GUARDED 0
#else
#define GUARDED 1
#endif

enum { PAGE = 4096, GUARD = 16 * PAGE, BUCKETS = 1024, MAX_GUARDED = 2000, QUARANTINE = 64 };

struct allocation {
    struct allocation *next;
    char *pointer;
    char *map, *low, *high; /* NULL where the C library allocated */
    size_t bytes, map_bytes, serial;
    uint32_t pattern;
    int is_frozen;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct allocation *buckets[BUCKETS];
static struct allocation *released[QUARANTINE];
static size_t release_slot, serial, live_guarded, fail_countdown;
static struct heap_state now;
static size_t limit_bytes = SIZE_MAX;
static uint32_t fill_pattern = POISON_HEAP;
static int failed, at_begin;
static _Thread_local int is_aside;

void *__real_malloc(size_t);
void *__real_aligned_alloc(size_t, size_t);
void __real_free(void *);

void *real_malloc(size_t bytes) {
    void *pointer = __real_malloc(bytes ? bytes : 1);
    if (!pointer) report_fatal("driver", "no memory: %zu bytes", bytes);
    return pointer;
}

void real_free(void *pointer) {
    __real_free(pointer);
}

struct heap_state heap_now(void) {
    pthread_mutex_lock(&lock);
    const struct heap_state state = now;
    pthread_mutex_unlock(&lock);
    return state;
}

void heap_limit(size_t bytes) {
    limit_bytes = bytes;
}

void heap_aside(int aside) {
    is_aside = aside;
}

void heap_pattern(uint32_t pattern) {
    fill_pattern = pattern;
}

void heap_place(enum placement placement) {
    at_begin = placement == AT_BEGIN;
}

size_t heap_serial(void) {
    pthread_mutex_lock(&lock);
    const size_t last = serial;
    pthread_mutex_unlock(&lock);
    return last;
}

void heap_freeze(size_t first, size_t last, int frozen) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct allocation *one = buckets[i]; one; one = one->next) {
            if (!one->map || one->serial < first || one->serial > last || one->is_frozen == frozen) continue;
            one->is_frozen = frozen;
            mprotect(one->low, (size_t)(one->high - one->low), frozen ? PROT_READ : PROT_READ | PROT_WRITE);
        }
    pthread_mutex_unlock(&lock);
}

void heap_fail_at(size_t nth) {
    pthread_mutex_lock(&lock);
    fail_countdown = nth;
    failed = 0;
    pthread_mutex_unlock(&lock);
}

int heap_failed(void) {
    return failed;
}

void heap_check_leak(struct heap_state before, const char *after) {
    const struct heap_state state = heap_now();
    if (state.live_count > before.live_count)
        report_violation("leak", "%s leaves %zu allocations, %zu bytes", after, state.live_count - before.live_count,
                         state.live_bytes - before.live_bytes);
}

static size_t bucket_of(const void *pointer) {
    return ((uintptr_t)pointer >> 4 ^ (uintptr_t)pointer >> 14) % BUCKETS;
}

static void fill(void *from, size_t bytes, uint32_t pattern) {
    uint32_t *words = from;
    for (size_t i = 0; i < bytes / sizeof *words; i++) words[i] = pattern;
    memcpy(words + bytes / sizeof *words, &pattern, bytes % sizeof *words);
}

static int map_guarded(struct allocation *made, size_t bytes, size_t alignment) {
    const size_t step = alignment > PAGE ? alignment : PAGE;
    const size_t unit = alignment < PAGE ? alignment : PAGE;
    const size_t rounded = (bytes + unit - 1) / unit * unit;
    const size_t accessible = (rounded + PAGE - 1) / PAGE * PAGE;
    made->map_bytes = accessible + 2 * GUARD + (step - PAGE);
    made->map = mmap(NULL, made->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made->map == MAP_FAILED) return 0;
    made->low = (char *)(((uintptr_t)made->map + GUARD + step - 1) / step * step);
    made->high = made->low + accessible;
    if (mprotect(made->low, accessible, PROT_READ | PROT_WRITE)) {
        munmap(made->map, made->map_bytes);
        return 0;
    }
    made->pointer = at_begin ? made->low : made->high - rounded;
    fill(made->low, accessible, made->pattern);
    return 1;
}

static void *from_library(size_t bytes, size_t alignment) {
    return alignment > 16 ? __real_aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment) : __real_malloc(bytes);
}

static void *allocate(size_t bytes, size_t alignment) {
    if (is_aside) return from_library(bytes, alignment);
    pthread_mutex_lock(&lock);
    if (fail_countdown && !--fail_countdown) {
        failed = 1;
        pthread_mutex_unlock(&lock);
        return NULL;
    }
    if (bytes > limit_bytes || now.live_bytes > limit_bytes - bytes) {
        const size_t live = now.live_bytes;
        pthread_mutex_unlock(&lock);
        report_violation("runaway-allocation", "asks for %zu bytes and holds %zu; the limit is %zu", bytes, live, limit_bytes);
        return NULL;
    }
    struct allocation *made = real_malloc(sizeof *made);
    memset(made, 0, sizeof *made);
    made->pattern = fill_pattern;
    made->bytes = bytes;
    made->serial = ++serial;
    if (GUARDED && live_guarded < MAX_GUARDED && map_guarded(made, bytes, alignment)) {
        live_guarded++;
    } else {
        made->map = NULL;
        made->pointer = from_library(bytes, alignment);
        if (!made->pointer) {
            pthread_mutex_unlock(&lock);
            __real_free(made);
            return NULL;
        }
        fill(made->pointer, bytes, made->pattern);
        UNINITIALIZED(made->pointer, bytes);
    }
    struct allocation **const bucket = &buckets[bucket_of(made->pointer)];
    made->next = *bucket;
    *bucket = made;
    now.live_count++;
    now.live_bytes += bytes;
    pthread_mutex_unlock(&lock);
    return made->pointer;
}

/* The pattern beside an allocation must still be there. */
static void check_slack(const struct allocation *old) {
    unsigned char pattern[4];
    memcpy(pattern, &old->pattern, sizeof pattern);
    for (const char *at = old->pointer + old->bytes; at < old->high; at++)
        if ((unsigned char)*at != pattern[(size_t)(at - old->low) % 4]) {
            report_violation("heap", "allocation %zu of %zu bytes was written %zu bytes past its end", old->serial, old->bytes,
                             (size_t)(at - old->pointer) - old->bytes);
            break;
        }
    for (const char *at = old->pointer; at-- > old->low;)
        if ((unsigned char)*at != pattern[(size_t)(at - old->low) % 4]) {
            report_violation("heap", "allocation %zu of %zu bytes was written %zu bytes before its beginning", old->serial,
                             old->bytes, (size_t)(old->pointer - at));
            break;
        }
}

/* Released mappings lose their memory at once and their addresses when QUARANTINE more have been released. */
static void quarantine(struct allocation *old) {
    mmap(old->map, old->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    struct allocation **const slot = &released[release_slot++ % QUARANTINE];
    if (*slot) {
        munmap((*slot)->map, (*slot)->map_bytes);
        __real_free(*slot);
    }
    *slot = old;
}

static void release(void *pointer) {
    if (!pointer) return;
    pthread_mutex_lock(&lock);
    struct allocation **link = &buckets[bucket_of(pointer)];
    while (*link && (*link)->pointer != pointer) link = &(*link)->next;
    struct allocation *const old = *link;
    if (old) {
        *link = old->next;
        now.live_count--;
        now.live_bytes -= old->bytes;
        if (old->map) {
            live_guarded--;
            check_slack(old);
            quarantine(old);
            pointer = NULL;
        } else {
            __real_free(old);
        }
    } else {
        for (size_t i = 0; i < QUARANTINE; i++)
            if (released[i] && released[i]->pointer == pointer)
                report_fatal("heap", "allocation %zu of %zu bytes is freed twice", released[i]->serial, released[i]->bytes);
    }
    pthread_mutex_unlock(&lock);
    __real_free(pointer); /* what the C library allocated, a message of strdup for example */
}

static struct allocation *find_live(const void *pointer) {
    pthread_mutex_lock(&lock);
    struct allocation *found = buckets[bucket_of(pointer)];
    while (found && found->pointer != pointer) found = found->next;
    pthread_mutex_unlock(&lock);
    return found;
}

size_t heap_bytes_of(const void *pointer) {
    const struct allocation *const found = find_live(pointer);
    return found ? found->bytes : 0;
}

void *__wrap_malloc(size_t bytes) {
    return allocate(bytes, 16);
}

void *__wrap_calloc(size_t count, size_t bytes) {
    if (bytes && count > SIZE_MAX / bytes) return NULL;
    void *pointer = allocate(count * bytes, 16);
    return pointer ? memset(pointer, 0, count * bytes) : NULL;
}

void *__wrap_realloc(void *old, size_t bytes) {
    const struct allocation *const before = old ? find_live(old) : NULL;
    void *pointer = allocate(bytes, 16);
    if (!pointer) return NULL;
    if (before) memcpy(pointer, old, before->bytes < bytes ? before->bytes : bytes);
    if (old && !before) report_fatal("heap", "realloc of a pointer that malloc did not return");
    release(old);
    return pointer;
}

static int bad_alignment(size_t alignment) {
    return alignment == 0 || (alignment & (alignment - 1)) || alignment > (size_t)1 << 30;
}

int __wrap_posix_memalign(void **to, size_t alignment, size_t bytes) {
    if (bad_alignment(alignment) || alignment % sizeof(void *)) return EINVAL;
    void *pointer = allocate(bytes, alignment);
    if (!pointer) return ENOMEM;
    *to = pointer;
    return 0;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    return bad_alignment(alignment) ? NULL : allocate(bytes, alignment);
}

void *__wrap_memalign(size_t alignment, size_t bytes) {
    return __wrap_aligned_alloc(alignment, bytes);
}

void __wrap_free(void *pointer) {
    release(pointer);
}

static size_t describe(const struct allocation *one, const char *address, const char *what, char *text, size_t limit) {
    return (size_t)snprintf(text, limit, "byte %td of %s, number %zu, %zu bytes", address - one->pointer, what, one->serial,
                            one->bytes);
}

/* Called after a fault, so without the lock: the faulting thread may hold it. */
size_t heap_describe(const char *address, char *text, size_t limit, const char **kind) {
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct allocation *one = buckets[i]; one; one = one->next)
            if (one->map && address >= one->map && address < one->map + one->map_bytes) {
                const int inside = address >= one->low && address < one->high;
                if (one->is_frozen && inside) *kind = "net-modified";
                return describe(one, address, "an allocation of the net", text, limit);
            }
    for (size_t i = 0; i < QUARANTINE; i++)
        if (released[i] && address >= released[i]->map && address < released[i]->map + released[i]->map_bytes)
            return describe(released[i], address, "an allocation the net has freed", text, limit);
    return 0;
}
