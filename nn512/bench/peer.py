"""A peer at work, as a program of its own: peer.py SYSTEM MODEL.onnx INPUTS.npz CPUS.

It imports nothing of nn512, so that nothing of nn512 runs beside what is measured. Lines understood on standard input,
each answered with a line of JSON on standard output:

    run U T        U inferences untimed, T timed: {"nanoseconds": [...]}
    answer PATH    one inference whose outputs, sorted by name, are written to PATH (.npz): {}
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns
from typing import Any, TypeAlias

import numpy as np

Infer: TypeAlias = Callable[[], object]
Outputs: TypeAlias = Callable[[], dict[str, Any]]
Peer: TypeAlias = tuple[str, Infer, Outputs]
"""Version, one inference, and the outputs of the last one by name, without the batch axis."""


def onnxruntime(model: str, inputs: dict[str, Any], cpus: list[int]) -> Peer:
    """ONNX Runtime on the CPU, all optimizations, every thread pinned, inputs and outputs bound once."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = len(cpus)
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if len(cpus) > 1:  # one entry per thread beside the caller's; processors are counted from 1
        options.add_session_config_entry("session.intra_op_thread_affinities", ";".join(str(c + 1) for c in cpus[1:]))
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    os.sched_setaffinity(0, cpus[:1])  # this thread alone
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array[None])
    names = [output.name for output in session.get_outputs()]
    values = [runtime.OrtValue.ortvalue_from_shape_and_type(o.shape, np.float32) for o in session.get_outputs()]
    for name, value in zip(names, values, strict=True):
        binding.bind_ortvalue_output(name, value)

    def infer() -> None:
        session.run_with_iobinding(binding)

    def outputs() -> dict[str, Any]:
        return {name: value.numpy()[0] for name, value in zip(names, values, strict=True)}

    return runtime.__version__, infer, outputs


def openvino(model: str, inputs: dict[str, Any], cpus: list[int], precision: str = "f32") -> Peer:
    """OpenVINO on the CPU, for latency, in float32 (see `openvino_default`)."""
    vino = importlib.import_module("openvino")
    core = vino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(len(cpus)),
        **({"INFERENCE_PRECISION_HINT": precision} if precision else {}),
    }
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    used = str(compiled.get_property("INFERENCE_PRECISION_HINT"))
    if precision and precision not in used.replace("float", "f"):
        raise RuntimeError(f"OpenVINO computes in {used} though {precision} was asked for")
    request = compiled.create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, vino.Tensor(np.ascontiguousarray(array[None])))

    def outputs() -> dict[str, Any]:
        return {n: request.get_tensor(port).data[0] for port in compiled.outputs for n in port.get_names()}

    return vino.__version__.split("-")[0], request.infer, outputs


def openvino_default(model: str, inputs: dict[str, Any], cpus: list[int]) -> Peer:
    """The same in the precision that it takes unless told otherwise: bfloat16 where there is AVX512_BF16 or AMX."""
    return openvino(model, inputs, cpus, precision="")


def emx_onnx_cgen(model: str, inputs: dict[str, Any], cpus: list[int]) -> Peer:
    """The C of emx-onnx-cgen, which knows one thread, built for this processor and with leave to reorder sums."""
    if len(cpus) > 1:
        raise RuntimeError("the C of emx-onnx-cgen computes on one thread")
    folder = Path(model).parent
    generate = [sys.executable, "-m", "emx_onnx_cgen", "compile", model, "emx.c", "--model-name", "emx"]
    _finish([*generate, "--emit-data-file"], folder)
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    _finish([os.environ.get("CC", "cc"), *flags, "emx.c", "emx_data.c", "-o", "emx.so", "-lm"], folder)
    library = ctypes.CDLL(str(folder / "emx.so"))
    if (folder / "emx.bin").exists():  # weights that it does not write as C
        library.emx_load.restype = ctypes.c_bool
        if not library.emx_load(str(folder / "emx.bin").encode()):
            raise RuntimeError("the C of emx-onnx-cgen does not load its weights")
    graph = importlib.import_module("onnx").load(model, load_external_data=False).graph
    results = {
        value.name: np.zeros([axis.dim_value for axis in value.type.tensor_type.shape.dim], np.float32)
        for value in graph.output
    }
    arrays = [*(np.ascontiguousarray(inputs[value.name][None]) for value in graph.input), *results.values()]
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]

    def infer() -> None:
        library.emx(*pointers)

    return version("emx-onnx-cgen"), infer, lambda: {name: array[0] for name, array in results.items()}


def _finish(command: list[str], folder: Path) -> None:
    """Run a program that prepares what is measured."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} failed: {(done.stderr or done.stdout).strip()[-500:]}")


PEERS: dict[str, Callable[[str, dict[str, Any], list[int]], Peer]] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "openvino_default": openvino_default,
    "emx_onnx_cgen": emx_onnx_cgen,
}


def main() -> None:
    """Load, say so, and obey lines until there are no more."""
    system, model, inputs_path, cpu_list = sys.argv[1:]
    # Standard output is for answers alone: what libraries print there goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**data: object) -> None:
        print(json.dumps(data), file=answers, flush=True)

    cpus = [int(cpu) for cpu in cpu_list.split(",")]
    os.sched_setaffinity(0, cpus)  # before a library counts processors and starts threads
    with np.load(inputs_path) as archive:
        inputs = dict(archive)
    try:
        told, infer, outputs = PEERS[system](model, inputs, cpus)
    except Exception as error:  # noqa: BLE001 - whatever it is, the one who measures tells the user
        answer(error=f"{type(error).__name__}: {error}")
        return
    answer(ready=True, version=told)
    for line in sys.stdin:
        command, *arguments = line.rstrip("\n").split(" ", 1 if line.startswith("answer") else -1)
        if command == "run":
            untimed, timed = map(int, arguments)
            for _ in range(untimed):
                infer()
            times = []
            for _ in range(timed):
                start = perf_counter_ns()
                infer()
                times.append(perf_counter_ns() - start)
            answer(nanoseconds=times)
        elif command == "answer":
            infer()
            found = outputs()
            np.savez(arguments[0], *(found[name] for name in sorted(found)))
            answer()


if __name__ == "__main__":
    main()
