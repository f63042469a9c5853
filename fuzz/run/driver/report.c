/* Results go to a file in records, each complete before the next begins; the first page says what is running right now. */
#define _GNU_SOURCE
#include "nn512_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096, RECORD_OUTPUT = 1, RECORD_VIOLATION, RECORD_TIME, RECORD_DONE, RECORD_MARKS, RECORD_TAP, MAX_PER_KIND = 3, MAX_KINDS = 32 };

/* The tester reads these from the first page of the file. */
struct progress {
    uint64_t magic, steps;
    uint32_t config, threads, placement, data_set, repeat, layer;
    char call[64];
    int64_t end; /* of the records: a child of fork() writes some, too */
};

struct record {
    uint32_t type, data_set, argument, reserved;
    uint64_t bytes; /* of what follows */
};

static int file = -1, intrinsics_trap;
static pid_t tester; /* has the file, too, under the same number */
static struct progress *progress;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const char *kind;
    unsigned count;
} kinds[MAX_KINDS];

/* A net that closes descriptors has closed the file, too: it is opened anew, so that this can be reported. */
static int reopen(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)tester, file);
    const int found = open(path, O_RDWR);
    if (found < 0 || found == file) return found == file;
    const int done = dup2(found, file) == file;
    close(found);
    return done;
}

static void put(const void *data, size_t bytes) {
    const char *from = data;
    while (bytes) {
        const ssize_t wrote = pwrite(file, from, bytes, progress->end);
        if (wrote < 0 && errno == EBADF) {
            if (!reopen()) _exit(99);
            continue;
        }
        if (wrote <= 0) _exit(98);
        from += wrote, progress->end += wrote, bytes -= (size_t)wrote;
    }
}

static void put_record(uint32_t type, size_t data_set, size_t argument, const void *data, size_t bytes) {
    const struct record record = {type, (uint32_t)data_set, (uint32_t)argument, 0, bytes};
    put(&record, sizeof record);
    put(data, bytes);
}

void report_phase(const char *call, size_t config, size_t threads, size_t placement, size_t data_set, size_t repeat) {
    progress->config = (uint32_t)config;
    progress->threads = (uint32_t)threads;
    progress->placement = (uint32_t)placement;
    progress->data_set = (uint32_t)data_set;
    progress->repeat = (uint32_t)repeat;
    report_layer(0);
    strncpy(progress->call, call, sizeof progress->call - 1);
    progress->steps++;
}

void report_output(size_t data_set, size_t argument, const float *data, size_t elements) {
    put_record(RECORD_OUTPUT, data_set, argument, data, elements * sizeof(float));
}

void report_tap(size_t data_set, size_t tap, const float *data, size_t elements) {
    put_record(RECORD_TAP, data_set, tap, data, elements * sizeof(float));
}

void report_layer(int layer) {
    __atomic_store_n(&progress->layer, (uint32_t)layer, __ATOMIC_RELAXED); /* engines run beside each other */
}

void report_time(size_t data_set, uint64_t nanoseconds) {
    put_record(RECORD_TIME, data_set, 0, &nanoseconds, sizeof nanoseconds);
}

void report_done(void) {
    put_record(RECORD_DONE, 0, 0, "", 0);
}

/* The first few of each kind are written: one wrong line in a kernel makes as many violations as there are inferences. */
static int worth_writing(const char *kind) {
    for (size_t i = 0; i < MAX_KINDS; i++) {
        if (!kinds[i].kind) kinds[i].kind = kind;
        if (!strcmp(kinds[i].kind, kind)) return kinds[i].count++ < MAX_PER_KIND;
    }
    return 0;
}

static void violation(const char *kind, const char *format, va_list values) {
    static const char *const places[] = {"at the end", "at the beginning", "unaligned"};
    char text[1024];
    const size_t kind_bytes = strlen(kind) + 1;
    memcpy(text, kind, kind_bytes);
    size_t bytes = kind_bytes + (size_t)vsnprintf(text + kind_bytes, 700, format, values);
    if (bytes > kind_bytes + 699) bytes = kind_bytes + 699;
    bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "  [%s; threads %u, run %u of data set %u, buffers %s of their pages]",
                              progress->call, progress->threads, progress->repeat, progress->data_set,
                              places[progress->placement % 3]);
    put_record(RECORD_VIOLATION, progress->data_set, __atomic_load_n(&progress->layer, __ATOMIC_RELAXED), text, bytes);
}

void report_violation(const char *kind, const char *format, ...) {
    va_list values;
    va_start(values, format);
    pthread_mutex_lock(&lock);
    if (worth_writing(kind)) violation(kind, format, values);
    pthread_mutex_unlock(&lock);
    va_end(values);
}

void report_marked(const char *kind, size_t argument, const unsigned char *marks, size_t elements, const char *format, ...) {
    va_list values;
    va_start(values, format);
    pthread_mutex_lock(&lock);
    if (worth_writing(kind)) {
        violation(kind, format, values);
        put_record(RECORD_MARKS, progress->data_set, argument, marks, (elements + 7) / 8);
    }
    pthread_mutex_unlock(&lock);
    va_end(values);
}

void report_fatal(const char *kind, const char *format, ...) {
    va_list values;
    va_start(values, format);
    pthread_mutex_lock(&lock);
    violation(kind, format, values);
    _exit(97);
}

static void say(const char *kind, const char *format, ...) {
    va_list values;
    va_start(values, format);
    violation(kind, format, values);
    va_end(values);
}

/* Whether an access near the stack pointer faults: what is there can only be the end of the stack. */
static int is_stack_used_up(const void *address, const void *context) {
#if defined(__x86_64__) && defined(REG_RSP)
    const uintptr_t top = (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    const uintptr_t top = (uintptr_t)((const ucontext_t *)context)->uc_mcontext.sp;
#else
    const uintptr_t top = 0;
    (void)context;
#endif
    const uintptr_t near = 64 << 10, at = (uintptr_t)address;
    return top > near && at > top - near && at < top + near;
}

/* snprintf is not on the list of what a handler may call, yet glibc's takes no lock and allocates nothing for these formats. */
static void on_signal(int number, siginfo_t *info, void *context) {
    static volatile sig_atomic_t entered;
    static const char *const names[] = {[SIGSEGV] = "SIGSEGV", [SIGBUS] = "SIGBUS", [SIGILL] = "SIGILL",
                                        [SIGFPE] = "SIGFPE",   [SIGABRT] = "SIGABRT", [SIGXCPU] = "SIGXCPU"};
    char text[512];
    const char *kind = "crash";
    int is_write = 0;
    if (entered++) _exit(96);
#if defined(__x86_64__) && defined(REG_ERR)
    is_write = number == SIGSEGV && (((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2);
#endif
    if (number == SIGXCPU)
        say("hang", "used up its processor time");
    else if (number == SIGSEGV && info->si_code == SI_KERNEL)
        say("crash", "SIGSEGV without an address: an instruction that demands alignment, or a wild pointer");
    else if ((number == SIGSEGV || number == SIGBUS) &&
             describe_address(info->si_addr, is_write, text, sizeof text, &kind))
        say(kind, "%s: %s", names[number], text);
    else if (number == SIGSEGV && is_stack_used_up(info->si_addr, context))
        say("crash", "SIGSEGV: the stack is used up: %s at %p", is_write ? "write" : "access", info->si_addr);
    else if (number == SIGSEGV || number == SIGBUS)
        say("crash", "%s: %s at %p", names[number], is_write ? "write" : "access", info->si_addr);
    else if (number == SIGILL && intrinsics_trap)
        say("crash", "SIGILL: an intrinsic that demands alignment, or a trap in the code");
    else
        say("crash", "%s", names[number]);
    signal(number, SIG_DFL);
    raise(number);
    _exit(95);
}

void report_open(int descriptor, int signals, int portable) {
    static const int caught[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGXCPU};
    file = descriptor, intrinsics_trap = portable;
    tester = getppid();
    if (ftruncate(file, PAGE)) _exit(94);
    progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (progress == MAP_FAILED) _exit(93);
    progress->magic = 0x3231354e4e4e4f43u;
    progress->end = PAGE;
    report_phase("start", 0, 0, 0, 0, 0);
    if (!signals) return;
    static char stack[64 << 10]; /* a handler of its own stack reports a stack overflow of the main thread, too */
    const stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&other, NULL);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) sigaction(caught[i], &action, NULL);
}
