"""The edge classes of a net, layer by layer: each layer is taken out of it and run on data aimed at its edges.

Within a net an impulse at the border of a tile is no impulse any more when it comes to the next layer. Alone, a layer
is computed by the kernel that it has in the net, and sees single numbers and small integers at every border it has.
What stands for no node (loads, stores, copies) is checked together with the layers beside it, and all once in the net.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from fuzz.campaign.reduce import cut_out, with_plain_names
from fuzz.case import Case, DataSeed
from fuzz.draw.aimed import EDGES, aimed_seed, channels_aimed_at
from fuzz.judge.coverage import Coverage, Point
from fuzz.judge.report import Report
from nn512.graph import Conv, Graph, format_graph, multiply_accumulates
from nn512.options import Options
from nn512.plan.conv_geometry import TILE_PIXELS
from nn512.plan.plan import PlannedLayer

LARGE_MAC = 30e6
"""Layers of more multiply-accumulates are run on few data sets: the reference takes a second for each."""

MOST_CHANNELS = 6
"""Data sets of which each has its numbers in another channel at a border of blocks."""

REGIMES = ("exact", "taps", "tiles", "gaussian")
"""Data beside those aimed at edges; of large layers the first alone."""

Look = Callable[[Case], Report]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked: a layer alone, or the net (`layer` is empty); `numbers` are those of all layers like it."""

    layer: str
    numbers: tuple[int, ...]
    report: Report


@dataclass(slots=True)
class Layerwise:
    """The layers of a net by number, from 1, and the classes verified: of a layer alone, or anywhere in the net."""

    layers: Sequence[PlannedLayer]
    alone: dict[int, set[Point]] = field(default_factory=dict)
    anywhere: set[Point] = field(default_factory=set)
    failed: list[Checked] = field(default_factory=list)

    def add(self, checked: Checked) -> None:
        """Count what was checked."""
        report = checked.report
        coverage = Coverage()
        right = () if report.problems else report.confirmed
        coverage.add_case(report.graph, report.layers, executed=report.executed, verified=right)
        self.anywhere |= set(coverage.verified)
        for number in checked.numbers if checked.layer else ():
            self.alone[number] = set(coverage.verified)
        if report.problems:
            self.failed.append(checked)

    def mark(self, number: int, edge: str) -> str:
        """How a class of a layer was verified: `+` with the layer alone, `o` elsewhere in the net, `-` not at all."""
        point = (self.layers[number - 1].kernel, edge)
        return "+" if point in self.alone.get(number, ()) else "o" if point in self.anywhere else "-"

    @property
    def missing(self) -> list[tuple[int, str]]:
        """Numbers of layers and their edge classes that were not verified."""
        pairs = ((number, edge) for number, layer in enumerate(self.layers, 1) for edge in layer.edge_classes)
        return [(number, edge) for number, edge in pairs if self.mark(number, edge) == "-"]

    def matrix(self) -> Iterator[str]:
        """Lines: for every kernel its layers as columns and the edge classes that some of them have as rows."""
        for kernel in dict.fromkeys(layer.kernel for layer in self.layers):
            numbers = [n for n, layer in enumerate(self.layers, 1) if layer.kernel == kernel]
            edges = sorted({edge for n in numbers for edge in self.layers[n - 1].edge_classes})
            width = max(len(edge) for edge in (*edges, kernel)) + 2
            yield f"{kernel:<{width + 2}}" + "".join(f"{number:>4}" for number in numbers)
            for edge in edges:
                marks = (self.mark(n, edge) if edge in self.layers[n - 1].edge_classes else "." for n in numbers)
                yield f"  {edge:<{width}}" + "".join(f"{mark:>4}" for mark in marks)

    def summary(self) -> Iterator[str]:
        """Lines: what was not verified, then how much was."""
        missing = self.missing
        for number, edge in missing:
            layer = self.layers[number - 1]
            yield f"never verified: layer {number}, {layer.name} ({layer.kernel}), {edge}"
        total = sum(len(layer.edge_classes) for layer in self.layers)
        wrong = f", {len(self.failed)} checks failed" if self.failed else ""
        yield f"{total - len(missing)} of {total} edge classes of {len(self.layers)} layers verified{wrong}"


def check_layers(graph: Graph, options: Options, layers: Sequence[PlannedLayer], look: Look) -> Iterator[Checked]:
    """Check the net, then each layer alone, those that are alike once. `look` checks a case."""
    case = Case(format_graph(graph), options.to_dict(), "-O2")
    yield Checked("", tuple(range(1, len(layers) + 1)), look(replace(case, data=_data(graph, None))))
    like: dict[tuple[str, str], list[int]] = {}
    nets: dict[tuple[str, str], Graph] = {}
    for number, layer in enumerate(layers, 1):
        alone = _alone(graph, layer)
        if alone is not None:
            key = (layer.kernel, with_plain_names(alone).source.text)
            like.setdefault(key, []).append(number)
            nets.setdefault(key, alone)
    for key, numbers in like.items():
        layer = layers[numbers[0] - 1]
        forced = replace(options, force=(("", layer.kernel),))
        data = _data(nets[key], layer)
        case = Case(format_graph(nets[key]), forced.to_dict(), "-O2", data)
        yield Checked(layer.name, tuple(numbers), look(case))


def _alone(graph: Graph, layer: PlannedLayer) -> Graph | None:
    """The net of the nodes alone that a layer stands for; None where these are none that compute."""
    made = {node.to_tensor for node in graph.layers}
    if not (layer.writes and made.intersection(layer.covers)):  # a store covers what it hands out
        return None
    return next(cut_out(graph, layer.covers), graph)


def _data(graph: Graph, layer: PlannedLayer | None) -> tuple[DataSeed, ...]:
    """Data for a net of one layer, or for a whole one."""
    large = sum(multiply_accumulates(node, graph.shapes) for node in graph.layers) > LARGE_MAC
    if layer is None:
        return (DataSeed("gaussian", 0),) if large else tuple(DataSeed(name, 0) for name in ("exact", "gaussian"))
    rows, columns = _tile(graph, layer)
    shape = graph.shapes[graph.inputs[0].to_tensor]
    number = channels_aimed_at(shape, 2 if large else MOST_CHANNELS)
    aimed = (DataSeed(EDGES, aimed_seed(n, rows, columns)) for n in range(number))
    return (*aimed, *(DataSeed(name, 0) for name in (REGIMES[:1] if large else REGIMES)))


def _tile(graph: Graph, layer: PlannedLayer) -> tuple[int, int]:
    """Rows and columns of the input from one tile of results to the next."""
    conv = next((node for node in graph.layers if isinstance(node, Conv)), None)
    if conv is None:
        return 0, 0
    if layer.tiles is not None:
        return layer.tiles.rows.outputs * conv.stride_h, layer.tiles.columns.outputs * conv.stride_w
    width = graph.shapes[conv.to_tensor].width  # in tiles of one row, as even as it goes
    return conv.stride_h, -(-width // -(-width // TILE_PIXELS)) * conv.stride_w
