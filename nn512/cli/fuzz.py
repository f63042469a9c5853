"""`nn512 fuzz`: a campaign of random graphs, compiled, run and compared with the reference."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from nn512.cli.arguments import Subparsers
from nn512.cli.outputs import check_directory
from nn512.errors import UsageError

_DEFAULT_SECONDS = 60.0


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "fuzz",
        help="check the compiler on random graphs",
        description="Draws random graphs, compiles them, runs the C in a sandbox on many kinds of data, and compares "
        "with the reference. What is found is made small and kept in DIR, one folder per fault, which has the same "
        "name in every run; nn512 repro replays it. Ends with 0 where all is well, 1 where something was found or "
        "nothing was verified, 3 where this machine cannot go on (a full disk, no memory; the case is printed). Ctrl-C "
        "ends it early, with the summary so far. "
        "$NN512_RUNNER forces a way to execute AVX-512 code: native, sde, soft or bochs.",
    )
    parser.add_argument("--time", metavar="S", type=float, help=f"seconds to go on for (default: {_DEFAULT_SECONDS:g})")
    parser.add_argument("--examples", metavar="N", type=int, help="random graphs to check; same seed, same graphs")
    parser.add_argument("--jobs", metavar="J", type=int, help="processes (default: one per processor)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="seed of graphs and data (default: 0)")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("findings"), help="where findings go (default: findings)"
    )
    parser.add_argument(
        "--kernels",
        metavar="NAME,...",
        default="",
        help="force these kernels in turn, each on 50 graphs and every layer that it can compute; `all` stands for "
        "every kernel that has rivals. Without this, options are drawn as well",
    )
    parser.add_argument(
        "--shrink-time",
        metavar="S",
        type=float,
        default=60.0,
        help="seconds for making a failure small, each; they may go beyond --time (default: 60)",
    )
    parser.add_argument(
        "--baseline",
        metavar="DIR",
        type=Path,
        help="folder of findings that are known: the campaign fails only where it finds another fault",
    )
    parser.add_argument("--no-corpus", action="store_true", help="leave out the known cases that otherwise come first")


def run(args: argparse.Namespace) -> int:
    """Run a campaign and print its summary."""
    for name in ("time", "examples", "jobs", "shrink-time"):
        value = getattr(args, name.replace("-", "_"))
        if value is not None and not 0 < value < 1e9:
            raise UsageError(f"--{name} must be a positive number, not {value:g}")
    if not 0 <= args.seed < 1 << 32:
        raise UsageError(f"--seed must be in 0 to 2^32-1, not {args.seed}")
    check_directory(args.out, "--out")
    from fuzz.campaign.campaign import Campaign
    from fuzz.campaign.corpus import corpus
    from fuzz.campaign.findings import known_faults
    from fuzz.campaign.worker import Settings, regimes_for
    from fuzz.run.runners import runner_for

    runner = runner_for()
    print(runner.line, file=sys.stderr, flush=True)
    campaign = Campaign(
        Settings(
            directory=args.out,
            seed=args.seed,
            jobs=args.jobs or len(os.sched_getaffinity(0)),
            seconds=_DEFAULT_SECONDS if args.time is None and args.examples is None else args.time,
            examples=args.examples,
            regimes=regimes_for(runner),
            corpus=() if args.no_corpus else corpus(),
            kernels=_kernels(args.kernels),
            shrink_seconds=args.shrink_time,
            baseline=frozenset() if args.baseline is None else known_faults(args.baseline),
        )
    )
    try:
        return campaign.run()
    finally:
        if campaign.complete or campaign.tally.cases:
            print(*campaign.summary(), sep="\n")


def _kernels(text: str) -> tuple[str, ...]:
    """The kernels that the user names. Raises UsageError for one that does not exist or has no rival."""
    from nn512.graph.suggest import close_match, did_you_mean
    from nn512.kernels.registry import competing_kernels

    known = competing_kernels()
    if text == "all":
        return known
    wanted = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in wanted:
        if name not in known:
            guess = did_you_mean(close_match(name, known))
            raise UsageError(
                f"--kernels: no kernel {name!r} to choose among others; there are {', '.join(known)}{guess}"
            )
    return wanted
