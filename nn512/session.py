"""A net at work inside Python: compiles the emitted C to a shared object, loads it, runs it."""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nn512 import toolchain
from nn512.arrays import Array
from nn512.compiler import Emitted
from nn512.compiler import compile as compile_graph
from nn512.errors import CannotRunError, UsageError
from nn512.graph import Graph, Input, argument_tensor, parse
from nn512.options import MOST_THREADS, Options
from nn512.params import check_arrays, to_bytes

NO_AVX512 = "this processor has no AVX-512F: the net runs on portable intrinsics, some twenty times slower"

IN_PROCESS = frozenset(("", "native", "soft"))
"""Values of $NN512_RUNNER with which emitted code runs inside this process."""


class Session:
    """One net with its parameters, threads and scratch memory, ready to infer.

    `graph` is a checked graph or its text, `params` maps the names of its parameters to float32 arrays. The C compiler
    is $CC or the first of gcc, clang and cc; what it made is kept in a cache. NN512_RUNNER=soft runs the emitted code
    on portable intrinsics, which any processor can do, some twenty times slower. Where the processor has no AVX-512F
    that is done without asking, with a RuntimeWarning; NN512_RUNNER=native forbids it. Kernels are chosen for one
    thread unless the options say otherwise; results do not depend on `threads`.

    Raises UsageError for parameters that do not fit, CannotRunError where there is no compiler.
    """

    def __init__(
        self, graph: Graph | str, params: Mapping[str, Array], threads: int = 1, *, options: Options | None = None
    ) -> None:
        self.graph = parse(graph) if isinstance(graph, str) else graph
        if not 1 <= threads <= MOST_THREADS:
            raise UsageError(f"threads must be from 1 to {MOST_THREADS}, not {threads}")
        packed = to_bytes(self.graph, params)
        emitted = compile_graph(self.graph, options)
        library = _load(emitted)
        self._infer = library[f"{emitted.prefix}EngineInference"]
        self._infer.restype = None
        self._lock = threading.Lock()
        self._engine = ctypes.c_void_p()
        net = ctypes.c_void_p()
        _create(library[f"{emitted.prefix}NetCreate"], net, packed, threads)
        destroy_net = _destroyer(library, f"{emitted.prefix}NetDestroy")
        try:
            _create(library[f"{emitted.prefix}EngineCreate"], self._engine, net, threads)
        except BaseException:
            destroy_net(net)
            raise
        destroy_engine = _destroyer(library, f"{emitted.prefix}EngineDestroy")

        def release(engine: ctypes.c_void_p = self._engine) -> None:
            destroy_engine(engine)
            destroy_net(net)

        self._release = weakref.finalize(self, release)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """The outputs (channels x height x width) by tensor name, for the inputs by tensor name.

        Inputs are channels x height x width, too, or height x width x channels where the graph says Order=HWC.

        Raises UsageError for wrong names, shapes and types. Calls from several threads wait for one another: a session
        has one engine.
        """
        shapes = self.graph.shapes
        given = check_arrays("input", self.graph.input_shapes, inputs)
        outputs = {node.from_tensor: np.empty(shapes[node.from_tensor], np.float32) for node in self.graph.outputs}
        arguments = [
            (given if isinstance(node, Input) else outputs)[argument_tensor(node)].ctypes.data
            for node in self.graph.arguments
        ]
        with self._lock:
            if not self._release.alive:
                raise UsageError("this session is closed")
            self._infer(self._engine, *map(ctypes.c_void_p, arguments))
        return outputs

    def close(self) -> None:
        """Stop the threads and free the memory. Closing again does nothing."""
        with self._lock:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def _load(emitted: Emitted) -> ctypes.CDLL:
    """The emitted code as a loaded shared object, for this processor or on portable intrinsics."""
    runner = os.environ.get("NN512_RUNNER", "")
    if runner not in IN_PROCESS:
        raise CannotRunError(f"NN512_RUNNER={runner}: a session runs inside this process: native or soft")
    soft = runner == "soft"
    if not soft and not toolchain.has_avx512():
        if runner:
            raise CannotRunError("this processor has no AVX-512F; NN512_RUNNER=soft runs without it, far slower")
        warnings.warn(NO_AVX512, RuntimeWarning, stacklevel=3)
        soft = True
    path = toolchain.compile_shared(f"{emitted.prefix}.h", emitted.header, emitted.source, soft=soft)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise CannotRunError(f"cannot load the compiled net: {error}") from error


def _create(function: ctypes._NamedFuncPointer, to: ctypes.c_void_p, source: object, threads: int) -> None:
    """Call one of the two functions that create; its message becomes a CannotRunError."""
    function.restype = ctypes.c_void_p
    message = function(ctypes.byref(to), source, ctypes.c_ssize_t(threads))
    if message is not None:
        text = ctypes.string_at(message).decode("utf-8", "replace")
        free = ctypes.CDLL(None).free
        free.restype = None
        free(ctypes.c_void_p(message))
        raise CannotRunError(text)


def _destroyer(library: ctypes.CDLL, name: str) -> ctypes._NamedFuncPointer:
    function = library[name]
    function.restype = None
    return function
