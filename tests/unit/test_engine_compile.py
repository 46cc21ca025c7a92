"""From a question to SQL text: small, typed, and with every bound in it."""

import datetime as dt
import math
import re
from typing import Any

import pytest

from privacy.dp.exact import ExactQuery
from privacy.dp.facts import ColumnFacts, TableFacts
from privacy.dp.plan import Apply, Column, Const, Expr, JoinOn, Project, Scan, SortBy, Where
from privacy.dp.query import JoinKind
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.engine.compile import compile_query
from sandbox.engine.physical import Compute, Read, walk
from sandbox.engine.prepare import check_supported
from sandbox.engine.render import DUCKDB, SPARK, Renderer
from tests.support.engine import (
    BOOLEAN,
    DOUBLE,
    FACTS,
    INTEGER,
    STRING,
    double,
    limits,
    new_column,
    number,
    ref,
    rows_measure,
    scan,
    sum_measure,
    text,
)

ENGINES = (DUCKDB, SPARK)


def sql(query: ExactQuery, engine: str) -> str:
    statements = Renderer(engine, lambda name: name).statements(compile_query(query, FACTS))
    return statements.cells or ""


def query(node: Any, *measures: Any, keys: tuple[Expr, ...] = (), **more: Any) -> ExactQuery:
    named = tuple((new_column("k", e.type), e) for e in keys)
    return ExactQuery(node, named, measures or (rows_measure(),), limits(node), **more)


@pytest.mark.parametrize("engine", ENGINES)
def test_rank_and_cohort_filters_stand_at_the_scan(engine: str) -> None:
    written = sql(query(scan("penalties").node, cohorts=(2020, 2021)), engine)
    assert re.search(r"h1 IN \(2020, 2021\) AND r1 <= 6\b", written)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_cohort_at_all_reads_no_row(engine: str) -> None:
    assert "WHERE FALSE" in sql(query(scan("penalties").node, cohorts=()), engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_clamp_is_written_even_where_it_is_redundant(engine: str) -> None:
    tax = scan("tax")
    written = sql(query(tax.node, sum_measure("m0", tax["amount"], low=-7, high=123_456)), engine)
    assert "LEAST(GREATEST(" in written
    assert "123456" in written
    assert "-7" in written


def test_a_stored_column_at_its_own_scale_is_summed_as_it_is() -> None:
    tax = scan("tax")
    amount = f"c{tax['amount'].id}"
    written = sql(query(tax.node, sum_measure("m0", tax["amount"], scale=2)), DUCKDB)
    assert f"GREATEST({amount}, " in written
    other = sql(query(tax.node, sum_measure("m0", tax["amount"], scale=1)), DUCKDB)
    assert "FLOOR" in other


NASTY = (
    "'; DROP TABLE tax; --",
    '"`\\',
    "*/ /* ${system:user.home}",
    "税\U0001f468",
    "\0",
    "\n\r\t",
    "{0}%s",
)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", NASTY)
def test_no_character_of_a_text_literal_is_written(value: str, engine: str) -> None:
    written = Renderer(engine, str).literal(value, STRING)
    assert re.fullmatch(
        r"[A-Za-z_]+\((from_hex\('[0-9a-f]*'\)\)|X'[0-9a-f]*' AS STRING\))", written
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_text_that_is_no_unicode_is_refused(engine: str) -> None:
    with pytest.raises(Refusal):
        Renderer(engine, str).literal("\ud800", STRING)


@pytest.mark.parametrize("engine", ENGINES)
def test_other_literals_are_typed(engine: str) -> None:
    literal = Renderer(engine, str).literal
    assert literal(math.nan, DOUBLE) == "CAST('NaN' AS DOUBLE)"
    assert literal(-math.inf, DOUBLE) == "CAST('-Infinity' AS DOUBLE)"
    assert literal(0.1, DOUBLE) == "CAST('0.1' AS DOUBLE)"
    assert literal(3, DOUBLE) == "CAST('3.0' AS DOUBLE)"
    assert literal(dt.date(1, 1, 1), DataType.DATE) == "DATE '0001-01-01'"
    assert literal(None, STRING) == "CAST(NULL AS STRING)"
    assert literal(True, BOOLEAN) == "TRUE"
    assert literal(-(2**63), DataType.LONG) == "CAST('-9223372036854775808' AS BIGINT)"


@pytest.mark.parametrize("name", ["a b", "Upper", "a;b", 'a"b', "名", "", "1a", "a\n"])
def test_a_stored_name_outside_the_narrow_pattern_is_never_written(name: str) -> None:
    facts = {"t": TableFacts("t", "v", (ColumnFacts(name, STRING),), "enterprise", "u")}
    node = Scan("t", (Column(1, name, STRING),), (name,))
    plan = compile_query(ExactQuery(node, (), (rows_measure(),)), facts)
    for engine in ENGINES:
        with pytest.raises(ValueError, match="lower-case"):
            Renderer(engine, str).statements(plan)


def chain(length: int, grow: Any) -> tuple[Any, Column]:
    """Return `length` projections, each computing the next column from the one before."""
    tax = scan("tax")
    node: Any = tax.node
    last = tax.columns["amount"]
    for _ in range(length):
        made = new_column("x", DOUBLE)
        kept = tuple((c, ref(c)) for c in node.columns)
        node = Project(node, (*kept, (made, grow(ref(last)))))
        last = made
    return node, last


def test_two_hundred_computed_columns_give_few_nested_queries() -> None:
    node, last = chain(200, lambda x: Apply("+", (x, double(1.0)), DOUBLE))
    plan = compile_query(query(node, sum_measure("m0", ref(last))), FACTS)
    assert sum(isinstance(n, Compute) for n in walk(plan.child)) <= 20
    for engine in ENGINES:
        written = Renderer(engine, str).statements(plan).cells or ""
        assert len(written) < 100_000


@pytest.mark.parametrize("function", ["+", "/", "%", "pmod"])
def test_an_expression_that_doubles_at_each_step_does_not_grow_exponentially(function: str) -> None:
    node, last = chain(60, lambda x: Apply(function, (x, x), DOUBLE))
    plan = compile_query(query(node, sum_measure("m0", ref(last))), FACTS)
    for engine in ENGINES:
        assert len(Renderer(engine, str).statements(plan).cells or "") < 500_000


@pytest.mark.parametrize("function", ["+", "/", "pmod", "floor"])
def test_one_deep_expression_is_cut_into_columns(function: str) -> None:
    tax = scan("tax")
    value: Expr = tax["amount"]
    for _ in range(200):
        args = (value,) if function == "floor" else (value, double(2.0))
        value = Apply(function, args, DOUBLE)
    plan = compile_query(query(tax.node, sum_measure("m0", value)), FACTS)
    assert sum(isinstance(n, Compute) for n in walk(plan.child)) > 1
    for engine in ENGINES:
        written = Renderer(engine, str).statements(plan).cells or ""
        assert len(written) < 1_000_000


def test_a_long_chain_of_filters_is_one_where_clause() -> None:
    tax = scan("tax")
    node: Any = tax.node
    for i in range(300):
        node = Where(node, Apply("!=", (tax["staff"], number(i)), BOOLEAN))
    assert sql(query(node), DUCKDB).count("WHERE") == 1


def test_columns_of_two_scans_of_one_table_stay_apart() -> None:
    a, b = scan("tax"), scan("tax")
    on = Apply("==", (a["uscc"], b["uscc"]), BOOLEAN)
    node = JoinOn(a.node, b.node, JoinKind.INNER, on, a.node.columns + b.node.columns)
    plan = compile_query(query(node), FACTS)
    reads = [n for n in walk(plan.child) if isinstance(n, Read)]
    assert not set(reads[0].names) & set(reads[1].names)
    assert "u1 = u2" in sql(query(node), SPARK) or "u2 = u1" in sql(query(node), SPARK)


def test_private_tables_join_on_their_units_only() -> None:
    a, b = scan("tax"), scan("registration")
    on = Apply("==", (a["district"], b["district"]), BOOLEAN)
    node = JoinOn(a.node, b.node, JoinKind.INNER, on, a.node.columns + b.node.columns)
    with pytest.raises(Refusal, match="unit's own id") as refusal:
        compile_query(query(node), FACTS)
    assert refusal.value.code == "JOIN_FORM"


@pytest.mark.parametrize("function", ["exp", "ln", "log10", "pow", "bround", "rand", "reflect"])
def test_a_function_that_engines_do_not_share_is_refused_before_any_run(function: str) -> None:
    tax = scan("tax")
    args = (tax["amount"],) if function not in ("pow", "bround") else (tax["amount"], double(2.0))
    wanted = query(tax.node, sum_measure("m0", Apply(function, args, DOUBLE)))
    with pytest.raises(Refusal) as refusal:
        check_supported(wanted, FACTS)
    assert refusal.value.code == "UNSUPPORTED"
    check_supported(query(tax.node, sum_measure("m0", tax["amount"])), FACTS)


def test_order_and_limit_of_private_rows_are_refused() -> None:
    tax = scan("tax")
    with pytest.raises(Refusal):
        check_supported(query(SortBy(tax.node, ((tax["amount"], True, True),))), FACTS)


@pytest.mark.parametrize("pattern", ["a\\b", "\\", "a%\\"])
def test_a_like_pattern_with_a_loose_escape_is_refused(pattern: str) -> None:
    tax = scan("tax")
    node = Where(tax.node, Apply("like", (tax["note"], text(pattern)), BOOLEAN))
    with pytest.raises(Refusal, match="like"):
        check_supported(query(node), FACTS)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+", "(a|b)*", "(?i)a", "(?=a)", "(?<!a)b", "a*+", "\\1", "\\bword", "[[:alpha:]]",
        "[a&&b]", "\\p{L}", "a{1000}", "(ab){50}", "a**", "*a", "(", ")", "a$b", "a^b", "[z-a]",
        "\\x41", "\\", "[", "[a", "{2}", "a{2", ".*.*.*.*", "\\Qa\\E", "(?:a+){2}", "\0",
        "(?:(?:x{100}){10}){10}", "((((a{2}){10}){10}){10}){10}", ".{100}" * 20,
    ],
)  # fmt: skip
def test_a_pattern_outside_the_common_language_is_refused(pattern: str) -> None:
    tax = scan("tax")
    node = Where(tax.node, Apply("rlike", (tax["note"], text(pattern)), BOOLEAN))
    with pytest.raises(Refusal):
        check_supported(query(node), FACTS)


def test_an_integer_key_that_is_computed_is_cast_to_its_type() -> None:
    tax = scan("tax")
    key = Apply("+", (tax["staff"], number(1)), INTEGER)
    assert "TRY_CAST" in sql(query(tax.node, keys=(key,)), DUCKDB)


def test_a_literal_may_be_a_key() -> None:
    tax = scan("tax")
    assert "GROUP BY en" in sql(query(tax.node, keys=(Const("all", STRING),)), SPARK)
