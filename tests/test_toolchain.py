"""The compiler is found, run within bounds, and not asked twice for the same thing."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nn512 import toolchain
from nn512.errors import CannotRunError
from nn512.toolchain import (
    BuildCache,
    BuildError,
    Compiler,
    all_compilers,
    build,
    find_compiler,
    find_compilers,
    run_bounded,
)

PROGRAM = {"answer.c": "int main(void) { return 42; }\n"}


@pytest.fixture
def cache(tmp_path: Path) -> BuildCache:
    return BuildCache(tmp_path / "cache")


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return find_compiler()


def make(compiler: Compiler, cache: BuildCache, text: str = PROGRAM["answer.c"]) -> Path:
    return build(compiler, {"answer.c": text}, ["answer.c"], "answer", cache=cache).path


def test_a_program_is_built_and_runs(compiler: Compiler, cache: BuildCache) -> None:
    assert subprocess.run([make(compiler, cache)], check=False).returncode == 42


def test_the_second_build_is_a_look_up(compiler: Compiler, cache: BuildCache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(compiler, cache)
    monkeypatch.setattr("nn512.toolchain.building.run_bounded", lambda *_, **__: pytest.fail("compiled again"))
    assert make(compiler, cache) == first


@pytest.mark.parametrize("change", ["text", "flags", "version", "depends"])
def test_whatever_goes_in_makes_another_entry(compiler: Compiler, cache: BuildCache, change: str) -> None:
    first = make(compiler, cache)
    text = PROGRAM["answer.c"].replace("42", "43") if change == "text" else PROGRAM["answer.c"]
    flags = ["-O1"] if change == "flags" else []
    other = Compiler(compiler.command, compiler.kind, "newer") if change == "version" else compiler
    depends = ["a header"] if change == "depends" else []
    assert build(other, {"answer.c": text}, [*flags, "answer.c"], "answer", cache=cache, depends=depends).path != first


def test_errors_carry_the_text_of_the_compiler(compiler: Compiler, cache: BuildCache) -> None:
    with pytest.raises(BuildError, match="undeclared_name") as caught:
        make(compiler, cache, "int main(void) { return undeclared_name; }\n")
    assert "answer.c:1" in caught.value.text
    assert not list(cache.directory.glob("tmp-*"))


def test_warnings_are_remembered(compiler: Compiler, cache: BuildCache) -> None:
    text = "int main(void) { int unused; return 0; }\n"
    for _ in range(2):
        built = build(compiler, {"answer.c": text}, ["-Wall", "answer.c"], "answer", cache=cache)
        assert "unused" in built.warnings


def wrapper(folder: Path, compiler: Compiler, cases: str) -> Compiler:
    """A compiler that does what `compiler` does, except for the first arguments in `cases` (of a shell's `case`)."""
    script = folder / "wrapper"
    script.write_text(f'#!/bin/sh\ncase $1 in {cases} *) exec {shlex.join(compiler.command)} "$@";; esac\n')
    script.chmod(0o755)
    return find_compiler(str(script))


def test_a_compiler_that_never_ends_is_stopped(compiler: Compiler, cache: BuildCache, tmp_path: Path) -> None:
    slow = wrapper(tmp_path, compiler, "answer.c) while :; do :; done;;")
    with pytest.raises(BuildError, match="did not finish"):
        build(slow, PROGRAM, ["answer.c"], "answer", cache=cache, timeout=0.2)


def test_many_builders_of_one_thing_agree(compiler: Compiler, cache: BuildCache) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: make(compiler, cache), range(8)))
    assert len(paths) == 1
    assert subprocess.run([paths.pop()], check=False).returncode == 42


def entry(cache: BuildCache, name: str, size: int, age: int) -> Path:
    folder = cache.directory / name
    folder.mkdir()
    (folder / "file").write_bytes(bytes(size))
    moment = cache.directory.stat().st_mtime - age
    os.utime(folder, (moment, moment))
    return folder


def test_the_cache_stays_small_and_spares_what_is_in_use(tmp_path: Path) -> None:
    cache = BuildCache(tmp_path / "cache", limit_bytes=1000, grace=60)
    keys = [cache.key(number) for number in range(4)]
    oldest, older, used = (entry(cache, key, 500, age) for key, age in zip(keys, (3000, 2000, 1000), strict=False))
    assert cache.find(keys[0], "file") is not None  # marks it as used just now
    cache.prune()
    assert (oldest.exists(), older.exists(), used.exists()) == (True, False, False)
    entry(cache, keys[3], 5000, 1)
    cache.prune()
    assert oldest.exists(), "within the grace period nothing goes, whatever the size"


def test_what_is_no_entry_is_left_alone(tmp_path: Path) -> None:
    """NN512_CACHE may name a directory with files of the user, and one cache may lie in another."""
    cache = BuildCache(tmp_path, limit_bytes=1000)
    others = [entry(cache, name, 5000, 100_000) for name in ("fuzz", "thesis", "tmp-work", "cafe", "cafe" * 10)]
    mine = entry(cache, cache.key(0), 5000, 100_000)
    cache.prune()
    assert not mine.exists()
    assert all((other / "file").exists() for other in others)


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    cache = BuildCache(tmp_path / "cache")
    fresh, stale = (entry(cache, f"tmp-nn512-{age}", 1, age) for age in (100, 100_000))
    cache.prune()
    assert (fresh.exists(), stale.exists()) == (True, False)


def test_a_cache_that_was_removed_is_made_anew(compiler: Compiler, cache: BuildCache) -> None:
    make(compiler, cache)
    shutil.rmtree(cache.directory)
    assert subprocess.run([make(compiler, cache)], check=False).returncode == 42


def test_the_environment_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NN512_CACHE", str(tmp_path / "one"))
    assert toolchain.default_cache_directory() == tmp_path / "one"
    monkeypatch.delenv("NN512_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    assert toolchain.default_cache_directory() == tmp_path / "two" / "nn512"


def test_a_compiler_may_be_named_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started in other directories."""
    real = shutil.which("gcc") or shutil.which("clang")
    if real is None:
        pytest.skip("no gcc or clang here")
    (tmp_path / Path(real).name).symlink_to(real)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", f"./{Path(real).name}")
    assert find_compiler().command == (str(tmp_path / Path(real).name),)


def test_a_cache_may_be_named_relative_to_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiler: Compiler
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NN512_CACHE", "cache")
    program = make(compiler, BuildCache())
    assert program.is_relative_to(tmp_path / "cache")
    assert subprocess.run([program], check=False, cwd="/").returncode == 42


def test_a_cache_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRunError, match="NN512_CACHE"):
        BuildCache(tmp_path / "file" / "cache")


def test_cc_chooses_the_compiler(monkeypatch: pytest.MonkeyPatch, compiler: Compiler) -> None:
    monkeypatch.setenv("CC", f"{compiler.path} -pipe")
    assert find_compiler().command == (compiler.path, "-pipe")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CannotRunError, match=r"\$CC, 'no-such-compiler', is not on this machine"):
        find_compiler()


def test_no_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRunError, match="install gcc"):
        find_compiler()


def test_a_program_that_is_no_compiler_is_refused() -> None:
    with pytest.raises(CannotRunError, match="does not answer --version"):
        find_compiler("false")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 0", "it writes no program"),  # as `true` does, which answers --version
        ("echo my disk is broken; exit 1", "it ends with 1; repair it, or set CC to another\nmy disk is broken"),
        ("touch control entry/control", "does not run here"),
        ("for last; do :; done; echo 'echo works not' > $last; chmod +x $last", "does not run here"),
    ],
)
def test_a_compiler_that_does_not_work_is_refused(
    body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "brokencc"
    script.write_text(f"#!/bin/sh\ncase $1 in --version) echo broken 1.0;; *) {body};; esac\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    with pytest.raises(CannotRunError, match="brokencc") as caught:
        find_compiler()
    assert said in str(caught.value)


def test_a_compiler_that_broke_since_is_not_blamed_on_the_code(
    compiler: Compiler, cache: BuildCache, tmp_path: Path
) -> None:
    worked = wrapper(tmp_path, compiler, "no-such-file) ;;")
    make(worked, cache)
    Path(worked.path).write_text("#!/bin/sh\necho no space left\nexit 1\n")
    with pytest.raises(CannotRunError, match="does not work") as caught:
        make(worked, cache, "int main(void) { return 1; }\n")
    assert "no space left" in str(caught.value)
    assert not list(cache.directory.glob("tmp-*"))


def test_output_of_a_command_is_bounded() -> None:
    status, text, timed_out = run_bounded(["sh", "-c", "head -c 10000000 /dev/zero"], timeout=60)
    assert (status, timed_out) == (0, False)
    assert 0 < len(text) <= 1 << 20


def test_nothing_of_a_command_outlives_its_time_limit(tmp_path: Path) -> None:
    # The grandchild would hold the fifo open; reading it to its end shows that every writer is gone.
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        script = f"sh -c 'while :; do :; done' > {fifo} & while :; do :; done"
        _, _, timed_out = run_bounded(["sh", "-c", script], timeout=0.3)
        assert timed_out
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_the_processor_is_asked_and_the_answer_kept(compiler: Compiler) -> None:
    assert toolchain.has_avx512(compiler) in {True, False}
    assert not toolchain.has_avx512(compiler, ["false"])


@pytest.mark.parametrize("ask", [toolchain.find_compiler, toolchain.find_compilers])
@pytest.mark.parametrize(
    ("command", "said"),
    [("'", r"the compiler in \$CC, \"'\", is not a command"), ("no-such-cc -O2", "is not on this machine")],
)
def test_a_cc_that_is_no_command(
    ask: Callable[[], object], command: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", command)
    with pytest.raises(CannotRunError, match=said):
        ask()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: Compiler) -> Callable[[str, str], None]:
    """A function that puts a program on the path, alone with others of these, which answers with a version."""
    monkeypatch.delenv("CC", raising=False)
    path = shlex.quote(os.environ["PATH"])
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(name: str, version: str) -> None:
        program = f"PATH={path} exec {shlex.join(compiler.command)}"
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\ncase $1 in --version) echo "{version}";; *) {program} "$@";; esac\n')
        script.chmod(0o755)

    return install


NUMBERED = {
    "gcc": "gcc (Debian 12.2.0) 12.2.0",
    "gcc-12": "gcc-12 (Debian 12.2.0) 12.2.0",
    "gcc-13": "gcc-13 (Debian 13.3.0) 13.3.0",
    "gcc-8": "gcc-8 (Debian 8.4.0) 8.4.0",
    "clang": "Debian clang version 14.0.6",
    "clang-14": "Debian clang version 14.0.6",
    "clang-16": "Debian clang version 16.0.6",
    "clang-19": "Debian clang version 19.1.7",
}


def names(compilers: Iterable[Compiler]) -> list[str]:
    return [Path(compiler.path).name for compiler in compilers]


def test_every_program_is_found_once(installed: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers tell versions that emitted code is not for."""
    for name, version in NUMBERED.items():
        installed(name, version)
    assert names(all_compilers()) == ["gcc", "gcc-13", "clang", "clang-19", "clang-16"]
    assert names(find_compilers()) == ["gcc", "clang"]
    monkeypatch.setenv("CC", "gcc-12")
    assert names(all_compilers()) == ["gcc-12", "gcc-13", "clang", "clang-19", "clang-16"]
    assert names(find_compilers()) == ["gcc-12", "clang"]


def test_a_family_may_have_numbered_names_alone(installed: Callable[[str, str], None]) -> None:
    for name in ("clang-16", "clang-19", "gcc-13"):
        installed(name, NUMBERED[name])
    assert names(find_compilers()) == ["gcc-13", "clang-19"]


@pytest.mark.parametrize("timeout", [1e12, float("inf")])
def test_time_beyond_what_a_poll_counts(timeout: float) -> None:
    assert run_bounded(["true"], timeout=timeout) == (0, "", False)


def test_what_a_compiler_leaves_is_removed_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own temporary files, too, which it cannot remove where it is ended."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    script = tmp_path / "cc"
    real = find_compiler()
    does = f'touch "$TMPDIR/left.s"; echo "$TMPDIR" > {tmp_path}/where; exec {shlex.join(real.command)} "$@"'
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(0o755)
    compiler = dataclasses.replace(real, command=(str(script),))
    build(compiler, {"t.c": "int main(void) { return 0; }\n"}, ["t.c"], "t", cache=BuildCache(tmp_path / "cache"))
    where = Path((tmp_path / "where").read_text().strip())
    assert where.is_relative_to(tmp_path / "cache")
    assert not where.exists()
    assert not list((tmp_path / "cache").rglob("left.s"))
