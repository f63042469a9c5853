"""Charts as SVG, for a page that has them inline."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from fuzz.campaign.tally import SIGMA_BINS
from fuzz.campaign.times import Times

_BLUE, _RED = "#3b6ea5", "Reds"
_ACROSS = 4
"""Histograms beside each other."""

LANES = 16
"""Channels of a block."""

_STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
}


def histograms(errors: Mapping[str, Mapping[int, int]]) -> str:
    """Of each kernel, how many outputs behind it err by so many sigma at most; bins as `SIGMA_BINS` a sigma."""
    with _style("errors"):
        down = -(-len(errors) // _ACROSS)
        figure = Figure((_ACROSS * 2.6, 1.5 * down), layout="constrained")
        last = 1 + max((number for bins in errors.values() for number in bins), default=0)
        axes = figure.subplots(down, _ACROSS, squeeze=False, sharex=True)
        for ax in axes.flat[len(errors) :]:
            ax.set_axis_off()
        for ax, (kernel, bins) in zip(axes.flat, sorted(errors.items()), strict=False):
            counts = [bins.get(number, 0) for number in range(last)]
            ax.bar([number / SIGMA_BINS for number in range(last)], counts, 1 / SIGMA_BINS, align="edge", color=_BLUE)
            ax.set_title(kernel)
            ax.set_yscale("log")
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.set_ylim(bottom=0.5)
        figure.supxlabel("largest error of an output, sigma")
        return _svg(figure, "errors")


def throughput(times: Times) -> str:
    """Graphs per second over time."""
    with _style("throughput"):
        figure = Figure((10.4, 2.2), layout="constrained")
        ax = figure.subplots()
        numbers = range(1 + max(times.cases, default=0))
        rates = [times.cases[number] / times.width for number in numbers]
        ax.bar([number * times.width for number in numbers], rates, times.width, align="edge", color=_BLUE)
        ax.set_xlabel("seconds")
        ax.set_ylabel("graphs per second")
        return _svg(figure, "throughput")


def heat_maps(wrong: NDArray[np.bool_], name: str) -> str:
    """How many elements of a tensor C x H x W are wrong: by row and column, and by block and lane of the channel."""
    with _style(name):
        channels = len(wrong)
        blocks = np.zeros((-(-channels // LANES) * LANES,))
        blocks[:channels] = wrong.sum((1, 2))
        blocks[channels:] = np.nan  # lanes that no channel has
        figure = Figure((9.0, 3.2), layout="constrained")
        picture, lanes = figure.subplots(1, 2)
        for ax, counts, labels in (
            (picture, wrong.sum(0), ("x", "y", "wrong channels of each pixel")),
            (lanes, blocks.reshape(-1, LANES), ("lane", "block of channels", "wrong pixels of each channel")),
        ):
            shown = ax.imshow(counts, cmap=_RED, vmin=0, interpolation="nearest", aspect="auto")
            ax.set_xlabel(labels[0])
            ax.set_ylabel(labels[1])
            ax.set_title(labels[2])
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.yaxis.get_major_locator().set_params(integer=True)
            figure.colorbar(shown, ax=ax)
        return _svg(figure, name)


def _style(name: str) -> AbstractContextManager[None]:
    """How charts look; names within one begin with its own."""
    style: AbstractContextManager[None] = rc_context({**_STYLE, "svg.hashsalt": name})
    return style


def _svg(figure: Figure, name: str) -> str:
    """The figure without what only a file of its own has, and without names that another one on the page may have."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :])
    return svg.replace("<svg ", f'<svg class="chart" role="img" aria-label="{name}" ', 1)
