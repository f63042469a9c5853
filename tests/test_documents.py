"""Documents speak of files that exist and show code as it is emitted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nn512

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    paths = set(re.findall(r"[` ]((?:nn512|reference|fuzz|tests|ci)/[\w./]*)", text))
    assert paths
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_the_layer_in_the_readme_is_what_is_emitted() -> None:
    text = README.read_text(encoding="utf-8")
    graph = next(block for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if block.startswith("Config"))
    layer = next(block for block in re.findall(r"```c\n(.*?)```", text, re.DOTALL) if "NOINLINE" in block)
    assert layer in nn512.compile(graph).source
