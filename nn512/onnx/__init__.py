"""Graphs as ONNX models, and ONNX models as graphs.

maker, kinds        how one node is written and read: one file per kind, listed in `kinds.EXPORTS` and `kinds.RULES`
export              a whole graph with its parameters
reading             the way in: a file to an imported graph, and to files
pytorch             the way in from PyTorch: a module to an imported graph
load, protos        a file to plain data, with nothing believed
schemas             the form of nodes and their shapes, as the package onnx knows them
model               that data
importing           node by node to layers
imported            what comes of it: layers under names, with their parameters
work, rules         what rules work with, and what a rule is
plumbing            rules of operators that compute nothing
view                how ONNX sees a tensor: axes merged, split, transposed
folding             constants computed once
parts               normalizations that a model spells in several nodes
windows, affine, pointwise  what several rules share
naming              names of ours for the model's
refusal             what cannot be read, told at once
support             the table of what is read
package             the package onnx, which is optional
"""

from __future__ import annotations

from nn512.onnx.export import IR_VERSION, MOST_INLINE_BYTES, OPSET, export_onnx
from nn512.onnx.imported import Imported, Seen
from nn512.onnx.package import INSTALL_ONNX, import_onnx
from nn512.onnx.pytorch import from_torch
from nn512.onnx.reading import from_onnx, names_of, save_imported
from nn512.onnx.refusal import Refusal, UnsupportedError

__all__ = [
    "INSTALL_ONNX",
    "IR_VERSION",
    "MOST_INLINE_BYTES",
    "OPSET",
    "Imported",
    "Refusal",
    "Seen",
    "UnsupportedError",
    "export_onnx",
    "from_onnx",
    "from_torch",
    "import_onnx",
    "names_of",
    "save_imported",
]
