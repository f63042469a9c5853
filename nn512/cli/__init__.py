"""The command line: `nn512 SUBCOMMAND ...`, one module per subcommand.

Each module has `add_parser(subparsers)`, which declares its arguments, and `run(args) -> int`, which does the work and
returns the exit code. Modules import what is heavy inside `run`, so that help is instant.

Exit codes: 0 all is well; 1 the command ran and its answer is no (a finding); 2 the user's mistake; 3 this machine
cannot do it; 70 a fault of nn512; 129, 130, 143 ended by SIGHUP, Ctrl-C, SIGTERM; 141 whoever read
the output closed it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from nn512.errors import NO_SPACE, MachineError, Nn512Error
from nn512.signals import until_ended

SUBCOMMANDS = (
    *("check", "doc", "example", "compile", "driver", "explain", "params", "run"),
    *("verify", "fuzz", "repro", "mutate", "emulator", "import", "export", "bench"),
)
"""Modules of this package, in the order in which help lists them."""

_DESCRIPTION = (
    "Compiles convolutional nets, described as text, to readable stand-alone C99 with AVX-512, and proves the result."
)
_EPILOG = "Start with: nn512 example ResNet50 > r.graph && nn512 check r.graph. The graph language: nn512 doc."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code; `argv` are the arguments behind the program's name."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _open_what_is_closed()
    return until_ended("nn512", lambda: _written(arguments))


def _written(arguments: Sequence[str]) -> int:
    """The exit code of a run that has written all its output, or of one that nobody reads or that finds no space."""
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, where a closed pipe is still handled, and not while Python shuts down
    except BrokenPipeError:  # `nn512 ... | head`: the reader has seen enough
        _discard_output()
        return 141
    except OSError as error:
        if error.errno not in NO_SPACE:
            return _apologize()
        _discard_output()
        print(f"nn512: cannot write: {error.strerror}", file=sys.stderr)
        return MachineError.exit_code
    return code


def _open_what_is_closed() -> None:
    """Put /dev/null where the program was started without standard input or output: no other file must take its place.

    The lowest free descriptor is the one that is missing.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - for as long as the program runs


def _discard_output() -> None:
    """What is still in the buffer of standard output goes nowhere, without a complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str]) -> int:
    args = make_parser(arguments).parse_args(arguments)
    module: ModuleType = args.module
    try:
        code = module.run(args)
    except Nn512Error as error:
        # A mistake in a graph text says where it is; anything else says who speaks.
        text = str(error)
        print(text if type(error).__name__ == "GraphError" else f"nn512: {text}", file=sys.stderr)
        return error.exit_code
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except OSError as error:
        if error.filename is None:
            raise
        print(f"nn512: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except Exception:  # noqa: BLE001 - the last resort is the same for all of them
        return _apologize()
    return int(code)


def _apologize() -> int:
    traceback.print_exc()
    print(
        "nn512: this is a fault of nn512 itself, not yours. "
        "Please report it with the lines above, the command and its input.",
        file=sys.stderr,
    )
    return 70


def make_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the command line; if `arguments` begin with a subcommand, no other's module is imported."""
    parser = argparse.ArgumentParser("nn512", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND", dest="subcommand", required=True)
    known = arguments[0] if arguments and arguments[0] in SUBCOMMANDS else None
    for name in SUBCOMMANDS if known is None else (known,):
        module = importlib.import_module(f"{__name__}.{name}")
        module.add_parser(subparsers)
        subparsers.choices[name].set_defaults(module=module)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from nn512 import __version__

        print(f"nn512 {__version__}")
        parser.exit()
