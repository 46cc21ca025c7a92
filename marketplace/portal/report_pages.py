"""Reports as pages, and as files to take along."""

from datetime import date
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from marketplace.errors import MarketplaceError
from marketplace.portal.browsers import Browser
from marketplace.portal.frame import Here, Signed, show
from marketplace.reports.api import download
from marketplace.reports.kinds import NOT_AVAILABLE
from marketplace.reports.service import FILTERS, Form, Wanted

MOST_SHOWN = 500
"""Rows on a page; files hold all."""


def add_report_pages(portal: FastAPI) -> None:
    """Add these pages to the portal."""
    portal.add_api_route("/reports", reports, methods=["GET"], response_class=HTMLResponse)
    portal.add_api_route("/reports/{name}", report, methods=["GET"], response_class=HTMLResponse)
    portal.add_api_route("/reports/{name}/{form}", file, methods=["GET"])


def reports(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """List the reports that one may read, each with its form."""
    kinds = here.reports.readable(browser.person)
    if not kinds:
        raise MarketplaceError(
            "ROLE_REFUSED",
            "Reports are read by regulators and the bureau.",
            "报告仅供监管人员与主管部门查阅。",
        )
    facts = {"kinds": kinds, "not_available": NOT_AVAILABLE}
    return show(request, browser, "reports", facts)


def report(request: Request, name: str, here: Here, browser: Signed) -> HTMLResponse:
    """Show one report; the reading is an entry."""
    made = here.reports.make(browser.person, _wanted(request, name, Form.JSON, browser)).report
    asked = {k: v for k, v in request.query_params.items() if v}
    facts = {
        "report": made,
        "lines": made.lines(browser.language)[1:],
        "rows": made.rows[:MOST_SHOWN],
        "most": MOST_SHOWN,
        "query": urlencode(asked),
        "forms": [f.value for f in Form],
    }
    return show(request, browser, "report", facts)


def file(request: Request, name: str, form: str, here: Here, browser: Signed) -> Response:
    """Return one report as a file; the reading is an entry."""
    if form not in set(Form):
        raise MarketplaceError("NOT_FOUND", "There is no such form.", "没有该格式。")
    wanted = _wanted(request, name, Form(form), browser)
    return download(here.reports.make(browser.person, wanted), wanted.form)


def _wanted(request: Request, name: str, form: Form, browser: Browser) -> Wanted:
    asked = request.query_params
    try:
        first, last = (
            date.fromisoformat(asked[key]) if asked.get(key) else None for key in ("first", "last")
        )
    except ValueError as error:
        raise MarketplaceError(
            "BAD_REQUEST",
            "Days are written as 2026-11-30.",
            "日期格式应为 2026-11-30。",
        ) from error
    filters = {key: asked.get(key, "").strip() for key in FILTERS}
    return Wanted(name, form, browser.language, first, last, filters)
