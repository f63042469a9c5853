"""`nn512 check`: reads a graph, and prints its shapes and sizes."""

from __future__ import annotations

import argparse

from nn512.cli.arguments import Subparsers, add_graph_argument, read_graph
from nn512.graph import Conv, Graph, Input, Layer, Output, layer_parameters, multiply_accumulates, tensors_read


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "check",
        help="check a graph and print its shapes, multiply-accumulates and parameters",
        description="Checks a graph. Prints every node with the line it stands on, the shapes it reads and produces "
        "(channels x height x width), millions of multiply-accumulates and number of parameters; or every mistake.",
    )
    add_graph_argument(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but mistakes")


def run(args: argparse.Namespace) -> int:
    """Print the table of a graph."""
    graph = read_graph(args.graph)
    if not args.quiet:
        print(table_of(graph), end="")
    return 0


def table_of(graph: Graph) -> str:
    """The table: inputs, layers in topological order and outputs, then the sums."""
    rows = [("line", "node", "tensor", "shape", "MMAC", "parameters")]
    rows.extend(_row(graph, node) for node in (*graph.inputs, *graph.layers, *graph.outputs))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for line, node, tensor, shape, work, parameters in rows:
        cells = (
            line.rjust(widths[0]),
            node.ljust(widths[1]),
            tensor.ljust(widths[2]),
            shape.ljust(widths[3]),
            work.rjust(widths[4]),
            parameters.rjust(widths[5]),
        )
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * sum((*widths, 2 * len(widths) - 2)))
    return "\n".join([*lines, "", *_totals(graph)]) + "\n"


def _row(graph: Graph, node: Input | Layer | Output) -> tuple[str, str, str, str, str, str]:
    line = str(graph.line_of(node) or "")
    kind = type(node).__name__
    if isinstance(node, Input):
        return (line, kind, node.to_tensor, str(graph.shapes[node.to_tensor]), "", "")
    if isinstance(node, Output):
        return (line, kind, node.from_tensor, str(graph.shapes[node.from_tensor]), "", "")
    read = " + ".join(str(graph.shapes[name]) for name in tensors_read(node))
    work = multiply_accumulates(node, graph.shapes)
    parameters = sum(p.elements for p in layer_parameters(node, graph.shapes))
    return (
        line,
        kind,
        node.to_tensor,
        f"{read} -> {graph.shapes[node.to_tensor]}",
        f"{work / 1e6:,.3f}" if work else "",
        f"{parameters:,}" if parameters else "",
    )


def _totals(graph: Graph) -> list[str]:
    parameters = sum(p.elements for p in graph.parameters)
    work = sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers)
    convolutions = sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers if isinstance(layer, Conv))
    counts = [
        _count(len(graph.inputs), "input"),
        _count(len(graph.layers), "layer"),
        _count(len(graph.outputs), "output"),
    ]
    return [
        f"{graph.config.prefix}: {', '.join(counts)}",
        f"{work / 1e6:,.3f} MMAC, {convolutions / 1e6:,.3f} of them in convolutions",
        f"{parameters:,} parameters, {4 * parameters:,} bytes",
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
