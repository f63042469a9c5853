"""Signals that ask a program to end become an exception, so that whatever is under way is ended and cleaned up.

Ctrl-C is Python's KeyboardInterrupt already. SIGTERM and SIGHUP would end Python on the spot, and leave behind its
compilers, programs under test and scratch files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def signal_name(number: int) -> str:
    """SIGSEGV and the like; signals of applications have numbers alone."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


class EndedError(BaseException):
    """The program was asked to end; no `except Exception` holds it up."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"ended by {self.signal.name}")

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal ended."""
        return 128 + self.signal


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise EndedError in the main thread, where they have their usual meaning.

    A signal that is ignored (nohup) or handled by somebody else is left alone.
    """
    received = 0

    def end(number: int, _: object) -> None:
        nonlocal received
        received += 1
        if received == 1:
            raise EndedError(number)
        # `timeout` and terminals send to a process and to its group: the second must not disturb the cleaning up.
        if received > 2:
            os._exit(128 + number)

    changed = []
    if threading.current_thread() is threading.main_thread():
        changed = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def until_ended(program: str, run: Callable[[], int]) -> int:
    """The exit code of `run`; where Ctrl-C or a signal ends it, the `program` says so, and it is what shells expect."""
    try:
        with ending_on_signals():
            return run()
    except KeyboardInterrupt:
        _say_last(f"{program}: interrupted")
        return 130
    except EndedError as ended:
        _say_last(f"{program}: {ended}")
        return ended.exit_code


def _say_last(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone
        sys.stderr.write(f"{text}\n")
