"""Time of every layer, from the counters of emitted code built with NN512_PROFILE, beside what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from nn512.bench.spread import Spread, spread
from nn512.errors import InternalError
from nn512.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer of the emitted code: what it does, and its time per inference.

    `mmac`: million multiply-accumulates that it computes. `predicted`: microseconds, by the compiler's cost model.
    """

    name: str
    kernel: str
    mmac: float
    weight_bytes: int
    microseconds: Spread
    predicted: float

    @property
    def gflops(self) -> float:
        """Floating point operations (two per multiply-accumulate) per nanosecond."""
        return 2e3 * self.mmac / self.microseconds.median

    @property
    def weight_gigabytes_per_second(self) -> float:
        """Rate at which weights are read, once per inference."""
        return self.weight_bytes / 1e3 / self.microseconds.median

    @property
    def predicted_over_measured(self) -> float:
        """1 where the prediction is right, larger where it is too pessimistic."""
        return self.predicted / self.microseconds.median


def parse_profile(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Name and nanoseconds so far of every layer, from `name <tab> inferences <tab> nanoseconds`."""
    layers = []
    for line in lines:
        name, *numbers = line.split("\t")
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise InternalError(f"the profile of the emitted code has a line {line!r}")
        layers.append((name, int(numbers[1])))
    return layers


def per_inference(before: Sequence[str], after: Sequence[str], inferences: int) -> list[tuple[str, float]]:
    """Name and nanoseconds per inference of every layer, from the profiles before and after a burst."""
    earlier, later = parse_profile(before), parse_profile(after)
    if [name for name, _ in earlier] != [name for name, _ in later]:
        raise InternalError("two profiles of the same emitted code name other layers")
    return [(name, (b - a) / inferences) for (name, a), (_, b) in zip(earlier, later, strict=True)]


def join(plan: Plan, rounds: Sequence[Sequence[tuple[str, float]]]) -> tuple[LayerTime, ...]:
    """The layers of a plan with the time they took; `rounds` has name and nanoseconds per layer, for each round."""
    layers = plan.layers
    if any([name for name, _ in measured] != [layer.name for layer in layers] for measured in rounds):
        raise InternalError("the profile of the emitted code names other layers than its plan")
    return tuple(
        LayerTime(
            layer.name,
            layer.kernel,
            layer.mmac,
            layer.weight_bytes,
            # A layer may take less than the clock shows.
            spread([max(measured[index][1], 1.0) / 1e3 for measured in rounds]),
            layer.predicted_microseconds,
        )
        for index, layer in enumerate(layers)
    )


def prediction_error(layers: Sequence[LayerTime]) -> float | None:
    """Median of |predicted / measured - 1| over the layers; None where there are none."""
    errors = [abs(layer.predicted_over_measured - 1) for layer in layers]
    return median(errors) if errors else None
