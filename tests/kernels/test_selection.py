"""Kernels forced upon layers: by any tensor a layer computes, and what is said about names that are none."""

from __future__ import annotations

import pytest

import nn512
from nn512.errors import UsageError
from nn512.options import Options

FUSED = """
Config Prefix=Net
Input ToTensor=x Channels=20 Height=5 Width=5
BatchNorm FromTensor=x ToTensor=norm
Activation FromTensor=norm ToTensor=active Kind=ReLU
Conv FromTensor=active ToTensor=conv1 ToChannels=20 FilterH=1 FilterW=1
BatchNorm FromTensor=conv1 ToTensor=bn1
Activation FromTensor=bn1 ToTensor=relu1 Kind=ReLU
Conv FromTensor=relu1 ToTensor=conv2 ToChannels=16 FilterH=1 FilterW=1
Add FromTensor1=conv2 FromTensor2=pooled ToTensor=sum
Activation FromTensor=sum ToTensor=relu2 Kind=ReLU
Conv FromTensor=active ToTensor=side ToChannels=16 FilterH=2 FilterW=2
BatchNorm FromTensor=side ToTensor=shared
Conv FromTensor=shared ToTensor=left ToChannels=3 FilterH=2 FilterW=2
Conv FromTensor=shared ToTensor=right ToChannels=3 FilterH=3 FilterW=2
Pooling FromTensor=side ToTensor=pool Kind=AvgGlobal
FullyConnected FromTensor=pool ToTensor=full ToChannels=7
BatchNorm FromTensor=full ToTensor=last
Conv FromTensor=x ToTensor=pooled ToChannels=16 FilterH=1 FilterW=1
Output FromTensor=relu2
Output FromTensor=left
Output FromTensor=right
Output FromTensor=last
"""


def kernels(*force: tuple[str, str]) -> dict[str, str]:
    """The kernel of every layer that has a choice."""
    layers = nn512.compile(FUSED, Options(force=force)).plan.layers
    return {layer.name: layer.kernel for layer in layers if layer.prices or layer.forced}


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [("conv1", "relu1"), ("bn1", "relu1"), ("relu1", "relu1"), ("pooled", "relu2"), ("sum", "relu2"), ("side", "side")],
)
def test_any_tensor_names_its_layer(tensor: str, layer: str) -> None:
    usual = kernels()
    other = "direct" if usual[layer] != "direct" else "pointwise"
    if layer == "side":
        other = usual[layer]  # nothing else applies; the name must do
    assert kernels((tensor, other)) == {**usual, layer: other}


@pytest.mark.parametrize("tensor", ["full", "last"])
@pytest.mark.parametrize("kernel", ["fully_connected", "fully_connected_fp16"])
def test_fully_connected_layers_too(tensor: str, kernel: str) -> None:
    layers = nn512.compile(FUSED, Options(force=((tensor, kernel),))).plan.layers
    assert [layer.kernel for layer in layers if "full" in layer.covers] == [kernel]


@pytest.mark.parametrize(
    ("force", "said"),
    [
        ((("conv1", "direkt"),), "no kernel 'direkt' to force; .*; did you mean direct?"),
        ((("cnov1", "direct"),), "no layer of this net computes 'cnov1'; did you mean conv1?"),
        ((("pool", "direct"),), "kernel 'direct' cannot compute layer 'pool'; it takes pooling"),
        ((("shared", "direct"),), "'shared' is computed in several layers: right, left; name one of these"),
        (
            (("side", "pointwise"),),
            r"kernel 'pointwise' cannot compute layer 'side' \(refused: an output sees .*\); it takes direct",
        ),
        ((("full", "direct"),), "kernel 'direct' cannot compute layer 'last'; it takes fully_connected or"),
        ((("conv1", "direct"), ("conv1", "pointwise")), "'direct' and 'pointwise' are both forced upon layer 'relu1'"),
        ((("", "direct"), ("", "pointwise")), "'direct' and 'pointwise' are both forced upon all layers"),
        ((("bn1", "direct"), ("conv1", "pointwise")), "'direct' and 'pointwise' are both forced upon layer 'relu1'"),
    ],
)
def test_names_that_do_not_fit(force: tuple[tuple[str, str], ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        kernels(*force)


def test_halves_are_not_forced_where_they_cannot_be() -> None:
    halves = (("full", "fully_connected_fp16"),)
    with pytest.raises(
        UsageError, match=r"'fully_connected_fp16' .* layer 'last' \(refused: the user .*\); it takes fully_connected"
    ):
        nn512.compile(FUSED, Options(force=halves, weights="fp32"))
    text = FUSED.replace("FromTensor=pool ToTensor=full", "FromTensor=normal ToTensor=full")
    text += "BatchNorm FromTensor=pool ToTensor=normal\n"
    with pytest.raises(UsageError, match=r"'fully_connected_fp16' .* layer 'last' \(refused: what a batch norm"):
        nn512.compile(text, Options(force=halves))


LAST_STAGE = """
Config Prefix=Net
Input ToTensor=x Channels=512 Height=7 Width=7
Conv FromTensor=x ToTensor=y ToChannels=512 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Output FromTensor=y
"""


def test_threads_share_the_memory_from_which_weights_come() -> None:
    """Larger tiles have fewer products and more weights: one thread has time to read them, eight do not."""
    one, eight = (nn512.compile(LAST_STAGE, Options(threads=threads)).plan for threads in (1, 8))
    (few,), (many,) = ([layer for layer in plan.layers if layer.mmac] for plan in (one, eight))
    assert (one.threads, eight.threads) == (1, 8)
    assert (few.kernel, few.weight_bytes) != (many.kernel, many.weight_bytes)
    assert few.weight_bytes > many.weight_bytes
    assert many.prices[few.kernel] > many.prices[many.kernel] == many.predicted_microseconds
    assert few.predicted_microseconds < 8 * many.predicted_microseconds


def test_threads_want_equal_shares() -> None:
    """36 tiles of 5x5 are three items: one of two threads would do two of them."""
    text = LAST_STAGE.replace("512", "96").replace("7", "30")
    kernels = [
        [layer.kernel for layer in nn512.compile(text, Options(threads=threads)).plan.layers if layer.mmac]
        for threads in (1, 2)
    ]
    assert kernels == [["winograd-5x5"], ["winograd-3x3"]]


def test_what_is_worth_sharing_does_not_depend_on_the_threads() -> None:
    """A layer of six microseconds takes less than four on two threads, if both do it."""
    shared, times = [], []
    for threads in (1, 2, 64):
        layers = nn512.compile(FUSED.replace("=5", "=45"), Options(threads=threads)).plan.layers
        shared.append([layer.name for layer in layers if layer.shared_by_threads])
        times.append({layer.name: layer.predicted_microseconds for layer in layers})
    assert shared == [shared[0]] * 3
    assert 4 < times[0]["active"] < 8
    assert times[1]["active"] < 4
    assert "active" in shared[0]
    assert len({t["relu2_store"] for t in times}) == 1, "a step that one thread does alone"


@pytest.mark.parametrize("threads", [0, -1, 1025, 1.5, True, "2"])
def test_numbers_of_threads_that_are_none(threads: object) -> None:
    with pytest.raises(UsageError, match="kernels are chosen for 1 to 1024 threads, not for"):
        Options.from_dict({"threads": threads})


def test_two_names_of_one_layer_may_agree() -> None:
    assert kernels(("bn1", "direct"), ("conv1", "direct"))["relu1"] == "direct"
