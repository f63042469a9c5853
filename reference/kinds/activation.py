"""Element-wise functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from nn512.graph.nodes import Activation
from reference import samples
from reference.accumulation import REACH
from reference.evaluation import NOTHING, Evaluation
from reference.exchange import Role
from reference.functions import FUNCTIONS, function_of
from reference.kinds.kind import Kind
from reference.stepping import Stepped, Stepping, step_of
from reference.tensor import Tensor
from reference.windows import Array


def value(x: Array, node: Activation) -> Array:
    """The function that `Kind` names, of every element; see its `value`."""
    return function_of(node).value(x, node)


class ActivationKind(Kind[Activation]):
    """Activation: see `reference.functions`."""

    node = Activation

    def definitions(self) -> Mapping[str, Callable[..., Array]]:
        """See `Kind`. One for each function."""
        return {f"Kind={function.kind}": function.value for function in FUNCTIONS}

    def evaluate(self, at: Evaluation[Activation]) -> Tensor:
        """See `Kind`."""
        (x,), layer = at.reads, at.layer
        function = function_of(layer).with_parameters(at.parameter)
        y = function.value(x.value, layer)
        errors = samples.difference(lambda moved: function.value(moved, layer), x.value, x.errors, y)
        derived = function.variance(x.value, x.derived, y, layer)
        own = function.variance(x.value, NOTHING, y, layer)
        unsure = function.unsure(x.value, REACH * np.sqrt(x.result.variance), layer)
        return at.finish(y, derived, (errors, own), x.unspecified | unsure | function.unspecified(x.value))

    def step(self, at: Stepping[Activation]) -> Stepped:
        """See `Kind`."""
        (x,), layer = at.reads, at.layer
        function = function_of(layer).with_parameters(at.parameter)
        y = function.value(x.value, layer)
        exact = x.exact & function.exact(x.value, y, layer)
        return Stepped.leaf(y, exact & (np.abs(y) <= np.ldexp(at.limit, step_of(y[exact]))))

    def role(self, layer: Activation) -> Role:
        """See `Kind`."""
        return Role.IDENTITY if function_of(layer).is_identity(layer) else Role.NONE
