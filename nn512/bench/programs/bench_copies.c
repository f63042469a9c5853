/* Times single layers of a net beside a copy of the tensor `a`, which all of them read: bench_copies ROUNDS.
 *
 * In every round each has its turn, and a line tells its name and the nanoseconds of processor time that it took. A turn
 * of small tensors is several calls, so that clocks can tell. */
#include "bench_emitted.c" /* its functions are static */

#include <stdio.h>

#include "bench_copies.h"

enum { LAYERS = sizeof layers / sizeof *layers, BYTES = A_FLOATS * 4, CALLS = 1 + 4000000 / BYTES };

static double cpu(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int count, char **arguments) {
    static NetParams params;
    NetNet *net;
    NetEngine *engine;
    if (count != 2) return 2;
    char *error = NetNetCreate(&net, &params, 1);
    if (error == NULL) error = NetEngineCreate(&engine, net, 1);
    if (error != NULL) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    float *a = tensor(engine, a_at), *to = tensor(engine, TO_AT);
    for (int i = 0; i < A_FLOATS; i++) a[i] = (float)(1 + i % 977);
    for (int round = atoi(arguments[1]); round > 0; round--) {
        for (int layer = -1; layer < LAYERS; layer++) {
            const double start = cpu();
            for (int call = 0; call < CALLS; call++) {
                if (layer < 0) memcpy(to, a, BYTES);
                else layers[layer].step(engine, (Share){.last = layers[layer].items});
            }
            printf("%s %.0f\n", layer < 0 ? "copy" : layers[layer].name, (cpu() - start) / CALLS);
        }
    }
    NetEngineDestroy(engine);
    NetNetDestroy(net);
    return 0;
}
