"""The graph language: text to a checked graph and back.

source, diagnostics, suggest    where things stand in a text, mistakes with a caret, guesses at misspelt words
fields, node, kinds             the data model: the table of fields, what all nodes answer, one file per kind of node
axes, windows, moments, binary  what several kinds share: axes, words about windows, rough distributions of values,
                                functions of two tensors
graph                           a checked graph
values, vocabulary              values of fields, the words of the language
statement, usual, parser        text to statements: what is made of each node, the fast way and the thorough way
wiring, shapes, names, check    the rules of graphs: who feeds whom, sizes, C names
reading, printer                the ways in (parse, load, build) and the way out (format_graph)
manual, examples                the manual, from the kinds' own words; well-known nets
nodes, describe                 names of old under which other packages import
"""

from __future__ import annotations

from nn512.graph.diagnostics import Diagnostic, GraphError
from nn512.graph.examples import example, example_names
from nn512.graph.fields import FieldInfo, ValueType, field_infos
from nn512.graph.graph import (
    PARAMETER_SUFFIXES,
    Graph,
    argument_name,
    argument_tensor,
    layer_parameters,
    multiply_accumulates,
)
from nn512.graph.kinds import (
    ACTIVATIONS,
    KINDS,
    LRN,
    PLATFORMS,
    POOLINGS,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    Div,
    FullyConnected,
    Input,
    LayerNorm,
    Max,
    Min,
    Mul,
    Output,
    Pooling,
    RMSNorm,
    Shuffle,
    Slice,
    Softmax,
    Sub,
)
from nn512.graph.kinds import AnyBinary as Binary
from nn512.graph.kinds import AnyLayer as Layer
from nn512.graph.kinds import AnyNode as Node
from nn512.graph.manual import manual
from nn512.graph.moments import Moments
from nn512.graph.node import Distribution, Parameter, Shape, Spans
from nn512.graph.nodes import tensor_written, tensors_read
from nn512.graph.printer import format_graph, format_node
from nn512.graph.reading import build, load, load_stream, parse
from nn512.graph.source import Source, Span

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "LRN",
    "PARAMETER_SUFFIXES",
    "PLATFORMS",
    "POOLINGS",
    "Activation",
    "Add",
    "BatchNorm",
    "Binary",
    "Concat",
    "Config",
    "Conv",
    "Diagnostic",
    "Distribution",
    "Div",
    "FieldInfo",
    "FullyConnected",
    "Graph",
    "GraphError",
    "Input",
    "Layer",
    "LayerNorm",
    "Max",
    "Min",
    "Moments",
    "Mul",
    "Node",
    "Output",
    "Parameter",
    "Pooling",
    "RMSNorm",
    "Shape",
    "Shuffle",
    "Slice",
    "Softmax",
    "Source",
    "Span",
    "Spans",
    "Sub",
    "ValueType",
    "argument_name",
    "argument_tensor",
    "build",
    "example",
    "example_names",
    "field_infos",
    "format_graph",
    "format_node",
    "layer_parameters",
    "load",
    "load_stream",
    "manual",
    "multiply_accumulates",
    "parse",
    "tensor_written",
    "tensors_read",
]
