"""Public plans and post-processing above releases: every operator, with Spark's order and types."""

import datetime as dt
import math
import threading
import time
from typing import Any

import pyarrow as pa
import pytest

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
from privacy.errors import Refusal
from sandbox.engine import public
from sandbox.engine.database import Database, Limits
from sandbox.engine.public import EMPTY_ROW, PublicEngine
from sandbox.engine.run import RunCancelled
from sandbox.engine.turns import Turn
from sandbox.gateway.tree import MAX_DEPTH
from tests.support.engine import (
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    LONG,
    STRING,
    double,
    new_column,
    number,
    ref,
    scan,
    text,
)
from tests.support.engine_room import database, room, small_lake, spark_session

NAN = float("nan")
TABLE = pa.table(
    {
        "键 k": pa.array(["b", "a", None, "a", "c"]),
        "n": pa.array([2, 5, None, 1, 2**31 - 1], pa.int32()),
        "v": pa.array([1.5, NAN, -0.0, None, 1e300]),
        "d": pa.array([dt.date(2024, 2, 29), None, dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    }
)
DIGEST = "cd" * 32


def frame() -> tuple[Local, dict[str, Column]]:
    columns = (
        new_column("k", STRING), new_column("n", INTEGER), new_column("v", DOUBLE), new_column("d", DATE),  # noqa: E501
    )  # fmt: skip
    return Local(DIGEST, columns, ("键 k", "n", "v", "d")), {c.name: c for c in columns}


def engine(frames: Any = None) -> PublicEngine:
    return PublicEngine(database(), small_lake, frames or {DIGEST: TABLE})


def rows(node: Node) -> list[tuple[Any, ...]]:
    table = engine().run(node)
    found = zip(*(c.to_pylist() for c in table.columns), strict=True)
    return [tuple("NaN" if v != v else v for v in row) for row in found]  # noqa: PLR0124 - NaN


def aggregate(kind: AggregateKind, *args: Expr, parameters: tuple[int, ...] = ()) -> AggregateCall:
    return AggregateCall(kind, args, parameters)


def test_columns_keep_their_order_names_and_types_even_when_names_repeat() -> None:
    node, c = frame()
    twice = Project(
        node,
        (
            (new_column("x", INTEGER), ref(c["n"])),
            (new_column("x", DOUBLE), ref(c["v"])),
            (new_column("x", LONG), Apply("+", (ref(c["n"]), number(1)), LONG)),
            (new_column("x", BOOLEAN), Apply("isnull", (ref(c["k"]),), BOOLEAN)),
            (c["d"], ref(c["d"])),
        ),
    )
    table = engine().run(twice)
    assert table.column_names == ["x", "x", "x", "x", "d"]
    assert table.schema.types == [pa.int32(), pa.float64(), pa.int64(), pa.bool_(), pa.date32()]
    assert table.column(2).to_pylist() == [3, 6, None, 2, 2**31]


def test_rows_of_a_frame_keep_their_order() -> None:
    node, c = frame()
    kept = Where(node, Apply("isnotnull", (ref(c["k"]),), BOOLEAN))
    assert [r[0] for r in rows(kept)] == ["b", "a", "a", "c"]


@pytest.mark.parametrize(
    ("ascending", "nulls_first", "expected"),
    [
        (True, True, [None, -0.0, 1.5, 1e300, "NaN"]),
        (False, False, ["NaN", 1e300, 1.5, -0.0, None]),
        (True, False, [-0.0, 1.5, 1e300, "NaN", None]),
        (False, True, [None, "NaN", 1e300, 1.5, -0.0]),
    ],
)
def test_sorting_puts_nulls_and_nan_where_spark_does(
    ascending: bool, nulls_first: bool, expected: list[Any]
) -> None:
    node, c = frame()
    assert [r[2] for r in rows(SortBy(node, ((ref(c["v"]), ascending, nulls_first),)))] == expected


def chain(kind: str, node: Node, steps: int) -> Node:
    name, column = node.columns[0], node.columns[1]
    for n in range(steps):
        match kind:
            case "filters":
                node = Where(node, Apply("<", (ref(column), number(2**31 - 1 - n)), BOOLEAN))
            case "limits":
                node = Slice(node, 1_000_000 - n)
            case "sorts":
                node = SortBy(node, ((ref(column), True, True),))
            case "distincts":
                node = DistinctOn(node, (name.id, column.id))
            case _:
                node = Group(node, ((name, ref(name)), (column, ref(column))), ())
    return node


@pytest.mark.parametrize("kind", ["filters", "limits", "sorts", "groups"])
def test_as_long_a_chain_runs_as_a_question_may_have(kind: str) -> None:
    assert rows(chain(kind, frame()[0], MAX_DEPTH))


@pytest.mark.parametrize(
    ("kind", "steps"),
    [("distincts", MAX_DEPTH), *((k, 2 * MAX_DEPTH) for k in ("filters", "limits", "groups"))],
)
def test_a_chain_beyond_what_the_engine_nests_is_refused_not_failed(kind: str, steps: int) -> None:
    with pytest.raises(Refusal) as refused:
        rows(chain(kind, frame()[0], steps))
    assert refused.value.code == "TOO_LARGE"


def test_an_order_holds_through_projection_filter_and_limit() -> None:
    node, c = frame()
    ordered = SortBy(node, ((ref(c["k"]), True, True), (ref(c["n"]), False, False)))
    shown = Project(ordered, ((c["n"], ref(c["n"])),))
    kept = Where(shown, Apply("isnotnull", (ref(c["n"]),), BOOLEAN))
    assert rows(kept) == [(5,), (1,), (2,), (2**31 - 1,)]
    assert rows(Slice(kept, 2, 1)) == [(1,), (2,)]
    assert rows(Slice(kept, None, 3)) == [(2**31 - 1,)]
    assert rows(Slice(kept, 0)) == []


def test_an_outer_order_wins_over_an_inner_one() -> None:
    node, c = frame()
    inner = Slice(SortBy(node, ((ref(c["n"]), True, False),)), 3)
    assert [r[1] for r in rows(SortBy(inner, ((ref(c["n"]), False, False),)))] == [5, 2, 1]


def test_every_aggregate_of_a_group() -> None:
    node, c = frame()
    n, v = ref(c["n"]), ref(c["v"])
    calls = {
        "rows": (LONG, aggregate(AggregateKind.COUNT_ROWS)),
        "count": (LONG, aggregate(AggregateKind.COUNT, n, v)),
        "if": (LONG, aggregate(AggregateKind.COUNT_IF, Apply(">", (n, number(1)), BOOLEAN))),
        "distinct": (LONG, aggregate(AggregateKind.COUNT_DISTINCT, n)),
        "pairs": (LONG, aggregate(AggregateKind.COUNT_DISTINCT, n, v)),
        "sum": (LONG, aggregate(AggregateKind.SUM, n)),
        "avg": (DOUBLE, aggregate(AggregateKind.AVG, n)),
        "min": (INTEGER, aggregate(AggregateKind.MIN, n)),
        "max": (DOUBLE, aggregate(AggregateKind.MAX, v)),
        "median": (DOUBLE, aggregate(AggregateKind.QUANTILE, n, parameters=(500,))),
        "var": (DOUBLE, aggregate(AggregateKind.VAR_SAMP, n)),
        "varp": (DOUBLE, aggregate(AggregateKind.VAR_POP, n)),
        "dev": (DOUBLE, aggregate(AggregateKind.STDDEV_SAMP, n)),
        "odd": (DOUBLE, aggregate(AggregateKind.VAR_POP, v)),
    }
    made = tuple((new_column(name, kind), call) for name, (kind, call) in calls.items())
    group = Group(node, ((c["k"], ref(c["k"])),), made)
    found = {r[0]: r[1:] for r in rows(group)}
    assert found["a"] == (2, 1, 1, 2, 1, 6, 3.0, 1, "NaN", 3.0, 8.0, 4.0, 8.0**0.5, "NaN")
    assert found["b"] == (1, 1, 1, 1, 1, 2, 2.0, 2, 1.5, 2.0, None, 0.0, None, 0.0)
    assert found[None] == (1, 0, 0, 0, 0, None, None, None, -0.0, None, None, None, None, 0.0)


def test_a_group_without_keys_has_one_row_even_of_nothing() -> None:
    node, c = frame()
    nothing = Where(node, Const(value=False, type=BOOLEAN))
    made = (
        (new_column("n", LONG), aggregate(AggregateKind.COUNT_ROWS)),
        (new_column("s", LONG), aggregate(AggregateKind.SUM, ref(c["n"]))),
    )
    assert rows(Group(nothing, (), made)) == [(0, None)]


def test_literal_and_floating_keys_group_as_in_spark() -> None:
    v, made = new_column("v", DOUBLE), new_column("n", LONG)
    local = Local(DIGEST, (v,), ("v",))
    table = pa.table({"v": pa.array([0.0, -0.0, NAN, NAN, None])})
    keys = ((v, ref(v)), (new_column("one", INTEGER), number(7)))
    group = Group(local, keys, ((made, aggregate(AggregateKind.COUNT_ROWS)),))
    found = engine({DIGEST: table}).run(group)
    assert sorted(found.column(2).to_pylist()) == [1, 2, 2]
    assert set(found.column(1).to_pylist()) == {7}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (JoinKind.INNER, 4),
        (JoinKind.LEFT, 6),
        (JoinKind.RIGHT, 5),
        (JoinKind.FULL, 7),
        (JoinKind.SEMI, 3),
        (JoinKind.ANTI, 2),
        (JoinKind.CROSS, 20),
    ],
)
def test_every_kind_of_join(kind: JoinKind, expected: int) -> None:
    node, c = frame()
    k = new_column("k", STRING)
    other = Local("ef" * 32, (k,), ("k",))
    table = pa.table({"k": ["a", "b", "b", "z"]})
    on = None if kind is JoinKind.CROSS else Apply("==", (ref(c["k"]), ref(k)), BOOLEAN)
    columns = node.columns + (() if kind in (JoinKind.SEMI, JoinKind.ANTI) else other.columns)
    joined = JoinOn(node, other, kind, on, columns)
    found = engine({DIGEST: TABLE, other.digest: table}).run(joined)
    assert found.num_rows == expected
    assert found.num_columns == len(columns)


def test_union_and_distinct() -> None:
    a, c = frame()
    b, _ = frame()
    columns = tuple(new_column(x.name, x.type) for x in a.columns)
    union = UnionAll((a, b), columns)
    assert len(rows(union)) == 10
    assert len(rows(DistinctOn(union, tuple(x.id for x in columns)))) == 5
    assert len(rows(DistinctOn(union, (columns[0].id,)))) == 4
    first = DistinctOn(SortBy(a, ((ref(c["n"]), False, False),)), (c["k"].id,))
    assert {r[0]: r[1] for r in rows(first)} == {"a": 5, "b": 2, "c": 2**31 - 1, None: None}


def test_functions_above_a_release_include_logarithms_and_powers() -> None:
    node, c = frame()
    items = tuple(
        (new_column(f, DOUBLE), Apply(f, args, DOUBLE))
        for f, args in (
            ("ln", (ref(c["v"]),)),
            ("log10", (ref(c["v"]),)),
            ("exp", (ref(c["v"]),)),
            ("pow", (ref(c["v"]), double(2.0))),
        )
    )
    found = rows(Project(node, items))
    spark_session().createDataFrame(TABLE.rename_columns(list("knvd"))).createOrReplaceTempView(
        "fr"
    )
    plain = spark_session().sql("select ln(v), log10(v), exp(v), pow(v, 2) from fr").toArrow()
    for row, expected in zip(
        found, zip(*(x.to_pylist() for x in plain.columns), strict=True), strict=True
    ):
        for ours, theirs in zip(row, expected, strict=True):
            if theirs is None or theirs != theirs:  # noqa: PLR0124 - NaN
                assert ours in (None, "NaN")
            else:
                assert ours == pytest.approx(theirs)


def test_public_tables_of_the_lake_are_read_and_private_ones_never() -> None:
    areas = scan("areas")
    assert len(rows(areas.node)) == 4
    with pytest.raises(AssertionError, match="no private table"):
        engine().run(scan("tax").node)


def test_facts_about_public_relations_are_exact() -> None:
    areas = scan("areas")
    code, region = areas["code"].id, areas["region"].id
    facts = engine()
    assert facts.distinct(areas.node, (region,), 3) == ((None,), ("north",), ("south",))
    assert facts.distinct(areas.node, (region,), 2) is None
    assert (facts.distinct(areas.node, (code, region), 9) or ())[0] == ("d1", "north")
    assert facts.extremes(areas.node, areas["weight"].id) == (0.0, 2.0)
    assert facts.longest(areas.node, region) == len("north")
    assert facts.multiplicity(areas.node, (code,)) == 2
    assert facts.multiplicity(areas.node, (code, region)) == 1
    assert facts.multiplicity(areas.node, ()) == 4
    nothing = Where(areas.node, Const(value=False, type=BOOLEAN))
    assert facts.multiplicity(nothing, (code,)) == 0
    assert facts.distinct(nothing, (code,), 9) == ()
    assert facts.extremes(nothing, areas["weight"].id) is None
    assert facts.longest(nothing, code) == 0
    assert facts.evaluate(Slice(SortBy(areas.node, ((areas["weight"], False, False),)), 1)) == (
        ("d2", "north", 2.0),
    )


def test_extremes_are_finite_and_lengths_are_in_characters() -> None:
    rows = pa.table(
        {
            "x": pa.array([NAN, math.inf, -math.inf, 1e308, -2.5, None]),
            "n": pa.array([None, 2**62, -(2**63), None, 0, 1]),
            "s": pa.array(["𠮷x", "", None, "a", "b", "c"]),
        }
    )
    columns = (new_column("x", DOUBLE), new_column("n", LONG), new_column("s", STRING))
    node, facts = Local(DIGEST, columns, ("x", "n", "s")), engine({DIGEST: rows})
    assert facts.extremes(node, columns[0].id) == (-2.5, 1e308)
    assert facts.extremes(node, columns[1].id) == (-(2**63), 2**62)
    assert facts.longest(node, columns[2].id) == 2


def test_a_computed_public_side_is_settled_only_if_it_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, _ = frame()
    assert engine().settled(Slice(node, 3)) != node
    monkeypatch.setattr(public, "MAX_SETTLED_ROWS", 2)
    assert engine().settled(Slice(node, 2)) != node
    with pytest.raises(Refusal, match="more than 2 rows") as refused:
        engine().settled(Slice(node, 3))
    assert refused.value.code == "TOO_LARGE"


def test_constants_are_evaluated_on_the_built_in_row() -> None:
    anchor, made = new_column("one", INTEGER), new_column("v", STRING)
    node = Project(
        Local(EMPTY_ROW, (anchor,), ("one",)),
        ((made, Apply("concat", (text("a"), text("税")), STRING)),),
    )
    assert engine().evaluate(node) == (("a税",),)


def test_facts_about_frames_are_never_remembered() -> None:
    node, c = frame()
    k = c["k"].id
    assert len(engine().distinct(node, (k,), 4) or ()) == 4
    other = engine({DIGEST: TABLE.slice(0, 1)})
    assert other.distinct(node, (k,), 4) == (("b",),)
    assert other.multiplicity(node, (k,)) == 1


def test_two_hundred_steps_above_a_release_are_one_statement() -> None:
    node: Any
    node, c = frame()
    last = c["n"]
    for i in range(200):
        made = new_column("x", LONG)
        step = Apply("+", (ref(last), number(1)), LONG)
        node = Project(node, (*((x, ref(x)) for x in node.columns[-3:]), (made, step)))
        node = Where(node, Apply("!=", (ref(made), number(-i)), BOOLEAN))
        last = made
    assert [r[-1] for r in rows(node)] == [202, 205, 201, 2**31 + 199]


def crossed() -> tuple[Node, dict[str, pa.Table]]:
    """Return a plan of 4 * 10**10 comparisons over two frames."""
    wide = pa.table({"n": pa.array(range(200_000), pa.int32())})
    sides = []
    for digest in ("aa" * 32, "bb" * 32):
        column = new_column("n", LONG)
        sides.append((Local(digest, (column,), ("n",)), column))
    (left, a), (right, b) = sides
    smaller = Apply("<", (ref(a), ref(b)), BOOLEAN)
    joined = JoinOn(left, right, JoinKind.INNER, smaller, (a, b))
    return joined, {left.digest: wide, right.digest: wide}


def counted_rows(node: Node) -> Node:
    return Group(node, (), ((new_column("n", LONG), aggregate(AggregateKind.COUNT_ROWS)),))


def test_a_public_part_that_runs_too_long_is_stopped_and_says_so() -> None:
    node, frames = crossed()
    hasty = PublicEngine(database(), small_lake, frames, Turn("a", seconds=0.3))
    with pytest.raises(Refusal, match="ran for 0 s and was stopped") as refusal:
        hasty.run(counted_rows(node))
    assert refusal.value.code == "TOO_LARGE"
    with pytest.raises(Refusal):
        hasty.evaluate(counted_rows(node))


def test_a_public_part_stops_when_its_client_gives_up() -> None:
    node, frames = crossed()
    until = time.monotonic() + 0.3
    turn = Turn("a", lambda: time.monotonic() > until)
    with pytest.raises(RunCancelled):
        PublicEngine(database(), small_lake, frames, turn).run(counted_rows(node))


def test_a_public_answer_of_too_many_bytes_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "MAX_ANSWER_BYTES", 5_000_000)
    node, frames = crossed()
    engine = PublicEngine(database(), small_lake, frames)
    with pytest.raises(Refusal, match=r"more than 5 MB.*limit\(n\)") as refusal:
        engine.run(node)
    assert refusal.value.code == "TOO_LARGE"
    assert engine.run(Slice(node, 100_000, 0)).num_rows == 100_000


def test_one_asker_keeps_no_other_waiting() -> None:
    node, frames = crossed()
    shared = Database((), room() / "turns", Limits(concurrent=3, each=1))
    stop = threading.Event()

    def ask_at_length() -> None:
        engine = PublicEngine(shared, dict, frames, Turn("a", stop.is_set))
        with pytest.raises(RunCancelled):
            engine.run(counted_rows(node))

    busy = [threading.Thread(target=ask_at_length) for _ in range(4)]
    for each in busy:
        each.start()
    try:
        for asker in ("b", ""):
            engine = PublicEngine(shared, dict, {DIGEST: TABLE}, Turn(asker, seconds=60))
            assert engine.run(frame()[0]).num_rows == TABLE.num_rows
    finally:
        stop.set()
        for each in busy:
            each.join(30)
    assert not any(each.is_alive() for each in busy)


def grown(steps: int, times: int) -> Node:
    """Return a frame whose text is repeated again and again."""
    node, columns = frame()
    found: Node = node
    value: Expr = ref(columns["k"])
    for _ in range(steps):
        column = new_column("k", STRING)
        found = Project(found, ((column, Apply("repeat", (value, number(times)), STRING)),))
        value = ref(column)
    return found


def test_texts_that_grow_are_refused_before_they_are_made() -> None:
    for node in (grown(2, 1000), grown(1, 2**31 - 1), grown(200, 2)):
        with pytest.raises(Refusal, match="substring") as refusal:
            engine().run(node)
        assert refusal.value.code == "TOO_LARGE"
        with pytest.raises(Refusal):
            engine().run(counted_rows(node))
    assert engine().run(grown(2, 100)).num_rows == TABLE.num_rows


def test_a_computed_side_of_many_bytes_is_not_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "MAX_SETTLED_BYTES", 50_000)
    assert engine().settled(grown(1, 100)) is not None
    with pytest.raises(Refusal, match="MB"):
        engine().settled(grown(1, 60_000))
