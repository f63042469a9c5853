"""Evaluates a graph node by node: the value in float64 and beside it the variance of a float32 evaluation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nn512.graph.graph import Graph
from nn512.graph.nodes import tensors_read
from reference import domain, samples
from reference.evaluation import Evaluation
from reference.exchange import linear_of
from reference.kinds import kind_of
from reference.rounding import DEFAULT, Rounding
from reference.samples import Sampler
from reference.storing import as_stored
from reference.tensor import Result, Tensor
from reference.walk import before_averages, check_arrays, check_inputs, check_names, norms_behind, schedule
from reference.windows import Array, Single


def run(
    graph: Graph,
    params: Mapping[str, npt.ArrayLike],
    inputs: Mapping[str, npt.ArrayLike],
    *,
    keep: Collection[str] | None = None,
    rounding: Mapping[str, Rounding] | None = None,
    sampled: int | None = None,
    independent: bool = False,
    tensor_error: float = 0.0,
    tell: Callable[[int], None] = lambda number: None,  # noqa: ARG005 - the name says what is told
) -> dict[str, Result]:
    """Evaluate `graph` and return the tensors named by `keep` (default: those of the Output nodes).

    `params` holds every parameter tensor by its name and `inputs` every tensor of an Input node, all float32 and of
    the graph's shapes, those of inputs with Order=HWC as height x width x channels; results are channels x height x
    width. `rounding` says, by the name of the tensor a Conv or FullyConnected produces, how that layer is evaluated.
    `sampled` is the number of samples behind the variance, by default what the size of the graph allows; more of them
    change the variance a little and cost an evaluation each. `independent` takes all roundings as independent of each
    other, without samples, for values alone or a first estimate of the variance: smaller where data repeat, are sorted
    or have one sign, and found in a third of the time. `tensor_error` is the largest relative error with which tensors
    are stored, 2^-8 for bfloat16, inputs and results of every layer. Tensors are freed after their last use.
    `tell` hears the number of every layer before it is evaluated. Equal calls return equal results. Raises UsageError
    for missing, unknown or ill-shaped arrays, other dtypes and unknown names.
    """
    wanted = tuple(node.from_tensor for node in graph.outputs) if keep is None else tuple(keep)
    algorithms = {} if rounding is None else dict(rounding)
    check_names(graph, wanted, algorithms)
    checked_params = check_arrays("parameter", {p.name: p.shape for p in graph.parameters}, params)
    checked_inputs = check_inputs(graph, inputs)

    count = samples.sensible_count(graph) if sampled is None else sampled
    sampler = Sampler.of(0 if independent else count, independent=independent)
    live = {name: as_stored(_input(array, sampler), tensor_error, sampler) for name, array in checked_inputs.items()}
    results = {name: live[name].result for name in wanted if name in live}
    averaged = before_averages(graph)
    with np.errstate(all="ignore"):
        norms = norms_behind(graph, checked_params)
        for number, (layer, dead) in enumerate(schedule(graph)):
            tell(number)
            name = layer.to_tensor
            reads = [live[read] for read in tensors_read(layer)]
            behind = norms.get(name, ())
            at = Evaluation(layer, reads, sampler, checked_params, algorithms.get(name, DEFAULT), behind)
            live[name] = as_stored(kind_of(layer).evaluate(at), tensor_error, sampler)
            if name in averaged:
                live[name] = _with_linear(at, live[name])
            if name in wanted:
                results[name] = live[name].result
            for tensor in dead:
                del live[tensor]
    return {name: results[name] for name in wanted}


def _input(array: Single, sampler: Sampler) -> Tensor:
    value = array.astype(np.float64)
    nothing = np.zeros(array.shape)
    result = Result(value, nothing, nothing.astype(np.bool_))
    return Tensor(result, nothing, sampler.none(array.shape), frozenset(), 0, domain.peak(array))


def _with_linear(at: Evaluation[Any], done: Tensor) -> Tensor:
    """What a layer produced, with `linear` where it has one."""
    kind = kind_of(at.layer)

    def of(other: Tensor) -> Tensor:
        return kind.evaluate(at.on(other))

    def response(errors: Array) -> Array:
        return kind.response(at, errors)

    x = at.reads[0]
    linear = linear_of(kind.role(at.layer), x, x.linear, of, response)
    return done if linear is None else replace(done, linear=linear)
