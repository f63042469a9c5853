"""Every kind of layer is known to the tester, is drawn, and becomes a legal graph."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn512.graph
from fuzz.draw.growth import grow
from fuzz.draw.kinds import KINDS, Kind, LayerWish, kind_of
from fuzz.draw.kinds.base import as_rows
from fuzz.draw.kinds.input import InputWish
from fuzz.draw.regimes import REGIMES, draw
from nn512.graph import Config, Graph, Input, Output, Shape, build, layer_parameters

SHAPES = st.builds(Shape, *[st.integers(1, 9)] * 3)

kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.node.__name__)


def graph_of(kind: Kind[Any], data: st.DataObject) -> Graph:
    """A graph of one layer, as it is drawn."""
    return build(grow(data.draw(SHAPES), [data.draw(st.one_of(*kind.strategies()))]))


def test_there_is_one_for_every_kind_of_layer() -> None:
    layers = [kind for kind in nn512.graph.KINDS if kind not in {Config, Input, Output}]
    assert Counter(kind.node for kind in KINDS) == Counter(layers)


@kinds
@settings(max_examples=20)
@given(data=st.data())
def test_every_wish_becomes_a_layer_of_its_kind(kind: Kind[Any], data: st.DataObject) -> None:
    (layer,) = graph_of(kind, data).layers
    assert type(layer) is kind.node
    assert kind_of(layer) is kind


@kinds
@settings(max_examples=20)
@given(data=st.data())
def test_every_form_of_a_kind_is_a_wish_for_a_layer(kind: Kind[Any], data: st.DataObject) -> None:
    for strategy in kind.strategies():
        wish = data.draw(strategy)
        assert isinstance(wish, LayerWish)


@kinds
@settings(max_examples=20)
@given(data=st.data())
def test_weights_are_a_view_with_a_row_per_channel(kind: Kind[Any], data: st.DataObject) -> None:
    """Regimes write through them. A kind without parameters has none."""
    graph = graph_of(kind, data)
    (layer,) = graph.layers
    params = {p.name: np.zeros(p.shape, np.float32) for p in layer_parameters(layer, graph.shapes)}
    weights = kind.weights(layer, params)
    assert params or weights is None
    if weights is not None:
        as_rows(weights)[...] = 7
        assert len(weights) == graph.shapes[layer.to_tensor].channels
        assert any((array == 7).all() for array in params.values())


@kinds
@settings(max_examples=10)
@given(data=st.data())
def test_every_regime_draws_all_parameters(kind: Kind[Any], data: st.DataObject) -> None:
    graph = graph_of(kind, data)
    for regime in REGIMES:
        drawn = draw(graph, regime, data.draw(st.integers(0, 99)))
        assert drawn.params.keys() == {parameter.name for parameter in graph.parameters}
        assert all(np.isfinite(array).all() for array in drawn.params.values())


def test_a_graph_of_inputs_gets_the_simplest_layer() -> None:
    graph = build(grow(Shape(2, 1, 1), [InputWish(3, 3, 3)]))
    assert [type(layer) for layer in graph.layers] == [KINDS[0].node]


def test_parts_of_a_graph_can_be_joined() -> None:
    """The reducer needs one kind that can."""
    joined = [layer for kind in KINDS if (layer := kind.join("a", "b", "c")) is not None]
    assert joined
    assert all(nn512.graph.tensors_read(layer) == ("a", "b") for layer in joined)
