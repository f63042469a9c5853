"""A measurement as text for people and as data for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from nn512 import __version__
from nn512.bench.agreement import BFLOAT16, Agreement
from nn512.bench.layers import LayerTime, prediction_error
from nn512.bench.measuring import Measurement, Timing
from nn512.bench.spread import Spread
from nn512.bench.systems import PEAK
from nn512.params import params_bytes

QUIET = 0.1
"""Distance of the quartiles, relative to the median, beyond which something else used the processors too."""

SKIPPED = 1e-6
"""Share of the multiply-accumulates that must be missing to be spoken of: plans round them."""


def as_text(measurement: Measurement, command: str) -> str:
    """The report: what was measured where, that all agree, a table of systems and, if asked for, one of layers."""
    graph, agreement = measurement.graph, measurement.agreement
    errors = ", ".join(f"{name} {error:.1e}" for name, error in agreement.errors.items())
    cpus = measurement.cpus
    versions = ", ".join(f"{t.name} {t.version or __version__}" for t in measurement.timings)
    parameters = f"{params_bytes(graph) / 1e6:,.1f} MB of parameters"
    pinned = f"pinned to processor{'' if len(cpus) == 1 else 's'} {', '.join(map(str, cpus))}"
    head = (
        f"{graph.config.prefix}: {measurement.mmac / 1e3:,.3f} GMAC, {parameters}, {_count(len(cpus), 'thread')}",
        f"{measurement.processor}; {pinned}",
        measurement.compiler,
        f"{versions}; {_arithmetic(agreement)}",
        f"$ {command}",
        f"All agree with the reference; largest error relative to the largest output (of a Softmax: logit): {errors}",
    )
    turns = f"{measurement.runs} inferences each, in {_count(measurement.rounds, 'round')} of turns."
    legend = f"{turns} Ratio: time over that of nn512, median of rounds."
    skipped = measurement.mmac - measurement.computed_mmac
    if skipped > SKIPPED * measurement.mmac:
        legend += (
            f"\nGFLOP/s and shares of the peak count the {measurement.mmac / 1e3:,.3f} GMAC of the graph for every "
            f"system;\nnn512 computes {measurement.computed_mmac / 1e3:,.4g} of them: its passes spare the rest. "
            "Those of a layer count what it computes."
        )
    paragraphs = ["\n".join(head), _systems_table(measurement), legend]
    if disturbed := _disturbed(measurement):
        paragraphs.append(disturbed)
    if measurement.layers:
        paragraphs.append(_layers_table(measurement))
        paragraphs.append(_layers_summary(measurement))
    return "\n\n".join(paragraphs)


def _arithmetic(agreement: Agreement) -> str:
    """In which precision the systems compute: float32, but for those whose products may be of bfloat16."""
    narrow = [name for name, bound in agreement.bounds.items() if bound == BFLOAT16]
    return "float32 arithmetic" + (f", products perhaps of bfloat16 in {' and '.join(narrow)}" if narrow else "")


def _disturbed(measurement: Measurement) -> str:
    """A warning where times vary more than those of a quiet machine; empty where they do not."""
    spreads = {t.name: t.microseconds for t in measurement.timings} | {PEAK: measurement.peak_gflops}
    names = [name for name, values in spreads.items() if values.upper - values.lower > QUIET * values.median]
    if not names:
        return ""
    return (
        f"This machine was not quiet: the quartiles of {', '.join(names)} are more than {QUIET:.0%} apart. "
        "Repeat before you believe any of it."
    )


def _systems_table(measurement: Measurement) -> str:
    unit, scale = _unit(t.microseconds.median for t in measurement.timings)
    rows = [("", f"median {unit}", "quartiles", "ratio", "quartiles", "GFLOP/s", "of peak")]
    peak = measurement.peak_gflops
    for timing in measurement.timings:
        time = timing.microseconds.scaled(scale)
        ratio = timing.ratio
        gflops = 2e3 * measurement.mmac / timing.microseconds.median
        rows.append(
            (
                timing.name,
                f"{time.median:.3f}",
                f"{time.lower:.3f} - {time.upper:.3f}",
                "" if ratio is None else f"{ratio.median:.3f}",
                "" if ratio is None else f"{ratio.lower:.3f} - {ratio.upper:.3f}",
                f"{gflops:.1f}" if gflops else "",
                f"{gflops / peak.median:.1%}" if gflops else "",
            )
        )
    rows.append((PEAK, "", "", "", "", f"{peak.median:.1f}", f"{peak.lower:.1f} - {peak.upper:.1f}"))
    return _table(rows)


def _layers_table(measurement: Measurement) -> str:
    total = sum(layer.microseconds.median for layer in measurement.layers)
    heads = "layer", "kernel", "us", "quartiles", "share", "GFLOP/s", "of peak", "weights GB/s"
    rows: list[tuple[str, ...]] = [(*heads, "predicted us", "over measured")]
    for layer in measurement.layers:
        time = layer.microseconds
        cells = (
            layer.name,
            layer.kernel,
            f"{time.median:.2f}",
            f"{time.lower:.2f} - {time.upper:.2f}",
            f"{time.median / total:.1%}",
            f"{layer.gflops:.1f}" if layer.mmac else "",
            f"{layer.gflops / measurement.peak_gflops.median:.1%}" if layer.mmac else "",
            f"{layer.weight_gigabytes_per_second:.1f}" if layer.weight_bytes else "",
            f"{layer.predicted:.2f}",
            f"{layer.predicted_over_measured:.2f}",
        )
        rows.append(cells)
    return _table(rows, text_columns=2)


def _layers_summary(measurement: Measurement) -> str:
    total = sum(layer.microseconds.median for layer in measurement.layers)
    lines = [f"Sum of the layers: {total:.1f} us"]
    if measurement.profiled is not None and measurement.profiled.ratio is not None:
        whole = measurement.profiled
        lines[0] += f"; an inference with counters: {whole.microseconds.median:.1f} us"
        lines[0] += f", {whole.ratio.median:.3f} times one without" if whole.ratio else ""
    error = prediction_error(measurement.layers)
    if error is not None:
        lines.append(f"Median of |predicted / measured - 1|: {error:.1%}")
    return "\n".join(lines)


def as_data(measurement: Measurement, command: str) -> dict[str, Any]:
    """The measurement as plain data; times are microseconds per inference, rates 10^9 operations per second."""
    peak = measurement.peak_gflops
    return {
        "nn512": __version__,
        "command": command,
        "prefix": measurement.graph.config.prefix,
        "gmac": measurement.mmac / 1e3,
        "gmac_computed": measurement.computed_mmac / 1e3,
        "parameter_bytes": params_bytes(measurement.graph),
        "processor": measurement.processor,
        "threads": len(measurement.cpus),
        "processors": list(measurement.cpus),
        "compiler": measurement.compiler,
        "runs": measurement.runs,
        "rounds": measurement.rounds,
        "largest_errors": dict(measurement.agreement.errors),
        "largest_errors_allowed": dict(measurement.agreement.bounds),
        "peak_gflops": _spread_data(peak),
        "systems": [_timing_data(timing, measurement) for timing in measurement.timings],
        "profiled": None if measurement.profiled is None else _timing_data(measurement.profiled, measurement),
        "layers": [_layer_data(layer, peak) for layer in measurement.layers],
        "prediction_error": prediction_error(measurement.layers),
    }


def _timing_data(timing: Timing, measurement: Measurement) -> dict[str, Any]:
    gflops = 2e3 * measurement.mmac / timing.microseconds.median
    return {
        "name": timing.name,
        "version": timing.version or __version__,
        "microseconds": _spread_data(timing.microseconds),
        "ratio": None if timing.ratio is None else _spread_data(timing.ratio),
        "gflops": gflops,
        "of_peak": gflops / measurement.peak_gflops.median,
    }


def _layer_data(layer: LayerTime, peak: Spread) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kernel": layer.kernel,
        "mmac": layer.mmac,
        "weight_bytes": layer.weight_bytes,
        "microseconds": _spread_data(layer.microseconds),
        "gflops": layer.gflops,
        "of_peak": layer.gflops / peak.median,
        "predicted_microseconds": layer.predicted,
        "predicted_over_measured": layer.predicted_over_measured,
    }


def _spread_data(spread: Spread) -> dict[str, float | int]:
    return dataclasses.asdict(spread)


def _unit(microseconds: Iterable[float]) -> tuple[str, float]:
    """The unit in which all of them read well, and what to multiply with."""
    return ("ms", 1e-3) if min(microseconds) >= 1000 else ("us", 1.0)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _table(rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """Columns two spaces apart; the first `text_columns` to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
