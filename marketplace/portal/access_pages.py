"""Access requests as pages: ask, follow, judge what waits, notices."""

from typing import Annotated

from fastapi import FastAPI, Path, Request
from fastapi.responses import HTMLResponse, Response

from marketplace.access import api
from marketplace.access.api import RenewBody, TermsBody, VerdictBody
from marketplace.access.inbox import Offer
from marketplace.access.model import OPEN, State
from marketplace.errors import STATUS, MarketplaceError
from marketplace.identity.model import Person
from marketplace.portal.browsers import Browser
from marketplace.portal.forms import Form, codes, line, picked, read, whole
from marketplace.portal.frame import (
    Facts,
    Given,
    Here,
    Sent,
    Signed,
    add,
    sentence,
    show,
    then,
)
from marketplace.services import Services

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
MOST_NOTICES = 50


def add_access_pages(app: FastAPI) -> None:
    """Add these pages to the portal."""
    add(
        app,
        {
            "/access": requests,
            "/access/requests/new": ask,
            "/access/requests/{id_}": one,
            "/access/requests/{id_}/edit": edit_page,
            "/inbox": inbox,
        },
        {
            "/access/requests": submit,
            "/access/requests/{id_}/edit": edit,
            "/access/requests/{id_}/withdrawal": withdraw,
            "/access/requests/{id_}/decision": decide,
            "/inbox/notices/{id_}": seen,
        },
    )


def requests(
    request: Request, here: Here, browser: Signed, state: str = "", whose: str = ""
) -> HTMLResponse:
    """List the requests of one's organisation; to overseers all, if they ask for that."""
    person, chosen = browser.person, state if state in set(State) else ""
    every = whose == "all"
    found = here.access.overview.requests(person) if every else here.access.inbox.own(person)
    facts = {
        "requests": [k for k in found if chosen in ("", k.request.state.value)],
        "states": [s.value for s in State],
        "chosen": chosen,
        "every": every,
        "oversees": here.access.overview.oversees(person),
        "asks": bool(here.access.inbox.offers(person)),
        "wait": next((w for w in here.access.inbox.waits() if not w.table), None),
    }
    return show(request, browser, "requests", facts)


def ask(
    request: Request, here: Here, browser: Signed, table: str = "", code: str = ""
) -> HTMLResponse:
    """Show the form of a request, filled in as the refusal that led here suggests."""
    person, offers = browser.person, here.access.inbox.offers(browser.person)
    offer = next((o for o in offers if o.table == table), None)
    given: Facts = {}
    if offer is not None:
        given = api.draft(table, here, person, code[:64])
        given = {**given, "purposes": ", ".join(given["purposes"])}
    refused = table[:64] if offer is None else ""
    facts = {"offer": offer, "offers": offers, "given": given, "refused": refused}
    return _form(request, browser, facts)


def submit(request: Request, here: Here, sent: Given) -> Response:
    """Take the form of a request; what is wrong with it is said above it, nothing is lost."""
    try:
        made = _submitted(here, sent)
    except MarketplaceError as error:
        return _again(request, here, sent, error, "")
    return then(f"/access/requests/{made['id']}")


def one(request: Request, id_: Id, here: Here, browser: Signed) -> HTMLResponse:
    """Show a request: its text and digest, where it stands, and what one may do about it."""
    person = browser.person
    kept, _ = here.access.inbox.request(person, id_)
    due, overdue = here.access.inbox.due(kept, kept.request.state)
    mine = person.user == kept.request.user and kept.request.state in OPEN
    facts = {
        "request": _told(here, person, id_),
        "due": due,
        "overdue": overdue,
        "mine": mine,
        "judge": next((w for w in here.access.inbox.waiting(person) if w.kept == kept), None),
    }
    return show(request, browser, "request", facts)


def edit_page(request: Request, id_: Id, here: Here, browser: Signed) -> Response:
    """Show its author the form of a request with its present text; others, the request."""
    found = _told(here, browser.person, id_)
    if found["user"] != browser.person.user:
        return then(f"/access/requests/{id_}")
    terms = found["terms"]
    given = {**terms, "purposes": ", ".join(terms["purposes"]), "renews": None}
    offer = _offer(here, browser.person, found["table"])
    facts: Facts = {"offer": offer, "offers": [], "given": given}
    return _form(request, browser, facts, id_)


def edit(request: Request, id_: Id, here: Here, sent: Given) -> Response:
    """Replace the text of an own request."""
    try:
        api.edit(id_, _terms(sent.form), here, sent.person)
    except MarketplaceError as error:
        return _again(request, here, sent, error, id_)
    return then(f"/access/requests/{id_}")


def withdraw(id_: Id, here: Here, sent: Given) -> Response:
    """Take an own request back."""
    api.withdraw(id_, here, sent.person)
    return then(f"/access/requests/{id_}")


def decide(id_: Id, here: Here, sent: Given) -> Response:
    """Take a judgement: of the text with the digest that the form holds, at the stage it names."""
    names = ("verdict", "text_sha256", "comment")
    body = read(VerdictBody, {name: line(sent.form, name) for name in names})
    act = api.approve if line(sent.form, "stage") == State.APPROVAL else api.review
    act(id_, body, here, sent.person)
    return then("/inbox")


def inbox(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show what waits for one's word, the longest waiting first, and one's notices."""
    person = browser.person
    waiting = here.access.inbox.waiting(person)
    facts = {
        "waiting": [(w, _told(here, person, w.kept.request.id)) for w in waiting],
        "examinations": len(here.publishing.reviews.waiting(person)),
        "regradings": len(here.publishing.regradings.waiting(person)),
        "notices": here.access.inbox.notices(person)[:MOST_NOTICES],
    }
    return show(request, browser, "inbox", facts)


def seen(id_: Id, here: Here, sent: Given) -> Response:
    """Mark a notice as read."""
    api.read(id_, here, sent.person)
    return then("/inbox#notices")


def _submitted(here: Services, sent: Sent) -> Facts:
    grant = line(sent.form, "renews")
    if not grant:
        return api.submit(_terms(sent.form), here, sent.person)
    given = {"days": whole(sent.form, "days"), "reason": line(sent.form, "reason")}
    return api.renew(grant, read(RenewBody, given), here, sent.person)


def _terms(form: Form) -> TermsBody:
    given = {
        "table": line(form, "table"),
        "purposes": codes(form, "purposes"),
        "lanes": picked(form, "lane:"),
        "fields": picked(form, "field:"),
        "epsilon_default": line(form, "epsilon_default"),
        "epsilon_max": line(form, "epsilon_max"),
        "days": whole(form, "days"),
        "reason": line(form, "reason"),
    }
    return read(TermsBody, given)


def _offer(here: Services, person: Person, table: str) -> Offer | None:
    return next(iter(here.access.inbox.offers(person, table)), None) if table else None


def _again(
    request: Request, here: Services, sent: Sent, error: MarketplaceError, edits: str
) -> Response:
    offer = _offer(here, sent.person, line(sent.form, "table"))
    if offer is None:  # there is no form to go back to: the refusal is all there is to say
        raise error
    form = sent.form
    given: Facts = {**form, "renews": line(form, "renews") or None}
    given |= {"lanes": picked(form, "lane:"), "fields": picked(form, "field:")}
    facts: Facts = {"offer": offer, "offers": [], "given": given}
    facts |= {"wrong": sentence(error, sent.browser.language)}
    return _form(request, sent.browser, facts, edits, STATUS.get(error.code, 500))


def _form(  # one page
    request: Request, browser: Browser, facts: Facts, edits: str = "", status: int = 200
) -> HTMLResponse:
    return show(
        request,
        browser,
        "request_form",
        {"wrong": "", "refused": "", **facts, "edits": edits},
        status,
    )


def _told(here: Services, person: Person, request_id: str) -> Facts:
    return api.told(*here.access.inbox.request(person, request_id))
