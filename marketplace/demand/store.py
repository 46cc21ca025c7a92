"""Demands and their steps in the database; SQL and nothing else.

People stand there by opaque ids, and their words are sealed for them (`audit.people`).
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    func,
    insert,
    select,
    update,
)

from marketplace import db
from marketplace.audit.people import People
from marketplace.demand.model import CLOSED, Demand, State, Step, Taken, Wanted, replay

ERASED = "erased"
"""Stands for the words of a person who was erased."""

WORDS = ("title", "need")

demands = Table(
    "demands",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False, index=True),
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("state", String(16), nullable=False, index=True, comment="after the last step"),
    Column("wanted", String, nullable=False, comment="JSON of its codes"),
    Column("sealed", LargeBinary, nullable=False, comment="JSON of its words, for the author"),
    Column("created", String(32), nullable=False),
)

steps = Table(
    "demand_steps",
    db.metadata,
    Column("demand_id", String(32), ForeignKey("demands.id"), primary_key=True),
    Column("position", Integer, primary_key=True, comment="from 1; submitting is the demand"),
    Column("step", String(16), nullable=False),
    Column("organisation", String(64), nullable=False),
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("codes", String, nullable=False, comment="JSON: what the step states"),
    Column("comment", LargeBinary, comment="sealed for who acts; null without"),
    Column("time", String(32), nullable=False),
)

_CODES = ("provider", "table", "barrier", "rejection", "repeats")


def add(connection: Connection, demand: Demand) -> None:
    """Write a new demand."""
    people = People(connection)
    author = people.enrol(demand.user)
    content = asdict(demand.wanted)
    words = {name: content.pop(name) for name in WORDS}
    sealed = people.seal(author, _place(demand.id), json.dumps(words, sort_keys=True))
    connection.execute(
        insert(demands).values(
            id=demand.id,
            tenant=demand.tenant,
            user=author,
            state=demand.state.value,
            wanted=json.dumps(content, sort_keys=True),
            sealed=sealed,
            created=_text(demand.steps[0].time),
        )
    )


def took(connection: Connection, demand: Demand) -> None:
    """Write the latest step of a demand."""
    people, taken, position = People(connection), demand.latest, len(demand.steps) - 1
    who = people.enrol(taken.user)
    place = _place(demand.id, position)
    connection.execute(
        insert(steps).values(
            demand_id=demand.id,
            position=position,
            step=taken.step.value,
            organisation=taken.organisation,
            user=who,
            codes=json.dumps({n: v for n in _CODES if (v := getattr(taken, n))}, sort_keys=True),
            comment=people.seal(who, place, taken.comment) if taken.comment else None,
            time=_text(taken.time),
        )
    )
    changed = update(demands).where(demands.c.id == demand.id)
    connection.execute(changed.values(state=demand.state.value))


def get(connection: Connection, demand_id: str) -> Demand | None:
    """Return a demand."""
    wanted = select(demands).where(demands.c.id == demand_id)
    row = connection.execute(wanted).first()
    return None if row is None else _whole(connection, [row])[0]


def everything(connection: Connection, *, only_open: bool = False) -> list[Demand]:
    """Return demands, newest first."""
    c = demands.c
    wanted = select(demands).order_by(c.created.desc(), c.id)
    if only_open:
        wanted = wanted.where(c.state.not_in([s.value for s in CLOSED]))
    return _whole(connection, connection.execute(wanted).all())


def open_of(connection: Connection, tenant: str) -> int:
    """Return how many demands of an organisation are open."""
    c = demands.c
    still = c.state.not_in([s.value for s in CLOSED])
    counted = select(func.count()).where(c.tenant == tenant, still)
    return int(connection.execute(counted).scalar_one())


def _whole(connection: Connection, rows: Iterable[Row[tuple[Any, ...]]]) -> list[Demand]:
    people, found = People(connection), list(rows)
    taken: dict[str, list[Taken]] = {row.id: [] for row in found}
    chosen = select(steps).order_by(steps.c.demand_id, steps.c.position)
    if len(found) == 1:
        chosen = chosen.where(steps.c.demand_id == found[0].id)
    for row in connection.execute(chosen):
        if row.demand_id in taken:
            taken[row.demand_id].append(_taken(people, row))
    return [replay(_begun(people, row), taken[row.id]) for row in found]


def _begun(people: People, row: Row[tuple[Any, ...]]) -> Demand:
    words = people.read(row.user, _place(row.id), bytes(row.sealed))
    said = dict.fromkeys(WORDS, ERASED) if words is None else json.loads(words)
    wanted = Wanted(**json.loads(row.wanted), **said)
    name = people.name(row.user)
    submitted = Taken(Step.SUBMIT, row.tenant, name, datetime.fromisoformat(row.created))
    return Demand(row.id, row.tenant, name, wanted, (submitted,), State.SUBMITTED)


def _taken(people: People, row: Row[tuple[Any, ...]]) -> Taken:
    taken = Taken(
        Step(row.step),
        row.organisation,
        people.name(row.user),
        datetime.fromisoformat(row.time),
        **json.loads(row.codes),
    )
    if row.comment is None:
        return taken
    said = people.read(row.user, _place(row.demand_id, row.position), bytes(row.comment))
    return replace(taken, comment=ERASED if said is None else said)


def _place(demand_id: str, position: int = 0) -> str:
    return f"demand/{demand_id}/{position}"


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
