"""What stands in for the instruction that an emulator gets wrong gives what processors give."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from fuzz.run.emulator.mended import mended
from nn512 import toolchain

PROGRAM = """
#include <immintrin.h>
#include <stdio.h>
int main(void) {
    float x[16];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        __m256i halves = _mm512_cvtps_ph(_mm512_loadu_ps(x), 0);
        fwrite(&halves, sizeof halves, 1, stdout);
    }
    return 0;
}
"""


def test_every_half_every_tie_and_what_lies_beside_them(tmp_path: Path) -> None:
    text = mended(PROGRAM)
    assert "_mm512_cvtps_ph" not in text
    (tmp_path / "halves.c").write_text(text)
    command = [*toolchain.find_compiler().command, *toolchain.LANGUAGE_FLAGS, *toolchain.STRICT_FLAGS]
    subprocess.run([*command, *toolchain.soft_flags(), "halves.c", "-o", "halves"], cwd=tmp_path, check=True)
    exact = np.arange(0x7C01, dtype=np.uint16).view(np.float16).astype(np.float64)
    exact[-1] = 65536  # where infinity would begin
    ties = ((exact[:-1] + exact[1:]) / 2).astype(np.float32)
    near = np.concatenate([ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf))])
    random = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, np.uint32).view(np.float32)
    special = np.array([0, np.inf, np.nan, 3e38, 1e-45, 65504, 65519.996, 65520], np.float32)
    given = np.concatenate([exact.astype(np.float32), near, special])
    given = np.concatenate([given, -given, random])
    given = np.concatenate([given, np.zeros(-len(given) % 16, np.float32)])
    done = subprocess.run([tmp_path / "halves"], input=given.tobytes(), capture_output=True, check=True)
    got = np.frombuffer(done.stdout, np.uint16)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = given.astype(np.float16).view(np.uint16)
    number = ~np.isnan(given)  # numpy keeps a signalling NaN as it is
    np.testing.assert_array_equal(got[number], expected[number])
    assert np.isnan(got[~number].view(np.float16)).all()


def test_other_text_stays_as_it_is() -> None:
    text = PROGRAM.replace("_mm512_cvtps_ph", "other")
    assert mended(text) is text
