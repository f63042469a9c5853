"""The chunks of a campaign on a Dask cluster: each is a task, which another worker begins anew where one is lost.

Workers need this version of the project, a C compiler, and nothing else: what they find comes back with what they
counted. So nothing of a chunk is told before it ends, and a chunk of a lost worker was never counted.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import distributed

from fuzz.campaign.crew import Crew, Death, Done
from fuzz.campaign.findings import adopt
from fuzz.campaign.state import versions
from fuzz.campaign.tally import FindingNote
from fuzz.campaign.worker import Began, Chunk, Common, Failure, Message, Shrinking, do_chunk, explorer_for
from nn512.errors import CannotRunError, InternalError, MachineError, UsageError

_PATIENCE = 60.0
"""Seconds for a scheduler to answer, and for a cluster to have a worker."""

Job = TypeVar("Job")

Files = Mapping[str, bytes]
"""Files of a folder, or a file, by their paths below it."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A chunk for whatever worker: what its file has travels with it. `left` are the seconds of the campaign."""

    common: Common
    chunk: Chunk
    files: Files
    left: float | None
    campaign: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a worker saw of a chunk, and the folders of what it found, by name."""

    messages: tuple[Message, ...]
    done: Done
    folders: Mapping[str, Files]


# --- on a worker ------------------------------------------------------------------------------------------------------

_ALONE = threading.Lock()
"""One chunk at a time: a process has one Hypothesis, however many threads its worker has."""

_STOPPED: set[str] = set()
"""Campaigns that shall stop, known to this process."""


def _stop(campaign: str) -> None:
    _STOPPED.add(campaign)


def _work(task: _Task) -> _Seen:
    """Check a chunk, as a worker process of this machine would."""
    end = None if task.left is None else time.monotonic() + task.left

    def stopping() -> bool:
        return task.campaign in _STOPPED or (end is not None and time.monotonic() > end)

    heard: list[Message] = []
    with _ALONE, tempfile.TemporaryDirectory(prefix="nn512-cluster-") as scratch:
        findings, given = Path(scratch) / "findings", Path(scratch) / "given"
        findings.mkdir()
        chunk = task.chunk
        if chunk.file is not None:
            chunk = replace(chunk, file=_unpacked(task.files, given / chunk.file.name))
        settings = replace(task.common.settings, directory=findings)
        explorer = replace(
            explorer_for(settings, heard.append), stop=stopping, interrupted=lambda: task.campaign in _STOPPED
        )
        done = do_chunk(chunk, explorer, heard.append)
        folders = {folder.name: _packed(folder) for folder in findings.iterdir() if folder.is_dir()}
    return _Seen(tuple(message for message in heard if not isinstance(message, Shrinking)), done, folders)


def _packed(path: Path) -> Files:
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def _unpacked(files: Files, path: Path) -> Path:
    for name, data in files.items():
        file = path / name if name else path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        if file.suffix == ".sh":
            file.chmod(0o755)
    return path


# --- here -------------------------------------------------------------------------------------------------------------


class Cluster(Generic[Job]):
    """A crew of the workers of a cluster, of which each does a chunk at a time; at most `most` of them."""

    def __init__(self, client: distributed.Client, common: Common, most: int | None = None) -> None:
        self._client = client
        self._common = common
        self._most = most
        self._campaign = secrets.token_hex(8)
        self._jobs: dict[distributed.Future, Job] = {}
        self._seen_worker = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether some job is under way."""
        return bool(self._jobs)

    def _workers(self) -> int:
        return len(self._client.nthreads())

    def has_room(self) -> bool:
        """Whether a worker has nothing to do."""
        workers = self._workers()
        return len(self._jobs) < (workers if self._most is None else min(workers, self._most))

    def begin(self, job: Job, work: Any) -> None:  # noqa: ANN401 - a Chunk, which other crews send as they find it
        """Give a chunk to some worker."""
        chunk: Chunk = work
        deadline = self._common.deadline
        left = None if deadline is None else deadline - time.monotonic()
        files = {} if chunk.file is None else _packed(chunk.file)
        task = _Task(self._common, chunk, files, left, self._campaign)
        self._jobs[self._client.submit(_work, task, pure=False)] = job

    def events(self, seconds: float) -> Iterator[tuple[Job, Any]]:
        """All that was seen of chunks that are done. Raises MachineError where there is nobody left to do them."""
        self._check_workers()
        try:
            with self._client.as_current():
                distributed.wait(list(self._jobs), timeout=seconds, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return
        for future in [future for future in self._jobs if future.done()]:
            job = self._jobs.pop(future)
            for event in self._heard(future):
                yield job, event

    def _check_workers(self) -> None:
        now = time.monotonic()
        if self._workers():
            self._seen_worker = now
        elif now - self._seen_worker > _PATIENCE:
            raise MachineError(f"the cluster has had no worker for {_PATIENCE:g} s")

    def _heard(self, future: distributed.Future) -> Iterator[Any]:
        if future.cancelled() or future.status == "lost":
            raise MachineError("the scheduler of the cluster is gone")
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):  # several times: the scheduler has tried it anew itself
            yield Death(None)
            return
        if error is not None:
            text = "".join(traceback.format_exception(error))
            yield Failure(f"a worker of the cluster failed: {text}", InternalError.exit_code)
            yield Done(complete=False)
            return
        seen: _Seen = future.result()
        directory = self._common.settings.directory
        with tempfile.TemporaryDirectory(prefix="nn512-cluster-") as scratch:
            for name, files in seen.folders.items():
                adopt(_unpacked(files, Path(scratch) / name), directory)
        for message in seen.messages:
            match message:
                case FindingNote():
                    yield replace(message, path=directory / message.path.name)
                case Began():
                    yield Began(directory / message.folder.name)
                case _:
                    yield message
        yield seen.done

    def stop(self) -> None:
        """Let every worker end its case."""
        self._client.run(_stop, self._campaign, on_error="ignore")

    def close(self) -> Iterator[tuple[Job, Any]]:
        """Forget what is under way; whoever goes on with the campaign begins it anew."""
        self._client.cancel(list(self._jobs))
        self._jobs.clear()
        self._client.close()
        yield from ()


def cluster_at(address: str, most: int | None = None) -> tuple[int, Callable[[Common, Path], Crew[Any]]]:
    """How many workers the cluster has whose scheduler has this address, and what makes a crew of them.

    Raises UsageError for an address that is none, CannotRunError for a cluster that does not answer, has no workers, or
    draws other cases.
    """
    try:
        distributed.comm.get_address_host(address)  # what is no address is not waited for
        client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        client.wait_for_workers(1, timeout=_PATIENCE)
    except ValueError as error:
        raise UsageError(f"--scheduler {address}: {error}") from error
    except OSError as error:  # a TimeoutError, too
        raise CannotRunError(f"--scheduler {address}: no cluster with a worker answers: {error}") from error
    found = client.run(versions)
    for worker, theirs in found.items():
        if theirs != versions():
            client.close()
            raise CannotRunError(f"{worker} has {theirs}, here is {versions()}: they would draw other cases")
    return len(found), lambda common, _: Cluster(client, common, most)
