"""The emulated machine: one process of Bochs that boots and then runs driver programs, stopped in between."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tty
from pathlib import Path

from fuzz.run.emulator.mailbox import CYLINDERS, HEADS, TRACK, Answer, Mailbox, State
from fuzz.run.emulator.parts import Parts
from fuzz.run.ended import Ended
from nn512.errors import CannotRunError, MachineError
from nn512.toolchain import end_group, watched

MODEL = "corei7_skylake_x"
"""The first processor of Intel's with AVX-512F, and nothing later that emitted code might use by mistake."""

MEMORY_MIB = 1024
INSTRUCTIONS_PER_SECOND = 10_000_000
"""What the machine takes for a second. Its time is counted in instructions, so that a loaded host changes nothing."""

_BOOT_LIMIT = 300.0
_SILENCE_LIMIT = 120.0
"""Seconds of processor time after which a boot, or a machine that says nothing any more, is given up."""

_STILL_LIMIT = 300.0
"""Seconds in which a machine that shall run has no processor time at all: it waits for something in vain."""

_MOMENT = 0.01
_BOOT_MOMENT = 0.1
"""Seconds between two looks at a machine that runs a job, and at one that boots."""
_ATTEMPTS = 3
_KEPT = 4096
_CONTROL = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()].|[=>78])|[\x00-\x08\x0e-\x1f]")
"""What moves the cursor of a terminal."""

_SCREEN = re.compile(rb'Bochs connected to screen "([^"]+)"')


def configuration(parts: Parts, disc: Path, mailbox: Path, console: Path, log: Path) -> str:
    """The file that describes the machine to Bochs."""
    geometry = f"cylinders={CYLINDERS}, heads={HEADS}, spt={TRACK}"
    return f"""\
cpu: model={MODEL}, count=1, ips={INSTRUCTIONS_PER_SECOND}, reset_on_triple_fault=0
memory: guest={MEMORY_MIB}, host={MEMORY_MIB}
romimage: file={parts.bios}
vgaromimage: file={parts.vga_bios}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={disc}, status=inserted
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata1-master: type=disk, mode=flat, path={mailbox}, {geometry}
boot: cdrom
com1: enabled=1, mode=file, dev={console}
display_library: term
log: {log}
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
speaker: enabled=0
clock: sync=none
"""


class Emulator:
    """A machine. It is stopped while no job runs, and gone when this process is."""

    def __init__(self, parts: Parts, disc: Path) -> None:
        self.owner = os.getpid()
        self.seconds = 0.0
        """What the boot took."""
        self._drawn = b""
        self._screen: int | None = None
        self._active = 0.0, time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="nn512-bochs-"))
        try:
            self._start(parts, disc)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _start(self, parts: Parts, disc: Path) -> None:
        console, log, setup, commands = (self._folder / name for name in ("console", "log", "bochsrc", "commands"))
        self._mailbox = Mailbox(self._folder / "disk")
        self._console, self._log = _open_new(console), _open_new(log)
        setup.write_text(configuration(parts, disc, self._mailbox.path, console, log), "utf-8")
        commands.write_text("c\n", "utf-8")  # Debian's build stops in its debugger first
        self._terminal, inside = pty.openpty()
        command, descriptors = watched([parts.bochs, "-q", "-f", str(setup), "-rc", str(commands)])
        try:
            self._process = subprocess.Popen(
                command,
                stdin=inside,
                stdout=inside,
                stderr=inside,
                cwd=self._folder,
                env={**os.environ, "TERM": "xterm"},
                pass_fds=descriptors,
                process_group=0,
            )
        except OSError as error:
            raise CannotRunError(f"cannot start {parts.bochs}: {error.strerror}") from error
        finally:
            os.close(inside)

    @property
    def alive(self) -> bool:
        """Whether the machine takes jobs: it has not ended, and was not given up."""
        return self._process.poll() is None

    @property
    def used(self) -> float:
        """Processor time of the machine so far, in seconds; of a host that is busy with other things it has little.

        Of the thread that is the processor: others ask for the time again and again.
        """
        thread = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/stat")
        fields = thread.read_text("ascii", "replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def boot(self) -> None:
        """Wait until the machine takes jobs, and tell the user. Raises CannotRunError with its last words."""
        start = time.monotonic()
        terminal = sys.stderr.isatty()
        told = "bochs: booting"
        _tell(told + ("" if terminal else "\n"))
        while (answer := self._mailbox.answer()) is None or answer.state is not State.READY:
            now = f"bochs: booting, {time.monotonic() - start:.0f} s"
            if terminal and now != told:
                told = now
                _tell(f"\r{told}")
            if self.used > _BOOT_LIMIT:
                raise CannotRunError(f"the emulator does not boot in {_BOOT_LIMIT:g} s{self._last_words()}")
            if not self._wait(_BOOT_MOMENT):
                raise CannotRunError(f"the emulator ends while it boots{self._last_words()}")
            self._check_active()
        self.seconds = time.monotonic() - start
        took = f"{self.seconds:.0f} s, of which the processor worked {self.used:.0f} s"
        _tell(("\r" if terminal else "") + f"bochs: booted in {took}\n")
        self._pause()
        shutil.rmtree(self._folder, ignore_errors=True)  # everything is open, and nothing is left if we are killed

    def run(self, program: bytes, job: bytes, limit: float) -> Ended:
        """Run a driver program inside. `limit`: seconds of the machine's time without progress.

        Raises CannotRunError for a job too large, MachineError where the machine fails.
        """
        for _ in range(_ATTEMPTS):
            serial = self._mailbox.send(program, job, limit)
            os.kill(self._process.pid, signal.SIGCONT)
            self._active = 0.0, time.monotonic()
            try:
                answer = self._await(serial)
            finally:
                self._pause()
            match answer.state:
                case State.FAILED:
                    raise MachineError(f"the emulated machine cannot start a driver: {os.strerror(answer.status)}")
                case State.TOO_LARGE:
                    raise CannotRunError("the results are too large for the emulator's disk")
                case State.ENDED if (results := self._mailbox.results(answer)) is not None:
                    code = os.waitstatus_to_exitcode(answer.status)
                    return Ended(*results, code, answer.hung, answer.used_ms / 1000)
                case _:
                    continue  # what came over the disk is not what was sent
        raise MachineError("the disk between tester and emulator does not keep what is written to it")

    def close(self) -> None:
        """End the machine; nothing is left of it."""
        end_group(self._process)
        for descriptor in (self._terminal, self._screen, self._console, self._log):
            if descriptor is not None:
                os.close(descriptor)
        self._mailbox.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _await(self, serial: int) -> Answer:
        """The answer to this request when it is final."""
        beats, heard = -1, self.used
        while True:
            answer = self._mailbox.answer()
            if answer is not None and answer.serial == serial:
                if answer.state is not State.RUNNING:
                    return answer
                if answer.beats != beats:
                    beats, heard = answer.beats, self.used
            if self.used - heard > _SILENCE_LIMIT:
                end_group(self._process)
                raise MachineError(f"the emulator says nothing in {_SILENCE_LIMIT:g} s{self._last_words()}")
            if not self._wait(_MOMENT):
                raise MachineError(f"the emulator has ended{self._last_words()}")
            self._check_active()

    def _check_active(self) -> None:
        """Raise MachineError if the machine has stood still for too long; a busy host gives it some time at least."""
        used, now = self.used, time.monotonic()
        if used != self._active[0]:
            self._active = used, now
        elif now - self._active[1] > _STILL_LIMIT:
            end_group(self._process)
            raise MachineError(f"the emulator has stood still for {_STILL_LIMIT:g} s{self._last_words()}")

    def _wait(self, seconds: float) -> bool:
        """Whether the machine goes on after a moment. What it draws is read, or it would block.

        Bochs says on its terminal which other one it draws the screen of the machine on, and that fills up slowly.
        """
        drawn_on = [self._terminal] if self._screen is None else [self._terminal, self._screen]
        for terminal in select.select(drawn_on, [], [], seconds)[0]:
            with contextlib.suppress(OSError):  # it has ended
                self._drawn = (self._drawn + os.read(terminal, 1 << 16))[-_KEPT:]
        if self._screen is None and (found := _SCREEN.search(self._drawn)):
            self._screen = os.open(found[1], os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            tty.setraw(self._screen)  # nothing of what is drawn is typed in again
        return self.alive and b"Kernel panic" not in _last_of(self._console)

    def _pause(self) -> None:
        """A machine that waits would take a whole processor for it."""
        if self.alive:
            os.kill(self._process.pid, signal.SIGSTOP)

    def _last_words(self) -> str:
        said = (_CONTROL.sub(b"", self._drawn), _last_of(self._console), _last_of(self._log))
        lines = [line for text in said for line in text.decode("utf-8", "replace").splitlines()[-8:] if line.strip()]
        return ":\n" + "\n".join(lines) if lines else ""


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody needs to read it
        sys.stderr.write(text)
        sys.stderr.flush()


def _open_new(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _last_of(file: int) -> bytes:
    return os.pread(file, _KEPT, max(0, os.fstat(file).st_size - _KEPT))
