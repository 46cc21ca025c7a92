"""Ledgers of what is graded how and why, of changes that wait, and of what law keeps closed."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import FastAPI, Path, Request
from fastapi.responses import HTMLResponse, Response

from marketplace.catalogue import api, publishing_api
from marketplace.catalogue.publishing_api import DecisionBody
from marketplace.catalogue.search import MAX_QUERY
from marketplace.grading import api as negative_api
from marketplace.grading.negative_list import alerts
from marketplace.paging import of_all
from marketplace.portal.forms import line, page_number, read
from marketplace.portal.frame import Given, Here, Signed, add, show, then

SIZE = 10
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


def add_grading_pages(app: FastAPI) -> None:
    """Add these pages to the portal."""
    add(
        app,
        {"/grading": grading, "/negative-list": negative_list},
        {"/grading/{id_}/decision": decide},
    )


def grading(
    request: Request, here: Here, browser: Signed, q: str = "", page: str = "1"
) -> HTMLResponse:
    """Show the grades of fields with their reasons, and downgrades that wait for one's word."""
    person, text = browser.person, q.strip()[:MAX_QUERY]
    number = page_number(page)
    found = api.search(here, person, of_all(number, SIZE), text)
    facts = {
        "resources": [api.resource(h["resource"], here, person) for h in found["hits"]],
        "total": found["total"],
        "pages": -(-found["total"] // SIZE),
        "number": number,
        "q": text,
        "query": urlencode({"q": text}) if text else "",
        "waiting": publishing_api.waiting(here, person, of_all()),
        "policy": here.catalogue.policies.grading,
        "bodies": here.catalogue.policies.bodies,
    }
    return show(request, browser, "grading", facts)


def decide(id_: Id, here: Here, sent: Given) -> Response:
    """Take a word on a downgrade."""
    given = {
        "approve": sent.form.get("verdict") == "approve",
        "comment": line(sent.form, "comment"),
    }
    publishing_api.decide(id_, read(DecisionBody, given), here, sent.person)
    return then("/grading#waiting")


def negative_list(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show every entry with basis, approver and validity, those that end soon first."""
    today, listed = here.catalogue.today(), here.catalogue.policies.negative_list
    facts = {
        "entries": negative_api.listed(here, browser.person, of_all()),
        "alerts": {a.entry.entry_id: a for a in alerts(listed, today)},
        "alert_days": listed.alert_days,
        "today": today.isoformat(),
    }
    return show(request, browser, "negative_list", facts)
