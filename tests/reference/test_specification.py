"""The printed specification has every kind, says what its edges are, and prints the code that runs."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nn512.cli import main
from nn512.errors import UsageError
from nn512.graph import KINDS as NODES
from nn512.graph import Layer
from reference.kinds import KINDS
from reference.specification import specification

PACKAGE = Path(inspect.getfile(specification)).parent
DEFINITIONS = [(kind, which) for kind in KINDS for which in kind.definitions()]
NAMES = [f"{kind.node.__name__} {which}".strip() for kind, which in DEFINITIONS]


def blocks(text: str) -> list[str]:
    """The code that is printed."""
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def without_docstring(code: ast.stmt) -> str:
    """A function's syntax tree, printed without its docstring."""
    assert isinstance(code, ast.FunctionDef)
    if isinstance(code.body[0], ast.Expr) and isinstance(code.body[0].value, ast.Constant):
        code.body = code.body[1:]
    return ast.dump(code)


def written(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """The functions, methods and classes of a source file, by dotted name."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.stmt]]:
        for each in body:
            if isinstance(each, ast.FunctionDef | ast.ClassDef):
                yield prefix + each.name, each
            if isinstance(each, ast.ClassDef):
                yield from walk(each.body, f"{prefix}{each.name}.")

    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return walk(ast.parse(path.read_text("utf-8")).body, f"{module}.")


FILES = dict(found for path in PACKAGE.rglob("*.py") for found in written(path))


def test_every_kind_is_there() -> None:
    page = specification()
    layers = [node.__name__ for node in NODES if issubclass(node, Layer)]
    assert re.findall(r"^## (\w+)$", page, flags=re.MULTILINE) == [kind.node.__name__ for kind in KINDS]
    assert sorted(layers) == sorted(kind.node.__name__ for kind in KINDS)
    assert "Non-finite tensor values follow IEEE 754" in page


@pytest.mark.parametrize(("kind", "which"), DEFINITIONS, ids=NAMES)
def test_the_printed_code_is_the_code(kind: object, which: str) -> None:
    (known,) = (each for each in KINDS if each is kind)
    definition = known.definitions()[which]
    text = specification(known.node.__name__)
    printed = blocks(text)[list(known.definitions()).index(which)]
    name = f"{definition.__module__}.{definition.__qualname__}"
    assert ast.dump(ast.parse(printed).body[0]) == without_docstring(FILES[name])
    assert (inspect.getdoc(definition) or "-") in text


def test_what_definitions_use_is_printed_as_it_stands() -> None:
    page = specification()
    helpers = re.findall(r"^`([\w.]+)`:\n\n```python\n(.*?)```", page, flags=re.DOTALL | re.MULTILINE)
    assert {"reference.windows.Window", "reference.kinds.conv.window_of"} <= {name for name, _ in helpers}
    for name, code in helpers:
        assert ast.dump(ast.parse(code).body[0]) == ast.dump(FILES[name]), name
    assert len(helpers) == len(dict(helpers))


@pytest.mark.parametrize(("kind", "which"), DEFINITIONS, ids=NAMES)
def test_every_definition_says_what_becomes_of_what_is_not_finite(kind: object, which: str) -> None:
    (known,) = (each for each in KINDS if each is kind)
    assert re.search(r"\bNaN\b|\binf\b|infinit|finite", inspect.getdoc(known.definitions()[which]) or "")


def test_unknown_kinds() -> None:
    with pytest.raises(UsageError, match="no kind 'Convolution' computes anything"):
        specification("Convolution")
    with pytest.raises(UsageError, match="did you mean Conv"):
        specification("Cnov")


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doc", "--spec"]) == 0
    assert capsys.readouterr().out == specification()
    assert main(["doc", "Softmax", "--spec"]) == 0
    assert capsys.readouterr().out == specification("Softmax")
    assert main(["doc", "Output", "--spec"]) == 2
