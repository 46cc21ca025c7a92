"""Working days, the order of a demand's steps, and the rate that leaders report."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.demand import model
from marketplace.demand.calendar import CHINA, Calendar
from marketplace.demand.model import (
    Barrier,
    Days,
    Demand,
    Rejection,
    State,
    Step,
    Taken,
    Wanted,
    begin,
    satisfaction,
    take,
)
from marketplace.errors import MarketplaceError

KNOWN = Calendar({})
DAYS = Days(2, 10, 20)
WANTED = Wanted("企业用电数据", "按月", "market-research", "dp")
BEGUN = datetime(2026, 11, 2, 1, 0, tzinfo=UTC)
WEEKDAY = {"off": [date(2027, 1, 1)], "work": [date(2027, 2, 20)]}


def china(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=CHINA)


@pytest.mark.parametrize(
    ("since", "days", "last"),
    [
        # State Council notice on the holidays of 2026: 1-7 October off, 10 October worked.
        ("2026-09-30T18:00", 1, "2026-10-08"),
        ("2026-09-30T18:00", 3, "2026-10-10"),
        # Spring Festival 15-23 February off, 14 and 28 February worked.
        ("2026-02-13T09:00", 1, "2026-02-14"),
        ("2026-02-13T09:00", 2, "2026-02-24"),
        ("2026-02-27T09:00", 1, "2026-02-28"),
        # New Year off to 3 January, 4 January (a Sunday) worked.
        ("2025-12-31T23:59", 1, "2026-01-04"),
        ("2026-11-06T09:00", 10, "2026-11-20"),
    ],
)
def test_working_days_follow_the_published_calendar(since: str, days: int, last: str) -> None:
    due = KNOWN.due(china(since), days)
    assert (due.at - timedelta(seconds=1)).astimezone(CHINA).date().isoformat() == last
    assert due.at.astimezone(CHINA).hour == 0
    assert not due.provisional


def test_the_day_is_chinas_not_utcs() -> None:
    late = datetime(2026, 11, 5, 17, 0, tzinfo=UTC)  # Friday 01:00 in China
    assert KNOWN.due(late, 1).at == china("2026-11-10T00:00")


def test_a_year_without_a_calendar_is_provisional_until_the_policy_states_it() -> None:
    assert KNOWN.due(china("2026-12-31T09:00"), 1).provisional
    stated = Calendar.of({2027: WEEKDAY})
    due = stated.due(china("2026-12-31T09:00"), 1)
    assert not due.provisional
    assert due.at == china("2027-01-05T00:00")
    assert stated.is_working(date(2027, 2, 20))
    assert not stated.is_working(date(2027, 2, 21))


@pytest.mark.parametrize(
    "days",
    [{"off": [date(2027, 1, 2)]}, {"work": [date(2027, 1, 4)]}, {"off": [date(2026, 1, 1)]}],
    ids=["weekend off", "weekday work", "other year"],
)
def test_a_misplaced_day_is_refused(days: dict[str, list[date]]) -> None:
    with pytest.raises(ValueError, match="working_days of 2027"):
        Calendar.of({2027: days})


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 11, 1)),  # noqa: DTZ001 - zone added below
    st.integers(1, 30),
)
def test_each_working_day_more_comes_later_and_is_worked(since: datetime, days: int) -> None:
    begun = since.replace(tzinfo=UTC)
    ends = [KNOWN.due(begun, n).at for n in range(1, days + 1)]
    assert all(a < b for a, b in pairwise(ends))
    last = [(e - timedelta(seconds=1)).astimezone(CHINA).date() for e in ends]
    assert all(map(KNOWN.is_working, last))
    between = {last[0] + timedelta(days=n) for n in range((last[-1] - last[0]).days)}
    assert sum(map(KNOWN.is_working, between - set(last))) == 0


def step(kind: Step, time: datetime = BEGUN, **stated: str) -> Taken:
    needed = {
        Step.DISPATCH: {"provider": "hr-department"},
        Step.MATCH: {"table": "tax_summary"},
        Step.BLOCK: {"barrier": Barrier.QUALITY},
        Step.REJECT: {"rejection": Rejection.UNCLEAR},
    }
    return Taken(kind, "bureau", "someone", time, **{**needed.get(kind, {}), **stated})


def demand(*steps: Taken, name: str = "d", time: datetime = BEGUN) -> Demand:
    return model.replay(begin(name, "demo-enterprise", "analyst", WANTED, time), steps)


def test_the_way_to_data() -> None:
    met = demand(step(Step.DISPATCH), step(Step.MATCH), step(Step.DELIVER))
    assert (met.state, met.provider, met.table) == (State.DELIVERED, "hr-department", "tax_summary")
    again = take(met, step(Step.DISPUTE))
    assert again.state is State.MATCHED
    assert take(again, step(Step.DELIVER)).state is State.DELIVERED


def test_a_blocked_demand_goes_on_to_another_provider() -> None:
    blocked = demand(step(Step.DISPATCH), step(Step.BLOCK))
    moved = take(blocked, step(Step.DISPATCH, provider="tax-department"))
    assert (moved.state, moved.provider) == (State.DISPATCHED, "tax-department")


@given(st.lists(st.sampled_from(list(Step)), max_size=12))
def test_nothing_is_delivered_that_was_not_dispatched_and_matched(kinds: list[Step]) -> None:
    found, taken = demand(), []
    for kind in kinds:
        with suppress(MarketplaceError):
            found = take(found, step(kind))
            taken.append(kind)
    if found.state is State.DELIVERED:
        assert taken.index(Step.DISPATCH) < taken.index(Step.MATCH) < taken.index(Step.DELIVER)
    assert [t.step for t in found.steps[1:]] == taken
    assert model.replay(demand(), found.steps[1:]) == found
    closed = [i for i, k in enumerate(taken) if k in (Step.REJECT, Step.WITHDRAW)]
    assert closed in ([], [len(taken) - 1])


@pytest.mark.parametrize(
    "wrong",
    [
        Taken(Step.DISPATCH, "bureau", "a", BEGUN),
        Taken(Step.DISPATCH, "bureau", "a", BEGUN, provider="hr", table="t"),
        Taken(Step.REJECT, "bureau", "a", BEGUN),
        Taken(Step.REJECT, "bureau", "a", BEGUN, rejection="repetition"),
        Taken(Step.REJECT, "bureau", "a", BEGUN, rejection="unclear", repeats="x"),
        Taken(Step.WITHDRAW, "demo-enterprise", "a", BEGUN, barrier="cost"),
    ],
    ids=["no provider", "too much", "no reason", "of what", "not a repetition", "own barrier"],
)
def test_a_step_states_what_belongs_to_it_and_nothing_else(wrong: Taken) -> None:
    with pytest.raises(MarketplaceError) as refused:
        take(demand(), wrong)
    assert refused.value.code == "BAD_REQUEST"


def test_the_rate_counts_delivered_over_valid_and_lists_the_rest() -> None:
    sent, matched = step(Step.DISPATCH), step(Step.MATCH)
    every = [
        demand(sent, matched, step(Step.DELIVER), name="met"),
        demand(sent, matched, name="granted only"),
        demand(sent, step(Step.BLOCK), name="blocked"),
        demand(step(Step.REJECT), name="unclear"),
        demand(step(Step.REJECT, rejection=Rejection.NEGATIVE_LIST), name="forbidden"),
        demand(step(Step.REJECT, rejection=Rejection.REPETITION, repeats="met"), name="again"),
        demand(step(Step.WITHDRAW), name="withdrawn"),
    ]
    found = satisfaction(every, KNOWN, DAYS, BEGUN)
    assert found.met == ("met",)
    assert found.unmet == ("blocked", "granted only", "unclear")
    assert (found.valid, found.rate) == (4, "25.00")
    assert (found.forbidden, found.repetitions) == (("forbidden",), ("again",))
    assert found.withdrawn == ("withdrawn",)
    assert found.overdue == ()
    later = satisfaction(every, KNOWN, DAYS, BEGUN + timedelta(days=60))
    assert later.overdue == ("blocked", "granted only")


def test_the_rate_is_rounded_half_up_and_is_nothing_without_demands() -> None:
    assert satisfaction([], KNOWN, DAYS, BEGUN).rate is None
    ways = [demand(step(Step.DISPATCH), step(Step.MATCH), step(Step.DELIVER), name="m")]
    ways += [demand(name=f"u{i}") for i in range(7)]
    assert satisfaction(ways, KNOWN, DAYS, BEGUN).rate == "12.50"
    assert satisfaction(ways[:3], KNOWN, DAYS, BEGUN).rate == "33.33"
    many = [replace(ways[0], id=str(i)) for i in range(199)] + [ways[1]]
    assert satisfaction(many, KNOWN, DAYS, BEGUN).rate == "99.50"


def test_timeliness_is_of_first_answers() -> None:
    def answered(after: int, kind: Step) -> Demand:
        return demand(step(Step.DISPATCH), step(kind, BEGUN + timedelta(days=after)))

    on_time = answered(14, Step.MATCH)  # the tenth working day, a Monday
    late = answered(15, Step.BLOCK)
    found = satisfaction([on_time, late, demand(step(Step.DISPATCH))], KNOWN, DAYS, BEGUN)
    assert (len(found.answered), len(found.answered_in_time), found.timeliness) == (2, 1, "50.00")


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("企业用电数据", "企业用电 数据！", True),
        ("Monthly tax", "ＭＯＮＴＨＬＹ　ｔａｘ", True),
        ("企业用电数据", "企业用电数据（按月）", True),
        ("企业用电数据", "公积金缴存", False),
    ],
)
def test_titles_are_compared_without_width_case_and_punctuation(
    a: str, b: str, alike: bool
) -> None:
    assert (model.likeness(a, b) >= 0.5) == alike
