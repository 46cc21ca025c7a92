"""What one turn of judging looks back on: read once, then carried on from entry to entry.

It is thrown away after the turn, or when a transaction fails, and read anew from what was kept.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from marketplace import db
from marketplace.risk import rules, store
from marketplace.risk.model import Hit, Observation, Past
from marketplace.risk.policy import MONTH_DAYS

Finding = tuple[str, str, str, str]
"""Rule, organisation, person, what it is about."""


@dataclass(slots=True)
class _Day:
    """The last day of one organisation."""

    recent: deque[Observation] = field(default_factory=deque)
    questions: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    paid: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, new: Observation) -> None:
        """Carry on with one more."""
        self.recent.append(new)
        if new.question:
            self.questions[new.question].append(new.index)
        for c in new.charges:
            self.paid[c.domain, c.cohort] += c.micro_rho

    def forget(self, before: datetime) -> None:
        """Drop what is older than a day."""
        while self.recent and self.recent[0].time <= before:
            old = self.recent.popleft()
            if old.question:
                self.questions[old.question].popleft()
            for c in old.charges:
                self.paid[c.domain, c.cohort] -= c.micro_rho


@dataclass(slots=True)
class Memory:
    """What a turn knows."""

    people: dict[str, str] = field(default_factory=dict)
    """Tag to opaque id."""
    _days: dict[str, _Day] = field(default_factory=dict)
    _joins: dict[str, set[str]] = field(default_factory=dict)
    _hours: dict[str, dict[datetime, int]] = field(default_factory=dict)
    _seen: dict[str, datetime | None] = field(default_factory=dict)
    _found: dict[Finding, datetime | None] = field(default_factory=dict)

    def before(self, connection: Connection, new: Observation) -> Past:
        """Return what rules may look back on."""
        since = new.time - rules.DAY
        if new.tenant not in self._days:
            day = self._days[new.tenant] = _Day()
            for old in store.recent(connection, new.tenant, since):
                day.add(old)
            self._joins[new.tenant] = store.joins(connection, new.tenant)
        month = rules.hour_of(new.time) - timedelta(days=MONTH_DAYS + 1)
        if new.actor and new.actor not in self._hours:
            self._hours[new.actor] = store.hours(connection, new.actor, rules.ASKED, month)
            self._seen[new.actor] = store.last_seen(connection, new.actor)
        day, hours = self._days[new.tenant], self._hours.get(new.actor, {})
        day.forget(since)
        while hours and (oldest := next(iter(hours))) < month:
            del hours[oldest]
        return Past(
            day.recent,
            tuple(day.questions.get(new.question, ())),
            day.paid,
            hours,
            self._seen.get(new.actor),
            new.join in self._joins[new.tenant],
            _left(connection, new),
        )

    def add(self, new: Observation) -> None:
        """Carry on with one more."""
        self._days[new.tenant].add(new)
        if new.join:
            self._joins[new.tenant].add(new.join)
        if new.actor:
            self._seen[new.actor] = new.time
            if new.event in rules.ASKED:
                hours, hour = self._hours[new.actor], rules.hour_of(new.time)
                hours[hour] = hours.get(hour, 0) + 1

    def found(self, connection: Connection, finding: Finding) -> datetime | None:
        """Return when something was found last, if ever."""
        if finding not in self._found:
            self._found[finding] = store.last_found(connection, finding)
        return self._found[finding]

    def raised(self, hit: Hit, happened: datetime) -> None:
        """Remember what was just found."""
        self._found[hit.rule, hit.tenant, hit.actor, hit.about] = happened


def _left(connection: Connection, new: Observation) -> dict[tuple[str, int], tuple[int, int]]:
    a, domains = db.accounts.c, {c.domain for c in new.charges if c.micro_rho}
    if not domains:
        return {}
    wanted = select(a.domain, a.cohort, a.cap_micro_rho, a.spent_micro_rho)
    rows = connection.execute(wanted.where(a.tenant == new.tenant, a.domain.in_(domains)))
    return {(r[0], r[1]): (r[2] - r[3], r[2]) for r in rows}
