"""What operations answer follows from their fields: none of them can be forgotten by a pass."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from nn512.graph import (
    KINDS,
    Activation,
    Add,
    BatchNorm,
    Binary,
    Config,
    Conv,
    Graph,
    Input,
    Node,
    Output,
    Pooling,
    build,
)
from nn512.ir import (
    OPERATIONS,
    OPS,
    ActivationStep,
    BinaryStep,
    Chain,
    CoveredAs,
    ElementwiseOp,
    LoadOp,
    NormStep,
    Op,
    Program,
    ReluStep,
    StoreOp,
)
from nn512.ir.record import READS, RECORDS, WRITES, Record, chain, covers
from nn512.passes.lower import lower
from nn512.passes.pipeline import PASSES


@dataclass(frozen=True, slots=True)
class Side(Record):
    """A part of the operation below."""

    node: Pooling = field(metadata=covers())
    after: Chain = field(metadata=chain(CoveredAs.IN_REGISTERS))
    writes: str = field(metadata=WRITES)


@dataclass(frozen=True, slots=True)
class EveryField(Op):
    """An operation with every sort of field."""

    source: str = field(metadata=READS)
    others: tuple[str, ...] = field(metadata=READS)
    node: Pooling = field(metadata=covers())
    maybe: Activation | None = field(metadata=covers(CoveredAs.FOLDED_BEFORE))
    several: tuple[Activation, ...] = field(metadata=covers(CoveredAs.FOLDED_AFTER))
    steps_before: Chain = field(metadata=chain(CoveredAs.ON_READING))
    sides: tuple[Side, ...] = field(metadata=RECORDS)
    window: int = 3
    writes: str = field(metadata=WRITES, default="result")

    def definitions(self) -> Iterator[tuple[str, str]]:
        yield self.writes, "everything"


def pooling(source: str, to: str, kind: str = "MaxGlobal") -> Pooling:
    return Pooling(source, to, kind)


def relu(source: str, to: str, slope: float = 0.0) -> Activation:
    return Activation(source, to, "ReLU", slope)


def sample() -> EveryField:
    first = Side(pooling("a", "p"), (BinaryStep(Add("p", "d", "q"), "d"),), "q")
    second = Side(pooling("a", "r"), (ReluStep(relu("r", "s")),), "s")
    before = (ReluStep(relu("a", "e", 0.5)), BinaryStep(Add("e", "c", "f"), "c"))
    return EveryField(
        "a", ("b", "c"), pooling("f", "n"), relu("n", "m"), (relu("m", "k", 2.0),), before, (first, second)
    )


def test_reads_and_writes_are_those_of_all_fields() -> None:
    assert sample().tensors_read == ("a", "b", "c", "c", "d")
    assert sample().tensors_written == ("q", "s", "result")
    assert sample().name == "q"


def test_nodes_come_in_the_order_of_fields_with_their_parts() -> None:
    covered = [(node.to_tensor, part) for node, part in sample().covered() if not isinstance(node, Output)]
    assert covered == [
        ("n", CoveredAs.ITSELF),
        ("m", CoveredAs.FOLDED_BEFORE),
        ("k", CoveredAs.FOLDED_AFTER),
        ("e", CoveredAs.ON_READING),
        ("f", CoveredAs.ON_READING),
        ("p", CoveredAs.ITSELF),
        ("q", CoveredAs.IN_REGISTERS),
        ("r", CoveredAs.MERGED),
        ("s", CoveredAs.IN_REGISTERS),
    ]


def test_renaming_reaches_every_tensor_that_is_read_and_no_other() -> None:
    names = {name: f"{name}2" for name in ("a", "b", "c", "d", "q", "result")}
    renamed = sample().reading(names)
    assert renamed.tensors_read == ("a2", "b2", "c2", "c2", "d2")
    assert renamed.tensors_written == sample().tensors_written
    assert renamed.nodes == sample().nodes


def test_every_chain_can_be_changed() -> None:
    seen: list[tuple[Chain, tuple[str, ...]]] = []

    def drop(steps: Chain, results: tuple[str, ...]) -> Chain:
        seen.append((steps, results))
        return ()

    assert sample().with_chains(drop).steps == ()
    assert [results for _, results in seen] == [("result",), ("q",), ("s",)]
    assert tuple(step for steps, _ in seen for step in steps) == sample().steps


CHANGES: list[dict[str, Any]] = [
    {"source": "z"},
    {"others": ("b",)},
    {"node": pooling("f", "n", "AvgGlobal")},
    {"maybe": None},
    {"maybe": Activation("n", "m", "Sigmoid")},
    {"several": ()},
    {"several": (relu("m", "k", 3.0),)},
    {"steps_before": sample().steps_before[:1]},
    {"steps_before": (ActivationStep(Activation("a", "e", "HardSwish")), sample().steps_before[1])},
    {"sides": sample().sides[:1]},
    {"window": 2},
]


@pytest.mark.parametrize("change", CHANGES, ids=[next(iter(change)) for change in CHANGES])
def test_operations_that_differ_in_any_field_are_not_equal(change: dict[str, Any]) -> None:
    changed = dataclasses.replace(sample(), **change)
    assert changed.key != sample().key


def test_names_of_results_and_of_tensors_on_the_way_make_no_difference() -> None:
    side = dataclasses.replace(sample().sides[1], node=pooling("x", "y"), writes="z")
    other = dataclasses.replace(sample(), writes="other", node=pooling("g", "h"), sides=(sample().sides[0], side))
    assert other.key == sample().key is not None


def test_what_has_parameters_or_is_the_callers_is_equal_to_nothing() -> None:
    norm = NormStep(BatchNorm("a", "b"))
    assert dataclasses.replace(sample(), steps_before=(norm,)).key is None
    assert LoadOp(Input("x", 1, 1, 1), "x").key is None
    assert StoreOp(Output("x"), "x").key is None


def program_of(graph: Graph, *middle: Op) -> Program:
    before = lower(graph)
    shapes = {**before.shapes, **dict.fromkeys(("q", "s", "result", "b", "c", "d"), before.shapes["a"])}
    return Program(graph, (*before.ops[:-1], *middle, before.ops[-1]), shapes)


def test_classes_of_one_name_are_two() -> None:
    """As kernels of other files may have them: the fields of one are not those of the other."""

    def wordless(name: str) -> type[Record]:
        namespace = {"__annotations__": {name: str}, name: field(metadata=READS)}
        return dataclass(frozen=True, slots=True)(type("Same", (Record,), namespace))

    first, second = (wordless(name)(f"{name}Tensor") for name in ("left", "right"))  # type: ignore[call-arg]
    assert (first.tensors_read, second.tensors_read) == (("leftTensor",), ("rightTensor",))


def test_no_pass_loses_anything_of_an_operation_it_does_not_know() -> None:
    nodes: list[Node] = [Config(), Input("x", 4, 2, 2), relu("x", "a"), Add("x", "a", "b"), Add("a", "a", "c")]
    nodes += [Add("b", "c", "d"), Add("d", "a", "y"), Output("y")]
    program = program_of(build(nodes), sample())
    for one in PASSES.values():
        program = one(program)
    (kept,) = (op for op in program.ops if isinstance(op, EveryField))
    expected = sample()
    assert dataclasses.replace(kept, steps_before=expected.steps_before, sides=expected.sides) == expected
    assert kept.tensors_read == expected.tensors_read
    assert kept.steps == expected.steps


def test_activations_of_other_functions_are_never_taken_for_relus() -> None:
    """Equal parameters, other functions: neither equal nor identities, and they do not collapse."""
    graph = build([Config(), Input("x", 4, 2, 2), relu("x", "a", 1.0), conv("a", "y"), Output("y")])
    clip = ActivationStep(Activation("x", "Clip", "Clip", min=0.0, max=1.0))
    sigmoid = ActivationStep(Activation("x", "Sigmoid", "Sigmoid"))
    program = lower(graph)
    first, second = ElementwiseOp("x", (clip,), "c"), ElementwiseOp("x", (sigmoid, ReluStep(relu("s", "t", 0.5))), "t")
    shapes = {**program.shapes, "c": program.shapes["x"], "t": program.shapes["x"]}
    program = dataclasses.replace(program, ops=(program.ops[0], first, second, *program.ops[1:]), shapes=shapes)
    for name in ("dedup", "collapse_relus"):
        program = PASSES[name](program)
        assert first in program.ops
        assert second in program.ops


def conv(source: str, to: str) -> Conv:
    return Conv(source, to, 4, 1, 1)


def test_every_kind_of_node_has_an_operation() -> None:
    assert {*OPERATIONS, *typing.get_args(Binary)} == set(KINDS) - {Config, Input, Output}


def test_every_operation_is_listed() -> None:
    found = {kind for kind in Op.__subclasses__() if kind.__module__.startswith("nn512.ir")}
    assert {kind.__qualname__ for kind in found} == {kind.__qualname__ for kind in OPS}
