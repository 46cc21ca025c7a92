"""The calendar of budgets as values: which cohort begins when, when each share would be gone."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from marketplace.budgets.forecast import WINDOW_DAYS, exhaustion
from privacy.dp.budget import Budget

ByDay = Mapping[dt.date, int]
"""micro-rho by the day on which they were spent."""


class Phase(StrEnum):
    """Where a share stands today."""

    COMING = "coming"
    """Its year has not begun, and nothing of it is spent."""
    OPEN = "open"
    USED_UP = "used-up"
    NONE = "none"
    """The holder has no share of this cohort."""


@dataclass(frozen=True, slots=True)
class Line:
    """One holder's share of one cohort."""

    domain: str
    cohort: int
    holder: str
    """A tenant, or empty: the cohort's own cap, over all tenants."""
    share: Budget
    spent: Budget
    own_figures: bool
    """Whether two persons gave this cohort other figures than the rest."""
    by_day: ByDay
    today: dt.date

    @property
    def begins(self) -> dt.date:
        """Return the first day on which a unit can enter the cohort."""
        return dt.date(max(self.cohort, dt.MINYEAR), 1, 1)

    @property
    def left(self) -> Budget:
        """Return what is left."""
        return self.share - self.spent

    @property
    def phase(self) -> Phase:
        """Return where the share stands."""
        if not self.share.micro_rho:
            return Phase.NONE
        if not self.left.micro_rho:
            return Phase.USED_UP
        return Phase.COMING if self.begins > self.today and not self.by_day else Phase.OPEN

    @property
    def lately(self) -> int:
        """Return the micro-rho spent in the days that the forecast looks at."""
        first = self.today - dt.timedelta(days=WINDOW_DAYS - 1)
        return sum(n for day, n in self.by_day.items() if first <= day <= self.today)

    @property
    def exhausted(self) -> dt.date | None:
        """Return the day on which nothing would be left, if spending goes on as of late."""
        if self.phase is not Phase.OPEN:
            return None
        return exhaustion(self.by_day, self.left.micro_rho, self.today)


Price = Mapping[tuple[str, int], Budget]
"""Domain and cohort to what one asking takes of it."""


@dataclass(frozen=True, slots=True)
class More:
    """How many more times a question can be asked, and what ends it first."""

    times: int
    domain: str
    cohort: int
    by_delta: bool


def price_of(items: Iterable[tuple[str, Iterable[int], Budget]]) -> Price:
    """Return what one asking takes of each cohort: its releases added up.

    >>> price_of([("e", (1, 2), Budget(5)), ("e", (2,), Budget(7))])[("e", 2)].micro_rho
    12
    """
    total: dict[tuple[str, int], Budget] = {}
    for domain, cohorts, cost in items:
        for cohort in cohorts:
            total[domain, cohort] = total.get((domain, cohort), Budget(0)) + cost
    return total


def more(price: Price, left: Mapping[tuple[str, int], Budget]) -> More | None:
    """Return how often this price can still be paid in full; None for a question without a price.

    The cohort that ends first decides. Of equal ones it is the earliest.

    >>> price = {("e", 1): Budget(5), ("e", 2): Budget(5)}
    >>> more(price, {("e", 1): Budget(9), ("e", 2): Budget(21)})
    More(times=1, domain='e', cohort=1, by_delta=False)
    """
    found = [
        More(rest // cost, *where, by_delta)
        for where, each in sorted(price.items())
        for by_delta, cost, rest in (
            (False, each.micro_rho, left[where].micro_rho),
            (True, each.delta_1e12, left[where].delta_1e12),
        )
        if cost
    ]
    return min(found, key=lambda m: m.times, default=None)
