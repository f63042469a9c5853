"""What a runner is: how to build a net for it, and how to start the program that results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from fuzz.run.ended import Ended
from fuzz.run.runners.sanitizers import Sanitizer
from nn512.toolchain import Compiler

Machine: TypeAlias = Callable[[Compiler, Path, bytes, float], Ended]
"""Runs a driver program somewhere else: the compiler, the program, its job, and the seconds without progress."""


@dataclass(frozen=True, slots=True)
class Runner:
    """One way to execute emitted C on this machine.

    `name` has its sanitizers, too: soft+address. `reason` says why this one. `net_flags` are added when the net is
    compiled, `depends` changes with whatever they refer to. `wrapper` comes before the program's name; `machine` runs
    programs that are no processes here, for which they are linked with `link_flags`. `slowdown` scales time limits.
    `shows` is what a run tells of, "the C" or "the machine code"; `others` what else there is, for people.
    `limits_memory`: whether the address space can be limited (not under sanitizers and emulators, which reserve
    terabytes). `bfloat16`: whether it executes AVX512_BF16. `levels`: at which level code is optimized instead of
    another, where compilers take too long for that. `portable`: whether intrinsics are functions in C, which nets can
    share.
    """

    name: str
    reason: str
    compiler: Compiler
    net_flags: tuple[str, ...]
    depends: tuple[str, ...] = ()
    shows: str = "the machine code"
    wrapper: tuple[str, ...] = ()
    machine: Machine | None = None
    link_flags: tuple[str, ...] = ()
    sanitizers: tuple[Sanitizer, ...] = ()
    slowdown: float = 1.0
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    others: str = ""
    bfloat16: bool = False
    levels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    portable: bool = False

    def level(self, wanted: str) -> str:
        """The level of optimization at which code is built for which one is wanted."""
        return self.levels.get(wanted, wanted)

    @property
    def limits_memory(self) -> bool:
        """Whether RLIMIT_AS makes sense."""
        return not self.wrapper and not self.sanitizers

    @property
    def catches_signals(self) -> bool:
        """Whether the driver reports faults itself. Emulators use the signals for their own purposes."""
        return not self.wrapper

    @property
    def is_quiet(self) -> bool:
        """Whether what a program prints is the program's own."""
        return not self.wrapper and self.machine is None and not self.sanitizers

    @property
    def line(self) -> str:
        """One line for people: which runner, why, what it shows, and what else there is."""
        return f"runner: {self.name} ({self.reason}), shows {self.shows}" + (f"; {self.others}" if self.others else "")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A runner that does not work here, and why not."""

    name: str
    reason: str
