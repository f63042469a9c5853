#pragma once

/* Tiles: inference of a neural net for processors with AVX-512. Example of use:
 *
 *     TilesParams *params = malloc(sizeof(TilesParams));
 *     ... read the parameters into *params, for instance with fread ...
 *     TilesNet *net;
 *     char *error = TilesNetCreate(&net, params, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     free(params);
 *     TilesEngine *engine;
 *     error = TilesEngineCreate(&engine, net, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     static float imageData[Tiles_image_floats], stepsData[Tiles_steps_floats];
 *     ... fill imageData ...
 *     error = TilesEngineRun(engine, &(TilesTensors){.image = imageData, .steps = stepsData});
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     TilesEngineDestroy(engine);
 *     TilesNetDestroy(net);
 *
 * In C++: TilesTensors tensors = {}; then set its members, as with tensors.image = ...;
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
typedef struct TilesParams TilesParams;
struct TilesParams {
    float convBiases[32]; /* 32 */
    float convWeights[5760]; /* 32x20x3x3 */
    float stepsBiases[40]; /* 40 */
    float stepsWeights[11520]; /* 40x32x3x3 */
};

typedef struct TilesNet TilesNet;       /* packed parameters */
typedef struct TilesEngine TilesEngine; /* threads and working memory */

/* Pack the parameters for inference. Gives NULL and sets *net, or an error message for free() and leaves *net alone.
 * `threads` threads share the work, the calling one included. The parameters are not used after the call. A net never
 * changes again and may serve any number of engines. Where there is no memory even for a message, this and the other
 * functions call abort(). */
char *TilesNetCreate(TilesNet **net, TilesParams *params, ptrdiff_t threads);

/* Free a net, after the last engine that uses it. NULL is fine. */
void TilesNetDestroy(TilesNet *net);

/* Start threads - 1 workers and allocate working memory. Gives NULL and sets *engine, or a message for free(). Workers
 * leave signals to the program's threads and compute in the floating-point environment of the thread that made them. */
char *TilesEngineCreate(TilesEngine **engine, TilesNet *net, ptrdiff_t threads);

/* Identify a thread of the engine, to set its affinity or priority: index 0 is the thread that created the engine, 1 to
 * threads - 1 are the workers. Gives NULL and sets *to, or an error message for free(). */
char *TilesEnginePthreadT(TilesEngine *engine, ptrdiff_t index, pthread_t *to);

/* Floats in each tensor, for arrays of fixed size. */
#define Tiles_image_floats 13520
#define Tiles_steps_floats 4840

/* The tensors of an inference by name; those that are not set are NULL. */
typedef struct TilesTensors TilesTensors;
struct TilesTensors {
    const float *image; /* input, 20x26x26 */
    float *steps; /* output, 40x11x11 */
};

/* Run the net. Gives NULL, or an error message for free() where a tensor is NULL. Tensors are float32, channels x
 * height x width without gaps, aligned to 4 bytes; inputs are only read, outputs only written. An engine serves one
 * call at a time, from any thread; that thread must not be cancelled meanwhile. Workers do not follow a fork(): in
 * the child an inherited engine can be used and destroyed, but the calling thread works alone. */
char *TilesEngineRun(TilesEngine *engine, const TilesTensors *tensors);

/* The same without checks, as programs for NN-512 call it. Inputs and outputs stand in alphabetical order by tensor
 * (capitals first), so that a call stays right when the lines of the graph change places. */
void TilesEngineInference(TilesEngine *engine, const float *imageData, float *stepsData);

/* Stop the workers and free the engine. NULL is fine. */
void TilesEngineDestroy(TilesEngine *engine);

#ifdef NN512_PROFILE
/* Write a line per layer: name, number of inferences, nanoseconds in all of them, with tabs between. */
void TilesEngineProfile(TilesEngine *engine, FILE *to);
#endif

#ifdef __cplusplus
}
#endif
