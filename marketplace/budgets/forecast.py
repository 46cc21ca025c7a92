"""When a budget would be used up if spending went on as it has."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

CENTURY_DAYS = 36_525
WINDOW_DAYS = 28
"""Days of spending that the mean is taken over, or since the first if that is less."""


@dataclass(frozen=True, slots=True)
class Day:
    """One point of the plot."""

    date: dt.date
    spent_micro_rho: int
    """All that was spent up to the end of this day."""


def cumulative(by_day: Mapping[dt.date, int], today: dt.date) -> tuple[Day, ...]:
    """Return spending up to each day on which something was spent, from nothing up to today.

    >>> [d.spent_micro_rho for d in cumulative({dt.date(2026, 1, 2): 5}, dt.date(2026, 1, 9))]
    [0, 5, 5]
    """
    total, days = 0, [Day(min(by_day) - dt.timedelta(days=1), 0)] if by_day else []
    for date in sorted(by_day):
        total += by_day[date]
        days.append(Day(date, total))
    if days and days[-1].date < today:
        days.append(Day(today, total))
    return tuple(days)


def exhaustion(by_day: Mapping[dt.date, int], left: int, today: dt.date) -> dt.date | None:
    """Return the day on which `left` micro-rho would be gone at the mean of the last days.

    None: nothing was spent lately, or it would last for more than a century.

    >>> exhaustion({dt.date(2026, 1, 1): 10, dt.date(2026, 1, 2): 10}, 50, dt.date(2026, 1, 2))
    datetime.date(2026, 1, 7)
    """
    first = max(min(by_day, default=today), today - dt.timedelta(days=WINDOW_DAYS - 1))
    spent = sum(n for date, n in by_day.items() if first <= date <= today)
    days = (today - first).days + 1
    if spent <= 0:
        return None
    lasts = left * days // spent
    return today + dt.timedelta(days=lasts) if lasts < CENTURY_DAYS else None
