"""What a kernel answers, whatever operation it computes.

A kernel is one way to compute a kind of operation. Before anything is placed in memory it is asked whether it applies,
what work it would be and what working memory it needs; the one that is chosen then writes the code of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from nn512.cgen.code import LayerCode, Library
from nn512.graph.graph import Graph, argument_name
from nn512.graph.nodes import Input, Shape
from nn512.ir import ConvOp, Op, PoolOp
from nn512.ir.decision import Decided, Decision, unheard
from nn512.kernels.deciding import Choosing
from nn512.kernels.edges import Edges, classes_of
from nn512.kernels.sharing import Candidates, Sharing
from nn512.plan.cost import Machine, Work
from nn512.plan.laying import Laid
from nn512.plan.layout import Layout, in_pairs
from nn512.plan.planes import given_layout, given_to, planes_readers
from nn512.plan.workspace import NO_WORKSPACE, Workspace

O = TypeVar("O", bound=Op)  # noqa: E741 - an operation


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor as kernels see it: its shape and layout.

    A tensor of the caller is not in the arena: `caller` is the field of the engine that points to it. One in `pairs`
    of bfloat16 has two neighbouring channels in the place of a float (see `storing`).
    """

    name: str
    shape: Shape
    layout: Layout
    caller: str = ""
    pairs: bool = False

    @property
    def bytes(self) -> int:
        """Size of the tensor, lanes without a channel included."""
        return 64 * self.stored.layout.vectors(self.shape.pixels)

    @property
    def stored(self) -> Place:
        """The tensor as memory has it: in pairs one of half as many channels."""
        if not self.pairs:
            return self
        channels = self.shape.channels // 2
        return replace(self, shape=self.shape._replace(channels=channels), layout=in_pairs(self.layout), pairs=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """All that is known of a net when kernels are asked about operations.

    `places` are the tensors, working memory included; `shapes` those of the graph's tensors too that have no place.
    `weights` is the narrowest format in which weights may be stored. `planes` are the convolutions that may read a
    caller's tensor as it is (see `plan.planes.planes_readers`), by the name of the first result, and `given` is what
    that is: in a draft they may read a copy of it. `averaged` are tensors that the graph does not have: averages that
    moved before the convolutions that they read (`passes.pool_first`), and what all of several such convolutions but
    the last make of them.
    """

    graph: Graph
    places: Mapping[str, Place]
    shapes: Mapping[str, Shape]
    machine: Machine
    weights: str
    planes: Mapping[str, frozenset[str]]
    given: Mapping[str, Input]
    averaged: frozenset[str]

    @classmethod
    def of(cls, laid: Laid, weights: str, threads: int = 1) -> Setting:
        """What is known of a net that has been laid out; kernels are chosen for so many threads."""
        graph = laid.program.graph
        places = {
            name: Place(name, laid.shapes[name], layout, pairs=name in laid.paired)
            for name, layout in laid.layouts.items()
        }
        for op in laid.ops:
            if isinstance(op, ConvOp) and op.caller is not None:
                shape, caller = graph.shapes[op.caller.to_tensor], argument_name(op.caller)
                places[op.source] = Place(op.source, shape, given_layout(op.caller), caller)
        machine = Machine.of(graph.config, threads)
        program = laid.program
        planes, given = planes_readers(program), given_to(program)
        return cls(graph, places, program.shapes, machine, weights, planes, given, _averaged(laid))

    @property
    def prefix(self) -> str:
        """What every name of this net begins with."""
        return self.graph.config.prefix


def _averaged(laid: Laid) -> frozenset[str]:
    """Averages that moved before convolutions, and what all of these but the last make of them."""
    found: set[str] = set()
    for op in laid.ops:
        if isinstance(op, PoolOp) and op.ahead_of:
            found.add(op.writes)
        elif isinstance(op, ConvOp) and op.source in found:
            written = (branch.writes for branch in op.branches)
            found.update(name for name in written if name not in laid.program.graph.shapes)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of layers while they are emitted: the setting, and what they share.

    `bodies` are the step functions that have the same body as others, by their names; while these are being found, all
    bodies are written under neutral names, to `candidates` (see `bodies`). `decided` hears what a kernel decides about
    the layer that it emits.
    """

    setting: Setting
    library: Library
    bodies: Mapping[str, Sharing]
    candidates: Candidates | None = None
    decided: Decided = unheard

    @property
    def places(self) -> Mapping[str, Place]:
        """All tensors."""
        return self.setting.places

    @property
    def machine(self) -> Machine:
        """The machine that the code is for."""
        return self.setting.machine

    @property
    def prefix(self) -> str:
        """What every name of this net begins with."""
        return self.setting.prefix

    def shares(self, step: str) -> bool:
        """Whether the body of a step is written under neutral names."""
        return self.candidates is not None or step in self.bodies


def never(op: Op, setting: Setting) -> Decision | None:
    """A kernel that can compute every operation of its kind refuses none."""
    del op, setting
    return None


def nothing(op: Op, setting: Setting) -> Workspace:
    """A kernel that needs no working memory."""
    del op, setting
    return NO_WORKSPACE


def adding(error: float) -> Callable[[Op, Setting], float]:
    """A kernel that adds the same error to every layer."""

    def added(op: Op, setting: Setting) -> float:
        del op, setting
        return error

    return added


SINGLE = adding(0.0)
"""Of kernels in single precision."""


@dataclass(frozen=True, slots=True)
class Kernel(Generic[O]):
    """One way to compute the operations of class `computes`.

    `reads_pairs` and `writes_pairs` say that its source, or its results, may be stored as pairs of bfloat16.
    `planes` says that the source is the caller's, in the caller's order; all others read blocks of 16 channels. Where
    columns are padded that is a copy with zeros beside every row, unless the kernel `pads` rows itself.
    `weights` is the format in which it stores weights. `arithmetic` names what the tester must assume of its rounding
    (an entry of the table of error limits, `fuzz.judge.limits`). `edges` are the cases that its code has. `platform` is
    the only one that it is for, if any. `added_error` is what narrow formats add to the result's error, in rms and
    relative to its rms, by `nn512.plan.accuracy`. `refuses` says why it cannot compute an operation, where that is so.
    `decisions` are all such reasons, and all that it may decide while it emits a layer; kernels of one `family`, which
    differ in numbers alone, decide the same, and that counts as one.
    """

    name: str
    computes: type[O]
    work: Callable[[O, Setting], Work]
    emit: Callable[[O, Context], LayerCode]
    refuses: Callable[[O, Setting], Decision | None] = never
    workspace: Callable[[O, Setting], Workspace] = nothing
    planes: bool = False
    pads: bool = False
    reads_pairs: bool = False
    writes_pairs: bool = False
    weights: str = "fp32"
    arithmetic: str = "direct"
    edges: tuple[Edges, ...] = ()
    decisions: tuple[Decision, ...] = ()
    family: str = ""
    platform: str = ""
    added_error: Callable[[O, Setting], float] = SINGLE

    @property
    def edge_classes(self) -> tuple[str, ...]:
        """All edge classes that it declares."""
        return classes_of(self.edges)

    def takes(self, op: O, setting: Setting) -> bool:
        """Whether it applies to an operation of a net for this platform."""
        return self.refusal(op, setting) is None

    def refusal(self, op: O, setting: Setting) -> Decision | None:
        """Why it does not apply to an operation of a net; None where it does."""
        if self.platform not in {"", setting.graph.config.platform}:
            return Choosing.PLATFORM
        reason = self.refuses(op, setting)
        self.stated(() if reason is None else (reason,))
        return reason

    def stated(self, made: Collection[Decision]) -> tuple[Decision, ...]:
        """Decisions that were made, in the order in which it states them; one that it does not state is an error."""
        for decision in made:
            assert decision in self.decisions, f"{self.name} does not state that it may decide: {decision}"
        return tuple(decision for decision in self.decisions if decision in made)


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel taken, and the price in microseconds of each that applies, cheapest first.

    `verdicts` say of every kernel for such operations, by its name, why it was taken or not; there are none where there
    is only one. `errors` are what those of these add that have narrow formats (see `Kernel`). `alone` is the price of
    the one that was taken on a single thread: whether it is worth sharing.
    """

    kernel: Kernel[Any]
    prices: tuple[tuple[str, float], ...]
    errors: tuple[tuple[str, float], ...]
    verdicts: Mapping[str, Decision]
    forced: bool
    alone: float
