"""The way in from PyTorch: a module to an imported graph, through the ONNX exporters that PyTorch has."""

from __future__ import annotations

import importlib
import inspect
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nn512.errors import CannotRunError, UsageError
from nn512.graph.diagnostics import visible
from nn512.onnx.imported import Imported
from nn512.onnx.importing import convert
from nn512.onnx.load import model_of
from nn512.onnx.model import Cut
from nn512.onnx.naming import prefix_of
from nn512.onnx.refusal import UnsupportedError
from nn512.params import show_shape

INSTALL_TORCH = "pip install '.[torch]' in a checkout of nn512"
"""What makes PyTorch and what its exporters need available; '.[peers]' has them, too."""

OPSET = 20
"""The operator set that is asked for: the first with Gelu, and one that both exporters know."""

MOST_TOLD = 400
"""Characters of PyTorch's message that an error repeats; the whole of it is the error's cause."""

_TRAINING = "batch norms and dropout compute something else there; call module.eval() before"


def from_torch(
    module: Any,  # noqa: ANN401 - a torch.nn.Module; PyTorch is optional
    example_inputs: Any,  # noqa: ANN401 - a torch.Tensor or some of them
    *,
    exporter: str = "dynamo",
    input_names: Sequence[str] = (),
    output_names: Sequence[str] = (),
    prefix: str | None = None,
) -> Imported:
    """Import a torch.nn.Module: its graph, its parameters, and what became of its tensors, as `from_onnx` does.

    `example_inputs` is a tensor, or several in the order of the arguments of `forward`. Their shapes are the net's;
    their first axis is a batch of 1, which the graph does not have. Their values do not matter.

    The module must be in evaluation mode, all of it: in training mode batch norms take their moments from the batch,
    and a net that computes something else than the caller sees would be no help. It is refused rather than switched.

    `exporter` is "dynamo" (torch.export; needs the package onnxscript) or "torchscript" (the older one, which traces).
    Neither writes a file. Layers are called after the module's parameters, features.0.weight gives features0, or
    after submodules; inputs after the arguments of `forward`. `input_names` and `output_names` say it otherwise, as
    they do for torch.onnx.export. `prefix` is that of the emitted C, by default made of the module's class.

    Raises UnsupportedError with everything that the language cannot say, by the path of the submodule where the
    exporter tells it; UsageError for a module in training mode, wrong arguments and an export that fails;
    CannotRunError where a package is missing.
    """
    torch = _package("torch")
    if exporter not in EXPORTERS:
        raise UsageError(f"exporter is {' or '.join(map(repr, EXPORTERS))}, not {exporter!r}")
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"from_torch takes a torch.nn.Module, not {type(module).__name__}")
    onnx = _package("onnx")
    name = type(module).__name__
    _refuse_training(module, name)
    examples = _examples(torch, example_inputs)
    try:
        with torch.no_grad():
            module(*examples)
    except Exception as error:  # of any kind
        raise UsageError(f"{name} itself fails with these example inputs: {_told(error)}") from error
    names = tuple(input_names) or _arguments(module, len(examples))
    options = {"input_names": list(names) or None, "output_names": list(output_names) or None, "opset_version": OPSET}
    data = _exported(EXPORTERS[exporter], torch, module, examples, options, name, exporter)
    cut = Cut({}, prefix=prefix_of(name) if prefix is None else prefix, invented_ends=not output_names)
    try:
        return convert(model_of(onnx, data, Path(name)), cut)
    except UnsupportedError as error:
        raise UnsupportedError(name, error.refusals, "a submodule can be imported by itself") from None


def _package(name: str) -> Any:  # noqa: ANN401 - a module without usable types
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CannotRunError(f"from_torch needs the package {name} ({error}): {INSTALL_TORCH}") from error


def _refuse_training(module: Any, name: str) -> None:  # noqa: ANN401
    """UsageError for a module of which anything is in training mode."""
    trained = [path for path, part in module.named_modules() if part.training]
    if module.training:
        raise UsageError(f"{name} is in training mode: {_TRAINING}")
    if trained:
        more = f" and {len(trained) - 1:,} more" if len(trained) > 1 else ""
        raise UsageError(f"{trained[0]!r}{more} of {name}, in training mode: {_TRAINING}")


def _examples(torch: Any, given: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """The tensors to export with. Raises UsageError for anything else, and for a batch."""
    examples = (given,) if isinstance(given, torch.Tensor) else given
    if not isinstance(examples, tuple | list) or not examples:
        raise UsageError(f"example_inputs is a tensor or a tuple of them, not {type(given).__name__}")
    for number, example in enumerate(examples):
        if not isinstance(example, torch.Tensor):
            raise UsageError(f"example input {number} is no tensor but {type(example).__name__}")
        if example.dim() > 3 and example.shape[0] != 1:
            shape = show_shape(tuple(example.shape))
            raise UsageError(f"example input {number} is {shape}: nets of a batch of 1 are imported, give x[:1]")
    return tuple(examples)


def _arguments(module: Any, count: int) -> tuple[str, ...]:  # noqa: ANN401
    """What `forward` calls its first arguments; nothing where it does not say."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # of a module that is no Python
        return ()
    names = [p.name for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    return tuple(names[:count]) if len(names) >= count else ()


# --- the exporters ----------------------------------------------------------------------------------------------------

Exporter = Callable[[Any, Any, tuple[Any, ...], Mapping[str, Any]], bytes]


def _by_dynamo(torch: Any, module: Any, examples: tuple[Any, ...], options: Mapping[str, Any]) -> bytes:  # noqa: ANN401
    """Without the optimizations that fold batch norms into weights, which then are no parameters of anybody.

    Folding of constants has to be there: what is exported splits tensors into sequences and reads their elements.
    """
    _package("onnxscript")
    optimizer = importlib.import_module("onnxscript.optimizer")
    program = torch.onnx.export(module, examples, dynamo=True, optimize=False, verbose=False, **options)
    optimizer.inline(program.model)
    optimizer.fold_constants(program.model, onnx_shape_inference=True)
    return bytes(program.model_proto.SerializeToString())


def _by_torchscript(torch: Any, module: Any, examples: tuple[Any, ...], options: Mapping[str, Any]) -> bytes:  # noqa: ANN401
    """In a mode in which the module is left as it is, for the same reason."""
    stream = io.BytesIO()
    kept = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    torch.onnx.export(module, examples, stream, dynamo=False, **kept, **options)
    return stream.getvalue()


EXPORTERS: Mapping[str, Exporter] = MappingProxyType({"dynamo": _by_dynamo, "torchscript": _by_torchscript})
"""By the name that from_torch has for it, the default first."""


def _exported(
    export: Exporter,
    torch: Any,  # noqa: ANN401
    module: Any,  # noqa: ANN401
    examples: tuple[Any, ...],
    options: Mapping[str, Any],
    name: str,
    exporter: str,
) -> bytes:
    """The model's bytes. Raises UsageError with what PyTorch says where it fails."""
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # What is deprecated in there is nothing to its user. A TracerWarning is: what is traced may be wrong.
            for category in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.simplefilter("ignore", category)
            return export(torch, module, examples, options)
    except CannotRunError:
        raise
    except Exception as error:  # of any kind: it runs the module
        other = next(each for each in EXPORTERS if each != exporter)
        raise UsageError(
            f"PyTorch cannot export {name}: {_told(error)}\nexporter={other!r} goes another way, and may"
        ) from error


def _told(error: BaseException) -> str:
    """The innermost reason, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    text = visible(f"{type(error).__name__}: {first.strip()}")
    return text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}..."
