"""Grants and stops in the database; SQL and nothing else."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    and_,
    bindparam,
    insert,
    or_,
    select,
    update,
)

from marketplace import db
from marketplace.access.grant import Grant, from_text
from marketplace.audit.people import People

ACTIVE, REVOKED = "active", "revoked"
TABLE, TENANT, LAB = "table", "tenant", "lab"

grants = Table(
    "grants",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("table", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("ends", BigInteger, nullable=False, comment="as in the text; for sorting"),
    Column("text", String, nullable=False, comment="canonical JSON, as approved"),
    Column("sha256", String(64), nullable=False, comment="of the text; also in the log"),
    Column("revoked", String(32), comment="when"),
    Column("warned", String(32), comment="when its holder was told that it ends"),
    Index("grants_by_holder", "tenant", "table"),
)

stops = Table(
    "stops",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("target", String(64), nullable=False, comment="table or tenant; empty for the lab"),
    Column("reason", LargeBinary, nullable=False, comment="sealed for who pulled it"),
    Column("by_user", String(64), nullable=False, comment="opaque id"),
    Column("since", String(32), nullable=False),
    Column("lifted", String(32)),
    Column("lifted_by", String(64), comment="opaque id"),
    Index("stops_in_force", "lifted", "scope", "target"),
)

# Every paid question runs these, so they are put together once.
_GRANTS = (
    select(grants)
    .where(
        grants.c.tenant == bindparam("holder"),
        grants.c.table.in_(bindparam("wanted", expanding=True)),
    )
    .order_by(grants.c.ends.desc(), grants.c.id)
)
_STOPPED = select(stops.c.scope, stops.c.target).where(
    stops.c.lifted.is_(None),
    or_(
        stops.c.scope == LAB,
        and_(stops.c.scope == TENANT, stops.c.target == bindparam("holder")),
        and_(stops.c.scope == TABLE, stops.c.target.in_(bindparam("wanted", expanding=True))),
    ),
)


@dataclass(frozen=True, slots=True)
class Held:
    """A grant and whether it was revoked."""

    grant: Grant
    state: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Access that is stopped: of a table, of a tenant, or all of it."""

    id: str
    scope: str
    target: str
    reason: str
    by: str
    since: str
    lifted: str | None = None
    lifted_by: str | None = None


def add(connection: Connection, grant: Grant) -> None:
    """Write a new grant."""
    connection.execute(
        insert(grants).values(
            id=grant.id,
            tenant=grant.tenant,
            table=grant.table,
            state=ACTIVE,
            ends=grant.ends,
            text=grant.text(),
            sha256=grant.sha256,
        )
    )


def any_grant(connection: Connection) -> bool:
    """Whether any grant was ever made."""
    return connection.execute(select(grants.c.id).limit(1)).first() is not None


def get(connection: Connection, grant_id: str) -> Held | None:
    """Return a grant."""
    row = connection.execute(select(grants).where(grants.c.id == grant_id)).first()
    return None if row is None else _held(row)


def of_tenant(connection: Connection, tenant: str) -> list[Held]:
    """Return all grants of an organisation, the latest end first."""
    c = grants.c
    rows = connection.execute(
        select(grants).where(c.tenant == tenant).order_by(c.ends.desc(), c.id)
    )
    return [h for h in map(_held, rows) if h is not None]


def of_tables(connection: Connection, tables: list[str]) -> list[Held]:
    """Return all grants of some tables, the latest end first."""
    c = grants.c
    rows = connection.execute(
        select(grants).where(c.table.in_(tables)).order_by(c.ends.desc(), c.id)
    )
    return [h for h in map(_held, rows) if h is not None]


def everything(connection: Connection) -> list[Held]:
    """Return all grants, the latest end first."""
    rows = connection.execute(select(grants).order_by(grants.c.ends.desc(), grants.c.id))
    return [h for h in map(_held, rows) if h is not None]


def best(connection: Connection, tenant: str, tables: list[str], now: int) -> dict[str, Held]:
    """Return for each table the grant that decides: a live one if any, else the latest to end."""
    rows = connection.execute(_GRANTS, {"holder": tenant, "wanted": tables})
    found: dict[str, Held] = {}
    for held in filter(None, map(_held, rows)):
        before = found.get(held.grant.table)
        if before is None or _order(held, now) > _order(before, now):
            found[held.grant.table] = held
    return found


def _order(held: Held, now: int) -> tuple[bool, bool]:
    return held.state == ACTIVE and held.grant.is_live(now), held.state == ACTIVE


def revoke(connection: Connection, grant_id: str, when: str) -> None:
    """Mark a grant revoked; nothing makes it active again."""
    connection.execute(
        update(grants).where(grants.c.id == grant_id).values(state=REVOKED, revoked=when)
    )


def to_warn(connection: Connection, now: int, before: int) -> list[Grant]:
    """Return active grants that end within a time and whose holders were not told."""
    c = grants.c
    rows = connection.execute(
        select(grants).where(c.state == ACTIVE, c.ends > now, c.ends <= before, c.warned.is_(None))
    )
    return [h.grant for h in map(_held, rows) if h is not None]


def warned(connection: Connection, grant_id: str, when: str) -> None:
    """Remember that the holder of a grant was told."""
    connection.execute(update(grants).where(grants.c.id == grant_id).values(warned=when))


def pull(connection: Connection, stop: Stop) -> None:
    """Write a stop."""
    people = People(connection)
    by = people.enrol(stop.by)
    connection.execute(
        insert(stops).values(
            id=stop.id,
            scope=stop.scope,
            target=stop.target,
            reason=people.seal(by, _place(stop.id), stop.reason),
            by_user=by,
            since=stop.since,
        )
    )


def lift(connection: Connection, stop_id: str, by: str, when: str) -> None:
    """End a stop."""
    values = {"lifted": when, "lifted_by": People(connection).enrol(by)}
    connection.execute(update(stops).where(stops.c.id == stop_id).values(**values))


def stop(connection: Connection, stop_id: str) -> Stop | None:
    """Return a stop."""
    row = connection.execute(select(stops).where(stops.c.id == stop_id)).first()
    return None if row is None else _stop(People(connection), row)


def all_stops(connection: Connection) -> list[Stop]:
    """Return all stops, newest first."""
    people, wanted = People(connection), select(stops).order_by(stops.c.since.desc())
    return [_stop(people, r) for r in connection.execute(wanted)]


def stopped(connection: Connection, tenant: str, tables: list[str]) -> frozenset[str]:
    """Return which of some tables are closed to a tenant by a stop in force."""
    rows = connection.execute(_STOPPED, {"holder": tenant, "wanted": tables}).all()
    if any(r.scope != TABLE for r in rows):
        return frozenset(tables)
    return frozenset(r.target for r in rows)


def _held(row: Row[tuple[object, ...]]) -> Held | None:
    # A text that is not the one approved grants nothing.
    if hashlib.sha256(row.text.encode()).hexdigest() != row.sha256:
        return None
    grant = from_text(row.text)
    if (grant.id, grant.tenant, grant.table) != (row.id, row.tenant, row.table):
        return None
    return Held(grant, row.state)


def _place(stop_id: str) -> str:
    return f"stops/{stop_id}"


def _stop(people: People, row: Row[tuple[Any, ...]]) -> Stop:
    return Stop(
        row.id,
        row.scope,
        row.target,
        people.read(row.by_user, _place(row.id), bytes(row.reason)) or "",
        people.name(row.by_user),
        row.since,
        row.lifted,
        None if row.lifted_by is None else people.name(row.lifted_by),
    )
