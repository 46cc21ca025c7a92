"""SQL of the portal: signed-in browsers, and spending by day."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Column, Connection, String, Table, delete, func, insert, select, update

from marketplace import db
from marketplace.releases.model import State

browsers = Table(
    "portal_browsers",
    db.metadata,
    Column("cookie_sha256", String(64), primary_key=True),
    Column("token_sha256", String(64), nullable=False, comment="whose token was shown at sign-in"),
    Column("csrf", String(64), nullable=False),
    Column("language", String(2), nullable=False),
    Column("created", String(32), nullable=False),
    Column("seen", String(32), nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredBrowser:
    """A signed-in browser as it stands in the database."""

    token_sha256: str
    csrf: str
    language: str
    created: dt.datetime
    seen: dt.datetime


def add(connection: Connection, cookie_sha256: str, browser: StoredBrowser) -> None:
    """Remember a browser that has just signed in."""
    connection.execute(
        insert(browsers).values(
            cookie_sha256=cookie_sha256,
            token_sha256=browser.token_sha256,
            csrf=browser.csrf,
            language=browser.language,
            created=browser.created.isoformat(),
            seen=browser.seen.isoformat(),
        )
    )


def find(connection: Connection, cookie_sha256: str) -> StoredBrowser | None:
    """Return the browser that holds a cookie, if it is signed in."""
    row = connection.execute(
        select(browsers).where(browsers.c.cookie_sha256 == cookie_sha256)
    ).first()
    if row is None:
        return None
    created, seen = (dt.datetime.fromisoformat(t) for t in (row.created, row.seen))
    return StoredBrowser(row.token_sha256, row.csrf, row.language, created, seen)


def touch(connection: Connection, cookie_sha256: str, now: dt.datetime) -> None:
    """Remember that a browser was seen."""
    here = browsers.c.cookie_sha256 == cookie_sha256
    connection.execute(update(browsers).where(here).values(seen=now.isoformat()))


def speak(connection: Connection, cookie_sha256: str, language: str) -> None:
    """Remember the language that a browser wants."""
    here = browsers.c.cookie_sha256 == cookie_sha256
    connection.execute(update(browsers).where(here).values(language=language))


def remove(connection: Connection, cookie_sha256: str) -> None:
    """Forget a browser."""
    connection.execute(delete(browsers).where(browsers.c.cookie_sha256 == cookie_sha256))


def remove_older(connection: Connection, seen_before: dt.datetime) -> None:
    """Forget browsers that nobody has used since."""
    connection.execute(delete(browsers).where(browsers.c.seen < seen_before.isoformat()))


def spending(connection: Connection, tenant: str, domain: str) -> Mapping[dt.date, int]:
    """Return what a tenant paid by day, in micro-rho, where it paid most: in one cohort.

    A question charges each of its cohorts the same, so the cohort with the most is the one that
    limits what may still be asked.
    """
    item, held = db.items.c, db.reservations.c
    day = func.substr(held.created, 1, 10)
    rows = connection.execute(
        select(day.label("day"), item.cohorts, func.sum(item.micro_rho).label("paid"))
        .join_from(db.items, db.reservations, item.reservation_id == held.id)
        .where(
            held.tenant == tenant,
            item.domain == domain,
            item.charged == 1,
            held.state != State.REFUNDED.value,
        )
        .group_by(day, item.cohorts)
    ).all()
    by_cohort: dict[str, dict[dt.date, int]] = {}
    for row in rows:
        for cohort in row.cohorts.strip("[]").split(","):
            days = by_cohort.setdefault(cohort.strip(), {})
            date = dt.date.fromisoformat(row.day)
            days[date] = days.get(date, 0) + int(row.paid)
    return max(by_cohort.values(), key=lambda days: sum(days.values()), default={})
