"""Proposing and deciding what a later cohort may spend: two persons of the bureau, each logged."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from marketplace.access.desk import Desk, Said, not_found
from marketplace.audit.entry import Event, Plain
from marketplace.budgets import proposal_store as store
from marketplace.budgets.model import BudgetPolicy, DomainPolicy, Shares
from marketplace.budgets.proposal import (
    Proposal,
    State,
    check_cohort,
    check_shares,
    decide,
    plain,
    withdraw,
)
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.policy.model import Decision
from marketplace.window import NEWEST, Window

EARLIEST_MORNING = timedelta(hours=14)
"""A year has begun when it has anywhere: deliveries are dated by local days, the log by UTC."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """Budgets of later cohorts."""

    desk: Desk
    policy: Callable[[], BudgetPolicy]
    bureau: str
    """The organisation whose people propose and decide."""

    def propose(
        self, person: Person, domain: str, cohort: int, shares: Shares, reason: str
    ) -> Proposal:
        """Write other figures for a cohort that has not begun; another person decides."""
        try:
            with self.desk.database.writing() as connection:
                made = self._permit(person, "proposeBudget")
                here = self._domain(domain)
                self._check(connection, here, cohort, shares)
                found = Proposal(
                    secrets.token_hex(16),
                    domain,
                    cohort,
                    shares,
                    store.shares_of(connection, here, cohort),
                    reason,
                    person.user,
                    person.tenant,
                    self.desk.time(),
                )
                store.add(connection, found)
                self._enter(connection, Event.BUDGET_PROPOSED, person, found, (made,))
                self._tell(connection, person, found)
        except MarketplaceError as denial:
            self.desk.refuse(person, "propose-budget", f"{domain}/{cohort}", denial)
            raise
        return found

    def decide(
        self, person: Person, name: str, sha256: str, comment: str, *, approve: bool
    ) -> Proposal:
        """Give the second person's word on the text that was read."""
        try:
            with self.desk.database.writing() as connection:
                made = self._permit(person, "decideBudget")
                before = _known(connection, name)
                here = self._domain(before.domain)
                now = store.shares_of(connection, here, before.cohort)
                after = decide(before, person.user, sha256, now, approve=approve)
                after = replace(
                    after, decided_by=person.user, decided=self.desk.time(), comment=comment
                )
                if after.state is State.IN_FORCE:
                    self._check(connection, here, after.cohort, after.shares)
                    store.put_in_force(connection, after)
                store.close(connection, after)
                self._enter(connection, Event.BUDGET_DECIDED, person, after, (made,))
                self._answer(connection, after)
        except MarketplaceError as denial:
            self.desk.refuse(person, "decide-budget", name, denial)
            raise
        return after

    def withdraw(self, person: Person, name: str) -> Proposal:
        """Take an own proposal back."""
        try:
            with self.desk.database.writing() as connection:
                made = self._permit(person, "proposeBudget")
                after = withdraw(_known(connection, name), person.user)
                after = replace(after, decided_by=person.user, decided=self.desk.time())
                store.close(connection, after)
                self._enter(connection, Event.BUDGET_DECIDED, person, after, (made,))
        except MarketplaceError as denial:
            self.desk.refuse(person, "withdraw-budget", name, denial)
            raise
        return after

    def listed(self, person: Person, window: Window = NEWEST) -> list[Proposal]:
        """Return proposals, newest first, to those who oversee budgets."""
        self._permit(person, "seeBudgets")
        with self.desk.database.reading() as connection:
            return store.listed(connection, window)

    def in_force(self, domain: str, cohort: int) -> Shares:
        """Return what a cohort may spend as things stand."""
        with self.desk.database.reading() as connection:
            return store.shares_of(connection, self._domain(domain), cohort)

    def may(self, person: Person, action: str) -> bool:
        """Whether policy lets a person take a step at all."""
        try:
            self._permit(person, action)
        except MarketplaceError:
            return False
        return True

    def _permit(self, person: Person, action: str) -> Decision:
        """Policy names the roles; that they are the bureau's own is not negotiable."""
        made = self.desk.decide(person, action, "Lab", "lab", {"bureau": self.bureau})
        if action != "seeBudgets" and person.tenant != self.bureau:
            raise MarketplaceError(
                "ROLE_REFUSED",
                "Budgets are proposed and decided by people of the bureau.",
                "预算由主管部门人员提出和审批。",
            )
        return made

    def _domain(self, name: str) -> DomainPolicy:
        found = self.policy().domains.get(name)
        if found is None:
            raise not_found()
        return found

    def _check(
        self, connection: Connection, domain: DomainPolicy, cohort: int, shares: Shares
    ) -> None:
        spent = store.charged(connection, domain.domain, cohort)
        check_cohort(domain.domain, cohort, (self.desk.clock() + EARLIEST_MORNING).year, spent)
        known = {p.tenant for p in self.desk.people()} | set(domain.allotments)
        check_shares(domain, shares, known)

    def _enter(
        self,
        connection: Connection,
        event: Event,
        person: Person,
        found: Proposal,
        made: tuple[Decision, ...],
    ) -> None:
        rows: list[Plain] = [dict(row) for row in plain(found.shares)]
        facts: dict[str, Plain] = {
            "proposal": found.id,
            "domain": found.domain,
            "cohort": found.cohort,
            "shares": rows,
            "state": found.state.value,
            "organisation": person.tenant,
        }
        bound = {"subject": person.user, "text": found.sha256}
        self.desk.enter(connection, event, facts, bound, made)

    def _tell(self, connection: Connection, person: Person, found: Proposal) -> None:
        said = Said(
            f"Other figures for cohort {found.cohort} of {found.domain} wait for a decision.",
            f"主体域 {found.domain} 批次 {found.cohort} 的预算提案待审批。",
        )
        people = set(self.desk.holders("approver", self.bureau)) - {person.user}
        self.desk.tell(connection, people, "budget:propose", found.id, said)

    def _answer(self, connection: Connection, found: Proposal) -> None:
        in_force = found.state is State.IN_FORCE
        said = Said(
            f"Your proposal for cohort {found.cohort} of {found.domain} was "
            f"{'put in force' if in_force else 'declined'}.",
            f"您就主体域 {found.domain} 批次 {found.cohort} 提出的预算"
            f"{'已批准生效' if in_force else '已被否决'}。",
        )
        self.desk.tell(connection, [found.by], "budget:decide", found.id, said)


def _known(connection: Connection, name: str) -> Proposal:
    found = store.get(connection, name)
    if found is None:
        raise not_found()
    return found
