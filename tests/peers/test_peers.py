"""The reference against PyTorch, ONNX Runtime and OpenVINO: the same node on the same numbers, thousands of cases.

Most data are small integers, so sums are exact and results must be equal; what divides or takes roots is compared to a
few units of the peer's precision. A peer that is not installed is skipped, and the message says how many cases that
leaves uncompared.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from nn512.graph import (
    LRN,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Div,
    FullyConnected,
    Layer,
    LayerNorm,
    Max,
    Min,
    Mul,
    Pooling,
    RMSNorm,
    Shuffle,
    Slice,
    Softmax,
    Sub,
)
from nn512.graph.axes import AXES
from reference import functions, kinds
from reference.windows import Array
from tests.peers.node_cases import EXACT, KINDS, Arrays, cases
from tests.peers.systems import PEERS, UnsupportedError

pytestmark = pytest.mark.peers

CASES = {"torch": 1000, "onnxruntime": 200, "openvino": 25}
"""Cases per node kind and per activation function; the slower a peer builds a net, the fewer."""

PRODUCTS = ("GELU", "GELUTanh", "HardSwish", "Mish", "SiLU")
"""Activation functions of -inf that PyTorch computes as -inf * 0."""


def expected(node: Layer, arrays: Arrays) -> Array:
    """What the reference says."""
    match node:
        case Conv():
            return kinds.conv.value(arrays[0], arrays[1], arrays[2], node)
        case FullyConnected():
            return kinds.fully_connected.value(*arrays)
        case BatchNorm():
            x, means, variances, scales, shifts = arrays
            return kinds.batch_norm.value(x, means, variances, scales, shifts, node)
        case Activation():
            return functions.function_of(node).with_parameters(lambda _: arrays[1]).value(arrays[0], node)
        case Add() | Sub() | Mul() | Div() | Max() | Min():
            value: Callable[..., Array] = getattr(kinds, type(node).__name__.lower()).value
            return value(*arrays)
        case Concat():
            return kinds.concat.value(*arrays, axis=AXES.index(node.axis))
        case Slice():
            return kinds.slice.value(arrays[0], node)
        case Shuffle():
            return kinds.shuffle.value(arrays[0], node.groups)
        case Pooling():
            return kinds.pooling.value(arrays[0], node)
        case Softmax():
            return kinds.softmax.value(arrays[0])
        case LayerNorm():
            return kinds.layer_norm.value(arrays[0], arrays[1], arrays[2], node)
        case RMSNorm():
            return kinds.rms_norm.value(arrays[0], arrays[1], node)
        case LRN():
            return kinds.lrn.value(arrays[0], node)


def compare(peer: str, kind: str, *, planted: bool) -> None:
    """All cases of a kind; `planted` puts NaN and infinities into what the node reads."""
    count = CASES[peer]
    for module in (peer, "torch" if peer == "torch" else "onnx"):
        pytest.importorskip(module, reason=f"{module} is not installed: {count} cases of {kind} not compared")
    rng = np.random.default_rng(0)
    compared = 0
    for node, arrays in cases(kind, count):
        if planted:
            spots = rng.random(arrays[0].shape) < 0.1
            choices = [math.nan, math.inf, -math.inf][: 2 if kind in PRODUCTS else 3]
            arrays[0][spots] = rng.choice(choices, spots.sum())
        try:
            theirs = PEERS[peer](node, arrays)
        except UnsupportedError:
            continue
        with np.errstate(invalid="ignore"):
            ours = expected(node, arrays)
        assert ours.shape == theirs.shape, node
        average = isinstance(node, Pooling) and not node.is_max
        precision = 1e-13 if peer == "torch" else 2e-6
        rounded = (
            average
            or isinstance(node, BatchNorm | LayerNorm | LRN | RMSNorm | Softmax)
            or (isinstance(node, Activation) and node.kind not in EXACT)
        )
        tolerance = precision if rounded else 0.0
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance * 10, err_msg=str(node))
        compared += 1
    assert compared > count / 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.filterwarnings("ignore")  # what others warn about while they load is theirs
def test_peers_agree(peer: str, kind: str) -> None:
    compare(peer, kind, planted=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_pytorch_agrees_on_what_is_not_finite(kind: str) -> None:
    # Of the peers only PyTorch keeps NaN in maxima everywhere.
    compare("torch", kind, planted=True)
