#pragma once

/* Dense: inference of a neural net for processors with AVX-512. Example of use:
 *
 *     DenseParams *params = malloc(sizeof(DenseParams));
 *     ... read the parameters into *params, for instance with fread ...
 *     DenseNet *net;
 *     char *error = DenseNetCreate(&net, params, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     free(params);
 *     DenseEngine *engine;
 *     error = DenseEngineCreate(&engine, net, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     static float startData[Dense_start_floats], bothData[Dense_both_floats];
 *     ... fill startData ...
 *     error = DenseEngineRun(engine, &(DenseTensors){.start = startData, .both = bothData});
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     DenseEngineDestroy(engine);
 *     DenseNetDestroy(net);
 *
 * In C++: DenseTensors tensors = {}; then set its members, as with tensors.start = ...;
 * and pass &tensors. */

#include <pthread.h>
#include <stddef.h>
#ifdef NN512_PROFILE
#include <stdio.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Parameter tensors in NCHW order, one after another without gaps. */
typedef struct DenseParams DenseParams;
struct DenseParams {
    float conv1Biases[64]; /* 64 */
    float conv1Weights[2048]; /* 64x32x1x1 */
    float conv2Biases[16]; /* 16 */
    float conv2Weights[9216]; /* 16x64x3x3 */
    float norm1Means[32]; /* 32 */
    float norm1Scales[32]; /* 32 */
    float norm1Shifts[32]; /* 32 */
    float norm1Variances[32]; /* 32 */
    float norm2Means[64]; /* 64 */
    float norm2Scales[64]; /* 64 */
    float norm2Shifts[64]; /* 64 */
    float norm2Variances[64]; /* 64 */
};

typedef struct DenseNet DenseNet;       /* packed parameters */
typedef struct DenseEngine DenseEngine; /* threads and working memory */

/* Pack the parameters for inference. Gives NULL and sets *net, or an error message for free() and leaves *net alone.
 * `threads` threads share the work, the calling one included. The parameters are not used after the call. A net never
 * changes again and may serve any number of engines. Where there is no memory even for a message, this and the other
 * functions call abort(). */
char *DenseNetCreate(DenseNet **net, DenseParams *params, ptrdiff_t threads);

/* Free a net, after the last engine that uses it. NULL is fine. */
void DenseNetDestroy(DenseNet *net);

/* Start threads - 1 workers and allocate working memory. Gives NULL and sets *engine, or a message for free(). Workers
 * leave signals to the program's threads and compute in the floating-point environment of the thread that made them. */
char *DenseEngineCreate(DenseEngine **engine, DenseNet *net, ptrdiff_t threads);

/* Identify a thread of the engine, to set its affinity or priority: index 0 is the thread that created the engine, 1 to
 * threads - 1 are the workers. Gives NULL and sets *to, or an error message for free(). */
char *DenseEnginePthreadT(DenseEngine *engine, ptrdiff_t index, pthread_t *to);

/* Floats in each tensor, for arrays of fixed size. */
#define Dense_start_floats 1568
#define Dense_both_floats 2352

/* The tensors of an inference by name; those that are not set are NULL. */
typedef struct DenseTensors DenseTensors;
struct DenseTensors {
    const float *start; /* input, 32x7x7 */
    float *both; /* output, 48x7x7 */
};

/* Run the net. Gives NULL, or an error message for free() where a tensor is NULL. Tensors are float32, channels x
 * height x width without gaps, aligned to 4 bytes; inputs are only read, outputs only written. An engine serves one
 * call at a time, from any thread; that thread must not be cancelled meanwhile. Workers do not follow a fork(): in
 * the child an inherited engine can be used and destroyed, but the calling thread works alone. */
char *DenseEngineRun(DenseEngine *engine, const DenseTensors *tensors);

/* The same without checks, as programs for NN-512 call it. Inputs and outputs stand in alphabetical order by tensor
 * (capitals first), so that a call stays right when the lines of the graph change places. */
void DenseEngineInference(DenseEngine *engine, float *bothData, const float *startData);

/* Stop the workers and free the engine. NULL is fine. */
void DenseEngineDestroy(DenseEngine *engine);

#ifdef NN512_PROFILE
/* Write a line per layer: name, number of inferences, nanoseconds in all of them, with tabs between. */
void DenseEngineProfile(DenseEngine *engine, FILE *to);
#endif

#ifdef __cplusplus
}
#endif
