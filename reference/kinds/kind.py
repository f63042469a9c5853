"""What a kind of node answers for: everything that the reference does which depends on the kind."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Generic

from reference.evaluation import Evaluation, L
from reference.exchange import Role
from reference.folding import Norm
from reference.stepping import Stepped, Stepping
from reference.tensor import Tensor
from reference.windows import Array, Single


class Kind(ABC, Generic[L]):
    """One kind of node. Beside the class, its file has `value`: the definition, whose docstring is the specification.

    node: the node's dataclass.
    is_long_sum: whether `rounding` may be given for what the node produces.
    """

    node: ClassVar[type]
    is_long_sum: ClassVar[bool] = False

    def definitions(self) -> Mapping[str, Callable[..., Array]]:
        """The functions whose docstrings and code are the specification, by the words that tell them apart."""
        return {"": sys.modules[type(self).__module__].value}

    @abstractmethod
    def evaluate(self, at: Evaluation[L]) -> Tensor:
        """The value with its variance, samples of its error, and where it is unspecified."""

    @abstractmethod
    def step(self, at: Stepping[L]) -> Stepped:
        """The value, and where float32 has no freedom."""

    def role(self, layer: L) -> Role:
        """What the layer is to averages that may be taken earlier."""
        del layer
        return Role.NONE

    def norm(self, layer: L, params: Mapping[str, Single]) -> Norm | None:
        """The factor and shift per channel that may be folded into a long sum before the layer, if it is no more."""
        del layer, params
        return None

    def response(self, at: Evaluation[L], errors: Array) -> Array:
        """What a layer that averages may pass does to errors of what it reads, C x S x H x W."""
        del at
        return errors
