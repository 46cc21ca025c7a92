"""Turns entries of the log into observations: what an entry states, and the rows that it binds."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from marketplace import db
from marketplace.audit import store as log
from marketplace.audit.entry import Event
from marketplace.audit.people import People, people
from marketplace.policy.model import TWO_ORGANISATIONS_FROM, Inputs
from marketplace.policy.store import decisions
from marketplace.risk.model import Charge, Observation

WATCHED = frozenset(
    {
        Event.SESSION_OPENED.value,
        Event.RESERVATION_MADE.value,
        Event.RESERVATION_DENIED.value,
        Event.ACCESS_DENIED.value,
        Event.LOG_PURGED.value,
        Event.LOG_OPENED.value,
    }
)
"""Events that some rule looks at, or that show that somebody is there."""

NO_GRANT = "NO_GRANT"
"""Stands for `GRANT_REVOKED` where the organisation never had a grant to lose."""
MARK = "mark:"


def observed(
    connection: Connection, start: int, most: int, known: dict[str, str]
) -> tuple[list[Observation], int]:
    """Return what some entries from `start` on say to rules, and how many entries were read.

    `known` remembers which tags stand for which people.
    """
    read = [json.loads(data) for data in log.entries_from(connection, start, most)]
    entries = {start + n: e for n, e in enumerate(read) if e["event"] in WATCHED}
    actors = _actors(connection, sorted(entries), known)
    behind = _decisions(connection, sorted(entries))
    plans = _plans(connection, [e["facts"].get("reservation", "") for e in entries.values()])
    return [
        _observation(index, entry, actors.get(index, ""), behind.get(index, []), plans)
        for index, entry in sorted(entries.items())
    ], len(read)


def _observation(
    index: int,
    entry: Mapping[str, Any],
    actor: str,
    behind: Sequence[Inputs],
    plans: Mapping[str, tuple[str, tuple[str, ...]]],
) -> Observation:
    facts = entry["facts"]
    code = facts.get("code", "")
    # A purge names no organisation: it is the lab's own.
    tables = [i for i in behind if i.kind == "Table"]
    if code == "GRANT_REVOKED" and tables and not any("grant" in i.context for i in tables):
        code = NO_GRANT
    question, named = plans.get(facts.get("reservation", ""), ("", ()))
    charges = tuple(
        Charge(c["domain"], cohort, c["micro_rho"])
        for c in facts.get("charges", ())
        for cohort in c["cohorts"]
    )
    known = [i for i in tables if not i.resource.startswith(MARK)]
    ranks = {i.resource: int(i.attributes.get("gradeRank", 0)) for i in known}
    return Observation(
        index,
        datetime.fromisoformat(entry["time"]),
        entry["event"],
        facts.get("tenant", ""),
        actor,
        tuple(sorted({role for i in behind for role in i.person.get("roles", ())})),
        code,
        question,
        entry["event"] == Event.RESERVATION_MADE and not any(c.micro_rho for c in charges),
        tuple(sorted({*named, *ranks})),
        tuple(sorted(t for t, rank in ranks.items() if rank >= TWO_ORGANISATIONS_FROM)),
        tuple(sorted({i.resource for i in tables if i.resource.startswith(MARK)})),
        charges,
    )


def _actors(
    connection: Connection, indexes: Sequence[int], known: dict[str, str]
) -> dict[int, str]:
    """Return whom entries are about, by opaque id, as far as people are known."""
    c, keys = log.sealed_texts.c, log.vault(connection)
    if keys is None or not indexes:
        return {}
    wanted = select(c.entry_index, c.subject_tag).where(
        c.entry_index.in_(indexes), c.field == log.SUBJECT
    )
    tags = {row.entry_index: row.subject_tag for row in connection.execute(wanted)}
    if set(tags.values()) - set(known):
        names, every = People(connection), connection.execute(select(people.c.id)).scalars().all()
        known.update({keys.tag(names.name(one)): one for one in every})
    return {index: known[tag] for index, tag in tags.items() if tag in known}


def _decisions(connection: Connection, indexes: Sequence[int]) -> dict[int, list[Inputs]]:
    c = decisions.c
    wanted = select(c.entry_index, c.inputs).where(c.entry_index.in_(indexes))
    found: dict[int, list[Inputs]] = {}
    for row in connection.execute(wanted.order_by(c.entry_index, c.position)):
        found.setdefault(row.entry_index, []).append(Inputs.of(row.inputs))
    return found


def _plans(
    connection: Connection, reservations: Sequence[str]
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return digest and tables of what was reserved."""
    c = db.reservations.c
    wanted = select(c.id, c.plan_digest, c.tables).where(c.id.in_(sorted({*reservations} - {""})))
    rows = connection.execute(wanted).all()
    return {r.id: (r.plan_digest, tuple(sorted(json.loads(r.tables)))) for r in rows}
