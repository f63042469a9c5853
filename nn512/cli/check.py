"""`nn512 check`: reads graphs, and prints their shapes and sizes."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from nn512.cli.arguments import Subparsers, read_graph
from nn512.cli.nets import (
    Result,
    add_graphs_argument,
    add_report_options,
    check_report_options,
    graph_files,
    is_single,
    report,
    worst,
)
from nn512.errors import Nn512Error
from nn512.graph import (
    Conv,
    Graph,
    GraphError,
    Input,
    Layer,
    Output,
    layer_parameters,
    multiply_accumulates,
    tensors_read,
)


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "check",
        help="check graphs and print their shapes, multiply-accumulates and parameters",
        description="Checks graphs. Prints every node with the line it stands on, the shapes it reads and produces "
        "(channels x height x width), millions of multiply-accumulates and number of parameters; or every mistake.",
    )
    add_graphs_argument(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but mistakes")
    add_report_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the tables of graphs, and the mistakes of those that have some."""
    check_report_options(args)
    single, start, results = is_single(args.graphs), time.monotonic(), list[Result]()
    for name in graph_files(args.graphs):
        try:
            graph = read_graph(name)
        except Nn512Error as error:
            # As the command line says it of one; the others are looked at nevertheless.
            print(error if isinstance(error, GraphError) else f"nn512: {error}", file=sys.stderr)
            headline = str(error).partition("\n")[0]
            results.append(Result.of_mistakes(name, error, error.exit_code, headline))
            continue
        table = table_of(graph)
        results.append(Result(name, 0, _totals(graph)[0], table, details=_details(graph)))
        if not args.quiet:
            print(table if single else f"{name}:\n{table}", end="" if single else "\n")
    right = sum(result.code == 0 for result in results)
    headline = f"{right} of {_count(len(results), 'graph')} without mistakes"
    if not (single or args.quiet):
        print(headline)
    report(args, "check", headline, results, time.monotonic() - start)
    return worst(results)


def _details(graph: Graph) -> dict[str, Any]:
    """The table, for programs."""
    return {
        "prefix": graph.config.prefix,
        "inputs": {node.to_tensor: list(graph.shapes[node.to_tensor]) for node in graph.inputs},
        "outputs": {node.from_tensor: list(graph.shapes[node.from_tensor]) for node in graph.outputs},
        "layers": [
            {
                "line": graph.line_of(layer),
                "node": type(layer).__name__,
                "reads": list(tensors_read(layer)),
                "tensor": layer.to_tensor,
                "shape": list(graph.shapes[layer.to_tensor]),
                "multiply_accumulates": multiply_accumulates(layer, graph.shapes),
                "parameters": sum(p.elements for p in layer_parameters(layer, graph.shapes)),
            }
            for layer in graph.layers
        ],
        "multiply_accumulates": sum(multiply_accumulates(layer, graph.shapes) for layer in graph.layers),
        "parameters": sum(p.elements for p in graph.parameters),
    }


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
