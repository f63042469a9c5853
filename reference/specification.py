"""The specification as text: what the docstrings and the code of `value` say of every kind, as Markdown.

Nothing is written twice: the text is the docstring, the code is what runs.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeAlias

import reference.kinds
from nn512.errors import UsageError
from nn512.graph.suggest import close_match, did_you_mean
from reference.kinds import KINDS
from reference.kinds.kind import Kind

Definition: TypeAlias = Callable[..., Any]


def specification(kind: str | None = None) -> str:
    """What a kind of node means, or all of them: text, formula, edges, and the code. UsageError for an unknown kind."""
    kinds = {each.node.__name__: each for each in KINDS}
    if kind is not None and kind not in kinds:
        guess = did_you_mean(close_match(kind, kinds))
        raise UsageError(f"no kind {kind!r} computes anything{guess or '; those that do are ' + ', '.join(kinds)}")
    chosen = KINDS if kind is None else (kinds[kind],)
    title = "# What the node kinds mean\n" if kind is None else ""
    parts = [title, *map(_section, chosen), _helpers(chosen), _rules()]
    return "\n".join(part for part in parts if part)


def _section(kind: Kind[Any]) -> str:
    """A kind: for each of its definitions the docstring, then the code without it."""
    name = kind.node.__name__
    parts = [f"## {name}\n"]
    for which, definition in kind.definitions().items():
        if which:
            parts.append(f"### {name} {which}\n")
        parts.append(f"{inspect.getdoc(definition)}\n\n{_block(_without_docstring(definition))}")
    return "\n".join(parts)


def _helpers(kinds: Sequence[Kind[Any]]) -> str:
    """What the definitions use of the reference itself, each once, in the order in which it is needed."""
    found: dict[str, object] = {}
    for kind in kinds:
        for definition in kind.definitions().values():
            _collect(definition, found)
    for kind in kinds:
        for definition in kind.definitions().values():
            found.pop(_name(definition), None)
    blocks = [f"`{name}`:\n\n{_block(_source(helper))}" for name, helper in found.items()]
    return "\n".join(["## What these definitions use\n", *blocks]) if blocks else ""


def _rules() -> str:
    """The rules of every kind, from the docstring of their package."""
    text = inspect.getdoc(reference.kinds) or ""
    conventions = text[text.index("Conventions.") :].removeprefix("Conventions.").strip()
    return f"## Rules of every kind\n\n{conventions}\n"


def _collect(user: object, found: dict[str, object]) -> None:
    """Add what a function, method or class uses of the reference, and what that uses."""
    for used in _used(user):
        if _name(used) not in found:
            found[_name(used)] = used
            _collect(used, found)


def _used(user: object) -> Iterator[object]:
    """The functions and classes of the reference that stand in the code of `user`; of a method also other methods."""
    functions: list[object] = [user]
    if inspect.isclass(user):
        functions = [value.fget if isinstance(value, property) else value for value in vars(user).values()]
    for function in functions:
        plain = function.__func__ if isinstance(function, MethodType) else function
        if not isinstance(plain, FunctionType):
            continue
        for name in _names(plain.__code__):
            candidates = [plain.__globals__.get(name)]
            if isinstance(function, MethodType):
                candidates.append(inspect.getattr_static(type(function.__self__), name, None))
            yield from (each for each in candidates if _is_ours(each))


def _names(code: CodeType) -> Iterator[str]:
    """Names of globals and attributes in a function and the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_ours(found: object) -> bool:
    return (inspect.isfunction(found) or inspect.isclass(found)) and found.__module__.startswith("reference.")


def _name(found: Any) -> str:  # noqa: ANN401 - a function, method or class
    return f"{found.__module__}.{found.__qualname__}"


def _source(found: Any) -> str:  # noqa: ANN401 - likewise
    """The code as it stands, at the left margin."""
    return textwrap.dedent(inspect.getsource(found))


def _without_docstring(found: Definition) -> str:
    """The code as it stands but for the docstring, which is printed as text."""
    lines = _source(found).splitlines(keepends=True)
    (function,) = ast.parse("".join(lines)).body
    assert isinstance(function, ast.FunctionDef)
    docstring = function.body[0]
    assert docstring.end_lineno is not None
    return "".join(lines[: docstring.lineno - 1] + lines[docstring.end_lineno :])


def _block(code: str) -> str:
    return f"```python\n{code.strip()}\n```\n"
