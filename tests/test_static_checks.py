"""The static checks of emitted C see what they are there for, and accept nothing else than what they list."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import nn512
from fuzz.campaign.corpus import load_corpus_case
from fuzz.draw.edges import edge_nets
from fuzz.mutation import nets
from nn512.kernels.registry import kernel_named, kernel_names
from nn512.options import Options

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


@pytest.fixture(scope="module")
def clang(checks: ModuleType) -> ModuleType:
    """The checks, where there is a clang."""
    if checks.program_of("clang") is None:
        pytest.skip("no clang here")
    return checks


@pytest.mark.parametrize(
    ("checker", "planted", "says"),
    [
        ("gcc", "    free(net);\n", "-Wanalyzer-double-free"),
        ("gcc", "    int cut = 1.5 * (net != NULL);\n    (void)cut;\n", "conversion"),
        ("clang", "    int cut = 1.5 * (net != NULL);\n    (void)cut;\n", "conversion"),
        ("cppcheck", "    int two[2];\n    two[2] = 1;\n    (void)two;\n", "out of bounds"),
    ],
)
def test_a_planted_fault_is_told(checks: ModuleType, checker: str, planted: str, says: str) -> None:
    if checks.program_of(checker) is None:
        pytest.skip(f"no {checker} here")
    emitted = nn512.compile(GRAPH)
    assert checks.warnings(emitted, checker) == []
    assert emitted.source.count(DESTROY) == 1
    faulty = replace(emitted, source=emitted.source.replace(DESTROY, DESTROY + planted))
    found = checks.warnings(faulty, checker)
    assert any(says in line for line in found), found


@pytest.mark.parametrize("what", ["INLINE void unused(void) {}", "const int unused[2] = {1, 2};"])
def test_what_nobody_uses_is_told(clang: ModuleType, what: str) -> None:
    emitted = nn512.compile(GRAPH)
    found = clang.warnings(
        replace(emitted, source=emitted.source.replace(DESTROY, f"static {what}\n{DESTROY}")), "clang"
    )
    assert ["unused" in line for line in found] == [True], found


@pytest.mark.parametrize("net", nets(), ids=lambda net: net.stem)
def test_clang_objects_to_no_net(clang: ModuleType, net: Path) -> None:
    case = load_corpus_case(net)
    assert clang.warnings(nn512.compile(case.graph, Options.from_dict(dict(case.options))), "clang") == []


@pytest.mark.parametrize("kernel", kernel_names())
def test_clang_objects_to_no_kernel(clang: ModuleType, kernel: str) -> None:
    """One of the nets of its edge classes."""
    some = list(edge_nets(kernel_named(kernel)))
    for net in some[len(some) // 2 :]:
        options = Options(without_passes=net.without, force=(("", kernel),), platform=kernel_named(kernel).platform)
        emitted = nn512.compile(net.text, options)
        if any(layer.kernel == kernel for layer in emitted.plan.layers):
            break
    else:
        pytest.fail(f"no net has {kernel}")
    assert clang.warnings(emitted, "clang") == []


def test_every_exception_has_a_reason(checks: ModuleType) -> None:
    assert all(len(reason) > 20 for reason in checks.ACCEPTED.values())


def test_what_is_not_installed_is_told(
    checks: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert checks.main([]) == 3
    assert capsys.readouterr().err == "not installed: gcc, clang, cppcheck\n"
