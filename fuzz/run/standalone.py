"""A net inferred once by the driver that users get, under any runner: for what cannot run inside this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fuzz.run.build import net_options
from fuzz.run.outcome import FloatArray
from fuzz.run.process import fill, memory_file, run_program
from fuzz.run.runners import Runner
from nn512.arrays import Array
from nn512.cgen.driver import driver_name, write_driver
from nn512.compiler import Emitted
from nn512.errors import CannotRunError
from nn512.graph import Graph, argument_tensor, multiply_accumulates
from nn512.params import check_arrays, to_bytes
from nn512.toolchain import LANGUAGE_FLAGS, BuildCache, build

_LEAST_SECONDS = 60.0
_SECONDS_PER_MAC = 1e-8
"""Bounds of an inference on a processor, which emulators get a multiple of: a tenth of what slow code reaches."""


def build_driver(graph: Graph, emitted: Emitted, runner: Runner, cache: BuildCache | None = None) -> Path:
    """The driver program of a net. Raises BuildError and CannotRunError."""
    name = driver_name(emitted.prefix)
    files = {f"{emitted.prefix}.h": emitted.header, "net.c": emitted.source, name: write_driver(graph)}
    flags, objects = net_options(runner, cache)
    arguments = [*LANGUAGE_FLAGS, runner.level("-O2"), *flags, "net.c", name, *objects, *runner.link_flags]
    return build(runner.compiler, files, arguments, "driver", cache=cache, depends=runner.depends).path


def infer(
    graph: Graph, emitted: Emitted, params: Mapping[str, Array], inputs: Mapping[str, Array], runner: Runner
) -> dict[str, FloatArray]:
    """The outputs (channels x height x width) by tensor name, for parameters and inputs as `Session.run` takes them.

    Raises UsageError for arrays that do not fit, CannotRunError where the program does not come to its end.
    """
    given = check_arrays("input", graph.input_shapes, inputs)
    program = build_driver(graph, emitted, runner)
    macs = sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers)
    with memory_file("job") as job:
        fill(job, [to_bytes(graph, params), *(given[argument_tensor(node)].data for node in graph.inputs)])
        ended = run_program(runner, program, job, (_LEAST_SECONDS + macs * _SECONDS_PER_MAC) * runner.slowdown)
    shapes = {node.from_tensor: graph.shapes[node.from_tensor] for node in graph.outputs}
    if ended.returncode != 0 or len(ended.result) != 4 * sum(shape.elements for shape in shapes.values()):
        how = "does not end" if ended.hung else f"ends with {ended.returncode}"
        said = ended.log.decode("utf-8", "replace").strip()
        raise CannotRunError(f"{driver_name(emitted.prefix)} {how} under {runner.name}\n{said}".rstrip())
    outputs, at = {}, 0
    for name, shape in shapes.items():
        outputs[name] = np.frombuffer(ended.result, np.float32, shape.elements, at).reshape(shape).copy()
        at += 4 * shape.elements
    return outputs
