"""What all tests share: Hypothesis profiles, and how emitted code runs here."""

from __future__ import annotations

import difflib
import os
import signal
from collections.abc import Callable
from pathlib import Path

# numpy's library looks at this when it is loaded. Threads of it spin beside what the other workers of xdist do, and
# take four times the time of the processor for matrices as small as those of tests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from nn512 import toolchain
from nn512.errors import CannotRunError

# A case compiles C: wall-clock limits would only measure the machine.
_BASE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("dev", _BASE)
settings.register_profile("ci", _BASE, derandomize=True, database=None, print_blob=True)
settings.register_profile("nightly", _BASE, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure() -> None:
    """Take signals as in a terminal: `nohup` and a shell's background ignore some, and children inherit that."""
    for number, usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_report_header() -> str:
    """Say what this machine can show: tests of emitted code skip or run on portable intrinsics where it cannot."""
    try:
        compilers = ", ".join(compiler.version for compiler in toolchain.find_compilers())
        native = toolchain.has_avx512()
    except CannotRunError as error:
        return f"emitted code: NOT RUN, {error}"
    return f"emitted code: {'native' if native else 'portable intrinsics only, no AVX-512F'}; compilers: {compilers}"


MOST_EMULATED = 3
"""Cases of a test that are run on portable intrinsics, which take ten times as long, or in an emulator."""


@pytest.hookimpl(trylast=True)  # of what -k and -m leave
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where emitted code does not run as it is, skip most cases of a test that runs it, and say so."""
    cases: dict[object, list[pytest.Item]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and "runs_here" in item.fixturenames:
            cases.setdefault((item.path, item.originalname), []).append(item)
    many = [group for group in cases.values() if len(group) > MOST_EMULATED]
    if not many or _runner() == "native":
        return
    skipped = pytest.mark.skip(reason=f"portable intrinsics: {MOST_EMULATED} cases of this test are run")
    for group in many:
        kept = {round(n * (len(group) - 1) / (MOST_EMULATED - 1)) for n in range(MOST_EMULATED)}
        for number, item in enumerate(group):
            if number not in kept:
                item.add_marker(skipped)


def _runner() -> str:
    """How emitted code runs here; nothing where it does not."""
    try:
        native = toolchain.has_avx512()
    except CannotRunError:
        return ""
    return os.environ.get("NN512_RUNNER", "") or ("native" if native else "soft")


@pytest.fixture
def runs_here(monkeypatch: pytest.MonkeyPatch) -> str:
    """How emitted code runs here: as it is (`native`), or on portable intrinsics (`soft`, set in the environment)."""
    runner = _runner()
    if not runner:
        pytest.skip("no compiler, see the first lines")
    if runner != "native":
        monkeypatch.setenv("NN512_RUNNER", "soft")
    return runner


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let golden files be written anew."""
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing with them; read the diff"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """A function that compares a text with the file of that name in the folder `golden` beside the test."""
    folder = request.path.parent / "golden"

    def compare(name: str, text: str) -> None:
        path: Path = folder / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, "utf-8")
            return
        known = path.read_text("utf-8") if path.exists() else ""
        if text == known:
            return
        found = list(difflib.unified_diff(known.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm=""))
        advice = "Read the difference; if it is what you want, run pytest with --update-golden and commit the files."
        pytest.fail("\n".join([*found[:60], *(["..."] if len(found) > 60 else []), advice]), pytrace=False)

    return compare
