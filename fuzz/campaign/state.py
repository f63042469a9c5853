"""What a campaign keeps of itself in its folder, so that it can be resumed, told and merged later.

The file has what was asked for (`settings`), how far it got (`handed_out`, `begun`), what was counted (`tally`), and
the versions on which the cases depend. Paths of findings are relative to the folder, which may be moved.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import hypothesis

import nn512
from fuzz.campaign.atomic import write_whole
from fuzz.campaign.edges import declared_by
from fuzz.campaign.ledger import WHOLE, Ledger, Piece, Shard
from fuzz.campaign.tally import FindingNote, Tally
from fuzz.campaign.times import Times
from fuzz.campaign.worker import Settings, chunk_count
from fuzz.case import load_json
from fuzz.judge.compare import Outcome
from fuzz.judge.coverage import Coverage
from fuzz.judge.lines import Lines
from nn512.errors import UsageError

FORMAT = 1
"""Number of the format; a file with another one is refused."""

_NAME = re.compile(r"campaign(-[0-9]+-of-[0-9]+)?\.json")
_COUNTS = ("cases", "corpus", "verified", "failed", "data_sets", "worst", "worst_where")


def state_file(directory: Path, shard: Shard) -> Path:
    """Where a campaign keeps its state: shards may share a folder."""
    name = "campaign" if shard == WHOLE else f"campaign-{shard.number}-of-{shard.of}"
    return directory / f"{name}.json"


def versions() -> dict[str, str]:
    """What the cases of a seed depend on."""
    return {"nn512": nn512.__version__, "hypothesis": hypothesis.__version__}


@dataclass(slots=True)
class State:
    """A campaign as it stands, kept in `file`: `seconds` it has run, `complete` if it did what was asked for.

    `jobs` are those that a user has asked for.
    """

    file: Path
    settings: Settings
    tally: Tally
    ledger: Ledger
    times: Times = field(default_factory=Times)
    seconds: float = 0.0
    complete: bool = False
    jobs: int | None = None
    versions: Mapping[str, str] = field(default_factory=versions)

    @classmethod
    def begin(cls, settings: Settings) -> State:
        """A campaign that has done nothing yet."""
        ledger = Ledger(chunk_count(settings), settings.shard)
        tally = Tally(baseline=settings.baseline, declared=_declared(settings))
        return cls(state_file(settings.directory, settings.shard), settings, tally, ledger)

    def save(self) -> None:
        """Write the file. Raises OSError; what was there is still there then."""
        write_whole(self.file, json.dumps(self.to_dict(), indent=1) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON-able data."""
        return {
            "format": FORMAT,
            "versions": self.versions,
            "settings": _settings_to_dict(self.settings),
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
            "jobs": self.jobs,
            "handed_out": self.ledger.handed_out,
            "begun": [asdict(piece) for piece in self.ledger.begun],
            "tally": tally_to_dict(self.tally),
            "times": self.times.to_dict(),
        }

    @classmethod
    def load(cls, file: Path) -> State:
        """The state in a file. Raises UsageError where it is none."""
        try:
            data = load_json(file)
        except UsageError as error:
            if isinstance(error.__cause__, ValueError | RecursionError):
                raise UsageError(f"{file}: no state of a campaign, which is JSON") from error
            raise
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise UsageError(f"{file}: no state of a campaign that this version of nn512 reads")
        try:
            settings = _settings_from_dict(data["settings"], file.parent)
            tally = _tally_from_dict(data["tally"], settings)
            begun = [Piece(**piece) for piece in data["begun"]]
            ledger = Ledger.resumed(chunk_count(settings), settings.shard, int(data["handed_out"]), begun)
            times = Times.from_dict(data["times"]) if "times" in data else Times()  # there were none once
            seconds, complete, made_with = float(data["seconds"]), bool(data["complete"]), dict(data["versions"])
            jobs = int(data["jobs"]) if data.get("jobs") else None  # they were not kept once
        except KeyError as error:
            raise UsageError(f"{file}: no state of a campaign, {error} is missing in it") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{file}: no state of a campaign, or a damaged one: {error}") from error
        return cls(file, settings, tally, ledger, times, seconds, complete, jobs, made_with)


def find_state(path: Path) -> Path:
    """The state file that a user names by itself or by its folder. Raises UsageError if there is none, or several."""
    if not path.exists():
        raise UsageError(f"--resume {path}: there is no such file or folder")
    if not path.is_dir():
        return path
    found = states_in(path)
    if len(found) > 1:
        names = ", ".join(str(file) for file in found)
        raise UsageError(f"{path} has the states of {len(found)} campaigns; name one of them: {names}")
    return found[0]


def states_in(directory: Path) -> list[Path]:
    """All state files of a folder. Raises UsageError if there is none."""
    found = sorted(file for file in directory.glob("campaign*.json") if _NAME.fullmatch(file.name))
    if not found:
        raise UsageError(f"{directory}: there is no state of a campaign (campaign.json)")
    return found


def _settings_to_dict(settings: Settings) -> dict[str, Any]:
    data = {name: value for name, value in asdict(settings).items() if name not in {"directory", "jobs"}}
    return data | {
        "corpus": [str(file) for file in settings.corpus],
        "shard": str(settings.shard),
        "baseline": sorted(settings.baseline),
    }


def _settings_from_dict(data: Mapping[str, Any], directory: Path) -> Settings:
    return Settings(
        directory,
        **{
            **data,
            "regimes": tuple(data["regimes"]),
            "kernels": tuple(data["kernels"]),
            "sanitize": tuple(data.get("sanitize", ())),
            "corpus": tuple(Path(file) for file in data["corpus"]),
            "shard": Shard.parse(data["shard"]),
            "baseline": frozenset(data["baseline"]),
        },
    )


def tally_to_dict(tally: Tally) -> dict[str, Any]:
    """What was counted, as JSON-able data; coverage by kernel and edge class (or decision), "" for all of it."""
    return {
        **{name: getattr(tally, name) for name in _COUNTS},
        "outcomes": {outcome.value: tally.outcomes[outcome] for outcome in Outcome},
        "runners": dict(sorted(tally.runners.items())),
        "kinds": dict(sorted(tally.kinds.items())),
        "errors": {kernel: {str(n): count for n, count in bins.items()} for kernel, bins in by_kernel(tally).items()},
        "coverage": _coverage_to_dict(tally.coverage),
        "passes": _coverage_to_dict(tally.decisions),  # the name is from when only they decided
        "findings": [_note_to_dict(note) for note in tally.findings.values()],
        "repeats": dict(sorted(tally.repeats.items())),
        "unfinished": sorted(path.name for path in tally.unfinished),
        "lines": _lines_to_dict(tally.c_lines),
        "lost": list(tally.lost),
        "skips": list(tally.skips),
    }


def by_kernel(tally: Tally) -> dict[str, dict[int, int]]:
    """Errors of outputs by kernel, and then by number of the interval."""
    found: dict[str, dict[int, int]] = {}
    for (kernel, number), count in sorted(tally.errors.items()):
        found.setdefault(kernel, {})[number] = count
    return found


def _declared(settings: Settings) -> frozenset[tuple[str, str]]:
    """The edge classes that a campaign shall verify: of the kernels of its shard."""
    shard = settings.shard
    return declared_by(settings.kernels[shard.number - 1 :: shard.of] if settings.edges else ())


def _tally_from_dict(data: Mapping[str, Any], settings: Settings) -> Tally:
    directory = settings.directory
    notes = [FindingNote(**{**note, "path": directory / note["path"]}) for note in data["findings"]]
    return Tally(
        **{name: data[name] for name in _COUNTS},
        outcomes=Counter({Outcome(name): count for name, count in data["outcomes"].items() if count}),
        runners=Counter(data["runners"]),
        kinds=Counter(data["kinds"]),
        errors=Counter(
            {
                (kernel, int(number)): count
                for kernel, bins in data.get("errors", {}).items()  # of the first states
                for number, count in bins.items()
            }
        ),
        coverage=_coverage_from_dict(data["coverage"]),
        decisions=_coverage_from_dict(data.get("passes", {})),  # of the first states
        c_lines=_lines_from_dict(data.get("lines", {})),
        findings={note.fault: note for note in notes},
        repeats=Counter(data["repeats"]),
        unfinished={directory / name for name in data["unfinished"]},
        lost=list(data["lost"]),
        skips=list(data["skips"]),
        baseline=settings.baseline,
        declared=_declared(settings),
    )


def _note_to_dict(note: FindingNote) -> dict[str, Any]:
    return {**asdict(note), "path": note.path.name}


def _coverage_to_dict(coverage: Coverage) -> dict[str, Any]:
    return {name: _nested(getattr(coverage, name)) for name in ("emitted", "executed", "verified")}


def _coverage_from_dict(data: Mapping[str, Any]) -> Coverage:
    return Coverage(**{name: _flat(counts) for name, counts in data.items()})


def _lines_to_dict(lines: Lines) -> dict[str, Any]:
    """Counts of lines by kernel or function and text; nothing where they are not counted."""
    if not lines.emitted:
        return {}
    missed: dict[str, dict[str, str]] = {}
    for (where, text), name in sorted(lines.missed.items()):
        missed.setdefault(where, {})[text] = name
    return {"emitted": _nested(lines.emitted), "executed": _nested(lines.executed), "missed": missed}


def _lines_from_dict(data: Mapping[str, Any]) -> Lines:
    if not data:
        return Lines()
    missed = {(where, text): name for where, names in data["missed"].items() for text, name in names.items()}
    return Lines(_flat(data["emitted"]), _flat(data["executed"]), missed)


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (kernel, edge), count in sorted(counts.items()):
        nested.setdefault(kernel, {})[edge] = count
    return nested


def _flat(nested: Mapping[str, Mapping[str, int]]) -> Counter[tuple[str, str]]:
    return Counter({(kernel, edge): count for kernel, edges in nested.items() for edge, count in edges.items()})


def set_aside(file: Path) -> Path | None:
    """Give another name to the state of a campaign that could be gone on with; None where there is none such.

    Raises OSError.
    """
    try:
        state = State.load(file)
    except UsageError:
        return None
    if state.complete or not state.tally.cases:
        return None
    return file.rename(file.with_name(f"{file.stem}-seed-{state.settings.seed}.json"))
