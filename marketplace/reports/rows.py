"""The rows of each report, from what the marketplace keeps; nothing here changes anything."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection

from marketplace.access import grant_store
from marketplace.access import store as requests
from marketplace.access.desk import not_found
from marketplace.access.grant import Grant
from marketplace.grading.negative_list import NegativeList
from marketplace.identity.model import Person
from marketplace.releases.model import State
from marketplace.releases.store import StoredItem, StoredReservation
from marketplace.reports import store
from marketplace.reports.model import MOST_ROWS, Period, Row, shown, utc
from marketplace.risk import store as risks
from marketplace.window import Window

ALL = "*"
Question = tuple[StoredReservation, list[StoredItem]]


@dataclass(frozen=True, slots=True)
class Sources:
    """What rows are made from."""

    connection: Connection
    period: Period
    filters: Mapping[str, str]
    people: tuple[Person, ...]
    negative_list: NegativeList
    today: date
    now: datetime

    @property
    def since(self) -> str:
        """The period's first moment, as the database keeps times."""
        return utc(self.period.since)

    @property
    def until(self) -> str:
        """The first moment after the period."""
        return utc(self.period.until)

    def questions(self) -> list[Question]:
        """Return the period's questions."""
        return store.questions(self.connection, self.since, self.until)

    def asks_for(self, name: str, value: str) -> bool:
        """Whether a filter lets a value pass."""
        return self.filters.get(name, "") in ("", value)


def operation(s: Sources) -> Iterator[Row]:
    """Count questions, users, releases, charges and denials, by organisation and in all."""
    asked: Counter[tuple[str, str]] = Counter()
    paid: Counter[tuple[str, str]] = Counter()
    users: dict[str, set[str]] = defaultdict(set)
    for held, items in s.questions():
        for tenant in (held.tenant, ALL):
            asked[tenant, held.state.value] += 1
            paid[tenant, held.state.value] += price(held, items)
        users[held.tenant].add(held.user)
    for (tenant, state), count in sorted(asked.items()):
        yield "questions", tenant, state, count, paid[tenant, state]
    for tenant, names in sorted(users.items()):
        yield "users", tenant, "distinct", len(names), 0
    yield "users", ALL, "distinct", len(set().union(*users.values())), 0
    recorded = store.recorded(s.connection, s.since, s.until)
    for tenant, count in sorted({**recorded, ALL: sum(recorded.values())}.items()):
        yield "releases", tenant, "recorded", count, 0
    refused = store.denials(s.connection, s.since, s.until)
    for (_, code), count in list(refused.items()):
        refused[ALL, code] += count
    for (tenant, code), count in sorted(refused.items()):
        yield "denials", tenant, code, count, 0


def table_use(s: Sources) -> Iterator[Row]:
    """List the questions of one table."""
    cohort = s.filters.get("cohort", "")
    for held, items in s.questions():
        cohorts = sorted({c for i in items for c in i.item.cohorts})
        if s.filters["table"] not in held.tables or not s.asks_for("organisation", held.tenant):
            continue
        if cohort and cohort not in map(str, cohorts):
            continue
        yield (
            shown(held.created),
            held.id,
            held.tenant,
            held.user,
            held.purpose,
            held.epsilon,
            " ".join(map(str, cohorts)),
            price(held, items),
            held.state.value,
        )


def trace(s: Sources) -> Iterator[Row]:
    """List a project's steps in the order of time."""
    grants, steps = _project(s)
    for grant in grants:
        starts = datetime.fromtimestamp(grant.starts, UTC)
        ends = datetime.fromtimestamp(grant.ends, UTC)
        detail = f"{grant.table}, {', '.join(grant.purposes)}, until {shown(utc(ends))}"
        steps.append((utc(starts), ("grant", grant.id, grant.tenant, "", detail, 0)))
        asked = [
            q
            for q in store.questions(s.connection, utc(starts), utc(ends))
            if q[0].tenant == grant.tenant and grant.table in q[0].tables
        ]
        ids = [i.release_id for _, items in asked for i in items if i.charged and i.release_id]
        entries = store.entry_of(s.connection, ids)
        for held, items in asked:
            detail = f"{held.purpose}, epsilon {held.epsilon}, {held.state.value}"
            who = (held.tenant, held.user)
            steps.append((held.created, ("question", held.id, *who, detail, price(held, items))))
            for item in items:
                if item.charged and item.release_id in entries:
                    index, time = entries[item.release_id]
                    steps.append((time, ("release", item.release_id, *who, f"entry {index}", 0)))
    for time, row in sorted(steps, key=lambda step: step[0]):
        yield (shown(time), *row)


def _project(s: Sources) -> tuple[list[Grant], list[tuple[str, Row]]]:
    """Return the grants of a project and the steps that led to them."""
    c, steps = s.connection, list[tuple[str, Row]]()
    if grant_id := s.filters.get("grant", ""):
        held = grant_store.get(c, grant_id)
        if held is None:
            raise not_found()
        of_tenant = requests.of_tenant(c, held.grant.tenant)
        kept = next((k for k in of_tenant if k.request.sha256 == held.grant.basis), None)
        grants = [held.grant]
    else:
        kept = requests.get(c, s.filters["request"])
        if kept is None:
            raise not_found()
        of_tenant_grants = grant_store.of_tenant(c, kept.request.tenant)
        grants = [h.grant for h in of_tenant_grants if h.grant.basis == kept.request.sha256]
    if kept is not None:
        r = kept.request
        terms = f"{r.terms.table}, {', '.join(r.terms.purposes)}, {r.terms.days} d"
        for step in requests.history(c, r.id):
            who = (step.actor.organisation, step.actor.user)
            told = terms if step.step == "submit" else step.comment
            said = ", ".join(filter(None, (step.verdict, step.state, told)))
            steps.append((step.time, (step.step, r.id, *who, said, 0)))
    return grants, steps


def ledger(s: Sources) -> Iterator[Row]:
    """Sum charges by organisation, tables, domain and cohort; then list the accounts."""
    rho: Counter[tuple[str, str, str, int]] = Counter()
    delta: Counter[tuple[str, str, str, int]] = Counter()
    count: dict[tuple[str, str, str, int], set[str]] = defaultdict(set)
    for held, items in s.questions():
        if held.state is State.REFUNDED or not s.asks_for("organisation", held.tenant):
            continue
        for item in (i for i in items if i.charged):
            for cohort in item.item.cohorts:
                key = (held.tenant, " ".join(sorted(held.tables)), item.item.domain, cohort)
                rho[key] += item.item.cost.micro_rho
                delta[key] += item.item.cost.delta_1e12
                count[key].add(held.id)
    for key in sorted(rho):
        yield "spent", *key[:3], str(key[3]), len(count[key]), rho[key], delta[key], "", ""
    for domain, cohort, tenant, cap, spent, spent_delta in store.accounts(s.connection):
        if s.asks_for("organisation", tenant):
            who = tenant or ALL
            left = cap - spent
            yield "account", who, "", domain, str(cohort), "", spent, spent_delta, cap, left


def grades(s: Sources) -> Iterator[Row]:
    """List the negative list and the changes of grades."""
    for e in sorted(s.negative_list.entries, key=lambda e: e.entry_id):
        basis = f"{e.legal_basis.title} {e.legal_basis.doc_no} {e.legal_basis.article}"
        yield (
            "negative-list",
            e.entry_id,
            e.resource_code,
            e.field,
            " ".join(sorted(e.scope)),
            f"{basis}; {e.approving_body} {e.approval_no}",
            "",
            e.valid_from.isoformat(),
            e.valid_until.isoformat(),
            e.standing(s.today).value,
        )
    for code, one in store.regraded(s.connection, s.since, s.until):
        yield (
            "regrading",
            one.id,
            code,
            one.field,
            f"{one.change.before.value} > {one.change.after.value}",
            one.change.event,
            " / ".join(filter(None, (f"{one.by} ({one.organisation})", one.decided_by))),
            shown(one.created),
            shown(one.decided),
            one.outcome.value,
        )


def permissions(s: Sources) -> Iterator[Row]:
    """List who holds what, and when it was used last."""
    seen = store.last_seen(s.connection)
    for p in sorted(s.people, key=lambda p: (p.tenant, p.user)):
        last = shown(seen.get(p.user, ""))
        yield "person", p.tenant, p.user, " ".join(p.roles), "", "", "active", last
    asked, now = store.last_asked(s.connection), int(s.now.timestamp())
    for tenant in sorted({p.tenant for p in s.people}):
        for held in grant_store.of_tenant(s.connection, tenant):
            g = held.grant
            ended = held.state == grant_store.ACTIVE and not g.is_live(now)
            yield (
                "grant",
                tenant,
                g.table,
                f"{' '.join(g.lanes)}; {' '.join(g.purposes)}",
                *(shown(utc(datetime.fromtimestamp(t, UTC))) for t in (g.starts, g.ends)),
                "ended" if ended else held.state,
                shown(asked.get((tenant, g.table), "")),
            )
    homes = {p.user: p.tenant for p in s.people}
    for one in store.all_stand_ins(s.connection, s.now):
        terms = (shown(one.starts), shown(one.ends), "active", "")
        yield "stand-in", homes.get(one.user, ""), one.stand_in, f"for {one.user}", *terms


def risk_events(s: Sources) -> Iterator[Row]:
    """List risk events, oldest first."""
    found = risks.latest(s.connection, None, Window(1, MOST_ROWS), s.since, s.until)
    for e in reversed(found):
        closed = "" if e.closed_at is None else shown(utc(e.closed_at))
        yield (
            shown(utc(e.raised)),
            e.id,
            e.hit.rule,
            e.hit.severity.value,
            e.hit.score,
            e.hit.action.value,
            e.hit.tenant,
            e.hit.actor,
            " ".join(map(str, e.hit.evidence)),
            e.state.value,
            e.handler,
            e.disposal,
            closed,
        )


def price(held: StoredReservation, items: list[StoredItem]) -> int:
    """Return what a question cost in each of its cohorts."""
    return 0 if held.state is State.REFUNDED else sum(i.charged_micro_rho for i in items)


ROWS: Mapping[str, Callable[[Sources], Iterator[Row]]] = {
    "operation": operation,
    "table-use": table_use,
    "trace": trace,
    "ledger": ledger,
    "grades": grades,
    "permissions": permissions,
    "risk-events": risk_events,
}
"""One function for each kind."""
