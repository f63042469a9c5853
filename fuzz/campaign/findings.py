"""Findings on disk: one folder per failure, with everything needed to look at it, replay it and test for it.

    net.graph            the graph, as small as it got
    case.json            options, build, data seeds; what was found; on which machine and with which versions
    <Prefix>.c, .h       the emitted code, as far as there is any
    params.npz, input.npz, expected.npz, got.npz   the data set that showed it, what the
                         reference expects there, and what the C computed
    repro.sh             one line that replays it
    test_<name>.py       the same as a pytest file with the graph inline, for our compiler and data drawn from a seed

A replay needs none of the arrays: `case.json` names their regime and seed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import scipy

import nn512
from fuzz.campaign.corpus import load_corpus_case, told
from fuzz.case import Case, load_json
from fuzz.draw.regimes import GIVEN, DataSet
from fuzz.judge.report import Report
from nn512.arrays import load_arrays, save_arrays
from nn512.errors import MachineError, UsageError
from nn512.graph import Graph
from nn512.params import check_arrays, load_params

_TEST = '''\
"""Replays a finding: {summary}"""

from __future__ import annotations

from fuzz.case import Case, DataSeed
from fuzz.judge.checker import check_case

GRAPH = """\\
{graph}"""


def test_{name}() -> None:
    case = Case(GRAPH, {options!r}, {optimisation!r}, ({data}), {compiler!r})
    report = check_case(case)
    assert not report.problems, "\\n".join(map(str, report.problems))
'''

_REPRO = """\
#!/bin/sh
exec nn512 repro "$(dirname "$0")" "$@"
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A failed case and where it is kept. `signature` says which findings are probably the same fault."""

    path: Path
    case: Case
    signature: str
    summary: str


def signature_of(report: Report) -> str:
    """What findings that are probably one fault have in common.

    The message where the compiler, the C compiler or the tester failed; else the kind of problem and the kernels.
    """
    problem = report.problems[0]
    if problem.kind in {"emit", "build", "tester"}:
        message, *_ = problem.detail.splitlines()
        return f"{problem.kind}: {re.sub(r'[0-9]+', '#', message)[:120]}"
    kernels = sorted({layer.kernel for layer in report.layers})
    return f"{problem.kind} in {' '.join(kernels)}"


def save(report: Report, directory: Path, *, replaces: Path | None = None) -> Finding:
    """Write the folder of a failed check below `directory`, atomically; `replaces` is one to remove afterwards.

    Saving the same case again gives the same folder; cases of C from elsewhere are the same if the C is, too.
    Raises MachineError, with the case in the message, where it cannot be written.
    """
    case = report.case
    key = _key(report)
    name = f"finding-{key}"
    summary = str(report.problems[0])
    target, work = directory / name, None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory))
        _write(report, work, key, summary)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target)
        work.chmod(0o755)
        work.replace(target)
    except (OSError, UsageError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        lost = f"{summary.splitlines()[0]}\n{told(case)}"
        raise MachineError(f"cannot keep a finding in {str(directory)!r}: {reason}\n{lost}") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)  # it is there no more if all went well
    if replaces is not None and replaces != target:
        shutil.rmtree(replaces, ignore_errors=True)
    return Finding(target, case, signature_of(report), summary)


def _key(report: Report) -> str:
    """What names a finding: the case, with the C where that does not follow from it."""
    if not report.profile or report.sources is None:
        return report.case.key
    parts = (report.case.dump(), report.sources.header, report.sources.source)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _write(report: Report, folder: Path, key: str, summary: str) -> None:
    case = report.case
    (folder / "net.graph").write_text(case.graph, encoding="utf-8", errors="surrogateescape")  # comments are bytes
    details = {
        "case": case.to_dict(),
        "found": [
            {"kind": p.kind, "data": None if p.data is None else str(p.data), "detail": p.detail}
            for p in report.problems
        ],
        "signature": signature_of(report),
        "profile": report.profile,
        "environment": environment(report.runner),
    }
    (folder / "case.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    repro = folder / "repro.sh"
    repro.write_text(_REPRO, encoding="utf-8")
    repro.chmod(0o755)
    if not report.profile and all(data.regime != GIVEN for data in case.data):
        (folder / f"test_finding_{key}.py").write_text(_test(case, key, summary), encoding="utf-8")
    if report.sources is not None:
        report.sources.write(folder)
    if report.culprit is not None:
        culprit = report.culprit
        save_arrays(folder / "params.npz", culprit.data.params)
        save_arrays(folder / "input.npz", culprit.data.inputs)
        if culprit.expected:
            values = {name: result.value for name, result in culprit.expected.items()}
            sigmas = {name + "Sigma": np.sqrt(result.variance) for name, result in culprit.expected.items()}
            save_arrays(folder / "expected.npz", {**values, **sigmas})
        if culprit.got:
            save_arrays(folder / "got.npz", culprit.got)


def _test(case: Case, key: str, summary: str) -> str:
    """The text of the pytest file of a finding."""
    data = "".join(f"DataSeed({d.regime!r}, {d.seed}), " for d in case.data)
    return _TEST.format(
        summary=" ".join(summary.split())[:90].replace('"', "'").replace("\\", "/"),
        graph=case.graph.replace("\\", "/").encode("utf-8", "replace").decode("utf-8"),
        name=f"finding_{key}",
        options=dict(case.options),
        optimisation=case.optimisation,
        data=data,
        compiler=case.compiler,
    )


def environment(runner: str) -> dict[str, str]:
    """What a finding may depend on besides its case: runner and compiler, processor, versions."""
    return {
        "runner": runner,
        "processor": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "nn512": nn512.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "hypothesis": hypothesis.__version__,
    }


def processor() -> str:
    """Name of the processor as the system gives it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


@dataclass(frozen=True, slots=True)
class Stored:
    """What a finding's folder holds for a replay. `profile` is not empty where the C did not come from our compiler."""

    case: Case
    profile: str = ""
    folder: Path | None = None

    def data(self, graph: Graph) -> tuple[DataSet, ...]:
        """The data sets whose arrays cannot be drawn again, because a user gave them. Raises UsageError."""
        if self.folder is None or all(seed.regime != GIVEN for seed in self.case.data):
            return ()
        params = load_params(self.folder / "params.npz", graph)
        shapes = graph.input_shapes
        inputs = check_arrays("input", shapes, load_arrays(self.folder / "input.npz", shapes))
        return (DataSet(GIVEN, self.case.data[0].seed, params, inputs),)


def load(path: Path) -> Stored:
    """A finding (its folder or case.json) or a file of the corpus. Raises UsageError."""
    if path.suffix == ".graph":
        return Stored(load_corpus_case(path))
    file = path / "case.json" if path.is_dir() else path
    data = load_json(file)
    if not (isinstance(data, dict) and "case" in data):
        raise UsageError(f"{file}: no finding, there is no case in it")
    return Stored(Case.from_dict(data["case"], str(file)), str(data.get("profile", "")), file.parent)
