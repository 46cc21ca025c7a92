"""Pages of the budget calendar, of datasets and tenants, and of proposals for later cohorts."""

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from marketplace.budgets.calendar import Line, Phase
from marketplace.budgets.forecast import WINDOW_DAYS, cumulative
from marketplace.budgets.model import COHORT, Shares
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.portal import frame
from marketplace.portal.frame import Facts, Here, Signed
from marketplace.services import Services
from privacy.dp.budget import Budget

Tenant = Annotated[str, Path(min_length=1, max_length=64)]
Table = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Whose = Annotated[str | None, Query(max_length=64)]
LARGEST = 10**12
WORDS = 1_000


def with_budget_pages(app: FastAPI) -> FastAPI:
    """Return the portal with these pages added."""
    for path, page in (
        ("/budget/calendar", calendar),
        ("/budget/tenants/{tenant}", tenant_page),
        ("/budget/datasets/{table}", dataset),
        ("/budget/proposals", proposals),
    ):
        app.add_api_route(path, page, methods=["GET"], response_class=HTMLResponse)
    for path, act in (
        ("/budget/proposals", propose),
        ("/budget/proposals/{proposal}/decision", decide),
        ("/budget/proposals/{proposal}/withdrawal", withdraw),
    ):
        app.add_api_route(path, act, methods=["POST"])
    return app


def calendar(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show when shares would be gone and which cohorts begin; to overseers, of all tenants."""
    facts = _account(here, browser.person, None)
    asked = here.outlook.asked(browser.person)
    return frame.show(request, browser, "budget_calendar", {**facts, "asked": asked})


def tenant_page(request: Request, tenant: Tenant, here: Here, browser: Signed) -> HTMLResponse:
    """Show the same of one tenant, without anybody's questions."""
    facts = _account(here, browser.person, tenant)
    return frame.show(request, browser, "budget_calendar", {**facts, "asked": None})


def dataset(
    request: Request, table: Table, here: Here, browser: Signed, tenant: Whose = None
) -> HTMLResponse:
    """Show one table over all its versions: answers, charges, and the accounts that pay."""
    found = here.outlook.dataset(browser.person, table, tenant or None)
    facts = {
        "found": found,
        "whose": tenant or "",
        "sees_all": here.outlook.sees_all(browser.person),
    }
    return frame.show(request, browser, "budget_dataset", facts)


def proposals(request: Request, here: Here, browser: Signed) -> HTMLResponse:
    """Show proposals for later cohorts, and a form for another one to who may propose."""
    person = browser.person
    listed = here.proposals.listed(person)
    year = request.app.state.clock().year + 1
    drafts = []
    if here.proposals.may(person, "proposeBudget"):
        drafts = [
            {
                "domain": name,
                "cohort": year,
                # Whoever the policy gives a share can be given one, also after it was left out.
                "shares": {
                    **dict.fromkeys(domain.shares.holders(), Budget(0)),
                    **here.proposals.in_force(name, year).holders(),
                }.items(),
            }
            for name, domain in sorted(here.policy().domains.items())
        ]
    facts = {
        "listed": listed,
        "drafts": drafts,
        "decides": here.proposals.may(person, "decideBudget"),
        "user": person.user,
    }
    return frame.show(request, browser, "budget_proposals", facts)


async def propose(request: Request, here: Here) -> Response:
    """Take the form of a proposal."""
    browser, form = await frame.checked_form(request)
    shares = {
        name.removeprefix("rho:"): Budget(
            _whole(form[name]), _whole(form.get(f"delta:{name.removeprefix('rho:')}", ""))
        )
        for name in form
        if name.startswith("rho:")
    }
    cap = shares.pop(COHORT, Budget(0))
    reason = form.get("reason", "").strip()[:WORDS]
    if not reason:
        raise _unreadable()
    here.proposals.propose(
        browser.person,
        form.get("domain", ""),
        _whole(form.get("cohort", ""), 9_999),
        # A tenant without any share is left out: it is not fixed at nothing by being listed.
        Shares(cap, {t: s for t, s in shares.items() if s != Budget(0)}),
        reason,
    )
    return RedirectResponse("/budget/proposals", 303)


async def decide(request: Request, proposal: Id, here: Here) -> Response:
    """Take the form of a decision on the text that was shown."""
    browser, form = await frame.checked_form(request)
    here.proposals.decide(
        browser.person,
        proposal,
        form.get("text_sha256", ""),
        form.get("comment", "").strip()[:WORDS],
        approve=form.get("verdict") == "approve",
    )
    return RedirectResponse("/budget/proposals", 303)


async def withdraw(request: Request, proposal: Id, here: Here) -> Response:
    """Take an own proposal back."""
    browser, _ = await frame.checked_form(request)
    here.proposals.withdraw(browser.person, proposal)
    return RedirectResponse("/budget/proposals", 303)


def _account(here: Services, person: Person, tenant: str | None) -> Facts:
    lines = [x for x in here.outlook.calendar(person, tenant) if x.phase is not Phase.NONE]
    domains = sorted({line.domain for line in lines})
    return {
        "whose": tenant or "",
        "sees_all": here.outlook.sees_all(person),
        "days": WINDOW_DAYS,
        "domains": [_domain(d, [x for x in lines if x.domain == d]) for d in domains],
        "datasets": here.outlook.datasets(person, tenant),
    }


def _domain(name: str, lines: Sequence[Line]) -> Facts:
    """Return a domain's table and, where something was spent, the plot of the fullest account."""
    totals = [line for line in lines if line.holder == COHORT] or lines
    fullest = max(totals, key=lambda line: (line.spent.micro_rho, -line.cohort))
    return {
        "name": name,
        "lines": sorted(lines, key=lambda x: (x.cohort, x.holder)),
        "plotted": fullest if fullest.by_day else None,
        "plot": json.dumps(_plot(fullest, lines)) if fullest.by_day else "",
    }


def _plot(line: Line, lines: Iterable[Line]) -> Facts:
    points = cumulative(line.by_day, line.today)
    forecast: list[tuple[str, int]] = []
    if line.exhausted is not None:
        last = points[-1]
        forecast = [
            (last.date.isoformat(), last.spent_micro_rho),
            (line.exhausted.isoformat(), line.share.micro_rho),
        ]
    last_day = line.exhausted or line.today
    shown = dt.timedelta(days=366)
    return {
        "cap": line.share.micro_rho,
        "points": [(p.date.isoformat(), p.spent_micro_rho) for p in points],
        "forecast": forecast,
        "begins": sorted(
            {
                x.begins.isoformat()
                for x in lines
                if points[0].date < x.begins < max(last_day, line.today + shown)
            }
        ),
    }


def _whole(text: str, largest: int = LARGEST) -> int:
    digits = text.strip().replace(",", "") or "0"
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(LARGEST))):
        raise _unreadable()
    if int(digits) > largest:
        raise _unreadable()
    return int(digits)


def _unreadable() -> MarketplaceError:
    return MarketplaceError(
        "BAD_REQUEST",
        f"Write whole numbers up to {LARGEST:,}, a year, and a reason. Nothing was proposed.",
        f"请填写不超过 {LARGEST:,} 的整数、年份及理由。未提交任何提案。",
    )
