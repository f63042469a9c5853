"""`nn512 fuzz` with a check that compiles nothing: every case is right. For tests of what a campaign outlives.

Workers import this file, too, as the main module of their parent. Words in $DOES say what happens: at `wrong` something
is wrong with every net of more than two layers; at `full` there is no room for the state. The others happen at the case
that is the $AT-th of all processes, by files in $NOTES: at `stop` it says so through the pipe $PIPE and waits until it
is ended; at `killed` the worker ends as one for which there is no memory, at `crash` as one with a fault; if $ALWAYS is
set, whenever this case is checked; if that is `all`, at every case.
A Dask cluster of $CLUSTER processes does it, if that is set.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

from fuzz.campaign import campaign, state, worker
from fuzz.campaign.atomic import write_whole
from fuzz.campaign.state import State
from fuzz.case import Case
from fuzz.judge.compare import Outcome, Verdict
from fuzz.judge.report import Report
from fuzz.problem import Problem
from nn512.cli import main
from nn512.graph import parse

NOTES = Path(os.environ["NOTES"])
DOES = os.environ.get("DOES", "").split(",")


def here(case: Case) -> bool:
    """Whether this is the case at which something happens; every case leaves a note."""
    if os.environ.get("ALWAYS") == "all":
        return True
    note = NOTES / case.key
    known = note.exists()
    note.touch()
    special = NOTES / "special"
    if special.exists():
        return special.read_text() == case.key and bool(os.environ.get("ALWAYS"))
    if not known and len(list(NOTES.iterdir())) == int(os.environ.get("AT", "0")):
        special.write_text(case.key)
        return True
    return False


def check(case: Case) -> Report:
    """Every output is right, without a look at it."""
    graph = parse(case.graph)
    outputs = [output.from_tensor for output in graph.outputs]
    verdicts = tuple(Verdict(name, Outcome.EXACT, 1, 0, 0.0, 0.0, None, "") for name in outputs)
    report = Report(case, graph, "none", verdicts=dict.fromkeys(case.data, verdicts), executed=True)
    if here(case):
        if "stop" in DOES:
            with Path(os.environ["PIPE"]).open("w") as pipe:
                pipe.write("here\n")
                pipe.flush()
                signal.pause()
        elif "killed" in DOES:
            os.kill(os.getpid(), signal.SIGKILL)
        elif "crash" in DOES:
            os._exit(7)
    if "wrong" in DOES and len(graph.layers) > 2:
        return Report(case, graph, "none", problems=(Problem("emit", "planted"),))
    return report


def cut_off(file: Path, text: str) -> None:
    """Write a file where there is no room for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, before[1]))
    try:
        write_whole(file, text)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def cluster() -> Iterator[list[str]]:
    """Words that say where the cluster is, of $CLUSTER worker processes on this machine; none without."""
    if not (size := int(os.environ.get("CLUSTER", "0"))):
        yield []
        return
    from distributed import LocalCluster  # noqa: PLC0415 - of the extra `cluster`

    with LocalCluster(
        n_workers=size, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None
    ) as made:
        yield ["--scheduler", made.scheduler_address]


if "full" in DOES:
    mock.patch.object(state, "write_whole", cut_off).start()
mock.patch.object(worker, "check_case", lambda case, **_: check(case)).start()
mock.patch.object(campaign, "_SAVING", 0.0).start()
_begin = State.begin
mock.patch.object(State, "begin", lambda settings: _begin(replace(settings, chunk=10))).start()

if __name__ == "__main__":
    with cluster() as words:
        code = main(["fuzz", *words, *sys.argv[1:]])
    sys.exit(code)
