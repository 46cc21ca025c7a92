"""Reserve, record, read back: every step one serialised transaction with its log entry inside.

The invariants (soundness C.23): spend happens before anything is read; bytes, release row and log
entry commit together; only committed bytes are ever given out; spend falls only by a refund of a
reservation that is still open, on the word of its only holder that nothing was read.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from marketplace.access.gate import Gate, Passed, Question
from marketplace.audit import store as log
from marketplace.audit.entry import Event, Plain
from marketplace.audit.published import Log
from marketplace.budgets import store as ledger
from marketplace.budgets.accountant import underpaid
from marketplace.budgets.model import BudgetPolicy
from marketplace.contracts import store as contracts
from marketplace.db import Database
from marketplace.errors import AccessDeniedError, MarketplaceError
from marketplace.identity.model import Person
from marketplace.ingests.service import check_reported
from marketplace.policy import store as decisions
from marketplace.policy.model import Decision, digest
from marketplace.releases import refusals, store
from marketplace.releases.crash import Reached, nowhere
from marketplace.releases.model import (
    Ask,
    Left,
    Made,
    Recorded,
    Reservation,
    ReservedItem,
    State,
    receipt_id,
)
from marketplace.releases.store import StoredItem, StoredReservation

MAX_ANSWER_BYTES = 64 * 2**20
SMALL_ANSWER_BYTES = 64 * 2**10
"""Up to this size an answer comes back with the record of it: a small question is spared a call."""


class Releases:
    """The life of paid answers."""

    def __init__(
        self,
        database: Database,
        policy: Callable[[], BudgetPolicy],
        person: Callable[[str, str], Person | None],
        gate: Gate,
        clock: Callable[[], datetime],
        published: Log,
        reached: Reached = nowhere,
    ) -> None:
        """`person` (user, tenant) and `gate` are asked anew at every request."""
        self._database, self._policy = database, policy
        self._person, self._gate = person, gate
        self._clock, self._published, self._reached = clock, published, reached

    def reserve(self, ask: Ask) -> Reservation:
        """Spend the budget of an answer, or return what the same operation reserved before."""
        self._reached("reserve.begin")
        try:
            person = self._person(ask.user, ask.tenant)
            if person is None:
                raise refusals.not_a_member(ask.user)
            refusals.check_price(ask)
            with self._database.writing() as connection:
                known = store.operation(connection, ask.tenant, ask.operation_id)
                self._reached("reserve.operation_looked_up")
                stored = {i.digest: store.find_stored(connection, ask.tenant, i) for i in ask.items}
                self._reached("reserve.stored_looked_up")
                price = sum(i.cost.micro_rho for i in ask.items if stored[i.digest] is None)
                question = _question(ask, 0 if known else price, known=known is not None)
                passed = self._gate.check(connection, person, question)
                self._reached("reserve.grant_checked")
                if known is None:
                    made = self._spend(connection, ask, stored, passed)
                else:
                    made = self._again(connection, known, ask)
        except MarketplaceError as denial:
            self._log_denial(ask, denial)
            raise
        self._reached("reserve.committed")
        return made

    def record(
        self,
        reservation_id: str,
        fencing_token: str,
        made: tuple[Made, ...],
        tables: Mapping[str, str],
    ) -> Recorded:
        """Commit releases with their bytes and log entries; the same call again changes nothing."""
        self._reached("record.begin")
        stale: MarketplaceError | None = None
        with self._database.writing() as connection:
            held = self._held(connection, reservation_id, fencing_token)
            wanted = store.items(connection, held.id)
            if held.state is State.RECORDED:
                _check_repeated(connection, held, wanted, made)
            elif held.state is not State.OPEN:
                raise refusals.closed(held.state)
            elif held.tables != dict(tables) or not store.are_current(connection, tables):
                stale = refusals.version_changed()
                self._close(connection, held, State.FAILED, Event.RESERVATION_FAILED)
            elif (stale := self._no_longer(held, connection)) is not None:
                made_before = stale.made if isinstance(stale, AccessDeniedError) else ()
                self._close(
                    connection, held, State.FAILED, Event.RESERVATION_FAILED, made=made_before
                )
            else:
                self._reached("record.checked")
                self._write(connection, held, wanted, made)
        if stale is not None:
            raise stale
        self._reached("record.committed")
        return self.recorded(reservation_id)

    def recorded(self, reservation_id: str) -> Recorded:
        """Return the committed releases of a reservation, with its receipt."""
        with self._database.reading() as connection:
            held = store.reservation(connection, reservation_id)
            if held is None:
                raise refusals.not_the_holder()
            wanted = store.items(connection, reservation_id)
            ids = {i.item.digest: i.release_id for i in wanted if i.release_id is not None}
            if held.receipt_id is None or len(ids) < len(wanted):
                raise refusals.incomplete()
            logged = store.releases(connection, held.tenant, ids.values())
            newest = logged[-1]
            small = store.small_answers(connection, held.tenant, ids.values(), SMALL_ANSWER_BYTES)
            receipt: dict[str, str | int] = {
                "receipt_id": held.receipt_id,
                "plan_digest": held.plan_digest,
                "entry_index": newest.entry_index,
                "leaf_hash": log.leaf(connection, newest.entry_index).hex(),
                "charged_micro_rho": sum(i.charged_micro_rho for i in wanted),
                "time": newest.created,
            }
            policy = self._policy()
            left = tuple(
                ledger.left(connection, policy, held.tenant, domain)
                for domain in sorted({i.item.domain for i in wanted})
            )
        self._published.wait(newest.entry_index)
        proofs = {r.id: self._published.proof(r.entry_index) for r in logged}
        self._reached("answer.read_back")
        return Recorded(ids, receipt, left, proofs, small)

    def answer(self, release_id: str, tenant: str) -> bytes:
        """Return the committed bytes of a tenant's release."""
        with self._database.reading() as connection:
            found = store.answer(connection, tenant, release_id)
        if found is None:
            raise refusals.no_such_release()
        data, entry_index = found
        self._published.wait(entry_index)
        self._reached("answer.read_back")
        return data

    def nothing_read(self, reservation_id: str, fencing_token: str, attestation: str) -> None:
        """Refund an open reservation, on the word of its only holder that nothing was read."""
        with self._database.writing() as connection:
            held = self._held(connection, reservation_id, fencing_token)
            if held.state is State.REFUNDED:
                return
            if held.state is not State.OPEN:
                raise refusals.closed(held.state)
            if held.attempts > 1:
                raise refusals.refund_refused(held.attempts)
            for item in store.items(connection, held.id):
                if item.charged:
                    ledger.refund(connection, item.item, held.tenant)
            contracts.unuse(connection, held.id)
            self._close(
                connection,
                held,
                State.REFUNDED,
                Event.RESERVATION_REFUNDED,
                {"attestation": attestation},
            )

    def failed(self, reservation_id: str, fencing_token: str) -> None:
        """Close a reservation whose computation failed after data was read; the charge stays."""
        with self._database.writing() as connection:
            held = self._held(connection, reservation_id, fencing_token)
            if held.state is State.OPEN:
                self._close(connection, held, State.FAILED, Event.RESERVATION_FAILED)

    def left(self, tenant: str, domain: str) -> Left:
        """Return a tenant's own remaining budget."""
        with self._database.reading() as connection:
            return ledger.left(connection, self._policy(), tenant, domain)

    def _again(self, connection: Connection, held: StoredReservation, ask: Ask) -> Reservation:
        """Return the same reservation; an open one goes over to the new caller."""
        wanted = store.items(connection, held.id)
        # The price is part of the question: else a second session could take over a cheap
        # reservation under the same id and draw less noise than was paid for.
        asked = (ask.user, ask.plan_digest, ask.purpose, ask.epsilon, ask.tables)
        kept = (held.user, held.plan_digest, held.purpose, held.epsilon, held.tables)
        if asked != kept or tuple(i.item for i in wanted) != ask.items:
            raise refusals.another_question()
        if held.state in (State.FAILED, State.REFUNDED):
            raise refusals.closed(held.state)
        token = held.fencing_token
        if held.state is State.OPEN:
            token = secrets.token_hex(32)
            store.hand_over(connection, held, token)
        found = tuple(
            ReservedItem(i.item.digest, i.release_id, i.charged_micro_rho) for i in wanted
        )
        return Reservation(held.id, token, held.state, found)

    def _no_longer(
        self, held: StoredReservation, connection: Connection
    ) -> MarketplaceError | None:
        """Return why an answer may not be released any more, if so: a revocation, a stop."""
        person = self._person(held.user, held.tenant)
        if person is None:
            return refusals.not_a_member(held.user)
        asked = Question(held.tenant, tuple(held.tables), held.purpose, held.epsilon, 0, known=True)
        try:
            self._gate.recheck(connection, person, asked)
        except AccessDeniedError as denial:
            return denial
        return None

    def _spend(
        self, connection: Connection, ask: Ask, stored: dict[str, str | None], passed: Passed
    ) -> Reservation:
        policy = self._policy()
        check_reported(connection, ask.tables.items())
        store.report_versions(connection, ask.tables)
        new = [i for i in ask.items if stored[i.digest] is None]
        ledger.charge_tenant(connection, policy, ask.tenant, new)
        self._reached("reserve.tenant_charged")
        ledger.charge_cohorts(connection, policy, new)
        self._reached("reserve.cohort_charged")
        now = self._clock()
        made = Reservation(
            id=secrets.token_hex(16),
            fencing_token=secrets.token_hex(32),
            state=State.OPEN if new else State.RECORDED,
            items=tuple(
                ReservedItem(i.digest, stored[i.digest], i.cost.micro_rho if i in new else 0)
                for i in ask.items
            ),
        )
        store.add_reservation(
            connection,
            ask,
            stored,
            reservation_id=made.id,
            fencing_token=made.fencing_token,
            receipt_id=None if new else receipt_id([s for s in stored.values() if s is not None]),
            created=now.isoformat(timespec="milliseconds"),
        )
        self._reached("reserve.items_written")
        facts: dict[str, Plain] = {
            "reservation": made.id,
            "tenant": ask.tenant,
            "epsilon": ask.epsilon,
            "charges": [
                {
                    "position": position,
                    "domain": i.domain,
                    "cohorts": [*sorted(i.cohorts)],
                    "micro_rho": i.cost.micro_rho if stored[i.digest] is None else 0,
                    "delta_1e12": i.cost.delta_1e12 if stored[i.digest] is None else 0,
                }
                for position, i in enumerate(ask.items)
            ],
        }
        price = sum(i.charged_micro_rho for i in made.items)
        contracts.use(connection, passed.contracts, made.id, price)
        _append(connection, Event.RESERVATION_MADE, now, facts, _bound(ask), made=passed.decisions)
        self._reached("reserve.entry_written")
        return made

    def _write(
        self,
        connection: Connection,
        held: StoredReservation,
        wanted: list[StoredItem],
        made: tuple[Made, ...],
    ) -> None:
        by_digest = {m.digest: m for m in made}
        missing = [i for i in wanted if i.release_id is None]
        if {i.item.digest for i in missing} != set(by_digest) or len(by_digest) < len(made):
            raise refusals.malformed(
                f"the reservation waits for {len(missing)} releases, and {len(made)} were sent "
                "that are not just these"
            )
        now = self._clock()
        ids = [i.release_id for i in wanted if i.release_id is not None]
        for item in missing:
            one = by_digest[item.item.digest]
            release_id = secrets.token_hex(16)
            facts = _release_facts(held, item, one, release_id)
            bound = {"release": item.item.digest, "tables": log.canonical_text(dict(held.tables))}
            entry = _append(connection, Event.RELEASE_RECORDED, now, facts, bound)
            self._reached("record.entry_written")
            store.add_release(
                connection,
                held,
                item,
                one,
                release_id=release_id,
                entry_index=entry.index,
                created=now.isoformat(timespec="milliseconds"),
            )
            ids.append(release_id)
            self._reached("record.release_written")
        store.close(connection, held.id, State.RECORDED, receipt_id(ids))
        self._reached("record.state_written")

    def _held(self, connection: Connection, reservation_id: str, token: str) -> StoredReservation:
        found = store.reservation(connection, reservation_id)
        if found is None or not secrets.compare_digest(
            found.fencing_token.encode(), token.encode()
        ):
            raise refusals.not_the_holder()
        return found

    def _close(
        self,
        connection: Connection,
        held: StoredReservation,
        state: State,
        event: Event,
        bound: dict[str, str] | None = None,
        *,
        made: tuple[Decision, ...] = (),
    ) -> None:
        store.close(connection, held.id, state)
        facts: dict[str, Plain] = {"reservation": held.id, "tenant": held.tenant}
        _append(connection, event, self._clock(), facts, bound or {}, made=made)

    def _log_denial(self, ask: Ask, denial: MarketplaceError) -> None:
        facts: dict[str, Plain] = {"tenant": ask.tenant, "code": denial.code}
        made: tuple[Decision, ...] = ()
        if isinstance(denial, AccessDeniedError):
            made = denial.made
            facts["policy"] = denial.denial.policy
        with self._database.writing() as connection:
            bound = _bound(ask)
            _append(connection, Event.RESERVATION_DENIED, self._clock(), facts, bound, made=made)


def _question(ask: Ask, micro_rho: int, *, known: bool) -> Question:
    return Question(
        ask.tenant, tuple(ask.tables), ask.purpose, ask.epsilon, micro_rho, known, ask.fields
    )


def _bound(ask: Ask) -> dict[str, str]:
    return {
        "plan": ask.plan_digest,
        "purpose": ask.purpose,
        "subject": ask.user,
        "tables": log.canonical_text(dict(ask.tables)),
    }


def _release_facts(
    held: StoredReservation, item: StoredItem, made: Made, release_id: str
) -> dict[str, Plain]:
    if len(made.answer) > MAX_ANSWER_BYTES:
        raise refusals.malformed(
            f"an answer of {len(made.answer)} bytes is longer than {MAX_ANSWER_BYTES}"
        )
    try:
        draws: Plain = json.loads(made.draws)
    except ValueError as error:
        raise refusals.malformed("the parameters of the draws are not JSON") from error
    paid = item.item.cost
    lacking = underpaid(draws, paid.micro_rho, paid.delta_1e12)
    if lacking:
        raise refusals.malformed(f"the release was not recorded: {lacking[0]}")
    return {
        "release": release_id,
        "reservation": held.id,
        "position": item.position,
        "tenant": held.tenant,
        "domain": item.item.domain,
        "cohorts": list(item.item.cohorts),
        "micro_rho": item.item.cost.micro_rho,
        "delta_1e12": item.item.cost.delta_1e12,
        "answer_sha256": made.sha256,
        "draws": draws,
    }


def _append(
    connection: Connection,
    event: Event,
    now: datetime,
    facts: dict[str, Plain],
    bound: dict[str, str],
    *,
    made: tuple[Decision, ...] = (),
) -> log.Appended:
    """Append an entry, and keep the decisions behind it under the digest that it binds."""
    if made:
        bound = {**bound, "decisions": digest(made)}
    try:
        entry = log.append(connection, event, now, facts, bound)
    except ValueError as error:
        # Too long for the log, or a float in the parameters: not logged means not done.
        raise refusals.malformed(str(error)) from error
    decisions.save(connection, entry.index, now, made)
    return entry


def _check_repeated(
    connection: Connection,
    held: StoredReservation,
    wanted: list[StoredItem],
    made: tuple[Made, ...],
) -> None:
    ids = {i.item.digest: i.release_id for i in wanted if i.release_id is not None}
    known = {r.id: r for r in store.releases(connection, held.tenant, ids.values())}
    for one in made:
        release = known.get(ids.get(one.digest, ""))
        if release is None or (release.sha256, release.draws) != (one.sha256, one.draws):
            raise refusals.answer_differs()
