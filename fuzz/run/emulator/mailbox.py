"""The disk between the tester and the emulated machine: a job goes in, its results come out (guest/guest.h)."""

from __future__ import annotations

import enum
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from nn512.errors import CannotRunError

SECTOR = 512
_MAGIC = 0x58424D323135324E
_ANSWER_SECTOR = 1
_JOB_SECTOR = 8
_RESULT_SECTOR = 1 << 19

HEADS, TRACK = 16, 63
CYLINDERS = 1024
_SECTORS = CYLINDERS * HEADS * TRACK

_REQUEST = struct.Struct("<9Q")
_ANSWER = struct.Struct("<4Qq6Q")
_SUM = struct.Struct("<Q")


class State(enum.IntEnum):
    """What the machine says about the job that was last sent, or that it is ready for the first."""

    READY = 1
    RUNNING = 2
    ENDED = 3
    SPOILED = 4
    TOO_LARGE = 5
    FAILED = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """The second sector of the disk. `beats` grows while a program runs, `status` is what waitpid said of it."""

    serial: int
    state: State
    beats: int
    status: int
    hung: bool
    used_ms: int
    result_bytes: int
    result_sum: int
    log_bytes: int
    log_sum: int


class Mailbox:
    """The file that is the machine's second disk. It has holes: only what is written takes space."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.ftruncate(self.file, _SECTORS * SECTOR)
        self._serial = 0

    def close(self) -> None:
        """Close the file; the folder it is in is somebody else's."""
        os.close(self.file)

    def send(self, program: bytes, job: bytes, limit: float) -> int:
        """Put a program and its job on the disk; the number of the request. `limit`: seconds without progress."""
        job_sector = _JOB_SECTOR + _sectors(len(program))
        if (job_sector + _sectors(len(job))) > _RESULT_SECTOR:
            size, room = len(program) + len(job), (_RESULT_SECTOR - _JOB_SECTOR) * SECTOR
            raise CannotRunError(f"the emulator takes jobs of {room:,} bytes; this one has {size:,}")
        self._write(_JOB_SECTOR, program)
        self._write(job_sector, job)
        self._serial += 1
        sums = (len(program), zlib.crc32(program), len(job), zlib.crc32(job))
        room = (_SECTORS - _RESULT_SECTOR) * SECTOR
        head = _REQUEST.pack(_MAGIC, self._serial, *sums, int(limit * 1000), _RESULT_SECTOR, room)
        self._write(0, head + _SUM.pack(zlib.crc32(head)))
        return self._serial

    def answer(self) -> Answer | None:
        """What the machine says; None before its first word, and while it writes."""
        data = os.pread(self.file, SECTOR, _ANSWER_SECTOR * SECTOR)
        head = data[: _ANSWER.size]
        magic, serial, state, beats, status, hung, used, *sizes = _ANSWER.unpack(head)
        if magic != _MAGIC or _SUM.unpack_from(data, _ANSWER.size)[0] != zlib.crc32(head):
            return None
        return Answer(serial, State(state), beats, status, bool(hung), used, *sizes)

    def results(self, answer: Answer) -> tuple[bytes, bytes] | None:
        """Result and log of a job that has ended; None if they are not what the machine wrote."""
        result = os.pread(self.file, answer.result_bytes, _RESULT_SECTOR * SECTOR)
        log_sector = _RESULT_SECTOR + _sectors(answer.result_bytes)
        log = os.pread(self.file, answer.log_bytes, log_sector * SECTOR)
        whole = (zlib.crc32(result), zlib.crc32(log)) == (answer.result_sum, answer.log_sum)
        return (result, log) if whole else None

    def _write(self, sector: int, data: bytes) -> None:
        view, at = memoryview(data), sector * SECTOR
        while view:
            wrote = os.pwrite(self.file, view, at)
            view, at = view[wrote:], at + wrote


def _sectors(size: int) -> int:
    return (size + SECTOR - 1) // SECTOR
