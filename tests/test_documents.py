"""Documents speak of files that exist and show code as it is emitted."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import nn512
from nn512.ir import Op, Step
from nn512.passes.pipeline import PASSES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    paths = set(re.findall(r"[` ]((?:nn512|reference|fuzz|tests|ci)/[\w./]*)", text))
    assert paths
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_what_passes_ask_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    asked = re.findall(r"`(op|step)\.(\w+)`", text)
    assert {who for who, _ in asked} == {"op", "step"}
    assert [name for who, name in asked if not hasattr(Op if who == "op" else Step, name)] == []


# Packages of modules that are alike: their names say all.
ALIKE = ("kinds", "examples", "passes", "runners", "functions")


def packages() -> list[Path]:
    """The folders whose docstring tells what is in which file."""
    found = [path.parent for top in ("fuzz", "nn512", "reference") for path in (ROOT / top).rglob("__init__.py")]
    return [folder for folder in found if folder.name not in (*ALIKE, "nn512", "cli")]


@pytest.mark.parametrize("folder", packages(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_packages_tell_what_is_in_which_file(folder: Path) -> None:
    """Every module, and no file that is not there."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert sorted(name for name in modules if not re.search(rf"\b{name}\b", text)) == []
    named = set(re.findall(r"\b(\w+)\.py\b", text))
    assert sorted(named - modules) == []


def test_the_passes_have_a_table_without_the_passes() -> None:
    text = (ROOT / "nn512/passes/__init__.py").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "nn512/passes").glob("*.py")} - {"__init__"}
    assert sorted(name for name in modules - set(PASSES) if f"{name}.py" not in text) == []


def test_the_layer_in_the_readme_is_what_is_emitted() -> None:
    text = README.read_text(encoding="utf-8")
    graph = next(block for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if block.startswith("Config"))
    layer = next(block for block in re.findall(r"```c\n(.*?)```", text, re.DOTALL) if "NOINLINE" in block)
    assert layer in nn512.compile(graph).source
