"""Other systems that infer, at work in a program of its own: systems.py NAME.

It imports nothing of the project, so that a system that crashes, hangs or corrupts its memory takes nothing along.
A line on standard input is MODEL.onnx, INPUTS.npz and OUTPUTS.npz, divided by tabs: the system loads the model, infers
once, and the outputs are written by name, without the batch axis. The answer is a line of JSON on standard output: {},
or {"refused": "why"} where the system says that it does not take such a model, or {"failed": "how"} where it takes it
and then fails. At the start it is {"version": "of the system"}.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import importlib.util
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, Any]
Infer: TypeAlias = Callable[[Path, Arrays], Arrays]


class RefusedError(Exception):
    """The system does not take this model."""


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Take an exception for a refusal: a system that says at once that it cannot has not failed."""
    try:
        yield
    except Exception as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from error


def onnxruntime(model: Path, inputs: Arrays) -> Arrays:
    """ONNX Runtime on the CPU, all optimizations, one thread."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with _loading():
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {name: array[None] for name, array in inputs.items()})
    return {name: value[0] for name, value in zip(names, values, strict=True)}


def openvino(model: Path, inputs: Arrays) -> Arrays:
    """OpenVINO on the CPU in float32, which is not its own choice where there is bfloat16."""
    return _in_openvino(model, inputs, "f32")


def openvino_bf16(model: Path, inputs: Arrays) -> Arrays:
    """OpenVINO as it computes by default where the processor has bfloat16; in float32 on those that cannot."""
    return _in_openvino(model, inputs, "bf16")


def _in_openvino(model: Path, inputs: Arrays, precision: str) -> Arrays:
    vino = importlib.import_module("openvino")
    settings = {"INFERENCE_NUM_THREADS": "1", "INFERENCE_PRECISION_HINT": precision}
    with _loading():
        compiled = vino.Core().compile_model(model, "CPU", settings)
    results = compiled({name: array[None] for name, array in inputs.items()})
    # What a layer that does nothing reads has the name of its result, too.
    wanted = {value.name for value in _graph(model).output}
    return {name: value[0] for port, value in results.items() for name in wanted & port.names}


def emx_onnx_cgen(model: Path, inputs: Arrays) -> Arrays:
    """The C of emx-onnx-cgen, built with -O1."""
    with tempfile.TemporaryDirectory(prefix="nn512-emx-") as scratch:
        folder = Path(scratch)
        _generate_with_emx(model, folder)
        compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
        sources = [name for name in ("net.c", "net_data.c") if (folder / name).exists()]
        done = _run([compiler, "-O1", "-shared", "-fPIC", *sources, "-o", "net.so", "-lm"], folder)
        if done.returncode:
            raise RuntimeError(f"the C does not build: {_last_words(done)}")
        library = ctypes.CDLL(str(folder / "net.so"))
        weights = folder / "net.bin"
        if weights.exists():
            library.net_load.restype = ctypes.c_bool
            if not library.net_load(os.fsencode(weights)):
                raise RuntimeError("the C does not load its own weights")
    graph = _graph(model)
    results = {
        value.name: np.full([axis.dim_value for axis in value.type.tensor_type.shape.dim], np.nan, np.float32)
        for value in graph.output
    }
    arrays = [*(np.ascontiguousarray(inputs[value.name][None]) for value in graph.input), *results.values()]
    library.net(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays))
    return {name: value[0] for name, value in results.items()}


def _generate_with_emx(model: Path, folder: Path) -> None:
    """Its command line, in this process: a second is saved that it takes to start."""
    command = importlib.import_module("emx_onnx_cgen.cli")
    said = io.StringIO()
    arguments = ["compile", str(model), str(folder / "net.c"), "--model-name", "net", "--emit-data-file"]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _loading():
        try:
            code = command.main(arguments)
        except SystemExit as end:
            code = end.code
    if code:
        raise RefusedError(_key_first(said.getvalue()))


def ncnn(model: Path, inputs: Arrays) -> Arrays:
    """Ncnn in float32 and without Winograd's algorithm, from the model as pnnx converts it."""
    package = importlib.import_module("ncnn")
    done = _run([str(Path(sys.executable).with_name("pnnx")), str(model), "fp16=0"], model.parent)
    param, weights = (model.with_name(f"{model.stem}.ncnn.{kind}") for kind in ("param", "bin"))
    if done.returncode or not param.exists():
        raise RuntimeError(f"pnnx ended with {done.returncode}: {_last_words(done)}")
    graph = _graph(model)
    found = {}
    places = _batch_places(model.with_name(f"{model.stem}_ncnn.py").read_text("utf-8"))
    with package.Net() as net:
        for choice in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "winograd_convolution"):
            setattr(net.opt, f"use_{choice}", False)
        net.opt.num_threads = 1
        if net.load_param(str(param)):
            raise RefusedError("ncnn has no layer for some node")
        if net.load_model(str(weights)):
            raise RuntimeError("ncnn does not load the weights")
        with net.create_extractor() as extractor:
            for number, value in enumerate(graph.input):
                array = np.ascontiguousarray(inputs[value.name][None])
                extractor.input(f"in{number}", package.Mat(array, batch_index=places[f"in{number}"]).clone())
            for number, value in enumerate(graph.output):
                status, result = extractor.extract(f"out{number}")
                if status:
                    raise RuntimeError(f"ncnn gives no output {value.name!r}: {status}")
                array = result.numpy(batch_index=places[f"out{number}"])
                shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
                # Axes of one element may be missing. A result of another size is for the judge to see.
                found[value.name] = array.reshape(shape[1:]) if array.size == math.prod(shape) else array
    return found


def _batch_places(example: str) -> dict[str, int]:
    """Where the batch axis of each input and output is, from the example that pnnx writes beside a converted model.

    It guesses that from the layers. Nets without convolutions and the like have none for it: their first axis is one
    like the others, which 233 stands for, and numbers of axes in the model count it.
    """
    found = re.findall(r"\b((?:in|out)\d+)\.numpy\((?:\), )?batch_index=(\d+)", example)
    if not found:
        raise RefusedError("this pnnx does not say where the batch axis is, which it has to guess; a newer one does")
    return {name: int(place) for name, place in found}


def torch(model: Path, inputs: Arrays) -> Arrays:
    """PyTorch, operator by operator, on one thread."""
    return _in_torch(model, inputs, compiled=False)


def torch_compile(model: Path, inputs: Arrays) -> Arrays:
    """PyTorch's compiler, which writes C++ for the model and builds it."""
    return _in_torch(model, inputs, compiled=True)


def _in_torch(model: Path, inputs: Arrays, *, compiled: bool) -> Arrays:
    package = importlib.import_module("torch")
    package.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("onnx_in_torch", Path(__file__).with_name("onnx_in_torch.py"))
    assert spec is not None
    assert spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    with _loading():
        infer = reader.module_of(importlib.import_module("onnx").load(model))
    if compiled:
        package._dynamo.reset()  # noqa: SLF001 - documented: forget the models before
        infer = package.compile(infer, dynamic=False, fullgraph=True)
    with package.inference_mode():
        found = infer({name: package.from_numpy(array[None].copy()) for name, array in inputs.items()})
    return {name: tensor[0].numpy() for name, tensor in found.items()}


def _can_compile() -> None:
    """Compile something that is no model: where that fails, a C++ compiler is missing, and nothing is at fault."""
    package = importlib.import_module("torch")
    package.compile(lambda x: x + 1)(package.ones(4))


def _nothing() -> None:
    """What must work before a system is asked, where the package is all that it needs."""


SYSTEMS: dict[str, tuple[str, Callable[[], None], Infer]] = {
    "onnxruntime": ("onnxruntime", _nothing, onnxruntime),
    "openvino": ("openvino", _nothing, openvino),
    "openvino-bf16": ("openvino", _nothing, openvino_bf16),
    "emx-onnx-cgen": ("emx_onnx_cgen", _nothing, emx_onnx_cgen),
    "ncnn": ("ncnn", _nothing, ncnn),
    "torch": ("torch", _nothing, torch),
    "torch-compile": ("torch", _can_compile, torch_compile),
}
"""By name: the package that each of them needs, what must work, and what it does."""


def _graph(model: Path) -> Any:  # noqa: ANN401 - of a package that need not be there
    return importlib.import_module("onnx").load(model, load_external_data=False).graph


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    return _key_first(done.stderr or done.stdout)


def _key_first(said: str) -> str:
    """The line that says what failed, by which the fault is known: the first of an error, or else the last one.

    The end of all that was said follows.
    """
    lines = said.strip().splitlines() or ["nothing was said"]
    key = next((line for line in lines if "error:" in line), lines[-1])
    return f"{key.strip()}\n{said.strip()[-2000:]}"


def main() -> None:
    """Obey lines until there are no more."""
    package, attempt, infer = SYSTEMS[sys.argv[1]]
    # Standard output is for answers alone: what libraries print there goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    importlib.import_module(package)
    attempt()
    print(json.dumps({"version": importlib.metadata.version(package)}), file=answers, flush=True)
    for line in sys.stdin:
        model, given, outputs = map(Path, line.rstrip("\n").split("\t"))
        with np.load(given) as archive:
            inputs = dict(archive)
        answer = {}
        try:
            np.savez(outputs, **infer(model, inputs))
        except RefusedError as error:
            answer = {"refused": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
