"""The plan: what the compiler decided about a net, as typed data; `<Prefix>.plan.json` is the same as text.

The compiler makes it once, after the choice of kernels. `nn512 explain`, the benchmark and the tester read it. Every
field says what it holds: that is the documentation of the file (`nn512 doc plan`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 4
"""Version of the file's structure: it changes when a field is new, goes, or changes its meaning, type or name."""


def _says(doc: str) -> Mapping[str, Any]:
    return {"doc": doc}


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node of the graph, as part of a layer or of none."""

    node: str = field(metadata=_says("the node in a few words"))
    line: int | None = field(metadata=_says("line of the graph on which it begins; null for a net built from nodes"))
    why: str = field(metadata=_says("why it is where it is; empty for what the layer itself is"))


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A function of a layer: the threads of an engine share its items."""

    name: str = field(metadata=_says("the function's name, without the prefix"))
    items: int = field(metadata=_says("equal units of work"))


@dataclass(frozen=True, slots=True)
class PlannedAxis:
    """An axis of the tiles of a layer, rows or columns."""

    outputs: int = field(metadata=_says("results that a tile has along the axis"))
    taps: int = field(metadata=_says("taps of the filter along the axis, after any split into phases"))
    size: int = field(
        metadata=_says(
            "elements of a transformed tile along the axis: outputs + taps - 1 for Winograd, the length of the"
            " transform for Fourier, 1 for an axis without one"
        )
    )
    points: tuple[str, ...] = field(
        metadata=_says("Winograd's interpolation points, as fractions, inf last; empty for others")
    )


@dataclass(frozen=True, slots=True)
class PlannedTiles:
    """The tiles by which a layer is computed. Their grid begins at output row 0, column 0."""

    rows: PlannedAxis = field(metadata=_says("tiles along rows: their height"))
    columns: PlannedAxis = field(metadata=_says("tiles along columns: their width"))
    down: int = field(metadata=_says("tiles below each other; down * rows.outputs less the height is the overhang"))
    across: int = field(metadata=_says("tiles beside each other; across * columns.outputs less the width overhangs"))


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """A layer: one operation of the optimized program, computed by one kernel, one after another."""

    name: str = field(metadata=_says("the tensor that it computes, for most; no two layers have the same"))
    kernel: str = field(metadata=_says("the kernel that computes it, as --force takes it"))
    algorithm: str = field(metadata=_says("how, in words"))
    reads: tuple[str, ...] = field(metadata=_says("tensors of `tensors` that it reads, once for every time"))
    writes: tuple[str, ...] = field(metadata=_says("tensors of `tensors` that it writes"))
    covers: tuple[str, ...] = field(metadata=_says("tensors of the graph whose nodes it stands for"))
    lines: tuple[int, ...] = field(metadata=_says("lines of the graph that it implements"))
    nodes: tuple[PlannedNode, ...] = field(metadata=_says("the nodes it stands for, in the order of evaluation"))
    reason: str = field(metadata=_says("why it exists, if it stands for no node"))
    pixels: str = field(metadata=_says("which pixels it computes or reads, where they are not those of the graph"))
    mmac: float = field(metadata=_says("million multiply-accumulates, by the definition of the nodes"))
    weight_bytes: int = field(metadata=_says("bytes of packed parameters"))
    predicted_microseconds: float = field(metadata=_says("time on the threads of the plan, by the cost model"))
    prices: Mapping[str, float] = field(metadata=_says("the same for every kernel that applies, cheapest first"))
    added_errors: Mapping[str, float] = field(
        metadata=_says(
            "of those with narrow formats: the rms error that these add to the result, relative to its rms, for data"
            " with random signs"
        )
    )
    verdicts: Mapping[str, tuple[str, ...]] = field(
        metadata=_says(
            "what became of the kernels for such an operation, and why, each with those of which it did; empty where"
            " there is only one"
        )
    )
    decisions: tuple[str, ...] = field(metadata=_says("what its kernel decided about its code, and why"))
    forced: bool = field(metadata=_says("whether the user chose the kernel"))
    weights: str = field(metadata=_says("format in which weights are stored: fp32, fp16 or bf16"))
    steps: tuple[PlannedStep, ...] = field(metadata=_says("its functions, in the order in which they run"))
    shared_by_threads: bool = field(metadata=_says("whether threads share the items; else the caller does all"))
    arithmetic: str = field(metadata=_says("how it rounds: an entry of the tester's table of error limits"))
    tiles: PlannedTiles | None = field(metadata=_says("tiles of its algorithm; null where it sums products directly"))
    edge_classes: tuple[str, ...] = field(metadata=_says("edge cases that the emitted code of the layer has"))


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor in the memory of an engine."""

    name: str = field(metadata=_says("its name"))
    shape: tuple[int, ...] = field(metadata=_says("channels, height, width"))
    segments: tuple[int, ...] = field(metadata=_says("channels of each segment; a segment begins a new block"))
    lanes: int = field(
        metadata=_says(
            "channels of a block: 16, or 1 where each is a plane of its own, or all of a pixel as the caller has it"
        )
    )
    offset_bytes: int = field(metadata=_says("where it begins in the engine's memory"))
    bytes: int = field(metadata=_says("how large it is there, lanes without a channel included"))
    first_layer: int = field(metadata=_says("number of the layer that writes it first, counted from 1"))
    last_layer: int = field(metadata=_says("number of the last layer that touches it"))
    pairs: bool = field(
        metadata=_says("whether it is bfloat16: two neighbouring channels, the even one in the lower half, as a float")
    )


@dataclass(frozen=True, slots=True)
class PassEffect:
    """What an optimizing pass did."""

    name: str = field(metadata=_says("the pass, as --no-pass takes it"))
    operations_before: int = field(metadata=_says("operations of the program before it"))
    operations_after: int = field(metadata=_says("operations after it"))
    did: str = field(metadata=_says("what it did, in words"))
    decisions: tuple[str, ...] = field(metadata=_says("what it decided at some operation or other, and why"))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that was decided about a net."""

    prefix: str = field(metadata=_says("prefix of every emitted name"))
    threads: int = field(
        metadata=_says("threads for which kernels were chosen and times predicted; the code runs on any number")
    )
    layers: tuple[PlannedLayer, ...] = field(metadata=_says("layers in the order in which they run"))
    tensors: tuple[PlannedTensor, ...] = field(metadata=_says("tensors in the engine's memory"))
    arena_bytes: int = field(metadata=_says("bytes of all tensors, those that share memory counted once"))
    arena_lower_bound_bytes: int = field(metadata=_says("bytes of the tensors that are alive at once, at the most"))
    thread_bytes: int = field(metadata=_says("bytes that every thread has for itself behind the tensors"))
    passes: tuple[PassEffect, ...] = field(metadata=_says("what the passes did, in the order in which they ran"))
    layouts: tuple[str, ...] = field(metadata=_says("what was decided about layouts of tensors, and why"))
    dropped_nodes: tuple[PlannedNode, ...] = field(metadata=_says("nodes that no layer stands for, and why"))


def uses_bfloat16(plan: Plan) -> bool:
    """Whether the net needs AVX512_BF16."""
    return any(layer.weights == "bf16" for layer in plan.layers)
