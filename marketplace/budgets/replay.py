"""The replay: recounts every account from the log's bytes and compares it with the ledger.

It reads neither reservations nor items. Each release's cost is recomputed from its noise parameters
(`accountant`), each cohort's cap and shares from the entries that fixed them (`recount`). A release
that cost more than was charged for it, one that is stored but not logged, an account that differs
from the log or spent more than the log allows, an entry that does not hash to its place: each is a
finding, and a marketplace with a finding does not start (attack E17).
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from marketplace import db
from marketplace.audit import tree
from marketplace.audit.entry import Event
from marketplace.budgets.accountant import underpaid
from marketplace.budgets.model import COHORT
from marketplace.budgets.proposal import State
from marketplace.budgets.proposal_store import cohort_caps, proposals
from marketplace.budgets.recount import Account, Caps, Figures


@dataclass(frozen=True, slots=True)
class Replay:
    """What the log says, beside what the ledger says."""

    entries: int
    releases: int
    spent: dict[Account, Figures]
    caps: dict[Account, Figures]
    """What each account that was charged may spend, by the log; older homes' are not logged yet."""
    pinned: dict[tuple[str, str], Figures]
    """Domain and holder to what the log fixed for all cohorts without figures of their own."""
    own: dict[tuple[str, int], dict[str, Figures]]
    """Domain and cohort to the figures that two persons gave it before it began."""
    findings: tuple[str, ...]


@dataclass(slots=True)
class _Recount:
    """The books as they stand after the entries read so far."""

    spent: dict[Account, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    open: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Reservations that may still get releases."""
    closed: set[str] = field(default_factory=set)
    """Reservations that failed or were paid back."""
    released: set[tuple[str, int]] = field(default_factory=set)
    """Reservation and position."""
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)
    caps: Caps = field(default_factory=Caps)
    findings: list[str] = field(default_factory=list)

    def read(self, event: str, facts: dict[str, Any], time: str) -> None:
        """Enter one decision."""
        match event:
            case Event.BUDGET_PINNED:
                self.findings += self.caps.pin(facts)
            case Event.BUDGET_PROPOSED:
                self.caps.propose(facts)
            case Event.BUDGET_DECIDED:
                self.findings += self.caps.decide(facts, time, self.spent)
            case Event.RESERVATION_MADE:
                self.open[facts["reservation"]] = facts
                self._add(facts, 1)
            case Event.RESERVATION_REFUNDED | Event.RESERVATION_FAILED:
                self._close(facts["reservation"], refunded=event == Event.RESERVATION_REFUNDED)
            case Event.RELEASE_RECORDED:
                self._release(facts)
            case _:
                pass

    def _close(self, name: str, *, refunded: bool) -> None:
        reservation = self.open.get(name)
        if reservation is None or name in self.closed:
            self.findings.append(f"reservation {name}: closed, but it was not open")
            return
        if any(name == of for of, _ in self.released):
            self.findings.append(f"reservation {name}: closed without an answer, after a release")
        self.closed.add(name)
        if refunded:
            self._add(reservation, -1)

    def _release(self, facts: dict[str, Any]) -> None:
        name, reservation = facts["release"], self.open.get(facts["reservation"])
        self.recorded[name] = facts
        place = (facts["reservation"], facts["position"])
        if reservation is None or facts["reservation"] in self.closed:
            self.findings.append(f"release {name}: there is no open reservation for it")
            return
        if place in self.released:
            self.findings.append(f"release {name}: its charge already paid for another release")
        self.released.add(place)
        charges = {c["position"]: c for c in reservation["charges"]}
        self.findings += _underpaid(name, facts, charges.get(facts["position"]))

    def _add(self, facts: dict[str, Any], sign: int) -> None:
        for charge in facts["charges"]:
            for cohort in charge["cohorts"]:
                for holder in (facts["tenant"], COHORT):
                    name = (charge["domain"], cohort, holder)
                    account = self.spent[name]
                    account[0] += sign * charge["micro_rho"]
                    account[1] += sign * charge["delta_1e12"]
                    self._check(name, (account[0], account[1]))

    def _check(self, account: Account, spent: Figures) -> None:
        cap = self.caps.of(account)
        if cap is not None and (spent[0] > cap[0] or spent[1] > cap[1]):
            self.findings.append(f"account {account}: the log spent {spent} of {cap}")


def replay(database: db.Database) -> Replay:
    """Recount everything; an empty `findings` means that log, releases and ledger agree."""
    with database.reading() as connection:
        return _replay(connection)


def _replay(connection: Connection) -> Replay:
    books, count = _Recount(), 0
    entry = db.entries.c
    rows = connection.execute(
        select(entry.index, entry.bytes, entry.leaf_hash).order_by(entry.index)
    )
    for index, data, leaf in rows:
        if index != count or tree.leaf_hash(bytes(data)) != bytes(leaf):
            books.findings.append(f"entry {index}: not at its place, or not what was hashed")
        count += 1
        body = json.loads(bytes(data))
        books.read(body["event"], body["facts"], str(body.get("time", "")))
    books.findings += _compare_releases(connection, books.recorded)
    books.findings += _compare_accounts(connection, books)
    books.findings += _compare_caps(connection, books.caps)
    totals = {k: (v[0], v[1]) for k, v in books.spent.items()}
    caps = {k: cap for k in totals if (cap := books.caps.of(k)) is not None}
    return Replay(
        count,
        len(books.recorded),
        totals,
        caps,
        books.caps.pinned,
        books.caps.own,
        tuple(books.findings),
    )


def _underpaid(name: str, facts: dict[str, Any], charge: dict[str, Any] | None) -> Iterator[str]:
    """Yield what is wrong between a release's noise and what was paid for it."""
    if charge is None or not charge["cohorts"]:
        yield f"release {name}: its reservation did not pay for it"
        return
    if (charge["domain"], charge["cohorts"]) != (facts["domain"], facts["cohorts"]):
        yield f"release {name}: it was paid for by other cohorts than it reads"
    for lacking in underpaid(facts["draws"], charge["micro_rho"], charge["delta_1e12"]):
        yield f"release {name}: {lacking}"


def _compare_releases(connection: Connection, recorded: dict[str, dict[str, Any]]) -> Iterator[str]:
    rows = connection.execute(select(db.releases.c.id, db.releases.c.sha256)).all()
    for row in rows:
        entry = recorded.get(row.id)
        if entry is None:
            yield f"release {row.id}: stored without a log entry"
        elif entry["answer_sha256"] != row.sha256:
            yield f"release {row.id}: its bytes are not the logged ones"
    if len(rows) != len(recorded):
        yield f"{len(recorded)} releases are logged, {len(rows)} are stored"


def _compare_accounts(connection: Connection, books: _Recount) -> Iterator[str]:
    ledger = {(r.domain, r.cohort, r.tenant): r for r in connection.execute(select(db.accounts))}
    for account in sorted(set(ledger) | set(books.spent)):
        logged = tuple(books.spent.get(account, (0, 0)))
        row = ledger.get(account)
        held = (row.spent_micro_rho, row.spent_delta_1e12) if row else (0, 0)
        if held != logged:
            yield f"account {account}: the log spent {logged}, the ledger holds {held}"
        cap = books.caps.of(account)
        if row and cap not in (None, (row.cap_micro_rho, row.cap_delta_1e12)):
            yield (
                f"account {account}: the log allows {cap}, the ledger "
                f"{(row.cap_micro_rho, row.cap_delta_1e12)}"
            )


def _compare_caps(connection: Connection, caps: Caps) -> Iterator[str]:
    if caps.pinned:
        kept = {
            (r.domain, r.tenant): (r.micro_rho, r.delta_1e12)
            for r in connection.execute(select(db.caps))
        }
        yield from _differing("the budget of", caps.pinned, kept)
    logged = {(*where, h): f for where, holders in caps.own.items() for h, f in holders.items()}
    own = {
        (r.domain, r.cohort, r.tenant): (r.micro_rho, r.delta_1e12)
        for r in connection.execute(select(cohort_caps))
    }
    yield from _differing("the cohort's own budget of", logged, own)
    in_force = (State.IN_FORCE.value, State.REPLACED.value)
    wanted = select(proposals.c.id).where(proposals.c.state.in_(in_force))
    for name in sorted(caps.decided ^ set(connection.execute(wanted).scalars())):
        yield f"proposal {name}: the log and the database differ on whether it came into force"


def _differing(
    what: str, logged: Mapping[Any, Figures], kept: Mapping[Any, Figures]
) -> Iterator[str]:
    for key in sorted(set(logged) | set(kept)):
        if logged.get(key) != kept.get(key):
            yield f"{what} {key}: the log says {logged.get(key)}, the database {kept.get(key)}"
