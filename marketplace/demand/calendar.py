"""Working days of the Chinese calendar: weekends, holidays, and the days that make up for them.

The State Council fixes them a year at a time; known years come with the library `chinesecalendar`
(MIT). A year that it does not know yet is taken from the policy file, else counted from Monday to
Friday, and what rests on such days says that it is provisional.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

import chinese_calendar

CHINA = timezone(timedelta(hours=8), "Asia/Shanghai")
"""One zone, without summer time since 1991."""

SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Year:
    """The exceptions of one year: days off from Monday to Friday, working days on weekends."""

    off: frozenset[date]
    work: frozenset[date]


@dataclass(frozen=True, slots=True)
class Due:
    """When something is due: the end of a working day in China."""

    at: datetime
    """UTC."""
    provisional: bool
    """Whether it passes through a year whose days are not fixed yet."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are worked."""

    own: Mapping[int, Year]
    """Years that the policy file states; they win over the library's."""

    @classmethod
    def of(cls, stated: Mapping[int, Mapping[str, list[date]]]) -> "Calendar":
        """Return the calendar of a policy file's `working_days`; ValueError for a misplaced day."""
        own = {}
        for year, days in stated.items():
            made = Year(frozenset(days.get("off", ())), frozenset(days.get("work", ())))
            wrong = [d for d in made.off | made.work if d.year != year]
            wrong += [d for d in made.off if d.weekday() >= SATURDAY]
            wrong += [d for d in made.work if d.weekday() < SATURDAY]
            if wrong:
                raise ValueError(
                    f"working_days of {year}: {min(wrong)} is not a day of that year from Monday "
                    "to Friday (off) or on a weekend (work)"
                )
            own[year] = made
        return cls(own)

    def is_known(self, year: int) -> bool:
        """Whether the days of a year are fixed."""
        return year in self.own or _knows(year)

    def is_working(self, day: date) -> bool:
        """Whether a day is worked, as far as is known."""
        stated = self.own.get(day.year)
        if stated is not None:
            return day in stated.work if day.weekday() >= SATURDAY else day not in stated.off
        if _knows(day.year):
            return bool(chinese_calendar.is_workday(day))
        return day.weekday() < SATURDAY

    def due(self, since: datetime, working_days: int) -> Due:
        """Return the end of the last of so many working days after the day of `since`.

        >>> begun = datetime(2026, 9, 30, 3, tzinfo=UTC)  # the day before the long holiday
        >>> Calendar({}).due(begun, 1).at.astimezone(CHINA).isoformat()  # the end of 8 October
        '2026-10-09T00:00:00+08:00'
        """
        day, left = since.astimezone(CHINA).date(), working_days
        years = {day.year}
        while left > 0:
            day += timedelta(days=1)
            years.add(day.year)
            left -= self.is_working(day)
        midnight = datetime(day.year, day.month, day.day, tzinfo=CHINA) + timedelta(days=1)
        return Due(midnight.astimezone(UTC), not all(map(self.is_known, years)))


def _knows(year: int) -> bool:
    try:
        chinese_calendar.is_workday(date(year, 7, 1))
    except NotImplementedError:
        return False
    return True
