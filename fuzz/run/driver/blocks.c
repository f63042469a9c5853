/* Caller memory. Every tensor and the parameter block lies in a mapping of its own, between stretches that fault. */
#define _GNU_SOURCE
#include "nn512_driver.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#if defined(WITH_ASAN)
#include <sanitizer/asan_interface.h>
#define SLACK_CLOSE(from, to) __asan_poison_memory_region(from, (size_t)((to) - (from)))
#define SLACK_OPEN(from, to) __asan_unpoison_memory_region(from, (size_t)((to) - (from)))
#else
#define SLACK_CLOSE(from, to) ((void)(from), (void)(to))
#define SLACK_OPEN(from, to) ((void)(from), (void)(to))
#endif

enum { PAGE = 4096, GUARD = 64 * PAGE, LINE = 64, MAX_BLOCKS = 16384 }; /* three for each of the 5000 arguments that the tester allows */

static struct block blocks[MAX_BLOCKS];

static size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

struct block *block_new(const char *name, size_t bytes, enum placement placement, int is_input) {
    struct block *block = blocks;
    while (block < blocks + MAX_BLOCKS && block->map) block++;
    if (block == blocks + MAX_BLOCKS) report_fatal("driver", "too many blocks");
    const size_t accessible = round_up(bytes + (placement == UNALIGNED ? 2 * LINE : 1), PAGE);
    block->name = name;
    block->bytes = bytes;
    block->is_input = is_input;
    block->retired = 0;
    block->map_bytes = accessible + 2 * GUARD;
    block->map = mmap(NULL, block->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block->map == MAP_FAILED) report_fatal("driver", "no memory for %s, %zu bytes", name, bytes);
    block->low = block->map + GUARD;
    block->high = block->low + accessible;
    block_write(block, 1);
    switch (placement) {
    case AT_END:
        block->base = block->high - bytes;
        break;
    case AT_BEGIN:
        block->base = block->low;
        break;
    case UNALIGNED: /* as near to the end as an address of the form 64 n + 4 can be */
        block->base = (char *)(((uintptr_t)block->high - bytes) / LINE * LINE - LINE + sizeof(float));
        break;
    }
    for (uint32_t *word = (uint32_t *)block->low; word < (uint32_t *)block->base; word++) *word = POISON_SLACK;
    for (uint32_t *word = (uint32_t *)(block->base + bytes); word < (uint32_t *)block->high; word++) *word = POISON_SLACK;
    SLACK_CLOSE(block->low, block->base);
    SLACK_CLOSE(block->base + bytes, block->high);
    return block;
}

void block_write(struct block *block, int writable) {
    const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    if (mprotect(block->low, (size_t)(block->high - block->low), protection)) report_fatal("driver", "mprotect failed");
}

void block_poison(struct block *block, uint32_t pattern) {
    uint32_t *words = (uint32_t *)block->base;
    for (size_t i = 0; i < block->bytes / sizeof *words; i++) words[i] = pattern;
}

void block_check_slack(struct block *block) {
    char *const end = block->base + block->bytes;
    SLACK_OPEN(block->low, block->base);
    SLACK_OPEN(end, block->high);
    for (uint32_t *word = (uint32_t *)end; word < (uint32_t *)block->high; word++)
        if (*word != POISON_SLACK) {
            report_violation("out-of-bounds", "%s was written past its end: %zu bytes after byte %zu", block->name,
                             (size_t)((char *)word - end), block->bytes);
            *word = POISON_SLACK;
        }
    for (uint32_t *word = (uint32_t *)block->base; word-- > (uint32_t *)block->low;)
        if (*word != POISON_SLACK) {
            report_violation("out-of-bounds", "%s was written before its beginning: %zu bytes", block->name,
                             (size_t)(block->base - (char *)word));
            *word = POISON_SLACK;
        }
    SLACK_CLOSE(block->low, block->base);
    SLACK_CLOSE(end, block->high);
}

void block_retire(struct block *block) {
    block->retired = 1;
    SLACK_OPEN(block->low, block->high);
    /* New pages over the old: the memory goes back, the addresses stay taken. */
    mmap(block->map, block->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void block_delete(struct block *block) {
    SLACK_OPEN(block->low, block->high);
    munmap(block->map, block->map_bytes);
    memset(block, 0, sizeof *block);
}

/* What lies at an address that faulted; 0 when it is nothing of ours. */
size_t describe_address(const char *address, int is_write, char *text, size_t limit, const char **kind) {
    const char *const access = is_write ? "write" : "read";
    for (const struct block *block = blocks; block < blocks + MAX_BLOCKS; block++) {
        if (!block->map || address < block->map || address >= block->map + block->map_bytes) continue;
        *kind = "out-of-bounds";
        if (block->retired) {
            *kind = "params-used-late";
            return (size_t)snprintf(text, limit, "%s of %s after the call that was given them", access, block->name);
        }
        if (address < block->base)
            return (size_t)snprintf(text, limit, "%s before the beginning of %s: %zu bytes", access, block->name,
                                    (size_t)(block->base - address));
        if (address >= block->base + block->bytes)
            return (size_t)snprintf(text, limit, "%s past the end of %s: %zu bytes after byte %zu", access, block->name,
                                    (size_t)(address - block->base) - block->bytes, block->bytes);
        *kind = block->is_input ? "input-modified" : "crash";
        return (size_t)snprintf(text, limit, "%s in %s, element %zu", access, block->name,
                                (size_t)(address - block->base) / sizeof(float));
    }
    *kind = "heap";
    return heap_describe(address, text, limit, kind);
}
