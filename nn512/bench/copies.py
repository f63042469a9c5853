"""Layers that do little more than read and write memory, beside a copy: `python -m nn512.bench.copies [CxHxW...]`.

Prints a line for every shape: the microseconds in which memcpy copies such a tensor, and the time of each layer over
those that a copy of as many bytes takes. All take turns in one program of one thread, processor time is counted, and
medians are shown. 1 where a layer takes more than MOST times a copy.

A tensor that stays in the caches of one core is no question of memory: what computes something takes longer there than
a copy, which has nothing else to do.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from nn512 import toolchain
from nn512.bench.native import FLAGS, program
from nn512.compiler import Emitted
from nn512.compiler import compile as compile_graph
from nn512.errors import CannotRunError, UsageError
from nn512.graph import Graph, Shape, Slice, parse, tensors_read
from nn512.options import Options
from nn512.plan.layout import LANES, blocks_of

MOST = 1.3
"""Times as much as a copy of as many bytes."""

ROUNDS = 51

SHAPES = (Shape(192, 56, 56), Shape(64, 112, 112), Shape(232, 112, 112))
"""Of LRN in GoogLeNet, behind a first convolution, and of a shuffle in ShuffleNet, twice as wide and high."""

LAYERS: Mapping[str, str] = MappingProxyType(
    {
        "relu": "Activation FromTensor=a ToTensor=relu Kind=ReLU",
        "sqrt": "Activation FromTensor=a ToTensor=sqrt Kind=Sqrt",
        "reciprocal": "Activation FromTensor=a ToTensor=reciprocal Kind=Reciprocal",
        "clip": "Activation FromTensor=a ToTensor=clip Kind=Clip Min=3 Max=300",
        "lrn": "LRN FromTensor=a ToTensor=lrn Size=5 Alpha=0.0001",
        "shuffle": "Shuffle FromTensor=a ToTensor=shuffle Groups=2",
        "rows": "Slice FromTensor=a ToTensor=rows Axis=Height From=1 Count={rows}",
        "part": "Slice FromTensor=a ToTensor=part From=1 Count={part}",
        "sum": "Add FromTensor1=a FromTensor2=relu ToTensor=sum",
        "mean": "Pooling FromTensor=a ToTensor=mean Kind=AvgGlobal",
        "scale": "Mul FromTensor1=a FromTensor2=mean ToTensor=scale",
        "max": "Pooling FromTensor=a ToTensor=max Kind=Max WindowH=3 WindowW=3 PaddingH=1 PaddingW=1",
        "max2": "Pooling FromTensor=a ToTensor=max2 Kind=Max3x3Stride2 PaddingH=1 PaddingW=1",
        "avg2": "Pooling FromTensor=a ToTensor=avg2 Kind=Avg2x2Stride2",
        "depth3": "Conv FromTensor=a ToTensor=depth3 ToChannels={channels} Groups={channels} FilterH=3 FilterW=3 "
        "PaddingH=1 PaddingW=1",
        "depth5": "Conv FromTensor=a ToTensor=depth5 ToChannels={channels} Groups={channels} FilterH=5 FilterW=5 "
        "PaddingH=2 PaddingW=2",
        "norm": "LayerNorm FromTensor=a ToTensor=norm",
    }
)
"""Lines of the graph by the name of the result; each reads a, and perhaps what one before it makes."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Microseconds of a copy of a tensor of that shape, and the times of layers over those of their bytes copied."""

    shape: Shape
    copy: float
    ratios: Mapping[str, float]

    @property
    def slow(self) -> tuple[str, ...]:
        """The layers that take too much."""
        return tuple(name for name, ratio in self.ratios.items() if ratio > MOST)

    def row(self) -> str:
        """A line of the table."""
        ratios = " ".join(f"{ratio:>10.2f}" for ratio in self.ratios.values())
        return f"{shape_word(self.shape):<12} {self.copy:>9.0f} {ratios}{'   too much' if self.slow else ''}"


HEAD = f"{'tensor':<12} {'copy, us':>9} " + " ".join(f"{name:>10}" for name in LAYERS)


def shape_word(shape: Shape) -> str:
    """A shape as it is written on the command line."""
    return f"{shape.channels}x{shape.height}x{shape.width}"


def shape_of(word: str) -> Shape:
    """The shape that is written so. Raises UsageError where it is none, or too small to have rows to leave out."""
    extents = word.split("x")
    if len(extents) != 3 or not all(extent.isdecimal() for extent in extents):
        raise UsageError(f"a shape is channels x height x width, such as 64x112x112, not {word!r}")
    shape = Shape(*map(int, extents))
    if shape.channels < 2 or shape.channels % 2 or shape.height < 2 or shape.width < 1:
        raise UsageError(f"{word}: channels are even, for the shuffle, and there are two rows or more")
    return shape


def measure(shape: Shape, rounds: int = ROUNDS) -> Beside:
    """Time all layers on tensors of a shape. Raises CannotRunError where emitted code does not run here."""
    compiler = toolchain.find_compiler()
    if not toolchain.has_avx512(compiler):
        raise CannotRunError("this processor has no AVX-512F: there is nothing to time")
    graph = parse(_text(shape))
    emitted = compile_graph(graph, Options(without_passes=("fuse_elementwise",)))
    files = {
        "Net.h": emitted.header,
        "bench_emitted.c": emitted.source,
        "bench_copies.c": program("bench_copies.c"),
        "bench_copies.h": _table(emitted, shape),
    }
    built = toolchain.build(compiler, files, [*FLAGS, "bench_copies.c"], "bench_copies").path
    printed = subprocess.run([str(built), str(rounds)], check=True, capture_output=True, text=True).stdout
    found: dict[str, list[float]] = {name: [] for name in ("copy", *LAYERS)}
    for name, nanoseconds in map(str.split, printed.splitlines()):
        found[name].append(float(nanoseconds))
    copy = median(found["copy"])
    ratios = {name: median(found[name]) / (copy * _share(graph, name)) for name in LAYERS}
    return Beside(shape, copy / 1e3, ratios)


def _share(graph: Graph, name: str) -> float:
    """The bytes that a layer must read and write, over those that a copy of `a` does."""
    (layer,) = (layer for layer in graph.layers if layer.to_tensor == name)
    result = graph.shapes[name].elements
    read = result if isinstance(layer, Slice) else sum(graph.shapes[tensor].elements for tensor in tensors_read(layer))
    return (read + result) / (2 * graph.shapes["a"].elements)


def _text(shape: Shape) -> str:
    """A net with all layers; averages are what needs least memory of those that can read them."""
    lines = [
        "Config Prefix=Net",
        f"Input ToTensor=x Channels={shape.channels} Height={shape.height} Width={shape.width}",
        "Activation FromTensor=x ToTensor=a Kind=Abs",
        *(
            line.format(rows=shape.height - 1, part=shape.channels // 2, channels=shape.channels)
            for line in LAYERS.values()
        ),
        *(f"Pooling FromTensor={name} ToTensor={name}Mean Kind=AvgGlobal" for name in LAYERS),
        *(f"Output FromTensor={name}Mean" for name in LAYERS),
    ]
    return "\n".join(lines) + "\n"


def _table(emitted: Emitted, shape: Shape) -> str:
    """C text that tells bench_copies.c the layers and the tensors."""
    steps = [step for layer in emitted.plan.layers if layer.name in LAYERS for step in layer.steps]
    rows = [f'    {{"{step.name}", Net_{step.name}, {step.items}}},' for step in steps]
    floats = blocks_of(shape.channels) * LANES * shape.pixels
    return "\n".join(
        [
            f"enum {{ A_FLOATS = {floats}, TO_AT = {next(iter(LAYERS))}_at }};",
            "static const struct { const char *name; Step step; ptrdiff_t items; } layers[] = {",
            *rows,
            "};",
            "",
        ]
    )


def main(words: Sequence[str]) -> int:
    """Print the table; 1 where a layer takes too much, 2 for words that are no shapes, 3 where nothing can be timed."""
    slow = False
    try:
        shapes = [shape_of(word) for word in words] or SHAPES
        sys.stdout.write(f"{HEAD}\n")
        for shape in shapes:
            beside = measure(shape)
            sys.stdout.write(f"{beside.row()}\n")
            sys.stdout.flush()
            slow |= bool(beside.slow)
    except (UsageError, CannotRunError) as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, UsageError) else 3
    return int(slow)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
