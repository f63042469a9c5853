"""What the package promises about itself: light imports, files that must ship."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nn512
from nn512 import toolchain


def loaded_after(statement: str) -> set[str]:
    """Top-level packages in a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_the_compiler_is_light() -> None:
    assert not loaded_after("import nn512; nn512.parse") & {"numpy", "scipy", "hypothesis", "reference", "fuzz"}
    assert not loaded_after("import nn512.cli") & {"numpy", "scipy", "hypothesis", "reference", "fuzz"}


def test_compiling_needs_no_tester() -> None:
    assert not loaded_after("import nn512; nn512.compile") & {"scipy", "hypothesis", "reference", "fuzz"}


def test_data_files_ship() -> None:
    assert (toolchain.SOFT_INCLUDE / "immintrin.h").is_file()
    assert (Path(nn512.__path__[0]) / "py.typed").is_file()
