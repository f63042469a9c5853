/* What belongs to the whole program, and which a net must leave as it was: signals, files, environment, modes. */
#define _GNU_SOURCE
#include "nn512_driver.h"

#include <fcntl.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
enum { MODE_BITS = 0xffc0 }; /* without the six flags of exceptions that happened */
unsigned mode_get(void) {
    unsigned word = 0; /* the memory sanitizer does not see the instruction write it */
    __asm__ volatile("stmxcsr %0" : "=m"(word));
    return word & MODE_BITS;
}
void mode_set(unsigned word) {
    __asm__ volatile("ldmxcsr %0" : : "m"(word));
}
/* Rounding towards zero, with subnormal numbers taken for zeros. */
unsigned mode_unusual(void) {
    return mode_get() | 0xe040;
}
static unsigned x87_get(void) {
    unsigned short word = 0;
    __asm__ volatile("fnstcw %0" : "=m"(word));
    return word;
}
#else
#include <fenv.h>
unsigned mode_get(void) {
    return (unsigned)fegetround();
}
void mode_set(unsigned word) {
    fesetround((int)word);
}
unsigned mode_unusual(void) {
    return FE_TOWARDZERO;
}
static unsigned x87_get(void) {
    return 0;
}
#endif

enum { DESCRIPTORS = 64, SIGNALS = 65, MOMENTS = 100 };

struct file {
    int is_open, flags;
    dev_t device;
    ino_t inode;
};

static struct {
    sigset_t mask;
    struct sigaction handlers[SIGNALS];
    struct file files[DESCRIPTORS], directory;
    mode_t creation;
    size_t environment;
    char locale[256];
    cpu_set_t processors;
    unsigned x87;
} before;

static struct file file_of(const struct stat *status, int is_open, int flags) {
    return is_open ? (struct file){1, flags, status->st_dev, status->st_ino} : (struct file){0, 0, 0, 0};
}

static struct file open_file(int descriptor) {
    struct stat status;
    const int flags = fcntl(descriptor, F_GETFD);
    return file_of(&status, flags >= 0 && !fstat(descriptor, &status), flags);
}

static struct file directory(void) {
    struct stat status;
    return file_of(&status, !stat(".", &status), 0);
}

static int files_equal(struct file a, struct file b) {
    return a.is_open == b.is_open && a.flags == b.flags && a.device == b.device && a.inode == b.inode;
}

/* What a descriptor is when it stays so: the first thread that calls pthread_exit opens a library for a moment. */
static struct file settled_file(int descriptor, struct file was) {
    struct file now = open_file(descriptor);
    for (int moment = 0; moment < MOMENTS && !files_equal(now, was); moment++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        now = open_file(descriptor);
    }
    return now;
}

static mode_t creation_mask(void) {
    const mode_t mask = umask(0);
    umask(mask);
    return mask;
}

/* A hash of the texts: whoever changes one may do it in place. */
static size_t environment(void) {
    size_t sum = 1469598103934665603u;
    for (char *const *one = environ; one && *one; one++)
        for (const char *at = *one;; at++) {
            sum = (sum ^ (unsigned char)*at) * 1099511628211u;
            if (!*at) break;
        }
    return sum;
}

static const char *locale_name(void) {
    const char *const name = setlocale(LC_ALL, NULL);
    return name ? name : "";
}

void process_remember(void) {
    memset(&before, 0, sizeof before);
    pthread_sigmask(SIG_SETMASK, NULL, &before.mask);
    for (int number = 1; number < SIGNALS; number++) sigaction(number, NULL, &before.handlers[number]);
    for (int i = 0; i < DESCRIPTORS; i++) before.files[i] = open_file(i);
    before.directory = directory();
    before.creation = creation_mask();
    before.environment = environment();
    strncpy(before.locale, locale_name(), sizeof before.locale - 1);
    sched_getaffinity(0, sizeof before.processors, &before.processors);
    before.x87 = x87_get();
}

/* What has changed since is reported, and put back where that is easy: it shall be reported once. */
void process_check(const char *after) {
    static const char *const kind = "process";
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, &before.mask, &mask);
    for (int number = 1; number < SIGNALS; number++) {
        const int was = sigismember(&before.mask, number), is = sigismember(&mask, number);
        if (was == is) continue;
        report_violation(kind, "%s leaves signal %d %s", after, number, is ? "blocked" : "unblocked");
        break;
    }
    for (int number = 1; number < SIGNALS; number++) {
        struct sigaction now;
        if (sigaction(number, NULL, &now) || now.sa_handler == before.handlers[number].sa_handler) continue;
        report_violation(kind, "%s changes what is done about signal %d", after, number);
        sigaction(number, &before.handlers[number], NULL);
    }
    for (int i = 0; i < DESCRIPTORS; i++) {
        const struct file now = settled_file(i, before.files[i]);
        if (files_equal(now, before.files[i])) continue;
        const char *const how = !now.is_open ? "closes" : before.files[i].is_open ? "changes" : "leaves open";
        report_violation(kind, "%s %s file descriptor %d", after, how, i);
        before.files[i] = now;
    }
    if (!files_equal(directory(), before.directory)) {
        report_violation(kind, "%s changes the working directory", after);
        before.directory = directory();
    }
    if (creation_mask() != before.creation) {
        report_violation(kind, "%s changes umask from %#o to %#o", after, (unsigned)before.creation, (unsigned)creation_mask());
        umask(before.creation);
    }
    if (environment() != before.environment) {
        report_violation(kind, "%s changes the environment", after);
        before.environment = environment();
    }
    if (strncmp(locale_name(), before.locale, sizeof before.locale - 1)) {
        report_violation(kind, "%s changes the locale from %s to %s", after, before.locale, locale_name());
        setlocale(LC_ALL, before.locale);
    }
    cpu_set_t processors;
    memset(&processors, 0, sizeof processors);
    sched_getaffinity(0, sizeof processors, &processors);
    if (!CPU_EQUAL(&processors, &before.processors)) {
        report_violation(kind, "%s changes the processors that the thread runs on", after);
        sched_setaffinity(0, sizeof before.processors, &before.processors);
    }
    if (x87_get() != before.x87) {
        report_violation(kind, "%s changes the x87 control word from %#x to %#x", after, before.x87, x87_get());
        before.x87 = x87_get();
    }
}
