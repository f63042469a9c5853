"""Verifies several nets at once, in processes of which each may die without taking the others along."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator

from fuzz.campaign.crew import Death, Done, Processes, environment_of_children
from fuzz.campaign.display import display_on
from fuzz.campaign.scratch import scratch_folder
from fuzz.campaign.verifying import Step, Verified, Wish, headlines, not_judged, work
from fuzz.judge.profiles import profile_of
from fuzz.run.runners import runner_for
from nn512.cli.nets import Result, graph_files, report, worst
from nn512.cli.waiting import PATIENCE
from nn512.errors import MachineError, Nn512Error

_SPACE = "    "


def verify_many(args: argparse.Namespace, wish_of: Callable[[str], Wish]) -> int:
    """Verify files and those of folders: a line or more for each as soon as it is known, then a summary.

    `wish_of` gives what shall be checked of a file, or raises what is wrong with it.
    """
    files = graph_files(args.graphs)
    if args.profile:
        profile_of(args.profile)
    jobs = min(args.jobs or len(os.sched_getaffinity(0)), len(files))
    print(runner_for().line, flush=True)
    start = time.monotonic()
    found: dict[str, Verified] = {}
    results: dict[str, Result] = {}
    display = display_on(sys.stderr, patience=PATIENCE)

    def tell(verdict: Verified, error: Nn512Error | None = None) -> None:
        found[verdict.name], results[verdict.name] = verdict, result_of(verdict, error)
        display.clear()
        print(f"{verdict.name}: {verdict.headline}   ({verdict.seconds:.1f} s)", flush=True)
        if verdict.code:
            print(*(_SPACE + line for line in verdict.lines), sep="\n", flush=True)

    wishes: deque[Wish] = deque()
    how = "interrupted: "
    try:
        for name in files:
            try:
                wishes.append(wish_of(name))
            except Nn512Error as error:
                tell(not_judged(name, error), error)
        with scratch_folder("nn512-verify-") as scratch, environment_of_children(scratch):
            crew = Processes[Wish](work, None, jobs, scratch)
            try:
                for wish, event in _events(crew, wishes):
                    match event:
                        case Step():
                            display.show(wish.name, event.says, event.share)
                        case Verified():
                            display.remove(wish.name)
                            tell(event)
                        case Death():
                            display.remove(wish.name)
                            tell(not_judged(wish.name, _died(event)))
                    display.show("", f"{len(found)} of {len(files)} nets", len(found) / len(files))
            finally:
                for _ in crew.close():
                    pass
        how = ""
    finally:
        display.clear()
        listed = [found[name] for name in files if name in found]
        seconds = time.monotonic() - start
        headline, *rest = headlines(listed, len(files))
        made = f"{jobs} job{'' if jobs == 1 else 's'}, {seconds:.1f} s"
        print(f"{how}{headline}   ({made})", *rest, sep="\n", flush=True)
        report(args, "verify", f"{how}{headline}", [results[verdict.name] for verdict in listed], seconds)
    return worst(list(results.values()))


def _events(crew: Processes[Wish], wishes: deque[Wish]) -> Iterator[tuple[Wish, object]]:
    """Hand out nets and give what is heard of them, until there is nothing left to do."""
    while wishes or crew.busy:
        while wishes and crew.has_room():
            wish = wishes.popleft()
            crew.begin(wish, wish)
        for wish, event in crew.events(1.0):
            if not isinstance(event, Done):
                yield wish, event


def _died(death: Death) -> Nn512Error:
    if death.killed:
        return MachineError(
            "its process was killed, most probably because memory ran out; --jobs lowers what is needed"
        )
    return Nn512Error(f"its process ended with exit code {death.code}")


def result_of(found: Verified, error: Nn512Error | None = None) -> Result:
    """A verdict as reports tell it; `error` is why there is none."""
    if error is not None:
        return Result.of_mistakes(found.name, error, found.code, found.headline)
    text = found.error or "\n".join(found.lines)
    return Result(found.name, found.code, found.headline, text, found.seconds, found.details)
