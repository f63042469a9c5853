"""Evaluates a graph node by node: the value in float64 and beside it the variance of a float32 evaluation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import numpy.typing as npt

from nn512.graph.graph import Graph
from nn512.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    FullyConnected,
    Layer,
    Pooling,
    Softmax,
    tensors_read,
)
from reference import domain, fast, ops, residues, runs, samples, variance
from reference.exchange import Linear, before_averages, is_identity, is_pointwise
from reference.folding import Norm, norms_behind
from reference.grid import CERTAIN
from reference.ops import Array, Mask
from reference.residues import Folded
from reference.rounding import DEFAULT, Rounding
from reference.runs import Walk
from reference.samples import Sampler
from reference.tensor import Result, Tensor, origins_of
from reference.variance import Affine, Excess
from reference.walk import Single, check_arrays, check_names, schedule

_NOTHING: Array = np.zeros((1, 1, 1))
"""The variance of what is read when only a layer's own errors are asked for; any shape."""


_QUIET = Sampler.of(0)
"""For evaluations of which only the derived variance is wanted."""


def run(
    graph: Graph,
    params: Mapping[str, npt.ArrayLike],
    inputs: Mapping[str, npt.ArrayLike],
    *,
    keep: Collection[str] | None = None,
    rounding: Mapping[str, Rounding] | None = None,
    sampled: int | None = None,
) -> dict[str, Result]:
    """Evaluate `graph` and return the tensors named by `keep` (default: those of the Output nodes).

    `params` holds every parameter tensor by its name and `inputs` every tensor of an Input node, all float32 and of
    the graph's shapes. `rounding` says, by the name of the tensor a Conv or FullyConnected produces, how that layer
    is evaluated. `sampled` is the number of samples behind the variance, by default what the size of the graph allows;
    more of them change the variance a little and cost an evaluation each. Tensors are freed after their last use.
    Equal calls return equal results. Raises UsageError for missing, unknown or ill-shaped arrays,
    other dtypes and unknown names.
    """
    wanted = tuple(node.from_tensor for node in graph.outputs) if keep is None else tuple(keep)
    algorithms = {} if rounding is None else dict(rounding)
    check_names(graph, wanted, algorithms)
    checked_params = check_arrays("parameter", {p.name: p.shape for p in graph.parameters}, params)
    shapes = {node.to_tensor: tuple(graph.shapes[node.to_tensor]) for node in graph.inputs}
    checked_inputs = check_arrays("input", shapes, inputs)

    sampler = Sampler.of(samples.sensible_count(graph) if sampled is None else sampled)
    live = {name: _input(array, sampler) for name, array in checked_inputs.items()}
    results = {name: live[name].result for name in wanted if name in live}
    averaged = before_averages(graph)
    norms = norms_behind(graph, checked_params)
    with np.errstate(all="ignore"):
        for layer, dead in schedule(graph):
            name = layer.to_tensor
            evaluation = _Evaluation(layer, [live[read] for read in tensors_read(layer)], sampler, norms.get(name, ()))
            live[name] = evaluation.of_layer(checked_params, algorithms.get(name, DEFAULT))
            if name in averaged:
                live[name] = evaluation.with_linear(live[name], checked_params, algorithms.get(name, DEFAULT))
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


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The evaluation of one layer. Its variance given that of what it reads is a function of the latter."""

    layer: Layer
    reads: list[Tensor]
    sampler: Sampler
    norms: Sequence[Norm] = ()

    def of_layer(self, params: Mapping[str, Single], rounding: Rounding) -> Tensor:
        def parameter(suffix: str) -> Array:
            return params[self.layer.to_tensor + suffix].astype(np.float64)

        match self.layer:
            case Conv() as layer:
                return self._conv(layer, parameter("Weights"), parameter("Biases"), rounding)
            case FullyConnected() as layer:
                weights = params[layer.to_tensor + "Weights"]
                return self._fully_connected(weights, parameter("Biases"), rounding)
            case BatchNorm() as layer:
                names = ("Means", "Variances", "Scales", "Shifts")
                return self._batch_norm(layer, *(parameter(name) for name in names))
            case Activation() as layer:
                return self._activation(layer)
            case Add():
                return self._add(*self.reads)
            case Concat():
                return self._concat(*self.reads)
            case Pooling() as layer:
                return self._pooling(layer)
            case Softmax():
                return self._softmax()
            case _:
                assert_never(self.layer)

    def with_linear(self, done: Tensor, params: Mapping[str, Single], rounding: Rounding) -> Tensor:
        """What the layer produced, with `linear` where it has one."""
        x, layer, norms = self.reads[0], self.layer, self.norms

        def of(other: Tensor) -> Tensor:
            return _Evaluation(layer, [other], _QUIET, norms).of_layer(params, rounding)

        if isinstance(layer, Conv) and is_pointwise(layer):
            weights = params[layer.to_tensor + "Weights"].astype(np.float64)
            return replace(done, linear=Linear(x, of, lambda errors: fast.correlate(errors, weights, layer)))
        if isinstance(layer, BatchNorm) and x.linear is not None:
            scales, variances = (params[layer.to_tensor + name].astype(np.float64) for name in ("Scales", "Variances"))
            factor = (scales / np.sqrt(variances + layer.epsilon)).reshape(-1, 1, 1, 1)
            return replace(done, linear=x.linear.then(of, lambda errors: errors * factor))
        return replace(done, linear=x.linear) if is_identity(layer) else done

    def _conv(self, layer: Conv, weights: Array, biases: Array, rounding: Rounding) -> Tensor:
        (x,) = self.reads
        y = fast.conv(x.value, weights, biases, layer)
        affine = None if layer.padding_h or layer.padding_w else x.affine
        walk = runs.conv(x.value, weights, layer)
        folded = None if affine is None else runs.conv(affine.product, weights, layer)
        excess = Excess.of(walk, folded)

        def evaluated(before: Array, rounding: Rounding) -> Array:
            return variance.conv(x.value, before, y, weights, biases, layer, rounding, affine, excess)

        errors = samples.conv(x.errors, y, weights, layer)
        exact = rounding
        if self.sampler.count and samples.coarse(rounding):
            exact = replace(rounding, weight_error=0.0)
            factor = x.value
            if affine is not None:
                factor = np.where(np.abs(affine.product) > np.abs(x.value), affine.product, x.value)
            factor = np.where(np.isfinite(factor), factor, 0.0)
            errors += self.sampler.stored_weights(factor, weights, layer, rounding)
        certain = [residues.conv(x.value, weights, layer, walk.climb, self._ways(biases))] if walk else []
        if affine is not None and folded is not None:
            start = biases + fast.correlate(affine.shifts, weights, layer).max(axis=(1, 2))
            certain.append(residues.conv(affine.product, weights, layer, folded.climb, self._ways(start)))
        crowd = residues.crowd(x.value, weights, layer, self._largest(biases, walk, folded)) if walk else None
        if samples.coarse(rounding):
            certain.append(residues.stored_weights(x.value, weights, layer, rounding, self._ways(biases)))
        peak = domain.sum_peak(x.value, weights, biases)
        unspecified = domain.conv(x.value, x.unspecified, weights, biases, layer, peak)
        if rounding.tile != (1, 1):
            strange = x.unspecified | ~np.isfinite(x.value)
            unspecified = unspecified | domain.tiles(fast.touched(strange, layer), rounding.tile)
        derived, own = evaluated(x.mixed_variance, rounding), evaluated(_NOTHING, exact)
        if crowd is not None:
            derived, own = derived + crowd, own + crowd
        derived = self._with_certain(derived, errors, certain)
        return self._finish(y, derived, (errors, own), unspecified, terms=weights[0].size, peak=peak)

    def _fully_connected(self, weights: Single, biases: Array, rounding: Rounding) -> Tensor:
        (x,) = self.reads
        affine = x.affine
        y = fast.project(x.value, weights) + biases[:, np.newaxis, np.newaxis]
        walk = runs.fully_connected(x.value, weights)
        folded = None if affine is None else runs.fully_connected(affine.product, weights)
        excess = Excess.of(walk, folded)

        def evaluated(before: Array) -> Array:
            return variance.fully_connected(x.value, before, y, weights, biases, rounding, affine, excess)

        errors = samples.fully_connected(x.errors, y, weights)
        certain = [residues.fully_connected(x.value, weights, walk.climb, self._ways(biases))] if walk else []
        if affine is not None and folded is not None:
            start = biases + fast.project(affine.shifts, weights)[:, 0, 0]
            certain.append(residues.fully_connected(affine.product, weights, folded.climb, self._ways(start)))
        crowd = residues.crowd_in_rows(x.value, weights, self._largest(biases, walk, folded)) if walk else None
        if samples.coarse(rounding):
            certain.append(residues.stored_in_rows(x.value, weights, rounding, self._ways(biases)))
        peak = domain.sum_peak(x.value, weights, biases)
        unspecified = domain.fully_connected(x.value, x.unspecified, weights, biases, peak)
        derived, own = evaluated(x.mixed_variance), evaluated(_NOTHING)
        if crowd is not None:
            derived, own = derived + crowd, own + crowd
        derived = self._with_certain(derived, errors, certain)
        return self._finish(y, derived, (errors, own), unspecified, terms=x.value.size, peak=peak)

    def _ways(self, start: Array) -> list[Folded]:
        """The layer as it stands, and with the batch norms behind it folded in."""
        folded = [Folded(norm.factor, norm.factor * start + norm.shift) for norm in self.norms]
        return [Folded.plain(start), *folded]

    def _largest(self, biases: Array, *walks: Walk | None) -> Array:
        """The largest partial sum of each output."""
        climbs = np.maximum.reduce([walk.climb for walk in walks if walk is not None])
        starts = [way.start / np.where(way.factor == 0, 1.0, way.factor) for way in self._ways(biases)]
        return np.asarray(climbs + np.abs(starts).max(axis=0)[:, np.newaxis, np.newaxis])

    def _with_certain(self, derived: Array, errors: Array, certain: Sequence[Array | None]) -> Array:
        """The variance with errors that are certain to stay below bounds (see `residues`); samples of it are added."""
        for bound in certain:
            if bound is not None:
                sigma = np.where(np.isfinite(bound), bound / CERTAIN, 0.0)
                derived = derived + np.square(sigma)
                self.sampler.add_common(errors, sigma)
        return derived

    def _batch_norm(self, layer: BatchNorm, means: Array, variances: Array, scales: Array, shifts: Array) -> Tensor:
        (x,) = self.reads
        y = ops.batch_norm(x.value, means, variances, scales, shifts, layer)
        factor = (scales / np.sqrt(variances + layer.epsilon))[:, np.newaxis, np.newaxis]
        mean = means[:, np.newaxis, np.newaxis]
        shift = shifts[:, np.newaxis, np.newaxis] - mean * factor

        def evaluated(before: Array) -> Array:
            return variance.batch_norm(x.value, before, y, factor, mean, shift, x.terms)

        errors = x.errors * factor[:, np.newaxis]
        unspecified = domain.batch_norm(x.unspecified, factor, shift, x.peak)
        peak = x.peak * domain.peak(factor) + domain.peak(shift)
        affine = (Affine(x.value) if x.affine is None else x.affine).then(factor, shift)
        derived, own = evaluated(x.derived), evaluated(_NOTHING)
        return self._finish(y, derived, (errors, own), unspecified, terms=x.terms, peak=peak, affine=affine)

    def _activation(self, layer: Activation) -> Tensor:
        (x,) = self.reads
        y = ops.activation(x.value, layer)
        errors = samples.activation(x.value, x.errors, y, layer)
        derived = variance.activation(x.value, x.derived, layer)
        own = variance.activation(x.value, _NOTHING, layer)
        return self._finish(y, derived, (errors, own), x.unspecified)

    def _add(self, x1: Tensor, x2: Tensor) -> Tensor:
        y = ops.add(x1.value, x2.value)
        correlated = bool(x1.origins & x2.origins)

        def evaluated(before1: Array, before2: Array) -> Array:
            terms = (x1.terms, x2.terms)
            return variance.add(x1.value, x2.value, (before1, before2), terms, correlated=correlated)

        peaks = (x1.peak, x2.peak)
        accumulated = (x1.peak if x1.terms else 0.0, x2.peak if x2.terms else 0.0)
        unspecified = domain.add(x1.value, x2.value, (x1.unspecified, x2.unspecified), peaks, accumulated)
        derived, own = evaluated(x1.derived, x2.derived), evaluated(_NOTHING, _NOTHING)
        sampled = (x1.errors + x2.errors, own)
        return self._finish(y, derived, sampled, unspecified, terms=max(x1.terms, x2.terms), peak=x1.peak + x2.peak)

    def _concat(self, x1: Tensor, x2: Tensor) -> Tensor:
        y = ops.concat(x1.value, x2.value)
        derived = variance.concat(x1.derived, x2.derived)
        sampled = (np.concatenate((x1.errors, x2.errors)), np.zeros_like(derived))
        unspecified = np.concatenate((x1.unspecified, x2.unspecified))
        terms, peak = max(x1.terms, x2.terms), max(x1.peak, x2.peak)
        return self._finish(y, derived, sampled, unspecified, terms=terms, peak=peak)

    def _pooling(self, layer: Pooling) -> Tensor:
        (x,) = self.reads
        y = ops.pooling(x.value, layer)
        derived = variance.pooling(x.value, x.derived, y, layer)
        errors = samples.pooling(x.value, x.errors, y, layer)
        unspecified = domain.pooling(x.value, x.unspecified, layer)
        if layer.is_max:
            return self._finish(y, derived, (errors, np.zeros_like(derived)), unspecified)
        # What pixels have in common was derived, not sampled: the samples are made up to it here.
        own = np.maximum(derived - samples.mean_square(errors), 0.0)
        if x.linear is None:
            return self._finish(y, derived, (errors, own), unspecified)
        source = _average(layer, x.linear.source)
        other = x.linear.of(source)
        derived = np.fmax(derived, other.derived)
        errors += self._errors_of_averaging(layer, x.linear)
        own = np.maximum(own, derived - samples.mean_square(errors))
        done = self._finish(
            y,
            derived,
            (errors, own),
            unspecified | other.unspecified,
            terms=x.terms,
            peak=max(domain.peak(y), other.peak),
        )
        return replace(done, linear=Linear(source, x.linear.of, x.linear.response))

    def _errors_of_averaging(self, layer: Pooling, linear: Linear[Tensor]) -> Array:
        """Samples of what it adds to the errors of an average that what led there is done after it.

        Errors of few channels may so become those of many. All others are there in the first order, too.
        """
        source = linear.source
        average = ops.pooling(source.value, layer)
        errors = self.sampler.none(average.shape)
        if not self.sampler.count:
            return linear.response(errors)
        own = _own_of_average(layer, source)
        self.sampler.add_own(errors, np.where(np.isfinite(own), own, 0.0), average)
        if source.linear is not None:
            errors += self._errors_of_averaging(layer, source.linear)
        return linear.response(errors)

    def _softmax(self) -> Tensor:
        (x,) = self.reads
        y = ops.softmax(x.value)
        derived = variance.softmax(x.value, x.mixed_variance, y)
        own = variance.softmax(x.value, _NOTHING, y)
        sampled = (samples.softmax(x.value, x.errors, y), own)
        return self._finish(y, derived, sampled, domain.softmax(x.unspecified))

    def _finish(
        self,
        value: Array,
        derived: Array,
        sampled: tuple[Array, Array],
        unspecified: Mask,
        *,
        terms: int = 0,
        peak: float | None = None,
        affine: Affine | None = None,
    ) -> Tensor:
        """The tensor a layer produces, completed by what is the same for all kinds.

        `sampled` are the errors that come from what the layer reads, and the variance of those of its own.
        """
        finite = np.isfinite(value)
        derived = np.where(finite & np.isfinite(derived), derived, 0.0)
        errors, own = sampled
        self.sampler.add_own(errors, np.where(finite & np.isfinite(own), own, 0.0), value)
        if not (finite.all() and np.isfinite(errors.sum())):
            errors[~(np.isfinite(errors) & finite[:, np.newaxis])] = 0.0
        whole = np.fmax(derived, samples.mean_square(errors))
        unspecified = np.broadcast_to(unspecified, value.shape) | domain.out_of_range(value, whole)
        bound = domain.peak(value) if peak is None else peak
        origins = origins_of(self.layer, self.reads, terms)
        return Tensor(Result(value, whole, unspecified), derived, errors, origins, terms, bound, affine)


def _average(layer: Pooling, source: Tensor) -> Tensor:
    """The average of what a linear layer reads, for that layer to read; without samples.

    Where the layer would have read a batch norm that may be folded into it, the average may be one of what that reads.
    """
    quiet = replace(source, errors=_QUIET.none(source.value.shape))
    done = _Evaluation(layer, [quiet], _QUIET).of_layer({}, DEFAULT)
    affine = source.affine
    if affine is None:
        return done
    more = _own_of_average(layer, source) - variance.averaging(source.value, done.value, layer)
    unspecified = done.unspecified | domain.pooling(affine.value, source.unspecified, layer)
    return replace(
        done,
        result=replace(done.result, unspecified=unspecified),
        derived=done.derived + np.where(np.isfinite(more), more, 0.0),
        affine=replace(affine, value=ops.pooling(affine.value, layer)),
    )


def _own_of_average(layer: Pooling, source: Tensor) -> Array:
    """Variance that averaging adds, of the tensor or of what a batch norm made it from: the larger one."""
    own = variance.averaging(source.value, ops.pooling(source.value, layer), layer)
    affine = source.affine
    if affine is None:
        return own
    before = variance.averaging(affine.value, ops.pooling(affine.value, layer), layer)
    return np.fmax(own, np.square(affine.factor) * before)
