/* Marks such as inference, in a comment of their own, are where a test puts something wrong. */
#define _POSIX_C_SOURCE 200809L
#include "Tiny.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { channels = 2, pixels = 15 };
struct TinyNet { TinyParams params; float *table; TinyParams *theirs; };
struct TinyEngine {
    TinyNet *net;
    float *scratch;
    pthread_t self, workers[16];
    ptrdiff_t threads;
    int calls;
    pid_t process;
};
static char *message(const char *text) {
    char *copy = malloc(strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}
char *TinyNetCreate(TinyNet **to, TinyParams *params, ptrdiff_t threads) {
    if (threads < 1 || threads > 16) return message("1 to 16 threads"); /*threads of net*/
    /*net create*/
    TinyNet *net = malloc(sizeof *net);
    if (!net) return message("no memory");
    net->table = malloc(16 * sizeof(float));
    if (!net->table) {
        free(net); /*table refused*/
        return message("no memory");
    }
    net->params = *params;
    net->theirs = params;
    /*net created*/
    (void)threads;
    *to = net;
    return NULL;
}
void TinyNetDestroy(TinyNet *net) {
    if (!net) return; /*null*/
    free(net->table); /*table*/
    free(net);
}
static void *work(void *argument) {
    /*work*/
    return argument;
}
static int create(pthread_t *thread, TinyEngine *engine) {
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (int i = 0; i < 4; i++) sigdelset(&blocked, own[i]); /*own*/
    pthread_sigmask(SIG_SETMASK, &blocked, &before); /*block*/
    const int error = pthread_create(thread, NULL, work, engine);
    pthread_sigmask(SIG_SETMASK, &before, NULL); /*unblock*/
    return error;
}
static void check(TinyEngine *engine) {
    if (engine->process != getpid()) engine->threads = 1; /*forked*/
}
char *TinyEngineCreate(TinyEngine **to, TinyNet *net, ptrdiff_t threads) {
    if (threads < 1 || threads > 16) return message("1 to 16 threads"); /*threads of engine*/
    TinyEngine *engine = calloc(1, sizeof *engine);
    if (!engine) return message("no memory");
    engine->scratch = malloc(channels * pixels * sizeof(float));
    if (!engine->scratch) { /*scratch refused*/
        free(engine);
        return message("no memory");
    }
    engine->net = net;
    engine->self = pthread_self();
    engine->threads = threads;
    engine->process = getpid();
    for (ptrdiff_t i = 1; i < threads; i++)
        if (create(&engine->workers[i], engine)) {
            while (--i > 0) pthread_join(engine->workers[i], NULL); /*unwind*/
            free(engine->scratch);
            free(engine);
            return message("no thread");
        }
    *to = engine;
    return NULL;
}
char *TinyEnginePthreadT(TinyEngine *engine, ptrdiff_t index, pthread_t *to) {
    check(engine);
    if (index < 0 || index >= engine->threads) return message("no such thread"); /*range*/
    *to = index ? engine->workers[index] : engine->self;
    return NULL;
}
void TinyEngineInference(TinyEngine *engine, float *imageData, float *normData, float *reluData) {
    const TinyParams *p = &engine->net->params;
    check(engine);
    /*inference*/
    for (int c = 0; c < channels; c++)
        for (int i = c * pixels; i < (c + 1) * pixels; i++) {
            const float scaled = (imageData[i] - p->normMeans[c]) / sqrtf(p->normVariances[c] + 1e-5f);
            engine->scratch[i] = normData[i] = scaled * p->normScales[c] + p->normShifts[c];
        }
    for (int i = 0; i < channels * pixels; i++) reluData[i] = engine->scratch[i] > 0 ? engine->scratch[i] : 0;
    engine->calls++;
    /*inferred*/
}
void TinyEngineDestroy(TinyEngine *engine) {
    if (!engine) return;
    check(engine);
    for (ptrdiff_t i = 1; i < engine->threads; i++) pthread_join(engine->workers[i], NULL); /*join*/
    free(engine->scratch); /*scratch*/
    free(engine); /*engine*/
}
