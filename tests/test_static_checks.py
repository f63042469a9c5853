"""The static checks of emitted C see what they are there for, and accept nothing else than what they list."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import nn512

GRAPH = """
Config Prefix=Net
Input ToTensor=x Channels=3 Height=2 Width=5
BatchNorm FromTensor=x ToTensor=y
Output FromTensor=y
"""

DESTROY = "void NetNetDestroy(NetNet *net) {\n"


@pytest.fixture(scope="module")
def checks() -> ModuleType:
    path = Path(__file__).parents[1] / "ci" / "static_checks.py"
    spec = importlib.util.spec_from_file_location("static_checks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("checker", "planted", "says"),
    [
        ("gcc", "    free(net);\n", "-Wanalyzer-double-free"),
        ("gcc", "    int cut = 1.5 * (net != NULL);\n    (void)cut;\n", "conversion"),
        ("cppcheck", "    int two[2];\n    two[2] = 1;\n    (void)two;\n", "out of bounds"),
    ],
)
def test_a_planted_fault_is_told(checks: ModuleType, checker: str, planted: str, says: str) -> None:
    if shutil.which(checker) is None:
        pytest.skip(f"no {checker} here")
    emitted = nn512.compile(GRAPH)
    assert checks.warnings(emitted, checker) == []
    assert emitted.source.count(DESTROY) == 1
    faulty = replace(emitted, source=emitted.source.replace(DESTROY, DESTROY + planted))
    found = checks.warnings(faulty, checker)
    assert any(says in line for line in found), found


def test_every_exception_has_a_reason(checks: ModuleType) -> None:
    assert all(len(reason) > 20 for reason in checks.ACCEPTED.values())


def test_what_is_not_installed_is_told(
    checks: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert checks.main([]) == 3
    assert capsys.readouterr().err == "not installed: gcc, cppcheck\n"
