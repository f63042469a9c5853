"""What the tests of the tester share."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.targets import Sources
from nn512.graph import Graph

Emit = Callable[[Graph], Sources]


@pytest.fixture(scope="session")
def naive_emit() -> Emit:
    """The simple compiler of naive.py, which stands beside this file (test folders are no packages)."""
    spec = importlib.util.spec_from_file_location("naive", Path(__file__).with_name("naive.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    emit: Emit = module.emit
    return emit
