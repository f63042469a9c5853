#pragma once

/* Head: inference of a neural net for processors with AVX-512. Example of use:
 *
 *     HeadParams *params = malloc(sizeof(HeadParams));
 *     ... read the parameters into *params, for instance with fread ...
 *     HeadNet *net;
 *     char *error = HeadNetCreate(&net, params, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     free(params);
 *     HeadEngine *engine;
 *     error = HeadEngineCreate(&engine, net, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     static float featuresData[Head_features_floats], probabilitiesData[Head_probabilities_floats];
 *     ... fill featuresData ...
 *     error = HeadEngineRun(engine, &(HeadTensors){.features = featuresData, .probabilities = probabilitiesData});
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     HeadEngineDestroy(engine);
 *     HeadNetDestroy(net);
 *
 * In C++: HeadTensors tensors = {}; then set its members, as with tensors.features = ...;
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
typedef struct HeadParams HeadParams;
struct HeadParams {
    float scoresBiases[10]; /* 10 */
    float scoresWeights[240]; /* 10x24x1x1 */
};

typedef struct HeadNet HeadNet;       /* packed parameters */
typedef struct HeadEngine HeadEngine; /* threads and working memory */

/* Pack the parameters for inference. Gives NULL and sets *net, or an error message for free() and leaves *net alone.
 * `threads` threads share the work, the calling one included. The parameters are not used after the call. A net never
 * changes again and may serve any number of engines. Where there is no memory even for a message, this and the other
 * functions call abort(). */
char *HeadNetCreate(HeadNet **net, HeadParams *params, ptrdiff_t threads);

/* Free a net, after the last engine that uses it. NULL is fine. */
void HeadNetDestroy(HeadNet *net);

/* Start threads - 1 workers and allocate working memory. Gives NULL and sets *engine, or a message for free(). Workers
 * leave signals to the program's threads and compute in the floating-point environment of the thread that made them. */
char *HeadEngineCreate(HeadEngine **engine, HeadNet *net, ptrdiff_t threads);

/* Identify a thread of the engine, to set its affinity or priority: index 0 is the thread that created the engine, 1 to
 * threads - 1 are the workers. Gives NULL and sets *to, or an error message for free(). */
char *HeadEnginePthreadT(HeadEngine *engine, ptrdiff_t index, pthread_t *to);

/* Floats in each tensor, for arrays of fixed size. */
#define Head_features_floats 864
#define Head_probabilities_floats 10

/* The tensors of an inference by name; those that are not set are NULL. */
typedef struct HeadTensors HeadTensors;
struct HeadTensors {
    const float *features; /* input, 24x6x6 */
    float *probabilities; /* output, 10x1x1 */
};

/* Run the net. Gives NULL, or an error message for free() where a tensor is NULL. Tensors are float32, channels x
 * height x width without gaps, aligned to 4 bytes; inputs are only read, outputs only written. An engine serves one
 * call at a time, from any thread; that thread must not be cancelled meanwhile. Workers do not follow a fork(): in
 * the child an inherited engine can be used and destroyed, but the calling thread works alone. */
char *HeadEngineRun(HeadEngine *engine, const HeadTensors *tensors);

/* The same without checks, as programs for NN-512 call it. Inputs and outputs stand in alphabetical order by tensor
 * (capitals first), so that a call stays right when the lines of the graph change places. */
void HeadEngineInference(HeadEngine *engine, const float *featuresData, float *probabilitiesData);

/* Stop the workers and free the engine. NULL is fine. */
void HeadEngineDestroy(HeadEngine *engine);

#ifdef NN512_PROFILE
/* Write a line per layer: name, number of inferences, nanoseconds in all of them, with tabs between. */
void HeadEngineProfile(HeadEngine *engine, FILE *to);
#endif

#ifdef __cplusplus
}
#endif
