"""What is demanded of C beside right numbers, by name: the contract of `nn512 verify --source`, and how to waive parts.

What cannot be waived is what a run needs: the functions and structs of the API, and memory that is not the net's left
alone. Demands that only our own C meets (`ours`) are not made of C of others.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from fuzz.run.checks import Checks
from fuzz.run.outcome import Kind
from nn512.errors import UsageError

_WIDTH = 96


@dataclass(frozen=True, slots=True)
class Demand:
    """One demand: `says` what, `kinds` are the violations of it, `checks` the fields of Checks that look for them."""

    says: str
    kinds: frozenset[Kind] = frozenset()
    checks: tuple[str, ...] = ()
    ours: bool = False


DEMANDS: Mapping[str, Demand] = MappingProxyType(
    {
        "calls": Demand(
            "EnginePthreadT gives as many different threads as the engine has, and an error for any other number.",
            frozenset({Kind.API}),
            ("api",),
        ),
        "endurance": Demand(
            "Hundreds of inferences in a row are as right as the first, on up to 16 threads, and hold no more memory; "
            "waits for condition variables may end without a reason, as POSIX says. Of nets up to 3 million "
            "multiply-accumulates.",
            checks=("endurance",),
        ),
        "failures": Demand(
            "When memory or a thread is refused, at any call of malloc or pthread_create in turn, NetCreate and "
            "EngineCreate return a message that the caller frees, set no result and keep nothing.",
            frozenset({Kind.FAILURE, Kind.CREATE_FAILED}),
            ("failures",),
        ),
        "history": Demand(
            "An inference does not depend on those before it, of other inputs on the same engine.",
            frozenset({Kind.VARIES_WITH_HISTORY}),
            ("turns",),
        ),
        "leaks": Demand(
            "The Destroy functions give back all memory, mutexes and condition variables.", frozenset({Kind.LEAK})
        ),
        "mxcsr": Demand(
            "The rounding mode and the treatment of subnormal numbers are after each call as before, and the same "
            "in the net's threads.",
            frozenset({Kind.MXCSR}),
        ),
        "process": Demand(
            "Signals, their handlers, file descriptors, the working directory, the environment and the locale stay as "
            "they are, and nothing is printed.",
            frozenset({Kind.PROCESS}),
            ("process",),
        ),
        "repeatable": Demand(
            "The same inputs give the same bits, on the same engine and on another one.",
            frozenset({Kind.NOT_REPEATABLE, Kind.VARIES}),
        ),
        "sharing": Demand(
            "Engines of one net may work at the same time, and be created and destroyed in any order.",
            frozenset({Kind.VARIES_WITH_SHARING}),
            ("sharing",),
        ),
        "thread-counts": Demand(
            "The bits do not depend on the number of threads.", frozenset({Kind.VARIES_WITH_THREADS})
        ),
        "threads": Demand(
            "The Destroy functions end and join the threads that the Create functions have started.",
            frozenset({Kind.THREADS}),
        ),
        "uninitialized": Demand(
            "No output depends on what memory held before, whether that is NaN or a number.",
            frozenset({Kind.UNINITIALIZED}),
        ),
        "promises": Demand(
            "Destroy functions do nothing for NULL; EnginePthreadT(0) is the thread that created the engine; "
            "impossible numbers of threads are refused; an engine only reads its net; there are no static "
            "variables; a child of fork() may go on alone.",
            frozenset({Kind.NET_MODIFIED, Kind.STATIC_DATA, Kind.FORK, Kind.ARENA}),
            ("promises",),
            ours=True,
        ),
    }
)
"""All demands by name."""


def waive(checks: Checks, names: Collection[str]) -> Checks:
    """The checks without the demands of these names. Raises UsageError for a name that none has."""
    for name in names:
        if name not in DEMANDS:
            raise UsageError(f"no demand is called {name!r}; there are {', '.join(DEMANDS)} (`nn512 doc contract`)")
    waived = frozenset(kind for name in names for kind in DEMANDS[name].kinds)
    off = {field: False for name in names for field in DEMANDS[name].checks}
    return replace(checks, waived=checks.waived | waived, **off)  # type: ignore[arg-type] # fields named here are flags


def contract() -> str:
    """What is demanded of C that is verified, for `nn512 doc contract`."""
    start = (
        "C of any origin is judged by `nn512 verify GRAPH --source DIR`, and what a program generates by --target "
        "command:'...'. DIR holds <Prefix>.h and <Prefix>.c with the API of NN-512:"
    )
    calls = """
    struct <Prefix>Params, of float arrays named after the parameters; incomplete <Prefix>Net and <Prefix>Engine
    char *<Prefix>NetCreate(<Prefix>Net **, <Prefix>Params *, ptrdiff_t threads)
    char *<Prefix>EngineCreate(<Prefix>Engine **, <Prefix>Net *, ptrdiff_t threads)
    char *<Prefix>EnginePthreadT(<Prefix>Engine *, ptrdiff_t number, pthread_t *)
    void <Prefix>EngineInference(<Prefix>Engine *, float *..., in the order of the tensors' names)
    void <Prefix>EngineDestroy(<Prefix>Engine *), void <Prefix>NetDestroy(<Prefix>Net *)
"""
    rest = (
        "Functions that return a string return NULL or a message that the caller frees. Arrays may be aligned to 4 "
        "bytes only, parameters are out of reach once NetCreate has returned, and nothing outside of what a call was "
        "given is read or written: that is always demanded, as are right outputs, within what --profile allows. The "
        "following is demanded, too, unless --without NAME waives it; it may be repeated."
    )
    return "\n".join([textwrap.fill(start, _WIDTH), calls, textwrap.fill(rest, _WIDTH), *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    for name, demand in DEMANDS.items():
        says = demand.says + (" Demanded of nn512's own C only." if demand.ours else "")
        yield f"\n    {name}\n" + textwrap.fill(says, _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
