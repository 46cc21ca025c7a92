"""Requests, their history, stand-ins and notices in the database; SQL and nothing else."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
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
from marketplace.access.model import ERASED, OPEN, AccessRequest, Actor, State, Terms, Vote
from marketplace.audit.people import People
from marketplace.stamp import stamp
from marketplace.window import Window

requests = Table(
    "requests",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False, index=True),
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("table", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("terms", String, nullable=False, comment="JSON of the present revision, numbers only"),
    Column("sealed", LargeBinary, nullable=False, comment="JSON of its words, for the author"),
    Column("votes", String, nullable=False, comment="JSON, on the present text; opaque ids"),
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
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("organisation", String(64), nullable=False),
    Column("for_user", String(64), nullable=False, comment="opaque id, or empty"),
    Column("sha256", String(64), nullable=False, comment="of the text that was judged"),
    Column("comment", LargeBinary, comment="sealed for who acts; null without"),
    Column("time", String(32), nullable=False),
)

stand_ins = Table(
    "stand_ins",
    db.metadata,
    Column("user", String(64), primary_key=True, comment="who is away, an opaque id"),
    Column("stand_in", String(64), nullable=False, comment="opaque id"),
    Column("starts", String(32), nullable=False),
    Column("ends", String(32), nullable=False),
)

notices = Table(
    "notices",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("user", String(64), nullable=False, comment="opaque id"),
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

    @property
    def stamp(self) -> str:
        """Return what names the state that an edit replaces: its text, its state and its votes."""
        r = self.request
        return stamp(r.id, r.sha256, r.state.value, self.since, len(r.approvals))


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
    people = People(connection)
    connection.execute(
        insert(requests).values(
            id=request.id,
            tenant=request.tenant,
            user=people.enrol(request.user),
            table=request.terms.table,
            created=time,
            since=time,
            **_words(people, request),
            **_changing(people, request),
        )
    )


def save(connection: Connection, request: AccessRequest, time: str) -> None:
    """Write what a step changed, the text left as it is; `time` is when its state began."""
    here, changing = requests.c.id == request.id, _changing(People(connection), request)
    connection.execute(update(requests).where(here).values(since=time, **changing))


def rewrite(connection: Connection, request: AccessRequest, time: str) -> None:
    """Write a request that was edited."""
    here, words = requests.c.id == request.id, _words(People(connection), request)
    connection.execute(update(requests).where(here).values(**words))
    save(connection, request, time)


def get(connection: Connection, request_id: str) -> Kept | None:
    """Return a request."""
    row = connection.execute(select(requests).where(requests.c.id == request_id)).first()
    return None if row is None else _kept(People(connection), row)


def of_tenant(connection: Connection, tenant: str) -> list[Kept]:
    """Return an organisation's requests, newest first."""
    c, people = requests.c, People(connection)
    wanted = select(requests).where(c.tenant == tenant).order_by(c.created.desc(), c.id)
    return [_kept(people, r) for r in connection.execute(wanted)]


def in_states(connection: Connection, states: Iterable[State] | None = None) -> list[Kept]:
    """Return requests in some states, or all; the longest waiting first."""
    c, people = requests.c, People(connection)
    wanted = select(requests).order_by(c.since, c.id)
    if states is not None:
        wanted = wanted.where(c.state.in_([s.value for s in states]))
    return [_kept(people, r) for r in connection.execute(wanted)]


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
    people = People(connection)
    user, comment = people.enrol(step.actor.user), None
    if step.comment:
        comment = people.seal(user, _comment(request_id, position), step.comment)
    connection.execute(
        insert(steps).values(
            request_id=request_id,
            position=position,
            step=step.step,
            verdict=step.verdict,
            state=step.state,
            user=user,
            organisation=step.actor.organisation,
            for_user=people.enrol(step.actor.for_user),
            sha256=step.sha256,
            comment=comment,
            time=step.time,
        )
    )


def history(connection: Connection, request_id: str) -> list[Step]:
    """Return a request's steps, oldest first."""
    c, people = steps.c, People(connection)
    rows = connection.execute(select(steps).where(c.request_id == request_id).order_by(c.position))
    return [
        Step(
            r.step,
            r.verdict,
            r.state,
            Actor(people.name(r.user), r.organisation, people.name(r.for_user)),
            r.sha256,
            _read(people, r.user, _comment(request_id, r.position), r.comment) or "",
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
    people = People(connection)
    user, stand_in = people.enrol(named.user), people.enrol(named.stand_in)
    values = {"stand_in": stand_in, "starts": named.starts, "ends": named.ends}
    done = connection.execute(update(stand_ins).where(stand_ins.c.user == user).values(**values))
    if done.rowcount == 0:
        connection.execute(insert(stand_ins).values(user=user, **values))


def places_taken(connection: Connection, user: str, time: str) -> list[StandIn]:
    """Return for whom a person stands in at a time."""
    c, people = stand_ins.c, People(connection)
    rows = connection.execute(
        select(stand_ins).where(c.stand_in == people.find(user), c.starts <= time, c.ends > time)
    )
    return [StandIn(people.name(r.user), people.name(r.stand_in), r.starts, r.ends) for r in rows]


def tell(connection: Connection, notice: Notice) -> None:
    """Write a notice."""
    connection.execute(
        insert(notices).values(
            id=notice.id,
            user=People(connection).enrol(notice.user),
            event=notice.event,
            about=notice.about,
            en=notice.en,
            zh=notice.zh,
            created=notice.created,
        )
    )


def notices_of(connection: Connection, user: str, window: Window) -> list[Notice]:
    """Return a person's notices, newest first."""
    c, people = notices.c, People(connection)
    mine = c.user == people.find(user)
    newest = select(notices).where(mine).order_by(c.created.desc(), c.id)
    rows = connection.execute(newest.limit(window.most).offset(window.skip))
    return [_notice(people, r) for r in rows]


def mark_read(connection: Connection, user: str, notice_id: str, time: str) -> bool:
    """Mark one's own notice as read; False if there is none."""
    c, mine = notices.c, People(connection).find(user)
    done = connection.execute(
        update(notices).where(c.id == notice_id, c.user == mine).values(read=time)
    )
    return done.rowcount == 1


def unmailed(connection: Connection, most: int) -> list[Notice]:
    """Return notices that were not mailed yet, oldest first."""
    c, people = notices.c, People(connection)
    rows = connection.execute(
        select(notices).where(c.mailed.is_(None)).order_by(c.created, c.id).limit(most)
    )
    return [_notice(people, r) for r in rows]


def mark_mailed(connection: Connection, ids: list[str], time: str) -> None:
    """Remember which notices were mailed, or have nobody to be mailed to."""
    connection.execute(update(notices).where(notices.c.id.in_(ids)).values(mailed=time))


WORDS = ("purposes", "lanes", "fields", "reason")
"""The terms that an author writes; the table is the catalogue's, the rest are numbers."""


def _words(people: People, request: AccessRequest) -> dict[str, Any]:
    terms = {name: getattr(request.terms, name) for name in Terms.__slots__}
    words = {name: terms.pop(name) for name in WORDS} | {"salt": request.salt}
    stated = {
        "terms": terms,
        "rank": request.rank,
        "revision": request.revision,
        "renews": request.renews,
    }
    place = _text(request.id, request.revision)
    return {
        "terms": json.dumps(stated, sort_keys=True),
        "sealed": people.seal(people.enrol(request.user), place, json.dumps(words)),
    }


def _changing(people: People, request: AccessRequest) -> dict[str, Any]:
    votes = [
        {
            "stage": v.stage.value,
            "user": people.enrol(v.actor.user),
            "organisation": v.actor.organisation,
            "for_user": people.enrol(v.actor.for_user),
            "sha256": v.sha256,
        }
        for v in request.votes
    ]
    return {"state": request.state.value, "votes": json.dumps(votes, sort_keys=True)}


def _kept(people: People, row: Row[tuple[Any, ...]]) -> Kept:
    stated = json.loads(row.terms)
    read = _read(people, row.user, _text(row.id, stated["revision"]), row.sealed)
    words: dict[str, Any] = dict.fromkeys(WORDS, (ERASED,)) | {"reason": ERASED, "salt": ""}
    if read is not None:
        words = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(read).items()}
    salt = words.pop("salt")
    request = AccessRequest(
        row.id,
        row.tenant,
        people.name(row.user),
        Terms(**stated["terms"], **words),
        stated["rank"],
        salt,
        stated["revision"],
        State(row.state),
        tuple(_vote(people, v) for v in json.loads(row.votes)),
        stated["renews"],
    )
    return Kept(request, row.created, row.since)


def _vote(people: People, v: dict[str, str]) -> Vote:
    actor = Actor(people.name(v["user"]), v["organisation"], people.name(v["for_user"]))
    return Vote(State(v["stage"]), actor, v["sha256"])


def _read(people: People, person: str, place: str, sealed: bytes | None) -> str | None:
    return None if sealed is None else people.read(person, place, bytes(sealed))


def _text(request_id: str, revision: int) -> str:
    return f"requests/{request_id}/{revision}"


def _comment(request_id: str, position: int) -> str:
    return f"request_steps/{request_id}/{position}"


def _notice(people: People, row: Row[tuple[Any, ...]]) -> Notice:
    user = people.name(row.user)
    return Notice(row.id, user, row.event, row.about, row.en, row.zh, row.created, row.read)
