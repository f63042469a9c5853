#pragma once

/* Edges: inference of a neural net for processors with AVX-512. Example of use:
 *
 *     EdgesParams *params = malloc(sizeof(EdgesParams));
 *     ... read the parameters into *params, for instance with fread ...
 *     EdgesNet *net;
 *     char *error = EdgesNetCreate(&net, params, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     free(params);
 *     EdgesEngine *engine;
 *     error = EdgesEngineCreate(&engine, net, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     static float imageData[Edges_image_floats], reluData[Edges_relu_floats];
 *     ... fill imageData ...
 *     error = EdgesEngineRun(engine, &(EdgesTensors){.image = imageData, .relu = reluData});
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     EdgesEngineDestroy(engine);
 *     EdgesNetDestroy(net);
 *
 * In C++: EdgesTensors tensors = {}; then set its members, as with tensors.image = ...;
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
typedef struct EdgesParams EdgesParams;
struct EdgesParams {
    float convBiases[40]; /* 40 */
    float convWeights[1080]; /* 40x3x3x3 */
    float normMeans[40]; /* 40 */
    float normScales[40]; /* 40 */
    float normShifts[40]; /* 40 */
    float normVariances[40]; /* 40 */
    float shortcutBiases[40]; /* 40 */
    float shortcutWeights[120]; /* 40x3x1x1 */
};

typedef struct EdgesNet EdgesNet;       /* packed parameters */
typedef struct EdgesEngine EdgesEngine; /* threads and working memory */

/* Pack the parameters for inference. Gives NULL and sets *net, or an error message for free() and leaves *net alone.
 * `threads` threads share the work, the calling one included. The parameters are not used after the call. A net never
 * changes again and may serve any number of engines. Where there is no memory even for a message, this and the other
 * functions call abort(). */
char *EdgesNetCreate(EdgesNet **net, EdgesParams *params, ptrdiff_t threads);

/* Free a net, after the last engine that uses it. NULL is fine. */
void EdgesNetDestroy(EdgesNet *net);

/* Start threads - 1 workers and allocate working memory. Gives NULL and sets *engine, or a message for free(). Workers
 * leave signals to the program's threads and compute in the floating-point environment of the thread that made them. */
char *EdgesEngineCreate(EdgesEngine **engine, EdgesNet *net, ptrdiff_t threads);

/* Identify a thread of the engine, to set its affinity or priority: index 0 is the thread that created the engine, 1 to
 * threads - 1 are the workers. Gives NULL and sets *to, or an error message for free(). */
char *EdgesEnginePthreadT(EdgesEngine *engine, ptrdiff_t index, pthread_t *to);

/* Floats in each tensor, for arrays of fixed size. */
#define Edges_image_floats 621
#define Edges_relu_floats 8280

/* The tensors of an inference by name; those that are not set are NULL. */
typedef struct EdgesTensors EdgesTensors;
struct EdgesTensors {
    const float *image; /* input, 3x9x23 */
    float *relu; /* output, 40x9x23 */
};

/* Run the net. Gives NULL, or an error message for free() where a tensor is NULL. Tensors are float32, channels x
 * height x width without gaps, aligned to 4 bytes; inputs are only read, outputs only written. An engine serves one
 * call at a time, from any thread; that thread must not be cancelled meanwhile. Workers do not follow a fork(): in
 * the child an inherited engine can be used and destroyed, but the calling thread works alone. */
char *EdgesEngineRun(EdgesEngine *engine, const EdgesTensors *tensors);

/* The same without checks, as programs for NN-512 call it. Inputs and outputs stand in alphabetical order by tensor
 * (capitals first), so that a call stays right when the lines of the graph change places. */
void EdgesEngineInference(EdgesEngine *engine, const float *imageData, float *reluData);

/* Stop the workers and free the engine. NULL is fine. */
void EdgesEngineDestroy(EdgesEngine *engine);

#ifdef NN512_PROFILE
/* Write a line per layer: name, number of inferences, nanoseconds in all of them, with tabs between. */
void EdgesEngineProfile(EdgesEngine *engine, FILE *to);
#endif

#ifdef __cplusplus
}
#endif
