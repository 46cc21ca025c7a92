"""What waits for a person, what one is told, who stands in, and how long decisions take."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from sqlalchemy import Connection

from marketplace.access import model, store
from marketplace.access.desk import Desk, not_found
from marketplace.access.model import Actor, State, Terms
from marketplace.access.requests import Requests
from marketplace.access.store import Kept, Notice, StandIn, Step
from marketplace.audit.entry import Event
from marketplace.audit.people import People
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.window import NEWEST, Window

DECIDED = 500
"""How many of the latest decided requests the published wait is counted over."""
STAND_IN_DAYS = 60


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that somebody may judge now, as whom, and until when."""

    kept: Kept
    actor: Actor
    due: str
    overdue: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """The median time from a request to its decision, and over how many it is counted."""

    table: str
    """Empty: over all tables."""
    median_seconds: int
    decided: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A table for which somebody may ask, in which lanes, and the fields one may name."""

    table: str
    lanes: tuple[str, ...]
    fields: tuple[str, ...]


class Inbox:
    """Readings of requests, by those whom they concern."""

    def __init__(self, desk: Desk, requests: Requests, hours: dict[State, int]) -> None:
        """`hours`: the service-level clock of each stage."""
        self._desk, self._requests, self._hours = desk, requests, hours

    def waiting(self, person: Person) -> list[Waiting]:
        """Return what a person may judge, for oneself or for colleagues; oldest first."""
        found: list[Waiting] = []
        with self._desk.database.reading() as connection:
            for kept in store.in_states(connection, (State.REVIEW, State.APPROVAL)):
                request = kept.request
                try:
                    actor, _ = self._requests.judge_as(connection, person, request)
                    # A trial vote, thrown away: separation of duties as the real one has it.
                    if request.state is State.REVIEW:
                        model.review(request, actor, model.Verdict.AGREE, request.sha256)
                    else:
                        model.approve(
                            request, actor, model.Verdict.AGREE, request.sha256, request.rank
                        )
                except MarketplaceError:
                    continue
                found.append(Waiting(kept, actor, *self.due(kept, request.state)))
        return found

    def due(self, kept: Kept, state: State) -> tuple[str, bool]:
        """Return until when a stage should end, and whether that is past; empty if nothing is."""
        if state not in self._hours:
            return "", False
        due = datetime.fromisoformat(kept.since) + timedelta(hours=self._hours[state])
        return due.isoformat(timespec="milliseconds"), due < self._desk.clock()

    def offers(self, person: Person, table: str = "") -> list[Offer]:
        """Return the tables for which policy lets a person ask now, or one of them."""
        names = self._desk.tables()
        with self._desk.database.reading() as connection:
            found = [self._offer(connection, person, name) for name in names if table in ("", name)]
        return [offer for offer in found if offer.lanes]

    def _offer(self, connection: Connection, person: Person, table: str) -> Offer:
        facts = self._desk.facts(table, connection)
        if facts is None:
            return Offer(table, (), ())
        # One open field is enough: who asks names fields, and what law closes is not among them.
        limits = [x for x in facts.limits if "operate" in x.scopes]
        fields = tuple(
            f for f in facts.fields if not any(x.closes(person.tenant, (f,)) for x in limits)
        )
        named = fields[:1] if len(fields) < len(facts.fields) else ()
        lanes = tuple(
            lane
            for lane in facts.operate_lanes
            if self._may_ask(connection, person, Terms(table, ("x",), (lane,), named, 1, 1, 1, ""))
        )
        return Offer(table, lanes, fields)

    def _may_ask(self, connection: Connection, person: Person, terms: Terms) -> bool:
        try:
            self._requests.permit(connection, person, "request", person.tenant, terms)
        except MarketplaceError:
            return False
        return True

    def own(self, person: Person) -> list[Kept]:
        """Return the requests of one's organisation."""
        with self._desk.database.reading() as connection:
            return store.of_tenant(connection, person.tenant)

    def request(self, person: Person, request_id: str) -> tuple[Kept, list[Step]]:
        """Return a request with its history, to its organisation, its judges and overseers."""
        with self._desk.database.reading() as connection:
            kept = store.get(connection, request_id)
            if kept is None or not self._requests.may_see(person, kept.request):
                raise not_found()
            return kept, store.history(connection, request_id)

    def notices(self, person: Person, window: Window = NEWEST) -> list[Notice]:
        """Return one's notices, newest first."""
        with self._desk.database.reading() as connection:
            return store.notices_of(connection, person.user, window)

    def read(self, person: Person, notice_id: str) -> None:
        """Mark one's own notice as read."""
        with self._desk.database.writing() as connection:
            if not store.mark_read(connection, person.user, notice_id, self._desk.time()):
                raise not_found()

    def name_stand_in(self, person: Person, stand_in: str, days: int) -> StandIn:
        """Let a colleague of the own organisation take one's place for some days."""
        colleagues = {p.user for p in self._desk.people() if p.tenant == person.tenant}
        if stand_in not in colleagues - {person.user} or not 1 <= days <= STAND_IN_DAYS:
            raise MarketplaceError(
                "BAD_REQUEST",
                f"A stand-in is a colleague of your organisation, for 1 to {STAND_IN_DAYS} days.",
                f"代理人须为本机构其他人员，期限为 1 至 {STAND_IN_DAYS} 天。",
            )
        now = self._desk.clock()
        ends = (now + timedelta(days=days)).isoformat(timespec="milliseconds")
        named = StandIn(person.user, stand_in, now.isoformat(timespec="milliseconds"), ends)
        with self._desk.database.writing() as connection:
            store.name_stand_in(connection, named)
            facts = {"organisation": person.tenant, "ends": ends}
            bound = {"subject": person.user, "stand_in": People(connection).enrol(stand_in)}
            self._desk.enter(connection, Event.STAND_IN_NAMED, {**facts}, bound)
        return named

    def waits(self) -> list[Wait]:
        """Return the median wait over all tables and of each, published to everybody."""
        with self._desk.database.reading() as connection:
            decided = store.waits(connection, DECIDED)
        by_table: dict[str, list[int]] = {"": []} if decided else {}
        for table, created, ended in decided:
            took = datetime.fromisoformat(ended) - datetime.fromisoformat(created)
            for name in ("", table):
                by_table.setdefault(name, []).append(int(took.total_seconds()))
        return [Wait(t, int(median(w)), len(w)) for t, w in sorted(by_table.items())]
