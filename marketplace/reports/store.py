"""What reports read: SQL of their own, where no package has it."""

import json
from collections import Counter
from datetime import datetime

from sqlalchemy import Connection, func, select

from marketplace import db
from marketplace.access.store import StandIn, stand_ins
from marketplace.audit.entry import Event
from marketplace.audit.people import People
from marketplace.catalogue.regrading_store import Regrading, of_resource, regradings
from marketplace.catalogue.store import resources
from marketplace.releases import store as releases
from marketplace.releases.store import StoredItem, StoredReservation
from marketplace.risk.reading import NO_GRANT
from marketplace.risk.store import observations

BATCH = 500


def questions(
    connection: Connection, since: str, until: str
) -> list[tuple[StoredReservation, list[StoredItem]]]:
    """Return all questions of a time with their releases, oldest first."""
    held = releases.between(connection, since, until)
    found: dict[str, list[StoredItem]] = {}
    for start in range(0, len(held), BATCH):
        found |= releases.items_of(connection, [h.id for h in held[start : start + BATCH]])
    return [(h, found.get(h.id, [])) for h in held]


def denials(connection: Connection, since: str, until: str) -> Counter[tuple[str, str]]:
    """Return how often each organisation was refused with each code."""
    c = observations.c
    refused = [Event.RESERVATION_DENIED.value, Event.ACCESS_DENIED.value]
    wanted = select(c.tenant, c.facts).where(c.event.in_(refused), c.time >= since, c.time < until)
    found: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(wanted):
        code = json.loads(row.facts).get("code", "")
        found[row.tenant, "GRANT_REVOKED" if code == NO_GRANT else code] += 1
    return found


def recorded(connection: Connection, since: str, until: str) -> dict[str, int]:
    """Return how many releases of each organisation were recorded."""
    c = db.releases.c
    wanted = select(c.tenant, func.count()).where(c.created >= since, c.created < until)
    return {r[0]: int(r[1]) for r in connection.execute(wanted.group_by(c.tenant))}


def entry_of(connection: Connection, ids: list[str]) -> dict[str, tuple[int, str]]:
    """Return entry and time of releases."""
    c, found = db.releases.c, dict[str, tuple[int, str]]()
    for start in range(0, len(ids), BATCH):
        wanted = select(c.id, c.entry_index, c.created).where(c.id.in_(ids[start : start + BATCH]))
        found |= {r[0]: (int(r[1]), r[2]) for r in connection.execute(wanted)}
    return found


def accounts(connection: Connection) -> list[tuple[str, int, str, int, int, int]]:
    """Return all accounts: domain, cohort, tenant, cap, spent micro-rho and delta."""
    a = db.accounts.c
    wanted = select(
        a.domain, a.cohort, a.tenant, a.cap_micro_rho, a.spent_micro_rho, a.spent_delta_1e12
    ).order_by(a.domain, a.cohort, a.tenant)
    return [(r[0], r[1], r[2], r[3], r[4], r[5]) for r in connection.execute(wanted)]


def regraded(connection: Connection, since: str, until: str) -> list[tuple[str, Regrading]]:
    """Return changes of grades that were reported within a time, with their resource's code."""
    c, r = regradings.c, resources.c
    chosen = select(c.resource, r.code).join_from(regradings, resources, c.resource == r.id)
    chosen = chosen.where(c.created >= since, c.created < until).distinct()
    found = [
        (row.code, one)
        for row in connection.execute(chosen).all()
        for one in of_resource(connection, row.resource)
        if since <= one.created < until
    ]
    return sorted(found, key=lambda pair: (pair[1].created, pair[1].id))


def last_seen(connection: Connection) -> dict[str, str]:
    """Return when each person was seen last, by name."""
    c, people = observations.c, People(connection)
    wanted = select(c.actor, func.max(c.time)).where(c.actor != "").group_by(c.actor)
    return {people.name(r[0]): r[1] for r in connection.execute(wanted).all()}


def last_asked(connection: Connection) -> dict[tuple[str, str], str]:
    """Return when each organisation last asked of each table."""
    c = db.reservations.c
    wanted = select(c.tenant, c.tables, func.max(c.created)).group_by(c.tenant, c.tables)
    found: dict[tuple[str, str], str] = {}
    for tenant, tables, time in connection.execute(wanted):
        for table in json.loads(tables):
            found[tenant, table] = max(time, found.get((tenant, table), ""))
    return found


def all_stand_ins(connection: Connection, now: datetime) -> list[StandIn]:
    """Return who takes whose place, today or later."""
    c, people = stand_ins.c, People(connection)
    wanted = select(stand_ins).where(c.ends > now.isoformat(timespec="milliseconds"))
    return [
        StandIn(people.name(r.user), people.name(r.stand_in), r.starts, r.ends)
        for r in connection.execute(wanted.order_by(c.starts))
    ]
