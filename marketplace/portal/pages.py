"""The pages: what a signed-in person of an organisation sees. All state changes are POST forms."""

import base64
import datetime as dt
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from marketplace.audit import tree
from marketplace.budgets.forecast import WINDOW_DAYS, cumulative, exhaustion
from marketplace.errors import STATUS, MarketplaceError
from marketplace.http import unrouted
from marketplace.portal import store
from marketplace.portal.browsers import Browser, Browsers
from marketplace.portal.language import preferred, say
from marketplace.releases import reading
from marketplace.releases.model import Left
from marketplace.services import Services
from privacy.dp.budget import epsilon_of, micro_rho_of

HERE = Path(__file__).parent
COOKIE = "lab_portal"
Facts = dict[str, Any]
"""What a template shows."""
MAX_FORM_BYTES = 16_384
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content security policy: no inline script or style, nothing from elsewhere."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}

_TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
)


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def _browsers(request: Request) -> Browsers:
    found: Browsers = request.app.state.browsers
    return found


def _browser(request: Request) -> Browser:
    return _browsers(request).find(request.cookies.get(COOKIE, ""))


Here = Annotated[Services, Depends(_services)]
Signed = Annotated[Browser, Depends(_browser)]


def portal(services: Services, clock: Callable[[], dt.datetime]) -> FastAPI:
    """Return the portal as an application of its own, to be mounted beside the API."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.services, app.state.clock = services, clock
    app.state.browsers = Browsers(services.database, services.directory, services.sessions, clock)
    for path, page in (
        ("/", home),
        ("/budget", budget),
        ("/questions", questions),
        ("/receipts/{name}", receipt),
    ):
        app.add_api_route(path, page, methods=["GET"], response_class=HTMLResponse)
    app.add_api_route("/receipts/{name}/proof.json", proof, methods=["GET"])
    app.add_api_route("/sign-in", sign_in_page, methods=["GET"])
    for path, act in (("/sign-in", sign_in), ("/sign-out", sign_out), ("/language", language)):
        app.add_api_route(path, act, methods=["POST"])
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.add_exception_handler(MarketplaceError, _refused)
    app.add_exception_handler(HTTPException, _unrouted)
    app.middleware("http")(_with_headers)
    return app


async def _with_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    answer = await call_next(request)
    answer.headers.update(HEADERS)
    if not request.url.path.startswith("/static/"):
        answer.headers["cache-control"] = "no-store"
    return answer


def home(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show roles, the tables that may be asked, and where the log stands."""
    grants = here.gate.granted(here.database, browser.person.tenant)
    head = here.log.head.checkpoint
    facts = {"grants": sorted(grants.items()), "size": head.size, "root": head.root.hex()}
    return _page(request, browser, "home", facts)


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
    return _page(request, browser, "budget", {"shares": shares, "days": WINDOW_DAYS})


def questions(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """List one's own questions with what they cost."""
    person = browser.person
    asked = reading.history(here.database, person.tenant, person.user)
    return _page(request, browser, "questions", {"asked": asked, "most": reading.HISTORY})


def receipt(request: Request, name: str, here: Here, browser: Signed) -> HTMLResponse:
    """Show a receipt, and check its proof here and now."""
    found: Facts = reading.receipt(here.database, here.log, browser.person.tenant, name)
    return _page(request, browser, "receipt", {"receipt": found, "proven": _is_proven(found)})


def proof(name: str, here: Here, browser: Signed) -> JSONResponse:
    """Return a receipt with its proofs, to be checked elsewhere."""
    found = reading.receipt(here.database, here.log, browser.person.tenant, name)
    shown = {"content-disposition": 'attachment; filename="receipt.json"'}
    return JSONResponse(found, headers=shown)


def sign_in_page(request: Request) -> Response:
    """Ask for a token."""
    return _anonymous(request, "sign_in", {"wrong": ""})


async def sign_in(request: Request) -> Response:
    """Open a session for the holder of the token, or say that nobody holds it."""
    _check_origin(request)
    form = await _form(request)
    try:
        cookie = _browsers(request).sign_in(form.get("token", "").strip())
    except MarketplaceError as error:
        wrong = error.zh if _language(request) == "zh" else error.en
        return _anonymous(request, "sign_in", {"wrong": wrong}, STATUS[error.code])
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE, cookie, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


async def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    await _checked_form(request)
    _browsers(request).sign_out(request.cookies[COOKIE])
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE)
    return answer


async def language(request: Request) -> Response:
    """Change the language of this browser's pages."""
    browser, _ = await _checked_form(request)
    other = "en" if browser.language == "zh" else "zh"
    _browsers(request).speak(request.cookies[COOKIE], other)
    return RedirectResponse("/", 303)


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


def _language(request: Request) -> str:
    return preferred(request.headers.get("accept-language", ""))


def _page(request: Request, browser: Browser, name: str, facts: Facts) -> HTMLResponse:
    person = {"user": browser.person.user, "tenant": browser.person.tenant}
    shown = {**facts, "roles": browser.person.roles, "csrf": browser.csrf, "person": person}
    return _render(browser.language, name, shown, request.url.path)


def _anonymous(request: Request, name: str, facts: Facts, status: int = 200) -> HTMLResponse:
    return _render(
        _language(request), name, {**facts, "person": None, "csrf": ""}, request.url.path, status
    )


def _render(language: str, name: str, facts: Facts, path: str, status: int = 200) -> HTMLResponse:
    def t(key: str, **values: object) -> str:
        return say(language, key, **values)

    html = _TEMPLATES.get_template(f"{name}.html").render(
        **facts, t=t, language=language, path=path, page=name
    )
    return HTMLResponse(html, status)


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413, f"A form has at most {MAX_FORM_BYTES} bytes")
    return {k: v[-1] for k, v in parse_qs(body.decode("utf-8", "replace")).items()}


async def _checked_form(request: Request) -> tuple[Browser, dict[str, str]]:
    """Return who sent a form, if it comes from a page that we gave to the same browser."""
    _check_origin(request)
    browser, form = _browser(request), await _form(request)
    if not secrets.compare_digest(form.get("csrf", "").encode(), browser.csrf.encode()):
        raise _forged()
    return browser, form


def _check_origin(request: Request) -> None:
    """Refuse a form from another site; every browser of today says where a form comes from."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "")
    host = request.headers.get("host", "")
    if site not in ("same-origin", "none") or origin.partition("://")[2] not in ("", host):
        raise _forged()


def _forged() -> MarketplaceError:
    return MarketplaceError("FORBIDDEN", say("en", "error.CSRF"), say("zh", "error.CSRF"))


def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, MarketplaceError):
        raise TypeError("registered for marketplace errors only") from error
    if error.code == "AUTHENTICATION":
        return RedirectResponse("/sign-in", 303)
    text = error.zh if _language(request) == "zh" else error.en
    return _anonymous(request, "error", {"text": text}, STATUS.get(error.code, 500))


def _unrouted(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("registered for routing errors only") from error
    if request.url.path.startswith("/api/"):
        return unrouted(request, error)
    return _anonymous(request, "error", {"text": str(error.detail)}, error.status_code)


show, checked_form = _page, _checked_form
"""For pages that stand in modules of their own."""
