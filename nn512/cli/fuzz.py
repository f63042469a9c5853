"""`nn512 fuzz`: a campaign of random graphs, compiled, run and compared with the reference."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nn512.cli.arguments import (
    TIMEOUT,
    Subparsers,
    add_sanitize_option,
    add_target_option,
    add_timeout_option,
    check_jobs,
    sanitize,
)
from nn512.cli.outputs import check_directory, check_file
from nn512.errors import CannotRunError, Nn512Error, UsageError, install
from nn512.signals import EndedError

if TYPE_CHECKING:
    from fuzz.campaign.account import Account
    from fuzz.campaign.campaign import Job
    from fuzz.campaign.crew import Crew
    from fuzz.campaign.state import State
    from fuzz.campaign.worker import Common
    from fuzz.run.runners import Runner
    from fuzz.targets import Target

_DEFAULT_SECONDS = 60.0
_SHRINK_SECONDS = 60.0
_MOST_FINDINGS = 10

_LEAST_GRAPH = """
Config
Input ToTensor=x Channels=1 Height=1 Width=1
Activation FromTensor=x ToTensor=y Kind=ReLU
Output FromTensor=y
"""

_OF_NEW_CAMPAIGNS: dict[str, object] = {
    "examples": None,
    "seed": None,
    "shard": "1/1",
    "out": Path("findings"),
    "kernels": None,
    "shrink-time": None,
    "timeout": None,
    "baseline": None,
    "edges": False,
    "coverage": False,
    "no-corpus": False,
    "target": None,
    "profile": None,
    "sanitize": [],
    "data": [],
    "layers": None,
}
"""Options that a campaign keeps when it is resumed, and what they are where nobody has given them."""


def add_parser(subparsers: Subparsers) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "fuzz",
        help="check the compiler on random graphs",
        description="Draws random graphs, compiles them, runs the C in a sandbox on many kinds of data, and compares "
        "with the reference. What is found is made small and kept in DIR, one folder per fault, which has the same "
        "name in every run; nn512 repro replays it. Ends with 0 where all is well, 1 where something was found or "
        "nothing was verified, 3 where this machine did not judge a case (a full disk, no memory; the case is "
        "printed). How far it got is kept in DIR/campaign.json: whatever ends it, Ctrl-C, a signal or a reboot, "
        "--resume DIR goes on with it. $NN512_RUNNER forces a way to execute AVX-512 code: native, sde, soft, bochs "
        "or aarch64.",
    )
    actions = parser.add_subparsers(title="several campaigns", metavar="merge", dest="action")
    _add_merge_parser(actions)
    parser.add_argument("--time", metavar="S", type=float, help=f"seconds to go on for (default: {_DEFAULT_SECONDS:g})")
    parser.add_argument("--examples", metavar="N", type=int, help="random graphs to check; same seed, same graphs")
    parser.add_argument("--jobs", metavar="J", type=int, help="processes (default: one per processor)")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="let the workers of a Dask cluster check the graphs, such as tcp://host:8786; each needs this version of "
        "nn512, a C compiler, and the packages of the extra `cluster`. What a worker was at that is lost is done by "
        "another one; --jobs bounds how many are used",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=int,
        help="seed of graphs and data (default: another one every time, which is printed; 0 where $CI is set)",
    )
    parser.add_argument(
        "--shard",
        metavar="K/N",
        default="1/1",
        help="check part K of N of the cases, such as 3/8; together the parts are what runs without this, if all have "
        "the same seed and number of examples. nn512 fuzz merge joins their results",
    )
    parser.add_argument(
        "--resume",
        metavar="DIR",
        type=Path,
        help="go on with the campaign in DIR, or that of a state file, where it was; --time gives it S seconds more, "
        "--max-findings room for more findings, --jobs another number of processes than it began with",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("findings"), help="where findings go (default: findings)"
    )
    parser.add_argument(
        "--kernels",
        metavar="NAME,...",
        help="force these kernels in turn, each on 50 graphs and every layer that it can compute; `all` stands for "
        "every kernel that has rivals. Without this, options are drawn as well. With --edges: the kernels that are "
        "checked (default: all)",
    )
    parser.add_argument(
        "--edges",
        action="store_true",
        help="instead of random graphs: for every kernel and each edge class that it declares (tails of channels, "
        "sizes of tiles, sides of padding ...) a net that has it, run on integers, impulses and other data; --jobs and "
        "--shard divide kernels. Ends with 1 as well where a declared class was never verified, and lists these",
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="count which lines of the C are executed, in a second build of every net with gcc and its gcov, and list "
        "those that no net executed",
    )
    parser.add_argument(
        "--data",
        metavar="REGIME",
        action="append",
        default=[],
        help="kind of random data, repeatable (default: all, and few where C runs slowly); of fewer a target that is "
        "slow to load a net sees more nets",
    )
    parser.add_argument(
        "--layers",
        metavar="N",
        type=int,
        help="at most N layers to a graph, such as 1 or 2: several times as many graphs in the same time, each easy to "
        "understand, but none in which layers further apart have to do with each other (default: about 12)",
    )
    add_target_option(parser)
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="with --target: how it computes, and so what errors it may make (`nn512 doc profiles`; default: direct)",
    )
    add_sanitize_option(parser)
    parser.add_argument(
        "--shrink-time",
        metavar="S",
        type=float,
        help=f"seconds for making a failure small, each; they may go beyond --time (default: {_SHRINK_SECONDS:g})",
    )
    add_timeout_option(parser)
    parser.add_argument(
        "--max-findings",
        metavar="N",
        type=int,
        help=f"end when N different faults are found that no --baseline names (default: {_MOST_FINDINGS})",
    )
    parser.add_argument(
        "--baseline",
        metavar="DIR",
        type=Path,
        help="folder of findings that are known: the campaign fails only where it finds another fault",
    )
    parser.add_argument("--no-corpus", action="store_true", help="leave out the known cases that otherwise come first")
    _add_report_options(parser)


def _add_merge_parser(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "merge",
        help="join the results of shards, or of several campaigns",
        description="Adds up what the campaigns counted whose folders these are, and tells every fault once. A shard "
        "that is missing or ended early was not judged. Ends as a campaign does.",
    )
    parser.add_argument("campaigns", metavar="DIR", nargs="+", type=Path, help="folder of a campaign, or a state file")
    parser.add_argument("--out", metavar="DIR", type=Path, help="copy the folders of what was found to DIR")
    _add_report_options(parser)


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything that was counted to FILE, as JSON")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write a JUnit report to FILE, for CI systems")
    parser.add_argument(
        "--html",
        metavar="FILE",
        type=Path,
        help="write a page to FILE that needs nothing beside it: kernels and edge classes, errors, throughput, slowest "
        "builds, findings with their nets drawn (extra `report`); `nn512 fuzz merge DIR` makes it of a campaign of "
        "earlier",
    )


def run(args: argparse.Namespace) -> int:
    """Run a campaign and print its summary."""
    for path in (args.json, args.junit, args.html):
        if path is not None:
            check_file(path)
    if args.html is not None:
        from fuzz.campaign.html import check_extra

        check_extra()
    if args.action == "merge":
        return _merge(args)
    if args.scheduler is None:
        check_jobs(args.jobs)
    for name in ("time", "examples", "layers", "jobs", "max-findings", "shrink-time", "timeout"):
        value = getattr(args, name.replace("-", "_"))
        if value is not None and not 0 < value < 1e9:
            raise UsageError(f"--{name} must be a positive number, not {value:g}")
    state = _begun(args) if args.resume is None else _resumed(args)
    from fuzz.campaign.account import Account, command_of
    from fuzz.campaign.campaign import Campaign

    if args.resume is not None and state.complete:
        command = command_of(state.settings)
        account = Account(
            *(state.tally, state.settings.name, state.seconds, state.tally.code), command=command, times=state.times
        )
        return _tell(account, args)
    recruit = _crew(args, state)
    if args.resume is None:
        _keep_last(state.file)
    campaign = Campaign(state.settings, state=state, recruit=recruit)
    code = 70
    try:
        code = campaign.run()
    except (Nn512Error, EndedError) as error:
        code = error.exit_code
        raise
    finally:
        if campaign.begun:
            _tell(campaign.account(code), args)
    return code


def _merge(args: argparse.Namespace) -> int:
    """Join campaigns and print their summary."""
    from fuzz.campaign.account import found_in, merged

    account = merged(args.campaigns)
    if args.out is not None:
        check_directory(args.out, "--out")
        for folder in found_in(account):
            try:
                shutil.copytree(folder, args.out / folder.name, dirs_exist_ok=True)
            except (OSError, shutil.Error) as error:
                raise UsageError(f"cannot copy {str(folder)!r}: {error}") from error
    return _tell(account, args)


def _tell(account: Account, args: argparse.Namespace) -> int:
    """Print the summary and write what reports are wanted; returns the exit code.

    Where standard output takes no more, the summary goes to standard error: it may have what is nowhere else.
    """
    from fuzz.campaign.reports import as_json, as_junit, as_markdown, marks
    from nn512.toolchain import machine_faults

    try:
        with machine_faults("cannot write a report"):
            if args.json is not None:
                args.json.write_text(as_json(account), encoding="utf-8")
            if args.junit is not None:
                args.junit.write_text(as_junit(account), encoding="utf-8")
            if args.html is not None:
                from fuzz.campaign.html.page import as_html

                args.html.write_text(as_html(account), encoding="utf-8")
            if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
                with Path(summary).open("a", encoding="utf-8") as file:
                    file.write(as_markdown(account))
    finally:
        lines = [*account.lines(), *(marks(account) if os.environ.get("GITHUB_ACTIONS") == "true" else ())]
        text = "\n".join(lines)
        try:
            print(text, flush=True)
        except OSError:
            with contextlib.suppress(OSError):
                print(text, file=sys.stderr)
            raise
    return account.code


def _begun(args: argparse.Namespace) -> State:
    """A new campaign. Raises UsageError."""
    from fuzz.campaign.corpus import corpus
    from fuzz.campaign.edges import EDGE_REGIMES
    from fuzz.campaign.findings import known_faults
    from fuzz.campaign.ledger import Shard
    from fuzz.campaign.named import forced_kernels, kernels_of_edges
    from fuzz.campaign.state import State
    from fuzz.campaign.worker import Settings, regimes_for
    from fuzz.draw.regimes import REGIMES, check_regime

    if args.seed is not None and not 0 <= args.seed < 1 << 32:
        raise UsageError(f"--seed must be in 0 to 2^32-1, not {args.seed}")
    shard = Shard.parse(args.shard)
    drawing = {"--examples": args.examples, "--layers": args.layers, "--target": args.target}
    if args.edges and (name := next((name for name, value in drawing.items() if value is not None), None)):
        raise UsageError(f"{name} does not go with --edges: which nets there are depends on our kernels alone")
    if shard.of > 1 and args.seed is None and not args.edges:
        raise UsageError("--shard needs --seed: every shard takes its part of the same cases")
    check_directory(args.out, "--out")
    target = _target(args)
    sanitize(args.sanitize)
    runner = _runner()
    if args.coverage:
        from fuzz.run.lines import counting, gcov_of

        gcov_of(counting(runner))
    for regime in args.data:
        check_regime(regime, "--data: ")
    # In the order of all regimes, which is that in which names of cases are read.
    wanted = set(args.data or regimes_for(runner)) - target.skips
    regimes = [regime for regime in REGIMES if regime in wanted]
    if args.edges and not args.data:
        regimes = [regime for regime in EDGE_REGIMES if regime in regimes]
    if not regimes:
        raise UsageError(f"--data: {target.name} is not asked about {', '.join(args.data)}")
    settings = Settings(
        directory=args.out,
        seed=(0 if args.edges else _seed()) if args.seed is None else args.seed,
        jobs=_jobs(args.jobs),
        seconds=_DEFAULT_SECONDS if args.time is None and args.examples is None and not args.edges else args.time,
        examples=args.examples,
        regimes=tuple(regimes),
        corpus=() if args.no_corpus or args.edges else corpus(),
        kernels=kernels_of_edges(args.kernels) if args.edges else forced_kernels(args.kernels),
        layers=args.layers,
        shrink_seconds=args.shrink_time or _SHRINK_SECONDS,
        timeout=args.timeout or TIMEOUT,
        target_seconds=args.timeout or 0.0,
        baseline=frozenset() if args.baseline is None else known_faults(args.baseline),
        max_findings=args.max_findings or _MOST_FINDINGS,
        shard=shard,
        target=target.name,
        profile=args.profile or "",
        sanitize=tuple(args.sanitize),
        edges=args.edges,
        coverage=args.coverage,
    )
    state = State.begin(settings)
    state.jobs = args.jobs
    count, size = state.ledger.count, state.settings.chunk
    if args.edges and len(settings.kernels) < shard.of:
        raise UsageError(f"--shard {shard}: a part has a kernel at least, and there are {len(settings.kernels)}")
    if count is not None and count < shard.of:
        there = "is only 1 part" if count == 1 else f"are only {count} parts"
        raise UsageError(
            f"--shard {shard}: there {there}, because {size} cases are drawn at a time; "
            f"--examples {size * shard.of} is enough for {shard.of}"
        )
    return state


def _keep_last(file: Path) -> None:
    """Keep the state of a campaign that ended early, in whose place a new one is about to begin."""
    from fuzz.campaign.state import set_aside

    if (kept := set_aside(file)) is not None:
        print(f"the campaign that ended early in {file.parent} is kept: --resume {kept}", file=sys.stderr)


def _resumed(args: argparse.Namespace) -> State:
    """The campaign that is gone on with. Raises UsageError."""
    from fuzz.campaign.state import State, find_state, versions

    for name, unset in _OF_NEW_CAMPAIGNS.items():
        if getattr(args, name.replace("-", "_")) != unset:
            raise UsageError(f"--{name} cannot be changed by --resume: the campaign has its own")
    state = State.load(find_state(args.resume))
    state.jobs = args.jobs or state.jobs
    settings = replace(state.settings, jobs=_jobs(state.jobs))
    if args.time is not None:
        settings, state.complete = replace(settings, seconds=state.seconds + args.time), False
    settings = replace(settings, max_findings=args.max_findings or settings.max_findings)
    state.settings = settings
    if not state.complete:
        check_directory(settings.directory)
        sanitize(settings.sanitize)
        _runner()
        if state.versions != versions():
            now, then = (", ".join(f"{k} {v}" for k, v in both.items()) for both in (versions(), state.versions))
            print(f"begun with {then}, gone on with by {now}: other graphs may be drawn", file=sys.stderr)
    return state


def _target(args: argparse.Namespace) -> Target:
    """What is checked. Raises UsageError, and CannotRunError for a system that is not here."""
    from fuzz.judge.profiles import profile_of
    from fuzz.targets import OURS
    from fuzz.targets.registry import target_of
    from nn512.graph import parse
    from nn512.options import Options

    if args.target is None:
        if args.profile:
            raise UsageError("--profile goes with --target; our own plan names the algorithms")
        return OURS
    if args.coverage:
        raise UsageError("--coverage does not go with --target; it counts lines of our C")
    if args.kernels is not None:
        raise UsageError("--kernels does not go with --target; kernels are our compiler's")
    if args.profile:
        profile_of(args.profile)
    target = target_of(args.target, args.profile or "", args.timeout or 0.0)
    target.prepare(parse(_LEAST_GRAPH), Options())  # whether it is here shows before anything is drawn
    print(f"target: {target.name}", file=sys.stderr, flush=True)
    return target


def _runner() -> Runner:
    from fuzz.run.runners import runner_for

    runner = runner_for()
    print(runner.line, file=sys.stderr, flush=True)
    return runner


def _crew(args: argparse.Namespace, state: State) -> Callable[[Common, Path], Crew[Job]]:
    """Who does the work; the campaign then has so many jobs.

    Raises UsageError, and CannotRunError where that is a cluster and there is none.
    """
    if args.scheduler is None:
        from fuzz.campaign.campaign import processes

        return processes
    if importlib.util.find_spec("distributed") is None:
        raise CannotRunError(f"--scheduler needs the package distributed; {install('cluster')}")
    from fuzz.campaign.cluster import cluster_at

    workers, recruit = cluster_at(args.scheduler, state.jobs)
    state.settings = replace(state.settings, jobs=state.jobs or workers)
    return recruit


def _jobs(asked: int | None) -> int:
    return asked or len(os.sched_getaffinity(0))


def _seed() -> int:
    """The seed of a campaign for which the user names none."""
    return 0 if os.environ.get("CI", "") not in {"", "0", "false"} else secrets.randbelow(1 << 32)
