/* The program that a virtual machine runs instead of an operating system's user space: it takes jobs and runs drivers.
 *
 *   init.c      the loop: take a job, run it in a process of its own, say how it ended
 *   disk.c      the disk that is shared with the tester, without a driver of the kernel
 *   checksum.c  whether what came over it is what was sent
 *   known.c     a driver whose results are known
 *
 * The tester writes a request to the first sector; the second one takes the answer. fuzz/run/emulator/mailbox.py knows the same.
 */
#ifndef NN512_GUEST_H
#define NN512_GUEST_H

#include <stddef.h>
#include <stdint.h>

enum { SECTOR = 512, REQUEST_SECTOR = 0, ANSWER_SECTOR = 1, JOB_SECTOR = 8 };

/* Both are followed by the checksum of all that stands before it: a sector may be read while it is written. */
struct request {
    uint64_t magic, serial;
    uint64_t program_bytes, program_sum, job_bytes, job_sum; /* the job begins at the sector after the program's last */
    uint64_t limit_ms;                                       /* without progress */
    uint64_t answer_sector, answer_bytes;                    /* where results go, and how many there is room for */
    uint64_t sum;
};

enum answer_state { READY = 1, RUNNING, ENDED, SPOILED, TOO_LARGE, FAILED };

struct answer {
    uint64_t magic, serial, state;
    uint64_t beats;         /* grows while a driver runs */
    int64_t status;         /* as of waitpid, or errno if FAILED */
    uint64_t hung, used_ms; /* whether the time limit ended it; its processor time */
    uint64_t result_bytes, result_sum, log_bytes, log_sum; /* the log begins at the sector after the result's last */
    uint64_t sum;
};

void disk_open(void);
void disk_read(uint64_t sector, void *to, size_t sectors);
void disk_write(uint64_t sector, const void *from, size_t sectors);
uint32_t checksum(uint32_t before, const void *data, size_t bytes); /* CRC-32 as in zlib */

#endif
