"""Nets for edge classes: of all that kernels declare there is a net that has it, and nothing else is emitted."""

from __future__ import annotations

import itertools

import pytest

from fuzz.draw.edges import edge_nets
from nn512.compiler import compile as compile_graph
from nn512.graph import parse
from nn512.kernels.edges import Edges, classes_of, tail
from nn512.kernels.registry import KERNELS, kernel_named
from nn512.options import Options

# Of kernels that differ in the size of a tile or the format of weights one, so that this does not take a minute;
# `nn512 fuzz --edges` looks for the classes of all.
ALIKE = ("winograd", "fourier")
TESTED = [kernel.name for kernel in KERNELS if not kernel.name.startswith(ALIKE)] + ["winograd-5x5", "fourier-8-fp16"]


def test_a_class_is_a_family_and_a_value() -> None:
    assert tail("output tail").classes == tuple(f"output tail {n}" for n in range(16))
    families = (Edges("merged"), Edges("columns", ("left", "inside")))
    assert classes_of(families) == ("merged", "columns left", "columns inside")


@pytest.mark.parametrize("name", [kernel.name for kernel in KERNELS])
def test_kernels_declare_their_classes_once(name: str) -> None:
    classes = kernel_named(name).edge_classes
    assert classes
    assert len(set(classes)) == len(classes)


def test_nets_are_legal() -> None:
    for kernel in KERNELS:
        for one in itertools.islice(edge_nets(kernel), None if kernel.name in TESTED else 3):
            parse(one.text)


@pytest.mark.parametrize("name", TESTED)
def test_every_declared_class_has_a_net(name: str) -> None:
    kernel = kernel_named(name)
    declared, emitted = set(kernel.edge_classes), set[str]()
    for one in edge_nets(kernel):
        if declared <= emitted:
            break
        options = Options(force=(("", name),), without_passes=one.without)
        layers = compile_graph(one.text, options).plan.layers
        emitted.update(edge for layer in layers if layer.kernel == name for edge in layer.edge_classes)
    assert emitted == declared
