"""Calendar, remaining questions and datasets over HTTP; nothing is decided here."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from marketplace.budgets.calendar import Line
from marketplace.budgets.forecast import WINDOW_DAYS
from marketplace.budgets.model import COHORT
from marketplace.budgets.outlook import Asked, Dataset
from marketplace.http import Caller, Here
from marketplace.paging import Paged
from privacy.dp.budget import Budget

router = APIRouter(prefix="/budget", tags=["budgets"])

Tenant = Annotated[str | None, Query(min_length=1, max_length=64)]
Table = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


@router.get("/calendar")
def calendar(here: Here, caller: Caller, tenant: Tenant = None) -> dict[str, Any]:
    """Return which share would be gone when: one's own, or all tenants' for who oversees them."""
    lines = here.outlook.calendar(caller, tenant)
    return {"window_days": WINDOW_DAYS, "shares": [told_line(line) for line in lines]}


@router.get("/questions")
def questions(here: Here, caller: Caller) -> list[dict[str, Any]]:
    """Return one's own last questions, and how often each could be asked again at its price."""
    return [told_question(asked) for asked in here.outlook.asked(caller)]


@router.get("/datasets")
def datasets(
    here: Here, caller: Caller, pages: Paged, tenant: Tenant = None
) -> list[dict[str, Any]]:
    """Return the tables that were asked: answers, charges, cohorts and versions."""
    return [_short(found) for found in pages.cut(here.outlook.datasets(caller, tenant))]


@router.get("/datasets/{table}")
def dataset(table: Table, here: Here, caller: Caller, tenant: Tenant = None) -> dict[str, Any]:
    """Return one table's versions, and the accounts that pay for all of them."""
    found = here.outlook.dataset(caller, table, tenant)
    return _short(found) | {
        "uses": [
            {
                "tenant": use.tenant,
                "version": use.tables[found.table],
                "tables": sorted(use.tables),
                "domain": use.domain,
                "cohorts": list(use.cohorts),
                "first": use.first,
                "last": use.last,
                "questions": use.questions,
                "releases": use.releases,
                **_figures("charged", use.charged),
            }
            for use in found.uses
        ],
        "accounts": [told_line(line) for line in found.accounts],
    }


def told_line(line: Line) -> dict[str, Any]:
    """Return one share as JSON."""
    return {
        "domain": line.domain,
        "cohort": line.cohort,
        "tenant": line.holder if line.holder != COHORT else None,
        "begins": line.begins.isoformat(),
        "own_figures": line.own_figures,
        "phase": line.phase.value,
        **_figures("share", line.share),
        **_figures("spent", line.spent),
        **_figures("left", line.left),
        "lately_micro_rho": line.lately,
        "exhausted": line.exhausted.isoformat() if line.exhausted else None,
    }


def told_question(asked: Asked) -> dict[str, Any]:
    """Return one question as JSON."""
    most = asked.more
    return {
        "reservation_id": asked.reservation_id,
        "operation_id": asked.operation_id,
        "created": asked.created,
        "tables": dict(asked.tables),
        "price": [
            {"domain": domain, "cohort": cohort, **_figures("", cost)}
            for (domain, cohort), cost in sorted(asked.price.items())
        ],
        "more": most.times if most else None,
        "limit": most
        and {
            "domain": most.domain,
            "cohort": most.cohort,
            "by": "delta_1e12" if most.by_delta else "micro_rho",
        },
    }


def _short(found: Dataset) -> dict[str, Any]:
    return {
        "table": found.table,
        "versions": list(found.versions),
        "cohorts": list(found.cohorts),
        "releases": found.releases,
        **_figures("charged", found.charged),
    }


def _figures(name: str, budget: Budget) -> dict[str, int]:
    before = f"{name}_" if name else ""
    return {f"{before}micro_rho": budget.micro_rho, f"{before}delta_1e12": budget.delta_1e12}
