"""Judges every entry of the log once, and keeps what people do about what was found."""

import secrets
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from marketplace.access.desk import Desk, Said, not_found
from marketplace.access.grants import Grants
from marketplace.audit import store as log
from marketplace.audit import tree
from marketplace.audit.entry import Event, Plain
from marketplace.audit.published import Log
from marketplace.demand.calendar import Calendar
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.policy.model import Decision
from marketplace.risk import model, reading, rules, store
from marketplace.risk.memory import Memory
from marketplace.risk.model import Action, Disposal, Hit, Observation, RiskEvent, State, Step
from marketplace.risk.policy import RiskPolicy
from marketplace.window import NEWEST, Window

BATCH = 50
"""Entries that are judged in one transaction."""
MOST_BATCHES = 400
"""Batches of one turn of the worker; the rest comes with the next."""
PATROL = 2_000
"""Entries that are compared with the published log in one turn."""
JUDGED, COMPARED = "judged", "compared"


class Watch:
    """The worker's part."""

    def __init__(self, desk: Desk, policy: RiskPolicy, calendar: Calendar, published: Log) -> None:
        """Judge by `policy`; nights and days off are those of `calendar`."""
        self._desk, self.policy, self._calendar = desk, policy, calendar
        self._published = published
        self._turn = threading.Lock()

    def judge(self) -> int:
        """Judge entries that were not judged yet, each once; return how many."""
        judged = 0
        with self._turn:
            memory = Memory()
            for _ in range(MOST_BATCHES):
                with self._desk.database.reading() as connection:
                    if store.cursor(connection, JUDGED) >= log.size(connection):
                        break
                with self._desk.database.writing() as connection:
                    judged += self._batch(connection, memory)
        return judged

    def patrol(self) -> int:
        """Compare further entries of the database with the published log; return how many differ.

        Begins anew at the end, so that every entry is compared again and again.
        """
        size = self._published.head.checkpoint.size
        fetch = self._published.fetch(size)
        with self._desk.database.reading() as connection:
            start = store.cursor(connection, COMPARED)
            start = start if start < size else 0
            read = log.entries_from(connection, start, min(PATROL, size - start))
        differ = [
            start + n for n, data in enumerate(read) if tree.leaf_hash(data) != fetch(0, start + n)
        ]
        with self._desk.database.writing() as connection:
            for index in differ[:1]:  # one event; the verifier lists all that differ
                hit = rules.damage(self.policy, index)
                if hit is None:
                    continue
                now, finding = self._desk.clock(), (hit.rule, "", "", hit.about)
                quiet = timedelta(hours=self.policy.rules[hit.rule].quiet_hours)
                found = store.last_found(connection, finding)
                if found is None or found < now - quiet:
                    self._raise(connection, hit, now)
            store.move(connection, COMPARED, start + len(read))
        return len(differ)

    def _batch(self, connection: Connection, memory: Memory) -> int:
        start = store.cursor(connection, JUDGED)
        observed, read = reading.observed(connection, start, BATCH, memory.people)
        for new in observed:
            past = memory.before(connection, new)

            def is_quiet(rule: str, about: str, new: Observation = new) -> bool:
                since = new.time - timedelta(hours=self.policy.rules[rule].quiet_hours)
                found = memory.found(connection, (rule, new.tenant, new.actor, about))
                return found is not None and found >= since

            for hit in rules.judge(self.policy, self._calendar, past, new, is_quiet):
                self._raise(connection, hit, new.time)
                memory.raised(hit, new.time)
            memory.add(new)
        store.observe(connection, observed)
        store.move(connection, JUDGED, start + read)
        return read

    def _raise(self, connection: Connection, hit: Hit, happened: datetime) -> None:
        now, name = self._desk.clock(), secrets.token_hex(16)
        facts: dict[str, Plain] = {
            "risk_event": name,
            "rule": hit.rule,
            "severity": hit.severity.value,
            "action": hit.action.value,
            "score": hit.score,
            "tenant": hit.tenant,
            "evidence": [*hit.evidence],
        }
        entry = log.append(connection, Event.RISK_RAISED, now, facts)
        store.add(connection, RiskEvent(name, hit, happened, now, entry.index))
        said = Said(
            f"Risk event {hit.rule} ({hit.severity.value}), organisation {hit.tenant or '-'}.",
            f"风险事件 {hit.rule}（{hit.severity.value}），机构 {hit.tenant or '-'}。",
        )
        self._desk.tell(connection, self._told(hit), "risk:raised", name, said)

    def _told(self, hit: Hit) -> Iterable[str]:
        told = set(self._desk.holders("security-admin"))
        if hit.action in (Action.REVIEW, Action.STOP):
            told |= set(self._desk.holders("reviewer"))
        if hit.rule == "R-PRIV":
            told |= set(self._desk.holders("audit-admin"))
        return told


class RiskDesk:
    """What people do: look, take over, comment, stop, close."""

    def __init__(self, desk: Desk, grants: Grants, policy: RiskPolicy) -> None:
        """Stops are pulled by `grants`, under its own policies."""
        self._desk, self._grants, self.policy = desk, grants, policy

    def rules(self, person: Person) -> RiskPolicy:
        """Return the thresholds: to those who watch, since they also say what stays unnoticed."""
        self._permit(person, "watchRisk", None)
        return self.policy

    def events(
        self,
        person: Person,
        state: State | None = None,
        rule: str = "",
        window: Window = NEWEST,
    ) -> list[RiskEvent]:
        """Return the newest events; who reads them is logged."""
        made = self._permit(person, "watchRisk", None)
        with self._desk.database.writing() as connection:
            self._note(connection, person, made, {})
            return store.latest(connection, state, window, rule=rule)

    def one(self, person: Person, event_id: str) -> RiskEvent:
        """Return an event; who reads it is logged."""
        made = self._permit(person, "watchRisk", None)
        with self._desk.database.writing() as connection:
            found = _found(store.get(connection, event_id))
            self._note(connection, person, made, {"risk_event": event_id})
        return found

    def counts(self, person: Person) -> dict[State, int]:
        """Return how many events are in each state; nothing to who may not watch.

        No reading and so no entry: a number names nobody. The list that it leads to is one.
        """
        try:
            self._permit(person, "watchRisk", None)
        except MarketplaceError:
            return {}
        with self._desk.database.reading() as connection:
            return store.counts(connection)

    def may_handle(self, person: Person, event: RiskEvent) -> bool:
        """Whether a person may deal with an event."""
        return self._may(person, event)

    def handlers(self, event: RiskEvent) -> list[str]:
        """Return who may deal with an event."""
        return [p.user for p in self._desk.people() if self._may(p, event)]

    def assign(self, person: Person, event_id: str, handler: str) -> RiskEvent:
        """Name who deals with an event: somebody whom policy lets do that."""

        def stated(event: RiskEvent) -> dict[str, str]:
            known = next((p for p in self._desk.people() if p.user == handler), None)
            if known is None or not self._may(known, event):
                raise MarketplaceError(
                    "BAD_REQUEST",
                    f"{handler} may not deal with this event. Name somebody of another "
                    "organisation with the role.",
                    f"{handler} 无权处理该事件，请指定其他机构中有权的人员。",
                )
            return {"handler": handler}

        return self._take(person, event_id, Step.ASSIGN, stated)

    def comment(self, person: Person, event_id: str, text: str) -> RiskEvent:
        """Say something about an event."""
        return self._take(person, event_id, Step.COMMENT, lambda _: {"comment": text})

    def close(self, person: Person, event_id: str, disposal: Disposal, why: str) -> RiskEvent:
        """End an event with what became of it."""
        said = {"disposal": disposal.value, "comment": why}
        return self._take(person, event_id, Step.CLOSE, lambda _: said)

    def stop(self, person: Person, event_id: str, why: str) -> RiskEvent:
        """Stop the organisation that an event is about, as a person with that right."""
        with self._desk.database.reading() as connection:
            event = _found(store.get(connection, event_id))
        try:
            self._permit(person, "handleRisk", event)
        except MarketplaceError as denial:
            raise self._shown(person, denial) from denial
        if event.state is State.CLOSED or not event.hit.tenant:
            raise MarketplaceError(
                "WRONG_STATE",
                "This event is closed, or it is about no organisation that could be stopped.",
                "该事件已关闭，或不涉及可停用的机构。",
            )
        pulled = self._grants.stop(person, "tenant", event.hit.tenant, why)
        said = {"stop": pulled.id, "comment": why}
        return self._take(person, event_id, Step.STOP, lambda _: said)

    def _take(
        self,
        person: Person,
        event_id: str,
        step: Step,
        stated: Callable[[RiskEvent], dict[str, str]],
    ) -> RiskEvent:
        try:
            with self._desk.database.writing() as connection:
                before = _found(store.get(connection, event_id))
                made = self._permit(person, "handleRisk", before)
                taken = model.Taken(
                    step, person.user, person.tenant, self._desk.clock(), **stated(before)
                )
                event = model.take(before, taken)
                store.took(connection, event)
                facts: dict[str, Plain] = {
                    "risk_event": event.id,
                    "organisation": person.tenant,
                    "step": step.value,
                    "state": event.state.value,
                }
                if taken.disposal:
                    facts["disposal"] = taken.disposal
                bound = {"subject": person.user}
                self._desk.enter(connection, Event.RISK_HANDLED, facts, bound, (made,))
                if step is Step.ASSIGN and taken.handler != person.user:
                    said = Said(
                        f"You are to deal with risk event {event.id[:8]} ({event.hit.rule}).",
                        f"风险事件 {event.id[:8]}（{event.hit.rule}）已指派给您。",
                    )
                    self._desk.tell(connection, [taken.handler], "risk:assigned", event.id, said)
        except MarketplaceError as denial:
            self._desk.refuse(person, f"risk-{step.value}", event_id, denial)
            raise self._shown(person, denial) from denial
        return event

    def _shown(self, person: Person, denial: MarketplaceError) -> MarketplaceError:
        """Return a denial to who may know of events at all; for others there is no such event."""
        try:
            self._permit(person, "watchRisk", None)
        except MarketplaceError:
            return not_found()
        return denial

    def _note(
        self, connection: Connection, person: Person, made: Decision, what: dict[str, Plain]
    ) -> None:
        facts = {"organisation": person.tenant, **what}
        self._desk.enter(connection, Event.RISK_READ, facts, {"subject": person.user}, (made,))

    def _may(self, person: Person, event: RiskEvent) -> bool:
        try:
            self._permit(person, "handleRisk", event)
        except MarketplaceError:
            return False
        return True

    def _permit(self, person: Person, action: str, event: RiskEvent | None) -> Decision:
        about = "" if event is None else event.hit.actor
        context = {
            "about": about,
            "organisation": "" if event is None else event.hit.tenant,
            "rule": "" if event is None else event.hit.rule,
        }
        return self._desk.decide(person, action, "Lab", "lab", context)


def _found(event: RiskEvent | None) -> RiskEvent:
    if event is None:
        raise not_found()
    return event
