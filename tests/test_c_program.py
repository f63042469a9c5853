"""A C program written against the emitted header, as the README shows it, computes what the reference says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import nn512
import reference
from nn512 import toolchain
from nn512.graph import parse
from nn512.params import random_params, save_params

README = Path(__file__).parents[1] / "README.md"


def readme_block(language: str, containing: str) -> str:
    """The fenced block of the README in a language with a text in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text("utf-8"), flags=re.DOTALL)
    (block,) = (block for block in blocks if containing in block)
    return str(block)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's program stands, as source, beside the net it uses."""
    folder = tmp_path_factory.mktemp("readme")
    nn512.compile(readme_block("text", "Prefix=Digits")).write(folder)
    (folder / "main.c").write_text(readme_block("c", "DigitsNetCreate"))
    return folder


@pytest.fixture
def program(built: Path, runs_here: str) -> Path:
    """The README's program, compiled once."""
    if not (built / "program").exists():
        target = toolchain.NATIVE_FLAGS if runs_here == "native" else toolchain.soft_flags()
        flags = [*toolchain.LANGUAGE_FLAGS, *toolchain.STRICT_FLAGS, "-O2", *target]
        command = [*toolchain.find_compiler().command, *flags, "main.c", "Digits.c", "-o", "program"]
        subprocess.run(command, cwd=built, check=True)
    for left in built.glob("*.bin"):
        left.unlink()
    return built / "program"


def test_readme_program(program: Path) -> None:
    graph = parse(readme_block("text", "Prefix=Digits"))
    params = random_params(graph, 0)
    save_params(program.parent / "params.bin", graph, params)
    image = np.random.default_rng(0).standard_normal((1, 28, 28), np.float32)
    (program.parent / "image.bin").write_bytes(image.tobytes())
    done = subprocess.run([program], cwd=program.parent, check=True, capture_output=True, text=True)
    printed = [float(line.split(": ")[1]) for line in done.stdout.splitlines()]
    expected = reference.run(graph, params, {"image": image})["prob"].value.ravel()
    np.testing.assert_allclose(printed, expected, atol=2e-6)
    assert done.stderr == ""


def test_readme_python(tmp_path: Path, runs_here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits.graph").write_text(readme_block("text", "Prefix=Digits"))
    names: dict[str, object] = {}
    exec(compile(readme_block("python", "nn512.Session"), "README.md", "exec"), names)  # noqa: S102 - our own text
    prob = names["prob"]
    assert isinstance(prob, np.ndarray), runs_here
    assert prob.shape == (10, 1, 1)


def test_readme_program_reports_what_is_missing(program: Path) -> None:
    done = subprocess.run([program], cwd=program.parent, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "params.bin" in done.stderr


def test_header_is_cpp(program: Path) -> None:
    """The header may be included from C++."""
    compiler = toolchain.find_compiler()
    source = program.parent / "include.cpp"
    source.write_text('#include "Digits.h"\nint main() { return 0; }\n')
    command = [*compiler.command, "-x", "c++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if "cc1plus" in done.stderr or "not found" in done.stderr:
        pytest.skip("this compiler has no C++")
    assert done.returncode == 0, done.stderr
