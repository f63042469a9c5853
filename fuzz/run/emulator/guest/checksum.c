/* CRC-32, as Python has it. */
#include "guest.h"

uint32_t checksum(uint32_t before, const void *data, size_t bytes) {
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
            table[i] = value;
        }
    const unsigned char *from = data;
    uint32_t sum = ~before;
    for (size_t i = 0; i < bytes; i++) sum = sum >> 8 ^ table[(sum ^ from[i]) & 255];
    return ~sum;
}
