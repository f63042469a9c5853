"""No circle of files: each can be read after those that it imports."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
from pathlib import Path

import pytest

PACKAGES = ("nn512", "reference", "fuzz")


def modules(package: str) -> dict[str, Path]:
    """The files of an installed package, by the names of their modules."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    top = Path(spec.origin).parent
    names = {}
    for path in sorted(top.rglob("*.py")):
        parts = (package, *path.relative_to(top).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(path: Path, known: set[str]) -> set[str]:
    """The modules among `known` that a file imports when it is loaded, or inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.update({f"{node.module}.{alias.name}" for alias in node.names} & known or {node.module})
    return found & known


def test_no_circles() -> None:
    files = {name: path for package in PACKAGES for name, path in modules(package).items()}
    assert len(files) > 200
    # The package itself hands on names of the modules on top: nobody below may import it.
    edges = {name: imports(path, set(files)) - {name} for name, path in files.items() if name != "nn512"}
    try:
        tuple(graphlib.TopologicalSorter(edges).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_nobody_below_the_command_line_imports_the_whole_package() -> None:
    for name, path in modules("nn512").items():
        if not name.startswith(("nn512.cli", "nn512.__main__", "nn512.bench", "nn512.session")):
            assert "nn512" not in imports(path, {"nn512"}), name
