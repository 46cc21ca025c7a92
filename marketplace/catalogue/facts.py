"""Facts of tables as access sees them: from contracts, from the law of the day, and as published.

A provider that publishes a stricter grade, or fewer lanes, binds every question from the next
transaction on; nothing that is published makes a table looser than its contract. Made-up metadata
decides nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import Connection

from marketplace.catalogue import store
from marketplace.catalogue.store import Published
from marketplace.grading.authority import Body, gap
from marketplace.grading.barrier import Barrier, Offer, barrier
from marketplace.grading.model import Lane, Level, table_level
from marketplace.grading.negative_list import Scope, Standing
from marketplace.grading.policy import Policies
from marketplace.policy.facts import ContractFacts
from marketplace.policy.model import Limit, TableFacts, rank

NATIONAL = "national"


@dataclass(frozen=True, slots=True)
class LabFacts:
    """All that is known of a table, put together at each look."""

    contracts: ContractFacts
    policies: Policies
    codes: Mapping[str, str]
    """Table to the resource code under which the sample classes list it."""
    clock: Callable[[], datetime]

    @property
    def names(self) -> tuple[str, ...]:
        """Return all tables."""
        return self.contracts.names

    def __call__(self, resource: str, connection: Connection | None = None) -> TableFacts | None:
        """Return the facts of a table, if it is offered; within a transaction, as published."""
        facts = self.contracts(resource)
        if facts is None:
            return None
        found = self._published(connection, resource, facts)
        today, body = self.clock().date(), self._body(facts)
        codes = self._codes(resource, found)
        gaps = [g for code in codes if (g := gap(body, code, Scope.OPERATE, today))]
        for one in found:
            facts = self._as_published(facts, one)
        return replace(
            facts,
            authority_level=body.authority_level.value if body else NATIONAL,
            return_flow=not gaps,
            gap=(gaps[0].en, gaps[0].zh) if gaps else ("", ""),
            limits=tuple(self._limits(codes, today)),
        )

    def barrier(
        self, connection: Connection, table: str, fields: tuple[str, ...], audience: str
    ) -> Barrier | None:
        """Return what keeps a bureau from approving these fields for an organisation, if anything.

        An offer for each code under which the table is listed; one that stops it is enough.
        """
        facts = self.contracts(table)
        if facts is None:
            return barrier(
                self.policies, Offer(table, "", None, {}), fields, audience, self.clock().date()
            )
        found = self._published(connection, table, facts)
        known = {f: Level(facts.grade) if rank(facts) else None for f in facts.fields}
        for code in self._codes(table, found):
            grades: dict[str, Level | None] = dict(known)
            for one in found:
                grades |= {f: None for f, level in one.grades.items() if level is None}
            offer = Offer(table, code, self._body(facts), _without(grades, facts.dropped))
            stopped = barrier(self.policies, offer, fields, audience, self.clock().date())
            if stopped is not None:
                return stopped
        return None

    def owns(self, organisation: str, table: str) -> bool:
        """Whether a table is an organisation's to describe: its own, or nobody's yet."""
        facts = self.contracts(table)
        return facts is None or organisation in self._owners(facts)

    def _published(
        self, connection: Connection | None, table: str, facts: TableFacts
    ) -> list[Published]:
        if connection is None:
            return []
        owners = self._owners(facts)
        return [p for p in store.published_of(connection, table) if p.provider in owners]

    def _owners(self, facts: TableFacts) -> set[str]:
        body = self._body(facts)
        return {facts.provider} | ({body.id} if body else set())

    def _body(self, facts: TableFacts) -> Body | None:
        bodies = self.policies.bodies.values()
        return next((b for b in bodies if b.department and b.department == facts.department), None)

    def _codes(self, table: str, found: Iterable[Published]) -> tuple[str, ...]:
        known = {p.code for p in found} | {self.codes.get(table, "")} - {""}
        return tuple(sorted(known)) or ("",)

    def _as_published(self, facts: TableFacts, one: Published) -> TableFacts:
        level = table_level(_without(one.grades, facts.dropped).values())
        if level is None or not rank(facts):
            return replace(facts, grade="", operate_lanes=())
        grade = max(facts.grade, level.value, key=lambda g: Level(g).rank)
        open_ = {*self.contracts.lanes(grade)} & {_lane(lane) for lane in one.lanes}
        lanes = tuple(lane for lane in facts.operate_lanes if lane in open_)
        return replace(facts, grade=grade, operate_lanes=lanes)

    def _limits(self, codes: Iterable[str], today: date) -> Iterable[Limit]:
        for entry in self.policies.negative_list.entries:
            if entry.resource_code in codes and entry.standing(today) is Standing.IN_FORCE:
                scopes = tuple(sorted(scope.value for scope in entry.scope))
                yield Limit(entry.field, scopes, tuple(sorted(entry.audience_excepted)))


def _without(grades: Mapping[str, Level | None], dropped: Iterable[str]) -> dict[str, Level | None]:
    return {f: level for f, level in grades.items() if f not in set(dropped)}


def _lane(lane: Lane) -> str:
    """Return what contracts and grants call a lane."""
    return "compute_only_he" if lane is Lane.HE else lane.value
