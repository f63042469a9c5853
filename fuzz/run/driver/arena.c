/* The net's memory while a layer is computed, where it was emitted by us and built with NN512_TAP.
 *
 * Before a layer everything that holds nothing for it is overwritten with a pattern: what it reads of that turns up in its
 * results. When it has ended, everything that is not its own to write must be as it was.
 */
#include "nn512_driver.h"

#include <string.h>

enum { MAX_BYTES = 64 << 20 };

/* Of the calling thread, as engines run beside each other. */
static __thread float *memory;
static __thread uint32_t *copy;
static __thread size_t elements;
static __thread int under_way;

static size_t end_of(const struct driver_region *region) {
    const size_t end = region->offset + region->elements;
    return end < elements ? end : elements;
}

#define REGIONS(region)                                                                                                            \
    for (const struct driver_region *region = nn512_driver_net.regions; region < nn512_driver_net.regions + nn512_driver_net.region_count; \
         region++)                                                                                                                 \
        if (region->layer == under_way)

void arena_begin(float *arena, int layer, uint32_t pattern) {
#if defined(WITH_MSAN)
    return; /* it sees itself what nobody has written, unless a pattern is written there */
#endif
    const size_t bytes = heap_bytes_of(arena);
    if (bytes == 0 || bytes > MAX_BYTES) return; /* no allocation of its own, or one that takes too long */
    memory = arena;
    elements = bytes / sizeof(float);
    under_way = layer;
    copy = real_malloc(elements * sizeof *copy);
    for (size_t i = 0; i < elements; i++) copy[i] = pattern;
    REGIONS(region) {
        if (region->is_kept && region->offset < elements)
            memcpy(copy + region->offset, memory + region->offset, (end_of(region) - region->offset) * sizeof *copy);
    }
    memcpy(memory, copy, elements * sizeof *copy);
}

static const char *name_at(size_t element) {
    const char *name = NULL;
    REGIONS(region) {
        if (region->is_kept && element >= region->offset && element < end_of(region)) name = region->name;
    }
    return name;
}

void arena_end(void) {
    if (!copy) return;
    REGIONS(region) {
        if (region->is_written && region->offset < elements)
            memcpy(copy + region->offset, memory + region->offset, (end_of(region) - region->offset) * sizeof *copy);
    }
    const uint32_t *const words = (const uint32_t *)memory;
    const size_t end = elements < nn512_driver_net.arena_elements ? elements : nn512_driver_net.arena_elements;
    if (memcmp(words, copy, end * sizeof *copy)) {
        size_t count = 0, first = end;
        for (size_t i = end; i-- > 0;)
            if (words[i] != copy[i]) first = i, count++;
        const char *const name = name_at(first);
        report_violation("arena", "layer %d writes %zu floats of the engine's memory that are not its own, the first is float %zu, where %s%s",
                         under_way + 1, count, first, name ? "there is " : "there is nothing", name ? name : "");
    }
    real_free(copy);
    copy = NULL;
}
