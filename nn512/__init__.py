"""A compiler from convolutional nets, described as text, to stand-alone readable C99 with AVX-512 intrinsics.

    graph = nn512.parse(text)
    nn512.compile(graph).write("out")                          # out/<Prefix>.h, out/<Prefix>.c, out/<Prefix>.plan.json
    with nn512.Session(graph, params, threads=2) as session:   # compiles the C and runs it
        outputs = session.run({"image": array})

Public names load on first use: `import nn512` itself stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nn512.errors import CannotRunError, Nn512Error, UsageError
from nn512.version import __version__

if TYPE_CHECKING:
    from nn512.compiler import Emitted, compile  # noqa: A004 - the verb of a compiler
    from nn512.graph import Graph, GraphError, parse
    from nn512.onnx import from_onnx, from_torch
    from nn512.options import Options
    from nn512.session import Session

__all__ = [
    "CannotRunError",
    "Emitted",
    "Graph",
    "GraphError",
    "Nn512Error",
    "Options",
    "Session",
    "UsageError",
    "__version__",
    "compile",
    "from_onnx",
    "from_torch",
    "parse",
]

_HOMES = {
    "Emitted": "nn512.compiler",
    "Options": "nn512.options",
    "compile": "nn512.compiler",
    "Graph": "nn512.graph",
    "GraphError": "nn512.graph",
    "from_onnx": "nn512.onnx",
    "from_torch": "nn512.onnx",
    "parse": "nn512.graph",
    "Session": "nn512.session",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
