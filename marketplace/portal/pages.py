"""The pages of one's own questions: budget, history, receipts; signing in and out."""

import base64
import datetime as dt
import json
from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from marketplace.audit import tree
from marketplace.budgets.forecast import WINDOW_DAYS, cumulative, exhaustion
from marketplace.errors import STATUS, MarketplaceError
from marketplace.portal import store
from marketplace.portal.frame import (
    COOKIE,
    Facts,
    Given,
    Here,
    Signed,
    add,
    anonymous,
    browsers_of,
    check_origin,
    form_of,
    framed,
    language_of,
    sentence,
    show,
    then,
)
from marketplace.releases import reading
from marketplace.releases.model import Left
from marketplace.services import Services
from marketplace.window import MAX_SIZE
from privacy.dp.budget import epsilon_of, micro_rho_of


def portal(services: Services, clock: Callable[[], dt.datetime]) -> FastAPI:
    """Return the portal as an application of its own, to be mounted beside the API."""
    app = framed(services, clock)
    add(
        app,
        {"/budget": budget, "/questions": questions, "/receipts/{name}": receipt},
        {"/sign-in": sign_in, "/sign-out": sign_out, "/language": language},
    )
    app.add_api_route("/receipts/{name}/proof.json", proof, methods=["GET"])
    app.add_api_route("/sign-in", sign_in_page, methods=["GET"])
    return app


def budget(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show each share of the organisation: spent, left, over time, and when it would be gone."""
    today = request.app.state.clock().date()
    shares = []
    for name, domain in sorted(here.policy().domains.items()):
        if browser.person.tenant in domain.allotments:
            left = here.releases.left(browser.person.tenant, name)
            with here.database.reading() as connection:
                by_day = store.spending(connection, browser.person.tenant, name)
            shares.append(_share(left, domain.epsilon(left.cap), by_day, today))
    return show(request, browser, "budget", {"shares": shares, "days": WINDOW_DAYS})


def questions(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """List one's own questions with what they cost."""
    person = browser.person
    asked = reading.history(here.database, person.tenant, person.user)
    return show(request, browser, "questions", {"asked": asked[:MAX_SIZE], "most": MAX_SIZE})


def receipt(request: Request, name: str, here: Here, browser: Signed) -> HTMLResponse:
    """Show a receipt, and check its proof here and now."""
    found: Facts = reading.receipt(here.database, here.log, browser.person.tenant, name)
    return show(request, browser, "receipt", {"receipt": found, "proven": _is_proven(found)})


def proof(name: str, here: Here, browser: Signed) -> JSONResponse:
    """Return a receipt with its proofs, to be checked elsewhere."""
    found = reading.receipt(here.database, here.log, browser.person.tenant, name)
    shown = {"content-disposition": 'attachment; filename="receipt.json"'}
    return JSONResponse(found, headers=shown)


def sign_in_page(request: Request) -> Response:
    """Ask for a token."""
    return anonymous(request, "sign_in", {"wrong": ""})


async def sign_in(request: Request) -> Response:
    """Open a session for the holder of the token, or say that nobody holds it."""
    check_origin(request)
    form = await form_of(request)
    try:
        cookie = browsers_of(request).sign_in(form.get("token", "").strip())
    except MarketplaceError as error:
        wrong = sentence(error, language_of(request))
        return anonymous(request, "sign_in", {"wrong": wrong}, STATUS[error.code])
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE, cookie, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


def sign_out(request: Request, _sent: Given) -> Response:
    """End the session of this browser."""
    browsers_of(request).sign_out(request.cookies[COOKIE])
    answer = then("/sign-in")
    answer.delete_cookie(COOKIE)
    return answer


def language(request: Request, sent: Given) -> Response:
    """Change the language of this browser's pages."""
    other = "en" if sent.browser.language == "zh" else "zh"
    browsers_of(request).speak(request.cookies[COOKIE], other)
    return then("/")


def _share(left: Left, cap_epsilon: float, by_day: Mapping[dt.date, int], today: dt.date) -> Facts:
    default = 1.0
    return {
        "domain": left.domain,
        "cap": left.cap.micro_rho,
        "left": left.budget.micro_rho,
        "spent": left.cap.micro_rho - left.budget.micro_rho,
        "cap_epsilon": f"{cap_epsilon:.2f}",
        "left_epsilon": f"{epsilon_of(left.budget.micro_rho):.2f}",
        "spent_epsilon": f"{left.spent_epsilon:.2f}",
        "default": f"{default:g}",
        "more": left.budget.micro_rho // micro_rho_of(default),
        "exhausted": exhaustion(by_day, left.budget.micro_rho, today),
        "idle": not by_day,
        "days": cumulative(by_day, today),
        "cohorts": sorted(left.cohorts.items()),
        "plot": json.dumps(
            {
                "cap": left.cap.micro_rho,
                "points": [
                    [d.date.isoformat(), d.spent_micro_rho] for d in cumulative(by_day, today)
                ],
            }
        ),
    }


def _is_proven(found: Facts) -> bool:
    """Whether each release's entry leads to the root, by the proof that the receipt holds."""
    root, size = bytes.fromhex(found["checkpoint"]["root"]), found["checkpoint"]["size"]
    for each in found["releases"]:
        leaf = tree.leaf_hash(base64.b64decode(each["entry_b64"]))
        path = [bytes.fromhex(h) for h in each["proof"]]
        try:
            tree.check_inclusion(leaf, each["entry_index"], size, path, root)
        except tree.ProofError:
            return False
    return True
