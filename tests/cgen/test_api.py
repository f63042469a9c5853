"""What the emitted header offers: calls by name and by order, sizes for static arrays, for C and C++."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import nn512
from nn512 import toolchain
from nn512.cgen.header import write_header
from nn512.errors import CannotRunError
from nn512.graph import parse

GRAPH = """
Config Prefix=Net
Input ToTensor=right Channels=2 Height=3 Width=4
Input ToTensor=left Channels=2 Height=3 Width=4
Activation FromTensor=left ToTensor=positive Kind=ReLU
Add FromTensor1=positive FromTensor2=right ToTensor=sum
Output FromTensor=sum
Output FromTensor=positive
"""

# Words of C and C++, and macros of headers that a program may include first.
ODD = "class and I errno complex BUFSIZ typeof EOF requires not unix x".split()

BY_NAME = r"""
#include "Net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float left[Net_left_floats], right[Net_right_floats], byOrder[Net_sum_floats];
static float sum[Net_sum_floats], positive[Net_positive_floats];
typedef char sizes[sizeof left == 4 * 24 && sizeof sum == 4 * 24 ? 1 : -1];

static void show(char *error) {
    puts(error ? error : "fine");
    free(error);
}

int main(void) {
    static NetParams params;
    const float *const input = left;
    NetNet *net;
    NetEngine *engine;
    for (int i = 0; i < Net_left_floats; i++) {
        left[i] = i - 7.0f;
        right[i] = 3.0f * i;
    }
    if (NetNetCreate(&net, &params, 1) || NetEngineCreate(&engine, net, 2)) return 1;
    show(NetEngineRun(engine, &(NetTensors){.sum = sum, .right = right, .positive = positive, .left = input}));
    NetEngineInference(engine, input, positive, right, byOrder);
    puts(memcmp(sum, byOrder, sizeof sum) || sum[9] != 29.0f || positive[9] != 2.0f ? "different" : "equal");
    show(NetEngineRun(engine, &(NetTensors){.sum = sum, .positive = positive, .left = left}));
    show(NetEngineRun(engine, &(NetTensors){.sum = sum, .right = right, .left = left}));
    NetEngineDestroy(engine);
    NetNetDestroy(net);
    return 0;
}
"""

# As programs against headers of NN-512 are written: pointers to float, in the order of the names.
NN512_CALL = """
#include <stdlib.h>
#include "Net.h"
extern NetEngine *engine;
void infer(void);
void infer(void) {
    float *leftData = malloc(sizeof(float) * 24), *positiveData = malloc(sizeof(float) * 24);
    float *rightData = malloc(sizeof(float) * 24), *sumData = malloc(sizeof(float) * 24);
    NetEngineInference(engine, leftData, positiveData, rightData, sumData);
}
"""

CPP_CALL = """
#include "Net.h"
char *infer(NetEngine *engine, const float *image, float *to);
char *infer(NetEngine *engine, const float *image, float *to) {
    static float positive[Net_positive_floats];
    NetTensors tensors = {};
    tensors.left = tensors.right = image;
    tensors.positive = positive;
    tensors.sum = to;
    return NetEngineRun(engine, &tensors);
}
"""

STRICT = (*toolchain.STRICT_FLAGS, "-pedantic")


@pytest.fixture
def compiler() -> toolchain.Compiler:
    try:
        return toolchain.find_compiler()
    except CannotRunError as error:
        pytest.skip(str(error))


def check_syntax(compiler: toolchain.Compiler, flags: Sequence[str], folder: Path, source: str) -> str:
    """What the compiler says of a program that includes the header; skips where it has no C++."""
    (folder / "program").write_text(source)
    command = [*compiler.command, *flags, *STRICT, "-fsyntax-only", "program"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if "cc1plus" in done.stderr:
        pytest.skip("this compiler has no C++")
    return done.stderr


C = ("-x", "c", "-std=c99", "-pthread")


def test_call_by_name(compiler: toolchain.Compiler, tmp_path: Path, runs_here: str) -> None:
    """Members in any order; a missing one is an error that names it; the call by order gives the same."""
    nn512.compile(GRAPH).write(tmp_path)
    (tmp_path / "main.c").write_text(BY_NAME)
    target = toolchain.NATIVE_FLAGS if runs_here == "native" else toolchain.soft_flags()
    flags = [*toolchain.LANGUAGE_FLAGS, *STRICT, "-O1", *target]
    subprocess.run([*compiler.command, *flags, "main.c", "Net.c", "-o", "program"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "program"], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "fine",
        "equal",
        "Net: the tensor right is NULL",
        "Net: the tensor positive is NULL",
    ]


def test_programs_for_nn512_still_compile(compiler: toolchain.Compiler, tmp_path: Path) -> None:
    nn512.compile(GRAPH).write(tmp_path)
    assert check_syntax(compiler, C, tmp_path, NN512_CALL) == ""


def test_an_output_is_not_const(compiler: toolchain.Compiler, tmp_path: Path) -> None:
    nn512.compile(GRAPH).write(tmp_path)
    assert "const" in check_syntax(
        compiler, C, tmp_path, NN512_CALL.replace("float *rightData", "const float *rightData")
    )


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_cpp(compiler: toolchain.Compiler, standard: str, tmp_path: Path) -> None:
    nn512.compile(GRAPH).write(tmp_path)
    assert check_syntax(compiler, ("-x", "c++", f"-std={standard}", "-pthread"), tmp_path, CPP_CALL) == ""


@pytest.mark.parametrize("flags", [C, ("-x", "c", "-std=gnu99"), ("-x", "c++", "-std=c++20")], ids=["c", "gnu", "c++"])
def test_members_are_no_words_of_the_language(
    compiler: toolchain.Compiler, flags: Sequence[str], tmp_path: Path
) -> None:
    inputs = "".join(f"Input ToTensor={name} Channels=1 Height=1 Width=1\n" for name in ODD)
    sums = "".join(
        f"Activation FromTensor={name} ToTensor=to{name} Kind=ReLU Output FromTensor=to{name}\n" for name in ODD
    )
    header = write_header(parse(f"Config Prefix=Net\n{inputs}{sums}"))
    (tmp_path / "Net.h").write_text(header)
    others = "#include <errno.h>\n#include <stdio.h>\n#include <iso646.h>\n"
    others += "#ifndef __cplusplus\n#include <complex.h>\n#endif\n"
    program = others + '#include "Net.h"\nNetTensors tensors;\nfloat array[Net_class_floats];\n'
    assert check_syntax(compiler, flags, tmp_path, program) == ""
    assert "const float *x;" in header
    assert "an underscore behind it" in " ".join(header.replace(" *", " ").split())


def test_the_header_says_the_order_and_why() -> None:
    header = " ".join(write_header(parse(GRAPH)).replace(" *", " ").split())
    assert "alphabetical order by tensor" in header
    assert "stays right when the lines of the graph change places" in header


def test_sizes_beyond_an_int() -> None:
    """Constants are as large as they are: enumerators, which are ints, could not be."""
    text = "Input ToTensor=x Channels=65536 Height=256 Width=256 Pooling FromTensor=x ToTensor=y Kind=AvgGlobal"
    header = write_header(parse(f"Config Prefix=Net {text} Output FromTensor=y"))
    assert re.search(r"^#define Net_x_floats 4294967296$", header, flags=re.MULTILINE)
