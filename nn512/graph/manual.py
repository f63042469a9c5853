"""The manual of the graph language, from what the node dataclasses say about themselves."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence

from nn512.errors import UsageError
from nn512.graph.fields import REQUIRED, SELECTOR, FieldInfo, ValueType, field_infos
from nn512.graph.kinds import KINDS
from nn512.graph.node import Node
from nn512.graph.parser import MOST_NODES
from nn512.graph.suggest import close_match, did_you_mean
from nn512.graph.values import LONGEST_NAME, format_value

_WIDTH = 96

EXAMPLE = """\
# A net with a shortcut.
Config Prefix=Tiny
Input ToTensor=image Channels=3 Height=32 Width=32
Conv FromTensor=image ToTensor=first ToChannels=16 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=first ToTensor=firstReLU Kind=ReLU
Conv FromTensor=firstReLU ToTensor=second ToChannels=16 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Add FromTensor1=second FromTensor2=firstReLU ToTensor=sum
Pooling FromTensor=sum ToTensor=average Kind=AvgGlobal
FullyConnected FromTensor=average ToTensor=logits ToChannels=10
Softmax FromTensor=logits ToTensor=probabilities
Output FromTensor=probabilities
"""
"""The graph that the manual shows."""

_INTRODUCTION = f"""\
The graph language

A graph file describes a convolutional net as nodes that read and produce named tensors. A tensor has
channels, height and width; its elements are 32-bit floating point numbers; there is no batch. A node is
a kind, followed by fields:

{textwrap.indent(EXAMPLE, "    ")}
Words are separated by white space of any amount; the end of a line is white space like any other, so a
node may take several lines. There is none around '='. A comment begins with '#' and ends with the line.
Fields may come in any order, and those with a default may be left out. Nodes may come in any order too.
There is exactly one Config, and at least one Input and one Output. Every tensor has one producer and any
number of readers, every node leads to an Output, and none is its own ancestor.

A name is {ValueType.NAME.value}, at most {LONGEST_NAME} characters in all. An
integer is decimal, without sign and leading zeros. A number is an integer that may have a sign '-' in
front and a decimal fraction behind, such as -0.5. A size is an integer of bytes; k, KB and KiB behind it
stand for 1,024, and m, MB and MiB for 1,048,576, all of them in upper or lower case.

Parameters are named after the tensor that their node produces. The emitted C calls a tensor t by that
name, tData where it is an argument, and its parameters tWeights, tBiases and so on: tensors whose names
would meet there are an error. A graph file has at most {MOST_NODES:,} nodes and 16 MiB. All tensors of a
graph together take at most 2^40 bytes, and so do all its parameters.
"""


def manual(kind: str | None = None) -> str:
    """The whole manual, or the section about one kind of node. UsageError for an unknown kind."""
    kinds = {k.__name__: k for k in KINDS}
    if kind is None:
        return "\n".join([_fill(_INTRODUCTION), *map(kind_manual, KINDS)])
    if kind not in kinds:
        guess = did_you_mean(close_match(kind, kinds))
        raise UsageError(f"there is no node kind {kind!r}{guess or '; there are ' + ', '.join(kinds)}")
    return kind_manual(kinds[kind])


def kind_manual(kind: type[Node]) -> str:
    """The section about one kind: how a node is written, what it means, and its fields."""
    infos = field_infos(kind)
    always = [info for info in infos if not info.goes_with]
    usage = [kind.__name__, *_usage(always, None)]
    heading = textwrap.fill(" ".join(usage), _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    body = textwrap.indent(_fill(inspect.cleandoc(kind.__doc__ or ""), _WIDTH - 4), "    ")
    return f"{heading}\n\n{body}\n" + "".join(_entry(info, infos) for info in infos)


def _usage(infos: Sequence[FieldInfo], choice: str | None) -> list[str]:
    """Fields as they are written, in brackets those that may be left out, behind the others."""
    required = [f"{i.name}={_placeholder(i)}" for i in infos if i.default_with(choice) is REQUIRED]
    return required + [f"[{i.name}={_placeholder(i)}]" for i in infos if i.default_with(choice) is not REQUIRED]


def _placeholder(info: FieldInfo) -> str:
    match info.type:
        case ValueType.NAME:
            return "NAME"
        case ValueType.POSITIVE | ValueType.NATURAL:
            return "INTEGER"
        case ValueType.NUMBER:
            return "NUMBER"
        case ValueType.SIZE:
            return "SIZE"
        case ValueType.CHOICE:
            return "|".join(info.choices)


def _entry(info: FieldInfo, infos: Sequence[FieldInfo]) -> str:
    """One field: name, what it means, what may stand there, and what stands there if it is left out."""
    facts = [info.doc]
    if info.type in {ValueType.POSITIVE, ValueType.NATURAL}:
        facts.append(f"From {1 if info.type is ValueType.POSITIVE else 0} to {info.limit:,}.")
    facts += _defaults(info, infos)
    entry = _hang(f"    {info.name}", " ".join(facts), 28)
    return entry + "".join(_choice(info, choice, infos) for choice in info.meanings)


def _defaults(info: FieldInfo, infos: Sequence[FieldInfo]) -> list[str]:
    """What stands where a field is left out, with every choice of Kind that has it."""
    if info.like is not None:
        return [f"Default: {next(other.name for other in infos if other.attribute == info.like)}."]
    if not info.goes_with:
        return [] if info.default in {REQUIRED, None} else [f"Default: {format_value(info, info.default)}."]
    values = {
        choice: format_value(info, default) for choice, default in info.goes_with.items() if default is not REQUIRED
    }
    if len(set(values.values())) == 1:
        return [f"Default: {next(iter(values.values()))}."]
    return [f"Default with {SELECTOR}={choice}: {value}." for choice, value in values.items()]


def _choice(info: FieldInfo, choice: str, infos: Sequence[FieldInfo]) -> str:
    """One choice with the fields that only it and some others have, and its meaning."""
    usage = [f"{info.name}={choice}"]
    if info.name == SELECTOR:
        usage += _usage([other for other in infos if other.goes_with and other.applies(choice)], choice)
    head = textwrap.fill(" ".join(usage), _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 10)
    return _hang(head, info.meanings[choice], 42)


def _hang(head: str, text: str, column: int) -> str:
    """A head, and a text that begins behind it in a column and goes on below in the same."""
    indent = " " * column
    filled = textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return (head.ljust(column) + filled[column:] if len(head) < column else f"{head}\n{filled}") + "\n"


def _fill(text: str, width: int = _WIDTH) -> str:
    """Paragraphs broken into lines; indented ones stay as they are."""
    paragraphs = text.strip("\n").split("\n\n")
    filled = (p if p.startswith(" ") else textwrap.fill(" ".join(p.split()), width) for p in paragraphs)
    return "\n\n".join(filled) + "\n"
