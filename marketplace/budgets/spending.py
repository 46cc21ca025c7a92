"""What was spent on which days, by which questions and of which tables; SQL and nothing else."""

import datetime as dt
import json
from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, func, select, true

from marketplace import db
from marketplace.budgets.model import COHORT
from marketplace.releases.model import State
from privacy.dp.budget import Budget

Account = tuple[str, int, str]
"""Domain, cohort, holder."""


def by_day(connection: Connection, tenant: str = "") -> dict[Account, dict[dt.date, int]]:
    """Return micro-rho by account and day, of one tenant, or of all with the cohorts' totals."""
    item, held = db.items.c, db.reservations.c
    day = func.substr(held.created, 1, 10)
    rows = connection.execute(
        select(held.tenant, item.domain, item.cohorts, day.label("day"), func.sum(item.micro_rho))
        .join_from(db.items, db.reservations, item.reservation_id == held.id)
        .where(item.charged == 1, held.state != State.REFUNDED.value, _of(tenant))
        .group_by(held.tenant, item.domain, item.cohorts, day)
    )
    found: dict[Account, dict[dt.date, int]] = defaultdict(lambda: defaultdict(int))
    for payer, domain, cohorts, text, paid in rows:
        date = dt.date.fromisoformat(text)
        for cohort in json.loads(cohorts):
            for holder in (payer,) if tenant else (payer, COHORT):
                found[domain, cohort, holder][date] += int(paid)
    return {account: dict(days) for account, days in found.items()}


def accounts(connection: Connection, tenant: str = "") -> dict[Account, tuple[Budget, Budget]]:
    """Return share and spending of each account that was charged, of one tenant or of all."""
    account = db.accounts.c
    wanted = select(db.accounts).where(account.tenant == tenant if tenant else true())
    return {
        (r.domain, r.cohort, r.tenant): (
            Budget(r.cap_micro_rho, r.cap_delta_1e12),
            Budget(r.spent_micro_rho, r.spent_delta_1e12),
        )
        for r in connection.execute(wanted)
    }


@dataclass(frozen=True, slots=True)
class Use:
    """What one tenant did with some tables at some versions, in one domain and set of cohorts."""

    tenant: str
    tables: dict[str, str]
    """Name to data version."""
    domain: str
    cohorts: tuple[int, ...]
    first: str
    last: str
    questions: int
    releases: int
    """Answers that were computed and paid for; a stored one counts where it was paid."""
    charged: Budget


def uses(connection: Connection, tenant: str = "") -> list[Use]:
    """Return what was asked of which versions, oldest first, of one tenant or of all."""
    item, held = db.items.c, db.reservations.c
    paid = case((item.charged == 1, 1), else_=0)
    rows = connection.execute(
        select(
            held.tenant,
            held.tables,
            item.domain,
            item.cohorts,
            func.min(held.created).label("first"),
            func.max(held.created).label("last"),
            func.count(held.id.distinct()).label("questions"),
            func.sum(case((item.release_id.is_not(None), paid), else_=0)).label("releases"),
            func.sum(paid * item.micro_rho).label("micro_rho"),
            func.sum(paid * item.delta_1e12).label("delta_1e12"),
        )
        .join_from(db.items, db.reservations, item.reservation_id == held.id)
        .where(held.state != State.REFUNDED.value, _of(tenant))
        .group_by(held.tenant, held.tables, item.domain, item.cohorts)
        .order_by("first", held.tenant, item.domain, item.cohorts)
    )
    return [
        Use(
            r.tenant,
            json.loads(r.tables),
            r.domain,
            tuple(json.loads(r.cohorts)),
            r.first,
            r.last,
            r.questions,
            r.releases,
            Budget(int(r.micro_rho), int(r.delta_1e12)),
        )
        for r in rows
    ]


def _of(tenant: str) -> ColumnElement[bool]:
    return db.reservations.c.tenant == tenant if tenant else true()
