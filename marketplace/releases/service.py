"""Reserve, record, read back: every step one serialised transaction with its log entry inside.

The invariants (soundness C.23): spend happens before anything is read; bytes, release row and log
entry commit together; only committed bytes are ever given out; spend falls only by a refund of a
reservation that is still open, on the gateway's word that nothing was read.
"""

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, Engine, Row, insert, select, update

from marketplace import db
from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.budgets import store as ledger
from marketplace.budgets.model import BudgetPolicy
from marketplace.errors import MarketplaceError
from marketplace.releases.crash import Reached, nowhere
from marketplace.releases.model import (
    Ask,
    Item,
    Left,
    Made,
    Recorded,
    Reservation,
    ReservedItem,
    State,
)
from privacy.dp.budget import Budget

MAX_ANSWER_BYTES = 64 * 2**20


class Releases:
    """The life of paid answers."""

    def __init__(
        self,
        engine: Engine,
        policy: Callable[[], BudgetPolicy],
        clock: Callable[[], datetime],
        reached: Reached = nowhere,
    ) -> None:
        """`policy` is read anew at every request, so that a revoked grant is gone at once."""
        self._engine, self._policy, self._clock, self._reached = engine, policy, clock, reached

    def reserve(self, ask: Ask) -> Reservation:
        """Spend the budget of an answer, or return what the same operation reserved before."""
        self._reached("reserve.begin")
        policy = self._policy()
        try:
            self._check_grants(policy, ask)
            self._reached("reserve.grant_checked")
            with db.writing(self._engine) as connection:
                known = self._known(connection, ask)
                self._reached("reserve.operation_looked_up")
                reservation = known or self._spend(connection, policy, ask)
        except MarketplaceError as denial:
            self._deny(ask, denial)
            raise
        self._reached("reserve.committed")
        return reservation

    def record(
        self, reservation_id: str, fencing_token: str, made: tuple[Made, ...], tables: dict[str, str]
    ) -> Recorded:
        """Commit computed releases with their bytes and log entry; the same call again is a no-op."""
        self._reached("record.begin")
        with db.writing(self._engine) as connection:
            row = self._fenced(connection, reservation_id, fencing_token)
            if row.state == State.RECORDED:
                return self._repeated(connection, row, made)
            if row.state != State.OPEN:
                raise _closed(row.state)
            if json.loads(row.tables) != tables:
                raise _version_changed()
            self._check_current(connection, tables)
            self._reached("record.checked")
            self._write(connection, row, made)
        self._reached("record.committed")
        return self.recorded(reservation_id)

    def recorded(self, reservation_id: str) -> Recorded:
        """Return the committed releases of a reservation, with its receipt."""
        with db.reading(self._engine) as connection:
            item_rows = self._items(connection, reservation_id)
            ids = {r.digest: r.release_id for r in item_rows}
            if any(i is None for i in ids.values()):
                raise _closed("incomplete")
            found = connection.execute(
                select(db.releases.c.id, db.releases.c.entry_index).where(
                    db.releases.c.id.in_(set(ids.values()))
                )
            ).all()
            newest = max((r.entry_index for r in found), default=0)
            leaf = connection.execute(
                select(db.entries.c.leaf_hash).where(db.entries.c.index == newest)
            ).scalar_one()
            receipt: dict[str, str | int] = {
                "receipt_id": hashlib.sha256("".join(sorted(ids.values())).encode()).hexdigest()[:16],
                "entry_index": newest,
                "leaf_hash": bytes(leaf).hex(),
                "charged_micro_rho": sum(r.micro_rho for r in item_rows if r.charged),
            }
        return Recorded(ids, receipt)

    def answer(self, release_id: str, tenant: str) -> bytes:
        """Return the committed bytes of a tenant's release."""
        with db.reading(self._engine) as connection:
            row = connection.execute(
                select(db.releases.c.answer).where(
                    db.releases.c.id == release_id, db.releases.c.tenant == tenant
                )
            ).first()
        if row is None:
            raise MarketplaceError(
                "NOT_FOUND", "Your organisation has no such release.", "贵机构没有该发布结果。"
            )
        self._reached("answer.read_back")
        return bytes(row[0])

    def nothing_read(self, reservation_id: str, fencing_token: str) -> None:
        """Refund an open reservation, on the gateway's word that no data was read for it."""
        with db.writing(self._engine) as connection:
            row = self._fenced(connection, reservation_id, fencing_token)
            if row.state == State.REFUNDED:
                return
            if row.state != State.OPEN:
                raise _closed(row.state)
            for item in self._items(connection, reservation_id):
                if item.charged:
                    ledger.refund(connection, _item(item), row.tenant)
            self._close(connection, row, State.REFUNDED, Event.RESERVATION_REFUNDED)

    def failed(self, reservation_id: str, fencing_token: str) -> None:
        """Close a reservation whose computation failed after data was read; the charge stays."""
        with db.writing(self._engine) as connection:
            row = self._fenced(connection, reservation_id, fencing_token)
            if row.state == State.OPEN:
                self._close(connection, row, State.FAILED, Event.RESERVATION_FAILED)

    def left(self, tenant: str, domain: str) -> Left:
        """Return a tenant's own remaining budget."""
        with db.reading(self._engine) as connection:
            return ledger.left(connection, self._policy(), tenant, domain)

    def history(self, tenant: str, user: str) -> list[dict[str, Plain]]:
        """Return a user's questions, newest first, with cost, state and release ids."""
        with db.reading(self._engine) as connection:
            rows = connection.execute(
                select(db.reservations)
                .where(db.reservations.c.tenant == tenant, db.reservations.c.user == user)
                .order_by(db.reservations.c.created.desc())
                .limit(500)
            ).all()
            return [self._told(connection, row) for row in rows]

    def _told(self, connection: Connection, row: Row[tuple[object, ...]]) -> dict[str, Plain]:
        item_rows = self._items(connection, row.id)
        return {
            "reservation_id": row.id,
            "operation_id": row.operation_id,
            "created": row.created,
            "state": row.state,
            "purpose": row.purpose,
            "epsilon": row.epsilon,
            "plan_digest": row.plan_digest,
            "tables": json.loads(row.tables),
            "charged_micro_rho": sum(i.micro_rho for i in item_rows if i.charged),
            "release_ids": [i.release_id for i in item_rows if i.release_id],
        }

    def _check_grants(self, policy: BudgetPolicy, ask: Ask) -> None:
        for table in ask.tables:
            grant = policy.grant(ask.tenant, table)
            if grant is None:
                raise MarketplaceError(
                    "GRANT_REVOKED",
                    f"Your organisation has no valid grant for {table}. Ask its provider for access.",
                    f"贵机构没有 {table} 的有效授权，请向其提供方申请。",
                )
            if ask.purpose and ask.purpose not in grant.purposes:
                raise MarketplaceError(
                    "PURPOSE_REFUSED",
                    f"{table} is granted for {', '.join(grant.purposes)} only. Set lab.purpose to one of "
                    "these.",
                    f"{table} 仅授权用于 {', '.join(grant.purposes)}。请将 lab.purpose 设为其中之一。",
                )
            if float(ask.epsilon) > grant.epsilon_max:
                raise MarketplaceError(
                    "EPSILON_TOO_LARGE",
                    f"Your grant for {table} allows epsilon up to {grant.epsilon_max:g} a question, and this "
                    f"one asks {ask.epsilon}. Lower lab.epsilon.",
                    f"{table} 的授权允许每个问题的 epsilon 至多 {grant.epsilon_max:g}，此问题为 "
                    f"{ask.epsilon}。请降低 lab.epsilon。",
                )

    def _known(self, connection: Connection, ask: Ask) -> Reservation | None:
        row = connection.execute(
            select(db.reservations).where(
                db.reservations.c.tenant == ask.tenant,
                db.reservations.c.operation_id == ask.operation_id,
            )
        ).first()
        if row is None:
            return None
        if row.plan_digest != ask.plan_digest or row.user != ask.user:
            raise MarketplaceError(
                "OPERATION_MISMATCH",
                "This operation id was used for another question. Ask again; the client makes a new id.",
                "该操作编号已用于另一个问题。请重新提问，客户端会生成新的编号。",
            )
        if row.state in (State.FAILED, State.REFUNDED):
            raise _closed(row.state)
        found = tuple(
            ReservedItem(r.digest, r.release_id, r.micro_rho if r.charged else 0)
            for r in self._items(connection, row.id)
        )
        return Reservation(row.id, row.fencing_token, State(row.state), found)

    def _spend(self, connection: Connection, policy: BudgetPolicy, ask: Ask) -> Reservation:
        self._advance_versions(connection, ask.tables)
        stored = {i.digest: self._stored(connection, ask.tenant, i) for i in ask.items}
        self._reached("reserve.stored_looked_up")
        for item in ask.items:
            if stored[item.digest] is None:
                ledger.charge(connection, policy, ask.tenant, item)
        self._reached("reserve.tenant_charged")
        self._reached("reserve.cohort_charged")
        now = self._clock()
        reservation_id, token = secrets.token_hex(16), secrets.token_hex(32)
        connection.execute(
            insert(db.reservations).values(
                id=reservation_id,
                tenant=ask.tenant,
                operation_id=ask.operation_id,
                user=ask.user,
                plan_digest=ask.plan_digest,
                purpose=ask.purpose,
                epsilon=ask.epsilon,
                fencing_token=token,
                state=State.OPEN if None in stored.values() else State.RECORDED,
                tables=json.dumps(ask.tables, sort_keys=True),
                created=now.isoformat(timespec="milliseconds"),
            )
        )
        reserved: list[ReservedItem] = []
        for position, item in enumerate(ask.items):
            release_id = stored[item.digest]
            connection.execute(
                insert(db.items).values(
                    reservation_id=reservation_id,
                    position=position,
                    digest=item.digest,
                    domain=item.domain,
                    cohorts=json.dumps(item.cohorts),
                    micro_rho=item.cost.micro_rho,
                    delta_1e12=item.cost.delta_1e12,
                    release_id=release_id,
                    charged=int(release_id is None),
                )
            )
            cost = item.cost.micro_rho if release_id is None else 0
            reserved.append(ReservedItem(item.digest, release_id, cost))
        self._reached("reserve.items_written")
        facts: dict[str, Plain] = {
            "reservation": reservation_id,
            "tenant": ask.tenant,
            "user": ask.user,
            "epsilon": ask.epsilon,
            "tables": dict(ask.tables),
            "charges": [
                {
                    "digest": i.digest,
                    "domain": i.domain,
                    "cohorts": list(i.cohorts),
                    "micro_rho": i.cost.micro_rho if stored[i.digest] is None else 0,
                    "delta_1e12": i.cost.delta_1e12 if stored[i.digest] is None else 0,
                }
                for i in ask.items
            ],
        }
        bound = {"plan": ask.plan_digest, "purpose": ask.purpose}
        log.append(connection, Event.RESERVATION_MADE, now, facts, bound)
        self._reached("reserve.entry_written")
        state = State.OPEN if None in stored.values() else State.RECORDED
        return Reservation(reservation_id, token, state, tuple(reserved))

    def _stored(self, connection: Connection, tenant: str, item: Item) -> str | None:
        """Return a stored release of this question at this price or a better one, if any."""
        row = connection.execute(
            select(db.releases.c.id)
            .where(
                db.releases.c.tenant == tenant,
                db.releases.c.digest == item.digest,
                db.releases.c.micro_rho >= item.cost.micro_rho,
            )
            .order_by(db.releases.c.micro_rho.desc(), db.releases.c.id)
            .limit(1)
        ).first()
        return None if row is None else str(row[0])

    def _advance_versions(self, connection: Connection, tables: dict[str, str]) -> None:
        for table, version in tables.items():
            known = connection.execute(
                select(db.versions.c.version).where(db.versions.c.table == table)
            ).first()
            if known is None:
                connection.execute(insert(db.versions).values(table=table, version=version))
            elif known[0] != version:
                connection.execute(
                    update(db.versions).where(db.versions.c.table == table).values(version=version)
                )

    def _check_current(self, connection: Connection, tables: dict[str, str]) -> None:
        for table, version in tables.items():
            known = connection.execute(
                select(db.versions.c.version).where(db.versions.c.table == table)
            ).scalar_one()
            if known != version:
                raise _version_changed()

    def _write(
        self, connection: Connection, row: Row[tuple[object, ...]], made: tuple[Made, ...]
    ) -> None:
        by_digest = {m.digest: m for m in made}
        open_items = [i for i in self._items(connection, row.id) if i.release_id is None]
        if {i.digest for i in open_items} != set(by_digest):
            raise MarketplaceError(
                "BAD_REQUEST",
                f"The reservation waits for {len(open_items)} releases, and {len(made)} others were sent.",
                f"该预留等待 {len(open_items)} 个发布结果，收到的 {len(made)} 个与之不符。",
            )
        now = self._clock()
        for item in open_items:
            one = by_digest[item.digest]
            if len(one.answer) > MAX_ANSWER_BYTES:
                raise MarketplaceError(
                    "BAD_REQUEST",
                    f"An answer of {len(one.answer)} bytes is longer than {MAX_ANSWER_BYTES}.",
                    f"回答为 {len(one.answer)} 字节，超过上限 {MAX_ANSWER_BYTES}。",
                )
            release_id, fingerprint = secrets.token_hex(16), hashlib.sha256(one.answer).hexdigest()
            facts: dict[str, Plain] = {
                "release": release_id,
                "reservation": row.id,
                "tenant": row.tenant,
                "digest": item.digest,
                "domain": item.domain,
                "cohorts": json.loads(item.cohorts),
                "micro_rho": item.micro_rho,
                "delta_1e12": item.delta_1e12,
                "answer_sha256": fingerprint,
                "mechanism": json.loads(one.mechanism),
                "tables": json.loads(row.tables),
            }
            entry = log.append(connection, Event.RELEASE_RECORDED, now, facts)
            self._reached("record.entry_written")
            connection.execute(
                insert(db.releases).values(
                    id=release_id,
                    tenant=row.tenant,
                    digest=item.digest,
                    micro_rho=item.micro_rho,
                    mechanism=one.mechanism,
                    sha256=fingerprint,
                    answer=one.answer,
                    tables=row.tables,
                    entry_index=entry.index,
                    created=now.isoformat(timespec="milliseconds"),
                )
            )
            connection.execute(
                update(db.items)
                .where(db.items.c.reservation_id == row.id, db.items.c.position == item.position)
                .values(release_id=release_id)
            )
            self._reached("record.release_written")
        connection.execute(
            update(db.reservations).where(db.reservations.c.id == row.id).values(state=State.RECORDED)
        )
        self._reached("record.state_written")

    def _repeated(
        self, connection: Connection, row: Row[tuple[object, ...]], made: tuple[Made, ...]
    ) -> Recorded:
        ids = {i.digest: i.release_id for i in self._items(connection, row.id)}
        for one in made:
            known = connection.execute(
                select(db.releases.c.sha256).where(db.releases.c.id == ids.get(one.digest, ""))
            ).first()
            if known is None or known[0] != hashlib.sha256(one.answer).hexdigest():
                raise MarketplaceError(
                    "ANSWER_DIFFERS",
                    "Other bytes are already recorded for this reservation; they stay.",
                    "该预留已记录了不同的回答，以已记录的为准。",
                )
        return self.recorded(row.id)

    def _fenced(
        self, connection: Connection, reservation_id: str, token: str
    ) -> Row[tuple[object, ...]]:
        row = connection.execute(
            select(db.reservations).where(db.reservations.c.id == reservation_id)
        ).first()
        if row is None or not secrets.compare_digest(row.fencing_token, token):
            raise MarketplaceError(
                "NOT_FOUND", "There is no such reservation for this token.", "没有与该令牌对应的预留。"
            )
        return row

    def _items(self, connection: Connection, reservation_id: str) -> list[Row[tuple[object, ...]]]:
        return list(
            connection.execute(
                select(db.items)
                .where(db.items.c.reservation_id == reservation_id)
                .order_by(db.items.c.position)
            ).all()
        )

    def _close(
        self, connection: Connection, row: Row[tuple[object, ...]], state: State, event: Event
    ) -> None:
        connection.execute(
            update(db.reservations).where(db.reservations.c.id == row.id).values(state=state)
        )
        facts: dict[str, Plain] = {"reservation": row.id, "tenant": row.tenant}
        log.append(connection, event, self._clock(), facts)

    def _deny(self, ask: Ask, denial: MarketplaceError) -> None:
        facts: dict[str, Plain] = {
            "tenant": ask.tenant,
            "user": ask.user,
            "code": denial.code,
            "tables": dict(ask.tables),
        }
        with db.writing(self._engine) as connection:
            log.append(
                connection,
                Event.RESERVATION_DENIED,
                self._clock(),
                facts,
                {"plan": ask.plan_digest, "purpose": ask.purpose},
            )


def _item(row: Row[tuple[object, ...]]) -> Item:
    cost = Budget(row.micro_rho, row.delta_1e12)
    return Item(row.digest, row.domain, tuple(json.loads(row.cohorts)), cost)


def _closed(state: str) -> MarketplaceError:
    return MarketplaceError(
        "RESERVATION_CLOSED",
        f"This reservation is {state}; what it paid stays paid. Ask again.",
        f"该预留的状态为 {state}，已支付的部分不退。请重新提问。",
    )


def _version_changed() -> MarketplaceError:
    return MarketplaceError(
        "VERSION_CHANGED",
        "A table got a new version while the answer was computed, so it was not released. Ask again.",
        "计算期间有表更新了版本，因此未发布该结果。请重新提问。",
    )
