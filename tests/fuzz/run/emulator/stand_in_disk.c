/* The disk of a machine that is none: guest/init.c with this instead of guest/disk.c is a process like any other. */
#define _GNU_SOURCE
#include "guest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int disk;

void disk_open(void) {
    disk = open(getenv("STAND_IN_DISK"), O_RDWR | O_CLOEXEC);
    if (disk < 0) exit(1);
}

void disk_read(uint64_t sector, void *to, size_t sectors) {
    if (pread(disk, to, sectors * SECTOR, (off_t)(sector * SECTOR)) != (ssize_t)(sectors * SECTOR)) exit(2);
}

void disk_write(uint64_t sector, const void *from, size_t sectors) {
    if (pwrite(disk, from, sectors * SECTOR, (off_t)(sector * SECTOR)) != (ssize_t)(sectors * SECTOR)) exit(3);
}
