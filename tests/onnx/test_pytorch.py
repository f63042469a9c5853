"""Modules of PyTorch, where it is not installed: what is said, and what needs none. tests/peers has the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

import nn512
from nn512.onnx.imported import Imported
from nn512.onnx.importing import convert
from nn512.onnx.model import Cut, Declared, OnnxModel, OnnxNode
from nn512.onnx.refusal import UnsupportedError

INSTALL = r"pip install '\.\[torch\]'"


class Module:
    """Stands for torch.nn.Module."""


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of PyTorch as is asked before the package onnx."""
    module, nn = ModuleType("torch"), ModuleType("torch.nn")
    vars(nn)["Module"], vars(module)["nn"] = Module, nn
    monkeypatch.setitem(sys.modules, "torch", module)


def test_without_pytorch_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(nn512.CannotRunError, match=f"from_torch needs the package torch .*{INSTALL}"):
        nn512.from_torch(object(), object())


@pytest.mark.usefixtures("torch")
def test_without_onnx_the_message_names_the_extra_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(nn512.CannotRunError, match=f"from_torch needs the package onnx .*{INSTALL}"):
        nn512.from_torch(Module(), object())


@pytest.mark.usefixtures("torch")
def test_what_is_no_module() -> None:
    with pytest.raises(nn512.UsageError, match=r"takes a torch\.nn\.Module, not int"):
        nn512.from_torch(1, object())
    with pytest.raises(nn512.UsageError, match="exporter is 'dynamo' or 'torchscript', not 'jit'"):
        nn512.from_torch(Module(), object(), exporter="jit")


def nodes() -> tuple[OnnxNode, ...]:
    """As the exporter of torch.export names them: modules are known, tensors are called after functions."""
    return (
        OnnxNode("Relu", ("x",), ("relu",), "node_relu", module="stem.act"),
        OnnxNode("Sigmoid", ("relu",), ("s",), "node_sigmoid", module="block.0"),
        OnnxNode("Relu", ("relu",), ("relu_1",), "node_relu_1", module="block.0"),
        OnnxNode("Relu", ("relu_1",), ("relu_2",), "node_relu_2", module="block.0"),
        OnnxNode("Softmax", ("relu_2",), ("softmax",), "node_softmax", {"axis": 1}, "prob"),
    )


def imported(
    to: str = "softmax", *, invented: bool, change: Callable[[OnnxNode], OnnxNode] = lambda node: node
) -> Imported:
    declared = (Declared("x", dims=(1, 4, 5, 6)),)
    made = tuple(map(change, nodes()))
    return convert(OnnxModel(20, made, declared, (Declared(to),)), Cut({}, invented_ends=invented))


def names(net: Imported) -> list[str]:
    return [layer.to_tensor for layer in net.graph.layers]


def test_layers_are_called_after_submodules() -> None:
    """By the path alone where a submodule is one layer."""
    assert names(imported(invented=True)) == ["stemact", "block0relu1", "block0relu2", "prob"]


def test_outputs_keep_the_names_that_somebody_gave_them() -> None:
    assert names(imported(invented=False))[-1] == "softmax"
    assert names(imported("relu_2", invented=True)) == ["stemact", "block0relu1", "block0relu2"]


def test_what_is_refused_is_named_by_its_submodule() -> None:
    def change(node: OnnxNode) -> OnnxNode:
        unknown = node.name == "node_relu_1"
        return OnnxNode(
            "Erf2" if unknown else node.operator, node.reads, node.writes, node.name, node.attributes, node.module
        )

    with pytest.raises(UnsupportedError, match=r"Erf2 'node_relu_1' of module 'block\.0': there is no such layer"):
        imported(invented=True, change=change)
