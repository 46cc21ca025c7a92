"""One page of figures for those who oversee; each figure opens the list that it counts."""

from collections import Counter
from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from marketplace.access.model import State as Asked
from marketplace.catalogue import api as catalogue
from marketplace.demand.model import State as Demanded
from marketplace.identity.model import Person
from marketplace.paging import of_all
from marketplace.portal.frame import Here, Signed, add, show
from marketplace.portal.grant_pages import standing
from marketplace.services import Services


class Figure(NamedTuple):
    """One number and the list behind it."""

    name: str
    """Its text is the word of that key."""
    value: str
    href: str


def add_bureau_pages(app: FastAPI) -> None:
    """Add this page to the portal."""
    add(app, {"/bureau": bureau})


def bureau(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show the figures; the look is an entry, as each list's is."""
    person, now = browser.person, request.app.state.clock()
    groups = [
        ("requests", _requests(here, person)),
        ("grants", _grants(here, person, int(now.timestamp()))),
        ("resources", _resources(here, person)),
        ("demands", _demands(here, person)),
        ("contracts", _contracts(here, person)),
    ]
    if counted := here.risks.counts(person):
        events = [
            Figure(f"risk.state.{s}", f"{n:,}", f"/risk?state={s}") for s, n in counted.items()
        ]
        groups.append(("risk", events))
    if here.outlook.sees_all(person):
        groups.append(("budget", _budget(here, person)))
    facts = {"groups": groups, "as_of": now.isoformat()}
    return show(request, browser, "bureau", facts)


def _requests(here: Services, person: Person) -> list[Figure]:
    counted = Counter(k.request.state for k in here.access.overview.requests(person))
    return [
        Figure(f"request.state.{s}", f"{counted[s]:,}", f"/access?whose=all&state={s}")
        for s in Asked
    ]


def _grants(here: Services, person: Person, now: int) -> list[Figure]:
    counted = Counter(standing(h, now) for h in here.access.overview.grants(person))
    counted["live"] += counted["expiring"]
    return [
        Figure(f"grant.state.{s}", f"{counted[s]:,}", f"/grants?whose=all&state={s}")
        for s in ("live", "expiring", "expired", "revoked")
    ]


def _resources(here: Services, person: Person) -> list[Figure]:
    published = catalogue.search(here, person, of_all(1, 1))["total"]
    found = [Figure("resource.state.published", f"{published:,}", "/catalogue")]
    if {"reviewer", "approver"} & set(person.roles):
        waiting = len(here.publishing.reviews.waiting(person))
        found.append(Figure("resource.state.submitted", f"{waiting:,}", "/examinations"))
    listed = len(here.catalogue.policies.negative_list.entries)
    return [*found, Figure("bureau.negative", f"{listed:,}", "/negative-list")]


def _demands(here: Services, person: Person) -> list[Figure]:
    counted = Counter(s.demand.state for s in here.demands.board(person))
    rate = here.demands.satisfaction()
    share = "–" if rate.rate is None else f"{rate.rate} % ({len(rate.met):,}/{rate.valid:,})"
    return [
        *(Figure(f"demand.state.{s}", f"{counted[s]:,}", f"/demands?state={s}") for s in Demanded),
        Figure("bureau.rate", share, "/demands#rate"),
        Figure("demand.state.unmet", f"{len(rate.unmet):,}", "/demands?state=unmet"),
    ]


def _contracts(here: Services, person: Person) -> list[Figure]:
    counted = Counter(c.state for c in here.contracts.visible(person))
    return [
        *(
            Figure(f"contract.state.{s}", f"{n:,}", f"/contracts?state={s}")
            for s, n in sorted(counted.items())
        ),
        Figure("bureau.tenants", f"{len(here.contracts.funnel(person)):,}", "/funnel"),
    ]


def _budget(here: Services, person: Person) -> list[Figure]:
    """Return what all organisations spent together, by domain, in micro-rho."""
    spent: Counter[str] = Counter()
    for entry in here.outlook.calendar(person):
        if not entry.holder:
            spent[entry.domain] += entry.spent.micro_rho
    return [
        Figure(f"bureau.spent:{name}", f"{total:,} micro-rho", "/budget/calendar")
        for name, total in sorted(spent.items())
    ]
