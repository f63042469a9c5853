"""Nets of torchvision and timm, with random weights: each is imported by `nn512.from_torch` and agrees with PyTorch.

A dozen small ones run where the packages are; with NN512_MODELS, which `tox -e models` sets, all of them do.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import pytest

import nn512
import reference
from nn512.onnx.pytorch import EXPORTERS
from nn512.onnx.view import elements

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs

DOZEN = """torchvision.squeezenet1_0 torchvision.squeezenet1_1 torchvision.mnasnet1_0 torchvision.mobilenet_v2
torchvision.resnet18 torchvision.mobilenet_v3_small torchvision.efficientnet_b0 timm.mobilenetv1_100
timm.efficientnet_lite0 timm.mobilenetv4_conv_small timm.lcnet_050 timm.legacy_seresnet18""".split()
"""Nets whose parameters are few."""

OTHERS = """torchvision.alexnet torchvision.convnext_tiny torchvision.densenet121 torchvision.efficientnet_v2_s
torchvision.googlenet torchvision.inception_v3 torchvision.mobilenet_v3_large torchvision.regnet_y_400mf
torchvision.resnet50 torchvision.resnext50_32x4d torchvision.shufflenet_v2_x1_0 torchvision.vgg16 torchvision.vgg16_bn
timm.cspresnet50 timm.darknet53 timm.dpn68 timm.ese_vovnet19b_dw timm.ghostnet_100 timm.inception_resnet_v2
timm.inception_v4 timm.mixnet_s timm.mobileone_s0 timm.nf_resnet26 timm.repvgg_a0 timm.res2net50_14w_8s timm.resnet26d
timm.selecsls42b timm.seresnet50 timm.tf_efficientnet_b0 timm.tf_mobilenetv3_small_100 timm.xception41""".split()

SIZES = {
    **dict.fromkeys(("torchvision.inception_v3", "timm.inception_v4", "timm.inception_resnet_v2"), 96),
    **dict.fromkeys(("torchvision.alexnet", "torchvision.vgg16", "torchvision.vgg16_bn"), 224),
}
"""Rows and columns of those that 64 are too few for: the last of them have a pooling of a fixed size at the end."""


def made(name: str) -> Any:
    """The net of that name, with weights of a seed, in evaluation mode."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nets not imported")
    package, _, net = name.partition(".")
    module = pytest.importorskip(package, reason=f"{package} is not installed: its nets not imported")
    torch.manual_seed(0)
    if package == "timm":
        return module.create_model(net, pretrained=False).eval()
    options = {"init_weights": False} if net in {"googlenet", "inception_v3"} else {}
    return getattr(importlib.import_module("torchvision.models"), net)(weights=None, **options).eval()


def check(name: str, exporter: str) -> None:
    """Import a net and hold the reference of what comes of it to PyTorch."""
    module = made(name)
    torch = importlib.import_module("torch")
    size = SIZES.get(name, 64)
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    net = nn512.from_torch(module, image, exporter=exporter)
    with torch.no_grad():
        expected = module(image).numpy()
    (given,), (seen,) = net.inputs, net.outputs
    # One sample: nothing is asked of the variance.
    result = reference.run(net.graph, net.params, {given.tensor: image[0].numpy()}, sampled=1)[seen.tensor]
    most = float(np.abs(expected).max())
    assert most > 0
    np.testing.assert_allclose(elements(seen.dims, result.value), expected, rtol=1e-3, atol=1e-3 * most)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", DOZEN)
def test_small_nets(name: str, exporter: str) -> None:
    check(name, exporter)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", OTHERS)
def test_all_nets(name: str, exporter: str) -> None:
    if "NN512_MODELS" not in os.environ:
        pytest.skip("NN512_MODELS is not set: large nets not imported")
    check(name, exporter)
