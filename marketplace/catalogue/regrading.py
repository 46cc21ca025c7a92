"""Changes of a published field's grade: stricter at once, looser only by a person of the bureau.

An event is reported with facts and evidence, and the rule of `grading.yaml` says where it leads.
An upgrade needs nobody. A downgrade waits until somebody of another organisation, who did not
report it, decides; a grade that has moved meanwhile makes it void. Every change keeps from, to,
event, facts, evidence, who and when.
"""

import secrets
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from marketplace.access.desk import Desk, Said
from marketplace.audit.entry import Event, Plain
from marketplace.catalogue import regrading_store as kept
from marketplace.catalogue import store
from marketplace.catalogue.page import Page
from marketplace.catalogue.regrading_store import Facts, Outcome, Regrading
from marketplace.catalogue.service import Catalogue
from marketplace.errors import MarketplaceError
from marketplace.grading.model import Change, Direction, change_of
from marketplace.identity.model import UNNAMED, Person
from marketplace.policy.model import Decision


@dataclass(frozen=True, slots=True)
class Regradings:
    """Reports and decisions."""

    desk: Desk
    catalogue: Catalogue

    def report(  # one event
        self, person: Person, id_: str, field: str, event: str, facts: Facts, evidence: str
    ) -> Regrading:
        """Apply an upgrade, let a downgrade wait, refuse what changes nothing."""
        try:
            with self.desk.database.writing() as connection:
                page = self._published(connection, id_)
                made = self._permit(person, "regrade", page)
                change = self._change(connection, page, field, event, facts)
                outcome = Outcome.WAITING if change.needs_person else Outcome.APPLIED
                found = Regrading(
                    secrets.token_hex(16),
                    id_,
                    page.version.number,
                    field,
                    change,
                    dict(facts),
                    evidence,
                    outcome,
                    person.user,
                    person.tenant,
                    self.desk.time(),
                )
                kept.add(connection, found)
                self._enter(connection, person, found, (made,))
                if outcome is Outcome.APPLIED:
                    self.catalogue.set_grade(connection, page, field, change.after)
                else:
                    self._tell(connection, page, found)
        except MarketplaceError as denial:
            self.desk.refuse(person, "regrade", id_, denial)
            raise
        return found

    def decide(self, person: Person, regrading: str, comment: str, *, approve: bool) -> Regrading:
        """Give one's word on a downgrade that waits: another person, another organisation."""
        try:
            with self.desk.database.writing() as connection:
                before = kept.get(connection, regrading)
                if before is None:
                    raise _not_found()
                page = self._published(connection, before.resource)
                made = self._permit(person, "downgrade", page)
                _check_judge(before, person)
                after = self._decided(connection, page, before, approve=approve)
                after = replace(
                    after, decided_by=person.user, decided=self.desk.time(), comment=comment
                )
                kept.decide(connection, after)
                self._enter(connection, person, after, (made,))
        except MarketplaceError as denial:
            self.desk.refuse(person, "downgrade", regrading, denial)
            raise
        return after

    def history(self, person: Person, id_: str) -> list[Regrading]:
        """Return what changed grades of a resource, oldest first; evidence to its two sides."""
        with self.desk.database.reading() as connection:
            page = self._published(connection, id_)
            found = kept.of_resource(connection, id_)
        inside = person.tenant == page.version.provider or self._may(person, page)
        return found if inside else [_outside(r) for r in found]

    def waiting(self, person: Person) -> list[Regrading]:
        """Return downgrades that a person may decide."""
        with self.desk.database.reading() as connection:
            found = [(r, self._published(connection, r.resource)) for r in kept.waiting(connection)]
        return [r for r, p in found if self._may(person, p) and not _is_same(r, person)]

    def _published(self, connection: Connection, id_: str) -> Page:
        number = store.published_number(connection, id_)
        found = None if number is None else store.find(connection, id_, number)
        if found is None:
            raise _not_found()
        return self.catalogue.shown(*found)

    def _change(
        self, connection: Connection, page: Page, field: str, event: str, facts: Facts
    ) -> Change:
        policy, before = self.catalogue.policies.grading, page.grades.get(field)
        rule = policy.rules.get(event)
        if rule is None or before is None:
            raise MarketplaceError(
                "BAD_REQUEST",
                f"There is no graded field {field}, or no event {event}. The events are: "
                f"{', '.join(sorted(policy.rules))}.",
                "没有该已定级的信息项，或没有该变更事由。",
            )
        change = change_of(
            rule,
            before,
            facts,
            kept.earlier(connection, page.version.resource, field, rule.restore),
        )
        if change.unmet:
            raise MarketplaceError(
                "GRADE_UNCHANGED",
                f"{event} changes nothing: it needs {', '.join(change.unmet)}.",
                f"不满足定级变更条件：{'、'.join(change.unmet)}。",
            )
        if change.direction is Direction.NONE:
            raise MarketplaceError(
                "GRADE_UNCHANGED",
                f"{event} leaves {field} at {before.value}.",
                f"该事由不改变 {field} 的级别（{before.value}）。",
            )
        return change

    def _decided(
        self, connection: Connection, page: Page, before: Regrading, *, approve: bool
    ) -> Regrading:
        if before.outcome is not Outcome.WAITING:
            raise MarketplaceError(
                "WRONG_STATE",
                f"This is {before.outcome.value} already.",
                f"该事项已处于“{before.outcome.value}”状态。",
            )
        if not approve:
            return replace(before, outcome=Outcome.DECLINED)
        same = page.version.number == before.version
        if not same or page.grades.get(before.field) is not before.change.before:
            return replace(before, outcome=Outcome.VOID)
        self.catalogue.set_grade(connection, page, before.field, before.change.after)
        return replace(before, outcome=Outcome.APPLIED)

    def _permit(self, person: Person, action: str, page: Page) -> Decision:
        provider = page.version.provider
        return self.desk.decide(person, action, "Lab", "lab", {"provider": provider})

    def _may(self, person: Person, page: Page) -> bool:
        try:
            self._permit(person, "downgrade", page)
        except MarketplaceError:
            return False
        return True

    def _enter(
        self, connection: Connection, person: Person, found: Regrading, made: tuple[Decision, ...]
    ) -> None:
        change = found.change
        facts: dict[str, Plain] = {
            "regrading": found.id,
            "resource": found.resource,
            "number": found.version,
            "field": found.field,
            "rule": change.event,
            "before": change.before.value,
            "after": change.after.value,
            "outcome": found.outcome.value,
            "organisation": person.tenant,
        }
        self.desk.enter(connection, Event.RESOURCE_REGRADED, facts, {"subject": person.user}, made)

    def _tell(self, connection: Connection, page: Page, found: Regrading) -> None:
        code, change = page.resource.code, found.change
        said = Said(
            f"A downgrade of {code} {found.field} to {change.after.value} waits for a decision.",
            f"{code} {found.field} 拟下调至 {change.after.value}，待审批。",
        )
        people = self.desk.holders("approver")
        self.desk.tell(connection, people, "resource:regrade", page.version.resource, said)


def _outside(found: Regrading) -> Regrading:
    """Return what everybody may see of a change: no words, no names, and no count of rows."""
    return replace(found, evidence="", comment="", by="", decided_by="", facts={})


def _is_same(found: Regrading, person: Person) -> bool:
    return person.user == found.by or person.tenant == found.organisation


def _check_judge(found: Regrading, person: Person) -> None:
    if found.by.startswith(UNNAMED):
        raise MarketplaceError(
            "WRONG_STATE",
            "Who reported this was erased. It needs a new report.",
            "报告人的个人信息已被清除，请重新报告。",
        )
    if _is_same(found, person):
        raise MarketplaceError(
            "SAME_PERSON" if person.user == found.by else "SAME_ORGANISATION",
            "A downgrade is decided by another person of another organisation than who asks it.",
            "级别下调须由报告人及其所在机构以外的人员审批。",
        )


def _not_found() -> MarketplaceError:
    return MarketplaceError(
        "NOT_FOUND", "There is no such published resource or change.", "没有该已发布资源或变更。"
    )
