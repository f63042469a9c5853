"""Kernels as users name them: those that a campaign forces, or whose edge classes it checks."""

from __future__ import annotations

from nn512.errors import UsageError
from nn512.graph.suggest import close_match, did_you_mean
from nn512.kernels.registry import competing_kernels, kernel_names


def forced_kernels(text: str | None) -> tuple[str, ...]:
    """Those to force in turn, none by default; `all` are all that have rivals. Raises UsageError for others."""
    if text is None:
        return ()
    known = competing_kernels()
    return known if text == "all" else _named(text, known, "to choose among others")


def kernels_of_edges(text: str | None) -> tuple[str, ...]:
    """Those whose edge classes are checked, by default all. Raises UsageError for what is no kernel."""
    return kernel_names() if text in {None, "all"} else _named(text or "", kernel_names(), "of that name")


def _named(text: str, known: tuple[str, ...], role: str) -> tuple[str, ...]:
    wanted = tuple(name.strip() for name in text.split(",") if name.strip())
    if not wanted:
        raise UsageError(f"--kernels: no kernel is named; there are {', '.join(known)}")
    for name in wanted:
        if name not in known:
            guess = did_you_mean(close_match(name, known))
            raise UsageError(f"--kernels: no kernel {name!r} {role}; there are {', '.join(known)}{guess}")
    return wanted
