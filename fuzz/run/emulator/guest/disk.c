/* The second IDE disk, by programmed input and output: kernels that are made for clouds have drivers for it in modules only. */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

enum {
    DATA = 0x170,
    COUNT = 0x172,
    ADDRESS = 0x173, /* three bytes of it; the rest goes with the choice of the disk */
    DISK = 0x176,
    COMMAND = 0x177,
    CONTROL = 0x376, /* reads as the status */
    BUSY = 0x80,
    DATA_READY = 0x08,
    ERROR = 0x01,
    READ_SECTORS = 0x20,
    WRITE_SECTORS = 0x30,
    NO_INTERRUPTS = 0x02,
    MOST_SECTORS = 256
};

void disk_open(void) {
    if (ioperm(DATA, 8, 1) || ioperm(CONTROL, 1, 1)) {
        perror("nn512: ioperm");
        exit(1);
    }
    outb(NO_INTERRUPTS, CONTROL);
}

static void wait_for(unsigned wanted) {
    for (;;) {
        const unsigned status = inb(CONTROL);
        if (status & BUSY) continue;
        if (status & ERROR) {
            fprintf(stderr, "nn512: the disk reports an error, status %#x\n", status);
            exit(1);
        }
        if ((status & wanted) == wanted) return;
    }
}

static void command(unsigned char what, uint64_t sector, size_t sectors) {
    wait_for(0);
    outb((unsigned char)(0xe0 | (sector >> 24 & 15)), DISK);
    outb((unsigned char)sectors, COUNT); /* 0 stands for 256 */
    for (unsigned i = 0; i < 3; i++) outb((unsigned char)(sector >> 8 * i), (unsigned short)(ADDRESS + i));
    outb(what, COMMAND);
}

void disk_read(uint64_t sector, void *to, size_t sectors) {
    char *at = to;
    for (size_t part; sectors; sectors -= part, sector += part) {
        part = sectors < MOST_SECTORS ? sectors : MOST_SECTORS;
        command(READ_SECTORS, sector, part);
        for (size_t i = 0; i < part; i++, at += SECTOR) {
            wait_for(DATA_READY);
            insw(DATA, at, SECTOR / 2);
        }
    }
}

void disk_write(uint64_t sector, const void *from, size_t sectors) {
    const char *at = from;
    for (size_t part; sectors; sectors -= part, sector += part) {
        part = sectors < MOST_SECTORS ? sectors : MOST_SECTORS;
        command(WRITE_SECTORS, sector, part);
        for (size_t i = 0; i < part; i++, at += SECTOR) {
            wait_for(DATA_READY);
            outsw(DATA, at, SECTOR / 2);
        }
    }
    wait_for(0);
}
