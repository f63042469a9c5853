"""Graphs as ONNX models.

maker, kinds    how one node is written: one file per kind, listed in `kinds.EXPORTS`
export          a whole graph with its parameters
"""

from __future__ import annotations

from nn512.onnx.export import IR_VERSION, MOST_INLINE_BYTES, OPSET, export_onnx, import_onnx

__all__ = ["IR_VERSION", "MOST_INLINE_BYTES", "OPSET", "export_onnx", "import_onnx"]
