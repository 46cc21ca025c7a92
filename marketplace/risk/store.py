"""What rules saw, what they found and what people did about it; SQL and nothing else.

People stand there by opaque ids, and their words are sealed for them (`audit.people`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
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
from marketplace.risk.model import (
    Action,
    Charge,
    Hit,
    Observation,
    RiskEvent,
    Severity,
    State,
    Step,
    Taken,
)
from marketplace.window import Window

ERASED = "erased"
"""Stands for the words of a person who was erased."""

cursors = Table(
    "risk_cursors",
    db.metadata,
    Column("name", String(16), primary_key=True),
    Column("next", BigInteger, nullable=False, comment="entry to look at next"),
)

observations = Table(
    "risk_observations",
    db.metadata,
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("time", String(32), nullable=False),
    Column("event", String(40), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("actor", String(64), nullable=False, comment="opaque id; empty if unknown"),
    Column("joined", String(400), nullable=False, comment="G3 tables put together, or empty"),
    Column("facts", String, nullable=False, comment="JSON: all else that rules look at"),
    Index("risk_observations_by_tenant", "tenant", "time"),
    Index("risk_observations_by_actor", "actor", "time"),
)

events = Table(
    "risk_events",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("rule", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("action", String(16), nullable=False),
    Column("score", Integer, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("actor", String(64), nullable=False, comment="opaque id; empty if unknown"),
    Column("about", String(400), nullable=False, comment="what repeats of a finding share"),
    Column("evidence", String, nullable=False, comment="JSON: indexes of entries"),
    Column("figures", String, nullable=False, comment="JSON: measured, against which threshold"),
    Column("state", String(16), nullable=False, index=True, comment="after the last step"),
    Column("happened", String(32), nullable=False, comment="when the judged entry was made"),
    Column("raised", String(32), nullable=False, index=True),
    Column("entry_index", BigInteger, nullable=False, comment="of the entry that says so"),
    Index("risk_events_by_finding", "rule", "tenant", "actor", "about", "happened"),
)

steps = Table(
    "risk_steps",
    db.metadata,
    Column("event_id", String(32), ForeignKey("risk_events.id"), primary_key=True),
    Column("position", Integer, primary_key=True, comment="from 0"),
    Column("step", String(16), nullable=False),
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("organisation", String(64), nullable=False),
    Column("handler", String(64), nullable=False, comment="opaque id; empty unless assigned"),
    Column("codes", String, nullable=False, comment="JSON: disposal, stop"),
    Column("comment", LargeBinary, comment="sealed for who acts; null without"),
    Column("time", String(32), nullable=False),
)

_FACTS = ("roles", "code", "question", "stored", "tables", "sensitive", "unknown")


def cursor(connection: Connection, name: str) -> int:
    """Return the entry that comes next."""
    wanted = select(cursors.c.next).where(cursors.c.name == name)
    return connection.execute(wanted).scalar_one_or_none() or 0


def move(connection: Connection, name: str, onward: int) -> None:
    """Remember the entry that comes next."""
    changed = update(cursors).where(cursors.c.name == name).values(next=onward)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(cursors).values(name=name, next=onward))


def observe(connection: Connection, observed: Sequence[Observation]) -> None:
    """Keep what rules saw."""
    if observed:
        connection.execute(insert(observations), [_row(o) for o in observed])


def recent(connection: Connection, tenant: str, since: datetime) -> list[Observation]:
    """Return what an organisation did after a time, oldest first."""
    c = observations.c
    wanted = select(observations).where(c.tenant == tenant, c.time > _text(since))
    return [_seen(row) for row in connection.execute(wanted.order_by(c.entry_index))]


def hours(
    connection: Connection, actor: str, asked: Iterable[str], since: datetime
) -> dict[datetime, int]:
    """Return how many questions a person asked in each clock hour from a time on, in order."""
    c = observations.c
    hour = func.substr(c.time, 1, 13)
    counted = (
        select(hour.label("hour"), func.count().label("count"))
        .where(c.actor == actor, c.time >= _text(since), c.event.in_(sorted(asked)))
        .group_by(hour)
        .order_by(hour)
    )
    rows = connection.execute(counted).all()
    return {datetime.fromisoformat(f"{r.hour}:00:00+00:00"): int(r[1]) for r in rows}


def last_seen(connection: Connection, actor: str) -> datetime | None:
    """Return when a person was seen last."""
    newest = select(func.max(observations.c.time)).where(observations.c.actor == actor)
    found: str | None = connection.execute(newest).scalar_one_or_none()
    return None if found is None else datetime.fromisoformat(found)


def joins(connection: Connection, tenant: str) -> set[str]:
    """Return which sensitive tables an organisation put together so far."""
    c = observations.c
    wanted = select(c.joined).where(c.tenant == tenant, c.joined != "").distinct()
    return set(connection.execute(wanted).scalars())


def last_found(connection: Connection, finding: tuple[str, str, str, str]) -> datetime | None:
    """Return when a rule last found something of a person (rule, organisation, person, about)."""
    c = events.c
    same = zip((c.rule, c.tenant, c.actor, c.about), finding, strict=True)
    wanted = select(func.max(c.happened)).where(*(column == value for column, value in same))
    found: str | None = connection.execute(wanted).scalar_one_or_none()
    return None if found is None else datetime.fromisoformat(found)


def add(connection: Connection, event: RiskEvent) -> None:
    """Write a new event."""
    hit = event.hit
    connection.execute(
        insert(events).values(
            id=event.id,
            rule=hit.rule,
            severity=hit.severity.value,
            action=hit.action.value,
            score=hit.score,
            tenant=hit.tenant,
            actor=hit.actor,
            about=hit.about,
            evidence=json.dumps(list(hit.evidence)),
            figures=json.dumps(dict(hit.figures), sort_keys=True),
            state=event.state.value,
            happened=_text(event.happened),
            raised=_text(event.raised),
            entry_index=event.entry_index,
        )
    )


def took(connection: Connection, event: RiskEvent) -> None:
    """Write the latest step of an event."""
    people, taken, position = People(connection), event.steps[-1], len(event.steps) - 1
    who = people.enrol(taken.user)
    place = _place(event.id, position)
    connection.execute(
        insert(steps).values(
            event_id=event.id,
            position=position,
            step=taken.step.value,
            user=who,
            organisation=taken.organisation,
            handler=people.enrol(taken.handler),
            codes=json.dumps({"disposal": taken.disposal, "stop": taken.stop}, sort_keys=True),
            comment=people.seal(who, place, taken.comment) if taken.comment else None,
            time=_text(taken.time),
        )
    )
    changed = update(events).where(events.c.id == event.id)
    connection.execute(changed.values(state=event.state.value))


def get(connection: Connection, event_id: str) -> RiskEvent | None:
    """Return an event."""
    row = connection.execute(select(events).where(events.c.id == event_id)).first()
    return None if row is None else _whole(connection, [row])[0]


def latest(  # one argument for each part of the filter
    connection: Connection,
    state: State | None,
    window: Window,
    since: str = "",
    until: str = "~",
    *,
    rule: str = "",
) -> list[RiskEvent]:
    """Return events that were raised from a time on and before another, newest first."""
    c = events.c
    wanted = select(events).where(c.raised >= since, c.raised < until)
    if state is not None:
        wanted = wanted.where(c.state == state.value)
    if rule:
        wanted = wanted.where(c.rule == rule)
    wanted = wanted.order_by(c.entry_index.desc(), c.id).limit(window.most).offset(window.skip)
    return _whole(connection, connection.execute(wanted).all())


def counts(connection: Connection) -> dict[State, int]:
    """Return how many events are in each state."""
    wanted = select(events.c.state, func.count()).group_by(events.c.state)
    found = {State(row[0]): int(row[1]) for row in connection.execute(wanted)}
    return {state: found.get(state, 0) for state in State}


def _whole(connection: Connection, rows: Sequence[Row[tuple[Any, ...]]]) -> list[RiskEvent]:
    people = People(connection)
    taken: dict[str, list[Taken]] = {row.id: [] for row in rows}
    ids = sorted(taken)
    for start in range(0, len(ids), 500):
        some = steps.c.event_id.in_(ids[start : start + 500])
        chosen = select(steps).where(some).order_by(steps.c.event_id, steps.c.position)
        for row in connection.execute(chosen):
            taken[row.event_id].append(_taken(people, row))
    return [
        RiskEvent(
            row.id,
            Hit(
                row.rule,
                Severity(row.severity),
                Action(row.action),
                row.score,
                row.tenant,
                people.name(row.actor),
                row.about,
                tuple(json.loads(row.evidence)),
                json.loads(row.figures),
            ),
            datetime.fromisoformat(row.happened),
            datetime.fromisoformat(row.raised),
            row.entry_index,
            State(row.state),
            tuple(taken[row.id]),
        )
        for row in rows
    ]


def _taken(people: People, row: Row[tuple[Any, ...]]) -> Taken:
    said: str | None = ""
    if row.comment is not None:
        said = people.read(row.user, _place(row.event_id, row.position), bytes(row.comment))
    return Taken(
        Step(row.step),
        people.name(row.user),
        row.organisation,
        datetime.fromisoformat(row.time),
        people.name(row.handler),
        comment=ERASED if said is None else said,
        **json.loads(row.codes),
    )


def _row(o: Observation) -> dict[str, Any]:
    facts: dict[str, Any] = {name: getattr(o, name) for name in _FACTS if getattr(o, name)}
    if o.charges:
        facts["charges"] = [asdict(c) for c in o.charges]
    return {
        "entry_index": o.index,
        "time": _text(o.time),
        "event": o.event,
        "tenant": o.tenant,
        "actor": o.actor,
        "joined": o.join,
        "facts": json.dumps(facts, sort_keys=True),
    }


def _seen(row: Row[tuple[Any, ...]]) -> Observation:
    facts: Mapping[str, Any] = json.loads(row.facts)
    lists = {n: tuple(facts.get(n, ())) for n in ("roles", "tables", "sensitive", "unknown")}
    return Observation(
        row.entry_index,
        datetime.fromisoformat(row.time),
        row.event,
        row.tenant,
        row.actor,
        code=facts.get("code", ""),
        question=facts.get("question", ""),
        stored=facts.get("stored", False),
        charges=tuple(Charge(**c) for c in facts.get("charges", ())),
        **lists,
    )


def _place(event_id: str, position: int) -> str:
    return f"risk/{event_id}/{position}"


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
