"""A second compiler, as simple as can be: scalar C with the API, one loop nest per layer, nothing clever.

It lets the tester be tested without the compiler under test, and shows that the tester judges anybody's C. Planted bugs
go in by replacing text.
"""

from __future__ import annotations

from typing import assert_never

from fuzz.targets import Sources
from nn512.graph import (
    LRN,
    Activation,
    Add,
    BatchNorm,
    Binary,
    Concat,
    Conv,
    Div,
    FullyConnected,
    Graph,
    Layer,
    LayerNorm,
    Max,
    Min,
    Mul,
    Pooling,
    RMSNorm,
    Shuffle,
    Slice,
    Softmax,
    Sub,
    argument_name,
    tensors_read,
)
from nn512.plan.plan import Plan, PlannedLayer

_HEADER = """\
#include <pthread.h>
#include <stddef.h>
typedef struct {p}Params {{
{fields}
}} {p}Params;
typedef struct {p}Net {p}Net;
typedef struct {p}Engine {p}Engine;
char *{p}NetCreate({p}Net **, {p}Params *, ptrdiff_t threads);
void {p}NetDestroy({p}Net *);
char *{p}EngineCreate({p}Engine **, {p}Net *, ptrdiff_t threads);
char *{p}EnginePthreadT({p}Engine *, ptrdiff_t index, pthread_t *to);
void {p}EngineInference({p}Engine *, {arguments});
void {p}EngineDestroy({p}Engine *);
"""

_SOURCE = """\
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "{p}.h"

struct {p}Net {{ {p}Params params; }};
struct {p}Engine {{
    const {p}Net *net;
    float *arena;
    ptrdiff_t threads, started;
    pthread_t *ids;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int ending;
}};

static char *message(const char *text) {{
    char *copy = malloc(strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}}

char *{p}NetCreate({p}Net **net, {p}Params *params, ptrdiff_t threads) {{
    if (threads < 1) return message("threads must be at least 1");
    {p}Net *made = malloc(sizeof *made + 1);
    if (!made) return message("out of memory");
    memcpy(&made->params, params, {bytes});
    *net = made;
    return NULL;
}}

void {p}NetDestroy({p}Net *net) {{ free(net); }}

static void *idle(void *argument) {{
    {p}Engine *engine = argument;
    pthread_mutex_lock(&engine->lock);
    while (!engine->ending) pthread_cond_wait(&engine->cond, &engine->lock);
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}}

void {p}EngineDestroy({p}Engine *engine) {{
    if (!engine) return;
    pthread_mutex_lock(&engine->lock);
    engine->ending = 1;
    pthread_cond_broadcast(&engine->cond);
    pthread_mutex_unlock(&engine->lock);
    for (ptrdiff_t i = 1; i <= engine->started; i++) pthread_join(engine->ids[i], NULL);
    pthread_cond_destroy(&engine->cond);
    pthread_mutex_destroy(&engine->lock);
    free(engine->arena);
    free(engine->ids);
    free(engine);
}}

char *{p}EngineCreate({p}Engine **engine, {p}Net *net, ptrdiff_t threads) {{
    if (threads < 1) return message("threads must be at least 1");
    {p}Engine *made = malloc(sizeof *made);
    if (!made) return message("out of memory");
    memset(made, 0, sizeof *made);
    made->net = net;
    made->threads = threads;
    if (pthread_mutex_init(&made->lock, NULL)) {{ free(made); return message("no mutex"); }}
    if (pthread_cond_init(&made->cond, NULL)) {{
        pthread_mutex_destroy(&made->lock);
        free(made);
        return message("no condition");
    }}
    made->arena = malloc({arena} * sizeof(float));
    made->ids = malloc((size_t)threads * sizeof(pthread_t));
    if (!made->arena || !made->ids) {{ {p}EngineDestroy(made); return message("out of memory"); }}
    made->ids[0] = pthread_self();
    for (ptrdiff_t i = 1; i < threads; i++) {{
        if (pthread_create(&made->ids[i], NULL, idle, made)) {{ {p}EngineDestroy(made); return message("no thread"); }}
        made->started = i;
    }}
    *engine = made;
    return NULL;
}}

char *{p}EnginePthreadT({p}Engine *engine, ptrdiff_t index, pthread_t *to) {{
    if (index < 0 || index >= engine->threads) return message("no such thread");
    *to = engine->ids[index];
    return NULL;
}}

void {p}EngineInference({p}Engine *engine, {arguments}) {{
    const {p}Params *params = &engine->net->params;
    (void)params;
{steps}
}}
"""


def emit(graph: Graph) -> Sources:
    """The header and source of a graph, and a plan that says so."""
    offsets: dict[str, int] = {}
    total = 0
    for layer in graph.layers:
        offsets[layer.to_tensor] = total
        total += graph.shapes[layer.to_tensor].elements
    for node in graph.inputs:
        if node.order == "HWC":
            offsets[node.to_tensor] = total
            total += graph.shapes[node.to_tensor].elements

    def at(tensor: str) -> str:
        return f"(engine->arena + {offsets[tensor]})" if tensor in offsets else f"{tensor}Data"

    steps = [
        f"    for (int c = 0; c < {node.channels}; c++) for (int i = 0; i < {node.height * node.width}; i++)\n"
        f"        {at(node.to_tensor)}[c * {node.height * node.width} + i]"
        f" = {node.to_tensor}Data[i * {node.channels} + c];"
        for node in graph.inputs
        if node.order == "HWC"
    ]
    steps += [f"    {{ /* {layer.to_tensor} */\n{_layer(graph, layer, at)}\n    }}" for layer in graph.layers]
    for output in graph.outputs:
        name, size = output.from_tensor, graph.shapes[output.from_tensor].elements
        steps.append(f"    memcpy({name}Data, {at(name)}, {size} * sizeof(float));")
    prefix = graph.config.prefix
    fields = "\n".join(f"    float {p.name}[{p.elements}];" for p in graph.parameters) or "    float nothing;"
    arguments = ", ".join(f"float *{argument_name(node)}" for node in graph.arguments)
    layers = tuple(_planned(n, graph) for n in graph.layers)
    return Sources(
        prefix,
        _HEADER.format(p=prefix, fields=fields, arguments=arguments),
        _SOURCE.format(
            p=prefix,
            arena=max(total, 1),
            bytes=4 * sum(p.elements for p in graph.parameters),
            arguments=arguments,
            steps="\n".join(steps),
        ),
        Plan(prefix, 1, layers, (), 0, 0, 0, (), (), ()),
    )


def _planned(node: Layer, graph: Graph) -> PlannedLayer:
    """The layer of a plan that stands for one node."""
    return PlannedLayer(
        name=node.to_tensor,
        kernel=f"naive{type(node).__name__}",
        algorithm="as the definition says",
        reads=tensors_read(node),
        writes=(node.to_tensor,),
        covers=(node.to_tensor,),
        lines=(),
        nodes=(),
        reason="",
        pixels="",
        mmac=0.0,
        weight_bytes=0,
        predicted_microseconds=0.0,
        prices={},
        added_errors={},
        verdicts={},
        decisions=(),
        forced=False,
        weights="fp32",
        steps=(),
        shared_by_threads=False,
        arithmetic="direct",
        tiles=None,
        edge_classes=("single channel",) if graph.shapes[node.to_tensor].channels == 1 else (),
    )


def _function(layer: Activation) -> str:
    """The function of v as an expression; NaN stays NaN."""
    match layer.kind:
        case "ReLU":
            return "v <= 0 ? 0 : v" if layer.param == 0 else f"v > 0 ? v : (float){layer.param!r} * v"
        case "PReLU":
            return f"v > 0 ? v : params->{layer.to_tensor}Slopes[c] * v"
        case "Clip":
            least, greatest = (f"(float){bound!r}" for bound in (layer.min, layer.max))
            return f"v < {least} ? {least} : v > {greatest} ? {greatest} : v"
        case "Sigmoid":
            return "1 / (1 + expf(-v))"
        case "HardSigmoid":
            line = f"(float){layer.alpha!r} * v + (float){layer.beta!r}"
            return f"{line} < 0 ? 0 : {line} > 1 ? 1 : {line}"
        case "SiLU":
            return "v < -88 ? -0.0f : v / (1 + expf(-v))"
        case "GELU":
            return "v < -13 ? 0 : v > 13 ? v : 0.5f * v * erfcf(-v * 0.70710678f)"
        case "GELUTanh":
            return "v < -13 ? 0 : v > 13 ? v : 0.5f * v * (1 + tanhf(0.79788456f * (v + 0.044715f * v * v * v)))"
        case "ELU":
            return f"v > 0 ? v : (float){layer.param!r} * expm1f(v)"
        case "Softplus":
            return "(v > 0 ? v : v != v ? v : 0) + log1pf(expf(-fabsf(v)))"
        case "Mish":
            return "v < -100 ? 0 : v > 20 ? v : v * tanhf(log1pf(expf(v)))"
        case "Square":
            return "v * v"
        case "Neg":
            return "-v"
        case "Reciprocal":
            return "1 / v"
        case "Exp" | "Log" | "Sqrt" | "Abs":
            return {"Exp": "expf(v)", "Log": "logf(v)", "Sqrt": "sqrtf(v)", "Abs": "fabsf(v)"}[layer.kind]
        case "Tanh":
            return "tanhf(v)"
        case "HardSwish":
            return "v <= -3 ? 0 : v >= 3 ? v : v * (v + 3) / 6"
        case _:
            raise AssertionError(layer.kind)


FUNCTIONS: dict[type, str] = {
    Add: "{0} + {1}",
    Sub: "{0} - {1}",
    Mul: "{0} * {1}",
    Div: "{0} / {1}",
    Max: "{0} > {1} || {0} != {0} ? {0} : {1}",
    Min: "{0} < {1} || {0} != {0} ? {0} : {1}",
}


def _layer(graph: Graph, layer: Layer, at: object) -> str:
    assert callable(at)
    to, (channels, height, width) = layer.to_tensor, graph.shapes[layer.to_tensor]
    y = at(to)
    cells = f"for (int c = 0; c < {channels}; c++) for (int i = 0; i < {height * width}; i++)"
    here = f"c * {height * width} + i"
    if isinstance(layer, Binary):
        a, b = at(layer.from_tensor1), at(layer.from_tensor2)
        strides = graph.shapes[layer.from_tensor2]
        c, i, j = ("0" if extent == 1 else index for extent, index in zip(strides, ("c", "i", "j"), strict=True))
        loops = " ".join(f"for (int {v} = 0; {v} < {n}; {v}++)" for v, n in zip("cij", graph.shapes[to], strict=True))
        first = f"{a}[(c * {height} + i) * {width} + j]"
        second = f"{b}[({c} * {strides.height} + {i}) * {strides.width} + {j}]"
        result = FUNCTIONS[type(layer)].format(first, second)
        return f"    {loops} {y}[(c * {height} + i) * {width} + j] = {result};"
    if isinstance(layer, Concat):
        axis, place, copies = ("Channels", "Height", "Width").index(layer.axis), 0, []
        for name in layer.reads:
            extents = graph.shapes[name]
            index: list[str] = [f"{v} + {place if number == axis else 0}" for number, v in enumerate("cij")]
            place += extents[axis]
            loops = " ".join(f"for (int {v} = 0; {v} < {n}; {v}++)" for v, n in zip("cij", extents, strict=True))
            here = f"((c * {extents.height}) + i) * {extents.width} + j"
            there = f"(({index[0]}) * {height} + {index[1]}) * {width} + {index[2]}"
            copies.append(f"    {loops} {y}[{there}] = {at(name)}[{here}];")
        return "\n".join(copies)
    x, source = at(layer.from_tensor), graph.shapes[layer.from_tensor]
    match layer:
        case Conv():
            per, out = source.channels // layer.groups, channels // layer.groups
            return f"""\
    for (int k = 0; k < {channels}; k++) for (int i = 0; i < {height}; i++) for (int j = 0; j < {width}; j++) {{
        float sum = params->{to}Biases[k];
        for (int c = 0; c < {per}; c++)
        for (int h = 0; h < {layer.filter_h}; h++) for (int w = 0; w < {layer.filter_w}; w++) {{
            const int row = i * {layer.stride_h} + h * {layer.dilation_h} - {layer.padding_top};
            const int column = j * {layer.stride_w} + w * {layer.dilation_w} - {layer.padding_left};
            if (row < 0 || row >= {source.height} || column < 0 || column >= {source.width}) continue;
            sum += params->{to}Weights[((k * {per} + c) * {layer.filter_h} + h) * {layer.filter_w} + w]
                 * {x}[((k / {out} * {per} + c) * {source.height} + row) * {source.width} + column];
        }}
        {y}[(k * {height} + i) * {width} + j] = sum;
    }}"""
        case FullyConnected():
            return f"""\
    for (int k = 0; k < {channels}; k++) {{
        float sum = params->{to}Biases[k];
        for (int i = 0; i < {source.elements}; i++) sum += params->{to}Weights[k * {source.elements} + i] * {x}[i];
        {y}[k] = sum;
    }}"""
        case BatchNorm():
            return (
                f"    {cells} {y}[{here}] = params->{to}Scales[c] * ({x}[{here}] - params->{to}Means[c])"
                f" / sqrtf(params->{to}Variances[c] + {layer.epsilon:.17g}f) + params->{to}Shifts[c];"
            ).replace(f"{layer.epsilon:.17g}f", f"(float){layer.epsilon!r}")
        case Activation():
            return f"    {cells} {{ const float v = {x}[{here}]; {y}[{here}] = {_function(layer)}; }}"
        case Pooling():
            window_h, window_w = layer.window_of(source)
            top, left = f"i * {layer.stride_h} - {layer.padding_top}", f"j * {layer.stride_w} - {layer.padding_left}"
            cells = str(window_h * window_w) if layer.count_padding else "n"
            update = "m = v <= m || m != m ? m : v, n++;" if layer.is_max else "m += v; n++;"
            start, result = ("-INFINITY", "m") if layer.is_max else ("0", f"m / (float){cells}")
            return f"""\
    for (int c = 0; c < {channels}; c++) for (int i = 0; i < {height}; i++) for (int j = 0; j < {width}; j++) {{
        float m = {start};
        int n = 0;
        for (int row = {top}; row < {top} + {window_h}; row++)
            for (int column = {left}; column < {left} + {window_w}; column++) {{
                if (row < 0 || row >= {source.height} || column < 0 || column >= {source.width}) continue;
                const float v = {x}[(c * {source.height} + row) * {source.width} + column];
                {update}
            }}
        {y}[(c * {height} + i) * {width} + j] = {result};
        (void)n;
    }}"""
        case Slice() | Shuffle():
            c, i, j = "c", "i", "j"
            if isinstance(layer, Shuffle):
                c = f"(c % {layer.groups} * {channels // layer.groups} + c / {layer.groups})"
            elif layer.axis == "Channels":
                c = f"(c * {layer.step} + {layer.first})"
            elif layer.axis == "Height":
                i = f"(i * {layer.step} + {layer.first})"
            else:
                j = f"(j * {layer.step} + {layer.first})"
            return f"""\
    for (int c = 0; c < {channels}; c++) for (int i = 0; i < {height}; i++) for (int j = 0; j < {width}; j++)
        {y}[(c * {height} + i) * {width} + j] = {x}[({c} * {source.height} + {i}) * {source.width} + {j}];"""
        case Softmax():
            pixels = height * width
            return f"""\
    for (int i = 0; i < {pixels}; i++) {{
        float m = -INFINITY, sum = 0;
        for (int c = 0; c < {channels}; c++) {{ const float v = {x}[c * {pixels} + i]; if (!(v <= m)) m = v; }}
        for (int c = 0; c < {channels}; c++) sum += {y}[c * {pixels} + i] = expf({x}[c * {pixels} + i] - m);
        for (int c = 0; c < {channels}; c++) {y}[c * {pixels} + i] /= sum;
    }}"""
        case LayerNorm() | RMSNorm():
            pixels, centred = height * width, isinstance(layer, LayerNorm)
            return f"""\
    for (int i = 0; i < {pixels}; i++) {{
        float m = 0, power = 0;
        for (int c = 0; c < {channels}; c++) m += {int(centred)} * {x}[c * {pixels} + i];
        m = {int(centred)} ? m / {channels} : 0;
        for (int c = 0; c < {channels}; c++) power += ({x}[c * {pixels} + i] - m) * ({x}[c * {pixels} + i] - m);
        const float root = sqrtf(power / {channels} + (float){layer.epsilon!r});
        for (int c = 0; c < {channels}; c++)
            {y}[c * {pixels} + i] = params->{to}Scales[c] * (({x}[c * {pixels} + i] - m) / root)
                {f"+ params->{to}Shifts[c]" if centred else ""};
    }}"""
        case LRN():
            before, pixels = (layer.size - 1) // 2, height * width
            return f"""\
    for (int c = 0; c < {channels}; c++) for (int i = 0; i < {pixels}; i++) {{
        float sum = 0;
        for (int d = c - {before}; d < c - {before} + {layer.size}; d++)
            if (d >= 0 && d < {channels}) sum += {x}[d * {pixels} + i] * {x}[d * {pixels} + i];
        {y}[c * {pixels} + i] = {x}[c * {pixels} + i]
            / powf((float){layer.bias!r} + (float){layer.alpha!r} / {layer.size} * sum, (float){layer.beta!r});
    }}"""
        case _:
            assert_never(layer)
