"""The account of a campaign as a page of HTML that needs nothing beside it.

page.py       the page: facts into page.html.j2 (Jinja)
facts.py      what it tells of edge classes and findings
charts.py     histograms, throughput, heat maps (Matplotlib)
drawing.py    nets as graphs

What it is made with comes with the extra `report`.
"""

from __future__ import annotations

import importlib.util

from nn512.errors import CannotRunError, install

_PACKAGES = ("jinja2", "matplotlib")


def check_extra() -> None:
    """CannotRunError where the packages are missing that a page is made with."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotRunError(f"--html needs packages that are not installed: {', '.join(missing)}; {install('report')}")
