"""The life of demands: each step one transaction with its log entry; refusals are entries too."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from marketplace.access import grant_store
from marketplace.access.desk import Desk, Said, not_found
from marketplace.audit.entry import Event, Plain
from marketplace.demand import model, store
from marketplace.demand.calendar import Calendar, Due
from marketplace.demand.model import Days, Demand, Rejection, Satisfaction, Step, Taken, Wanted
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.policy.model import Decision

MOST_LIKE = 5
"""Demands named as like a new one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a bureau decides about demands (`policies/demand.yaml`)."""

    calendar: Calendar
    days: Days
    likeness: float
    open_per_organisation: int

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> "Rules":
        """Return the rules of a policy file; ValueError or KeyError if it is not one."""
        days = Days(**stated["days"])
        if min(days.dispatch, days.answer, days.deliver) < 1:
            raise ValueError("each stage of a demand may take at least one working day")
        calendar = Calendar.of(stated["working_days"])
        return cls(calendar, days, float(stated["likeness"]), int(stated["open_per_organisation"]))


@dataclass(frozen=True, slots=True)
class Shown:
    """A demand with when its present stage has to end."""

    demand: Demand
    due: Due | None
    overdue: bool
    named: bool
    """Whether the reader sees who demands and what is said: the two sides do, and overseers."""


class Demands:
    """Demand, find a provider, answer, deliver."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        """Share the desk of the access workflow."""
        self._desk, self._rules = desk, rules

    def submit(self, person: Person, wanted: Wanted) -> tuple[Shown, tuple[Shown, ...]]:
        """Write a demand; return it with the open ones whose titles are like its own."""
        try:
            with self._desk.database.writing() as connection:
                made = self._permit(person, "demand", "", own=True)
                others = store.everything(connection, only_open=True)
                self._check_new(connection, person, wanted, others)
                name, now = secrets.token_hex(16), self._desk.clock()
                demand = model.begin(name, person.tenant, person.user, wanted, now)
                store.add(connection, demand)
                self._log(connection, demand, made)
                said = _said(demand)
                self._desk.tell(connection, self._bureau(), "demand", demand.id, said)
        except MarketplaceError as denial:
            self._desk.refuse(person, "demand", wanted.table, denial)
            raise
        return self._shown(demand, named=True), self._like(person, wanted, others)

    def take(self, person: Person, demand_id: str, step: Step, **stated: str) -> Shown:
        """Take one step; `stated` is what the step has to say."""
        try:
            with self._desk.database.writing() as connection:
                before = store.get(connection, demand_id)
                if before is None or step is Step.SUBMIT:
                    raise not_found()
                own = person.tenant == before.tenant
                made = self._permit(person, step.value, before.provider, own=own)
                self._check_stated(connection, before, step, stated)
                now = self._desk.clock()
                taken = Taken(step, person.tenant, person.user, now, **stated)
                demand = model.take(before, taken)
                store.took(connection, demand)
                self._log(connection, demand, made)
                told = self._concerned(demand) - {person.user}
                self._desk.tell(connection, told, f"demand-{step.value}", demand.id, _said(demand))
        except MarketplaceError as denial:
            self._desk.refuse(person, step.value, demand_id, denial)
            raise
        return self._shown(demand, named=True)

    def board(self, person: Person) -> list[Shown]:
        """Return all demands, newest first: who asks for the same should see that it is asked."""
        with self._desk.database.reading() as connection:
            return self._for(person, store.everything(connection))

    def one(self, person: Person, demand_id: str) -> Shown:
        """Return one demand."""
        with self._desk.database.reading() as connection:
            found = store.get(connection, demand_id)
        if found is None:
            raise not_found()
        return self._for(person, [found])[0]

    def open_steps(self, person: Person, demand: Demand) -> tuple[Step, ...]:
        """Return the steps that follow from a demand's state and that a person may take."""
        return tuple(
            step
            for step, (sources, _) in model.ORDER.items()
            if demand.state in sources and self._may(person, step, demand)
        )

    def tables(self) -> list[str]:
        """Return the names of all tables that a demand, or its answer, may name."""
        return self._desk.tables()

    def may_demand(self, person: Person) -> bool:
        """Whether policy lets a person demand data."""
        try:
            self._permit(person, "demand", "", own=True)
        except MarketplaceError:
            return False
        return True

    def _may(self, person: Person, step: Step, demand: Demand) -> bool:
        own = person.tenant == demand.tenant
        try:
            self._permit(person, step.value, demand.provider, own=own)
        except MarketplaceError:
            return False
        return True

    def satisfaction(self) -> Satisfaction:
        """Return the rate that leaders report, with the demands behind each number."""
        with self._desk.database.reading() as connection:
            demands = store.everything(connection)
        return model.satisfaction(
            demands, self._rules.calendar, self._rules.days, self._desk.clock()
        )

    def _check_new(
        self, connection: Connection, person: Person, wanted: Wanted, others: list[Demand]
    ) -> None:
        if wanted.table and self._desk.facts(wanted.table) is None:
            raise _unknown_table(wanted.table)
        title, table = model.plain(wanted.title), wanted.table
        if not title:
            raise MarketplaceError(
                "BAD_REQUEST",
                "The title says nothing: use letters, characters or digits.",
                "标题没有内容，请使用文字或数字。",
            )
        for other in others:
            same = (model.plain(other.wanted.title), other.wanted.table) == (title, table)
            if same and other.tenant == person.tenant:
                raise MarketplaceError(
                    "ALREADY_DEMANDED",
                    f"Your organisation has demanded this: {other.id}. Follow that one.",
                    f"贵机构已提出相同需求：{other.id}，请关注该需求。",
                )
        most = self._rules.open_per_organisation
        if store.open_of(connection, person.tenant) >= most:
            raise MarketplaceError(
                "TOO_MANY_REQUESTS",
                f"Your organisation has {most} open demands. Withdraw one, or wait for an answer.",
                f"贵机构已有 {most} 个未结需求，请撤回或等待答复。",
            )

    def _check_stated(
        self, connection: Connection, before: Demand, step: Step, stated: Mapping[str, str]
    ) -> None:
        table = stated.get("table", "")
        facts = self._desk.facts(table) if table else None
        if table and facts is None:
            raise _unknown_table(table)
        if facts is not None and facts.provider != before.provider:
            raise MarketplaceError(
                "BAD_REQUEST",
                f"{table} is provided by {facts.provider}. Name a table of your own, or block the "
                "demand so that the bureau can send it there.",
                f"{table} 由 {facts.provider} 提供。请填写本机构的数据表，"
                "或退回需求由主管部门另行派发。",
            )
        provider = stated.get("provider", "")
        if provider and not self._desk.holders("provider", provider):
            raise MarketplaceError(
                "BAD_REQUEST",
                f"Nobody at {provider} answers for data. Name an organisation with a provider.",
                f"{provider} 没有数据提供人员，请指定有提供方角色的机构。",
            )
        repeats = stated.get("repeats", "")
        if repeats and (repeats == before.id or store.get(connection, repeats) is None):
            raise not_found()
        if step is Step.DELIVER and before.table and not self._is_granted(connection, before):
            raise MarketplaceError(
                "NOT_GRANTED",
                f"{before.tenant} has no valid grant for {before.table} yet. A demand is met when "
                "access is granted and the data can be used; grant it first.",
                f"{before.tenant} 尚无 {before.table} 的有效授权。授权生效且数据可用后，"
                "需求才算满足。",
            )

    def _is_granted(self, connection: Connection, demand: Demand) -> bool:
        now, table = int(self._desk.clock().timestamp()), demand.table
        held = grant_store.best(connection, demand.tenant, [table], now).get(table)
        return held is not None and held.state == grant_store.ACTIVE and held.grant.is_live(now)

    def _like(self, person: Person, wanted: Wanted, others: list[Demand]) -> tuple[Shown, ...]:
        rated = [(model.likeness(wanted.title, d.wanted.title), d) for d in others]
        near = [(how, d) for how, d in rated if how >= self._rules.likeness]
        near.sort(key=lambda pair: (-pair[0], pair[1].id))
        return tuple(self._for(person, [d for _, d in near[:MOST_LIKE]]))

    def _for(self, person: Person, demands: list[Demand]) -> list[Shown]:
        """Return demands as a person may see them."""
        sees_all = self._desk.oversees(person)
        return [
            self._shown(d, named=sees_all or person.tenant in (d.tenant, d.provider))
            for d in demands
        ]

    def _shown(self, demand: Demand, *, named: bool) -> Shown:
        due = demand.due(self._rules.calendar, self._rules.days)
        overdue = due is not None and due.at <= self._desk.clock()
        return Shown(demand, due, overdue, named)

    def _permit(self, person: Person, action: str, provider: str, *, own: bool) -> Decision:
        return self._desk.decide(person, action, "Lab", "lab", {"own": own, "provider": provider})

    def _bureau(self) -> set[str]:
        return {*self._desk.holders("reviewer"), *self._desk.holders("approver")}

    def _concerned(self, demand: Demand) -> set[str]:
        provider = self._desk.holders("provider", demand.provider) if demand.provider else ()
        return {demand.user, *provider}

    def _log(self, connection: Connection, demand: Demand, made: Decision) -> None:
        taken = demand.latest
        facts: dict[str, Plain] = {
            "demand": demand.id,
            "tenant": demand.tenant,
            "organisation": taken.organisation,
            "step": taken.step.value,
            "state": demand.state.value,
        }
        for name in ("provider", "barrier", "rejection", "repeats"):
            if value := getattr(taken, name):
                facts[name] = value
        bound = {"subject": taken.user, "table": taken.table or demand.wanted.table}
        self._desk.enter(connection, Event.DEMAND_STEPPED, facts, bound, (made,))


def _said(demand: Demand) -> Said:
    state = demand.state.value
    if demand.latest.rejection == Rejection.NEGATIVE_LIST:
        state = f"{state}: {demand.latest.rejection}"
    return Said(f"Demand {demand.id[:8]}: {state}.", f"需求 {demand.id[:8]}：{state}。")


def _unknown_table(table: str) -> MarketplaceError:
    return MarketplaceError(
        "UNKNOWN_TABLE",
        f"No table called {table} is offered. Leave it empty for data that does not exist yet.",
        f"没有名为 {table} 的数据表。如数据尚不存在，请留空。",
    )
