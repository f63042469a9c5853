"""The emitted driver: a program by itself, on files and on streams, that says what is wrong with what it is given."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nn512
import reference
from nn512 import toolchain
from nn512.cgen.driver import driver_name, write_driver
from nn512.cli import main
from nn512.graph import parse
from nn512.params import random_params, save_params, to_bytes

# Two inputs and two outputs, one of them called like a word of C; inputs stand in the order of the struct of tensors.
TEXT = """
Config Prefix=Two
Input ToTensor=z Channels=3 Height=4 Width=5 Order=HWC
Input ToTensor=a Channels=3 Height=4 Width=5
BatchNorm FromTensor=z ToTensor=c
Add FromTensor1=c FromTensor2=a ToTensor=float
Activation FromTensor=float ToTensor=r Kind=ReLU
Output FromTensor=r
Output FromTensor=float
"""
GRAPH = parse(TEXT)

BARE = """
Config Prefix=Bare
Input ToTensor=x Channels=1 Height=2 Width=3
Activation FromTensor=x ToTensor=y Kind=ReLU
Output FromTensor=y
"""

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")


def build(text: str, folder: Path, runs_here: str) -> Path:
    """The driver of a graph, compiled as its first lines say."""
    (folder / "net.graph").write_text(text)
    assert main(["driver", str(folder / "net.graph"), str(folder)]) == 0
    prefix = parse(text).config.prefix
    target = toolchain.NATIVE_FLAGS if runs_here == "native" else toolchain.soft_flags()
    warnings = WARNINGS if runs_here == "native" else ("-Wall", "-Wextra", "-Werror")
    flags = [*toolchain.LANGUAGE_FLAGS, *warnings, "-O2", *target]
    command = [*toolchain.find_compiler().command, *flags, f"{prefix}.c", driver_name(prefix), "-o", "driver"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "driver"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("driver")


@pytest.fixture
def driver(folder: Path, runs_here: str) -> Path:
    """The driver of the graph beside files with parameters and inputs; built once."""
    if not (folder / "driver").exists():
        build(TEXT, folder, runs_here)
        save_params(folder / "params.bin", GRAPH, random_params(GRAPH, 0))
        for name, array in inputs().items():
            (folder / f"{name}.bin").write_bytes(array.tobytes())
    return folder / "driver"


def inputs() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape, np.float32) for name, shape in GRAPH.input_shapes.items()}


def run(program: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *words], cwd=program.parent, input=stdin, capture_output=True, check=False)


WORDS = ("--params=params.bin", "z=z.bin", "a=a.bin", "r=r.bin", "float=sum.bin")


def test_files_and_streams_and_sessions_agree(driver: Path) -> None:
    for threads in ("1", "3"):
        done = run(driver, *WORDS, f"--threads={threads}")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    written = {"r": (driver.parent / "r.bin").read_bytes(), "float": (driver.parent / "sum.bin").read_bytes()}
    everything = to_bytes(GRAPH, random_params(GRAPH, 0)) + inputs()["z"].tobytes() + inputs()["a"].tobytes()
    streamed = run(driver, "1", stdin=everything)
    assert (streamed.returncode, streamed.stdout) == (0, written["r"] + written["float"])
    with nn512.Session(GRAPH, random_params(GRAPH, 0)) as session:
        for name, array in session.run(inputs()).items():
            assert array.tobytes() == written[name]
    expected = reference.run(GRAPH, random_params(GRAPH, 0), inputs())["r"]
    got = np.frombuffer(written["r"], np.float32).reshape(expected.value.shape)
    assert np.all(np.abs(got - expected.value) <= 10 * np.sqrt(expected.variance))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), b"no file for z: z=FILE"),
        (WORDS[:-1], b"no file for float: float=FILE"),
        (WORDS[1:], b"no file for the parameters: --params=FILE"),
        (
            (*WORDS, "y=y.bin"),
            b"what is y=y.bin? Words are --params=FILE, --threads=N, and TENSOR=FILE for every tensor",
        ),
        ((*WORDS, "params=params.bin"), b"what is params=params.bin?"),
        ((*WORDS, "--threads=0"), b"--threads must be from 1 to 999, not 0"),
        ((*WORDS, "--threads=2x"), b"not 2x"),
        ((*WORDS, "a=params.bin"), b"params.bin has fewer bytes than 240"),
        ((*WORDS, "--params=a.bin"), b"a.bin has more bytes than 48"),
        ((*WORDS, "--params=no.bin"), b"cannot open no.bin"),
        ((*WORDS, "r=no/r.bin"), b"cannot open no/r.bin"),
        (("1",), b"standard input has fewer bytes than"),
    ],
)
def test_mistakes(driver: Path, words: tuple[str, ...], says: bytes) -> None:
    done = run(driver, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(b"Two_driver: ")
    assert says in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_stream_that_takes_no_results(driver: Path) -> None:
    everything = (driver.parent / "params.bin").read_bytes() + bytes(4 * (60 + 60))
    done = run(driver, "88", stdin=everything)
    assert (done.returncode, done.stderr) == (2, b"Two_driver: there is no open file 88\n")
    with Path("/dev/full").open("wb") as full:
        full_device = subprocess.run([driver, "1"], input=everything, stdout=full, stderr=subprocess.PIPE, check=False)
    assert full_device.returncode == 2
    assert b"cannot write" in full_device.stderr


def test_a_net_that_cannot_be_made_ends_with_1(driver: Path) -> None:
    words = " ".join((*WORDS, "--threads=999"))
    # So little address space that the stacks of 998 threads do not fit.
    limited = ["sh", "-c", f"ulimit -v 600000; exec ./driver {words}"]
    done = subprocess.run(limited, cwd=driver.parent, capture_output=True, check=False)
    assert (done.returncode, done.stderr[:12]) == (1, b"Two_driver: "), done.stderr


def test_a_net_without_parameters_needs_no_file(tmp_path: Path, runs_here: str) -> None:
    program = build(BARE, tmp_path, runs_here)
    x = np.array([-1, 2, -3, 4, -5, 6], np.float32)
    done = run(program, "1", stdin=x.tobytes())
    assert (done.returncode, done.stdout) == (0, np.maximum(x, 0).tobytes())
    (tmp_path / "x.bin").write_bytes(x.tobytes())
    assert run(program, "x=x.bin", "y=y.bin").returncode == 0
    assert (tmp_path / "y.bin").read_bytes() == done.stdout


def test_the_text_reads_like_the_rest() -> None:
    text = write_driver(GRAPH)
    assert [line for line in text.splitlines() if len(line) > 120 or line != line.rstrip()] == []
    assert " *     ./Two_driver --params=params.bin z=z.bin a=a.bin r=r.bin float=float.bin --threads=2\n" in text
    many = "Config Prefix=Many\n" + "".join(
        f"Input ToTensor=x{n} Channels=1 Height=1 Width=1\nOutput FromTensor=y{n}\n"
        f"Activation FromTensor=x{n} ToTensor=y{n} Kind=ReLU\n"
        for n in range(6)
    )
    assert " *     ./Many_driver x0=x0.bin x1=x1.bin x2=x2.bin x3=x3.bin ... --threads=2\n" in write_driver(parse(many))


def test_the_command_lists_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.graph").write_text(TEXT)
    out = tmp_path / "out"
    assert main(["driver", str(tmp_path / "net.graph"), str(out)]) == 0
    names = ["Two.h", "Two.c", "Two.plan.json", "Two_driver.c"]
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    (tmp_path / "bad" / "Two_driver.c").mkdir(parents=True)
    assert main(["driver", str(tmp_path / "net.graph"), str(tmp_path / "bad")]) == 2
    assert "'Two_driver.c' is a directory there" in capsys.readouterr().err
