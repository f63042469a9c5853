"""Measured programs that misbehave, and what the user is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nn512.bench.worker import Worker, WorkerError

ECHO = """
import sys
print('{"ready": true}', flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "run":
        print('{"nanoseconds": %s}' % ([7] * int(words[2])), flush=True)
    elif words[0] == "lines":
        print('one\\ntwo\\n{}', flush=True)
    elif words[0] == "die":
        sys.exit("last words")
    elif words[0] == "refuse":
        print('{"error": "cannot do it"}', flush=True)
    elif words[0] == "babble":
        print('{nonsense', flush=True)
"""


def worker(program: str = ECHO, timeout: float = 60.0) -> Worker:
    return Worker("it", [sys.executable, "-c", program], timeout=timeout)


def test_questions_and_answers() -> None:
    with worker() as it:
        assert it.ready == {"ready": True}
        assert it.burst(2, 3) == [7, 7, 7]
        assert it.ask("lines").lines == ("one", "two")
        assert it.burst(0, 0) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("die", "it ended with exit code 1\nlast words"),
        ("refuse", "it: cannot do it"),
        ("babble", "it gave a wrong answer, '{nonsense'"),
    ],
)
def test_failures_name_the_program(line: str, message: str) -> None:
    with worker() as it, pytest.raises(WorkerError) as caught:
        it.ask(line)
    assert str(caught.value) == message
    assert caught.value.exit_code == 3


def test_a_program_that_is_killed() -> None:
    with pytest.raises(WorkerError, match="it was ended by SIGABRT"):
        worker("import os; os.abort()")


def test_a_program_that_never_answers() -> None:
    with worker(timeout=10.0) as it:
        it._timeout = 0.05
        with pytest.raises(WorkerError, match=r"did not answer within 0.05 s"):
            it.ask("silence")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(WorkerError, match="cannot start it"):
        Worker("it", ["/no/such/program"])


def test_it_stands_still_between_answers_and_is_gone_afterwards() -> None:
    with worker() as it:
        pid = it._process.pid
        # Stopping takes effect asynchronously; waitid returns when it has.
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        assert Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
