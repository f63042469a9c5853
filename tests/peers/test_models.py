"""Real ONNX files: each is imported and agrees with ONNX Runtime, or is refused for what the language has no words for.

$NN512_MODELS is the folder to which ci/fetch_models.py fetched them; `tox -e models` does both.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from math import prod, sqrt
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

import nn512
from nn512.cli import main
from nn512.onnx import UnsupportedError, from_onnx
from nn512.options import Options
from nn512.toolchain import find_compiler, has_bfloat16

FloatArray: TypeAlias = NDArray[np.float32]

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

LIGHT = [name for name in IMPORTED if name.startswith("light_")]
"""Those whose weights are constants."""

MISSING = {
    "nmp": "Equal Pad ReduceMax ReduceMin ReduceSum Where",
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


def drawn_anew(path: Path) -> Any:
    """A model with random weights, of sizes that keep those of the tensors: the light ones have constants."""
    onnx = importlib.import_module("onnx")
    model = onnx.load(path)
    graph, rng = model.graph, np.random.default_rng(0)
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    filled = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    shapes = {name: array.shape for name, array in arrays.items() if array.dtype.kind == "f"}
    shapes |= {node.output[0]: tuple(arrays[node.input[0]]) for node in filled}
    for node in filled:
        graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name in shapes]:
        graph.initializer.remove(tensor)
    for name, shape in shapes.items():
        is_matrix = len(shape) > 1  # and not a bias, a scale or a variance
        array = rng.standard_normal(shape) / sqrt(prod(shape[1:])) if is_matrix else rng.uniform(0.5, 1, shape)
        graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    return model


def check(model: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Import a model: the emitted C, the reference and ONNX Runtime have to agree."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing to compare with")
    out = [str(tmp_path / "net.graph"), "--params", str(tmp_path / "net.npz"), "--map", str(tmp_path / "net.json")]
    dims = [word for axis, n in DIMS.get(name, {}).items() for word in ("--dim", f"{axis}={n}")]
    assert main(["import", str(model), "-o", *out, *dims]) == 0
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert verdict.startswith("verified: ")
    assert ", ONNX Runtime " in verdict


@pytest.mark.parametrize("name", IMPORTED)
def test_what_agrees_with_onnxruntime(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(file(name), name, tmp_path, capsys)


@pytest.mark.parametrize("name", LIGHT)
def test_light_models_with_other_weights(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As they are all their outputs are equal, and many faults would not show."""
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(drawn_anew(file(name)).SerializeToString())
    check(path, name, tmp_path, capsys)


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing(name: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(file(name), dims=DIMS.get(name))
    assert " ".join(sorted({refusal.operator for refusal in caught.value.refusals})) == MISSING[name]


def test_every_file_is_listed() -> None:
    folder = file("open-nsfw").parents[1]
    assert sorted(path.stem for path in folder.glob("*/*.onnx")) == sorted([*IMPORTED, *MISSING])


def lines_of_text() -> Iterator[FloatArray]:
    """Words on white, 3 x 48 x 192, upright and upside down in turn, which PP-OCR's classifier tells apart."""
    drawing = pytest.importorskip("PIL.ImageDraw", reason="Pillow is not installed: no text to classify")
    images, fonts = importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageFont")
    for words in ("hello world", "bfloat16 pairs", "1,234.56 EUR"):
        line = images.new("RGB", (192, 48), "white")
        drawing.Draw(line).text((6, 6), words, fill="black", font=fonts.load_default(26))
        for image in (line, line.rotate(180)):
            yield np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(127.5) - np.float32(1)


def parts_of_a_photo() -> Iterator[FloatArray]:
    """Cuttings of the portrait that comes with matplotlib, 224 x 224 x 3 without the mean of open_nsfw's training."""
    samples = pytest.importorskip("matplotlib.cbook", reason="matplotlib is not installed: no photo to look at")
    with importlib.import_module("PIL.Image").open(samples.get_sample_data("grace_hopper.jpg")) as photo:
        width, height = photo.size
        for eighth in range(4):
            left, top = eighth * width // 8, eighth * height // 8
            part = photo.convert("RGB").crop((left, top, width - width // 10, height - height // 10))
            yield np.asarray(part.resize((224, 224)), np.float32)[:, :, ::-1] - np.array([104, 117, 123], np.float32)


TRAINED = {"ch_ppocr_mobile_v2.0_cls_infer": lines_of_text, "open-nsfw": parts_of_a_photo}


@pytest.mark.parametrize("name", TRAINED)
def test_trained_models_answer_the_same_in_bfloat16(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing to compare with")
    if not has_bfloat16(find_compiler()):
        monkeypatch.setenv("NN512_RUNNER", "soft")
    model = from_onnx(file(name), dims=DIMS.get(name))
    (image,), (answers,) = model.graph.inputs, model.graph.outputs
    float32 = onnxruntime.InferenceSession(file(name))
    told = set()
    with nn512.Session(model.graph, model.params, options=Options(platform="AVX512BFloat16")) as session:
        for picture in TRAINED[name]():
            (right,) = float32.run(None, {float32.get_inputs()[0].name: picture[np.newaxis]})
            got = session.run({image.to_tensor: np.ascontiguousarray(picture)})[answers.from_tensor]
            assert got.argmax() == right.argmax()
            assert not np.array_equal(got.ravel(), right.ravel()), "nothing was rounded"
            assert got.ravel() == pytest.approx(right.ravel(), abs=1e-4)
            told.add(int(got.argmax()))
    assert len(told) == (2 if TRAINED[name] is lines_of_text else 1)
