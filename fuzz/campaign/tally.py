"""What a campaign did, counted as it goes and told at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.campaign.findings import Finding
from fuzz.judge.compare import Outcome, Verdict, worst_sigma
from fuzz.judge.coverage import Coverage, Point, by_family, declared_decisions
from fuzz.judge.layers import behind
from fuzz.judge.lines import Lines
from fuzz.judge.report import Report
from nn512.errors import CannotRunError

SIGMA_BINS = 2
"""Intervals per sigma in which errors are counted."""

_WIDTH = 14
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """One checked case, small enough to send between processes by the thousand."""

    verified: bool
    failed: bool
    data_sets: int
    outcomes: Counter[Outcome]
    worst: float
    worst_where: str
    runner: str
    coverage: Coverage
    decisions: Coverage
    kinds: Counter[str]
    errors: Counter[tuple[str, int]]
    name: str
    built: str
    seconds: Mapping[str, float]
    c_lines: Lines

    @classmethod
    def of(cls, report: Report) -> CaseSummary:
        """The summary of a report."""
        coverage = Coverage()
        coverage.add_case(
            report.graph, report.layers, executed=report.executed, verified=() if report.problems else report.confirmed
        )
        decisions = Coverage()
        plan = None if report.sources is None else report.sources.plan
        decisions.add_plan(plan, executed=report.executed, verified=report.verified)
        verdicts = [verdict for data in report.verdicts.values() for verdict in data]
        by_data = {str(seed): worst_sigma(data) for seed, data in report.verdicts.items()}
        where, worst = max(by_data.items(), key=lambda item: item[1], default=("", 0.0))
        return cls(
            verified=report.verified,
            failed=bool(report.problems),
            data_sets=len(report.verdicts),
            outcomes=Counter(verdict.outcome for verdict in verdicts),
            worst=worst,
            worst_where=f"{report.id or report.case.key}, {where}",
            runner=report.runner,
            coverage=coverage,
            decisions=decisions,
            kinds=Counter({type(layer).__name__ for layer in report.graph.layers}),
            errors=_errors(report, verdicts),
            name=report.id or report.case.key,
            built=f"{len(report.graph.layers)} layers, {report.case.optimisation}, {_builder(report)}",
            seconds=report.seconds,
            c_lines=(report.c_lines or Lines()).of_net(report.id or report.case.key),
        )


def _builder(report: Report) -> str:
    """The compiler that a case asked for, as it is called here."""
    if not report.case.compiler:
        return "cc"
    return report.case.compiler if report.ran is None else Path(report.ran.compiler.path).name


def _errors(report: Report, verdicts: Sequence[Verdict]) -> Counter[tuple[str, int]]:
    """The largest error of each output that is within limits, in parts of a sigma, by each kernel that is behind it.

    Any of them may have made it. Errors of outputs are in units of what all layers behind may do.
    """
    found: Counter[tuple[str, int]] = Counter()
    for output in dict.fromkeys(verdict.output for verdict in verdicts):
        kernels = {layer.kernel for layer in behind(report.graph, report.layers, {output})}
        bins = [int(v.max_sigma * SIGMA_BINS) for v in verdicts if v.output == output and v.outcome is Outcome.WITHIN]
        found.update((kernel, number) for kernel in kernels for number in bins)
    return found


@dataclass(frozen=True, slots=True)
class FindingNote:
    """A finding as the campaign reports it. `fault` is its name, the same for the same fault."""

    path: Path
    fault: str
    identity: str
    summary: str
    how: str = ""

    @classmethod
    def of(cls, finding: Finding) -> FindingNote:
        """The note about a finding."""
        name, identity = finding.identity.name, str(finding.identity)
        return cls(finding.path, name, identity, finding.summary, finding.how)


@dataclass(slots=True)
class Tally:
    """Everything counted so far. `errors` are outputs by kernel and by their error, as `SIGMA_BINS` says.

    `unfinished` are folders of failures that were not shrunk to the end, `lost` says what was not judged, each with the
    case, if it is known, in further lines. `declared` are edge classes that the campaign shall verify, `decisions`
    is what passes and kernels decided, `c_lines` are those of the C, where they are counted.
    """

    cases: int = 0
    corpus: int = 0
    verified: int = 0
    failed: int = 0
    data_sets: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    worst: float = 0.0
    worst_where: str = ""
    runners: Counter[str] = field(default_factory=Counter)
    coverage: Coverage = field(default_factory=Coverage)
    decisions: Coverage = field(default_factory=Coverage)
    kinds: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, int]] = field(default_factory=Counter)
    findings: dict[str, FindingNote] = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    unfinished: set[Path] = field(default_factory=set)
    baseline: frozenset[str] = frozenset()
    skips: list[str] = field(default_factory=list)
    declared: frozenset[Point] = frozenset()
    c_lines: Lines = field(default_factory=Lines)

    def add(self, case: CaseSummary, *, corpus: bool = False) -> None:
        """Count one case."""
        self.cases += 1
        self.corpus += corpus
        self.verified += case.verified
        self.failed += case.failed
        self.data_sets += case.data_sets
        self.outcomes.update(case.outcomes)
        self._see_worst(case.worst, case.worst_where)
        self.runners[case.runner] += 1
        self.coverage.update(case.coverage)
        self.decisions.update(case.decisions)
        self.kinds.update(case.kinds)
        self.errors.update(case.errors)
        self.c_lines.update(case.c_lines)

    def merge(self, other: Tally) -> None:
        """Count what another campaign has counted; the same fault found by both is one."""
        for name in ("cases", "corpus", "verified", "failed", "data_sets"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._see_worst(other.worst, other.worst_where)
        for counts, others in (
            (self.outcomes, other.outcomes),
            (self.runners, other.runners),
            (self.kinds, other.kinds),
            (self.errors, other.errors),
            (self.repeats, other.repeats),
        ):
            counts.update(others)  # type: ignore[arg-type]
        self.coverage.update(other.coverage)
        self.decisions.update(other.decisions)
        self.c_lines.update(other.c_lines)
        for fault, note in other.findings.items():
            known = self.findings.setdefault(fault, note)
            self.findings[fault] = min(known, note, key=lambda one: (len(one.summary), str(one.path)))
        self.unfinished |= other.unfinished
        self.baseline |= other.baseline
        self.declared |= other.declared
        self.lost.extend(other.lost)
        self.skips.extend(text for text in other.skips if text not in self.skips)

    def _see_worst(self, worst: float, where: str) -> None:
        # By name where errors are equal: in whatever order cases come in, the same one is told.
        self.worst, self.worst_where = max((self.worst, self.worst_where), (worst, where))

    def add_finding(self, note: FindingNote) -> bool:
        """Count a finding; whether it is the first of its fault."""
        self.repeats[note.fault] += 1
        if note.fault in self.findings:
            return False
        self.findings[note.fault] = note
        return True

    @property
    def new(self) -> list[FindingNote]:
        """Findings that are not in the baseline."""
        return [note for note in self.findings.values() if note.fault not in self.baseline]

    @property
    def good(self) -> bool:
        """Whether something was verified and nothing new was found, nothing lost."""
        return self.code == 0

    @property
    def code(self) -> int:
        """The exit code: 1 if something new was found, 3 if some case was not judged, 1 if too little was verified."""
        if self.new or self.unfinished:
            return 1
        return CannotRunError.exit_code if self.lost else int(self.verified == 0 or bool(self.missing))

    @property
    def missing(self) -> list[Point]:
        """Edge classes that should have been verified and never were."""
        return sorted(point for point in self.declared if not self.coverage.verified[point])

    @property
    def never_decided(self) -> list[Point]:
        """Decisions that no verified case has; none where there is nothing of ours to count."""
        return [
            point for point in declared_decisions() if self.decisions.emitted and not self.decisions.verified[point]
        ]

    @property
    def headline(self) -> str:
        """What matters most. That nothing was found is not said where something was not judged."""
        parts = [f"{_count(self.verified, 'graph')} verified", *self._found(len(self.unfinished))]
        if self.missing:
            parts.append(f"{len(self.missing)} of {len(self.declared)} edge classes NEVER VERIFIED")
        return ", ".join(parts)

    def _found(self, unfinished: int) -> list[str]:
        parts = []
        count, known = len(self.findings) + unfinished, len(self.findings) - len(self.new)
        if count or not self.lost:
            parts.append(_count(count, "finding"))
        if known:
            parts.append(f"{known} of them known")
        if self.lost:
            parts.append(f"{_count(len(self.lost), 'case')} NOT JUDGED")
        return parts

    def progress(self, shrinking: Sequence[tuple[int, int]] = ()) -> str:
        """One line about the state of things. `shrinking`: failures that are made small, so many cases of so many."""
        found = ", ".join(self._found(max(len(self.unfinished), len(shrinking))))
        ways = "".join(f", shrinking, {done} of {of}" for done, of in shrinking)
        total = len(self.declared)
        edges = f"{total - len(self.missing)} of {total} edge classes, " if total else ""
        return f"{_count(self.verified, 'graph')} verified, {edges}{_count(self.data_sets, 'data set')}, {found}{ways}"

    def lines(self, seconds: float, made: str, how: str = "", spent: str = "") -> Iterator[str]:
        """The summary, line by line: `made` says of which seed, `how` the campaign ended comes first, if early.

        `spent` says what the time went into.
        """

        def row(title: str, text: str) -> str:
            return f"  {title:<{_WIDTH}}{text}"

        rate = self.cases / seconds if seconds > 0 else 0.0
        yield f"{how}{self.headline}   ({made}, {seconds:.1f} s, {rate:.1f} graphs/s)"
        for runner, count in sorted(self.runners.items(), key=lambda item: (-item[1], item[0])):
            yield row("runner", f"{runner}: {_count(count, 'graph')}")
        unverified = self.cases - self.verified - self.failed
        unreached = ": no random one was reached" if 0 < self.cases == self.corpus else ""
        yield row(
            "graphs",
            f"{self.cases} checked ({self.corpus} from the corpus{unreached}), {self.verified} verified, "
            f"{self.failed} failed, {unverified} without a verdict on some output",
        )
        yield row(
            "outputs",
            f"{sum(self.outcomes.values())} compared on {self.data_sets} data sets: "
            + ", ".join(f"{self.outcomes[outcome]} {outcome.value}" for outcome in Outcome),
        )
        yield row("error", f"at most {self.worst:.2f} sigma where arithmetic is not exact (case {self.worst_where})")
        yield row("nodes", ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items())) or "none")
        kernels = self.coverage.kernels()
        yield row("kernels", ", ".join(f"{name} {count}" for name, count in kernels.items()) or "none")
        emitted, executed, verified = (
            self.coverage.edge_classes(counts)
            for counts in (self.coverage.emitted, self.coverage.executed, self.coverage.verified)
        )
        yield row("edge classes", f"{len(emitted)} emitted, {len(executed)} executed, {len(verified)} verified")
        if self.decisions.emitted:
            total = len(declared_decisions())
            seen = total - len(self.never_decided)
            yield row("decisions", f"{seen} of {total} of passes, of kernels and about layouts verified")
            for name, decision in self.never_decided if len(self.never_decided) <= _SHOWN else ():
                yield row("", f"never verified: {name}, {decision}")
        if self.declared:
            of = sorted({kernel for kernel, _ in self.declared})
            yield row("of declared", ", ".join(f"{kernel} {self.coverage.share(kernel)}" for kernel in of))
        if spent:
            yield row("time", spent)
        unseen = {*self.missing, *emitted}.difference(verified)
        for line in by_family(unseen):
            yield row("", f"never verified: {line}")
        for line in by_family(self.coverage.undeclared()):
            yield row("", f"not declared: {line}")
        if self.c_lines.emitted:
            ran, all_lines = len(self.c_lines.executed), len(self.c_lines.emitted)
            yield row("lines of C", f"{ran} of {all_lines} executed; a line is one in all nets of the same kernel")
        for line in self.c_lines.told():
            yield row("", f"never executed: {line}")
        for text in self.skips:
            yield row("SKIPPED", text)
        for text in self.lost:
            yield row("NOT JUDGED", text.partition("\n")[0])
        for note in [*self.new, *(note for note in self.findings.values() if note.fault in self.baseline)][:_SHOWN]:
            first, *_ = note.summary.splitlines() or [""]
            yield row("known" if note.fault in self.baseline else "FINDING", note.identity)
            yield row("", first)
            repeats = self.repeats[note.fault]
            remarks = [*([f"seen {repeats} times"] if repeats > 1 else []), *([note.how] if note.how else [])]
            yield row("", f"nn512 repro {note.path}" + (f"   ({'; '.join(remarks)})" if remarks else ""))
        if len(self.findings) > _SHOWN:
            yield row("FINDING", f"and {len(self.findings) - _SHOWN} more")
        for path in sorted(self.unfinished):
            yield row("FINDING", f"nn512 repro {path}   (not shrunk)")
        if self.cases == 0:
            yield row("FAILED", "no case was run, so nothing was shown")
        elif self.verified == 0:
            yield row("FAILED", "no graph was verified, so nothing was shown")
        # What is in no folder stands here as a whole.
        for text in self.lost:
            if "\n" in text:
                yield f"\n{text}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
