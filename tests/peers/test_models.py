"""Real ONNX files: each is imported and agrees with ONNX Runtime, or is refused for what the language has no words for.

$NN512_MODELS is the folder to which ci/fetch_models.py fetched them; `tox -e models` does both.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nn512.cli import main
from nn512.onnx import UnsupportedError, from_onnx

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs

DIMS = {
    "ch_PP-OCRv4_det_infer": {"x.2": 64, "x.3": 64},
    "ch_PP-OCRv4_rec_infer": {"x.2": 48, "x.3": 320},
    "ch_ppocr_mobile_v2.0_cls_infer": {"x.2": 48, "x.3": 192},
    "silero_vad": {"input.1": 576, "state.1": 1},
    "silero_vad_16k_op15": {"sequence": 576, "batch": 1},
    "silero_vad_half": {"sequence": 576, "batch": 1},
    "silero_vad_op18_ifless": {"sequence": 576, "batch": 1},
}
"""Extents that a file leaves open."""

IMPORTED = """light_bvlc_alexnet light_densenet121 light_inception_v1 light_inception_v2 light_resnet50 light_shufflenet
    light_squeezenet light_vgg19 light_zfnet512 open-nsfw ch_ppocr_mobile_v2.0_cls_infer""".split()
"""Files that the language can say."""

MISSING = {
    "nmp": "Equal Log Pad ReduceMax ReduceMin ReduceSum Where",
    "model": "Equal ReduceSum input",
    "ch_PP-OCRv4_det_infer": "ConvTranspose Resize",
    "ch_PP-OCRv4_rec_infer": "MatMul Softmax",
    "silero_vad": "Equal If input",
    "silero_vad_16k_op15": "Equal If input",
    "silero_vad_16k_sequence": "LSTM Pad",
    "silero_vad_half": "Equal If",
    "silero_vad_op18_ifless": "Equal If input",
    "silero_vad_openvino_16k": "LSTM Pad",
}
"""Of the others, the operators of what they are refused for."""


def file(name: str) -> Path:
    folder = os.environ.get("NN512_MODELS")
    if folder is None:
        pytest.skip("NN512_MODELS is not set: real models not imported")
    (found,) = Path(folder).glob(f"*/{name}.onnx")
    return found


@pytest.mark.parametrize("name", IMPORTED)
def test_what_agrees_with_onnxruntime(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing to compare with")
    model = file(name)
    out = [str(tmp_path / "net.graph"), "--params", str(tmp_path / "net.npz"), "--map", str(tmp_path / "net.json")]
    dims = [word for axis, n in DIMS.get(name, {}).items() for word in ("--dim", f"{axis}={n}")]
    assert main(["import", str(model), "-o", *out, *dims]) == 0
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert verdict.startswith("verified: ")
    assert ", ONNX Runtime " in verdict


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing(name: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(file(name), dims=DIMS.get(name))
    assert " ".join(sorted({refusal.operator for refusal in caught.value.refusals})) == MISSING[name]


def test_every_file_is_listed() -> None:
    folder = file("open-nsfw").parents[1]
    assert sorted(path.stem for path in folder.glob("*/*.onnx")) == sorted([*IMPORTED, *MISSING])
