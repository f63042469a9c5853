"""Profiles: what C without a plan may be declared to do, so that it is judged by the errors of its own algorithms.

Our plans say how each layer is computed; C of others says nothing. A profile says it for every layer of a graph, by the
form of the layer. Where an implementation errs less than its profile allows, faults that small stay unseen; where it
errs more, right code is called wrong. So a profile names the algorithm, or the one of several that errs most.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import reference
from fuzz.judge import algorithms
from nn512.algebra.cook_toom import cook_toom
from nn512.errors import UsageError
from nn512.graph import Conv, Graph, Layer
from reference import Rounding

HALF = Rounding(weight_error=2.0**-11, weight_floor=2.0**-14, weight_limit=65504.0)
"""Weights stored as fp16 as they are: small ones keep an absolute error, large ones overflow."""

BFLOAT16_WEIGHTS = Rounding(weight_error=2.0**-8, weight_floor=2.0**-118)
"""Weights rounded to bfloat16, perhaps with a batch norm folded in; subnormal ones are zeros."""

_WIDTH = 96

Rule = Callable[[Layer], Rounding | None]


@dataclass(frozen=True, slots=True)
class Profile:
    """A way to compute graphs: `rule` gives how a long sum is evaluated, None for directly in float32.

    `tensor_error` is the largest relative error with which tensors are stored; where it is not 0, nothing is exact.
    """

    says: str
    rule: Rule
    tensor_error: float = 0.0

    def rounding(self, graph: Graph) -> dict[str, Rounding]:
        """By tensor, what `reference.run` takes."""
        sums = set(reference.long_sums(graph))
        found = {layer.to_tensor: self.rule(layer) for layer in graph.layers if layer.to_tensor in sums}
        return {tensor: rounding for tensor, rounding in found.items() if rounding is not None}


def _steps(layer: Layer) -> tuple[int, int] | None:
    """The stride of a convolution without dilation and with more than one tap."""
    if not isinstance(layer, Conv) or (layer.dilation_h, layer.dilation_w) != (1, 1):
        return None
    return None if layer.filter_h == layer.filter_w == 1 else (layer.stride_h, layer.stride_w)


def _winograd(layer: Layer, stored: Rounding, outputs: Mapping[int, int], points: str) -> Rounding | None:
    """Winograd's algorithm for square filters, by their size, at stride 1."""
    if not isinstance(layer, Conv) or _steps(layer) != (1, 1):
        return None
    if layer.filter_h != layer.filter_w or layer.filter_h not in outputs:
        return None
    transform = cook_toom(outputs[layer.filter_h], layer.filter_h, [Fraction(point) for point in points.split()])
    return replace(stored, tiles=algorithms.winograd(transform, transform, exact=False))


def _fourier(layer: Layer, stored: Rounding, size: int) -> Rounding | None:
    """Square transforms, for filters of which half the tile is outputs, at strides 1 and 2."""
    steps = _steps(layer)
    if not isinstance(layer, Conv) or steps not in {(1, 1), (2, 2)}:
        return None
    taps = -(-layer.filter_h // steps[0]), -(-layer.filter_w // steps[1])
    if max(taps) > size // 2 + 4:
        return None
    return replace(stored, tiles=reference.Fourier((size + 1 - taps[0], size + 1 - taps[1]), (size, size)))


_FOUR = {3: 4}
_EIGHT = {3: 6, 5: 4}
_FOUR_POINTS, _EIGHT_POINTS = "0 1 -1 2 -2", "0 1 -1 2 -2 1/2 -1/2"

PROFILES: Mapping[str, Profile] = {
    "direct": Profile(
        "Sums of products in float32, in any order; batch normalization may be folded in.", lambda _: None
    ),
    "direct-fp16": Profile("The same with all weights stored as fp16, unscaled.", lambda _: HALF),
    "winograd-fp32": Profile(
        "3x3 at stride 1 by Winograd's F(4x4, 3x3) with the points 0, 1, -1, 2, -2 and infinity, in float32; the rest "
        "as `direct`.",
        lambda layer: _winograd(layer, Rounding(), _FOUR, _FOUR_POINTS),
    ),
    "winograd-fp16": Profile(
        "The same algorithm with the transformed weights, and all other weights, stored as fp16, unscaled.",
        lambda layer: _winograd(layer, HALF, _FOUR, _FOUR_POINTS) or HALF,
    ),
    "fourier-fp16": Profile(
        "Filters of more than one tap at strides 1 and 2, up to 12 taps at stride 1, by Fourier transforms of 16 x 16; "
        "the transformed weights, and all others, stored as fp16, unscaled.",
        lambda layer: _fourier(layer, HALF, 16) or HALF,
    ),
    "nn512-original": Profile(
        "What the original NN-512 does: tiles of 8 x 8, that is F(6x6, 3x3) and F(4x4, 5x5), for 3x3 and 5x5 at stride "
        "1, Fourier transforms of 16 x 16 for other filters at strides 1 and 2, everything else direct; all weights "
        "stored as fp16, unscaled, those of 1x1 convolutions and fully connected layers, too.",
        lambda layer: _winograd(layer, HALF, _EIGHT, _EIGHT_POINTS) or _fourier(layer, HALF, 16) or HALF,
    ),
    "bf16": Profile(
        "Directly, with weights, inputs and the results of layers rounded to bfloat16, all or some of them, and sums "
        "in float32, as some systems do by default where the processor multiplies bfloat16. Nothing is demanded "
        "exactly, so small faults stay unseen: a right result may be off by 0.2 % of itself.",
        lambda _: BFLOAT16_WEIGHTS,
        tensor_error=2.0**-8,
    ),
}
"""Profiles by name."""


def profile_of(name: str) -> Profile:
    """The profile of this name. Raises UsageError where there is none."""
    if name not in PROFILES:
        raise UsageError(f"no profile is called {name!r}; there are {', '.join(PROFILES)}")
    return PROFILES[name]


def profile_manual() -> str:
    """What profiles there are, for `nn512 doc profiles`."""
    start = (
        "Profiles: how C that came without a plan computes, as `nn512 verify GRAPH --source DIR --profile NAME` takes "
        "it. The error that each layer may have follows from the algorithm and from the format of its weights; the "
        "limits, in sigma, are the same for all. Data that are not finite spoil whole tiles, which begin at the first "
        "row and column."
    )
    return "\n".join([textwrap.fill(start, _WIDTH), *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    for name, profile in PROFILES.items():
        yield f"\n    {name}\n" + textwrap.fill(profile.says, _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
