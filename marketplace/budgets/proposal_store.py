"""Proposals and cohorts' own figures in the database; people by opaque ids, their words sealed."""

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from marketplace import db
from marketplace.audit.people import People
from marketplace.budgets.model import COHORT, DomainPolicy, Shares
from marketplace.budgets.proposal import Proposal, State, parsed, plain
from marketplace.window import Window
from privacy.dp.budget import Budget

ERASED = "erased"
"""Stands for the words of somebody who was erased."""

proposals = Table(
    "budget_proposals",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("domain", String(64), nullable=False),
    Column("cohort", Integer, nullable=False),
    Column("shares", String, nullable=False, comment="JSON: holders with their figures"),
    Column("before", String, nullable=False, comment="JSON: the figures that it replaces"),
    Column("state", String(16), nullable=False),
    Column("user", String(64), nullable=False, comment="opaque id"),
    Column("organisation", String(64), nullable=False),
    Column("reason", LargeBinary, nullable=False, comment="sealed for who proposes"),
    Column("created", String(32), nullable=False),
    Column("decided_by", String(64), nullable=False, comment="opaque id, or empty"),
    Column("decided", String(32), nullable=False),
    Column("comment", LargeBinary, comment="sealed for who decides; null without"),
)

cohort_caps = Table(
    "cohort_caps",
    db.metadata,
    Column("domain", String(64), primary_key=True),
    Column("cohort", Integer, primary_key=True),
    Column("tenant", String(64), primary_key=True, comment="empty: the cohort's own cap"),
    Column("micro_rho", BigInteger, nullable=False),
    Column("delta_1e12", BigInteger, nullable=False),
)


def shares_of(connection: Connection, domain: DomainPolicy, cohort: int) -> Shares:
    """Return what is in force for a cohort: figures of its own, or those of every cohort."""
    return own_shares(connection, domain.domain).get(cohort, domain.shares)


def own_shares(connection: Connection, domain: str) -> dict[int, Shares]:
    """Return the cohorts of a domain that have figures of their own."""
    cap = cohort_caps.c
    rows = connection.execute(select(cohort_caps).where(cap.domain == domain).order_by(cap.cohort))
    found: dict[int, dict[str, Budget]] = {}
    for r in rows:
        found.setdefault(r.cohort, {})[r.tenant] = Budget(r.micro_rho, r.delta_1e12)
    return {
        cohort: Shares(holders[COHORT], {t: s for t, s in holders.items() if t != COHORT})
        for cohort, holders in found.items()
    }


def charged(connection: Connection, domain: str, cohort: int) -> tuple[Budget, Budget] | None:
    """Return cap and spending of a cohort that was ever charged, refunded or not."""
    account = db.accounts.c
    row = connection.execute(
        select(db.accounts)
        .where(account.domain == domain, account.cohort == cohort)
        .order_by(account.tenant)  # the cohort's own account first
        .limit(1)
    ).first()
    if row is None:
        return None
    return (
        Budget(row.cap_micro_rho, row.cap_delta_1e12),
        Budget(row.spent_micro_rho, row.spent_delta_1e12),
    )


def add(connection: Connection, found: Proposal) -> None:
    """Write a proposal."""
    people = People(connection)
    who = people.enrol(found.by)
    connection.execute(
        insert(proposals).values(
            id=found.id,
            domain=found.domain,
            cohort=found.cohort,
            shares=json.dumps(plain(found.shares)),
            before=json.dumps(plain(found.before)),
            state=found.state.value,
            user=who,
            organisation=found.organisation,
            reason=people.seal(who, _place(found.id, "reason"), found.reason),
            created=found.created,
            decided_by="",
            decided="",
        )
    )


def close(connection: Connection, found: Proposal) -> None:
    """Write what somebody decided, or that the proposal was taken back."""
    people = People(connection)
    who, sealed = people.enrol(found.decided_by), None
    if found.comment:
        sealed = people.seal(who, _place(found.id, "comment"), found.comment)
    connection.execute(
        update(proposals)
        .where(proposals.c.id == found.id)
        .values(state=found.state.value, decided_by=who, decided=found.decided, comment=sealed)
    )


def put_in_force(connection: Connection, found: Proposal) -> None:
    """Make a proposal's figures those of its cohort; what was in force before is replaced."""
    own, cap = proposals.c, cohort_caps.c
    connection.execute(
        update(proposals)
        .where(
            own.domain == found.domain,
            own.cohort == found.cohort,
            own.state == State.IN_FORCE.value,
            own.id != found.id,
        )
        .values(state=State.REPLACED.value)
    )
    connection.execute(
        delete(cohort_caps).where(cap.domain == found.domain, cap.cohort == found.cohort)
    )
    connection.execute(
        insert(cohort_caps),
        [
            {
                "domain": found.domain,
                "cohort": found.cohort,
                "tenant": holder,
                "micro_rho": share.micro_rho,
                "delta_1e12": share.delta_1e12,
            }
            for holder, share in found.shares.holders().items()
        ],
    )


def get(connection: Connection, name: str) -> Proposal | None:
    """Return a proposal."""
    row = connection.execute(select(proposals).where(proposals.c.id == name)).first()
    return None if row is None else _proposal(People(connection), row)


def listed(connection: Connection, window: Window) -> list[Proposal]:
    """Return proposals, newest first."""
    own, people = proposals.c, People(connection)
    wanted = select(proposals).order_by(own.created.desc(), own.id)
    wanted = wanted.limit(window.most).offset(window.skip)
    return [_proposal(people, row) for row in connection.execute(wanted)]


def _proposal(people: People, row: Row[tuple[Any, ...]]) -> Proposal:
    def read(person: str, what: str, sealed: bytes | None) -> str:
        if sealed is None:
            return ""
        said = people.read(person, _place(row.id, what), bytes(sealed))
        return ERASED if said is None else said

    return Proposal(
        id=row.id,
        domain=row.domain,
        cohort=row.cohort,
        shares=parsed(json.loads(row.shares)),
        before=parsed(json.loads(row.before)),
        reason=read(row.user, "reason", row.reason),
        by=people.name(row.user),
        organisation=row.organisation,
        created=row.created,
        state=State(row.state),
        decided_by=people.name(row.decided_by),
        decided=row.decided,
        comment=read(row.decided_by, "comment", row.comment),
    )


def _place(name: str, what: str) -> str:
    return f"budget_proposals/{name}/{what}"
