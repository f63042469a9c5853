"""The fast way of reading nodes in the usual form makes the same of every text as the parser without it."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn512.graph import KINDS, example, format_graph
from nn512.graph.diagnostics import Diagnostics, HopelessTextError
from nn512.graph.examples import example_names
from nn512.graph.parser import read_statements
from nn512.graph.source import Source
from nn512.graph.vocabulary import VOCABULARY, Vocabulary

SLOW = Vocabulary(KINDS)
SLOW.kinds = MappingProxyType({name: replace(words, usual=re.compile(r"(?!)")) for name, words in SLOW.kinds.items()})

TEXTS = """
Config Prefix=Net Platform=AVX512Float32 L1DataCachePerThread=32KiB L2CachePerThreadExL1=1M
Input ToTensor=x Channels=4 Height=8 Width=6
Conv FromTensor=x ToTensor=a ToChannels=4 FilterH=3 FilterW=3 StrideH=1 StrideW=1 PaddingH=0 PaddingW=1 Groups=2
BatchNorm FromTensor=a ToTensor=b Epsilon=0.001
Activation FromTensor=b ToTensor=c Kind=ReLU Param=0.1
Activation FromTensor=c ToTensor=d Kind=ReLU
Pooling FromTensor=d ToTensor=e Kind=Max3x3Stride2 PaddingH=1 PaddingW=1
Add FromTensor1=e FromTensor2=e ToTensor=f
FullyConnected FromTensor=f ToTensor=g ToChannels=10
Softmax FromTensor=g ToTensor=y
Output FromTensor=y
""".splitlines()

ODD_WORDS = [
    *("#", "# Conv\n", "=", "Groups", "Groups=", "=1", "Groups=0", "Groups=1=2", "Kind=relu", "Epsilon=-1", "Param=0"),
    *("Conv", "Convv", "Output", "ToTensor=y", "ToTensor=1", "ToTensor=é", "ToTensor=y#Conv", "FromTensor=x", "\n"),
    *("\t", "Width=6Conv", "Conv=1", "Height=1"),
    *(f"ToTensor={'a' * count}{rest}" for count in (199, 200) for rest in ("", "a", "Conv")),
]


def everything(text: str, vocabulary: Vocabulary) -> tuple[Any, ...]:
    diagnostics = Diagnostics(Source(text, "drawn"))
    try:
        statements = read_statements(diagnostics, vocabulary)
    except HopelessTextError:
        statements = ()
    spans = [statement.node and statement.node.spans for statement in statements]
    return statements, spans, [(d.span, d.message) for d in diagnostics.diagnostics]


@given(st.lists(st.sampled_from(TEXTS), max_size=4), st.lists(st.sampled_from(ODD_WORDS), max_size=3), st.randoms())
def test_both_ways_agree(lines: list[str], odd: list[str], chance: random.Random) -> None:
    words = " \n ".join(lines).split(" ")
    for word in odd:
        words.insert(chance.randrange(len(words) + 1), word)
    if chance.random() < 0.3:
        chance.shuffle(words)
    if words and chance.random() < 0.3:
        del words[chance.randrange(len(words))]
    text = "".join(word + chance.choice([" ", " ", " ", "  ", "\n", "\t"]) for word in words)
    assert everything(text, VOCABULARY) == everything(text, SLOW)


@pytest.mark.parametrize("text", ODD_WORDS)
def test_both_ways_agree_behind_a_node(text: str) -> None:
    for line in TEXTS:
        for whole in (line + text, f"{line} {text}", f"{line}\n{text}", f"{text} {line}", f"{line} {text}\n{line}"):
            assert everything(whole, VOCABULARY) == everything(whole, SLOW)


@pytest.mark.parametrize("name", example_names()[:2])
def test_what_the_printer_writes_has_the_usual_form(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = read_statements(Diagnostics(Source(example(name), "example")), SLOW)
    text = format_graph([statement.node for statement in slow if statement.node])
    monkeypatch.setattr("nn512.graph.parser._read_node", None)  # which reads everything else
    assert [statement.node for statement in read_statements(Diagnostics(Source(text, "printed")))] == [
        s.node for s in slow
    ]
    assert len(slow) > 50
