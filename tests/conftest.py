"""What all tests share: Hypothesis profiles, and how emitted code runs here."""

from __future__ import annotations

import difflib
import os
import signal
from collections.abc import Callable
from pathlib import Path

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


@pytest.fixture
def runs_here(monkeypatch: pytest.MonkeyPatch) -> str:
    """How emitted code runs here: as it is (`native`), or on portable intrinsics (`soft`, set in the environment)."""
    try:
        native = toolchain.has_avx512()
    except CannotRunError as error:
        pytest.skip(str(error))
    runner = os.environ.get("NN512_RUNNER", "") or ("native" if native else "soft")
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
