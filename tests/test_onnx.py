"""Every kind of layer has its mapping to ONNX; tests/peers runs the models."""

from __future__ import annotations

import importlib
import pkgutil
from types import SimpleNamespace
from typing import Any

import pytest

from nn512.graph import ACTIVATIONS, KINDS, Conv, Graph, Pooling, parse
from nn512.graph.node import Layer
from nn512.onnx.kinds import EXPORTS, __path__, activation
from nn512.onnx.maker import Export, NodeMaker

GRAPH = """
Config
Input ToTensor=x Channels=4 Height=5 Width=6
Conv FromTensor=x ToTensor=a ToChannels=4 FilterH=3 FilterW=1 StrideW=2 PaddingH=1 DilationH=1 Groups=2
BatchNorm FromTensor=a ToTensor=b
Activation FromTensor=b ToTensor=c Kind=ReLU Param=0.5
Activation FromTensor=b ToTensor=clipped Kind=Clip Min=-1 Max=6
Activation FromTensor=clipped ToTensor=swish0 Kind=HardSwish
Activation FromTensor=swish0 ToTensor=swish1 Kind=HardSigmoid Alpha=0.25 Beta=0.5
Activation FromTensor=swish1 ToTensor=swish2 Kind=SiLU
Activation FromTensor=swish2 ToTensor=swish3 Kind=Tanh
Activation FromTensor=swish3 ToTensor=swish4 Kind=GELU
Activation FromTensor=swish4 ToTensor=swish5 Kind=GELUTanh
Activation FromTensor=swish5 ToTensor=swish6 Kind=ELU Param=0.5
Activation FromTensor=swish6 ToTensor=swish7 Kind=Softplus
Activation FromTensor=swish7 ToTensor=swish8 Kind=Mish
Activation FromTensor=swish8 ToTensor=swish9 Kind=Exp
Activation FromTensor=swish9 ToTensor=swish10 Kind=Sqrt
Activation FromTensor=swish10 ToTensor=swish10Log Kind=Log
Activation FromTensor=swish10Log ToTensor=swish11 Kind=Reciprocal
Activation FromTensor=swish11 ToTensor=swish12 Kind=Square
Activation FromTensor=swish12 ToTensor=swish13 Kind=Neg
Activation FromTensor=swish13 ToTensor=swish14 Kind=Abs
Activation FromTensor=swish14 ToTensor=swish Kind=Sigmoid
Activation FromTensor=swish ToTensor=prelu Kind=PReLU
LayerNorm FromTensor=prelu ToTensor=norm
LRN FromTensor=norm ToTensor=lrn Size=3
RMSNorm FromTensor=lrn ToTensor=rms
Add FromTensor1=c FromTensor2=rms ToTensor=sum
Sub FromTensor1=c FromTensor2=sum ToTensor=sub
Mul FromTensor1=c FromTensor2=sub ToTensor=mul
Div FromTensor1=c FromTensor2=mul ToTensor=div
Max FromTensor1=c FromTensor2=div ToTensor=max
Min FromTensor1=c FromTensor2=max ToTensor=d
Shuffle FromTensor=d ToTensor=dd Groups=2
Slice FromTensor=c ToTensor=cc From=1 Count=2 Step=2
Concat FromTensor1=dd FromTensor2=cc FromTensor3=cc ToTensor=e
Pooling FromTensor=e ToTensor=f Kind=Avg2x2Stride2 PaddingW=1
FullyConnected FromTensor=f ToTensor=g ToChannels=3
Softmax FromTensor=g ToTensor=y
Output FromTensor=y
"""


def test_every_kind_of_layer_has_a_file_and_is_listed() -> None:
    assert set(EXPORTS) == {kind for kind in KINDS if issubclass(kind, Layer)}
    found = []
    for module in pkgutil.iter_modules(__path__, "nn512.onnx.kinds."):
        found += [v for v in vars(importlib.import_module(module.name)).values() if isinstance(v, Export)]
    assert set(map(id, found)) == set(map(id, EXPORTS.values()))  # functions of two tensors are one
    assert len(found) > 7


def test_every_function_of_activation_is_listed() -> None:
    assert tuple(activation.FUNCTIONS) == ACTIVATIONS


def make_node(operator: str, reads: list[str], writes: list[str], name: str, **attributes: object) -> Any:
    return SimpleNamespace(operator=operator, reads=reads, writes=writes, name=name, attributes=attributes)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return parse(GRAPH)


def test_nodes_read_and_write_what_their_layers_do(graph: Graph) -> None:
    """With a stand-in for the package onnx, which need not be there."""
    onnx = SimpleNamespace(helper=SimpleNamespace(make_node=make_node))
    assert {type(layer) for layer in graph.layers} == set(EXPORTS)
    for layer in graph.layers:
        nodes = list(EXPORTS[type(layer)].nodes(NodeMaker(onnx, layer), layer))
        assert nodes[-1].writes == [nodes[-1].name] == [layer.to_tensor]
        own = {name for node in nodes[:-1] for name in node.writes}
        assert all(name.startswith(f"{layer.to_tensor}_") for name in own)
        parameters = {p.name for p in layer.parameters(graph.shapes)}
        read = {name for node in nodes for name in node.reads}
        assert read - own == parameters | set(layer.reads)


def test_attributes_of_poolings() -> None:
    """ONNX has the paddings of all axes before those behind: top, left, bottom, right."""
    onnx = SimpleNamespace(helper=SimpleNamespace(make_node=make_node))
    layer = Pooling(
        "x", "y", "Avg", window_h=5, window_w=6, stride_h=7, stride_w=8, count_padding=1,
        padding_top=1, padding_bottom=2, padding_left=3, padding_right=4,
    )  # fmt: skip
    (node,) = EXPORTS[Pooling].nodes(NodeMaker(onnx, layer), layer)
    assert node.operator == "AveragePool"
    assert node.attributes == {
        "kernel_shape": [5, 6],
        "strides": [7, 8],
        "pads": [1, 3, 2, 4],
        "ceil_mode": 0,
        "count_include_pad": 1,
    }


def test_paddings_of_convolutions() -> None:
    """In the same order."""
    onnx = SimpleNamespace(helper=SimpleNamespace(make_node=make_node))
    layer = Conv("x", "y", 1, 5, 6, padding_top=1, padding_bottom=2, padding_left=3, padding_right=4)
    (node,) = EXPORTS[Conv].nodes(NodeMaker(onnx, layer), layer)
    assert node.attributes["pads"] == [1, 3, 2, 4]


def test_shapes_of_parameters(graph: Graph) -> None:
    for parameter in graph.parameters:
        declared = EXPORTS[type(parameter.owner)].declared(parameter)
        others = {"gWeights": (3, 8 * 2 * 2), "rmsScales": (4, 1, 1), "preluSlopes": (4, 1, 1)}
        assert declared == others.get(parameter.name, parameter.shape)
