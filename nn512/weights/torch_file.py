"""Reads .pt and .pth: a state dict that torch.save wrote, through PyTorch, which loads weights and runs no code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from nn512.arrays import PathLike
from nn512.errors import INSTALL_PEERS, CannotRunError, UsageError
from nn512.weights.stored import Single, Stored, show_name, to_single

_WITHIN = ("state_dict", "model_state_dict", "model")
"""Under which keys training programs keep the state dict, beside epochs and optimizers."""

_PARALLEL = "module."
"""What DataParallel puts before every name."""


def read_torch(path: PathLike) -> dict[str, Stored]:
    """The arrays of a state dict by name.

    Raises UsageError for a file that cannot be read, is broken, or holds anything but tensors and plain values;
    CannotRunError where there is no PyTorch.
    """
    try:
        import torch  # noqa: PLC0415 - optional, large, and slow to start
    except ImportError as error:
        raise CannotRunError(f"reading {os.fspath(path)!r} takes PyTorch: {INSTALL_PEERS}") from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from error
    except MemoryError as error:
        raise UsageError(f"{os.fspath(path)!r} does not fit into memory") from error
    except Exception as error:  # what a broken pickle makes it raise has no common base
        advice = "save it by torch.save(model.state_dict(), ...)"
        first = show_name(str(error).strip().split("\n")[0])
        raise UsageError(f"{os.fspath(path)!r} is broken or holds more than weights; {advice}: {first}") from error
    items = _state_dict(loaded).items()
    found = {name: value for name, value in items if isinstance(name, str) and isinstance(value, torch.Tensor)}
    if not found:
        raise UsageError(f"{os.fspath(path)!r} holds no state dict: no names with tensors")
    if all(name.startswith(_PARALLEL) for name in found):
        found = {name.removeprefix(_PARALLEL): value for name, value in found.items()}
    return {name: _stored(name, value) for name, value in found.items()}


def _state_dict(loaded: object) -> Mapping[Any, Any]:
    """The names and tensors, which may be in a dictionary of other things."""
    if not isinstance(loaded, Mapping):
        return {}
    inner = (loaded[key] for key in _WITHIN if isinstance(loaded.get(key), Mapping))
    return next(inner, loaded)


def _stored(name: str, tensor: Any) -> Stored:  # noqa: ANN401 - a torch.Tensor
    kind = str(tensor.dtype).removeprefix("torch.")
    return Stored(tuple(tensor.shape), kind, bool(tensor.is_floating_point()), partial(_array, name, tensor))


def _array(name: str, tensor: Any) -> Single:  # noqa: ANN401 - a torch.Tensor
    try:
        if tensor.element_size() < 4:  # numpy knows no bfloat16
            tensor = tensor.float()
        return to_single(tensor.detach().numpy())
    except (TypeError, RuntimeError, NotImplementedError) as error:  # sparse, quantized, without memory
        raise UsageError(f"{show_name(name)} is no ordinary tensor: {str(error)[:200]}") from error
