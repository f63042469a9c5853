"""The page: facts and charts put into page.html.j2."""

from __future__ import annotations

from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from fuzz.campaign.account import Account
from fuzz.campaign.html import charts
from fuzz.campaign.html.drawing import drawing_of
from fuzz.campaign.html.facts import Found, findings_of, kernels_of
from fuzz.campaign.state import by_kernel, versions
from fuzz.judge.compare import Outcome
from fuzz.judge.coverage import declared_decisions


@dataclass(frozen=True, slots=True)
class _Shown:
    """A finding with its pictures; empty where there is nothing to draw."""

    found: Found
    net: Markup
    heat: Markup


def as_html(account: Account) -> str:
    """The page: everything is in it, and nothing is fetched."""
    tally = account.tally
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fuzz.campaign.html", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    kernels = kernels_of(tally.coverage)
    errors = by_kernel(tally)
    page: str = environment.get_template("page.html.j2").render(
        account=account,
        tally=tally,
        versions=versions(),
        outcomes={outcome.value: tally.outcomes[outcome] for outcome in Outcome},
        rate=tally.cases / account.seconds if account.seconds > 0 else 0.0,
        kernels=kernels,
        missing=[(kernel.name, edge.name) for kernel in kernels for edge in kernel.classes if not edge.verified],
        classes=sum(len(kernel.classes) for kernel in kernels),
        decisions=kernels_of(tally.decisions),
        verified_decisions=len(tally.decisions.edge_classes(tally.decisions.verified)),
        declared_decisions=len(declared_decisions()),
        errors=_inline(charts.histograms(errors) if errors else ""),
        throughput=_inline(charts.throughput(account.times) if account.times.cases else ""),
        findings=[_shown(number, found) for number, found in enumerate(findings_of(account))],
    )
    return page


def _shown(number: int, found: Found) -> _Shown:
    net = "" if found.graph is None else drawing_of(found.graph, found.layer)
    heat = "" if found.wrong is None else charts.heat_maps(found.wrong, f"heat-{number}")
    return _Shown(found, _inline(net), _inline(heat))


def _inline(svg: str) -> Markup:
    """SVG of our own making, in which what comes from elsewhere is escaped."""
    return Markup(svg)  # noqa: S704 - as said
