"""Requests, their history, stand-ins and notices in the database; SQL and nothing else."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    func,
    insert,
    select,
    update,
)

from marketplace import db
from marketplace.access.model import OPEN, AccessRequest, Actor, State, Terms, Vote

requests = Table(
    "requests",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False, index=True),
    Column("user", String(64), nullable=False),
    Column("table", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("text", String, nullable=False, comment="canonical JSON of the present revision"),
    Column("votes", String, nullable=False, comment="JSON, on the present text"),
    Column("created", String(32), nullable=False),
    Column("since", String(32), nullable=False, comment="in this state"),
    Index("requests_by_state", "state", "since"),
)

steps = Table(
    "request_steps",
    db.metadata,
    Column("request_id", String(32), ForeignKey("requests.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("step", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("state", String(16), nullable=False, comment="after it"),
    Column("user", String(64), nullable=False),
    Column("organisation", String(64), nullable=False),
    Column("for_user", String(64), nullable=False),
    Column("sha256", String(64), nullable=False, comment="of the text that was judged"),
    Column("comment", String(1000), nullable=False),
    Column("time", String(32), nullable=False),
)

stand_ins = Table(
    "stand_ins",
    db.metadata,
    Column("user", String(64), primary_key=True, comment="who is away"),
    Column("stand_in", String(64), nullable=False),
    Column("starts", String(32), nullable=False),
    Column("ends", String(32), nullable=False),
)

notices = Table(
    "notices",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("user", String(64), nullable=False),
    Column("event", String(40), nullable=False),
    Column("about", String(64), nullable=False),
    Column("en", String(500), nullable=False),
    Column("zh", String(500), nullable=False),
    Column("created", String(32), nullable=False),
    Column("read", String(32)),
    Column("mailed", String(32)),
    Index("notices_by_user", "user", "created"),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A request with its times."""

    request: AccessRequest
    created: str
    since: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step in a request's history."""

    step: str
    verdict: str
    state: str
    actor: Actor
    sha256: str
    comment: str
    time: str


@dataclass(frozen=True, slots=True)
class StandIn:
    """Who takes whose place, from when to when (ISO 8601, UTC)."""

    user: str
    stand_in: str
    starts: str
    ends: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person is told."""

    id: str
    user: str
    event: str
    about: str
    en: str
    zh: str
    created: str
    read: str | None = None


def add(connection: Connection, request: AccessRequest, time: str) -> None:
    """Write a new request."""
    connection.execute(
        insert(requests).values(
            id=request.id,
            tenant=request.tenant,
            user=request.user,
            table=request.terms.table,
            created=time,
            since=time,
            **_changing(request),
        )
    )


def save(connection: Connection, request: AccessRequest, time: str) -> None:
    """Write what a step changed; `time` is when its state began."""
    connection.execute(
        update(requests).where(requests.c.id == request.id).values(since=time, **_changing(request))
    )


def get(connection: Connection, request_id: str) -> Kept | None:
    """Return a request, held against other writers where rows can be."""
    row = connection.execute(
        select(requests).where(requests.c.id == request_id).with_for_update()
    ).first()
    return None if row is None else _kept(row)


def of_tenant(connection: Connection, tenant: str) -> list[Kept]:
    """Return an organisation's requests, newest first."""
    c = requests.c
    wanted = select(requests).where(c.tenant == tenant).order_by(c.created.desc(), c.id)
    return [_kept(r) for r in connection.execute(wanted)]


def in_states(connection: Connection, states: Iterable[State] | None = None) -> list[Kept]:
    """Return requests in some states, or all; the longest waiting first."""
    c = requests.c
    wanted = select(requests).order_by(c.since, c.id)
    if states is not None:
        wanted = wanted.where(c.state.in_([s.value for s in states]))
    return [_kept(r) for r in connection.execute(wanted)]


def count_open(connection: Connection, tenant: str) -> int:
    """Return how many requests of an organisation are undecided."""
    c = requests.c
    found: int = connection.execute(
        select(func.count()).where(c.tenant == tenant, c.state.in_([s.value for s in OPEN]))
    ).scalar_one()
    return found


def add_step(connection: Connection, request_id: str, step: Step) -> None:
    """Append to a request's history."""
    mine = steps.c.request_id == request_id
    position = connection.execute(select(func.count()).where(mine)).scalar_one()
    connection.execute(
        insert(steps).values(
            request_id=request_id,
            position=position,
            step=step.step,
            verdict=step.verdict,
            state=step.state,
            user=step.actor.user,
            organisation=step.actor.organisation,
            for_user=step.actor.for_user,
            sha256=step.sha256,
            comment=step.comment,
            time=step.time,
        )
    )


def history(connection: Connection, request_id: str) -> list[Step]:
    """Return a request's steps, oldest first."""
    c = steps.c
    rows = connection.execute(select(steps).where(c.request_id == request_id).order_by(c.position))
    return [
        Step(
            r.step,
            r.verdict,
            r.state,
            Actor(r.user, r.organisation, r.for_user),
            r.sha256,
            r.comment,
            r.time,
        )
        for r in rows
    ]


def waits(connection: Connection, most: int) -> list[tuple[str, str, str]]:
    """Return table, creation and end of the last decided requests."""
    c = requests.c
    decided = (State.GRANTED.value, State.DECLINED.value)
    rows = connection.execute(
        select(c.table, c.created, c.since)
        .where(c.state.in_(decided))
        .order_by(c.since.desc(), c.id)
        .limit(most)
    )
    return [(r.table, r.created, r.since) for r in rows]


def name_stand_in(connection: Connection, named: StandIn) -> None:
    """Write who takes a person's place; an earlier one ends."""
    here = stand_ins.c.user == named.user
    values = {"stand_in": named.stand_in, "starts": named.starts, "ends": named.ends}
    done = connection.execute(update(stand_ins).where(here).values(**values))
    if done.rowcount == 0:
        connection.execute(insert(stand_ins).values(user=named.user, **values))


def places_taken(connection: Connection, user: str, time: str) -> list[StandIn]:
    """Return for whom a person stands in at a time."""
    c = stand_ins.c
    rows = connection.execute(
        select(stand_ins).where(c.stand_in == user, c.starts <= time, c.ends > time)
    )
    return [StandIn(r.user, r.stand_in, r.starts, r.ends) for r in rows]


def tell(connection: Connection, notice: Notice) -> None:
    """Write a notice."""
    connection.execute(
        insert(notices).values(
            id=notice.id,
            user=notice.user,
            event=notice.event,
            about=notice.about,
            en=notice.en,
            zh=notice.zh,
            created=notice.created,
        )
    )


def notices_of(connection: Connection, user: str, most: int) -> list[Notice]:
    """Return a person's notices, newest first."""
    c = notices.c
    rows = connection.execute(
        select(notices).where(c.user == user).order_by(c.created.desc(), c.id).limit(most)
    )
    return [_notice(r) for r in rows]


def mark_read(connection: Connection, user: str, notice_id: str, time: str) -> bool:
    """Mark one's own notice as read; False if there is none."""
    c = notices.c
    done = connection.execute(
        update(notices).where(c.id == notice_id, c.user == user).values(read=time)
    )
    return done.rowcount == 1


def unmailed(connection: Connection, most: int) -> list[Notice]:
    """Return notices that were not mailed yet, oldest first."""
    c = notices.c
    rows = connection.execute(
        select(notices).where(c.mailed.is_(None)).order_by(c.created, c.id).limit(most)
    )
    return [_notice(r) for r in rows]


def mark_mailed(connection: Connection, ids: list[str], time: str) -> None:
    """Remember which notices were mailed, or have nobody to be mailed to."""
    connection.execute(update(notices).where(notices.c.id.in_(ids)).values(mailed=time))


def _changing(request: AccessRequest) -> dict[str, str]:
    votes = [
        {
            "stage": v.stage.value,
            "user": v.actor.user,
            "organisation": v.actor.organisation,
            "for_user": v.actor.for_user,
            "sha256": v.sha256,
        }
        for v in request.votes
    ]
    return {
        "state": request.state.value,
        "text": request.text(),
        "votes": json.dumps(votes, sort_keys=True),
    }


def _kept(row: Row[tuple[object, ...]]) -> Kept:
    text = json.loads(row.text)
    terms = text["terms"]
    for name in ("purposes", "lanes", "fields"):
        terms[name] = tuple(terms[name])
    votes = tuple(
        Vote(State(v["stage"]), Actor(v["user"], v["organisation"], v["for_user"]), v["sha256"])
        for v in json.loads(row.votes)
    )
    request = AccessRequest(
        row.id,
        row.tenant,
        row.user,
        Terms(**terms),
        text["rank"],
        text["revision"],
        State(row.state),
        votes,
        text["renews"],
    )
    return Kept(request, row.created, row.since)


def _notice(row: Row[tuple[object, ...]]) -> Notice:
    return Notice(row.id, row.user, row.event, row.about, row.en, row.zh, row.created, row.read)
