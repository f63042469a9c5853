/* Runs one net for `nn512 bench`: bench_net PARAMS INPUTS CPUS. The threads are as many as the CPUs, one on each.
 *
 * PARAMS holds the bytes of the Params struct, INPUTS the input tensors in the order of the arguments. Lines understood:
 *     run U T        U inferences untimed, T timed; answers {"nanoseconds": [...]}
 *     answer PATH    one inference whose outputs, in the order of the arguments, are written to PATH; answers {}
 *     profile        prints the profile, a line per layer, if built with NN512_PROFILE; answers {}
 */
#define _GNU_SOURCE /* CPU sets */
#include "bench_serve.h"

#include <pthread.h>
#include <string.h>

#include "bench_adapter.h"

#define MOST_CPUS 1024

static bench_Engine *engine;
static float *tensors[BENCH_TENSORS];

static void pin(pthread_t thread, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (pthread_setaffinity_np(thread, sizeof set, &set)) refuse("cannot pin a thread");
}

static void check(char *error) {
    if (error) refuse(error);
}

static void *allocate(size_t bytes) {
    void *memory;
    if (posix_memalign(&memory, 64, bytes ? bytes : 1)) refuse("out of memory");
    return memory;
}

static void read_exactly(FILE *file, void *to, size_t bytes) {
    if (!file || fread(to, 1, bytes, file) != bytes) refuse("cannot read a file of parameters or inputs");
}

static void infer(void) {
    bench_infer(engine, tensors);
}

static void answer(const char *path) {
    infer();
    FILE *file = fopen(path, "wb");
    if (!file) refuse("cannot write the outputs");
    for (int i = 0; i < BENCH_TENSORS; i += 1)
        if (!bench_tensors[i].is_input && fwrite(tensors[i], sizeof(float), bench_tensors[i].elements, file) != bench_tensors[i].elements)
            refuse("cannot write the outputs");
    if (fclose(file)) refuse("cannot write the outputs");
}

static void obey(const char *line) {
    char path[4096];
    if (sscanf(line, "answer %4095[^\n]", path) == 1) answer(path);
#ifdef NN512_PROFILE
    if (!strncmp(line, "profile", 7)) bench_EngineProfile(engine, stdout);
#endif
    printf("{}\n");
}

int main(int count, char **arguments) {
    int cpus[MOST_CPUS];
    if (count != 4) return 2;
    int threads = parse_list(arguments[3], cpus, MOST_CPUS);
    pin(pthread_self(), cpus[0]); /* before any memory is touched */

    bench_Params *params = allocate(sizeof *params);
    if (BENCH_HAS_PARAMS) {
        FILE *file = fopen(arguments[1], "rb");
        read_exactly(file, params, sizeof *params);
        fclose(file);
    }
    FILE *file = fopen(arguments[2], "rb");
    for (int i = 0; i < BENCH_TENSORS; i += 1) {
        size_t bytes = sizeof(float) * bench_tensors[i].elements;
        tensors[i] = allocate(bytes);
        if (bench_tensors[i].is_input) read_exactly(file, tensors[i], bytes);
        else memset(tensors[i], -1, bytes); /* NaN, until it is written */
    }
    fclose(file);

    bench_Net *net;
    check(bench_NetCreate(&net, params, threads));
    free(params);
    check(bench_EngineCreate(&engine, net, threads));
    for (int i = 1; i < threads; i += 1) {
        pthread_t thread;
        check(bench_EnginePthreadT(engine, i, &thread));
        pin(thread, cpus[i]);
    }
    printf("{\"ready\": true}\n");
    serve(infer, obey);

    bench_EngineDestroy(engine);
    bench_NetDestroy(net);
    for (int i = 0; i < BENCH_TENSORS; i += 1) free(tensors[i]);
    return 0;
}
