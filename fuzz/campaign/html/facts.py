"""What the page of a campaign tells, as data: edge classes by kernel, and all that is known of each finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fuzz.campaign.account import Account
from fuzz.case import load_json
from fuzz.judge.coverage import Coverage
from nn512.arrays import load_arrays
from nn512.errors import Nn512Error
from nn512.graph import Graph, parse

_LONGEST = 20_000
"""Characters of a report that are shown."""


@dataclass(frozen=True, slots=True)
class EdgeClass:
    """An edge class of a kernel, and in how many layers it was emitted, executed and verified; or a decision."""

    name: str
    emitted: int
    executed: int
    verified: int

    @property
    def state(self) -> str:
        """How far it came."""
        return "verified" if self.verified else "executed" if self.executed else "emitted"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel: its layers as a whole, and its edge classes; or what decides, in how many graphs, and its decisions."""

    name: str
    layers: EdgeClass
    classes: tuple[EdgeClass, ...]


def kernels_of(coverage: Coverage) -> list[Kernel]:
    """All kernels that were emitted, or all that decided something or other, by name."""

    def row(kernel: str, edge: str) -> EdgeClass:
        point = kernel, edge
        return EdgeClass(edge, coverage.emitted[point], coverage.executed[point], coverage.verified[point])

    points = sorted(coverage.emitted)
    names = dict.fromkeys(kernel for kernel, _ in points)
    return [
        Kernel(name, row(name, ""), tuple(row(name, edge) for kernel, edge in points if kernel == name and edge))
        for name in names
    ]


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: what was counted of it, and what its folder has, as far as that can be read.

    `wrong` are elements of the tensor `output`, C x H x W; `layer` are the tensors of the layer at fault.
    """

    fault: str
    path: Path
    state: str
    seen: int
    identity: str = ""
    summary: str = ""
    how: str = ""
    report: str = ""
    text: str = ""
    graph: Graph | None = None
    layer: tuple[str, ...] = ()
    output: str = ""
    wrong: NDArray[np.bool_] | None = None
    missing: str = ""


def findings_of(account: Account) -> list[Found]:
    """New ones first, then those that are known, then those that were not shrunk to the end."""
    tally = account.tally
    notes = [*tally.new, *(note for note in tally.findings.values() if note.fault in tally.baseline)]
    found = [
        Found(
            *(note.fault, note.path, "known" if note.fault in tally.baseline else "new", tally.repeats[note.fault]),
            identity=note.identity,
            summary=note.summary,
            how=note.how,
        )
        for note in notes
    ]
    found += [Found(path.name, path, "not shrunk", 1) for path in sorted(tally.unfinished)]
    return [_with_folder(one) for one in found]


def _with_folder(found: Found) -> Found:
    folder = found.path
    try:
        case = load_json(folder / "case.json")
        text = (folder / "net.graph").read_text("utf-8", "replace")
        told = (folder / "report.txt").read_text("utf-8", "replace")[:_LONGEST]
        graph = parse(text, "net.graph")
    except (OSError, Nn512Error) as error:
        return replace(found, missing=f"{folder} cannot be read: {error}")
    data: Mapping[str, object] = case if isinstance(case, dict) else {}
    layer = data.get("layer")
    output, wrong = _wrong_in(folder, graph)
    return replace(
        found,
        report=told,
        text=text,
        graph=graph,
        layer=tuple(map(str, layer)) if isinstance(layer, list) else (),
        output=output,
        wrong=wrong,
    )


def _wrong_in(folder: Path, graph: Graph) -> tuple[str, NDArray[np.bool_] | None]:
    """The first output that is wrong, and where; nothing where no numbers were compared."""
    shapes = {node.from_tensor: tuple(graph.shapes[node.from_tensor]) for node in graph.outputs}
    try:
        got = load_arrays(folder / "got.npz")
        expected = load_arrays(folder / "expected.npz")
        for name, shape in shapes.items():
            wrong = wrong_elements(got[name], expected[name], expected[name + "Allowed"])
            if wrong.shape == shape and wrong.any():
                return name, wrong
    except (KeyError, ValueError, Nn512Error):
        pass  # a crash has no numbers, and the first findings did not say what is allowed
    return "", None


def wrong_elements(
    got: NDArray[np.float32], expected: NDArray[np.float64], allowed: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Elements farther from what is expected than is allowed: NaN where they may be anything, as in repro.c."""
    with np.errstate(all="ignore"):
        near = np.abs(got - expected) <= allowed
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    right: NDArray[np.bool_] = np.isnan(allowed) | same | (np.isfinite(expected) & near)
    return ~right
