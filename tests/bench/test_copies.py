"""Layers beside a copy: all are timed, and what takes too much is told. How long they take is no test."""

from __future__ import annotations

import pytest

from nn512 import toolchain
from nn512.bench import copies
from nn512.bench.copies import LAYERS, MOST, Beside, main, measure
from nn512.graph import Shape


@pytest.mark.native
def test_every_layer_has_its_turn() -> None:
    """A layer that a pass had taken away, or merged with another, would have no name in the table."""
    if not toolchain.has_avx512(toolchain.find_compiler()):
        pytest.skip("this processor has no AVX-512F")
    found = measure(Shape(34, 5, 7), rounds=3)
    assert tuple(found.ratios) == tuple(LAYERS)
    assert found.copy > 0
    assert min(found.ratios.values()) > 0


def test_what_takes_too_much_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shape = Shape(64, 112, 112)
    for ratio, status in ((MOST, 0), (MOST + 0.01, 1)):
        monkeypatch.setattr(copies, "measure", lambda _, ratio=ratio: Beside(shape, 229.4, {"relu": 1.0, "lrn": ratio}))
        assert main(["64x112x112"]) == status
        row = capsys.readouterr().out.splitlines()[1]
        assert row.split()[:4] == ["64x112x112", "229", "1.00", f"{ratio:.2f}"]
        assert row.endswith("too much") is (status == 1)


@pytest.mark.parametrize("word", ["64x112", "axbxc", "63x5x5", "64x1x5", "0x4x4"])
def test_what_is_no_shape_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    assert word in capsys.readouterr().err
