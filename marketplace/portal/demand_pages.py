"""The demand board as pages: what is wanted, where it stands, until when, and the rate."""

from typing import Annotated

from fastapi import FastAPI, Path, Request
from fastapi.responses import HTMLResponse, Response

from marketplace.demand import api
from marketplace.demand.api import DemandBody, StepBody
from marketplace.demand.model import CLOSED, Barrier, Rejection, State, Step
from marketplace.demand.service import Shown
from marketplace.errors import STATUS, MarketplaceError
from marketplace.portal.forms import line, read
from marketplace.portal.frame import Facts, Given, Here, Signed, add, sentence, show, then

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
MINE, UNMET = "mine", "unmet"
"""Lists besides those of a state: open ones of one's own organisation, and those counted unmet."""
FIELDS = ("title", "need", "purpose", "lane", "table", "provider")


def add_demand_pages(app: FastAPI) -> None:
    """Add these pages to the portal."""
    add(
        app,
        {"/demands": demands, "/demands/new": new, "/demands/{id_}": demand},
        {"/demands": submit, "/demands/{id_}/{step}": take},
    )


def demands(request: Request, here: Here, browser: Signed, state: str = "") -> HTMLResponse:
    """List demands, newest first, with the satisfaction rate and what it is made of."""
    person, rate = browser.person, here.demands.satisfaction()
    board = here.demands.board(person)
    facts = {
        "board": [s for s in board if _fits(s, state, person.tenant, rate.unmet)],
        "states": [*(s.value for s in State), MINE, UNMET],
        "chosen": state,
        "rate": rate,
        "unmet": [s for s in board if s.demand.id in rate.unmet],
        "demands": here.demands.may_demand(person),
    }
    return show(request, browser, "demands", facts)


def new(request: Request, here: Here, browser: Signed, title: str = "") -> HTMLResponse:
    """Show the form of a demand."""
    given = dict.fromkeys(FIELDS, "") | {"title": title[:120], "lane": "dp"}
    return show(request, browser, "demand_form", _blank(here, given))


def submit(request: Request, here: Here, sent: Given) -> Response:
    """Take the form of a demand; what is wrong is said above it, nothing is lost."""
    given = {name: line(sent.form, name) for name in FIELDS}
    try:
        made = api.submit(read(DemandBody, given), here, sent.person)
    except MarketplaceError as error:
        if error.code == "ROLE_REFUSED":
            raise
        facts = _blank(here, given) | {"wrong": sentence(error, sent.browser.language)}
        return show(request, sent.browser, "demand_form", facts, STATUS.get(error.code, 500))
    return then(f"/demands/{made['id']}")


def demand(request: Request, id_: Id, here: Here, browser: Signed) -> HTMLResponse:
    """Show one demand with its steps, and those that one may take."""
    person = browser.person
    shown = here.demands.one(person, id_)
    facts = {
        "demand": api.demand(id_, here, person),
        "steps": [s.value for s in here.demands.open_steps(person, shown.demand)],
        "barriers": [b.value for b in Barrier],
        "rejections": [r.value for r in Rejection],
        "bodies": here.catalogue.policies.bodies,
        "tables": here.demands.tables(),
    }
    return show(request, browser, "demand", facts)


def take(id_: Id, step: Step, here: Here, sent: Given) -> Response:
    """Take one step."""
    names = ("provider", "table", "repeats", "comment")
    given: Facts = {name: line(sent.form, name) for name in names}
    given |= {name: line(sent.form, name) or None for name in ("barrier", "rejection")}
    api.take(id_, step, read(StepBody, given), here, sent.person)
    return then(f"/demands/{id_}")


def _blank(here: Here, given: dict[str, str]) -> Facts:
    return {
        "given": given,
        "wrong": "",
        "tables": here.demands.tables(),
        "bodies": here.catalogue.policies.bodies,
    }


def _fits(shown: Shown, state: str, tenant: str, unmet: tuple[str, ...]) -> bool:
    found = shown.demand
    if state == MINE:
        return found.state not in CLOSED and tenant in (found.tenant, found.provider)
    if state == UNMET:
        return found.id in unmet
    return state in ("", found.state.value)
