"""Grants and stops as pages: terms and their ends, renewal, revocation, the kill switch."""

from typing import Annotated

from fastapi import FastAPI, Path, Request
from fastapi.responses import HTMLResponse, Response

from marketplace.access import api
from marketplace.access.api import ReasonBody, RenewBody, StopBody
from marketplace.access.grant_store import ACTIVE, Held
from marketplace.portal.forms import line, read, whole
from marketplace.portal.frame import Facts, Given, Here, Signed, add, show, then

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
EXPIRING_DAYS = 30
"""From here on a grant is shown as ending soon."""
_DAY = 86_400


def add_grant_pages(app: FastAPI) -> None:
    """Add these pages to the portal."""
    add(
        app,
        {"/grants": grants, "/stops": stops},
        {
            "/grants/{id_}/renewals": renew,
            "/grants/{id_}/revocation": revoke,
            "/stops": stop,
            "/stops/{id_}/lift": lift,
        },
    )


def standing(held: Held, now: int) -> str:
    """Return where a grant stands: revoked, expired, expiring or live."""
    if held.state != ACTIVE:
        return "revoked"
    if not held.grant.is_live(now):
        return "expired"
    return "expiring" if held.grant.ends - now <= EXPIRING_DAYS * _DAY else "live"


def grants(
    request: Request, here: Here, browser: Signed, state: str = "", whose: str = ""
) -> HTMLResponse:
    """List grants of one's organisation and of its tables; to overseers all, if they ask."""
    person, now = browser.person, int(request.app.state.clock().timestamp())
    every = whose == "all"
    found = here.access.overview.grants(person) if every else here.access.grants.visible(person)
    lines: list[Facts] = [
        {
            "grant": held.grant,
            "standing": standing(held, now),
            "days_left": max(0, -((now - held.grant.ends) // _DAY)),
            "renewable": held.grant.tenant == person.tenant and held.state == ACTIVE,
            "revocable": here.access.grants.may_revoke(person, held),
        }
        for held in found
    ]
    shown = {"live": ("live", "expiring")}.get(state, (state,))
    facts = {
        "grants": [x for x in lines if not state or x["standing"] in shown],
        "chosen": state,
        "every": every,
        "oversees": here.access.overview.oversees(person),
        "soon": EXPIRING_DAYS,
    }
    return show(request, browser, "grants", facts)


def renew(id_: Id, here: Here, sent: Given) -> Response:
    """Ask for another term."""
    given = {"days": whole(sent.form, "days"), "reason": line(sent.form, "reason")}
    made = api.renew(id_, read(RenewBody, given), here, sent.person)
    return then(f"/access/requests/{made['id']}")


def revoke(id_: Id, here: Here, sent: Given) -> Response:
    """Take a grant away at once."""
    api.revoke(id_, read(ReasonBody, {"reason": line(sent.form, "reason")}), here, sent.person)
    return then("/grants")


def stops(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """List stops, newest first, with a form for those who may pull one."""
    found = here.access.grants.stops(browser.person)
    facts = {
        "stops": [(s, here.access.grants.may_lift(browser.person, s)) for s in found],
        "stoppable": here.access.grants.stoppable(browser.person),
    }
    return show(request, browser, "stops", facts)


def stop(here: Here, sent: Given) -> Response:
    """Stop access to a table, of an organisation, or all of it."""
    scope, _, target = line(sent.form, "what").partition(":")
    given = {"scope": scope, "target": target, "reason": line(sent.form, "reason")}
    api.stop(read(StopBody, given), here, sent.person)
    return then("/stops")


def lift(id_: Id, here: Here, sent: Given) -> Response:
    """End a stop that somebody else pulled."""
    api.lift(id_, here, sent.person)
    return then("/stops")
