"""The first page: what waits for this person, and where to go from here."""

from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from marketplace.demand.model import CLOSED
from marketplace.demand.service import Shown
from marketplace.identity.model import Person
from marketplace.portal.frame import Here, Signed, add, show
from marketplace.portal.grant_pages import standing
from marketplace.risk.model import State
from marketplace.services import Services


class Waiting(NamedTuple):
    """One figure with the list that it counts."""

    name: str
    """Its text is the word `home.figure.<name>`."""
    number: int
    href: str


def add_home_pages(app: FastAPI) -> None:
    """Add this page to the portal."""
    add(app, {"/": home})


def home(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show what waits, roles, the tables that may be asked, and where the log stands."""
    person, now = browser.person, request.app.state.clock()
    grants = here.gate.granted(here.database, person.tenant)
    head = here.log.head.checkpoint
    facts = {
        "figures": [
            *_to_decide(here, person),
            *_own(here, person, int(now.timestamp())),
            *_watched(here, person),
        ],
        "budgets": _budgets(here, person),
        "grants": sorted(grants.items()),
        "size": head.size,
        "root": head.root.hex(),
        "now": now.isoformat(),
    }
    return show(request, browser, "home", facts)


def _to_decide(here: Services, person: Person) -> list[Waiting]:
    """Return what waits for a person's word; what never does is not shown."""
    counted = (
        Waiting("inbox", len(here.access.inbox.waiting(person)), "/inbox"),
        Waiting("examinations", len(here.publishing.reviews.waiting(person)), "/examinations"),
        Waiting("regradings", len(here.publishing.regradings.waiting(person)), "/grading#waiting"),
    )
    judges = {"provider", "reviewer", "approver", "operator"} & set(person.roles)
    return [w for w in counted if w.number or (judges and w.name == "inbox")]


def _own(here: Services, person: Person, now: int) -> list[Waiting]:
    unread = [n for n in here.access.inbox.notices(person) if not n.read]
    requests = [k for k in here.access.inbox.own(person) if k.request.state.value == "returned"]
    held = [standing(h, now) for h in here.access.grants.visible(person)]
    demands = [
        s for s in here.demands.board(person) if s.demand.state not in CLOSED and _mine(s, person)
    ]
    counted = [Waiting("notices", len(unread), "/inbox#notices")]
    if requests:
        counted.append(Waiting("returned", len(requests), "/access?state=returned"))
    if held:
        counted.append(Waiting("expiring", held.count("expiring"), "/grants?state=expiring"))
    return [*counted, Waiting("demands", len(demands), "/demands?state=mine")]


def _mine(shown: Shown, person: Person) -> bool:
    demand = shown.demand
    return person.tenant in (demand.tenant, demand.provider)


def _watched(here: Services, person: Person) -> list[Waiting]:
    counted = here.risks.counts(person)
    return [
        Waiting(f"risk_{s}", counted[s], f"/risk?state={s}")
        for s in (State.OPEN, State.ASSIGNED)
        if s in counted
    ]


def _budgets(here: Services, person: Person) -> list[tuple[str, int, int]]:
    """Return what is left of each share, and the share, in micro-rho."""
    found = []
    for name, domain in sorted(here.policy().domains.items()):
        if person.tenant in domain.allotments:
            left = here.releases.left(person.tenant, name)
            found.append((name, left.budget.micro_rho, left.cap.micro_rho))
    return found
