"""The C compiler of this machine: finding it, running it within bounds, keeping what it built; what the CPU can do.

Only what runs emitted code needs this module; emitting C needs no compiler.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nn512.errors import CannotRunError, Nn512Error

COMPILE_TIMEOUT = 300.0
"""Seconds after which a compiler run is given up (ResNet152 at -O2 takes well under a minute)."""

COMPILE_MEMORY_KIB = 6 << 20
"""Address space of one compiler process, in KiB."""

SOFT_INCLUDE = Path(__file__).resolve().parent / "soft"
"""Directory whose <immintrin.h> defines the intrinsics in portable C."""

_MESSAGE_LIMIT = 64 << 10

# Debian and its descendants may install clang under these names alone.
_NUMBERED_CLANGS = tuple(f"clang-{version}" for version in range(24, 13, -1))


class BuildError(Nn512Error):
    """The C compiler refused a source; `text` is what it wrote, `command` what was run."""

    def __init__(self, summary: str, text: str, command: Sequence[str]) -> None:
        self.summary, self.text, self.command = summary, text, tuple(command)
        super().__init__(f"{summary}\n{shlex.join(command)}\n{text}".rstrip())


class CompilerKind(enum.Enum):
    """Family of a compiler; what differs is precompiled headers and sanitizer options."""

    GCC = "gcc"
    CLANG = "clang"


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler that answered `--version`: the command that runs it, and the first line of its answer."""

    command: tuple[str, ...]
    kind: CompilerKind
    version: str

    @property
    def path(self) -> str:
        """The program (without leading arguments such as those in CC='gcc -m64')."""
        return self.command[0]


def find_compiler(command: str | None = None) -> Compiler:
    """The compiler `command`, or that of $CC, or the first of gcc, clang and cc on the path.

    It has built a small program that runs. Raises CannotRunError, which says what to install or set, when none does.
    """
    if command is not None:
        return _ask_compiler(command, "the compiler asked for")
    if from_environment := os.environ.get("CC", "").strip():
        return _ask_compiler(from_environment, "the compiler in $CC")
    for candidate in ("gcc", "clang", "cc"):
        if shutil.which(candidate):
            return _ask_compiler(candidate, "the compiler on the path")
    raise CannotRunError("no C compiler: install gcc (at least 9) or clang (at least 14), or set CC")


def find_compilers() -> tuple[Compiler, ...]:
    """Every compiler at hand: that of `find_compiler`, then gcc and clang where they are other programs."""
    found: dict[tuple[CompilerKind, str], Compiler] = {}
    clang = next((name for name in ("clang", *_NUMBERED_CLANGS) if shutil.which(name)), "clang")
    for command in (os.environ.get("CC", "").strip(), "gcc", clang):
        if command and shutil.which(shlex.split(command)[0]):
            compiler = _ask_compiler(command, "the compiler")
            found.setdefault((compiler.kind, compiler.version), compiler)
    return tuple(found.values())


@functools.cache
def _ask_compiler(command: str, what: str) -> Compiler:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CannotRunError(f"{what}, {command!r}, is not a command: {error}") from error
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise CannotRunError(f"{what}, {command!r}, is not on this machine")
    # The path is kept as the user wrote it: resolving links would turn `clang` into an unrelated-looking name.
    words[0] = program
    try:
        status, text, timed_out = run_bounded([*words, "--version"], timeout=30)
    except OSError as error:
        raise CannotRunError(f"{what}, {command!r}, does not run: {error}") from error
    if status != 0 or timed_out or not text.strip():
        raise CannotRunError(f"{what}, {command!r}, does not answer --version")
    kind = CompilerKind.CLANG if "clang" in text.lower() else CompilerKind.GCC
    compiler = Compiler(tuple(words), kind, text.splitlines()[0].strip())
    _check_programs_run(compiler)
    return compiler


def run_bounded(
    command: Sequence[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    stdin: Path | None = None,
    memory_kib: int | None = None,
) -> tuple[int, str, bool]:
    """Exit status, merged output and whether time ran out, of a command run in a process group of its own.

    The whole group is ended on time-out and on any exception, so that nothing (a cc1, say) outlives a Ctrl-C.
    Output goes through a file: a command that writes without end cannot fill our memory, and cannot block either.
    """
    if memory_kib is not None:
        command = ["/bin/sh", "-c", f'ulimit -v {memory_kib}; ulimit -f 4194304; exec "$@"', "sh", *command]
    with (stdin or Path(os.devnull)).open("rb") as source, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
            process_group=0,
        )
        try:
            timed_out = not ended(process, timeout)
        finally:
            end_group(process)
        output.seek(0)
        text = output.read(_MESSAGE_LIMIT).decode("utf-8", "replace")
    return process.returncode, text, timed_out


def ended(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether `process` has ended, at the latest after `timeout` seconds.

    It is not collected where that can be avoided, so that `end_group` can still end what it left behind; and there is
    no sleeping and polling as in Popen.wait, which costs 25 ms on average.
    """
    if process.returncode is None and hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            pass  # an old kernel, or a sandbox that forbids it
        else:
            try:
                poller = select.poll()
                poller.register(descriptor, select.POLLIN)
                return bool(poller.poll(timeout * 1000))
            finally:
                os.close(descriptor)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process group that `process` leads, and collect `process`."""
    if process.returncode is None:
        # Not yet waited for, so the id cannot have been given to anybody else.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
        process.wait()


# --- the build cache ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Built:
    """What one compiler run made: the file, and the warnings it gave."""

    path: Path
    warnings: str


def default_cache_directory() -> Path:
    """$NN512_CACHE, or `nn512` in $XDG_CACHE_HOME or ~/.cache, or a private directory among the temporary files."""
    if explicit := os.environ.get("NN512_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home / "nn512"
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.gettempdir()) / f"nn512-cache-{os.getuid()}"


class BuildCache:
    """Files built earlier, by the hash of everything that went into them. Safe for concurrent processes.

    An entry is a directory that appears by one rename, complete. Beyond `limit_bytes` the entries unused for longest
    are removed, though never one used within the last `grace` seconds: somebody may be about to open it.
    """

    def __init__(self, directory: Path | None = None, *, limit_bytes: int = 1 << 30, grace: float = 60.0) -> None:
        self.directory = default_cache_directory() if directory is None else directory
        self.limit_bytes, self.grace = limit_bytes, grace
        self._stores = 0
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CannotRunError(
                f"cannot make the build cache {self.directory}: {error.strerror}; set NN512_CACHE to a directory"
            ) from error
        if self.directory.stat().st_uid != os.getuid():
            raise CannotRunError(f"the build cache {self.directory} belongs to somebody else; set NN512_CACHE")

    @staticmethod
    def key(*parts: object) -> str:
        """Name of the entry made from `parts` (JSON-able values)."""
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]

    def find(self, key: str, name: str) -> Built | None:
        """The file `name` of entry `key`, marked as used just now; None if there is none."""
        entry = self.directory / key
        try:
            os.utime(entry)
            log = entry / "log"
            warnings = log.read_text("utf-8", "replace") if log.exists() else ""
        except OSError:
            return None
        path = entry / name
        return Built(path, warnings) if path.exists() else None

    def workspace(self) -> tempfile.TemporaryDirectory[str]:
        """A temporary directory beside the entries, so that a rename can make it one."""
        return tempfile.TemporaryDirectory(prefix="tmp-", dir=self.directory, ignore_cleanup_errors=True)

    def store(self, key: str, made: Path) -> None:
        """Turn the directory `made` into entry `key`, unless another process was faster."""
        try:
            made.rename(self.directory / key)
        except OSError:
            if not (self.directory / key).is_dir():
                raise
        self._stores += 1
        if self._stores % 64 == 1:
            self.prune()

    def prune(self) -> None:
        """Remove the entries unused for longest until three quarters of the limit are kept."""
        now = time.time()
        entries = []
        for entry in self.directory.iterdir():
            try:
                used = entry.stat().st_mtime
                size = sum(file.stat().st_size for file in entry.iterdir())
            except OSError:
                continue  # removed by another process, or not ours
            if entry.name.startswith("tmp-") and now - used > 24 * 3600:
                shutil.rmtree(entry, ignore_errors=True)  # left by a process that was killed
            elif not entry.name.startswith("tmp-"):
                entries.append((used, size, entry))
        total = sum(size for _, size, _ in entries)
        if total <= self.limit_bytes:
            return
        for used, size, entry in sorted(entries):
            if total <= self.limit_bytes * 3 // 4 or now - used < self.grace:
                break
            shutil.rmtree(entry, ignore_errors=True)
            total -= size


@functools.cache
def _cache_at(directory: Path) -> BuildCache:
    return BuildCache(directory)


def default_cache() -> BuildCache:
    """The cache of this user (one object per directory)."""
    return _cache_at(default_cache_directory())


def build(
    compiler: Compiler,
    files: Mapping[str, str],
    arguments: Sequence[str],
    output: str,
    *,
    cache: BuildCache | None = None,
    keep: Sequence[str] = (),
    depends: Sequence[str] = (),
    stdin: str | None = None,
    timeout: float = COMPILE_TIMEOUT,
) -> Built:
    """Run the compiler over `files` (name to text) in a directory of their own, and keep `output` in the cache.

    `arguments` come between the compiler and `-o output`. What they refer to outside of `files` must be told in
    `depends` (any text that changes with it). `keep` names files that stay beside the output, `stdin` the one that
    is standard input.
    Raises BuildError with the compiler's text; CannotRunError when the compiler cannot be started, or fails as well on
    a program known to be right.
    """
    cache = default_cache() if cache is None else cache
    key = cache.key(compiler.command, compiler.version, dict(files), list(arguments), output, list(keep), list(depends))
    found = cache.find(key, output)
    if found is not None:
        return found
    command = [*compiler.command, *arguments, "-o", f"entry/{output}"]
    with cache.workspace() as directory:
        work = Path(directory)
        entry = work / "entry"
        try:
            entry.mkdir()
            for name, text in files.items():
                (work / name).write_text(text, "utf-8")
        except OSError as error:
            raise CannotRunError(f"cannot write to the build cache {cache.directory}: {error.strerror}") from error
        try:
            given = work / stdin if stdin else None
            status, text, timed_out = run_bounded(
                command, timeout=timeout, cwd=work, stdin=given, memory_kib=COMPILE_MEMORY_KIB
            )
        except OSError as error:
            raise CannotRunError(f"cannot run {compiler.path}: {error.strerror}") from error
        if timed_out or status != 0 or not (entry / output).exists():
            _check_compiler(compiler, work / "control")
            late = f"the compiler did not finish within {timeout:g} s"
            raise BuildError(late if timed_out else "the C code does not build", text, command)
        for name in keep:
            (work / name).rename(entry / name)
        if text:
            (entry / "log").write_text(text, "utf-8")
        cache.store(key, entry)
    path = cache.directory / key / output
    return Built(path, text)


_CONTROL = """\
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *run(void *unused) {
    (void)unused;
    puts("works");
    return NULL;
}
int main(void) {
    pthread_t thread;
    return pthread_create(&thread, NULL, run, NULL) || pthread_join(thread, NULL);
}
"""
"""A program that every working compiler builds: it uses the headers and the library that emitted code uses."""

_CONTROL_FLAGS = ("-std=c99", "-pthread", "control.c")
_CONTROL_TIMEOUT = 60.0


def _check_compiler(compiler: Compiler, work: Path) -> None:
    """CannotRunError if the compiler fails on the control program, too. Built anew in `work`, as compilers break."""
    work.mkdir()
    (work / "control.c").write_text(_CONTROL, "utf-8")
    command = [*compiler.command, *_CONTROL_FLAGS, "-o", "control"]
    status, text, timed_out = run_bounded(command, timeout=_CONTROL_TIMEOUT, cwd=work, memory_kib=COMPILE_MEMORY_KIB)
    if timed_out or status != 0 or not (work / "control").exists():
        how = "does not finish" if timed_out else f"ends with {status}" if status else "writes no program"
        raise CannotRunError(
            f"the C compiler {shlex.join(compiler.command)} does not work: given a program of a few lines it {how}; "
            f"repair it, or set CC to another\n{text}".rstrip()
        )


def _check_programs_run(compiler: Compiler) -> None:
    """CannotRunError if the compiler does not build the control program, or that does not run."""
    program = build(compiler, {"control.c": _CONTROL}, _CONTROL_FLAGS, "control").path
    try:
        status, text, timed_out = run_bounded([str(program)], timeout=_CONTROL_TIMEOUT)
    except OSError as error:
        status, text, timed_out = -1, str(error.strerror), False
    if timed_out or status != 0 or text != "works\n":
        what = "never ends" if timed_out else text.strip() or f"ended with {status}"
        raise CannotRunError(
            f"what the C compiler {shlex.join(compiler.command)} builds does not run here ({what}); set CC to one for "
            "this machine, or NN512_CACHE to a directory from which programs may be started"
        )


# --- what the emitted code needs ------------------------------------------------------------------------------------

LANGUAGE_FLAGS = ("-std=c99", "-pthread")
"""Flags every build of emitted C has. POSIX names are made visible by the source itself."""

NATIVE_FLAGS = ("-mavx512f",)

STRICT_FLAGS = ("-Wall", "-Wextra", "-Werror")
"""Warnings that emitted C must not cause."""


def soft_flags() -> tuple[str, ...]:
    """Flags that put the portable <immintrin.h> first. Raises CannotRunError when it is not installed."""
    if not (SOFT_INCLUDE / "immintrin.h").is_file():
        raise CannotRunError(f"the portable intrinsics header is missing from {SOFT_INCLUDE}; reinstall nn512")
    return ("-I", str(SOFT_INCLUDE))


def soft_fingerprint() -> str:
    """Hash of the portable header, for the `depends` of a build that uses it."""
    digest = hashlib.sha256()
    for path in sorted(SOFT_INCLUDE.glob("*.h")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def compile_shared(
    header_name: str,
    header: str,
    source: str,
    *,
    soft: bool = False,
    compiler: Compiler | None = None,
    optimize: str = "-O2",
    cache: BuildCache | None = None,
) -> Path:
    """Shared object made of one emitted pair; `header_name` is what the source includes. Cached.

    Raises BuildError, or CannotRunError where there is no compiler.
    """
    compiler = find_compiler() if compiler is None else compiler
    target = soft_flags() if soft else NATIVE_FLAGS
    arguments = [*LANGUAGE_FLAGS, optimize, *target, "-fPIC", "-shared", "net.c"]
    return build(
        compiler,
        {header_name: header, "net.c": source},
        arguments,
        "net.so",
        cache=cache,
        depends=[soft_fingerprint()] if soft else [],
    ).path


_CPU_PROBE = r"""
#include <immintrin.h>
#include <stdio.h>
int main(void) {
    float in[16], out[16];
    int i;
    if (!__builtin_cpu_supports("avx512f")) {
        puts("no");
        return 0;
    }
    for (i = 0; i < 16; i += 1) in[i] = (float)i;
    _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_loadu_ps(in), _mm512_set1_ps(2.0f), _mm512_set1_ps(1.0f)));
    for (i = 0; i < 16; i += 1) if (out[i] != 2.0f * (float)i + 1.0f) return 1;
    puts("yes");
    return 0;
}
"""


def build_cpu_probe(compiler: Compiler, cache: BuildCache | None = None) -> Path:
    """A program that prints `yes` where AVX-512F works: it asks the processor and then executes an instruction."""
    # main must not be compiled with AVX-512 code before the question is asked; -O0 keeps the order of the source.
    arguments = ("-std=gnu99", "-O0", "-mavx512f", "probe.c")
    return build(compiler, {"probe.c": _CPU_PROBE}, arguments, "probe", cache=cache).path


def has_avx512(compiler: Compiler | None = None, wrapper: Sequence[str] = ()) -> bool:
    """Whether AVX-512F instructions work here (or under the emulator command `wrapper`).

    A compiled program is asked, since /proc/cpuinfo shows the host's processor under emulation. False where the
    compiler does not know the instructions.
    """
    compiler = find_compiler() if compiler is None else compiler
    return _probe(compiler, tuple(wrapper))


@functools.cache
def _probe(compiler: Compiler, wrapper: tuple[str, ...]) -> bool:
    try:
        probe = build_cpu_probe(compiler)
        status, text, timed_out = run_bounded([*wrapper, str(probe)], timeout=60)
    except (BuildError, OSError):
        return False
    return status == 0 and not timed_out and "yes" in text.split()
