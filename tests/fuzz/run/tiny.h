/* What the net of test_sandbox.py shows: plain C in place of what is emitted. */
#ifndef TINY_H
#define TINY_H
#include <pthread.h>
#include <stddef.h>
typedef struct TinyParams TinyParams;
typedef struct TinyNet TinyNet;
typedef struct TinyEngine TinyEngine;
struct TinyParams { float normMeans[2], normScales[2], normShifts[2], normVariances[2]; };
char *TinyNetCreate(TinyNet **, TinyParams *, ptrdiff_t threads);
void TinyNetDestroy(TinyNet *);
char *TinyEngineCreate(TinyEngine **, TinyNet *, ptrdiff_t threads);
char *TinyEnginePthreadT(TinyEngine *, ptrdiff_t index, pthread_t *to);
void TinyEngineInference(TinyEngine *, float *imageData, float *normData, float *reluData);
void TinyEngineDestroy(TinyEngine *);
#endif
