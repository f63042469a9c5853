"""Texts written to hurt. Each gets an error (or a graph) at once: what hangs or recurses fails the run."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from nn512.errors import UsageError
from nn512.graph import GraphError, load, parse, parser

_LARGE = 4 << 20  # characters
HEAD = "Config Input ToTensor=t0 Channels=1 Height=1 Width=1\n"


@pytest.mark.parametrize(
    "piece",
    [
        " ",
        "\n",
        "#",
        "#\n",
        "a",
        "a ",
        "a\n",
        "A ",
        "=",
        "a= ",
        "\0",
        "\x1b[A",
        "é",
        "é= ",
        "Conv\n",
        "Input ",
        "\udcff",
    ],
)
@pytest.mark.parametrize("head", ["", "Config ", "Config Prefix=", HEAD + "Conv "])
def test_megabytes_of_nothing(head: str, piece: str) -> None:
    with pytest.raises(GraphError) as caught:
        parse(head + piece * (_LARGE // len(piece)))
    assert len(str(caught.value)) < 50_000


@pytest.mark.parametrize("piece", ["Prefix=a ", "Prefix = a ", "Prefix ", "=a ", "Prefx=a "])
def test_megabytes_of_fields(piece: str) -> None:
    with pytest.raises(GraphError):
        parse("Config " + piece * (_LARGE // len(piece)))


@pytest.mark.parametrize("field", ["ToChannels", "PaddingH", "FromTensor", "Colour"])
def test_a_million_digits(field: str) -> None:
    rest = " ".join(f"{name}=1" for name in ("ToChannels", "FilterH", "FilterW") if name != field)
    with pytest.raises(GraphError) as caught:
        parse(HEAD + f"Conv ToTensor=y {rest} {field}={'9' * 1_000_000}\nOutput FromTensor=y")
    assert len(str(caught.value)) < 2000


def _chain(length: int) -> list[str]:
    return [f"Activation FromTensor=t{i} ToTensor=t{i + 1} Kind=ReLU\n" for i in range(length)]


@pytest.mark.parametrize("step", [1, -1])
def test_long_chain(step: int) -> None:
    graph = parse(HEAD + "".join(_chain(20_000)[::step]) + "Output FromTensor=t20000")
    assert [layer.to_tensor for layer in graph.layers] == [f"t{i + 1}" for i in range(20_000)]


def test_long_dead_chain() -> None:
    with pytest.raises(GraphError, match=r"no node reads 't20000'.* and 19992 more lead only here"):
        parse(HEAD + "".join(_chain(20_000)) + "Softmax FromTensor=t0 ToTensor=y Output FromTensor=y")


def test_long_ring() -> None:
    nodes = "".join(f"Add FromTensor1=t0 FromTensor2=r{(i + 1) % 20_000} ToTensor=r{i}\n" for i in range(20_000))
    with pytest.raises(GraphError, match=r"a cycle: r1 -> r0 -> r19999 .*\(19990 more\) -> r1"):
        parse(HEAD + nodes + "Output FromTensor=r0")


def test_many_tangled_cycles() -> None:
    nodes = "".join(
        f"Add FromTensor1=r{i * 7919 % 5000} FromTensor2=r{i * 104_729 % 5000} ToTensor=r{i}\n" for i in range(5000)
    )
    with pytest.raises(GraphError, match="a cycle"):
        parse(HEAD + nodes + "Output FromTensor=r1")


CONV = "Conv FromTensor={} ToTensor={} ToChannels=1 FilterH=1 FilterW=1 StrideH=1 Groups=1\n"

FAMILIES: dict[str, Callable[[int], str]] = {
    "chain": lambda n: "".join(CONV.format(f"t{i}", f"t{i + 1}") for i in range(n)) + f"Output FromTensor=t{n}",
    "ring": lambda n: "".join(CONV.format(f"r{(i + 1) % n}", f"r{i}") for i in range(n)) + "Output FromTensor=r0",
    "rings": lambda n: "".join(
        f"Add FromTensor1=s{i} FromTensor2=t0 ToTensor=r{i} Softmax FromTensor=r{i} ToTensor=s{i}\n"
        for i in range(n // 2)
    ),
    "chords": lambda n: "".join(
        f"Add FromTensor1=r{(i + 1) % n} FromTensor2=r{(i + n // 2) % n} ToTensor=r{i}\n" for i in range(n)
    ),
    "dead ends": lambda n: "".join(f"Softmax FromTensor=t0 ToTensor=d{i}\n" for i in range(n)),
    "dead chain": lambda n: "".join(CONV.format(f"t{i}", f"t{i + 1}") for i in range(n)),
    "dead lattice": lambda n: "".join(
        f"Add FromTensor1=a{i} FromTensor2=b{i} ToTensor=a{i + 1} Add FromTensor1=a{i} FromTensor2=b{i} "
        f"ToTensor=b{i + 1}\n"
        for i in range(n // 2)
    ),
    "fan-out": lambda n: "".join(CONV.format("t0", f"d{i}") + f"Output FromTensor=d{i}\n" for i in range(n // 2)),
    "misspelt": lambda n: "".join(CONV.format(f"tt{i}", f"t{i + 1}") for i in range(n)),
    "names that meet": lambda n: "".join(
        CONV.format("t0", f"a{i}") + CONV.format("t0", f"a{i}Weights") for i in range(n // 2)
    ),
    "one line": lambda n: "".join(CONV.format("t0", f"d{i % 7}") for i in range(n)).replace("\n", " "),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_work_is_proportional_to_the_nodes(family: str) -> None:
    """Counted in lines of Python that run, which no load of the machine changes."""

    def lines(nodes: int) -> int:
        count = 0

        def trace(_frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal count
            count += event == "line"
            return trace

        text = HEAD + FAMILIES[family](nodes)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            with contextlib.suppress(GraphError):
                parse(text)
        finally:
            sys.settrace(before)
        return count

    few, many = lines(200), lines(800)
    assert 200 < few < many < 4.4 * few


def test_thousands_of_mistakes() -> None:
    nodes = "".join(f"Softmax FromTensor=u{i} ToTensor=v{i}\n" for i in range(3000))
    with pytest.raises(GraphError) as caught:
        parse(HEAD + nodes + "Softmax FromTensor=t0 ToTensor=y Output FromTensor=y")
    assert len(caught.value.diagnostics) == 1001
    assert caught.value.diagnostics[-1].message == "stopped looking after 1,000 errors"


def test_too_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parser.MOST_NODES == 32_768
    monkeypatch.setattr(parser, "MOST_NODES", 1000)
    with pytest.raises(GraphError) as caught:
        parse(HEAD + "Output FromTensor=t0\n" * 1000)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.message, diagnostic.line) == ("the graph has more than 1,000 nodes", 1000)


def test_too_large(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        parse(" " * ((16 << 20) + 1))
    path = tmp_path / "large.graph"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: reading all of it is not an option
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        load(path)


def test_endless_file() -> None:
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        load("/dev/zero")


@pytest.mark.parametrize("path", ["missing.graph", ".", "\0"])
def test_unreadable_files(path: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load(f"{tmp_path}/{path}")


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "net.graph"
    path.write_bytes(
        b"\xef\xbb\xbf# caf\xe9\r\n" + (HEAD + "Softmax FromTensor=t0 ToTensor=y Output FromTensor=y").encode()
    )
    assert load(path).source.filename == str(path)
    path.write_bytes(HEAD.encode() + b"Softmax FromTensor=t0 \xe9\n")
    with pytest.raises(GraphError) as caught:
        load(path)
    first, *_ = (d for d in caught.value.diagnostics if "UTF-8" in d.message)
    assert first.message == "the byte 0xE9 in column 23 is not UTF-8; graph files are plain ASCII text"
    assert (first.line, first.column) == (2, 23)
    str(caught.value).encode()


def test_reading_does_not_look_for_garbage() -> None:
    """Python would walk through all nodes read so far again and again: half of the time of a large graph."""
    collections = []

    def note(phase: str, _: object) -> None:
        collections.append(phase)

    ring = "".join(f"Add FromTensor1=t0 FromTensor2=r{(i + 1) % 5000} ToTensor=r{i}\n" for i in range(5000))
    gc.callbacks.append(note)
    try:
        with pytest.raises(GraphError, match="a cycle"):
            parse(HEAD + ring + "Output FromTensor=r0")
        assert len(collections) < 20, "a few before and after"
        assert gc.isenabled()
        gc.disable()
        with pytest.raises(GraphError):
            parse("")
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.callbacks.remove(note)


def test_words_read_before_are_read_as_before() -> None:
    conv = "Conv FromTensor=t0 ToTensor={} ToChannels=2 FilterH=1 FilterW={}\nOutput FromTensor={}\n"
    graph = parse(HEAD + conv.format("a", 1, "a") + conv.format("b", 1, "b"))
    first, second = graph.layers
    assert second.spans is not None
    assert [graph.source.text[s.start : s.end] for s in second.spans.fields.values()] == ["t0", "b", "2", "1", "1"]
    assert replace(second, to_tensor="a") == first
    with pytest.raises(GraphError) as caught:
        parse(HEAD + conv.format("a", 1, "a") + conv.format("b", "1 FilterH=1 ToChannels=0 Padding=1", "b"))
    assert [d.message for d in caught.value.diagnostics] == [
        "FilterH is given twice; the first is on line 4",
        "ToChannels is given twice; the first is on line 4",
        "Conv has no field 'Padding'; did you mean PaddingH?",
    ]
    with pytest.raises(GraphError, match="Epsilon must not be negative") as caught:
        parse(HEAD + "".join(f"BatchNorm FromTensor=t0 ToTensor=b{i} Epsilon=-1\n" for i in range(3)))
    assert sum("Epsilon" in d.message for d in caught.value.diagnostics) == 3
