"""The rules: each a function of its thresholds, one observation and what came before it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import islice, pairwise, takewhile
from statistics import fmean, pstdev

from marketplace.audit.entry import Event
from marketplace.demand.calendar import CHINA, Calendar
from marketplace.risk.model import Hit, Observation, Past, Severity, together
from marketplace.risk.policy import RiskPolicy, Rule

DAY = timedelta(days=1)
MOST_EVIDENCE = 200
"""Entries that one event names: the latest ones."""
ASKED = frozenset({Event.RESERVATION_MADE.value, Event.RESERVATION_DENIED.value})
"""Events that are questions, answered or not."""
TOP = 100
MOST_WINDOW = 1_000
"""Steps of an organisation that a short window looks back on at most: bounds the work of a turn."""
ONE_FINDING = frozenset({"R-OFF", "R-RATE", "R-ENUM", "R-DORM"})
"""Rules with one finding for each person: while that is quiet, they need not be asked."""


class Outcome(StrEnum):
    """What became of a look-up of one name."""

    FOUND = "found"
    UNKNOWN = "unknown"
    NO_CONSENT = "no-consent"


@dataclass(frozen=True, slots=True)
class LookUp:
    """One look-up of one thing by its name: the event form of R-ENUM."""

    time: datetime
    name: str
    """Or what stands for it: equal names, equal marks."""
    outcome: Outcome
    serial: int | None = None
    """The number that a code counts up (of a USCC: its organisation code), where it has one."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a rule measured."""

    measured: int
    threshold: int
    evidence: Iterable[int] = ()
    """Entries before the judged one; looked up only if the finding is raised."""
    about: str = ""
    figures: Mapping[str, int | str] | None = None
    severity: Severity | None = None


Judge = Callable[[Rule, Calendar, Past, Observation], Iterator[_Found]]


def judge(
    policy: RiskPolicy,
    calendar: Calendar,
    past: Past,
    new: Observation,
    is_quiet: Callable[[str, str], bool] = lambda _rule, _about: False,
) -> list[Hit]:
    """Return what the rules find in one observation, given what came before it.

    `is_quiet` (rule, about) says what was found of the same person not long ago.
    """
    found = []
    for name, rule in policy.rules.items():
        if name in ONE_FINDING and is_quiet(name, ""):
            continue
        for each in JUDGES[name](rule, calendar, past, new):
            if is_quiet(name, each.about):
                continue
            score = min(TOP, rule.score * max(each.measured, 1) // max(each.threshold, 1))
            figures = {"measured": each.measured, "threshold": each.threshold}
            evidence = sorted({*each.evidence} - {new.index})
            found.append(
                Hit(
                    name,
                    each.severity or rule.severity,
                    rule.action,
                    max(score, rule.score),
                    new.tenant,
                    new.actor,
                    each.about,
                    (*evidence[-(MOST_EVIDENCE - 1) :], new.index),
                    {**figures, **(each.figures or {})},
                )
            )
    return found


def off_hours_day(rule: Rule, calendar: Calendar, time: datetime) -> date | None:
    """Return the night or day off that a time belongs to, by its first day in China; else None."""
    local = time.astimezone(CHINA)
    start, end = rule.number("from_hour"), rule.number("until_hour")
    if local.hour < end:
        return local.date() - DAY
    if local.hour >= start or not calendar.is_working(local.date()):
        return local.date()
    return None


def _off_hours(rule: Rule, calendar: Calendar, past: Past, new: Observation) -> Iterator[_Found]:
    day = off_hours_day(rule, calendar, new.time)
    if day is None or new.event not in ASKED or not new.actor:
        return
    near = [h for h in past.hours if abs(h - new.time) <= 2 * DAY]
    mine = 1 + sum(past.hours[h] for h in near if off_hours_day(rule, calendar, h) == day)
    least, days = rule.number("least"), rule.number("days")
    if mine <= least:
        return
    before = [0] * days
    for hour, count in past.hours.items():
        theirs = off_hours_day(rule, calendar, hour)
        if theirs is not None and 0 < (day - theirs).days <= days:
            before[(day - theirs).days - 1] += count
    habit = fmean(before) + rule.number("sigmas") * pstdev(before)
    threshold = max(least, math.floor(habit))
    if mine > threshold:
        then = (o for o in _of(past, new) if off_hours_day(rule, calendar, o.time) == day)
        yield _Found(mine, threshold, (o.index for o in then))


def _rate(rule: Rule, _calendar: Calendar, past: Past, new: Observation) -> Iterator[_Found]:
    if new.event not in ASKED or not new.actor:
        return
    hour = hour_of(new.time)
    count, least = past.hours.get(hour, 0) + 1, rule.number("least")
    if count <= least:
        return
    others = sorted(c for h, c in past.hours.items() if h != hour)
    usual = others[math.ceil(0.95 * len(others)) - 1] if others else 0
    threshold = max(least, rule.number("factor") * usual)
    if count > threshold:
        evidence = (o.index for o in _of(past, new) if hour_of(o.time) == hour)
        yield _Found(count, threshold, evidence)


def _enumeration(rule: Rule, _calendar: Calendar, past: Past, new: Observation) -> Iterator[_Found]:
    if not (new.tables or new.unknown):
        return
    since = new.time - timedelta(minutes=rule.number("minutes"))
    latest = takewhile(lambda o: o.time > since, reversed(past.recent))
    seen = [o for o in islice(latest, MOST_WINDOW) if o.actor == new.actor]
    if len({n for o in (*seen, new) for n in (*o.tables, *o.unknown)}) < rule.number("names"):
        return
    names, why = enumerates(rule, [u for o in (*seen, new) for u in _look_ups(o)])
    if why:
        yield _Found(names, rule.number("names"), (o.index for o in seen), figures={"why": why})


def enumerates(rule: Rule, look_ups: Sequence[LookUp]) -> tuple[int, str]:
    """Return how many names look-ups of one window hold, and why that is enumeration; else empty.

    Percentages are of distinct names: neighbours in number, names that are not there, names whose
    owner never consented.
    """
    outcomes = {u.name: u.outcome for u in look_ups}
    serials = sorted({u.serial for u in look_ups if u.serial is not None})
    if len(outcomes) < rule.number("names"):
        return len(outcomes), ""
    neighbours = sum(1 for a, b in pairwise(serials) if b == a + 1)
    of = list(outcomes.values()).count
    for count, limit, why in (
        (neighbours, "consecutive_percent", "consecutive"),
        (of(Outcome.UNKNOWN), "unknown_percent", "unknown"),
        (of(Outcome.NO_CONSENT), "no_consent_percent", "no-consent"),
    ):
        if 100 * count > rule.number(limit) * len(outcomes):
            return len(outcomes), why
    return len(outcomes), ""


def _look_ups(o: Observation) -> Iterator[LookUp]:
    found = Outcome.NO_CONSENT if o.code == "CONSENT_MISSING" else Outcome.FOUND
    yield from (LookUp(o.time, name, found) for name in o.tables)
    yield from (LookUp(o.time, mark, Outcome.UNKNOWN) for mark in o.unknown)


def _averaging(rule: Rule, _calendar: Calendar, past: Past, new: Observation) -> Iterator[_Found]:
    times = len(past.repeats) + 1
    if new.stored and times >= rule.number("times"):
        yield _Found(times, rule.number("times"), past.repeats, about=new.question)


def _budget(rule: Rule, _calendar: Calendar, past: Past, new: Observation) -> Iterator[_Found]:
    if new.code == "BUDGET_EXHAUSTED":
        yield _Found(1, 1, about="exhausted", severity=Severity.HIGH)
    for domain, cohort in sorted({(c.domain, c.cohort) for c in new.charges if c.micro_rho}):
        left, allotment = past.left.get((domain, cohort), (0, 0))
        if allotment <= 0:
            continue
        where, percent = f"{domain}/{cohort}", 100 * left // allotment
        figures: dict[str, int | str] = {"domain": domain, "cohort": cohort}
        for level, limit, severity in (
            ("high", rule.number("high_percent"), Severity.HIGH),
            ("warn", rule.number("warn_percent"), rule.severity),
        ):
            if 100 * left < limit * allotment:
                figures["left_percent"] = percent
                yield _Found(100 - percent, 100 - limit, (), f"{where}/{level}", figures, severity)
                break
        now = sum(c.micro_rho for c in new.charges if (c.domain, c.cohort) == (domain, cohort))
        spent, limit = past.paid.get((domain, cohort), 0) + now, rule.number("day_percent")
        if 100 * spent > limit * allotment:
            measured = 100 * spent // allotment
            paid = (o.index for o in past.recent if any(c.domain == domain for c in o.charges))
            yield _Found(measured, limit, paid, f"{where}/day", figures)


def _denials(rule: Rule, _calendar: Calendar, past: Past, new: Observation) -> Iterator[_Found]:
    codes = rule.names("codes")
    if new.event != Event.RESERVATION_DENIED or new.code not in codes:
        return
    wanted = rule.number("denials")
    same = (o.index for o in reversed(past.recent) if o.actor == new.actor and o.code in codes)
    evidence = list(islice(same, wanted - 1))
    if len(evidence) + 1 >= wanted:
        yield _Found(len(evidence) + 1, wanted, evidence, together(new.tables))


def _dormant(rule: Rule, _calendar: Calendar, past: Past, new: Observation) -> Iterator[_Found]:
    if new.event not in ASKED or not new.sensitive or past.last_seen is None:
        return
    idle = (new.time - past.last_seen).days
    if idle >= rule.number("days"):
        yield _Found(idle, rule.number("days"))


def _privilege(rule: Rule, _calendar: Calendar, _past: Past, new: Observation) -> Iterator[_Found]:
    if new.event in rule.names("watched"):
        yield _Found(1, 1, about=new.event)
    elif new.event == Event.ACCESS_DENIED and new.code in rule.names("codes"):
        yield _Found(1, 1, about=new.code)
    elif new.event in ASKED and set(new.roles) & rule.names("administrators"):
        yield _Found(1, 1, about="administrator", figures={"code": new.code})


def _crossing(_rule: Rule, _calendar: Calendar, past: Past, new: Observation) -> Iterator[_Found]:
    if new.event == Event.RESERVATION_MADE and new.join and not past.join_is_known:
        yield _Found(len(new.sensitive), 2, about=new.join)


JUDGES: Mapping[str, Judge] = {
    "R-OFF": _off_hours,
    "R-RATE": _rate,
    "R-ENUM": _enumeration,
    "R-AVG": _averaging,
    "R-BUD": _budget,
    "R-PURP": _denials,
    "R-CONS": _denials,
    "R-DORM": _dormant,
    "R-PRIV": _privilege,
    "R-CROSS": _crossing,
}
"""One function for each rule that `policy` admits."""


def damage(policy: RiskPolicy, index: int) -> Hit | None:
    """Return the finding that an entry in the database is not the one that was published."""
    rule = policy.rules.get("R-PRIV")
    if rule is None:
        return None
    figures = {"measured": 1, "threshold": 1}
    return Hit("R-PRIV", Severity.HIGH, rule.action, TOP, "", "", "log-changed", (index,), figures)


def hour_of(time: datetime) -> datetime:
    """Return the clock hour that a time lies in."""
    return time.replace(minute=0, second=0, microsecond=0)


def _of(past: Past, new: Observation) -> Iterator[Observation]:
    """Yield what the same person asked within the last day."""
    return (o for o in past.recent if o.actor == new.actor and o.event in ASKED)
