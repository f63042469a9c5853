"""A kind is one file that is listed once, and nothing else loses what its fields say."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn512.graph import (
    KINDS,
    Distribution,
    Graph,
    GraphError,
    Moments,
    Output,
    Shape,
    Softmax,
    ValueType,
    format_graph,
    format_node,
)
from nn512.graph.check import check
from nn512.graph.diagnostics import Diagnostics
from nn512.graph.fields import (
    REQUIRED,
    FieldInfo,
    cache_size,
    declare,
    field_table,
    geometry,
    read_tensor,
    written_tensor,
)
from nn512.graph.kinds import AnyLayer, AnyNode, __path__
from nn512.graph.manual import kind_manual
from nn512.graph.node import Layer, Mistake, Node, ParameterKind
from nn512.graph.parser import read_statements
from nn512.graph.source import Source
from nn512.graph.statement import Statement
from nn512.graph.vocabulary import Vocabulary
from nn512.params import random_params

# --- the kinds that there are ---------------------------------------------------------------------------------------


def test_every_file_is_a_kind_and_listed() -> None:
    kinds = []
    for found in pkgutil.iter_modules(__path__, "nn512.graph.kinds."):
        module = importlib.import_module(found.name)
        own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == found.name]
        (kind,) = (v for v in own if issubclass(v, Node))
        assert kind.__name__.lower() == found.name.rpartition(".")[2].replace("_", "")
        kinds.append(kind)
    assert sorted(kinds, key=str) == sorted(KINDS, key=str)
    assert len(kinds) > 10
    assert set(typing.get_args(AnyNode)) == set(kinds)
    assert set(typing.get_args(AnyLayer)) == {kind for kind in kinds if issubclass(kind, Layer)}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_complete(kind: type[Node]) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__doc__
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)
    declared = {info.attribute for info in field_table(kind).infos}
    assert {f.name for f in dataclasses.fields(kind)} == {*declared, "spans"}
    if issubclass(kind, Layer):
        assert kind.shape is not Node.shape
        assert kind.moments is not Layer.moments
        assert (kind.parameter_shapes is Layer.parameter_shapes) is not bool(kind.PARAMETERS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.__name__ not in {"Config", "Input", "Output"}])
def test_other_files_of_the_language_know_no_kind(kind: type[Node]) -> None:
    """They work from the table of fields. Config, Input and Output are what a graph is, not just kinds of nodes."""
    folder = Path(next(iter(__path__))).parent
    allowed = {"__init__.py", "nodes.py", "manual.py"}  # names of old, and the manual's example
    files = [path for path in folder.glob("*.py") if path.name not in allowed]
    assert len(files) > 15
    for path in files:
        assert f"import {kind.__name__}" not in path.read_text()
        assert f" {kind.__name__}," not in path.read_text()
        assert f" {kind.__name__}(" not in path.read_text()


# --- a kind that there is not ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Everything(Layer):
    """A node with every sort of field."""

    PARAMETERS: ClassVar[tuple[ParameterKind, ...]] = (
        ParameterKind("Tables", Distribution.SCALES),
        ParameterKind("Curves", Distribution.WEIGHTS, ("Steep", "Odd")),
    )

    from_tensor1: str = read_tensor("FromTensor1")
    to_tensor: str = written_tensor()
    label: str = declare("Label", ValueType.NAME, "A name that is no tensor's.")
    count: int = declare("Count", ValueType.POSITIVE, "A positive integer.")
    kind: str = declare("Kind", ValueType.CHOICE, "A choice.", choices={"Flat": "1.", "Steep": "2.", "Odd": "3."})
    flavour: str = declare("Flavour", ValueType.CHOICE, "Another choice.", "Sweet", choices=("Sweet", "Sour"))
    offset: int = geometry("Offset", ValueType.NATURAL, "A natural number.", 0)
    ratio: float = declare("Ratio", ValueType.NUMBER, "A number.", 1.0, least=-2.0)
    budget: int = cache_size("Budget", "A size.", 1 << 10)
    slope: float = declare("Slope", ValueType.NUMBER, "Of some.", goes_with={"Flat": 0.25, "Steep": 4.0})
    rows: int = declare("Rows", ValueType.POSITIVE, "Of one, and needed there.", goes_with={"Steep": REQUIRED})
    above: int = geometry("Above", ValueType.NATURAL, "As Offset, unless given.", like="offset")
    groups: int = declare("Groups", ValueType.POSITIVE, "Printed where it is not one.", 1, terse=True)
    from_tensor2: str | None = read_tensor("FromTensor2", optional=True)

    def mistakes(self, shapes: Mapping[str, Shape]) -> Iterator[Mistake]:
        if shapes[self.from_tensor1].channels % self.groups:
            yield Mistake("Groups", f"{self.groups} groups")
        if self.above > 100:
            yield Mistake("Above", "so high")
        if self.offset > 100:
            yield Mistake("Offset", "so high")

    def shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return Shape(self.count, *shapes[self.from_tensor1][1:])

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> tuple[tuple[int, ...], ...]:
        tables = (shapes[self.from_tensor1].channels, self.count)
        return (tables,) if self.kind == "Flat" else (tables, (self.rows,))

    def moments(self, read: Sequence[Moments], shapes: Mapping[str, Shape]) -> Moments:  # noqa: ARG002
        return read[0]


WORDS = Vocabulary((*KINDS, Everything))
PLAIN = Everything("a", "b", "Name", 3, "Flat")
NAMES = st.sampled_from(["a", "b", "c", "Name", "x1"])


def everything(info: FieldInfo) -> st.SearchStrategy[Any]:
    match info.type:
        case ValueType.NAME:
            return NAMES if info.required else NAMES | st.none()
        case ValueType.POSITIVE | ValueType.SIZE:
            return st.integers(1, info.limit)
        case ValueType.NATURAL:
            return st.integers(0, info.limit)
        case ValueType.NUMBER:
            return st.floats(info.least, width=32, allow_nan=False, allow_infinity=False)
        case ValueType.CHOICE:
            return st.sampled_from(info.choices)


@st.composite
def nodes(draw: st.DrawFn) -> Everything:
    infos = field_table(Everything).infos
    kind = draw(st.sampled_from(["Flat", "Steep", "Odd"]))
    drawn = {info.attribute: draw(everything(info)) for info in infos if info.applies(kind)}
    return Everything(**{**drawn, "kind": kind})


def read(text: str) -> tuple[Diagnostics, tuple[Statement, ...]]:
    diagnostics = Diagnostics(Source(text, "drawn"))
    return diagnostics, read_statements(diagnostics, WORDS)


@given(nodes())
def test_text_keeps_every_field(node: Everything) -> None:
    diagnostics, (statement,) = read(format_node(node))
    assert not diagnostics.diagnostics
    assert statement.node == node
    assert statement.node.key == node.key
    assert [reference.name for reference in statement.reads] == list(node.reads)
    assert statement.writes is not None
    assert statement.writes.name == node.writes == node.to_tensor


@given(nodes(), st.data())
def test_any_change_is_seen(node: Everything, data: st.DataObject) -> None:
    infos = [info for info in field_table(Everything).infos if info.applies(node.kind) and info.name != "Kind"]
    info = data.draw(st.sampled_from(infos))
    value = data.draw(everything(info).filter(lambda v: v != getattr(node, info.attribute)))
    changed = dataclasses.replace(node, **{info.attribute: value})
    assert changed != node
    assert (changed.key != node.key) is (info.tensor is None)
    assert hash(changed.key) is not None
    assert format_node(changed) != format_node(node)
    assert (changed.reads, changed.writes) != (node.reads, node.writes) or info.tensor is None


def test_kinds_do_not_share_keys() -> None:
    assert PLAIN.key != dataclasses.replace(PLAIN, kind="Odd", slope=0.0).key
    assert PLAIN.key == dataclasses.replace(PLAIN, from_tensor1="z", to_tensor="y", from_tensor2="x").key
    assert Softmax("a", "b").key != Output("a").key


def test_other_tensors() -> None:
    node = dataclasses.replace(PLAIN, from_tensor2="c")
    assert node.reads == ("a", "c")
    assert node.renamed({"a": "b", "b": "a", "Name": "other"}) == dataclasses.replace(
        node, from_tensor1="b", to_tensor="a"
    )
    assert node.renamed({"z": "y"}) is node
    assert node.with_tensors(("x", "y")) == dataclasses.replace(node, from_tensor1="x", from_tensor2="y")
    assert node.with_tensors(("x", "y"), "z").writes == "z"
    assert PLAIN.reads == ("a",)
    assert PLAIN.with_tensors(["x"]).reads == ("x",)
    with pytest.raises(ValueError, match="zip"):
        PLAIN.with_tensors(("x", "y"))


HEAD = "Config Input ToTensor=a Channels=4 Height=2 Width=3\n"
LINE = "Everything FromTensor1=a ToTensor=b Label=l Count=3 "
TAIL = "\nOutput FromTensor=b"


def graph_of(text: str) -> Graph:
    diagnostics, statements = read(HEAD + text + TAIL)
    graph = check(statements, diagnostics)
    if graph is None:
        raise GraphError(diagnostics.diagnostics)
    return graph


def test_checked_like_any_other() -> None:
    graph = graph_of(LINE + "Kind=Odd FromTensor2=a Groups=2")
    assert graph.shapes["b"] == (3, 2, 3)
    assert [(p.name, p.shape, p.distribution) for p in graph.parameters] == [
        ("bCurves", (0,), Distribution.WEIGHTS),
        ("bTables", (4, 3), Distribution.SCALES),
    ]
    (layer,) = graph.layers
    assert layer.reads == ("a", "a")
    assert format_graph(graph).splitlines()[2] == (
        "Everything FromTensor1=a ToTensor=b Label=l Count=3 Kind=Odd Flavour=Sweet Offset=0 Ratio=1 Budget=1KiB "
        "Groups=2 FromTensor2=a"
    )


def test_random_parameters() -> None:
    drawn = random_params(graph_of(LINE + "Kind=Steep Rows=500"), 0)
    assert {name: values.shape for name, values in drawn.items()} == {"bTables": (4, 3), "bCurves": (500,)}
    assert 0.5 <= drawn["bTables"].min() <= drawn["bTables"].max() <= 1.5
    assert abs(drawn["bCurves"].mean()) < 0.5


def test_parameters_may_go_with_some_choices() -> None:
    other = "\nSoftmax FromTensor=a ToTensor=bCurves\nOutput FromTensor=bCurves"
    assert [p.name for p in graph_of(LINE + "Kind=Flat" + other).parameters] == ["bTables"]
    with pytest.raises(GraphError, match=r"'bCurves' and 'b' \(line 2\) both need the C name bCurves"):
        graph_of(LINE + "Kind=Steep Rows=1" + other)


@pytest.mark.parametrize(
    ("fields", "marked", "message"),
    [
        ("Kind=Odd Groups=3", "3", "3 groups"),
        ("Kind=Odd Above=101 Offset=1", "101", "so high"),
        ("Kind=Odd Offset=101", "101", "so high"),  # said once, as Above is like it
        ("Kind=Odd Ratio=-2.5", "-2.5", "Ratio must be at least -2"),
        ("Kind=Odd FromTensor2=c", "c", "tensor 'c' is read but no node produces it"),
        ("Kind=Odd Slope=1", "Slope", "Slope goes with Kind=Flat or Kind=Steep, not with Kind=Odd"),
        ("Slope=1 Kind=Odd", "Slope", "Slope goes with Kind=Flat or Kind=Steep, not with Kind=Odd"),
        ("Kind=Flat Rows=2", "Rows", "Rows goes with Kind=Steep, not with Kind=Flat"),
        ("Kind=Steep", "Everything", "Everything Kind=Steep lacks the field Rows"),
        ("Kind=Steep Rwos=1", "Rwos", "Everything has no field 'Rwos'; did you mean Rows?"),
        ("Rows=1", "Everything", "Everything lacks the field Kind"),
        ("Kind=Round Rows=1", "Round", "Kind must be one of Flat, Steep, Odd, not 'Round'"),
        ("Kind=Steep Rows=0", "0", "Rows must be a decimal integer of at least 1, not '0'"),
        (
            "Kind=Steep Rows=1\nSlope=2 Slope=3",
            "Slope=3",
            "Slope is given twice; the first is on line 3",
        ),
        ("Kind=Steep\nFilterH=2 Rows=1", "FilterH", "Everything has no field 'FilterH'"),
    ],
)
def test_mistakes(fields: str, marked: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        graph_of(LINE + fields)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == message
    assert diagnostic.source.text[diagnostic.span.start : diagnostic.span.end] == marked


def test_missing_fields_of_all_sorts() -> None:
    with pytest.raises(GraphError, match="Everything Kind=Steep lacks the fields Label, Count, Rows"):
        graph_of("Everything FromTensor1=a ToTensor=b Kind=Steep")


# --- fields that depend on others -----------------------------------------------------------------------------------


def test_values_of_fields_left_out() -> None:
    assert (PLAIN.slope, PLAIN.rows, PLAIN.above) == (0.25, 0, 0)
    steep = Everything("a", "b", "Name", 3, "Steep", offset=7, rows=2)
    assert (steep.slope, steep.rows, steep.above) == (4.0, 2, 7)
    odd = Everything("a", "b", "Name", 3, "Odd", above=5)
    assert (odd.slope, odd.rows, odd.above) == (0.0, 0, 5)


def test_nodes_made_in_python_follow_the_same_rules() -> None:
    with pytest.raises(TypeError, match="Everything Kind=Steep needs Rows"):
        Everything("a", "b", "Name", 3, "Steep")
    with pytest.raises(ValueError, match="Slope goes with Kind=Flat or Kind=Steep, not with Kind=Odd"):
        Everything("a", "b", "Name", 3, "Odd", slope=0.25)
    with pytest.raises(ValueError, match="Slope goes with"):
        dataclasses.replace(PLAIN, kind="Odd")


def test_only_what_applies_is_printed() -> None:
    line = (
        "Everything FromTensor1=a ToTensor=b Label=Name Count=3 Kind={} Flavour=Sweet Offset={} Ratio=1 Budget=1KiB{}"
    )
    assert format_node(PLAIN) == line.format("Flat", 0, " Slope=0.25")
    assert format_node(dataclasses.replace(PLAIN, offset=1, above=1)) == line.format("Flat", 1, " Slope=0.25")
    assert format_node(dataclasses.replace(PLAIN, offset=1)) == line.format("Flat", 1, " Slope=0.25 Above=0")
    steep = Everything("a", "b", "Name", 3, "Steep", rows=2, groups=3)
    assert format_node(steep) == line.format("Steep", 0, " Slope=4 Rows=2 Groups=3")


def test_manual_of_fields_that_depend_on_others() -> None:
    text = kind_manual(Everything)
    assert text.startswith(
        "Everything FromTensor1=NAME ToTensor=NAME Label=NAME Count=INTEGER Kind=Flat|Steep|Odd\n"
        "    [Flavour=Sweet|Sour] [Offset=INTEGER] [Ratio=NUMBER] [Budget=SIZE] [Above=INTEGER]\n"
        "    [Groups=INTEGER] [FromTensor2=NAME]\n\n    A node with every sort of field.\n"
    )
    assert "\n      Kind=Flat [Slope=NUMBER]            1.\n" in text
    assert "\n      Kind=Steep Rows=INTEGER [Slope=NUMBER]\n" + " " * 42 + "2.\n" in text
    assert "\n      Kind=Odd                            3.\n" in text
    assert "Of some. Default with Kind=Flat: 0.25. Default with Kind=Steep: 4.\n" in text
    assert "Of one, and needed there. From 1 to 2,147,483,647.\n" in text
    assert "As Offset, unless given. From 0 to 65,536. Default: Offset.\n" in text
