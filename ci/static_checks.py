"""Static checks of emitted C: static_checks.py [NET.graph ...] gives nets' C to gcc's analyzer, clang and cppcheck.

Without arguments it takes the small nets that have every kernel (fuzz/mutation/nets). What a checker says that is not
listed in ACCEPTED, with the reason why it is no fault, is told, and ends the run with 1. A checker that is missing ends
it with 3.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nn512
from fuzz.campaign.corpus import load_corpus_case
from nn512.options import Options
from nn512.toolchain import CompilerKind, programs_of

NETS = Path(__file__).parents[1] / "fuzz" / "mutation" / "nets"

CHECKERS = {
    "gcc": (
        *("-std=c99", "-O2", "-mavx512f", "-pthread", "-Wall", "-Wextra", "-Wconversion", "-Wshadow"),
        *(
            "-pedantic",
            "-fanalyzer",
            "-fdiagnostics-format=text",
            "-fno-diagnostics-show-caret",
            "-c",
            "-o",
            "/dev/null",
        ),
    ),
    # The tester's builds include a net's source, and clang spares what is included some warnings.
    "clang": (
        *("-std=c99", "-mavx512f", "-pthread", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic"),
        *("-fno-caret-diagnostics", "-fsyntax-only"),
    ),
    "cppcheck": (
        *("--std=c99", "--quiet", "--enable=warning,performance,portability"),
        *("--suppress=missingIncludeSystem", "--template={file}:{line}:{column}: warning: {message} [{id}]"),
    ),
}
"""Options of each, before the name of a C file."""


def program_of(checker: str) -> str | None:
    """The path of a checker's program. Clang may have a number in its name."""
    names = programs_of(CompilerKind.CLANG)[:1] if checker == "clang" else (checker,)
    return next(filter(None, map(shutil.which, names)), None)


ACCEPTED = {
    r"use of uninitialized value .\w+\[<unknown>\].": "small arrays of vectors are filled by loops with a fixed count "
    "of rounds, which the analyzer leaves after the first; the memory sanitizer sees that all of it is written",
    r"Casting between const unsigned short \* and const float \*.*invalidPointerCast": "the address of weights kept as "
    "halves, for a prefetch: nothing is read through it",
    r"always evaluates to false: x > -0x1p-126 && x < 0x1p-126.*incorrectLogicOperator": "cppcheck 2.10 does not read "
    "hexadecimal floats, and takes both bounds for equal",
    r"Uninitialized variable: whose \[uninitvar\]": "of pieces only as many are looked at as there are, none at first",
}
"""What a checker says (a regular expression), and why it is no fault."""

_WARNING = re.compile(r"^[^:\n]+:\d+:\d+: (?:warning|error): .*$", re.MULTILINE)


def warnings(emitted: nn512.Emitted, checker: str) -> list[str]:
    """What a checker says of emitted C, beyond what is accepted."""
    with tempfile.TemporaryDirectory() as folder:
        emitted.write(folder)
        command = [program_of(checker) or checker, *CHECKERS[checker], f"{emitted.prefix}.c"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = _WARNING.findall(done.stdout + done.stderr)
    if done.returncode and not said:
        said = [f"{checker} ends with {done.returncode}: {done.stderr.strip()[-500:]}"]
    return [line for line in said if not any(re.search(pattern, line) for pattern in ACCEPTED)]


def main(arguments: list[str]) -> int:
    """Check nets; 0 where no checker objects to any."""
    parser = argparse.ArgumentParser(description=f"Let {' and '.join(CHECKERS)} look at emitted C.")
    parser.add_argument("graphs", nargs="*", type=Path, metavar="GRAPH", help="nets (default: one for every kernel)")
    files = parser.parse_args(arguments).graphs or sorted(NETS.glob("*.graph"))
    missing = [name for name in CHECKERS if program_of(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 3
    found = 0
    for file in files:
        case = load_corpus_case(file) if file.read_text("utf-8").startswith("# case") else None
        graph = file.read_text("utf-8") if case is None else case.graph
        options = Options() if case is None else Options.from_dict(dict(case.options))
        emitted = nn512.compile(graph, options)
        for checker in CHECKERS:
            for line in warnings(emitted, checker):
                print(f"{file.name}: {checker}: {line}")
                found += 1
    print(f"{len(files)} nets, {' and '.join(CHECKERS)}: {found} warnings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
