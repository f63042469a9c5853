#pragma once

/* Groups: inference of a neural net for processors with AVX-512. Example of use:
 *
 *     GroupsParams *params = malloc(sizeof(GroupsParams));
 *     ... read the parameters into *params, for instance with fread ...
 *     GroupsNet *net;
 *     char *error = GroupsNetCreate(&net, params, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     free(params);
 *     GroupsEngine *engine;
 *     error = GroupsEngineCreate(&engine, net, 2);
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     static float imageData[Groups_image_floats], ownData[Groups_own_floats];
 *     ... fill imageData ...
 *     error = GroupsEngineRun(engine, &(GroupsTensors){.image = imageData, .own = ownData});
 *     if (error) { fprintf(stderr, "%s\n", error); free(error); exit(1); }
 *     GroupsEngineDestroy(engine);
 *     GroupsNetDestroy(net);
 *
 * In C++: GroupsTensors tensors = {}; then set its members, as with tensors.image = ...;
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
typedef struct GroupsParams GroupsParams;
struct GroupsParams {
    float foursBiases[16]; /* 16 */
    float foursWeights[576]; /* 16x4x3x3 */
    float ownBiases[16]; /* 16 */
    float ownWeights[144]; /* 16x1x3x3 */
};

typedef struct GroupsNet GroupsNet;       /* packed parameters */
typedef struct GroupsEngine GroupsEngine; /* threads and working memory */

/* Pack the parameters for inference. Gives NULL and sets *net, or an error message for free() and leaves *net alone.
 * `threads` threads share the work, the calling one included. The parameters are not used after the call. A net never
 * changes again and may serve any number of engines. Where there is no memory even for a message, this and the other
 * functions call abort(). */
char *GroupsNetCreate(GroupsNet **net, GroupsParams *params, ptrdiff_t threads);

/* Free a net, after the last engine that uses it. NULL is fine. */
void GroupsNetDestroy(GroupsNet *net);

/* Start threads - 1 workers and allocate working memory. Gives NULL and sets *engine, or a message for free(). Workers
 * leave signals to the program's threads and compute in the floating-point environment of the thread that made them. */
char *GroupsEngineCreate(GroupsEngine **engine, GroupsNet *net, ptrdiff_t threads);

/* Identify a thread of the engine, to set its affinity or priority: index 0 is the thread that created the engine, 1 to
 * threads - 1 are the workers. Gives NULL and sets *to, or an error message for free(). */
char *GroupsEnginePthreadT(GroupsEngine *engine, ptrdiff_t index, pthread_t *to);

/* Floats in each tensor, for arrays of fixed size. */
#define Groups_image_floats 1024
#define Groups_own_floats 512

/* The tensors of an inference by name; those that are not set are NULL. */
typedef struct GroupsTensors GroupsTensors;
struct GroupsTensors {
    const float *image; /* input, 16x8x8 */
    float *own; /* output, 16x8x4 */
};

/* Run the net. Gives NULL, or an error message for free() where a tensor is NULL. Tensors are float32, channels x
 * height x width without gaps, aligned to 4 bytes; inputs are only read, outputs only written. An engine serves one
 * call at a time, from any thread; that thread must not be cancelled meanwhile. Workers do not follow a fork(): in
 * the child an inherited engine can be used and destroyed, but the calling thread works alone. */
char *GroupsEngineRun(GroupsEngine *engine, const GroupsTensors *tensors);

/* The same without checks, as programs for NN-512 call it. Inputs and outputs stand in alphabetical order by tensor
 * (capitals first), so that a call stays right when the lines of the graph change places. */
void GroupsEngineInference(GroupsEngine *engine, const float *imageData, float *ownData);

/* Stop the workers and free the engine. NULL is fine. */
void GroupsEngineDestroy(GroupsEngine *engine);

#ifdef NN512_PROFILE
/* Write a line per layer: name, number of inferences, nanoseconds in all of them, with tabs between. */
void GroupsEngineProfile(GroupsEngine *engine, FILE *to);
#endif

#ifdef __cplusplus
}
#endif
