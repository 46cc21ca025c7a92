"""Releases: cells, intervals and selection, on hand-made exact answers."""

import math
import random
from dataclasses import replace

import pytest

from privacy.dp.analysis import analyse
from privacy.dp.draw import ReleasePlan
from privacy.dp.plan import AggregateCall, AggregateKind, Column, Expr, Group, Ref
from privacy.dp.release import Exact, Noising, WithoutNoise, price, release
from privacy.dp.types import DataType
from privacy.errors import Refusal
from tests.support.plans import PlanMaker, facts_of, random_world

L, D, S, N = DataType.LONG, DataType.DOUBLE, DataType.STRING, DataType.INTEGER


def _plan(
    table: str, keys: tuple[str, ...], *calls: tuple[AggregateKind, str | None, tuple[int, ...]]
) -> ReleasePlan:
    rng = random.Random(3)
    world = random_world(rng)
    maker = PlanMaker(rng)
    scan = maker.scan(table)
    named = {c.name: c for c in scan.columns}

    def ref(name: str) -> Expr:
        return Ref(named[name].id, named[name].type, named[name].nullable)

    aggregates = tuple(
        (
            Column(100 + i, f"a{i}", D if arg is not None else L),
            AggregateCall(kind, () if arg is None else (ref(arg),), parameters),
        )
        for i, (kind, arg, parameters) in enumerate(calls)
    )
    group = Group(scan, tuple((named[k], ref(k)) for k in keys), aggregates)
    return analyse(group, facts_of(world)).releases[0]


COUNT = (AggregateKind.COUNT_ROWS, None, ())


def test_every_declared_key_is_answered_and_sorted_even_without_data() -> None:
    plan = _plan("reg", ("d",), COUNT)
    empty = Exact({"m0": {}}, {}, [])
    answer = release(plan, 14_000, empty)
    assert answer.keys == (("p",), ("q",), ("r",))
    assert all(isinstance(v, int) for v in answer.values[0])


def test_noise_of_one_answer_is_never_added_to_another() -> None:
    noise = Noising(_plan("reg", ("d",), COUNT), 14_000)
    noise(Exact({"m0": {("p",): 9}}, {}, []))
    with pytest.raises(AssertionError):
        noise(Exact({"m0": {("p",): 8}}, {}, []))


def test_noise_has_the_same_spread_whether_drawn_before_or_with_the_values() -> None:
    plan = _plan("reg", ("d",), COUNT)
    scale = price(plan, 14_000)[0].scale
    exact = Exact({"m0": {("p",): 70, ("q",): 70, ("r",): 70}}, {}, [])
    draws = [
        float(str(v)) - 70 for _ in range(2_000) for v in release(plan, 14_000, exact).values[0]
    ]
    # 6,000 draws: mean within 5.5 standard errors, variance within 10 %, but for chances of 1e-7.
    assert abs(sum(draws) / len(draws)) < 5.5 * scale / math.sqrt(len(draws))
    assert abs(sum(d * d for d in draws) / len(draws) / scale**2 - 1) < 0.1


def test_noise_too_wide_for_64_bits_shows_no_value() -> None:
    plan = _plan("reg", ("d",), (AggregateKind.SUM, "n", ()))
    # What a sum over a domain of a few units may ask for, at the smallest price.
    draw = replace(plan.draws[0], squared_l2=(2**60) ** 2)
    plan = replace(plan, draws=(draw,))
    truth = {("p",): -123_456_789, ("q",): 987_654_321, ("r",): -55_555_555}
    seen = [v for _ in range(50) for v in release(plan, 1, Exact({"m0": truth}, {}, [])).values[0]]
    ends = (2**63 - 1, -(2**63))
    assert set(seen) & set(map(float, ends)), "the noise was too narrow to try"
    assert not set(seen) & {float(end + value) for end in ends for value in truth.values()}


def test_a_value_that_contracts_do_not_declare_never_becomes_a_group() -> None:
    plan = _plan("reg", ("d",), COUNT)
    answer = WithoutNoise(plan, 14_000)(Exact({"m0": {("victim",): 9, ("p",): 2}}, {}, []))
    assert dict(zip(answer.keys, answer.values[0], strict=True)) == {
        ("p",): 2,
        ("q",): 0,
        ("r",): 0,
    }


def test_an_open_key_of_few_units_stays_hidden_and_of_many_appears() -> None:
    plan = _plan("pen", ("c",), COUNT)
    assert plan.support is not None
    units = plan.draws[plan.support].measure
    counts = {m.name: {("lone",): 1, ("wide",): 10_000} for m in plan.exact.measures}
    assert units in counts
    answer = release(plan, 14_000, Exact(counts, {}, [("lone",), ("wide",)]))
    assert answer.keys == (("wide",),)
    assert answer.parameters[-1]["mechanism"] == "gaussian-threshold/1"


def test_averages_of_large_groups_are_near_and_their_interval_covers_the_truth() -> None:
    plan = _plan("reg", ("d",), (AggregateKind.AVG, "x", ()))
    middle = plan.outputs[0].middle
    total, count = (plan.draws[d].measure for d in plan.outputs[0].draws)
    n = 40_000
    exact = Exact({total: {("p",): (62 - middle) * n}, count: {("p",): n}}, {}, [("p",)])
    covered = 0
    for _ in range(60):
        answer = release(plan, 14_000, exact)
        value, half = answer.values[0][0], answer.half_widths[0][0]
        assert isinstance(value, float)
        assert half is not None
        covered += abs(value - 6.2) <= half
    # Each interval covers with at least 95 %: 48 of 60 or fewer happens with chance below 1e-5.
    assert covered > 48


def test_a_median_lies_inside_its_own_interval_and_covers_the_truth() -> None:
    plan = _plan("reg", (), (AggregateKind.QUANTILE, "n", (500,)))
    measure = plan.exact.measures[0]
    histogram = [(b, 4_000) for b in range(measure.buckets)]
    exact = Exact({}, {measure.name: {(): histogram}}, [()])
    covered = 0
    for _ in range(40):
        answer = release(plan, 14_000, exact)
        value, half = answer.values[0][0], answer.half_widths[0][0]
        assert half is not None
        covered += abs(float(str(value)) - 25) <= half
    assert covered > 30


def test_extremes_carry_no_interval_and_say_what_they_are() -> None:
    plan = _plan("reg", (), (AggregateKind.MAX, "n", ()))
    exact = Exact({}, {plan.exact.measures[0].name: {(): [(10, 5)]}}, [()])
    assert release(plan, 14_000, exact).half_widths == ((None,),)
    assert "99.5 %" in plan.notes[0]


def test_a_price_is_never_exceeded_by_its_draws() -> None:
    plan = _plan("tax", ("g",), COUNT, (AggregateKind.AVG, "amt", ()), (AggregateKind.SUM, "k", ()))
    priced = price(plan, 10_000)
    assert sum(p.micro_rho for p in priced) <= 10_000
    assert len(priced) == len(plan.draws)


def test_groups_made_from_the_unit_id_are_refused() -> None:
    rng = random.Random(1)
    world = random_world(rng)
    maker = PlanMaker(rng)
    scan = maker.scan("tax")
    unit = scan.columns[0]
    from privacy.dp.plan import Apply, Const  # noqa: PLC0415 - only this test builds an expression

    prefix = Apply("substring", (Ref(unit.id, S), Const(1, N), Const(3, N)), S)
    group = Group(
        scan,
        ((Column(90, "prefix", S), prefix),),
        ((Column(91, "n", L), AggregateCall(AggregateKind.COUNT_ROWS)),),
    )
    with pytest.raises(Refusal) as refused:
        analyse(group, facts_of(world))
    assert refused.value.code == "UNIT_KEY"
