"""The bytes between the tester and the driver program: jobs out, records back (driver.c and report.c in driver/)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

PAGE = 4096

JOB_MAGIC = 0x3231354E424F4A31
PROGRESS_MAGIC = 0x3231354E4E4E4F43

CHECK_API = 1
CHECK_SHARING = 2
CHECK_FAILURES = 4
CATCH_SIGNALS = 8
CHECK_PROMISES = 16
CHECK_PROCESS = 32
PORTABLE = 64
CHECK_ENDURANCE = 128

RECORD_OUTPUT = 1
RECORD_VIOLATION = 2
RECORD_TIME = 3
RECORD_DONE = 4
RECORD_MARKS = 5
RECORD_TAP = 6

_JOB = struct.Struct("=10Q")
_CONFIGURATION = struct.Struct("=3Q")
_RECORD = struct.Struct("=4IQ")
_PROGRESS = struct.Struct("=2Q6I64s")


class Record(NamedTuple):
    """One record of the driver: type, the data set and argument it is about, and its payload."""

    type: int
    data_set: int
    argument: int
    payload: memoryview


class Progress(NamedTuple):
    """What the driver was doing when it last looked up. `steps` grows with every call it makes.

    `layer` is the one under way, counted from 1, where the net tells; else 0.
    """

    steps: int
    configuration: int
    threads: int
    placement: int
    data_set: int
    repeat: int
    layer: int
    call: str

    def __str__(self) -> str:
        return f"{self.call}; threads {self.threads}, run {self.repeat} of data set {self.data_set}"


def pack_job(
    *,
    flags: int,
    heap_bytes: int,
    address_space: int,
    cpu_seconds: int,
    file_bytes: int,
    data_sets: int,
    configurations: Sequence[tuple[int, int, int]],
    parameter_bytes: int,
    input_bytes: int,
) -> bytes:
    """The beginning of a job; parameters and inputs follow. A limit of 0 is none."""
    head = _JOB.pack(
        JOB_MAGIC,
        flags,
        heap_bytes,
        address_space,
        cpu_seconds,
        file_bytes,
        data_sets,
        len(configurations),
        parameter_bytes,
        input_bytes,
    )
    return head + b"".join(_CONFIGURATION.pack(*one) for one in configurations)


def unpack_progress(data: bytes) -> Progress | None:
    """The first page of a result file; None where the driver did not get so far."""
    if len(data) < _PROGRESS.size:
        return None
    magic, steps, configuration, threads, placement, data_set, repeat, layer, call = _PROGRESS.unpack_from(data)
    if magic != PROGRESS_MAGIC:
        return None
    text = call.split(b"\0")[0].decode("ascii", "replace")
    return Progress(steps, configuration, threads, placement, data_set, repeat, layer, text)


def unpack_records(data: memoryview) -> Iterator[Record]:
    """The complete records of a result file (without its first page), up to where the driver was stopped."""
    at = 0
    while at + _RECORD.size <= len(data):
        kind, data_set, argument, _, size = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + size > len(data):
            return
        yield Record(kind, data_set, argument, data[at : at + size])
        at += size
