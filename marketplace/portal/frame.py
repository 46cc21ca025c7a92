"""What every page shares: who looks, the frame around it, forms that nobody forges, refusals."""

import datetime as dt
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from marketplace.errors import STATUS, MarketplaceError
from marketplace.http import unrouted
from marketplace.identity.model import Person
from marketplace.portal import navigation
from marketplace.portal.browsers import Browser, Browsers
from marketplace.portal.language import day, moment, named, preferred, say, span
from marketplace.services import Services

HERE = Path(__file__).parent
COOKIE = "lab_portal"
Facts = dict[str, Any]
"""What a template shows."""
MAX_FORM_BYTES = 65_536
"""Room for the longest text of a request: 2,000 Chinese characters take 18 KB in a form."""
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
_TEMPLATES.filters |= {"moment": moment, "day": day}


class Sent(NamedTuple):
    """A form that came from a page of the sender's own."""

    person: Person
    form: dict[str, str]
    browser: Browser


def services_of(request: Request) -> Services:
    """Return the application's services."""
    found: Services = request.app.state.services
    return found


def browsers_of(request: Request) -> Browsers:
    """Return all signed-in browsers."""
    found: Browsers = request.app.state.browsers
    return found


def _browser(request: Request) -> Browser:
    return browsers_of(request).find(request.cookies.get(COOKIE, ""))


async def checked_form(request: Request) -> tuple[Browser, dict[str, str]]:
    """Return who sent a form, if it comes from a page that we gave to the same browser."""
    check_origin(request)
    browser, form = _browser(request), await form_of(request)
    if not secrets.compare_digest(form.get("csrf", "").encode(), browser.csrf.encode()):
        raise _forged()
    return browser, form


async def _sent(request: Request) -> Sent:
    browser, form = await checked_form(request)
    return Sent(browser.person, form, browser)


Here = Annotated[Services, Depends(services_of)]
Signed = Annotated[Browser, Depends(_browser)]
Given = Annotated[Sent, Depends(_sent)]
"""Makes a route an act: it runs only for a form of the sender's own page."""


def framed(services: Services, clock: Callable[[], dt.datetime]) -> FastAPI:
    """Return an application without pages: headers, static files, and what refusals look like."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.services, app.state.clock = services, clock
    app.state.browsers = Browsers(services.database, services.directory, services.sessions, clock)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.add_exception_handler(MarketplaceError, _refused)
    app.add_exception_handler(RequestValidationError, _misspelt)
    app.add_exception_handler(HTTPException, _unrouted)
    app.middleware("http")(_with_headers)
    return app


def add(
    app: FastAPI,
    pages: dict[str, Callable[..., Any]],
    acts: dict[str, Callable[..., Any]] | None = None,
) -> None:
    """Add pages (GET) and what their forms do (POST), by path."""
    for path, page in pages.items():
        app.add_api_route(path, page, methods=["GET"], response_class=HTMLResponse)
    for path, act in (acts or {}).items():
        app.add_api_route(path, act, methods=["POST"])


def then(path: str) -> Response:
    """Return the way on after an act: a page that can be loaded again without doing it twice."""
    return RedirectResponse(path, 303)


def show(
    request: Request, browser: Browser, name: str, facts: Facts, status: int = 200
) -> HTMLResponse:
    """Return a page for a signed-in person."""
    person = {"user": browser.person.user, "tenant": browser.person.tenant}
    shown = {**facts, "roles": browser.person.roles, "csrf": browser.csrf, "person": person}
    return _render(browser.language, name, shown, request.url.path, status)


def anonymous(request: Request, name: str, facts: Facts, status: int = 200) -> HTMLResponse:
    """Return a page for whoever looks."""
    shown = {**facts, "person": None, "csrf": "", "roles": ()}
    return _render(language_of(request), name, shown, request.url.path, status)


def language_of(request: Request) -> str:
    """Return the language that a browser asks for."""
    return preferred(request.headers.get("accept-language", ""))


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413, f"A form has at most {MAX_FORM_BYTES} bytes")
    return {k: v[-1] for k, v in parse_qs(body.decode("utf-8", "replace")).items()}


def check_origin(request: Request) -> None:
    """Refuse a form from another site; every browser of today says where a form comes from."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "")
    host = request.headers.get("host", "")
    if site not in ("same-origin", "none") or origin.partition("://")[2] not in ("", host):
        raise _forged()


def sentence(error: MarketplaceError, language: str) -> str:
    """Return what a refusal says, in a language."""
    return error.zh if language == "zh" else error.en


async def _with_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    answer = await call_next(request)
    answer.headers.update(HEADERS)
    if not request.url.path.startswith("/static/"):
        answer.headers["cache-control"] = "no-store"
    return answer


def _render(language: str, name: str, facts: Facts, path: str, status: int = 200) -> HTMLResponse:
    def t(key: str, **values: object) -> str:
        return say(language, key, **values)

    html = _TEMPLATES.get_template(f"{name}.html").render(
        **facts,
        t=t,
        named=lambda prefix, code: named(language, prefix, code),
        span=lambda seconds: span(language, seconds),
        language=language,
        path=path,
        page=name,
        menu=navigation.menu(facts["roles"], path) if facts["person"] else (),
    )
    return HTMLResponse(html, status)


def _forged() -> MarketplaceError:
    return MarketplaceError("FORBIDDEN", say("en", "error.CSRF"), say("zh", "error.CSRF"))


def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, MarketplaceError):
        raise TypeError("registered for marketplace errors only") from error
    if error.code == "AUTHENTICATION":
        return RedirectResponse("/sign-in", 303)
    return _fault(request, STATUS.get(error.code, 500), error.en, error.zh)


def _misspelt(request: Request, _error: Exception) -> Response:
    return _fault(request, 404, say("en", "error.address"), say("zh", "error.address"))


def _unrouted(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("registered for routing errors only") from error
    if request.url.path.startswith("/api/"):
        return unrouted(request, error)
    zh = say("zh", "error.address") if error.status_code == STATUS["NOT_FOUND"] else error.detail
    return _fault(request, error.status_code, str(error.detail), str(zh))


def _fault(request: Request, status: int, en: str, zh: str) -> Response:
    """Say what did not work: to a signed-in browser in its own language, under its own menu."""
    try:
        browser = _browser(request)
    except MarketplaceError:
        text = zh if language_of(request) == "zh" else en
        return anonymous(request, "error", {"text": text}, status)
    text = zh if browser.language == "zh" else en
    return show(request, browser, "error", {"text": text}, status)
