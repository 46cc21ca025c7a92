"""What people see of budgets: their own organisation's, and everybody's for those who oversee.

A tenant's figures depend on its own spending alone (soundness C.24): shares are fixed in advance,
so neither what is left nor when it would be gone tells what others asked. Who sees all tenants is
policy, and each such look is an entry, one for a quarter of an hour.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from marketplace.access.desk import Desk, not_found
from marketplace.audit.entry import Event
from marketplace.audit.looks import Looks
from marketplace.budgets import spending
from marketplace.budgets.calendar import Line, More, Price, more, price_of
from marketplace.budgets.model import COHORT, BudgetPolicy
from marketplace.budgets.proposal_store import own_shares, shares_of
from marketplace.budgets.spending import Use
from marketplace.errors import MarketplaceError
from marketplace.identity.model import Person
from marketplace.releases import store as releases
from marketplace.window import Window
from privacy.dp.budget import Budget

QUESTIONS = 20
"""Last questions of which it is said how often they can still be asked."""


class Asked(NamedTuple):
    """One question, what it takes of each cohort, and how often that is still there."""

    reservation_id: str
    operation_id: str
    created: str
    tables: Mapping[str, str]
    price: Price
    more: More | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """One table over all its versions: one lineage, one set of accounts."""

    table: str
    uses: tuple[Use, ...]
    """Oldest first. A question of two tables is a use of both, with the whole charge."""
    accounts: tuple[Line, ...]
    """The accounts that pay for it, whatever its version or the name it is read by."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Return the versions that were asked, in the order of their first use."""
        return tuple(dict.fromkeys(u.tables[self.table] for u in self.uses))

    @property
    def cohorts(self) -> tuple[int, ...]:
        """Return the cohorts that paid."""
        return tuple(sorted({c for u in self.uses for c in u.cohorts}))

    @property
    def releases(self) -> int:
        """Return how many answers were paid for."""
        return sum(u.releases for u in self.uses)

    @property
    def charged(self) -> Budget:
        """Return all charges; each of them was paid by each cohort of its question."""
        return sum((u.charged for u in self.uses), Budget(0))


class Outlook:
    """Calendar, remaining questions, and what each dataset and tenant has used."""

    def __init__(self, desk: Desk, policy: Callable[[], BudgetPolicy], bureau: str) -> None:
        """`bureau` is what the policy of who sees all is told."""
        self._desk, self._policy, self._bureau = desk, policy, bureau
        self._looks = Looks(desk.clock)

    def sees_all(self, person: Person) -> bool:
        """Whether policy lets a person see what every tenant spends."""
        try:
            self._desk.decide(person, "seeBudgets", "Lab", "lab", {"bureau": self._bureau})
        except MarketplaceError:
            return False
        return True

    def calendar(self, person: Person, tenant: str | None = None) -> list[Line]:
        """Return shares by domain, cohort and holder: one's own, or all for who oversees them."""
        whose = self._whose(person, tenant)
        with self._desk.database.reading() as connection:
            return self._lines(connection, whose)

    def asked(self, person: Person) -> list[Asked]:
        """Return one's own last questions with how often each could be asked again.

        The count is of the same shape at its full price: new data, other literals. The very same
        question of the same versions is stored and costs nothing.
        """
        with self._desk.database.reading() as connection:
            held = releases.history(connection, person.tenant, person.user, Window(1, QUESTIONS))[
                :QUESTIONS
            ]
            items = releases.items_of(connection, [h.id for h in held])
            left = _Left(connection, self._policy(), person.tenant)
            found = []
            for h in held:
                price = price_of((i.item.domain, i.item.cohorts, i.item.cost) for i in items[h.id])
                rest = {where: left.of(*where) for where in price}
                times = more(price, rest)
                found.append(Asked(h.id, h.operation_id, h.created, h.tables, price, times))
        return found

    def datasets(self, person: Person, tenant: str | None = None) -> list[Dataset]:
        """Return the tables that were asked, by name."""
        whose = self._whose(person, tenant)
        with self._desk.database.reading() as connection:
            uses = spending.uses(connection, whose)
            lines = self._lines(connection, whose)
        tables = sorted({table for use in uses for table in use.tables})
        return [_dataset(table, uses, lines) for table in tables]

    def dataset(self, person: Person, table: str, tenant: str | None = None) -> Dataset:
        """Return one table; NOT_FOUND if the caller's organisation never asked it."""
        for found in self.datasets(person, tenant):
            if found.table == table:
                return found
        raise not_found()

    def _whose(self, person: Person, tenant: str | None) -> str:
        """Return whose figures are shown, empty for everybody's; NOT_FOUND for others' ones."""
        if tenant == person.tenant or (tenant is None and not self.sees_all(person)):
            return person.tenant
        if not self.sees_all(person):
            raise not_found()
        known = {p.tenant for p in self._desk.people()}
        for domain in self._policy().domains.values():
            known |= set(domain.allotments)
        if tenant is not None and tenant not in known:
            raise not_found()
        self._note(person)
        return tenant or ""

    def _note(self, person: Person) -> None:
        if not self._looks.is_entry(person.user):
            return
        with self._desk.database.writing() as connection:
            facts = {"tenant": person.tenant}
            self._desk.enter(connection, Event.BUDGETS_READ, {**facts}, {"subject": person.user})

    def _lines(self, connection: Connection, tenant: str) -> list[Line]:
        today = self._desk.clock().date()
        days = spending.by_day(connection, tenant)
        charged = spending.accounts(connection, tenant)
        found = []
        for name, domain in sorted(self._policy().domains.items()):
            own = own_shares(connection, name)
            cohorts = {c for d, c, _ in charged if d == name} | {today.year, today.year + 1}
            for cohort in sorted(cohorts | set(own)):
                shares = own.get(cohort, domain.shares)
                for holder in _holders(tenant, name, cohort, shares.holders(), charged):
                    account = (name, cohort, holder)
                    share, spent = charged.get(account, (shares.of(holder), Budget(0)))
                    spent_on = days.get(account, {})
                    line = Line(*account, share, spent, cohort in own, spent_on, today)
                    found.append(line)
        return found


class _Left:
    """What a tenant has left of any cohort, charged or not."""

    def __init__(self, connection: Connection, policy: BudgetPolicy, tenant: str) -> None:
        self._connection, self._policy, self._tenant = connection, policy, tenant
        self._charged = spending.accounts(connection, tenant)

    def of(self, domain: str, cohort: int) -> Budget:
        found = self._charged.get((domain, cohort, self._tenant))
        if found is not None:
            return found[0] - found[1]
        policy = self._policy.domains.get(domain)
        if policy is None:
            return Budget(0)
        return shares_of(self._connection, policy, cohort).of(self._tenant)


def _holders(
    tenant: str,
    domain: str,
    cohort: int,
    shares: Iterable[str],
    charged: Iterable[tuple[str, int, str]],
) -> list[str]:
    """Return whose lines a cohort has: one tenant's, or the cap's and everybody's."""
    if tenant:
        return [tenant]
    paid = {h for d, c, h in charged if (d, c) == (domain, cohort)}
    return sorted({COHORT, *shares} | paid)


def _dataset(table: str, uses: Iterable[Use], lines: Iterable[Line]) -> Dataset:
    mine = tuple(u for u in uses if table in u.tables)
    paid = {(u.domain, c) for u in mine for c in u.cohorts}
    return Dataset(table, mine, tuple(x for x in lines if (x.domain, x.cohort) in paid))
