"""The machine that runs drivers: a stand-in of Bochs shows that jobs arrive, results come back, and faults are named.

The stand-in is the program that runs inside the machine, as a process here: it differs in how it reads the disk.
"""

from __future__ import annotations

import os
import re
import shlex
import struct
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from fuzz.run.emulator import known, machine, mailbox
from fuzz.run.emulator.machine import Emulator
from fuzz.run.emulator.parts import Parts
from fuzz.run.ended import Ended
from nn512.errors import CannotRunError, MachineError
from nn512.toolchain import build as build_with
from nn512.toolchain import default_cache, find_compiler

GUEST = resources.files("fuzz.run.emulator") / "guest"

ECHO = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **arguments) {
    char text[4096];
    const ssize_t got = read(0, text, sizeof text);
    fprintf(stderr, "%d arguments, %zd bytes", count, got);
    return write(atoi(arguments[1]), text, (size_t)got) == got ? 7 : 8;
}
"""
PROGRESS = """
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **arguments) {
    const int file = atoi(arguments[1]);
    if (count != 2 || ftruncate(file, 4096)) return 1;
    volatile uint64_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    const struct timespec moment = {0, 50000000};
    for (int i = 0; i < %d; i++) {
        page[1]++;
        nanosleep(&moment, NULL);
    }
    if (%d) pause();
    return 0;
}
"""


def build(name: str, text: str, *flags: str) -> bytes:
    return build_with(find_compiler(), {name: text}, (*flags, name), "program", cache=default_cache()).path.read_bytes()


@pytest.fixture(scope="session")
def inside() -> Path:
    """The program of the machine, with a disk that is a file."""
    names = ("guest.h", "init.c", "checksum.c")
    files = {name: (GUEST / name).read_text("utf-8") for name in names}
    files["stand_in_disk.c"] = (Path(__file__).parent / "stand_in_disk.c").read_text("utf-8")
    arguments = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", *(name for name in files if name.endswith(".c")))
    return build_with(find_compiler(), files, arguments, "inside", cache=default_cache()).path


Boot = Callable[[str], Emulator]


@pytest.fixture
def make(tmp_path: Path, inside: Path) -> Iterator[Boot]:
    """A function that makes a machine of a shell script, in which $inside is the program and $console the console."""
    made = []

    def stand_in(script: str) -> Emulator:
        program = tmp_path / "bochs"
        program.write_text(
            "#!/bin/sh\n"
            "setup=$3\n"
            "export STAND_IN_DISK=$(sed -n 's/^ata1-master:.*path=\\([^,]*\\),.*/\\1/p' $setup)\n"
            "console=$(sed -n 's/^com1:.*dev=//p' $setup)\n"
            f"inside={shlex.quote(str(inside))}\n{script}\n"
        )
        program.chmod(0o755)
        here = Path(__file__)
        made.append(Emulator(Parts(str(program), "xorriso", here, here, here, here, here), here))
        return made[-1]

    yield stand_in
    for one in made:
        one.close()


@pytest.fixture
def booted(make: Boot) -> Emulator:
    emulator = make("exec $inside")
    emulator.boot()
    return emulator


def is_stopped(emulator: Emulator) -> bool:
    """Whether the machine has been stopped since somebody asked; a signal takes a moment to arrive."""
    state = os.waitid(os.P_PID, emulator._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return state is not None and state.si_code == os.CLD_STOPPED


def test_jobs_arrive_and_results_come_back(booted: Emulator) -> None:
    program = build("echo.c", ECHO)
    for size in (0, 1, 512, 4096):
        job = os.urandom(size)
        ended = booted.run(program, job, 20)
        assert ended.result == job
        assert ended.log == b"2 arguments, %d bytes" % size
        assert (ended.returncode, ended.hung) == (7, False)


def test_a_boot_is_told(make: Boot, capsys: pytest.CaptureFixture[str]) -> None:
    make("exec $inside").boot()
    first, second = capsys.readouterr().err.splitlines()
    assert first == "bochs: booting"
    assert re.fullmatch(r"bochs: booted in \d+ s, of which the processor worked \d+ s", second)


def test_large_jobs_arrive(booted: Emulator) -> None:
    text = ECHO.replace("char text[4096]", "static char text[1 << 20]")
    job = os.urandom((1 << 20) - 100)
    assert booted.run(build("echo.c", text), job, 20).result == job


def test_a_signal_is_told(booted: Emulator) -> None:
    ended = booted.run(build("abort.c", "#include <stdlib.h>\nint main(void) { abort(); }\n"), b"", 20)
    assert ended.returncode == -6


def test_progress_is_no_hang_and_its_end_is_one(booted: Emulator) -> None:
    assert not booted.run(build("busy.c", PROGRESS % (16, 0)), b"", 0.5).hung
    stuck = booted.run(build("stuck.c", PROGRESS % (3, 1)), b"", 0.5)
    assert stuck.hung
    assert stuck.returncode == -9
    assert struct.unpack_from("=2Q", stuck.result)[1] == 3
    assert booted.run(build("echo.c", ECHO), b"next", 20).result == b"next"


def test_a_machine_without_a_job_is_stopped(booted: Emulator) -> None:
    assert is_stopped(booted)
    booted.run(build("echo.c", ECHO), b"", 20)
    assert is_stopped(booted)


def test_nothing_is_left_on_the_disk(make: Boot) -> None:
    emulator = make("exec $inside")
    folder = emulator._folder
    assert folder.exists()
    emulator.boot()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no such thing; exit 1", "the emulator ends while it boots:\nno such thing"),
        ("echo VFS: cannot find it > $console; exit 0", "VFS: cannot find it"),
        ("echo Kernel panic - not syncing > $console; exec sleep 1000", "Kernel panic - not syncing"),
    ],
)
def test_a_machine_that_does_not_boot_says_why(make: Boot, script: str, says: str) -> None:
    with pytest.raises(CannotRunError, match=says):
        make(script).boot()


def test_a_boot_without_end_is_given_up(make: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_BOOT_LIMIT", 0.05)
    with pytest.raises(CannotRunError, match="does not boot in"):
        make("while :; do :; done").boot()


def test_a_machine_that_says_nothing_is_given_up(booted: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SILENCE_LIMIT", -1.0)
    with pytest.raises(MachineError, match="says nothing"):
        booted.run(build("stuck.c", PROGRESS % (3, 1)), b"", 20)
    assert not booted.alive


def test_a_machine_that_stands_still_is_given_up(booted: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_STILL_LIMIT", -1.0)
    with pytest.raises(MachineError, match="has stood still"):
        booted.run(build("stuck.c", PROGRESS % (3, 1)), b"", 20)
    assert not booted.alive


SCREEN = """
import os, sys
master, slave = os.openpty()
print(f'Bochs connected to screen "{os.ttyname(slave)}"', flush=True)
os.close(slave)
drawn = 0
while drawn < 1 << 16:  # more than anybody keeps who does not read
    drawn += os.write(master, b"draws " * 100)
os.set_blocking(master, False)
typed = b""
for again in (False, True):
    try:
        while some := os.read(master, 4096):
            typed = some if again else b""
    except BlockingIOError:
        os.write(master, b"draws ")
if not typed:
    os.execv(sys.argv[1], sys.argv[1:])
print("typed in:", typed)
"""


def test_what_is_drawn_on_the_screen_of_the_machine_is_read(make: Boot, tmp_path: Path) -> None:
    """Or it would block some day. Of a terminal like any other it would be typed in again."""
    (tmp_path / "screen.py").write_text(SCREEN)
    emulator = make(f"exec {shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'screen.py'))} $inside")
    emulator.boot()
    assert emulator.run(build("echo.c", ECHO), b"job", 20).result == b"job"


def test_a_machine_that_ends_is_told(booted: Emulator) -> None:
    booted._process.kill()
    with pytest.raises(MachineError, match="the emulator has ended"):
        booted.run(build("echo.c", ECHO), b"", 20)


def test_a_program_that_cannot_start_is_told(booted: Emulator) -> None:
    ended = booted.run(b"no program", b"", 20)
    assert ended.returncode == 127
    assert b"cannot start the driver" in ended.log


def test_a_job_that_is_too_large_is_refused(booted: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "_RESULT_SECTOR", 16)
    with pytest.raises(CannotRunError, match="takes jobs of 4,096 bytes; this one has 5,000"):
        booted.run(bytes(4000), bytes(1000), 20)


def test_results_that_are_too_large_are_refused(booted: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "_SECTORS", mailbox._RESULT_SECTOR + 100)
    with pytest.raises(CannotRunError, match="results are too large"):
        booted.run(build("echo.c", ECHO), bytes(4096), 20)


@pytest.mark.parametrize("what", ["crc32", "results"])
def test_a_disk_that_spoils_what_it_keeps_is_told(booted: Emulator, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    if what == "results":
        monkeypatch.setattr(mailbox.Mailbox, "results", lambda *_: None)
    else:
        send = mailbox.Mailbox.send

        def spoiled(self: mailbox.Mailbox, program: bytes, job: bytes, limit: float) -> int:
            serial = send(self, program, job, limit)
            os.pwrite(self.file, b"\xff", mailbox._JOB_SECTOR * mailbox.SECTOR + 100)
            return serial

        monkeypatch.setattr(mailbox.Mailbox, "send", spoiled)
    with pytest.raises(MachineError, match="does not keep what is written"):
        booted.run(build("echo.c", ECHO), b"", 20)


def test_the_known_answers_are_right_on_the_processor(booted: Emulator, runs_here: str) -> None:
    if runs_here != "native":
        pytest.skip("the stand-in runs programs on this processor, which has no AVX-512F")
    assert known.check_known_answers(booted.run, find_compiler(), default_cache()) == ()


@pytest.mark.parametrize("vector", known.KNOWN_FAULTS)
def test_a_known_fault_is_told_and_nothing_near_it_is_let_pass(vector: int) -> None:
    answers = known.known_answers()
    answers[vector], told = known.KNOWN_FAULTS[vector]

    def run(*_: object) -> Ended:
        return Ended(answers.tobytes(), b"", 0, hung=False, used=0.0)

    assert known.check_known_answers(run, find_compiler(), default_cache()) == (told,)
    answers[vector, 3] = np.float32(0)
    with pytest.raises(CannotRunError, match=f"the emulator is broken: {known.NAMES[vector]}"):
        known.check_known_answers(run, find_compiler(), default_cache())


@pytest.mark.parametrize("vector", range(len(known.NAMES)))
def test_a_wrong_answer_is_a_broken_emulator(vector: int) -> None:
    answers = known.known_answers()
    answers.view("uint32")[vector, 0] ^= 1

    def run(program: bytes, job: bytes, limit: float) -> Ended:
        assert program
        assert len(job) == 3 * 64
        return Ended(answers.tobytes(), b"", 0, hung=limit < 0, used=0.0)

    with pytest.raises(CannotRunError, match=f"the emulator is broken: {known.NAMES[vector]}: lane 0 is "):
        known.check_known_answers(run, find_compiler(), default_cache())


def test_the_machine_knows_where_the_mailbox_is(make: Boot, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    make(f"cp $setup {copy}; exec $inside").boot()
    text = copy.read_text()
    assert f"model={machine.MODEL}" in text
    assert "ata1-master: type=disk, mode=flat, path=" in text
