"""Contracts, their use, and the stages of tenants in the database; SQL and nothing else."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from marketplace import db
from marketplace.audit.people import People
from marketplace.contracts.model import Contract, Signature, Stage, State, from_text

contracts = Table(
    "contracts",
    db.metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("text", String, nullable=False, comment="canonical JSON, as signed"),
    Column("signatures", String, nullable=False, comment="JSON, people by opaque ids"),
    Column("calls_used", BigInteger, nullable=False),
    Column("micro_rho_used", BigInteger, nullable=False),
    Column("certificate", String(64), nullable=False),
    Column("created", String(32), nullable=False),
)

uses = Table(
    "contract_uses",
    db.metadata,
    Column("reservation_id", String(32), primary_key=True),
    Column("contract_id", String(32), ForeignKey("contracts.id"), primary_key=True),
    Column("micro_rho", BigInteger, nullable=False),
)

stages = Table(
    "tenant_stages",
    db.metadata,
    Column("tenant", String(64), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("stage", String(16), nullable=False),
    Column("since", String(32), nullable=False),
    Column("by_user", String(64), nullable=False, comment="opaque id"),
    Index("tenant_stages_by_stage", "stage"),
)

# Every paid question runs these, so they are put together once.
_OF_TENANT = (
    select(contracts)
    .where(contracts.c.tenant == bindparam("wanted"))
    .order_by(contracts.c.created.desc(), contracts.c.id)
)
_USE = (
    update(contracts)
    .where(contracts.c.id == bindparam("used"))
    .values(
        calls_used=contracts.c.calls_used + 1,
        micro_rho_used=contracts.c.micro_rho_used + bindparam("price"),
    )
)


@dataclass(frozen=True, slots=True)
class Reached:
    """When a tenant came to a stage."""

    tenant: str
    stage: Stage
    since: str
    by: str


def add(connection: Connection, contract: Contract, created: str) -> None:
    """Write a new contract."""
    connection.execute(
        insert(contracts).values(
            id=contract.id,
            tenant=contract.terms.tenant,
            created=created,
            **_changing(People(connection), contract),
        )
    )


def save(connection: Connection, contract: Contract) -> None:
    """Write what a step changed; the text of a contract never changes."""
    changing = _changing(People(connection), contract)
    values = {k: v for k, v in changing.items() if k != "text"}
    connection.execute(update(contracts).where(contracts.c.id == contract.id).values(**values))


def get(connection: Connection, contract_id: str) -> Contract | None:
    """Return a contract."""
    row = connection.execute(select(contracts).where(contracts.c.id == contract_id)).first()
    return None if row is None else _contract(People(connection), row)


def of_tenant(connection: Connection, tenant: str) -> list[Contract]:
    """Return a tenant's contracts, newest first."""
    people = People(connection)
    rows = connection.execute(_OF_TENANT, {"wanted": tenant})
    return [_contract(people, r) for r in rows]


def everything(connection: Connection) -> list[Contract]:
    """Return all contracts, newest first."""
    c, people = contracts.c, People(connection)
    rows = connection.execute(select(contracts).order_by(c.created.desc(), c.id))
    return [_contract(people, r) for r in rows]


def use(connection: Connection, ids: Iterable[str], reservation_id: str, micro_rho: int) -> None:
    """Count one question, and its price, for each of some contracts."""
    used = [{"used": contract_id, "price": micro_rho} for contract_id in sorted(ids)]
    if used:
        connection.execute(_USE, used)
        rows = [
            {"reservation_id": reservation_id, "contract_id": u["used"], "micro_rho": micro_rho}
            for u in used
        ]
        connection.execute(insert(uses), rows)


def unuse(connection: Connection, reservation_id: str) -> None:
    """Take back the use of a reservation that was refunded."""
    mine = uses.c.reservation_id == reservation_id
    for row in connection.execute(select(uses).where(mine)).all():
        connection.execute(
            update(contracts)
            .where(contracts.c.id == row.contract_id)
            .values(
                calls_used=contracts.c.calls_used - 1,
                micro_rho_used=contracts.c.micro_rho_used - row.micro_rho,
            )
        )
    connection.execute(delete(uses).where(mine))


def stage(connection: Connection, tenant: str) -> list[Reached]:
    """Return the stages of a tenant, oldest first."""
    c, people = stages.c, People(connection)
    rows = connection.execute(select(stages).where(c.tenant == tenant).order_by(c.position))
    return [_reached(people, r) for r in rows]


def all_stages(connection: Connection) -> list[Reached]:
    """Return the stages of all tenants, each tenant's oldest first."""
    c, people = stages.c, People(connection)
    rows = connection.execute(select(stages).order_by(c.tenant, c.position))
    return [_reached(people, r) for r in rows]


def reach(connection: Connection, reached: Reached) -> None:
    """Write the next stage of a tenant."""
    position = len(stage(connection, reached.tenant))
    connection.execute(
        insert(stages).values(
            tenant=reached.tenant,
            position=position,
            stage=reached.stage.value,
            since=reached.since,
            by_user=People(connection).enrol(reached.by),
        )
    )


def _changing(people: People, contract: Contract) -> dict[str, str | int]:
    signatures = [
        {
            "organisation": s.organisation,
            "user": people.enrol(s.user),
            "sha256": s.sha256,
            "time": s.time,
        }
        for s in contract.signatures
    ]
    return {
        "state": contract.state.value,
        "text": contract.text(),
        "signatures": json.dumps(signatures, sort_keys=True),
        "calls_used": contract.calls_used,
        "micro_rho_used": contract.micro_rho_used,
        "certificate": contract.certificate,
    }


def _reached(people: People, row: Row[tuple[Any, ...]]) -> Reached:
    return Reached(row.tenant, Stage(row.stage), row.since, people.name(row.by_user))


def _contract(people: People, row: Row[tuple[Any, ...]]) -> Contract:
    name, terms = from_text(row.text)
    signatures = (
        Signature(**{**s, "user": people.name(s["user"])}) for s in json.loads(row.signatures)
    )
    return Contract(
        name,
        terms,
        State(row.state),
        tuple(signatures),
        row.calls_used,
        row.micro_rho_used,
        row.certificate,
    )
