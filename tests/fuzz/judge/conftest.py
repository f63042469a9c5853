"""What tests of judgements share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def emulation() -> ModuleType:
    """The module emulation.py, which stands beside this file (test folders are no packages)."""
    spec = importlib.util.spec_from_file_location("emulation", Path(__file__).with_name("emulation.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module
