"""The manual covers the language and is true."""

from __future__ import annotations

import pytest

from nn512.errors import UsageError
from nn512.graph import KINDS, field_infos, parse
from nn512.graph.fields import REQUIRED
from nn512.graph.manual import EXAMPLE, manual


def test_every_kind_and_field_is_there() -> None:
    text = manual()
    for kind in KINDS:
        section = manual(kind.__name__)
        usage = section.partition("\n\n")[0]
        assert section in text
        assert section.startswith(kind.__name__)
        for info in field_infos(kind):
            assert f"    {info.name} " in section
            assert info.doc.split()[0] in section
            defaults = {info.default_with(choice) for choice in info.goes_with or [None]}
            where = section if info.goes_with else usage  # fields of some choices stand beside these
            assert (f" {info.name}=" in where) is (REQUIRED in defaults)
            assert (f"[{info.name}=" in where) is (defaults != {REQUIRED})


def test_its_example_is_a_graph() -> None:
    assert parse(EXAMPLE).config.prefix == "Tiny"
    assert all("    " + line in manual() for line in EXAMPLE.splitlines())


def test_lines_fit() -> None:
    assert max(map(len, manual().splitlines())) <= 101  # the example's longest


def test_unknown_kind() -> None:
    with pytest.raises(UsageError, match=r"there is no node kind 'Convolution'; did you mean Conv\?"):
        manual("Convolution")
