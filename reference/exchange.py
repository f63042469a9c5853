"""Averages that may be taken before what they read: a 1x1 convolution, and batch norms, treat every pixel alike.

conv(average(x)) = average(conv(x)), so an implementation may evaluate either, and rounds, overflows and is exact in
different places. What an average promises is therefore what both orders keep. The second one is evaluated by the very
functions that evaluate the first: a `Linear` remembers how a tensor was computed, so that it can be done once more on
averages.

* Variance: the larger one. That of the convolution itself is larger in the first order: its root is, pixel by pixel, a
  norm of an affine function of the pixel, so its mean over the cells, which is what an average of errors that may be
  the same comes to, is at least its value at their mean. The second order adds the roundings of the average of what is
  read: about u^2 sum (w x)^2, beside the 0.09 u^2 K sum (w x)^2 of a sum of K products. It counts where K is small. All
  filters then err in common, so samples of it go through the convolution and are added to those of the first order.
* Range: unspecified where either order may overflow. What is not finite comes out alike: in both orders the result is
  that of the same terms w x, NaN if one of them is or if there are infinities of both signs.
* Exactness: the averages, too, must be exact, and their fractions have room in the sums that follow.

A batch norm that is folded forward into the convolution makes the average one of what that batch norm reads.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from reference.windows import Array

Tensor = TypeVar("Tensor")


@dataclass(frozen=True, slots=True)
class Linear(Generic[Tensor]):
    """A tensor as 1x1 convolution, and perhaps batch norms behind it, of `source`.

    of: the same layers on another tensor in place of the source.
    response: what they do to errors of the source, C x S x H x W.
    """

    source: Tensor
    of: Callable[[Tensor], Tensor]
    response: Callable[[Array], Array]

    def then(self, of: Callable[[Tensor], Tensor], response: Callable[[Array], Array]) -> Linear[Tensor]:
        """One more layer behind these."""
        return Linear(self.source, lambda x: of(self.of(x)), lambda errors: response(self.response(errors)))


class Role(enum.Enum):
    """What a layer is to averages that may be taken earlier."""

    POINTWISE = "a 1x1 convolution: an average of its result may be computed from an average of what it reads"
    AFTER = "treats every pixel alike and may follow a 1x1 convolution, such as a batch norm"
    IDENTITY = "computes nothing, so that it may be left out"
    AVERAGE = "an average"
    NONE = "none of these"

    @property
    def passes_on(self) -> bool:
        """Whether averages may be taken before the layer."""
        return self in (Role.POINTWISE, Role.AFTER, Role.IDENTITY)


def linear_of(
    role: Role,
    x: Tensor,
    before: Linear[Tensor] | None,
    of: Callable[[Tensor], Tensor],
    response: Callable[[Array], Array],
) -> Linear[Tensor] | None:
    """The `Linear` of the result of a layer that reads `x`, which itself has `before`."""
    if role is Role.POINTWISE:
        return Linear(x, of, response)
    if role is Role.AFTER and before is not None:
        return before.then(of, response)
    return before if role is Role.IDENTITY else None
