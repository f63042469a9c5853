"""What the README shows runs as it stands: its C program, its Python and its commands, with the files they need."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture
def commands(tmp_path: Path, runs_here: str) -> Callable[[str], str]:
    """A function that runs a shell block of the README where its graph and its program lie, and gives its output.

    The names of commands mean this Python, this nn512 and the compiler at hand.
    """
    (tmp_path / "digits.graph").write_text(readme_block("text", "Prefix=Digits"))
    (tmp_path / "main.c").write_text(readme_block("c", "DigitsNetCreate"))
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, command in {
        "python3": [sys.executable],
        "nn512": [sys.executable, "-m", "nn512"],
        "cc": toolchain.find_compiler().command,
    }.items():
        (bin_ / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (bin_ / name).chmod(0o755)

    def run(block: str) -> str:
        if runs_here == "soft":
            block = block.replace("-mavx512f", shlex.join(toolchain.soft_flags()))
        package = Path(nn512.__file__).parents[1]
        environment = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(package)}
        done = subprocess.run(
            ["sh", "-e", "-c", block], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_readme_commands_build_the_program_and_its_files(commands: Callable[[str], str], tmp_path: Path) -> None:
    output = commands(readme_block("sh", "main.c"))
    graph = parse(readme_block("text", "Prefix=Digits"))
    image = np.fromfile(tmp_path / "image.bin", np.float32).reshape(1, 28, 28)
    expected = reference.run(graph, random_params(graph, 0), {"image": image})["prob"].value.ravel()
    printed = [float(found) for found in re.findall(r"^\d: (.*)$", output, flags=re.MULTILINE)]
    np.testing.assert_allclose(printed, expected, atol=2e-6)


def test_readme_commands_run_both(commands: Callable[[str], str], tmp_path: Path) -> None:
    commands(readme_block("sh", "--backend reference"))
    ours, exact = (np.load(tmp_path / name)["prob"] for name in ("out.npz", "exact.npz"))
    assert (ours.dtype, exact.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(ours, exact, atol=2e-6)


def test_readme_python(tmp_path: Path, runs_here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits.graph").write_text(readme_block("text", "Prefix=Digits"))
    names: dict[str, object] = {}
    exec(compile(readme_block("python", "reference.run"), "README.md", "exec"), names)  # noqa: S102 - our own text
    prob, exact = names["prob"], names["exact"]
    assert isinstance(prob, np.ndarray), runs_here
    assert isinstance(exact, reference.Result)
    assert prob.shape == (10, 1, 1)
    assert np.all(np.abs(prob - exact.value) <= 10 * np.sqrt(exact.variance))


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
