"""The account of a campaign for machines: JSON, JUnit's XML, GitHub's annotations, Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from fuzz.campaign.account import Account
from fuzz.campaign.state import tally_to_dict, versions
from fuzz.campaign.tally import FindingNote
from fuzz.judge.coverage import by_family, declared_decisions
from nn512.notices import Suite, add_to, annotation

FORMAT = 1
"""Number of the JSON report's format."""

_MOST_MARKED = 40


def as_json(account: Account) -> str:
    """Everything that was counted, for programs."""
    tally = account.tally
    data = tally_to_dict(tally)
    data["findings"] = [
        {
            **note,
            "path": str(tally.findings[note["fault"]].path),
            "known": note["fault"] in tally.baseline,
            "seen": tally.repeats[note["fault"]],
        }
        for note in data["findings"]
    ]
    data["edge_classes"] = {"declared": len(tally.declared), "missing": [list(point) for point in tally.missing]}
    never = [list(point) for point in tally.never_decided]
    data["decisions"] = {"declared": len(declared_decisions()), "missing": never}
    data["unfinished"] = [str(path) for path in sorted(tally.unfinished)]
    report = {
        "format": FORMAT,
        "headline": account.headline,
        "campaign": account.name,
        "command": account.command,
        "versions": versions(),
        "seconds": round(account.seconds, 3),
        "complete": not account.how,
        "exit_code": account.code,
        "times": account.times.to_dict(),
        **data,
    }
    return json.dumps(report, indent=1) + "\n"


def as_junit(account: Account) -> str:
    """A test suite: one test for the campaign, one for every fault and every case that was not judged."""
    properties = {"campaign": account.name, "command": account.command, "headline": account.headline}
    suite = Suite("nn512 fuzz", "nn512.fuzz", account.seconds, properties)
    whole = suite.test("campaign", account.seconds)
    add_to(whole, "system-out", "\n".join(account.lines()))
    if account.tally.verified == 0:
        add_to(whole, "error", "", "no graph was verified, so nothing was shown")
    elif account.how or account.tally.missing:
        add_to(whole, "error", "", account.headline)
    for note in account.tally.findings.values():
        test = suite.test(note.fault)
        if note.fault in account.tally.baseline:
            add_to(test, "skipped", "", "known")
        else:
            add_to(test, "failure", f"{note.summary}\n{_replay(note)}", _first(note.summary), type=note.identity)
    for path in sorted(account.tally.unfinished):
        add_to(suite.test(path.name), "failure", f"nn512 repro {path}", "not shrunk")
    for number, text in enumerate(account.tally.lost, 1):
        add_to(suite.test(f"not judged {number}"), "error", text, _first(text))
    return suite.text()


def _first(text: str) -> str:
    return text.partition("\n")[0]


def _replay(note: FindingNote) -> str:
    return f"nn512 repro {note.path}"


def marks(account: Account) -> Iterator[str]:
    """Commands that GitHub Actions shows at the run: errors, and notices of what is known."""
    for note in account.tally.findings.values():
        command = "notice" if note.fault in account.tally.baseline else "error"
        yield annotation(command, f"nn512 fuzz: {note.fault}", f"{note.summary}\n{_replay(note)}")
    for path in sorted(account.tally.unfinished):
        yield annotation("error", "nn512 fuzz: a failure that was not shrunk", f"nn512 repro {path}")
    for text in account.tally.lost:
        yield annotation("error", "nn512 fuzz: not judged", text)
    if account.tally.verified == 0:
        yield annotation("error", "nn512 fuzz", "no graph was verified, so nothing was shown")
    if account.tally.missing:
        yield annotation("error", "nn512 fuzz: never verified", "\n".join(by_family(account.tally.missing)))


def as_markdown(account: Account) -> str:
    """The summary of a step, as GitHub shows it."""
    tally = account.tally
    parts = [f"### nn512 fuzz: {account.headline}", ""]
    rows = [("campaign", account.name), ("graphs", f"{tally.cases} checked, {tally.verified} verified")]
    rows += [("runner", f"{runner}: {count}") for runner, count in sorted(tally.runners.items())]
    emitted, verified = (
        tally.coverage.edge_classes(counts) for counts in (tally.coverage.emitted, tally.coverage.verified)
    )
    rows += [
        ("error", f"at most {tally.worst:.2f} sigma"),
        ("edge classes", f"{len(emitted)} emitted, {len(verified)} verified"),
        ("decisions", f"{len(tally.decisions.edge_classes(tally.decisions.verified))} verified"),
        ("time", f"{account.seconds:.0f} s"),
    ]
    parts += ["| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in rows), ""]
    if account.command:
        parts += ["```sh", account.command, "```", ""]
    found = list(tally.findings.values())
    if found:
        parts += ["| fault | what is wrong | seen |", "|---|---|---|"]
        for note in found[:_MOST_MARKED]:
            known = " (known)" if note.fault in tally.baseline else ""
            parts.append(f"| `{note.fault}`{known} | {_cell(_first(note.summary))} | {tally.repeats[note.fault]} |")
        parts += [f"and {len(found) - _MOST_MARKED} more"] if len(found) > _MOST_MARKED else []
        parts.append("")
    parts += [f"* not shrunk: `{path.name}`" for path in sorted(tally.unfinished)]
    parts += [f"* **not judged**: {_cell(_first(text))}" for text in tally.lost]
    missing = {*tally.missing, *emitted}.difference(verified)
    parts += [f"* never verified: {_cell(text)}" for text in by_family(missing)]
    return "\n".join(parts).rstrip() + "\n"


def _cell(text: str) -> str:
    """Text that stays in its cell, and is no markup."""
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", text.replace("\n", " "))
