/* What the C programs of `nn512 bench` share: they pin themselves, and then do what lines on standard input say. */
#pragma once

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Report on standard output that the program cannot go on, for the one who started it. The message must need no escapes. */
static void refuse(const char *message) {
    printf("{\"error\": \"%s\"}\n", message);
    exit(0);
}

/* Numbers from a list such as 0,2,3; gives how many. */
static int parse_list(const char *text, int *to, int most) {
    int count = 0;
    while (*text && count < most) {
        char *end;
        to[count++] = (int)strtol(text, &end, 10);
        text = *end == ',' ? end + 1 : end;
    }
    return count;
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Do `work` `untimed` times, then time it `timed` times and print the times. */
static void run_burst(void (*work)(void), long untimed, long timed) {
    uint64_t *times = malloc(sizeof(uint64_t) * (size_t)(timed ? timed : 1));
    if (!times) refuse("out of memory");
    for (long i = 0; i < untimed; i += 1) work();
    for (long i = 0; i < timed; i += 1) {
        uint64_t start = nanoseconds();
        work();
        times[i] = nanoseconds() - start;
    }
    printf("{\"nanoseconds\": [");
    for (long i = 0; i < timed; i += 1) printf("%s%llu", i ? ", " : "", (unsigned long long)times[i]);
    printf("]}\n");
    free(times);
}

/* Obey lines until there are no more. `run U T` is a burst; whatever else there is goes to `other`. */
static void serve(void (*work)(void), void (*other)(const char *line)) {
    char line[4096];
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        long untimed, timed;
        if (sscanf(line, "run %ld %ld", &untimed, &timed) == 2) run_burst(work, untimed, timed);
        else if (other) other(line);
        fflush(stdout);
    }
}
