"""What evaluations of a graph have in common: what they are given, checked, and the layers in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from nn512.errors import UsageError
from nn512.graph.graph import Graph
from nn512.graph.nodes import Layer, tensor_written, tensors_read
from reference.exchange import Role
from reference.folding import Norm
from reference.kinds import kind_of
from reference.windows import Single

_MOST_PROBLEMS = 20
"""Problems with arrays that one message lists."""


def check_arrays(
    what: str, shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, npt.ArrayLike]
) -> dict[str, Single]:
    """`arrays` if they are float32 and have exactly these names and shapes.

    Else a UsageError naming every fault, in the words in which the rest of nn512 complains of the same arrays.
    """
    problems = [f"there is no {what} {name!r}" for name in arrays if name not in shapes]
    checked: dict[str, Single] = {}
    for name, shape in shapes.items():
        if name not in arrays:
            problems.append(f"{what} {name!r} ({_times(shape)}) is missing")
            continue
        array = np.asarray(arrays[name])
        if array.dtype.kind != "f" or array.dtype.itemsize != 4:
            problems.append(f"{what} {name!r} is {array.dtype}, not float32")
        elif array.shape != shape:
            problems.append(f"{what} {name!r} is {_times(array.shape)}, not {_times(shape)}")
        else:
            checked[name] = array.astype(np.float32, copy=False)  # of either byte order
    if problems:
        rest = len(problems) - _MOST_PROBLEMS
        raise UsageError("\n".join([*problems[:_MOST_PROBLEMS], *([f"... and {rest} more"] if rest > 0 else [])]))
    return checked


def check_inputs(graph: Graph, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Single]:
    """The inputs as C x H x W, whatever order the caller has them in; UsageError as `check_arrays`.

    The array x of an input with Order=HWC is H x W x C, and the tensor t[c,p,q] = x[p,q,c].
    """
    arrays = check_arrays("input", graph.input_shapes, inputs)
    return {
        node.to_tensor: np.moveaxis(arrays[node.to_tensor], 2, 0) if node.order == "HWC" else arrays[node.to_tensor]
        for node in graph.inputs
    }


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def check_names(graph: Graph, wanted: Collection[str], rounding: Collection[str] = ()) -> None:
    """UsageError if the graph lacks a wanted tensor, or `rounding` names one that no long sum produces."""
    unknown = sorted(set(wanted) - set(graph.shapes))
    if unknown:
        raise UsageError(f"the graph has no tensor named {', '.join(map(repr, unknown))}")
    strange = sorted(set(rounding) - set(long_sums(graph)))
    if strange:
        raise UsageError(
            f"rounding is given for {', '.join(map(repr, strange))}, but no Conv or FullyConnected produces it"
        )


def long_sums(graph: Graph) -> tuple[str, ...]:
    """The tensors that long sums produce: those for which `rounding` may be given."""
    return tuple(layer.to_tensor for layer in graph.layers if kind_of(layer).is_long_sum)


def schedule(graph: Graph) -> Iterator[tuple[Layer, tuple[str, ...]]]:
    """The layers in order, each with the tensors that are dead after it."""
    last = {name: i for i, layer in enumerate(graph.layers) for name in (*tensors_read(layer), layer.to_tensor)}
    for i, layer in enumerate(graph.layers):
        names = {*tensors_read(layer), tensor_written(layer)}
        yield layer, tuple(name for name in names if name is not None and last[name] == i)


def before_averages(graph: Graph) -> frozenset[str]:
    """Tensors from which only 1x1 convolutions, batch norms and averages lead to an average: worth a `Linear`."""
    found: set[str] = set()
    for layer in reversed(graph.layers):
        role = kind_of(layer).role(layer)
        if role is Role.AVERAGE or (role.passes_on and layer.to_tensor in found):
            found.update(tensors_read(layer))
    return frozenset(found)


def norms_behind(graph: Graph, params: Mapping[str, Single]) -> dict[str, list[Norm]]:
    """By the tensor of a long sum, the batch norms that may be folded into it."""
    found: dict[str, list[Norm]] = defaultdict(list)
    sources: dict[str, tuple[str, Norm | None]] = {}
    for layer in graph.layers:
        kind = kind_of(layer)
        if kind.is_long_sum:
            sources[layer.to_tensor] = layer.to_tensor, None
            continue
        source, before = sources.get(tensors_read(layer)[0], (None, None))
        norm = None if source is None else kind.norm(layer, params)
        if source is not None and norm is not None:
            norm = norm if before is None else before.then(norm)
            found[source].append(norm)
            sources[layer.to_tensor] = source, norm
    return found
