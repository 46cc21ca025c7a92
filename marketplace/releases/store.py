"""Reservations, releases and table versions in the database; SQL and nothing else."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from marketplace import db
from marketplace.audit.people import People
from marketplace.releases.model import Ask, Item, Made, State
from marketplace.window import Window
from privacy.dp.budget import Budget


@dataclass(frozen=True, slots=True)
class StoredReservation:
    """A reservation as it stands in the database."""

    id: str
    tenant: str
    user: str
    operation_id: str
    plan_digest: str
    purpose: str
    epsilon: str
    fencing_token: str
    attempts: int
    state: State
    tables: dict[str, str]
    receipt_id: str | None
    created: str


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One release of a reservation as it stands in the database."""

    position: int
    item: Item
    release_id: str | None
    charged: bool
    """Whether this reservation paid for it; otherwise the bytes were there before."""

    @property
    def charged_micro_rho(self) -> int:
        """Return what this reservation paid for it."""
        return self.item.cost.micro_rho if self.charged else 0


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release without its bytes."""

    id: str
    digest: str
    mechanism: str
    cost: Budget
    draws: str
    sha256: str
    tables: dict[str, str]
    entry_index: int
    created: str


# Every paid question runs these, so they are put together once.
_reservation_rows, _release_rows, _item_rows = db.reservations.c, db.releases.c, db.items.c
_RESERVATION = select(db.reservations).where(_reservation_rows.id == bindparam("wanted"))
_OPERATION = select(db.reservations).where(
    _reservation_rows.tenant == bindparam("asker"),
    _reservation_rows.operation_id == bindparam("operation"),
)
_ITEMS = (
    select(db.items)
    .where(_item_rows.reservation_id.in_(bindparam("wanted", expanding=True)))
    .order_by(_item_rows.reservation_id, _item_rows.position)
)
_STORED = (
    select(_release_rows.id)
    .where(
        _release_rows.tenant == bindparam("asker"),
        _release_rows.digest == bindparam("question"),
        _release_rows.mechanism == bindparam("by"),
        _release_rows.micro_rho >= bindparam("least"),
    )
    .order_by(_release_rows.micro_rho.desc(), _release_rows.id)
    .limit(1)
)
_CLOSE = (
    update(db.reservations)
    .where(_reservation_rows.id == bindparam("closed"))
    .values(state=bindparam("now"), receipt_id=bindparam("receipt"))
)
_ANSWERED = (
    update(db.items)
    .where(
        _item_rows.reservation_id == bindparam("waiting"), _item_rows.position == bindparam("at")
    )
    .values(release_id=bindparam("made"))
)
_LOGGED = (
    select(*[c for c in db.releases.c if c.name != "answer"])
    .where(
        _release_rows.tenant == bindparam("asker"),
        _release_rows.id.in_(bindparam("wanted", expanding=True)),
    )
    .order_by(_release_rows.entry_index)
)
_ANSWER = select(_release_rows.answer, _release_rows.entry_index).where(
    _release_rows.id == bindparam("wanted"), _release_rows.tenant == bindparam("asker")
)
_SMALL_ANSWERS = select(_release_rows.id, _release_rows.answer).where(
    _release_rows.tenant == bindparam("asker"),
    _release_rows.id.in_(bindparam("wanted", expanding=True)),
    func.length(_release_rows.answer) <= bindparam("most"),
)
_VERSIONS = select(db.versions.c.table, db.versions.c.version).where(
    db.versions.c.table.in_(bindparam("wanted", expanding=True))
)


def add_reservation(
    connection: Connection,
    ask: Ask,
    stored: Mapping[str, str | None],
    *,
    reservation_id: str,
    fencing_token: str,
    receipt_id: str | None,
    created: str,
) -> None:
    """Write a reservation and its items; `stored` says which of them have bytes already."""
    people = People(connection)
    user = people.enrol(ask.user)
    connection.execute(
        insert(db.reservations),
        {
            "id": reservation_id,
            "tenant": ask.tenant,
            "operation_id": ask.operation_id,
            "user": user,
            "plan_digest": ask.plan_digest,
            "purpose": people.seal(user, _place(reservation_id), ask.purpose),
            "epsilon": ask.epsilon,
            "fencing_token": fencing_token,
            "attempts": 1,
            "state": State.RECORDED if receipt_id else State.OPEN,
            "tables": json.dumps(ask.tables, sort_keys=True),
            "receipt_id": receipt_id,
            "created": created,
        },
    )
    connection.execute(
        insert(db.items),
        [
            {
                "reservation_id": reservation_id,
                "position": position,
                "digest": item.digest,
                "domain": item.domain,
                "cohorts": json.dumps(sorted(item.cohorts)),
                "micro_rho": item.cost.micro_rho,
                "delta_1e12": item.cost.delta_1e12,
                "mechanism": item.mechanism,
                "release_id": stored[item.digest],
                "charged": int(stored[item.digest] is None),
            }
            for position, item in enumerate(ask.items)
        ],
    )


def reservation(connection: Connection, reservation_id: str) -> StoredReservation | None:
    """Return a reservation."""
    found = connection.execute(_RESERVATION, {"wanted": reservation_id}).first()
    return None if found is None else _reservation(People(connection), found)


def operation(connection: Connection, tenant: str, operation_id: str) -> StoredReservation | None:
    """Return the reservation of a tenant's operation; other tenants' ids are other operations."""
    asked = {"asker": tenant, "operation": operation_id}
    found = connection.execute(_OPERATION, asked).first()
    return None if found is None else _reservation(People(connection), found)


def hand_over(connection: Connection, held: StoredReservation, fencing_token: str) -> None:
    """Make the bearer of `fencing_token` the only one who may close the reservation."""
    connection.execute(
        update(db.reservations)
        .where(db.reservations.c.id == held.id)
        .values(fencing_token=fencing_token, attempts=held.attempts + 1)
    )


def close(
    connection: Connection, reservation_id: str, state: State, receipt_id: str | None = None
) -> None:
    """Move a reservation out of `open`."""
    closed = {"closed": reservation_id, "now": state, "receipt": receipt_id}
    connection.execute(_CLOSE, closed)


def items(connection: Connection, reservation_id: str) -> list[StoredItem]:
    """Return the releases of a reservation, in the order asked."""
    return items_of(connection, [reservation_id])[reservation_id]


def items_of(connection: Connection, ids: Iterable[str]) -> dict[str, list[StoredItem]]:
    """Return the releases of several reservations."""
    found: dict[str, list[StoredItem]] = defaultdict(list)
    for r in connection.execute(_ITEMS, {"wanted": list(ids)}):
        item = Item(
            r.digest,
            r.domain,
            tuple(json.loads(r.cohorts)),
            Budget(r.micro_rho, r.delta_1e12),
            r.mechanism,
        )
        found[r.reservation_id].append(StoredItem(r.position, item, r.release_id, bool(r.charged)))
    return found


def find_stored(connection: Connection, tenant: str, item: Item) -> str | None:
    """Return a tenant's release of this question at this price or a better one, if any."""
    asked = {
        "asker": tenant,
        "question": item.digest,
        "by": item.mechanism,
        "least": item.cost.micro_rho,
    }
    row = connection.execute(_STORED, asked).first()
    return None if row is None else str(row[0])


def add_release(
    connection: Connection,
    held: StoredReservation,
    item: StoredItem,
    made: Made,
    *,
    release_id: str,
    entry_index: int,
    created: str,
) -> None:
    """Write a release with its bytes, and tell its item."""
    connection.execute(
        insert(db.releases),
        {
            "id": release_id,
            "tenant": held.tenant,
            "digest": item.item.digest,
            "mechanism": item.item.mechanism,
            "micro_rho": item.item.cost.micro_rho,
            "delta_1e12": item.item.cost.delta_1e12,
            "draws": made.draws,
            "sha256": made.sha256,
            "answer": made.answer,
            "tables": json.dumps(held.tables, sort_keys=True),
            "entry_index": entry_index,
            "created": created,
        },
    )
    answered = {"waiting": held.id, "at": item.position, "made": release_id}
    connection.execute(_ANSWERED, answered)


def releases(connection: Connection, tenant: str, ids: Iterable[str]) -> list[StoredRelease]:
    """Return a tenant's releases by id, oldest entry first, without their bytes."""
    rows = connection.execute(_LOGGED, {"asker": tenant, "wanted": list(ids)})
    return [
        StoredRelease(
            r.id,
            r.digest,
            r.mechanism,
            Budget(r.micro_rho, r.delta_1e12),
            r.draws,
            r.sha256,
            json.loads(r.tables),
            r.entry_index,
            r.created,
        )
        for r in rows
    ]


def answer(connection: Connection, tenant: str, release_id: str) -> tuple[bytes, int] | None:
    """Return the committed bytes of a tenant's release and its log entry, if there is one."""
    row = connection.execute(_ANSWER, {"wanted": release_id, "asker": tenant}).first()
    return None if row is None else (bytes(row[0]), row[1])


def small_answers(
    connection: Connection, tenant: str, ids: Iterable[str], most: int
) -> dict[str, bytes]:
    """Return the committed bytes of those of a tenant's releases that have `most` bytes or less."""
    asked = {"asker": tenant, "wanted": list(ids), "most": most}
    return {row.id: bytes(row.answer) for row in connection.execute(_SMALL_ANSWERS, asked)}


def by_receipt(connection: Connection, tenant: str, receipt: str) -> StoredReservation | None:
    """Return the reservation that paid for a receipt: the oldest one that carries it."""
    found = connection.execute(
        select(db.reservations)
        .where(db.reservations.c.tenant == tenant, db.reservations.c.receipt_id == receipt)
        .order_by(db.reservations.c.created, db.reservations.c.id)
        .limit(1)
    ).first()
    return None if found is None else _reservation(People(connection), found)


def history(
    connection: Connection, tenant: str, user: str, window: Window
) -> list[StoredReservation]:
    """Return a user's reservations, newest first."""
    people = People(connection)
    known = people.find(user)
    if known is None:
        return []
    rows = connection.execute(
        select(db.reservations)
        .where(db.reservations.c.tenant == tenant, db.reservations.c.user == known)
        .order_by(db.reservations.c.created.desc(), db.reservations.c.id)
        .limit(window.most)
        .offset(window.skip)
    )
    return [_reservation(people, r) for r in rows]


def report_versions(connection: Connection, tables: Mapping[str, str]) -> None:
    """Remember the data version that the gateway now sees of each table."""
    known = _versions(connection, tables)
    for table, version in sorted(tables.items()):
        if table not in known:
            connection.execute(insert(db.versions), {"table": table, "version": version})
        elif known[table] != version:
            here = db.versions.c.table == table
            connection.execute(update(db.versions).where(here).values(version=version))


def are_current(connection: Connection, tables: Mapping[str, str]) -> bool:
    """Whether no newer version of any of these tables was reported."""
    return _versions(connection, tables) == dict(tables)


def _versions(connection: Connection, tables: Iterable[str]) -> dict[str, str]:
    rows = connection.execute(_VERSIONS, {"wanted": list(tables)})
    return {r.table: r.version for r in rows}


def between(connection: Connection, since: str, until: str) -> list[StoredReservation]:
    """Return all reservations made from a time on and before another (ISO 8601, UTC), in order."""
    c, people = db.reservations.c, People(connection)
    wanted = select(db.reservations).where(c.created >= since, c.created < until)
    return [_reservation(people, r) for r in connection.execute(wanted.order_by(c.created, c.id))]


def hide_earlier(connection: Connection) -> int:
    """Hide users and purposes that an earlier version wrote in clear. Return of how many rows."""
    if connection.dialect.name != "sqlite":
        return 0  # no earlier version wrote elsewhere
    people = People(connection)
    clear = "SELECT id, user, purpose FROM reservations WHERE typeof(purpose) = 'text'"
    rows = connection.exec_driver_sql(clear).all()
    for row in rows:
        user = people.enrol(row.user)
        hidden = {"user": user, "purpose": people.seal(user, _place(row.id), row.purpose)}
        here = db.reservations.c.id == row.id
        connection.execute(update(db.reservations).where(here).values(**hidden))
    return len(rows)


def _place(reservation_id: str) -> str:
    return f"reservations/{reservation_id}"


def _reservation(people: People, row: Row[tuple[Any, ...]]) -> StoredReservation:
    return StoredReservation(
        id=row.id,
        tenant=row.tenant,
        user=people.name(row.user),
        operation_id=row.operation_id,
        plan_digest=row.plan_digest,
        purpose=people.read(row.user, _place(row.id), bytes(row.purpose)) or "",
        epsilon=row.epsilon,
        fencing_token=row.fencing_token,
        attempts=row.attempts,
        state=State(row.state),
        tables=json.loads(row.tables),
        receipt_id=row.receipt_id,
        created=row.created,
    )
