"""Findings on disk: one folder per fault, with everything needed to look at it, replay it and test for it.

    net.graph            the graph, as small as it got
    case.json            options, build, data seeds; what was found, by which runner and compiler, on which machine
    <Prefix>.c, .h, .plan.json   the emitted code, as far as there is any, and its plan
    params.npz, input.npz, expected.npz, got.npz   the data set that showed it, what the reference expects there, and
                         what the C computed
    report.txt           what people are told
    repro.c, repro.bin   a program that shows it, for a C compiler and nothing else; with the header of portable
                         intrinsics where the finding was made with these
    net.onnx             of a finding in another system: the model that it was given, for its authors
    repro.sh             replays it with nn512, wherever that is
    test_<name>.py       the same as a pytest file

A folder has the name of the fault (`fuzz.campaign.identity`): the same fault found again is counted, and the smaller of
the two cases is kept. A replay needs none of the arrays unless a user gave them: `case.json` names their regime and
seed, and a replay says where a file has something else. An edited `net.graph` is what is replayed; where the C beside
it cannot follow, that is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import scipy

import nn512
from fuzz.campaign.corpus import told
from fuzz.campaign.identity import Identity, identity_of
from fuzz.campaign.program import PORTABLE, data_of, program_of
from fuzz.case import Case, DataSeed, load_json
from fuzz.draw.regimes import GIVEN, DataSet
from fuzz.judge.report import Report
from fuzz.judge.telling import told as told_report
from nn512.arrays import save_arrays
from nn512.errors import CannotRunError, MachineError, UsageError
from nn512.onnx import export_onnx
from nn512.toolchain import SOFT_INCLUDE

UNFINISHED = "unfinished-"
"""Begins the names of folders of failures that are being shrunk."""

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

_TEST_OF_FOLDER = '''\
"""Replays a finding with the C and the data that stand beside this file: {summary}"""

from __future__ import annotations

from pathlib import Path

from fuzz.campaign.stored import load


def test_{name}() -> None:
    report = load(Path(__file__).parent).check()
    assert not report.problems, "\\n".join(map(str, report.problems))
'''

_REPRO = """\
#!/bin/sh
# Replays this finding: with the nn512 on the path, or the one that found it, or any that python3 can import.
here=$(cd "$(dirname "$0")" && pwd) || exit 3
if command -v nn512 > /dev/null; then exec nn512 repro "$here" "$@"; fi
PYTHONPATH="{root}${{PYTHONPATH:+:$PYTHONPATH}}"
export PYTHONPATH
for python in "{python}" python3 python; do
    if "$python" -c "import nn512, fuzz" 2> /dev/null; then exec "$python" -m nn512 repro "$here" "$@"; fi
done
echo "nn512 is not here: install it, or build repro.c, which needs a C compiler only" >&2
exit 3
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A failed case and where it is kept. Findings with the same `identity` are one fault, `seen` so many times.

    `how` says how far it was shrunk.
    """

    path: Path
    case: Case
    identity: Identity
    summary: str
    seen: int = 1
    how: str = ""


def save(report: Report, directory: Path, *, replaces: Path | None = None, how: str = "") -> Finding:
    """Write the folder of a failed check below `directory`, atomically; `replaces` is one to remove afterwards.

    It has the name of the fault. Where there is such a folder already, the fault is counted there, and the smaller
    case kept. `how` says how far it was shrunk. Raises MachineError, with the case in the message, where it cannot be
    written.
    """
    identity = identity_of(report)
    finding = _save(report, directory, identity.name, how)
    if replaces is not None and replaces != finding.path:
        shutil.rmtree(replaces, ignore_errors=True)
    return finding


def save_unfinished(report: Report, directory: Path) -> Path:
    """Keep a failure that is still to be shrunk: should that not come to an end, it is not lost."""
    return _save(report, directory, f"{UNFINISHED}{report.case.key}", "not shrunk").path


def _save(report: Report, directory: Path, name: str, how: str) -> Finding:
    summary = str(report.problems[0])
    target, work = directory / name, None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory))
        with _locked(directory):
            known = _known(target)
            seen = 1 if known is None else known[1] + 1
            if known is not None and known[0] < _size(report.case):
                _count(target, seen)
                kept = known[2]
            else:
                _write(report, work, name, how, seen)
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(target)
                work.chmod(0o755)
                work.replace(target)
                kept = report.case
    except (OSError, UsageError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        lost = f"{summary.splitlines()[0]}\n{told(report.case)}"
        raise MachineError(f"cannot keep a finding in {str(directory)!r}: {reason}\n{lost}") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)  # it is there no more if it was kept
    return Finding(target, kept, identity_of(report), summary, seen, how)


def adopt(folder: Path, directory: Path) -> Path:
    """Take a finding that was kept elsewhere into `directory`: as `save`, it is counted where its fault is known.

    The folder is gone then. Raises MachineError where it cannot be written, UsageError where it is no finding.
    """
    target, new = directory / folder.name, _known(folder)
    if new is None:
        raise UsageError(f"{folder}: no finding")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            known = _known(target)
            seen = new[1] + (0 if known is None else known[1])
            if known is not None and known[0] < new[0]:
                _count(target, seen)
                shutil.rmtree(folder)
            else:
                _count(folder, seen)
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(target)
                shutil.move(folder, target)
    except OSError as error:
        raise MachineError(f"cannot keep a finding in {str(directory)!r}: {error.strerror or error}") from error
    return target


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Only one process at a time: workers may find the same fault at once."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _size(case: Case) -> int:
    """How large a case is: characters of its graph."""
    return len(case.graph)


def _known(folder: Path) -> tuple[int, int, Case] | None:
    """How large the case is that a folder has, how often its fault was seen, and the case; None for no finding."""
    try:
        data = load_json(folder / "case.json")
        if not isinstance(data, dict):
            return None
        case = Case.from_dict(data["case"], str(folder))
        return _size(case), int(data["seen"]), case
    except (UsageError, KeyError, TypeError, ValueError):
        return None


def _count(folder: Path, seen: int) -> None:
    """Write how often the fault of a folder was seen."""
    file = folder / "case.json"
    data = load_json(file)
    assert isinstance(data, dict)
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps({**data, "seen": seen}, indent=1) + "\n", encoding="utf-8")
    partial.replace(file)


def _write(report: Report, folder: Path, name: str, how: str, seen: int) -> None:
    case, summary = report.case, str(report.problems[0])
    (folder / "net.graph").write_text(case.graph, encoding="utf-8", errors="surrogateescape")  # comments are bytes
    is_given = report.sources is not None and report.sources.is_given
    details = {
        "case": case.to_dict(),
        "found": [
            {"kind": p.kind, "data": None if p.data is None else str(p.data), "detail": p.detail}
            for p in report.problems
        ],
        "identity": str(identity_of(report)),
        "place": None if report.place is None else str(report.place),
        "layer": [] if report.place is None else list(report.place.layer.covers),
        "id": report.id,
        "shrunk": how,
        "seen": seen,
        "target": report.target,
        "profile": report.profile,
        "given": is_given,
        "environment": environment(report),
        "arrays": None if report.culprit is None else str(_seed_of(report.culprit.data)),
    }
    (folder / "case.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    (folder / "report.txt").write_text("\n".join(told_report(report)) + "\n", encoding="utf-8", errors="replace")
    repro = folder / "repro.sh"
    repro.write_text(_REPRO.format(root=_root(), python=sys.executable), encoding="utf-8")
    repro.chmod(0o755)
    slug = name.replace("-", "_")
    (folder / f"test_{slug}.py").write_text(_test(case, slug, summary, is_given=is_given), encoding="utf-8")
    if report.sources is not None:
        report.sources.write(folder)
        (folder / "repro.c").write_text(program_of(report, summary.splitlines()[0][:200], nn512.__version__), "utf-8")
        if report.ran is not None and report.ran.portable:
            (folder / PORTABLE).mkdir()
            shutil.copy(SOFT_INCLUDE / "immintrin.h", folder / PORTABLE)
        if data := data_of(report):
            (folder / "repro.bin").write_bytes(data)
    if report.culprit is not None:
        culprit = report.culprit
        if report.declared:
            with contextlib.suppress(CannotRunError):  # without the packages that write models
                export_onnx(folder / "net.onnx", report.graph, culprit.data.params)
        save_arrays(folder / "params.npz", culprit.data.params)
        save_arrays(folder / "input.npz", culprit.data.inputs)
        if culprit.expected:
            values = {name: result.value for name, result in culprit.expected.items()}
            sigmas = {name + "Sigma": np.sqrt(result.variance) for name, result in culprit.expected.items()}
            allowed = {name + "Allowed": array for name, array in culprit.allowed.items()}
            save_arrays(folder / "expected.npz", {**values, **sigmas, **allowed})
        if culprit.got:
            save_arrays(folder / "got.npz", culprit.got)


def _seed_of(data: DataSet) -> DataSeed:
    return DataSeed(data.regime, data.seed)


def _root() -> Path:
    """Where the packages stand: on Python's path or not."""
    return Path(nn512.__file__).parents[1]


def _test(case: Case, slug: str, summary: str, *, is_given: bool) -> str:
    """The text of the pytest file of a finding."""
    words = " ".join(summary.split())[:80].replace('"', "'").replace("\\", "/")
    if is_given or any(data.regime == GIVEN for data in case.data):
        return _TEST_OF_FOLDER.format(summary=words[:50], name=slug)
    return _TEST.format(
        summary=words,
        graph=case.graph.replace("\\", "/").encode("utf-8", "replace").decode("utf-8"),
        name=slug,
        options=dict(case.options),
        optimisation=case.optimisation,
        data="".join(f"DataSeed({d.regime!r}, {d.seed}), " for d in case.data),
        compiler=case.compiler,
    )


def environment(report: Report) -> dict[str, str]:
    """What a finding may depend on besides its case: runner and compiler as they were, processor, versions."""
    ran = report.ran
    return {
        "runner": report.runner,
        "runner_name": "" if ran is None else ran.name,
        "compiler": "" if ran is None else " ".join(ran.compiler.command),
        "compiler_kind": "" if ran is None else ran.compiler.kind.value,
        "compiler_version": "" if ran is None else ran.compiler.version,
        "flags": "" if ran is None else " ".join((*ran.net_flags, ran.level(report.case.optimisation))),
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


def known_faults(directory: Path) -> frozenset[str]:
    """Names of the faults that a folder of findings has. Raises UsageError where there is no such folder."""
    try:
        folders = [path for path in directory.iterdir() if not path.name.startswith((".", UNFINISHED))]
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror}") from error
    return frozenset(path.name for path in folders if (path / "case.json").is_file())
