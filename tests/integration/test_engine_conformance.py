"""Every form of plan on both engines, and against plain Spark SQL where bounding does not bite."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from privacy.dp.exact import ExactQuery, Measure, MeasureKind
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
    Column,
    Const,
    DistinctOn,
    Expr,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Slice,
    SortBy,
    UnionAll,
    Where,
)
from privacy.dp.query import JoinKind
from tests.support.engine import (
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    LONG,
    STRING,
    Scanned,
    as_mapping,
    double,
    limits,
    new_column,
    number,
    ref,
    rows_measure,
    scan,
    sum_measure,
    text,
    units_measure,
    wide_claim,
)
from tests.support.engine_room import on_both, plain_views, spark_session


@dataclass(frozen=True)
class Case:
    name: str
    query: ExactQuery
    plain: str
    """The same question to Spark, over ordinary tables; sums in fixed point by the written rule."""
    multiplicities: dict[int, int]
    frames: dict[str, pa.Table]


CASES: dict[str, Callable[[], Case]] = {}


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    name = function.__name__

    def made() -> Case:
        node, keys, measures, plain, more = function()
        multiplicities = more.pop("multiplicities", {})
        frames = more.pop("frames", {})
        named = tuple((new_column("k", e.type), e) for e in keys)
        query = ExactQuery(node, named, measures, limits(node), **more)
        return Case(name, query, plain, multiplicities, frames)

    CASES[name] = made
    return function


def apply(function: str, *args: Expr, kind: Any = BOOLEAN) -> Apply:
    return Apply(function, args, kind)


def fixed(value: str, high: int = 100_000, low: int = 0) -> str:
    whole = f"cast(floor({value} * 100 + 0.5) as bigint)"
    return f"case when {value} is not null then least(greatest({whole}, {low}L), {high}L) end"


def total(value: str, **more: int) -> str:
    return f"coalesce(sum({fixed(value, **more)}), 0)"


@case
def rows_units_and_a_sum_by_district() -> Any:
    t = scan("tax")
    measures = (rows_measure(), units_measure(), sum_measure("m2", t["amount"]))
    plain = (
        f"select district, count(*), count(distinct uscc), {total('amount')} from tax group by 1"
    )
    return t.node, [t["district"]], measures, plain, {}


@case
def everything_in_one_row() -> Any:
    t = scan("tax")
    plain = "select count(*), count(distinct uscc) from tax"
    return t.node, [], (rows_measure(), units_measure()), plain, {}


@case
def nothing_left_gives_one_row_of_zeros() -> Any:
    t = scan("tax")
    node = Where(t.node, apply("==", t["district"], text("nowhere")))
    plain = f"select count(*), count(distinct uscc), {total('amount')} from tax where false"
    measures = (rows_measure(), units_measure(), sum_measure("m2", t["amount"]))
    return node, [], measures, plain, {}


@case
def keys_of_every_type_nulls_included() -> Any:
    t = scan("tax")
    keys = [t["overdue"], t["note"], t["staff"], t["large"], t["paid_on"]]
    plain = "select overdue, note, staff, large, paid_on, count(*) from tax group by 1, 2, 3, 4, 5"
    return t.node, keys, (rows_measure(),), plain, {}


@case
def computed_keys() -> Any:
    t = scan("tax")
    month = apply("month", t["paid_on"], kind=INTEGER)
    big = apply("when", apply(">", t["staff"], number(300)), text("big"), kind=STRING)
    plain = "select month(paid_on), case when staff > 300 then 'big' end, count(*) from tax group by 1, 2"  # noqa: E501
    return t.node, [month, big], (rows_measure(),), plain, {}


@case
def conditions_of_measures() -> Any:
    t = scan("tax")
    present = apply("isnotnull", t["amount"])
    measures = (
        rows_measure("m0", present),
        rows_measure("m1", t["overdue"]),
        units_measure("m2", apply(">", t["amount"], double(500.0))),
        Measure("m3", MeasureKind.SUM, t["overdue"], t["amount"], 2, 0, 100_000),
    )
    plain = (
        "select district, count(amount), count_if(overdue), "
        "count(distinct case when amount > 500 then uscc end), "
        f"coalesce(sum({fixed('amount')}) filter (where overdue), 0) from tax group by 1"
    )
    return t.node, [t["district"]], measures, plain, {}


@case
def centred_and_squared_sums_of_several_scales() -> Any:
    t = scan("tax")
    measures = (
        sum_measure("m0", t["amount"], offset=50_000),
        sum_measure("m1", t["amount"], offset=50_000, square=True),
        sum_measure("m2", t["amount"], scale=0, high=700),
        sum_measure("m3", t["staff"], scale=0, high=300),
        sum_measure("m4", t["staff"], scale=3, low=5_000, high=300_000),
    )
    one = f"({fixed('amount')})"
    plain = (
        f"select sum({one} - 50000), sum(({one} - 50000) * ({one} - 50000)), "
        "sum(least(greatest(floor(amount + 0.5), 0), 700)), sum(least(greatest(staff, 0), 300)), "
        "sum(least(greatest(staff * 1000, 5000), 300000)) filter (where staff is not null) from tax"
    )
    return t.node, [], measures, plain, {}


@case
def a_product_of_columns() -> Any:
    t = scan("tax")
    value = apply("*", t["amount"], apply("cast", t["staff"], kind=DOUBLE), kind=DOUBLE)
    plain = f"select district, {total('amount * cast(staff as double)', high=10**9)} from tax group by 1"  # noqa: E501
    return t.node, [t["district"]], (sum_measure("m0", value, high=10**9),), plain, {}


@case
def a_value_that_is_no_number_contributes_nothing() -> Any:
    t = scan("tax")
    centred = apply("-", t["amount"], double(500.0), kind=DOUBLE)
    value = apply("sqrt", centred, kind=DOUBLE)
    plain = f"select {total('sqrt(amount - 500)')} from tax where amount >= 500"
    return t.node, [], (sum_measure("m0", value, low=-7),), plain, {}


@case
def filters_with_three_valued_logic() -> Any:
    t = scan("tax")
    predicate = apply(
        "and",
        apply("or", apply("not", t["overdue"]), apply("isnull", t["overdue"])),
        apply("in", t["note"], text("税"), text("O'Brien"), text("a%b"), text("")),
    )
    plain = (
        "select district, count(*) from tax where (not overdue or overdue is null) "
        "and note in ('税', 'O\\'Brien', 'a%b', '') group by 1"
    )
    return Where(t.node, predicate), [t["district"]], (rows_measure(),), plain, {}


@case
def a_predicate_that_is_null_keeps_nothing() -> Any:
    t = scan("tax")
    node = Where(t.node, apply("!=", t["note"], Const(None, STRING)))
    return node, [], (rows_measure(),), "select count(*) from tax where note <> null", {}


@case
def a_text_with_every_nasty_character() -> Any:
    t = scan("tax")
    nasty = "'; drop table tax; -- \" ` \\ ${x} 税\n"
    node = Where(t.node, apply("!=", t["note"], text(nasty)))
    return node, [], (rows_measure(),), "select count(*) from tax where note is not null", {}


@case
def computed_columns_in_a_chain() -> Any:
    t = scan("tax")
    node: Node = t.node
    last: Column = t.columns["amount"]
    for _ in range(40):
        made = new_column("x", DOUBLE)
        value = apply("+", ref(last), double(0.25), kind=DOUBLE)
        node = Project(node, (*((c, ref(c)) for c in node.columns), (made, value)))
        last = made
    plain = f"select {total('(amount + 10)')} from tax"
    return node, [], (sum_measure("m0", ref(last)),), plain, {}


def join_units(kind: JoinKind, extra: Callable[[Scanned, Scanned], Expr] | None = None) -> Any:
    t, r = scan("tax"), scan("registration")
    on: Expr = apply("==", t["uscc"], r["uscc"])
    if extra is not None:
        on = apply("and", on, extra(t, r))
    both = kind in (JoinKind.INNER, JoinKind.LEFT)
    columns = t.node.columns + (r.node.columns if both else ())
    return JoinOn(t.node, r.node, kind, on, columns), t, r


@case
def an_inner_join_on_the_unit() -> Any:
    node, t, r = join_units(JoinKind.INNER)
    plain = (
        f"select r.district, count(*), {total('t.amount')}, {total('r.capital')} "
        "from tax t join registration r on t.uscc = r.uscc group by 1"
    )
    measures = (rows_measure(), sum_measure("m1", t["amount"]), sum_measure("m2", r["capital"]))
    return node, [r["district"]], measures, plain, {}


@case
def a_left_join_on_the_unit_with_a_further_condition() -> Any:
    node, _t, r = join_units(JoinKind.LEFT, lambda t, r: apply("==", t["district"], r["district"]))
    plain = (
        "select r.district, count(*), count(distinct t.uscc), count(r.capital) from tax t left "
        "join "
        "registration r on t.uscc = r.uscc and t.district = r.district group by 1"
    )
    present = rows_measure("m2", apply("isnotnull", r["capital"]))
    return node, [r["district"]], (rows_measure(), units_measure(), present), plain, {}


@case
def a_left_join_nulls_computed_columns_of_its_right_side() -> Any:
    t, r = scan("tax"), scan("registration")
    made, same = new_column("made", STRING), new_column("u", STRING)
    items = (
        (same, r["uscc"]),
        (made, apply("coalesce", Const(None, STRING), text("x"), kind=STRING)),
    )
    right = Project(r.node, items)
    on = apply("==", t["uscc"], ref(same))
    node = JoinOn(t.node, right, JoinKind.LEFT, on, t.node.columns + right.columns)
    plain = (
        "select made, count(*) from tax t left join (select uscc, 'x' made from registration) r "
        "on t.uscc = r.uscc group by 1"
    )
    return node, [ref(made)], (rows_measure(),), plain, {}


@case
def units_with_a_registration() -> Any:
    node, t, _ = join_units(JoinKind.SEMI)
    plain = "select district, count(*) from tax t left semi join registration r on t.uscc = r.uscc group by 1"  # noqa: E501
    return node, [t["district"]], (rows_measure(),), plain, {}


@case
def units_without_a_registration_in_their_district() -> Any:
    node, t, _ = join_units(JoinKind.ANTI, lambda t, r: apply("==", t["district"], r["district"]))
    plain = (
        "select district, count(*) from tax t left anti join registration r "
        "on t.uscc = r.uscc and t.district = r.district group by 1"
    )
    return node, [t["district"]], (rows_measure(),), plain, {}


@case
def a_self_join_on_month_before() -> Any:
    a, b = scan("tax"), scan("tax")
    before = apply("==", a["period"], apply("+", b["period"], number(1), kind=INTEGER))
    on = apply("and", apply("==", a["uscc"], b["uscc"]), before)
    node = JoinOn(a.node, b.node, JoinKind.INNER, on, a.node.columns + b.node.columns)
    plain = (
        f"select a.district, count(*), {total('b.amount')} from tax a join tax b "
        "on a.uscc = b.uscc and a.period = b.period + 1 group by 1"
    )
    return node, [a["district"]], (rows_measure(), sum_measure("m1", b["amount"])), plain, {}


def join_areas(kind: JoinKind, right: Node | None = None, key: Expr | None = None) -> Any:
    t, a = scan("tax"), scan("areas")
    other = right or a.node
    on = apply("==", t["district"], key or a["code"])
    both = kind in (JoinKind.INNER, JoinKind.LEFT)
    columns = t.node.columns + (other.columns if both else ())
    return JoinOn(t.node, other, kind, on, columns), t, a, {other.columns[0].id: 2}


@case
def a_public_join_that_multiplies() -> Any:
    node, t, a, f = join_areas(JoinKind.INNER)
    plain = f"select region, count(*), {total('amount')} from tax join areas on district = code group by 1"  # noqa: E501
    measures = (rows_measure(), sum_measure("m1", t["amount"]))
    return node, [a["region"]], measures, plain, {"multiplicities": f}


@case
def a_public_left_join_keeps_unmatched_rows() -> Any:
    node, t, a, f = join_areas(JoinKind.LEFT)
    weighted = apply("*", t["amount"], a["weight"], kind=DOUBLE)
    plain = (
        f"select region, count(*), {total('amount * weight')} from tax left join areas "
        "on district = code group by 1"
    )
    measures = (rows_measure(), sum_measure("m1", weighted))
    return node, [a["region"]], measures, plain, {"multiplicities": f}


@case
def a_public_table_on_the_left_of_an_inner_join() -> Any:
    t, a = scan("tax"), scan("areas")
    on = apply("==", a["code"], t["district"])
    node = JoinOn(a.node, t.node, JoinKind.INNER, on, a.node.columns + t.node.columns)
    plain = "select region, count(*) from areas join tax on district = code group by 1"
    f = {a.node.columns[0].id: 2}
    return node, [a["region"]], (rows_measure(),), plain, {"multiplicities": f}


@case
def rows_in_listed_areas() -> Any:
    node, t, _, _ = join_areas(JoinKind.SEMI)
    plain = "select district, count(*) from tax left semi join areas on district = code group by 1"
    return node, [t["district"]], (rows_measure(),), plain, {}


@case
def rows_outside_listed_areas() -> Any:
    node, t, _, _ = join_areas(JoinKind.ANTI)
    plain = "select district, count(*) from tax left anti join areas on district = code group by 1"
    return node, [t["district"]], (rows_measure(),), plain, {}


@case
def a_join_with_a_public_aggregate_and_its_first_rows() -> Any:
    a = scan("areas")
    counted = new_column("n", LONG)
    grouped = Group(
        a.node,
        ((a.columns["code"], a["code"]),),
        ((counted, AggregateCall(AggregateKind.COUNT_ROWS)),),
    )
    top = Slice(SortBy(grouped, ((ref(counted), False, False), (a["code"], True, True))), 2)
    node, t, _, f = join_areas(JoinKind.INNER, top, a["code"])
    plain = (
        "select n, count(*) from tax join (select code, count(*) n from areas group by 1 "
        "order by 2 desc, 1 limit 2) on district = code group by 1"
    )
    del t
    return node, [ref(counted)], (rows_measure(),), plain, {"multiplicities": f}


@case
def a_join_with_rows_that_the_client_sent() -> Any:
    code, bonus = new_column("code", STRING), new_column("bonus", DOUBLE)
    frame = Local("ab" * 32, (code, bonus), ("区", "b"))
    table = pa.table({"b": [1.5, None, 2.0], "区": ["d1", "d2", None]})
    node, t, _, f = join_areas(JoinKind.INNER, frame, ref(code))
    value = apply("+", t["amount"], ref(bonus), kind=DOUBLE)
    plain = (
        f"select code, count(*), {total('(amount + bonus)')} from tax join "
        "(values ('d1', 1.5D), ('d2', null), (null, 2.0D)) as f(code, bonus) on district = code "
        "group by 1"
    )
    more = {"multiplicities": f, "frames": {frame.digest: table}}
    return node, [ref(code)], (rows_measure(), sum_measure("m1", value)), plain, more


def union_of_tax() -> Any:
    a, b = scan("tax"), scan("tax")
    left = Where(a.node, apply("==", a["overdue"], Const(value=True, type=BOOLEAN)))
    columns = tuple(new_column(c.name, c.type) for c in a.node.columns)
    return UnionAll((left, b.node), columns), {c.name: c for c in columns}


@case
def a_union_of_two_branches() -> Any:
    node, c = union_of_tax()
    plain = (
        f"select district, count(*), count(distinct uscc), {total('amount')} from "
        "(select * from tax where overdue union all select * from tax) group by 1"
    )
    measures = (rows_measure(), units_measure(), sum_measure("m2", ref(c["amount"])))
    return node, [ref(c["district"])], measures, plain, {}


@case
def a_union_of_branches_with_other_scales_and_literals() -> Any:
    t, p = scan("tax", "uscc", "amount"), scan("penalties", "uscc", "fine")
    part, left_amount = new_column("part", STRING), t.columns["amount"]
    doubled = new_column("doubled", DOUBLE)
    left = Project(
        t.node, ((t.columns["uscc"], t["uscc"]), (left_amount, t["amount"]), (part, text("tax")))
    )
    other = new_column("part", STRING)
    twice = apply("*", p["fine"], double(2.0), kind=DOUBLE)
    right = Project(
        p.node, ((p.columns["uscc"], p["uscc"]), (doubled, twice), (other, text("fine")))
    )
    columns = (new_column("uscc", STRING), new_column("v", DOUBLE), new_column("part", STRING))
    node = UnionAll((left, right), columns)
    plain = (
        f"select part, count(*), {total('v')} from (select uscc, amount v, 'tax' part from tax "
        "union all select uscc, fine * 2, 'fine' from penalties) group by 1"
    )
    measures = (rows_measure(), sum_measure("m1", ref(columns[1])))
    return node, [ref(columns[2])], measures, plain, {}


@case
def distinct_units_of_a_district() -> Any:
    t = scan("tax")
    node = DistinctOn(t.node, (t["uscc"].id, t["district"].id))
    plain = "select district, count(*) from (select distinct uscc, district from tax) group by 1"
    return node, [t["district"]], (rows_measure(),), plain, {}


@case
def distinct_whole_rows() -> Any:
    p = scan("penalties")
    node = DistinctOn(p.node, tuple(c.id for c in p.node.columns))
    plain = (
        f"select kind, count(*), {total('fine')} from (select distinct * from penalties) group by 1"
    )
    measures = (rows_measure(), sum_measure("m1", p["fine"]))
    return node, [p["kind"]], measures, plain, {}


@case
def features_of_each_unit() -> Any:
    t = scan("tax")
    names = {
        n: new_column(n, k)
        for n, k in (
            ("rows", LONG), ("staff", LONG), ("big", LONG), ("sum", DOUBLE), ("avg", DOUBLE),
            ("low", DATE), ("high", DOUBLE), ("months", LONG), ("units", LONG),
        )
    }  # fmt: skip
    calls = {
        "rows": AggregateCall(AggregateKind.COUNT_ROWS),
        "staff": AggregateCall(AggregateKind.COUNT, (t["staff"],)),
        "big": AggregateCall(AggregateKind.COUNT_IF, (apply(">", t["amount"], double(600.0)),)),
        "sum": AggregateCall(AggregateKind.SUM, (t["amount"],)),
        "avg": AggregateCall(AggregateKind.AVG, (t["amount"],)),
        "low": AggregateCall(AggregateKind.MIN, (t["paid_on"],)),
        "high": AggregateCall(AggregateKind.MAX, (t["amount"],)),
        "months": AggregateCall(AggregateKind.COUNT_DISTINCT, (t["note"],)),
        "units": AggregateCall(AggregateKind.COUNT_DISTINCT, (t["district"], t["overdue"])),
    }
    group = Group(
        t.node,
        ((t.columns["uscc"], t["uscc"]),),
        tuple((names[n], calls[n]) for n in names),
    )
    wide = {"scale": 2, "low": -(10**9), "high": 10**9}
    inner = tuple((names[n].id, sum_measure("i", t["amount"], **wide)) for n in ("sum", "avg"))
    keys = [
        ref(names["rows"]),
        apply("month", ref(names["low"]), kind=INTEGER),
    ]
    measures = (
        *(
            sum_measure(f"m{i}", ref(names[n]), scale=0, high=10**6)
            for i, n in enumerate(("staff", "big", "months", "units"))
        ),
        *(
            sum_measure(f"m{i + 4}", ref(names[n]), scale=2, high=10**9)
            for i, n in enumerate(("sum", "avg", "high"))
        ),
    )
    big = {"high": 10**9}
    plain = (
        "select n, month(low), sum(staff), sum(big), sum(notes), sum(pairs), "
        f"{total('total', **big)}, {total('mean', **big)}, {total('high', **big)} from ("
        "select uscc, count(*) n, count(staff) staff, count_if(amount > 600) big, "
        "cast(sum(cast(floor(amount * 100 + 0.5) as bigint)) as double) / 100 total, "
        "cast(sum(cast(floor(amount * 100 + 0.5) as bigint)) as double) / count(amount) / 100 "
        "mean, "
        "min(paid_on) low, max(amount) high, count(distinct note) notes, "
        "count(distinct district, overdue) pairs from tax group by 1) group by 1, 2"
    )
    return group, keys, measures, plain, {"inner": inner}


@case
def districts_of_each_unit() -> Any:
    t = scan("tax")
    counted = new_column("n", LONG)
    group = Group(
        t.node,
        ((t.columns["uscc"], t["uscc"]), (t.columns["district"], t["district"])),
        ((counted, AggregateCall(AggregateKind.COUNT_ROWS)),),
    )
    plain = (
        "select district, n, count(*) from (select uscc, district, count(*) n from tax group by "
        "1, 2) "
        "group by 1, 2"
    )
    return group, [t["district"], ref(counted)], (rows_measure(),), plain, {}


@case
def doubles_as_keys_of_a_unit() -> Any:
    p = scan("penalties")
    group = Group(p.node, ((p.columns["uscc"], p["uscc"]), (p.columns["fine"], p["fine"])), ())
    plain = (
        f"select {total('fine')}, count(*) from (select uscc, fine from penalties group by 1, 2)"
    )
    return group, [], (sum_measure("m0", p["fine"]), rows_measure("m1")), plain, {}


@case
def a_group_joined_with_another_table() -> Any:
    t, r = scan("tax"), scan("registration")
    counted = new_column("n", LONG)
    group = Group(
        t.node,
        ((t.columns["uscc"], t["uscc"]),),
        ((counted, AggregateCall(AggregateKind.COUNT_ROWS)),),
    )
    on = apply("==", r["uscc"], t["uscc"])
    node = JoinOn(r.node, group, JoinKind.LEFT, on, r.node.columns + group.columns)
    plain = (
        "select district, n, count(*) from registration r left join "
        "(select uscc, count(*) n from tax group by 1) t on r.uscc = t.uscc group by 1, 2"
    )
    return node, [r["district"], ref(counted)], (rows_measure(),), plain, {}


@pytest.mark.parametrize("name", CASES)
def test_both_engines_answer_as_plain_spark_does(name: str) -> None:
    found = CASES[name]()
    claim = wide_claim(found.query, found.multiplicities)
    answer = on_both(found.query, claim, found.frames)
    plain_views()
    expected = spark_session().sql(found.plain).toArrow()
    keys = len(found.query.keys)
    names = [f"k{i}" if i < keys else f"m{i - keys}" for i in range(expected.num_columns)]
    assert as_mapping(answer.cells) == as_mapping(expected.rename_columns(names))


def histogram(value: Expr, **more: Any) -> Measure:
    facts: dict[str, Any] = {"scale": 2, "high": 100_000, "step": 2_500, "buckets": 41, **more}
    return Measure("m0", MeasureKind.HISTOGRAM, value=value, **facts)


@pytest.mark.parametrize("beside", [(), (rows_measure("m1"),)])
def test_a_histogram_counts_rows_for_each_bucket(beside: tuple[Measure, ...]) -> None:
    t = scan("tax")
    key = (new_column("k", STRING), t["district"])
    query = ExactQuery(t.node, (key,), (histogram(t["amount"]), *beside), limits(t.node))
    answer = on_both(query)
    plain_views()
    expected = spark_session().sql(
        f"select district k0, ({fixed('amount')}) div 2500 bucket, count(*) n from tax "
        "where amount is not null group by 1, 2"
    )
    assert as_mapping(answer.histograms["m0"]) == as_mapping(expected.toArrow())
    assert sorted(answer.cells.column("k0").to_pylist()) == ["d1", "d2", "d3", "d4"]


def test_a_group_without_a_value_is_present_with_an_empty_histogram() -> None:
    t = scan("tax")
    node = Where(t.node, apply("isnull", t["amount"]))
    key = (new_column("k", STRING), t["district"])
    answer = on_both(ExactQuery(node, (key,), (histogram(t["amount"]),), limits(node)))
    assert answer.histograms["m0"].num_rows == 0
    assert answer.cells.num_rows > 0
    assert answer.exact().histograms == {"m0": {}}


def test_a_histogram_without_keys_has_one_group() -> None:
    t = scan("tax")
    answer = on_both(ExactQuery(t.node, (), (histogram(t["amount"]),), limits(t.node)))
    assert answer.exact().keys == [()]
    assert len(answer.exact().histograms["m0"][()]) > 1


def test_rank_limits_and_cohorts_keep_the_same_rows_on_both_engines() -> None:
    t = scan("tax")
    key = (new_column("k", STRING), t["district"])
    few = ExactQuery(
        t.node, (key,), (rows_measure(), units_measure()), ((t.node.columns[0].id, 3),),
        cohorts=(2020, 2022),
    )  # fmt: skip
    per_unit_rows = on_both(few).cells
    all_rows = on_both(ExactQuery(t.node, (key,), few.measures, limits(t.node))).cells
    assert 0 < sum(per_unit_rows.column("m0").to_pylist()) < sum(all_rows.column("m0").to_pylist())


@pytest.mark.parametrize("form", ["scan", "join", "union", "group"])
def test_at_most_a_few_rows_of_a_unit_reach_the_aggregate(form: str) -> None:
    t = scan("tax")
    node: Node = t.node
    key: Expr = t["district"]
    multiplicities: dict[int, int] = {}
    if form == "join":
        node, t, a, multiplicities = join_areas(JoinKind.INNER)
        key = a["region"]
    elif form == "union":
        node, columns = union_of_tax()
        key = ref(columns["district"])
    elif form == "group":
        node = Group(
            t.node, ((t.columns["uscc"], t["uscc"]), (t.columns["period"], t["period"])), ()
        )
        key = t["period"]
    query = ExactQuery(
        node, ((new_column("k", key.type), key),), (rows_measure(), units_measure()), limits(node),
        unit_limit=2,
    )  # fmt: skip
    cells = on_both(query, wide_claim(query, multiplicities)).cells
    whole = ExactQuery(node, (), (rows_measure(), units_measure()), limits(node), unit_limit=2)
    (row,) = on_both(whole, wide_claim(whole, multiplicities)).cells.to_pylist()
    assert sum(cells.column("m0").to_pylist()) == row["m0"]
    assert row["m1"] < row["m0"] <= 2 * row["m1"]


def test_the_first_row_of_a_unit_is_the_one_of_lowest_rank() -> None:
    t = scan("tax")
    node = DistinctOn(t.node, (t["uscc"].id,))
    by_rank = ExactQuery(
        t.node, ((new_column("k", STRING), t["district"]),), (rows_measure(),),
        ((t.node.columns[0].id, 1),),
    )  # fmt: skip
    first = ExactQuery(
        node, ((new_column("k", STRING), t["district"]),), (rows_measure(),), limits(node)
    )
    assert as_mapping(on_both(first).cells) == as_mapping(on_both(by_rank).cells)


def test_key_types_are_those_of_the_plan() -> None:
    t = scan("tax")
    computed = apply("+", t["staff"], number(1), kind=INTEGER)
    keys = [computed, t["large"], t["paid_on"], t["overdue"], t["note"]]
    query = ExactQuery(
        t.node, tuple((new_column("k", e.type), e) for e in keys), (rows_measure(),), limits(t.node)
    )
    assert on_both(query).cells.schema.types == [
        pa.int32(), pa.int64(), pa.date32(), pa.bool_(), pa.string(), pa.int64(),
    ]  # fmt: skip
    assert dt.date in {type(v) for v in on_both(query).cells.column("k2").to_pylist()}
