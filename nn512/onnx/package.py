"""The package onnx, which is optional."""

from __future__ import annotations

import importlib
from typing import Any

from nn512.errors import CannotRunError

INSTALL_ONNX = "pip install '.[onnx]' in a checkout of nn512"
"""What makes the package available; '.[peers]' has it, too."""


def import_onnx(doing: str = "writing", install: str = INSTALL_ONNX) -> Any:  # noqa: ANN401 - it has no usable types
    """The package `onnx`. Raises CannotRunError that says what needs it and how to install it."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise CannotRunError(f"{doing} ONNX needs the package onnx ({error}): {install}") from error
