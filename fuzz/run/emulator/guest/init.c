/* The first and only program of the virtual machine: it runs one driver after the other and watches their progress. */
#define _GNU_SOURCE
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x58424d323135324eu
#define SUMMED(structure) checksum(0, structure, offsetof(__typeof__(*structure), sum))

enum { CHUNK = 256 * SECTOR, LOG_LIMIT = 64 << 10, BEAT_MS = 250, IDLE_MS = 4 };

static char chunk[CHUNK];
static struct answer answer;

static void say(enum answer_state state) {
    char sector[SECTOR] = {0};
    answer.magic = MAGIC;
    answer.state = state;
    answer.beats++;
    answer.sum = SUMMED(&answer);
    memcpy(sector, &answer, sizeof answer);
    disk_write(ANSWER_SECTOR, sector, 1);
}

static void say_failed(void) {
    answer.status = errno;
    say(FAILED);
}

static struct timespec milliseconds(unsigned count) {
    return (struct timespec){count / 1000, count % 1000 * 1000000L};
}

static uint64_t sectors_of(uint64_t bytes) {
    return (bytes + SECTOR - 1) / SECTOR;
}

static struct request next_request(void) {
    for (;;) {
        struct request request;
        const struct timespec pause = milliseconds(IDLE_MS);
        disk_read(REQUEST_SECTOR, chunk, 1);
        memcpy(&request, chunk, sizeof request);
        if (request.magic == MAGIC && request.serial != answer.serial && request.sum == SUMMED(&request)) return request;
        nanosleep(&pause, NULL);
    }
}

static int put(int file, const char *from, size_t bytes) {
    while (bytes) {
        const ssize_t wrote = write(file, from, bytes);
        if (wrote <= 0) return 0;
        from += wrote, bytes -= (size_t)wrote;
    }
    return 1;
}

/* A file in memory with what lies on the disk from `sector` on; -1 with the reason in errno, which is EIO for a wrong checksum. */
static int fetch(const char *name, uint64_t sector, uint64_t bytes, uint64_t sum) {
    const int file = memfd_create(name, MFD_CLOEXEC);
    uint32_t got = 0;
    for (uint64_t done = 0; file >= 0 && done < bytes;) {
        const size_t part = bytes - done < CHUNK ? (size_t)(bytes - done) : CHUNK;
        disk_read(sector + done / SECTOR, chunk, sectors_of(part));
        got = checksum(got, chunk, part);
        if (!put(file, chunk, part)) {
            const int reason = errno;
            close(file);
            errno = reason;
            return -1;
        }
        done += part;
    }
    if (file >= 0 && got != sum) {
        close(file);
        errno = EIO;
        return -1;
    }
    if (file >= 0) lseek(file, 0, SEEK_SET);
    return file;
}

/* The program of a request. The last one is kept, because most programs run several jobs in a row. */
static int program_of(const struct request *request) {
    static struct {
        int file;
        uint64_t bytes, sum;
    } last = {.file = -1};
    if (last.file >= 0 && last.bytes == request->program_bytes && last.sum == request->program_sum) return last.file;
    if (last.file >= 0) close(last.file);
    last.bytes = request->program_bytes, last.sum = request->program_sum;
    return last.file = fetch("program", JOB_SECTOR, last.bytes, last.sum);
}

static uint32_t deliver(int file, uint64_t sector, uint64_t bytes) {
    uint32_t sum = 0;
    for (uint64_t done = 0; done < bytes;) {
        const size_t part = bytes - done < CHUNK ? (size_t)(bytes - done) : CHUNK;
        memset(chunk, 0, CHUNK);
        if (pread(file, chunk, part, (off_t)done) < 0) break; /* the sum then tells */
        sum = checksum(sum, chunk, part);
        disk_write(sector + done / SECTOR, chunk, sectors_of(part));
        done += part;
    }
    return sum;
}

static uint64_t size_of(int file) {
    struct stat status;
    return fstat(file, &status) ? 0 : (uint64_t)status.st_size;
}

/* How many calls the driver has made: the second number of its first page. */
static uint64_t steps_of(int result) {
    uint64_t steps = 0;
    return pread(result, &steps, sizeof steps, sizeof steps) == sizeof steps ? steps : 0;
}

static pid_t start(int program, int job, int result, int log) {
    const pid_t child = fork();
    if (child) return child;
    char number[16];
    char *const arguments[] = {"driver", number, NULL}, *const environment[] = {NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    dup2(job, 0), dup2(log, 1), dup2(log, 2);
    snprintf(number, sizeof number, "%d", dup(result)); /* a copy stays open in the new program */
    fexecve(program, arguments, environment);
    perror("nn512: cannot start the driver");
    _exit(127);
}

static void watch(pid_t child, int result, uint64_t limit_ms) {
    uint64_t last = 0, waited = 0;
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    struct rusage used;
    int status;
    while (wait4(child, &status, WNOHANG, &used) == 0) {
        const struct timespec beat = milliseconds(BEAT_MS);
        if (sigtimedwait(&ended, NULL, &beat) >= 0) continue;
        const uint64_t steps = steps_of(result);
        waited = steps == last ? waited + BEAT_MS : 0;
        last = steps;
        say(RUNNING);
        if (waited < limit_ms) continue;
        answer.hung = 1;
        kill(-child, SIGKILL);
        wait4(child, &status, 0, &used);
        break;
    }
    kill(-child, SIGKILL); /* what it has left behind */
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    answer.status = status;
    answer.used_ms = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000u +
                     (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000u;
}

static void run(const struct request *request) {
    memset(&answer, 0, sizeof answer);
    answer.serial = request->serial;
    say(RUNNING);
    const uint64_t job_sector = JOB_SECTOR + sectors_of(request->program_bytes);
    const int program = program_of(request);
    const int job = program < 0 ? -1 : fetch("job", job_sector, request->job_bytes, request->job_sum);
    const int result = memfd_create("result", MFD_CLOEXEC), log = memfd_create("log", MFD_CLOEXEC);
    const pid_t child = program < 0 || job < 0 || result < 0 || log < 0 ? -1 : start(program, job, result, log);
    if (child < 0) {
        if (errno == EIO)
            say(SPOILED);
        else
            say_failed();
    } else {
        watch(child, result, request->limit_ms);
        const uint64_t log_bytes = size_of(log);
        answer.result_bytes = size_of(result);
        answer.log_bytes = log_bytes < LOG_LIMIT ? log_bytes : LOG_LIMIT;
        if (answer.result_bytes + LOG_LIMIT + SECTOR > request->answer_bytes) {
            say(TOO_LARGE);
        } else {
            const uint64_t log_sector = request->answer_sector + sectors_of(answer.result_bytes);
            answer.result_sum = deliver(result, request->answer_sector, answer.result_bytes);
            answer.log_sum = deliver(log, log_sector, answer.log_bytes);
            say(ENDED);
        }
    }
    const int files[] = {job, result, log};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] >= 0) close(files[i]);
}

int main(void) {
    if (getpid() == 1) { /* tests run it as a process like any other */
        mkdir("/dev", 0755);
        mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
        const int console = open("/dev/ttyS0", O_RDWR);
        for (int i = 0; i < 3; i++) dup2(console, i);
    }
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ended, NULL);
    disk_open();
    say(READY);
    for (;;) {
        const struct request request = next_request();
        run(&request);
    }
}
