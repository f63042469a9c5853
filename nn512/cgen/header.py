"""The emitted header: structs of parameters and tensors, sizes, the functions, and an example of their use."""

from __future__ import annotations

import textwrap

from nn512.cgen import names
from nn512.cgen.writer import WIDTH, Writer
from nn512.graph.graph import Graph, argument_name, argument_tensor
from nn512.graph.nodes import Input, Output

FUNCTIONS = """
/* Pack the parameters for inference. Gives NULL and sets *net, or an error message for free() and leaves *net alone.
 * `threads` threads share the work, the calling one included. The parameters are not used after the call. A net never
 * changes again and may serve any number of engines. Where there is no memory even for a message, this and the other
 * functions call abort(). */
char *{p}NetCreate({p}Net **net, {p}Params *params, ptrdiff_t threads);

/* Free a net, after the last engine that uses it. NULL is fine. */
void {p}NetDestroy({p}Net *net);

/* Start threads - 1 workers and allocate working memory. Gives NULL and sets *engine, or a message for free(). Workers
 * leave signals to the program's threads and compute in the floating-point environment of the thread that made them. */
char *{p}EngineCreate({p}Engine **engine, {p}Net *net, ptrdiff_t threads);

/* Identify a thread of the engine, to set its affinity or priority: index 0 is the thread that created the engine, 1 to
 * threads - 1 are the workers. Gives NULL and sets *to, or an error message for free(). */
char *{p}EnginePthreadT({p}Engine *engine, ptrdiff_t index, pthread_t *to);
"""


PROFILE = """
#ifdef NN512_PROFILE
/* Write a line per layer: name, number of inferences, nanoseconds in all of them, with tabs between. */
void {p}EngineProfile({p}Engine *engine, FILE *to);
#endif
"""


def write_header(graph: Graph) -> str:
    """Text of `<Prefix>.h`."""
    prefix = graph.config.prefix
    writer = Writer()
    writer.line("#pragma once")
    writer.line()
    writer.lines(_example(graph))
    writer.line()
    writer.line("#include <pthread.h>")
    writer.line("#include <stddef.h>")
    writer.lines("#ifdef NN512_PROFILE\n#include <stdio.h>\n#endif")
    writer.line()
    writer.lines('#ifdef __cplusplus\nextern "C" {\n#endif')
    writer.line()
    writer.comment("Parameter tensors in NCHW order, one after another without gaps.")
    writer.line(f"typedef struct {prefix}Params {prefix}Params;")
    _write_params(writer, graph)
    writer.line()
    writer.line(f"typedef struct {prefix}Net {prefix}Net;       /* packed parameters */")
    writer.line(f"typedef struct {prefix}Engine {prefix}Engine; /* threads and working memory */")
    writer.line()
    writer.lines(FUNCTIONS.replace("{p}", prefix))
    writer.line()
    _write_tensors(writer, graph)
    writer.line()
    mixed = any(node.interleaved for node in graph.inputs)
    interleaved = " (inputs that say so: height x width x channels)" if mixed else ""
    writer.comment(
        "Run the net. Gives NULL, or an error message for free() where a tensor is NULL. Tensors are float32, "
        f"channels x height x width{interleaved} without gaps, aligned to 4 bytes; inputs are only read, outputs only "
        "written. An engine serves one call at a time, from any thread; that thread must not be cancelled meanwhile. "
        "Workers do not follow a fork(): in the child an inherited engine can be used and destroyed, but the calling "
        "thread works alone."
    )
    writer.line(f"char *{prefix}EngineRun({prefix}Engine *engine, const {prefix}Tensors *tensors);")
    writer.line()
    writer.comment(
        "The same without checks, as programs for NN-512 call it. Inputs and outputs stand in alphabetical order by "
        "tensor (capitals first), so that a call stays right when the lines of the graph change places."
    )
    write_inference_signature(writer, graph, ";")
    writer.line()
    writer.comment("Stop the workers and free the engine. NULL is fine.")
    writer.line(f"void {prefix}EngineDestroy({prefix}Engine *engine);")
    writer.line()
    writer.lines(PROFILE.replace("{p}", prefix))
    writer.line()
    writer.lines("#ifdef __cplusplus\n}\n#endif")
    return writer.text()


def write_inference_signature(writer: Writer, graph: Graph, tail: str) -> None:
    """Write the signature of the inference function and what stands behind it."""
    prefix = graph.config.prefix
    arguments = (f"{_pointer(node)}{argument_name(node)}" for node in graph.arguments)
    writer.statement(f"void {prefix}EngineInference", [f"{prefix}Engine *engine", *arguments], tail)


def in_and_out(graph: Graph) -> tuple[Input | Output, ...]:
    """Inputs, then outputs, in the order of the file: that of the struct of tensors."""
    return (*graph.inputs, *graph.outputs)


def _pointer(node: Input | Output) -> str:
    """The type through which the net sees a tensor of the caller."""
    return "const float *" if isinstance(node, Input) else "float *"


def _write_tensors(writer: Writer, graph: Graph) -> None:
    prefix = graph.config.prefix
    tensors = [(node, argument_tensor(node)) for node in in_and_out(graph)]
    writer.comment("Floats in each tensor, for arrays of fixed size.")
    for _, tensor in tensors:
        writer.line(f"#define {names.floats(prefix, tensor)} {graph.shapes[tensor].elements}")
    writer.line()
    renamed = any(names.member(tensor) != tensor for _, tensor in tensors)
    underscore = " A word of C, C++ or a system header has an underscore behind it." if renamed else ""
    writer.comment(f"The tensors of an inference by name; those that are not set are NULL.{underscore}")
    writer.line(f"typedef struct {prefix}Tensors {prefix}Tensors;")
    with writer.block(f"struct {prefix}Tensors", "};"):
        for node, tensor in tensors:
            writer.line(f"{_pointer(node)}{names.member(tensor)}; /* {_described(node, graph)} */")


def _described(node: Input | Output, graph: Graph) -> str:
    """The role of a tensor, its shape, and its order where that is not the usual one."""
    if isinstance(node, Output):
        return f"output, {graph.shapes[node.from_tensor]}"
    shape = "x".join(map(str, node.array_shape))
    return f"input, {shape}: height x width x channels" if node.interleaved else f"input, {shape}"


def _write_params(writer: Writer, graph: Graph) -> None:
    prefix = graph.config.prefix
    with writer.block(f"struct {prefix}Params", "};"):
        for parameter in graph.parameters:
            extents = "x".join(str(extent) for extent in parameter.shape)
            writer.line(f"float {parameter.name}[{parameter.elements}]; /* {extents} */")
        if not graph.parameters:
            writer.line("char none; /* this net has no parameters */")


def _example(graph: Graph) -> str:
    prefix = graph.config.prefix
    fill = ", ".join(argument_name(node) for node in graph.inputs)
    # What is wrapped breaks at blanks, so these are where no line may end.
    set_members = (
        f".{names.member(argument_tensor(node))}\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{argument_name(node)}"
        for node in in_and_out(graph)
    )
    declared = (f"{argument_name(node)}[{names.floats(prefix, argument_tensor(node))}]" for node in in_and_out(graph))
    first = names.member(argument_tensor(graph.inputs[0]))
    report = 'if (error) { fprintf(stderr, "%s\\n", error); free(error); exit(1); }'
    lines = [
        f"/* {prefix}: inference of a neural net for processors with AVX-512. Example of use:",
        " *",
        f" *     {prefix}Params *params = malloc(sizeof({prefix}Params));",
        " *     ... read the parameters into *params, for instance with fread ...",
        f" *     {prefix}Net *net;",
        f" *     char *error = {prefix}NetCreate(&net, params, 2);",
        f" *     {report}",
        " *     free(params);",
        f" *     {prefix}Engine *engine;",
        f" *     error = {prefix}EngineCreate(&engine, net, 2);",
        f" *     {report}",
        *_wrapped(f"static float {', '.join(declared)};"),
        f" *     ... fill {fill} ...",
        *_wrapped(f"error = {prefix}EngineRun(engine, &({prefix}Tensors){{{', '.join(set_members)}}});"),
        f" *     {report}",
        f" *     {prefix}EngineDestroy(engine);",
        f" *     {prefix}NetDestroy(net);",
        " *",
        f" * In C++: {prefix}Tensors tensors = {{}}; then set its members, as with tensors.{first} = ...;",
        " * and pass &tensors. */",
    ]
    return "\n".join(lines)


def _wrapped(statement: str) -> list[str]:
    """Lines of the example for a statement of any length."""
    lines = textwrap.wrap(
        statement,
        WIDTH,
        initial_indent=" *     ",
        subsequent_indent=" *         ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
