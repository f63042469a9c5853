"""A campaign, or several that were merged, as reports see it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.campaign.edges import EDGE_REGIMES
from fuzz.campaign.ledger import Shard
from fuzz.campaign.state import State, states_in
from fuzz.campaign.tally import Tally
from fuzz.campaign.times import Times
from fuzz.campaign.worker import SLOW_REGIMES, Settings
from fuzz.draw.regimes import REGIMES
from fuzz.targets import OURS
from nn512.errors import UsageError
from nn512.kernels.registry import kernel_names


@dataclass(frozen=True, slots=True)
class Account:
    """What was counted in `seconds`, how it ended (`how` is empty for a campaign that did what was asked for).

    `name` says of which seed; `command` draws the same cases again, `code` is the exit code, `notes` end the summary.
    """

    tally: Tally
    name: str
    seconds: float
    code: int
    how: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    times: Times = field(default_factory=Times)

    @property
    def headline(self) -> str:
        """The first line of all reports."""
        return (f"{self.how}: " if self.how else "") + self.tally.headline

    def lines(self) -> Iterator[str]:
        """The summary for people."""
        how = f"{self.how}: " if self.how else ""
        yield from self.tally.lines(self.seconds, self.name, how, self.times.told(self.tally.data_sets))
        for note in self.notes:
            yield f"\n{note}"


_USUAL = (set(REGIMES), set(SLOW_REGIMES), set(EDGE_REGIMES))
"""Data regimes that need not be named, because they are drawn where none are."""


def command_of(settings: Settings) -> str:
    """A command that draws the cases of a campaign again."""
    words = ["nn512", "fuzz", *(["--edges"] if settings.edges else []), "--seed", str(settings.seed)]
    if settings.examples is not None:
        words += ["--examples", str(settings.examples)]
    if settings.seconds is not None:
        words += ["--time", f"{settings.seconds:g}"]
    if settings.shard.of > 1:
        words += ["--shard", str(settings.shard)]
    if settings.kernels and not (settings.edges and settings.kernels == kernel_names()):
        words += ["--kernels", ",".join(settings.kernels)]
    if settings.target != OURS.name:
        words += ["--target", settings.target]
    if settings.profile:
        words += ["--profile", settings.profile]
    words += [word for name in settings.sanitize for word in ("--sanitize", name)]
    if settings.layers is not None:
        words += ["--layers", str(settings.layers)]
    if set(settings.regimes) not in _USUAL:
        words += [word for regime in settings.regimes for word in ("--data", regime)]
    words += ["--coverage"] if settings.coverage else []
    if not (settings.corpus or settings.edges):
        words.append("--no-corpus")
    return shlex.join(words)


def merged(places: Sequence[Path]) -> Account:
    """The account of campaigns whose folders or state files these are: shards of one, or campaigns of several seeds.

    A shard that is missing or ended early was not judged. Raises UsageError for cases that would be counted twice.
    """
    states: dict[Path, State] = {}
    for place in places:
        for file in states_in(place) if place.is_dir() else [place]:
            states[file.resolve()] = State.load(file)
    by_seed: dict[tuple[int, bool], list[State]] = {}
    for state in states.values():
        by_seed.setdefault((state.settings.seed, state.settings.edges), []).append(state)
    tally = Tally()
    for (seed, _), parts in sorted(by_seed.items()):
        _add_parts(tally, seed, sorted(parts, key=lambda part: part.settings.shard.number))
    seeds = ", ".join(map(str, sorted({seed for seed, _ in by_seed})))
    name = f"seed{'' if len(by_seed) == 1 else 's'} {seeds}, merged from {len(states)}"
    times = Times()
    for state in states.values():
        times.merge(state.times)
    return Account(tally, name, sum(state.seconds for state in states.values()), tally.code, times=times)


def _add_parts(tally: Tally, seed: int, parts: Sequence[State]) -> None:
    """Add the shards of one campaign."""
    first = parts[0]
    present: dict[Shard, State] = {}
    for part in parts:
        if _kind(part) != _kind(first):
            raise UsageError(
                f"{first.file} and {part.file} are not shards of one campaign, but have the same seed {seed}: "
                "cases would be counted twice"
            )
        other = present.setdefault(part.settings.shard, part)
        if other is not part:
            raise UsageError(f"{other.file} and {part.file} are the same cases: {part.settings.name}")
        tally.merge(part.tally)
        if not part.complete:
            tally.lost.append(f"the rest of {part.settings.name}, which ended early: nn512 fuzz --resume {part.file}")
    of = first.settings.shard.of
    missing = [Shard(number, of) for number in range(1, of + 1) if Shard(number, of) not in present]
    tally.lost.extend(f"seed {seed}, shard {shard}, which is missing" for shard in missing)


def _kind(state: State) -> tuple[object, ...]:
    """What the shards of one campaign have in common."""
    s = state.settings
    corpus = tuple(file.name for file in s.corpus)
    return (s.edges, s.examples, s.chunk, s.kernels, s.layers, s.regimes, corpus, s.shard.of, s.target, s.profile)


def found_in(account: Account) -> Iterable[Path]:
    """Folders of all that was found."""
    return [*(note.path for note in account.tally.findings.values()), *sorted(account.tally.unfinished)]
