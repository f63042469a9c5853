"""Properties of emitted text: it is deterministic, looks hand-written, builds without a warning and keeps to itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import nn512
from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case
from nn512 import toolchain
from nn512.cgen import intrinsics, names
from nn512.errors import CannotRunError
from nn512.graph import example, example_names
from nn512.options import Options
from nn512.toolchain import CompilerKind

# Every kind of node and kernel, partial blocks everywhere, a concat whose halves do not fill their blocks.
EVERYTHING = """
Config Prefix=All
Input ToTensor=x Channels=20 Height=9 Width=11
Conv FromTensor=x ToTensor=c ToChannels=35 FilterH=3 FilterW=3 PaddingH=1 PaddingW=2 StrideW=2
BatchNorm FromTensor=c ToTensor=b
Activation FromTensor=b ToTensor=r Kind=ReLU Param=0.1
Conv FromTensor=r ToTensor=g ToChannels=70 FilterH=1 FilterW=1 Groups=5
Conv FromTensor=x ToTensor=own ToChannels=20 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=20
Conv FromTensor=g ToTensor=some ToChannels=70 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=35
Conv FromTensor=x ToTensor=wide ToChannels=32 FilterH=3 FilterW=3 DilationW=2 PaddingH=1
Concat FromTensor1=r FromTensor2=g ToTensor=cat
Add FromTensor1=cat FromTensor2=cat ToTensor=sum
Pooling FromTensor=sum ToTensor=max Kind=Max3x3Stride2 PaddingH=1
Pooling FromTensor=max ToTensor=avg Kind=Avg2x2Stride2
FullyConnected FromTensor=avg ToTensor=fc ToChannels=33
Softmax FromTensor=fc ToTensor=prob
Pooling FromTensor=sum ToTensor=global Kind=AvgGlobal
Output FromTensor=prob
Output FromTensor=global
Output FromTensor=cat
Output FromTensor=own
Output FromTensor=some
Output FromTensor=wide
"""

TINY = """
Config Prefix={prefix}
Input ToTensor=x Channels=3 Height=4 Width=5
Conv FromTensor=x ToTensor=y ToChannels=17 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
BatchNorm FromTensor=y ToTensor=z
Activation FromTensor=z ToTensor=r Kind=ReLU Param=0
Output FromTensor=r
"""


def compilers() -> tuple[toolchain.Compiler, ...]:
    """Every compiler here; skips the test where there is none."""
    try:
        return toolchain.find_compilers()
    except CannotRunError as error:
        pytest.skip(str(error))


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Output of a command that must succeed without saying anything on its error stream."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def build_object(text: str, folder: Path, *flags: str, compiler: toolchain.Compiler | None = None) -> Path:
    """Compile a net's C to an object; no warning is accepted. Native code: it is not run."""
    if "-O0" not in flags:
        flags = (*toolchain.SMALL_FRAME_FLAGS, *flags)
    emitted = nn512.compile(text)
    emitted.write(folder)
    command = [*(compiler or compilers()[0]).command, *toolchain.LANGUAGE_FLAGS, *toolchain.STRICT_FLAGS]
    run([*command, *toolchain.NATIVE_FLAGS, *flags, "-c", f"{emitted.prefix}.c", "-o", "net.o"], folder)
    return folder / "net.o"


@pytest.mark.parametrize("platform", ["AVX512Float32", "AVX512BFloat16"])
@pytest.mark.parametrize("channels", [9, 17])
@pytest.mark.parametrize(
    "layer",
    [
        "Conv FromTensor=x ToTensor=y ToChannels=17 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1",
        "FullyConnected FromTensor=x ToTensor=y ToChannels=9",
    ],
)
def test_few_channels_take_no_stack(layer: str, channels: int, platform: str, tmp_path: Path) -> None:
    """Where gcc unrolled loops over them at -O3, frames had up to 17 KB of pixels, and layers took twice as long."""
    head = f"Config Platform={platform}\nInput ToTensor=x Channels={channels} Height=7 Width=2\n"
    text = f"{head}{layer}\nOutput FromTensor=y\n"
    build_object(text, tmp_path, "-O3", "-Wframe-larger-than=2500")


def test_same_text_same_bytes() -> None:
    first, second = nn512.compile(EVERYTHING), nn512.compile(EVERYTHING)
    assert (first.source, first.header, first.plan_json) == (second.source, second.header, second.plan_json)


def test_same_bytes_in_every_process() -> None:
    program = (
        "import sys, nn512\n"
        "emitted = nn512.compile(sys.stdin.read())\n"
        "sys.stdout.write(emitted.header + emitted.source + emitted.plan_json)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=EVERYTHING,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    emitted = nn512.compile(EVERYTHING)
    assert outputs == {emitted.header + emitted.source + emitted.plan_json}


# Lines of C, where it is not fewer than 6,000. These nets have 64, 80 and 112 convolutions of small pictures, which in
# tiles are three functions each, of 21 lines together; DenseNet265 has 273 layers in all.
MOST_LINES = {"DenseNet169": 6120, "DenseNet201": 7200, "DenseNet265": 9100}


@pytest.mark.parametrize("name", [*example_names(), "everything"])
def test_text(name: str) -> None:
    emitted = nn512.compile(EVERYTHING if name == "everything" else example(name))
    lines = [*emitted.source.splitlines(), *emitted.header.splitlines()]
    assert [line for line in lines if len(line) > 120] == []
    assert [line for line in lines if line != line.rstrip() or "\t" in line] == []
    assert "\n\n\n" not in emitted.source + emitted.header
    assert emitted.source.isascii()
    assert emitted.source.endswith("}\n") or emitted.source.endswith("#endif\n")
    assert emitted.source.count("\n") < MOST_LINES.get(name, 6000)
    intrinsics.check(emitted.source)
    for text in (emitted.source, emitted.header, emitted.plan_json):
        assert str(Path.home()) not in text
        assert str(Path(nn512.__file__).parent) not in text
        assert not re.search(r"__(?:DATE|TIME|FILE)__|\b20\d\d-\d\d-\d\d\b", text)


def test_indentation_and_braces() -> None:
    """Blocks are indented by four columns each, and no line adds nothing: `x + 0`, `(size_t)(4)`."""
    source = re.sub(r"/\*.*?\*/", "", nn512.compile(EVERYTHING).source, flags=re.DOTALL)
    depth = 0
    for line in source.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        depth -= line.strip().startswith("}")
        assert len(line) - len(line.lstrip()) >= 4 * depth, line
        depth += line.count("{") - line.count("}") + line.strip().startswith("}")
    assert depth == 0
    assert not re.search(r"\+ 0\b(?!x)|\* 1\b(?!\d*\.)|\+ -|\(size_t\)\(\d+\)", source)


# Convolutions alone, each by another kernel or way over its channels: what they do not need must not be there.
ALONE = {
    "planar": "Conv FromTensor=x ToTensor=y ToChannels=16 FilterH=3 FilterW=3",
    "pointwise": "Conv FromTensor=x ToTensor=y ToChannels=16 FilterH=1 FilterW=1",
    "depthwise": "Conv FromTensor=x ToTensor=y ToChannels=34 FilterH=3 FilterW=3 Groups=34",
    "grouped": "Conv FromTensor=x ToTensor=y ToChannels=34 FilterH=3 FilterW=3 Groups=17",
    "masked": "Conv FromTensor=x ToTensor=y ToChannels=51 FilterH=3 FilterW=3 PaddingH=1 Groups=17",
    "fully_connected": "FullyConnected FromTensor=x ToTensor=y ToChannels=7",
    "softmax": "Softmax FromTensor=x ToTensor=y",
    "layer_norm": "LayerNorm FromTensor=x ToTensor=y",
    "rms_norm": "RMSNorm FromTensor=x ToTensor=y",
    "lrn": "LRN FromTensor=x ToTensor=y Size=5",
    "lrn_power": "LRN FromTensor=x ToTensor=y Size=4 Beta=0.6",
    "pooling": "Pooling FromTensor=x ToTensor=y Kind=Max3x3Stride2 PaddingH=1",
}


@pytest.mark.parametrize("name", list(ALONE))
def test_every_function_is_called(name: str) -> None:
    """Static functions that nobody calls, of which clang warns, inline ones included."""
    net = f"Config Prefix=Alone\nInput ToTensor=x Channels=34 Height=8 Width=8\n{ALONE[name]}\nOutput FromTensor=y\n"
    source = re.sub(r"/\*.*?\*/", "", nn512.compile(net).source, flags=re.DOTALL)
    functions = re.findall(r"^static [\w *]*?(\w+)\(", source, flags=re.MULTILINE)
    assert len(functions) > 8
    assert [function for function in functions if len(re.findall(rf"\b{function}\b", source)) == 1] == []


@pytest.mark.parametrize("optimisation", ["-O0", "-O2", "-O3"])
@pytest.mark.parametrize("kind", list(CompilerKind))
def test_builds_without_a_warning(kind: CompilerKind, optimisation: str, tmp_path: Path) -> None:
    """-Wall also tells of static functions that nobody calls."""
    found = [compiler for compiler in compilers() if compiler.kind is kind]
    if not found:
        pytest.skip(f"no {kind.value} here")
    build_object(EVERYTHING, tmp_path, optimisation, compiler=found[0])


@pytest.mark.parametrize("macro", ["NN512_PROFILE", "NN512_TAP"])
def test_macros_build_without_a_warning(macro: str, tmp_path: Path) -> None:
    build_object(EVERYTHING, tmp_path, "-O1", f"-D{macro}")


def test_header_in_cpp(tmp_path: Path) -> None:
    program = shutil.which("g++") or shutil.which("clang++")
    if program is None:
        pytest.skip("no C++ compiler here")
    nn512.compile(EVERYTHING).write(tmp_path)
    (tmp_path / "main.cpp").write_text('#include "All.h"\n#include "All.h"\nint main() { AllNetDestroy(nullptr); }\n')
    run([program, "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "main.cpp"], tmp_path)


LIBRARY = re.compile(
    r"_?_?(?:malloc|free|posix_memalign|abort|getpid|memcpy|memset|strlen|vsnprintf|sig(?:fill|del|empty)set|pthread_\w+"
    r"|sysconf|cpu_model|cpu_indicator_init|stack_chk_fail|vsnprintf_chk|memset_chk|GLOBAL_OFFSET_TABLE_)"
)


def symbols(made: Path) -> list[tuple[str, str]]:
    """Type letter and name of every symbol of an object."""
    if shutil.which("nm") is None:
        pytest.skip("no nm here")
    return [(line.split()[-2], line.split()[-1]) for line in run(["nm", made], made.parent).splitlines()]


def test_object_needs_nothing_but_the_c_library(tmp_path: Path) -> None:
    found = symbols(build_object(EVERYTHING, tmp_path, "-O2"))
    needed = [name for kind, name in found if kind == "U"]
    assert "posix_memalign" in needed
    assert [name for name in needed if not LIBRARY.fullmatch(name)] == []


def test_object_has_no_state_and_defines_only_the_interface(tmp_path: Path) -> None:
    found = symbols(build_object(EVERYTHING, tmp_path, "-O1"))
    assert [name for kind, name in found if kind in "bBdDCgGsS"] == []
    declared = set(re.findall(r"^(?:char \*|void )(All\w+)\(", nn512.compile(EVERYTHING).header, flags=re.MULTILINE))
    assert {name for kind, name in found if kind == "T"} == declared - {"AllEngineProfile"}


def test_comments_of_layers_with_long_names() -> None:
    """A layer without arithmetic has no figures to put before its algorithm, however little room there is."""
    name = "a" * 70
    text = f"""
        Config
        Input ToTensor=x Channels=3 Height=4 Width=4
        Activation FromTensor=x ToTensor={name} Kind=ReLU
        Concat FromTensor1={name} FromTensor2=x ToTensor={name}2
        Output FromTensor={name}2
    """
    source = nn512.compile(text, Options(("drop_concat", "fuse_elementwise"))).source
    assert name in source
    assert not re.search(r"^ \* [.,]", source, re.MULTILINE)


EQUAL_LAYERS = """
    Config Prefix=Twins
    Input ToTensor=x Channels=32 Height=9 Width=9
    Softmax FromTensor=x ToTensor=a
    Softmax FromTensor=a ToTensor=b
    Softmax FromTensor=b ToTensor=c
    Softmax FromTensor=c ToTensor=d
    Output FromTensor=d
"""


def test_layers_of_equal_code_stay_apart(tmp_path: Path) -> None:
    """A profile names layers by their functions; a compiler that merges equal ones would hide all but one."""
    made = build_object(EQUAL_LAYERS, tmp_path, "-O2")
    if shutil.which("nm") is None:
        pytest.skip("no nm here")
    lines = [line.split() for line in run(["nm", made], made.parent).splitlines()]
    # gcc appends what it has done to a function: Twins_a.constprop.0
    addresses = {name.split(".")[0]: address for address, _, name in (line for line in lines if len(line) == 3)}
    layers = [f"Twins_{tensor}" for tensor in "abcd"]
    assert len({addresses[name] for name in layers}) == len(layers)


def rename(text: str, tensors: Sequence[str]) -> str:
    """The net with its tensors renamed, one after another."""
    known = dict.fromkeys(re.findall(r"ToTensor=(\w+)", text))
    new = dict(zip(known, tensors, strict=False))
    return re.sub(r"\b((?:To|From)Tensor[12]?)=(\w+)", lambda m: f"{m[1]}={new.get(m[2], m[2])}", text)


WORDS = {
    "keywords": "int return static restrict inline double typedef asm volatile sizeof class this template new",
    "macros": "NULL EOF UNROLL ROLLED INLINE NOINLINE OPERANDS errno linux unix TIMED NORM NORMS CONV SEGMENTS PACK",
    "macros of system headers": "BUFSIZ SIGINT SIGSEGV SIGCHLD SIGRTMIN SIGRTMAX SIGKILL NSIG WNOHANG X86 Y1 i386",
    "functions": "malloc free memcpy memset abort main exit printf exp message now compose position maximum memmove",
    "locals": "engine net params context first last item block y x t w bias out at origin",
    "more locals": "nextWeights v tile tiles k p i j panel count channels sizes row plane top bottom topRow",
    "types": "AllNet AllEngine AllParams Team Gate Step Worker Layers Sizes Norm Affine ConvPack FullPack FILE",
    "numbered": "acc0 w0 w1 add0 affine0 affine1 negative0 counts lanes places from index mask pieces rows acc end",
}


@pytest.mark.parametrize("words", [text.split() for text in WORDS.values()], ids=list(WORDS))
def test_tensors_may_have_any_name(words: list[str], tmp_path: Path) -> None:
    build_object(rename(EVERYTHING, words), tmp_path, "-O0")


def test_hostile_names_compute_the_same(runs_here: str) -> None:
    assert runs_here
    text = rename(EVERYTHING, ["load", "tile", "store", "NULL", "int", "run", "input", "for", "y", "w"])
    report = check_case(Case(text, {}, "-Og", (DataSeed("exact", 1), DataSeed("gaussian", 1))))
    assert not report.problems, "\n".join(map(str, report.problems))
    assert report.verified


@pytest.mark.parametrize(
    ("prefix", "tensors"),
    [
        ("team", ["run", "share", "work", "create"]),
        ("gate", ["set", "await", "create", "destroy"]),
        ("pack", ["conv", "norm", "full", "grouped"]),
        ("load", ["block", "narrow", "load", "tile"]),
        ("store", ["block", "store", "tile", "input"]),
        ("pthread", ["create", "join", "self", "t"]),
        ("posix", ["memalign", "t", "x", "y"]),
        ("x", ["at", "x", "y", "tile"]),
        ("int", ["int", "x", "y", "z"]),
        ("Team", ["Team", "Gate", "Step", "Worker"]),
        ("NULL", ["NULL", "EOF", "x", "y"]),
        ("run", ["shared", "alone", "x", "y"]),
        ("Net", ["Net", "Engine", "Params", "Create"]),
    ],
)  # fmt: skip
def test_prefix_and_tensor_may_spell_any_name(prefix: str, tensors: list[str], tmp_path: Path) -> None:
    """Also without passes, where every node has a function of its own."""
    text = rename(TINY.replace("{prefix}", prefix), tensors)
    build_object(text, tmp_path, "-O0")
    folder = tmp_path / "plain"
    emitted = nn512.compile(text, Options(without_passes=("fold_batchnorm", "fuse_elementwise")))
    emitted.write(folder)
    flags = [*toolchain.LANGUAGE_FLAGS, *toolchain.STRICT_FLAGS, *toolchain.NATIVE_FLAGS]
    run([*compilers()[0].command, *flags, "-fsyntax-only", f"{prefix}.c"], folder)


@pytest.mark.parametrize("name", ["everything", "DenseNet121", "ResNeXt50"])
def test_names_of_shared_functions_are_known(name: str) -> None:
    """Names with one underscore, which a prefix and a tensor could spell, are those that `names.static` avoids."""
    emitted = nn512.compile(EVERYTHING if name == "everything" else example(name))
    functions = set(re.findall(r"^static [^()]*?\b(\w+)\(", emitted.source, flags=re.MULTILINE))
    shared = {function for function in functions if not function.startswith(f"{emitted.prefix}_")}
    spelled = {function for function in shared if re.fullmatch(r"[A-Za-z][A-Za-z0-9]*_[A-Za-z][A-Za-z0-9]*", function)}
    assert len(spelled) > 5
    assert [function for function in sorted(spelled) if names.static(*function.split("_")) == function] == []


MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "A.h"
#include "B.h"

int main(void) {
    AParams *a = malloc(sizeof *a);
    BParams *b = malloc(sizeof *b);
    float *values = (float *)a;
    for (size_t i = 0; i < sizeof *a / sizeof *values; i++) values[i] = (float)(i % 7) * 0.25f + 0.5f;
    memcpy(b, a, sizeof *b);
    ANet *netA;
    BNet *netB;
    AEngine *engineA;
    BEngine *engineB;
    if (ANetCreate(&netA, a, 2) || BNetCreate(&netB, b, 1)) return 1;
    if (AEngineCreate(&engineA, netA, 2) || BEngineCreate(&engineB, netB, 1)) return 2;
    float x[3 * 4 * 5], fromA[17 * 4 * 5] = {0}, fromB[17 * 4 * 5] = {0};
    for (int i = 0; i < 3 * 4 * 5; i++) x[i] = (float)i;
    AEngineInference(engineA, fromA, x);
    BEngineInference(engineB, fromB, x);
    AEngineInference(engineA, fromA, x);
    AEngineDestroy(engineA);
    BEngineDestroy(engineB);
    ANetDestroy(netA);
    BNetDestroy(netB);
    free(a);
    free(b);
    puts(memcmp(fromA, fromB, sizeof fromA) ? "different" : fromA[100] > 1 ? "equal" : "nothing computed");
}
"""


def test_two_nets_in_one_program(tmp_path: Path, runs_here: str) -> None:
    for prefix in "AB":
        nn512.compile(TINY.replace("{prefix}", prefix)).write(tmp_path)
    (tmp_path / "main.c").write_text(MAIN)
    target = toolchain.NATIVE_FLAGS if runs_here == "native" else toolchain.soft_flags()
    flags = [*toolchain.LANGUAGE_FLAGS, *toolchain.STRICT_FLAGS, "-O1", *target]
    run([*compilers()[0].command, *flags, "main.c", "A.c", "B.c", "-o", "program"], tmp_path)
    assert run([tmp_path / "program"], tmp_path) == "equal\n"
