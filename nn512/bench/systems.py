"""The systems that are compared, as programs ready to run: what they are given, and what they answer."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nn512.arrays import load_arrays, save_arrays
from nn512.bench import native
from nn512.bench.machine import cpu_list
from nn512.bench.peer import PEERS
from nn512.bench.worker import Worker, WorkerError
from nn512.compiler import Emitted
from nn512.errors import INSTALL_PEERS, CannotRunError, UsageError
from nn512.graph import Graph, Output
from nn512.onnx import export_onnx
from nn512.params import Params, save_params
from nn512.toolchain import Compiler

OURS = "nn512"
PROFILED = "nn512 counting"
PEAK = "FMA peak"
PEER_NAMES = tuple(PEERS)
NARROW = "_default"
"""Ends the names of peers that choose their own precision, bfloat16 perhaps."""

Outputs = Mapping[str, NDArray[np.float32]]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class System:
    """A program that infers: its name, the version it told (none for ours), and whether it is one of ours."""

    name: str
    worker: Worker
    version: str | None

    @property
    def is_narrow(self) -> bool:
        """Whether it is a peer that may compute in bfloat16."""
        return self.name.endswith(NARROW)


def check_peers(names: Sequence[str]) -> None:
    """Raise UsageError for peers nobody knows or named twice, CannotRunError for those that are not installed."""
    for name in names:
        if name not in PEERS:
            raise UsageError(f"there is no peer {name!r}; there are {', '.join(PEER_NAMES)}")
        if list(names).count(name) > 1:
            raise UsageError(f"peer {name!r} is named twice")
    modules = dict.fromkeys(name.removesuffix(NARROW) for name in (*names, *(["onnx"] if names else [])))
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotRunError(f"not installed: {', '.join(missing)}; {INSTALL_PEERS}")


class Files:
    """What the programs read, in one directory: parameters, inputs, and for peers the model."""

    def __init__(self, directory: Path, graph: Graph, params: Params, inputs: Params, *, peers: bool) -> None:
        self.directory, self.graph = directory, graph
        self.params, self.inputs = directory / "params.bin", directory / "inputs.bin"
        self.model, self.named_inputs = directory / "model.onnx", directory / "inputs.npz"
        save_params(self.params, graph, params)
        in_order = [inputs[node.to_tensor] for node in graph.arguments if not isinstance(node, Output)]
        self.inputs.write_bytes(b"".join(array.tobytes() for array in in_order))
        if peers:
            export_onnx(self.model, graph, params)
            save_arrays(self.named_inputs, inputs)


def start_ours(
    stack: ExitStack, compiler: Compiler, emitted: Emitted, files: Files, cpus: Sequence[int], *, profile: bool = False
) -> System:
    """The emitted code at work, ended with the stack."""
    program = native.build_net(compiler, files.graph, emitted, profile=profile)
    name = PROFILED if profile else OURS
    command = [str(program), str(files.params), str(files.inputs), cpu_list(cpus)]
    return System(name, stack.enter_context(Worker(name, command)), None)


def start_peer(stack: ExitStack, name: str, files: Files, cpus: Sequence[int]) -> System:
    """A peer at work, ended with the stack."""
    # -P: the folder of the script is no place to import from; its modules would hide others of the same name.
    script = Path(native.__file__).with_name("peer.py")
    command = [sys.executable, "-P", str(script), name, str(files.model), str(files.named_inputs), cpu_list(cpus)]
    worker = stack.enter_context(Worker(name, command))
    return System(name, worker, str(worker.ready.get("version", "")))


def start_peak(stack: ExitStack, compiler: Compiler, cpus: Sequence[int]) -> tuple[Worker, float]:
    """The FMA limit at work, and how many floating point operations one of its rounds does."""
    worker = stack.enter_context(Worker(PEAK, [str(native.build_peak(compiler)), cpu_list(cpus)]))
    return worker, float(worker.ready["flops"])


def outputs_of(system: System, files: Files) -> Outputs:
    """What one inference of a system gives, by output."""
    shapes = {node.from_tensor: files.graph.shapes[node.from_tensor] for node in files.graph.outputs}
    if system.version is not None:
        path = files.directory / f"{system.name}.npz"
        system.worker.ask(f"answer {path}")
        found = load_arrays(path)
        named = {name: found.get(f"arr_{index}") for index, name in enumerate(sorted(shapes))}
        if len(found) != len(shapes) or any(a is None or a.shape != shapes[n] for n, a in named.items()):
            raise WorkerError(f"{system.name} gave outputs of other names or shapes than the graph's")
        return {name: np.asarray(array, np.float32) for name, array in named.items()}
    path = files.directory / "outputs.bin"
    system.worker.ask(f"answer {path}")
    values = np.fromfile(path, np.float32)
    outputs, offset = {}, 0
    for node in files.graph.arguments:
        if isinstance(node, Output):
            shape = shapes[node.from_tensor]
            outputs[node.from_tensor] = values[offset : offset + shape.elements].reshape(shape)
            offset += shape.elements
    return outputs
