"""The risk desk: what rules found, the entries behind it, and what people do about it."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.portal.frame import Here, Signed, checked_form, show
from marketplace.risk.api import shown
from marketplace.risk.model import Disposal, State, Step
from marketplace.risk.service import RiskDesk

MOST_WORDS = 2_000
"""As over HTTP."""


def add_risk_pages(portal: FastAPI) -> None:
    """Add these pages to the portal."""
    portal.add_api_route("/risk", desk, methods=["GET"], response_class=HTMLResponse)
    portal.add_api_route("/risk/{event_id}", event, methods=["GET"], response_class=HTMLResponse)
    portal.add_api_route("/risk/{event_id}/{step}", take, methods=["POST"])


def desk(request: Request, here: Here, browser: Signed, state: str = "") -> HTMLResponse:
    """List events, all or those in one state, and the rules."""
    chosen = State(state) if state in set(State) else None
    found = here.risks.events(browser.person, chosen)
    facts = {
        "events": [shown(e) for e in found],
        "chosen": "" if chosen is None else chosen.value,
        "states": [s.value for s in State],
        "policy": here.risks.policy,
    }
    return show(request, browser, "risk", facts)


def event(request: Request, event_id: str, here: Here, browser: Signed) -> HTMLResponse:
    """Show one event with its steps, and what may be done about it."""
    found = here.risks.one(browser.person, event_id)
    facts = {
        "event": shown(found),
        "may": found.state is not State.CLOSED and here.risks.may_handle(browser.person, found),
        "handlers": here.risks.handlers(found),
        "disposals": [d.value for d in Disposal],
    }
    return show(request, browser, "risk_event", facts)


async def take(request: Request, event_id: str, step: str) -> Response:
    """Do one step and show the event again."""
    browser, form = await checked_form(request)
    risks = request.app.state.services.risks
    await run_in_threadpool(_take, risks, browser.person, event_id, step, form)
    return RedirectResponse(f"/risk/{event_id}", 303)


def _take(
    risks: RiskDesk, person: Person, event_id: str, step: str, form: Mapping[str, str]
) -> None:
    said, disposal = form.get("comment", "").strip(), form.get("disposal", "")
    if len(said) > MOST_WORDS or "\0" in said:
        raise MarketplaceError(
            "BAD_REQUEST",
            f"A comment has at most {MOST_WORDS} characters.",
            f"意见至多 {MOST_WORDS} 个字符。",
        )
    if step == Step.ASSIGN:
        risks.assign(person, event_id, form.get("handler", ""))
    elif step == Step.COMMENT:
        risks.comment(person, event_id, said)
    elif step == Step.STOP and said:
        risks.stop(person, event_id, said)
    elif step == Step.CLOSE and disposal in set(Disposal):
        risks.close(person, event_id, Disposal(disposal), said)
    else:
        raise MarketplaceError(
            "BAD_REQUEST",
            "There is no such step or disposal, or the reason is missing.",
            "没有该操作或处置结果，或未填写理由。",
        )
