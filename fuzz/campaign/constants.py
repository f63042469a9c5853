"""A seed draws the same cases wherever the project is installed.

Hypothesis mixes numbers that it finds in the source of a user's modules into what it draws. It takes for the user's
what stands in no site-packages: all of this project in a checkout, nothing of it in an installed wheel. There is no
setting for that, so the function that collects the numbers is replaced. Versions that have no such function do not
mix in anything.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from unittest import mock

_HOME = "hypothesis.internal.conjecture.providers"
_COLLECT = "_get_local_constants"


@contextlib.contextmanager
def without_local_constants() -> Iterator[None]:
    """Draws do not depend on where modules stand."""
    try:
        providers = importlib.import_module(_HOME)
    except ImportError:
        yield
        return
    if not hasattr(providers, _COLLECT):
        yield
        return
    cache = providers.CONSTANTS_CACHE.cache
    with mock.patch.object(providers, _COLLECT, providers.Constants):
        cache.clear()  # of numbers that fit what is drawn, those that were collected among them
        yield
    cache.clear()
