"""Progress: rows that change on a terminal, and plain lines elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import select

import pytest

from fuzz.campaign.display import Display, display_on
from fuzz.campaign.progress import Progress
from fuzz.campaign.tally import Tally


class Clock:
    """Time as a test wants it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_come_now_and_then() -> None:
    stream, clock = io.StringIO(), Clock()
    display = display_on(stream, patience=5.0, clock=clock)
    for second in range(31):
        clock.now = float(second)
        display.show("a.graph", f"step {second}")
        display.show("", "1 of 2", 0.5)
    display.say("done")
    said = [f"{row}{n}" for n in (5, 15, 25) for row in ("a.graph: step ",)]
    assert [line for line in stream.getvalue().splitlines() if line != "1 of 2"] == [*said, "done"]
    assert stream.getvalue().count("1 of 2\n") == 3
    display.clear()
    assert stream.getvalue().endswith("done\n")


class Terminal(io.TextIOWrapper):
    """Something that is a terminal, and remembers what was written to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "60")
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        self.ours, theirs = pty.openpty()
        super().__init__(open(theirs, "wb", buffering=0), write_through=True)  # noqa: PTH123, SIM115 - a descriptor

    def text(self) -> str:
        parts = []
        while select.select([self.ours], [], [], 0)[0]:
            parts.append(os.read(self.ours, 1 << 16))
        return b"".join(parts).decode()


def screen(text: str) -> list[str]:
    """What stands on a terminal in the end, of the few commands that rows need."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[^\x1b]", text.replace("\r\n", "\n\r")):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part[0] != "\x1b":
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + 1 :]
            column += 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part.endswith("A"):
            row -= int(part[2:-1] or 1)
    return [line.rstrip() for line in lines]


def rows(display: Display, clock: Clock) -> None:
    for number in range(3):
        clock.now += 1.0
        display.show("a.graph", f"reference, layer {number} of 3", number / 3)
        display.show("b.graph", "running")


def test_a_terminal_shows_rows_that_go_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with Terminal(monkeypatch) as stream:
        display = display_on(stream, clock=clock)
        rows(display, clock)
        shown = stream.text()
        assert "a.graph: reference, layer 2 of 3" in "\n".join(screen(shown))
        display.say("a finding: [bold]a/b[/bold]")
        display.remove("b.graph")
        rows(display, clock)
        display.clear()
        left = screen(shown + stream.text())
        assert [line for line in left if line] == ["a finding: [bold]a/b[/bold]"]


def test_a_row_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with Terminal(monkeypatch) as stream:
        display = display_on(stream, clock=clock)
        clock.now = 1.0
        display.show("", "a long story " * 20, 0.5)
        assert max(map(len, screen(stream.text()))) <= 60
        display.clear()


def test_progress_of_a_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("time.monotonic", lambda: 130.0)
    progress = Progress(stream, 100.0, 60.0)
    progress.show(Tally(verified=7, data_sets=70), [(23, 80)])
    assert stream.getvalue() == "30 of 60 s: 7 graphs verified, 70 data sets, 1 finding, shrinking, 23 of 80\n"
    progress.show(Tally())
    assert stream.getvalue().count("\n") == 1
