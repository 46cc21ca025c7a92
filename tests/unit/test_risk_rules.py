"""Each rule just below and just above its threshold; the policy file and its faults."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from marketplace.demand.calendar import Calendar
from marketplace.risk.model import Charge, Observation, Past
from marketplace.risk.policy import UNFED, load_risk
from marketplace.risk.rules import JUDGES, LookUp, Outcome, enumerates, judge, off_hours_day
from marketplace.settings import POLICIES

FILE = POLICIES / "risk.yaml"
POLICY = load_risk(FILE)
CALENDAR = Calendar({})
NOON = datetime(2026, 11, 4, 4, tzinfo=UTC)
"""Wednesday noon in China."""
NIGHT = datetime(2026, 11, 4, 15, tzinfo=UTC)
"""The same day at 23:00 in China."""


def asked(time: datetime = NOON, index: int = 1000, **other: Any) -> Observation:
    return Observation(index, time, "reservation:make", "demo-bank", "p1", **other)


def rules_hit(past: Past, new: Observation) -> list[str]:
    return [hit.rule for hit in judge(POLICY, CALENDAR, past, new)]


def test_every_rule_that_is_applied_has_its_function() -> None:
    assert set(POLICY.rules) == set(JUDGES)
    assert set(POLICY.not_applied) == UNFED


@pytest.mark.parametrize(
    ("local_hour", "day", "expected"),
    [
        (21, 4, None),
        (22, 4, 4),
        (23, 4, 4),
        (24 + 5, 4, 4),
        (24 + 6, 4, None),
        (12, 7, 7),
        (5, 7, 6),
        (24 + 6, 7, 8),
    ],
    ids=["before", "from", "night", "until", "morning", "saturday", "friday night", "sunday"],
)
def test_a_night_belongs_to_the_day_on_which_it_began(
    local_hour: int, day: int, expected: int | None
) -> None:
    time = datetime(2026, 11, day, tzinfo=UTC) + timedelta(hours=local_hour - 8)
    found = off_hours_day(POLICY.rules["R-OFF"], CALENDAR, time)
    assert (found.day if found else None) == expected


def test_many_questions_at_night_are_noticed_against_the_own_habit() -> None:
    quiet = {NIGHT.replace(minute=0): 19}
    assert rules_hit(Past(hours=quiet), asked(NIGHT)) == []
    assert rules_hit(Past(hours={NIGHT: 20}), asked(NIGHT)) == ["R-OFF"]
    habit = {NIGHT - timedelta(days=d): 30 for d in range(1, 31)}
    assert rules_hit(Past(hours={**habit, NIGHT: 29}), asked(NIGHT)) == []
    assert rules_hit(Past(hours={**habit, NIGHT: 30}), asked(NIGHT)) == ["R-OFF"]
    assert rules_hit(Past(hours={NOON: 50}), asked(NOON)) == []


def test_a_burst_is_five_times_the_own_busy_hour_and_never_a_few_questions() -> None:
    busy = {NOON - timedelta(hours=h): 20 for h in range(1, 20)}
    assert rules_hit(Past(hours={NOON: 59}), asked()) == []
    assert rules_hit(Past(hours={NOON: 60}), asked()) == ["R-RATE"]
    assert rules_hit(Past(hours={**busy, NOON: 99}), asked()) == []
    assert rules_hit(Past(hours={**busy, NOON: 100}), asked()) == ["R-RATE"]


def look_ups(
    outcomes: list[Outcome], serials: Callable[[int], int | None] = lambda _: None
) -> list[LookUp]:
    return [LookUp(NOON, f"n{i}", each, serials(i)) for i, each in enumerate(outcomes)]


F, U, N = Outcome.FOUND, Outcome.UNKNOWN, Outcome.NO_CONSENT


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (look_ups([F] * 40), ""),
        (look_ups([U] * 29), ""),
        (look_ups([F] * 24 + [U] * 6), ""),
        (look_ups([F] * 23 + [U] * 7), "unknown"),
        (look_ups([F] * 38 + [N] * 2), ""),
        (look_ups([F] * 37 + [N] * 3), "no-consent"),
        (look_ups([F] * 40, lambda i: i if i <= 12 else 100 * i), ""),
        (look_ups([F] * 40, lambda i: i if i <= 13 else 100 * i), "consecutive"),
        (look_ups([U] * 40)[:1] * 40, ""),
    ],
    ids=["known", "few", "20%", "23%", "5%", "7%", "12 steps", "13 steps", "one name"],
)
def test_enumeration_takes_many_names_and_a_reason(given: list[LookUp], why: str) -> None:
    assert enumerates(POLICY.rules["R-ENUM"], given)[1] == why


def test_names_that_are_looked_up_slowly_are_no_enumeration() -> None:
    def tried(minutes: int, number: int) -> Observation:
        time = NOON - timedelta(minutes=minutes)
        return Observation(
            number, time, "reservation:deny", "demo-bank", "p1", unknown=(f"mark:{number}",)
        )

    new = tried(0, 100)
    assert rules_hit(Past([tried(9, n) for n in range(29)]), new) == ["R-ENUM"]
    assert rules_hit(Past([tried(11, n) for n in range(29)]), new) == []


def test_averaging_counts_what_was_stored_for_the_organisation() -> None:
    twice = Past(repeats=(1, 2))
    assert rules_hit(twice, asked(question="q", stored=True)) == ["R-AVG"]
    assert rules_hit(twice, asked(question="q")) == []
    assert rules_hit(Past(repeats=(1,)), asked(question="q", stored=True)) == []


@pytest.mark.parametrize(
    ("left", "about"),
    [(20, []), (19, ["e/2026/warn"]), (5, ["e/2026/warn"]), (4, ["e/2026/high"])],
    ids=["20%", "19%", "5%", "4%"],
)
def test_what_is_left_of_a_share_is_told_by_levels(left: int, about: list[str]) -> None:
    new = asked(charges=(Charge("e", 2026, 1),))
    hits = judge(POLICY, CALENDAR, Past(left={("e", 2026): (left, 100)}), new)
    assert [h.about for h in hits] == about


def test_half_a_share_within_a_day_is_told() -> None:
    earlier = [asked(index=1, charges=(Charge("e", 2026, 25),))]
    left = {("e", 2026): (50, 100)}
    for paid, rules in ((25, []), (26, ["R-BUD"])):
        new = asked(charges=(Charge("e", 2026, paid),))
        past = Past(earlier, paid={("e", 2026): 25}, left=left)
        assert rules_hit(past, new) == rules


def test_a_person_who_was_away_asks_for_sensitive_data() -> None:
    for days, tables, rules in ((60, ("a",), ["R-DORM"]), (59, ("a",), []), (90, (), [])):
        past = Past(last_seen=NOON - timedelta(days=days))
        assert rules_hit(past, asked(sensitive=tables)) == rules
    assert rules_hit(Past(), asked(sensitive=("a",))) == []


def test_a_first_join_of_sensitive_tables_is_looked_at() -> None:
    assert rules_hit(Past(), asked(sensitive=("b", "a"))) == ["R-CROSS"]
    assert rules_hit(Past(join_is_known=True), asked(sensitive=("b", "a"))) == []
    assert rules_hit(Past(), asked(sensitive=("a",))) == []


def test_evidence_is_bounded_and_ends_with_the_judged_entry() -> None:
    past = Past(repeats=range(500))
    (hit,) = judge(POLICY, CALENDAR, past, asked(question="q", stored=True))
    assert (len(hit.evidence), hit.evidence[-2:]) == (200, (499, 1000))
    assert hit.score == 100


def test_what_is_quiet_is_not_found_again() -> None:
    def quiet(rule: str, about: str) -> bool:
        return (rule, about) in {("R-RATE", ""), ("R-AVG", "q")}

    past = Past(hours={NOON: 99}, repeats=(1, 2))
    new = asked(question="q", stored=True)
    assert [h.rule for h in judge(POLICY, CALENDAR, past, new)] == ["R-RATE", "R-AVG"]
    assert judge(POLICY, CALENDAR, past, new, quiet) == []


def changed(rule: str, **other: Any) -> dict[str, Any]:
    stated: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    stated["rules"][rule] = {**stated["rules"][rule], **other}
    return stated


def without(part: str, rule: str) -> dict[str, Any]:
    stated: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    del stated[part][rule]
    return stated


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ([], "states not_applied, rules"),
        (without("rules", "R-BUD"), "missing: .'R-BUD'"),
        (without("not_applied", "R-DIFF"), "missing: .'R-DIFF'"),
        (changed("R-AVG", times="3"), "R-AVG: times is a whole number"),
        (changed("R-AVG", times=True), "R-AVG: times is a whole number"),
        (changed("R-AVG", times=0), "R-AVG: times is at least 1"),
        (changed("R-AVG", more=1), "R-AVG states"),
        (changed("R-BUD", warn_percent=101), "R-BUD: warn_percent is a whole number from 0 to 100"),
        (changed("R-OFF", days=31), "R-OFF: days is at most 30"),
        (changed("R-PURP", codes=[]), "R-PURP: codes is a list"),
        (changed("R-ENUM", action="throttle"), "actions alert, review, refused, stop"),
        (changed("R-ENUM", severity="awful"), "severities are low, medium, high"),
    ],
    ids=[
        "no mapping",
        "rule missing",
        "reason missing",
        "text",
        "truth",
        "zero",
        "unknown",
        "percent",
        "days",
        "no codes",
        "action",
        "severity",
    ],
)
def test_a_faulty_policy_file_is_refused_with_its_place(
    tmp_path: Path, stated: Any, said: str
) -> None:
    path = tmp_path / "risk.yaml"
    path.write_text(yaml.safe_dump(stated), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load_risk(path)
