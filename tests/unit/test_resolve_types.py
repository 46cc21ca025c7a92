"""Implicit conversions, literals, function arguments and hints: what goes in, what is refused."""

import datetime as dt
import math

import pytest

from privacy.dp import query as q
from privacy.dp.expr import Call, Cast, Expression, Literal, Name, SortKey
from privacy.dp.facts import ColumnFacts, TableFacts
from privacy.dp.functions import FUNCTIONS, SYNONYMS, is_injective
from privacy.dp.naming import literal_text
from privacy.dp.plan import Apply, Const, Expr, Project, Ref
from privacy.dp.resolve import NamedRelations, resolve
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal

TYPES = {
    "i": DataType.INTEGER,
    "l": DataType.LONG,
    "d": DataType.DOUBLE,
    "s": DataType.STRING,
    "b": DataType.BOOLEAN,
    "t": DataType.DATE,
}
CATALOGUE = NamedRelations(
    {"t": TableFacts("t", "v1", tuple(ColumnFacts(n, k) for n, k in TYPES.items()))}
)
TABLE = q.Table(("t",))
I, L, D, S, B, T = (Name((n,)) for n in TYPES)  # noqa: E741 - the columns
i, l, d, s, b, t = (Ref(number, kind) for number, kind in enumerate(TYPES.values()))  # noqa: E741
DAY = dt.date(2024, 2, 29)


def lit(value: Value) -> Literal:
    for python, kind in (
        (bool, DataType.BOOLEAN),
        (int, DataType.INTEGER),
        (float, DataType.DOUBLE),
        (str, DataType.STRING),
        (dt.date, DataType.DATE),
    ):
        if isinstance(value, python):
            return Literal(value, kind)
    return Literal(None, DataType.NULL)


def f(function: str, *args: Expression) -> Call:
    return Call(function, args)


def expr(expression: Expression) -> Expr:
    node = resolve(q.Select(TABLE, (expression,)), CATALOGUE).node
    assert isinstance(node, Project)
    return node.items[0][1]


def code(expression: Expression) -> str:
    with pytest.raises(Refusal) as refused:
        resolve(q.Select(TABLE, (expression,)), CATALOGUE)
    assert refused.value.zh
    return refused.value.code


def as_double(operand: Expr) -> Expr:
    return Apply("cast", (operand,), DataType.DOUBLE)


def as_long(operand: Expr) -> Expr:
    return Apply("cast", (operand,), DataType.LONG)


@pytest.mark.parametrize(
    ("expression", "args"),
    [
        (f("+", I, L), (as_long(i), l)),
        (f("+", I, D), (as_double(i), d)),
        (f("/", I, I), (as_double(i), as_double(i))),
        (f("==", L, D), (as_double(l), d)),
        (f("==", L, lit(1)), (l, Const(1, DataType.LONG))),
        (f("==", I, lit(1)), (i, Const(1, DataType.INTEGER))),
        (f("<", D, lit(1)), (d, Const(1.0, DataType.DOUBLE))),
        (f("==", I, lit(None)), (i, Const(None, DataType.INTEGER))),
        (f("==", T, lit("2024-02-29")), (t, Const(DAY, DataType.DATE))),
        (f("==", T, S), (t, Apply("cast", (s,), DataType.DATE))),
        (f("in", I, lit(1), lit(2)), (i, Const(1, DataType.INTEGER), Const(2, DataType.INTEGER))),
        (f("coalesce", I, lit(0.5)), (as_double(i), Const(0.5, DataType.DOUBLE))),
        (f("round", D), (d, Const(0, DataType.INTEGER))),
        (f("trunc", T, lit("MM")), (t, Const("month", DataType.STRING))),
        (f("replace", S, lit("a")), (s, Const("a", DataType.STRING), Const("", DataType.STRING))),
    ],
)
def test_arguments_meet_in_one_type_by_explicit_casts(
    expression: Call, args: tuple[Expr, ...]
) -> None:
    found = expr(expression)
    assert isinstance(found, Apply)
    assert found.args == args


def test_a_literal_is_converted_at_once_so_that_the_column_beside_it_stays_bare() -> None:
    assert expr(f("negative", lit(3))) == Const(-3, DataType.INTEGER)
    assert expr(Cast(lit(3), DataType.STRING)) == Const("3", DataType.STRING)
    assert expr(Cast(lit("2024-02-29"), DataType.DATE)) == Const(DAY, DataType.DATE)


@pytest.mark.parametrize(
    ("expression", "plain"),
    [
        (f("ifnull", I, L), f("coalesce", I, L)),
        (f("if", B, I, L), f("when", B, I, L)),
        (f("nvl2", I, L, L), f("when", f("isnotnull", I), L, L)),
        (f("between", I, lit(1), lit(2)), f("and", f(">=", I, lit(1)), f("<=", I, lit(2)))),
        (f("POWER", D, D), f("pow", D, D)),
        (f("int", S), Cast(S, DataType.INTEGER)),
        (f("to_date", S), Cast(S, DataType.DATE)),
        (f("positive", I), I),
    ],
)
def test_synonyms_reach_the_plan_under_one_name(expression: Call, plain: Expression) -> None:
    assert expr(expression) == expr(plain)


@pytest.mark.parametrize(
    "expression",
    [
        f("==", S, lit(1)),
        f("<", I, lit("10")),
        f("+", S, lit(1)),
        f("+", B, lit(1)),
        f("+", T, lit(1)),
        f("-", T, T),
        f("==", B, lit("true")),
        f("==", I, B),
        f("==", T, lit("2024-13-01")),
        f("in", S, lit(1)),
        f("and", I, B),
        f("not", S),
        f("greatest", I, S),
        f("when", B, I, B),
        f("when", I, I),
        f("coalesce", B, S),
        f("coalesce", D, S),
        f("concat", S, D),
        f("date_add", T, L),
        f("year", I),
        f("nullif", I, lit(1.5)),
        f("div", D, I),
        Cast(D, DataType.STRING),
        Cast(T, DataType.INTEGER),
        Cast(B, DataType.DATE),
    ],
)
def test_types_that_do_not_fit_are_refused_instead_of_guessed(expression: Expression) -> None:
    assert code(expression) == "TYPE_MISMATCH"


@pytest.mark.parametrize(
    "expression",
    [
        f("rand"),
        f("uuid"),
        f("monotonically_increasing_id"),
        f("cast", I),
        f("upper"),
        f("upper", S, S),
        f("like", S, S),
        f("rlike", S, lit("a" * 501)),
        f("repeat", S, I),
        f("repeat", S, lit(1001)),
        f("lpad", S, I),
        f("lpad", S, lit(5), S),
        f("round", D, I),
        f("concat_ws", S, S),
        f("to_date", S, lit("dd.MM.yyyy")),
        f("to_date", S, S),
        f("trunc", T, lit("century")),
        f("trunc", T, S),
    ],
)
def test_functions_and_arguments_off_the_allow_list_are_refused(expression: Call) -> None:
    assert code(expression) == "UNSUPPORTED"


def test_an_unknown_function_is_refused_with_the_nearest() -> None:
    with pytest.raises(Refusal, match=r"`uper` is not available here\. Nearest: upper"):
        expr(f("uper", S))


def test_a_filter_needs_a_boolean_and_a_null_condition_is_one() -> None:
    with pytest.raises(Refusal) as refused:
        resolve(q.Filter(TABLE, I), CATALOGUE)
    assert refused.value.code == "TYPE_MISMATCH"
    resolve(q.Filter(TABLE, lit(None)), CATALOGUE)


def test_every_synonym_leads_to_a_function_and_none_hides_one() -> None:
    assert set(SYNONYMS.values()) <= set(FUNCTIONS)
    assert not set(SYNONYMS) & set(FUNCTIONS)


def test_only_negation_and_widening_are_injective() -> None:
    assert is_injective(expr(f("negative", Cast(I, DataType.LONG))))
    for expression in (f("upper", S), f("abs", I), f("+", I, lit(1)), Cast(L, DataType.DOUBLE)):
        assert not is_injective(expr(expression))
    assert not is_injective(Const(1, DataType.INTEGER))


# Sources: Java's Double.toString, as Spark prints doubles in column names.
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (100.0, "100.0"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (-12345678.5, "-1.23456785E7"),
        (1.5e300, "1.5E300"),
        (math.inf, "Infinity"),
        (math.nan, "NaN"),
        (DAY, "DATE '2024-02-29'"),
        (True, "true"),
        (None, "NULL"),
    ],
)
def test_literals_are_named_as_java_prints_them(value: Value, text: str) -> None:
    assert literal_text(value) == text


# Epsilon hints.


def hinted(*parameters: Value, of: q.Query = TABLE, name: str = "epsilon") -> q.Query:
    return q.Hint(of, name, parameters)


def test_an_epsilon_hint_anywhere_in_the_question_counts() -> None:
    assert resolve(TABLE, CATALOGUE).epsilon is None
    assert resolve(q.Limit(hinted(0.5), 3), CATALOGUE).epsilon == 0.5
    assert resolve(q.Union(hinted(1), hinted(1.0)), CATALOGUE).epsilon == 1.0


def test_two_different_epsilons_are_refused() -> None:
    with pytest.raises(Refusal) as refused:
        resolve(hinted(0.5, of=hinted(0.6)), CATALOGUE)
    assert refused.value.code == "BAD_EPSILON"


@pytest.mark.parametrize(
    "parameters", [(), (0,), (-1.0,), (math.nan,), (math.inf,), (True,), ("1",), (None,), (1, 2)]
)
def test_an_epsilon_that_is_no_positive_finite_number_is_refused(
    parameters: tuple[Value, ...],
) -> None:
    with pytest.raises(Refusal) as refused:
        resolve(hinted(*parameters), CATALOGUE)
    assert refused.value.code == "BAD_EPSILON"


def test_other_hints_are_refused() -> None:
    with pytest.raises(Refusal) as refused:
        resolve(hinted(name="broadcast"), CATALOGUE)
    assert refused.value.code == "UNSUPPORTED"


# Operators.


def test_union_widens_types_and_refuses_what_has_no_common_one() -> None:
    longs = q.Union(q.Select(TABLE, (I,)), q.Select(TABLE, (L,)))
    assert resolve(longs, CATALOGUE).node.columns[0].type is DataType.LONG
    for left, right in ((I, B), (T, I), (D, S)):
        with pytest.raises(Refusal) as refused:
            resolve(q.Union(q.Select(TABLE, (left,)), q.Select(TABLE, (right,))), CATALOGUE)
        assert refused.value.code == "TYPE_MISMATCH"
    with pytest.raises(Refusal, match="not 2 and 1"):
        resolve(q.Union(q.Select(TABLE, (I, L)), q.Select(TABLE, (I,))), CATALOGUE)


def test_union_by_name_refuses_columns_that_only_one_side_has() -> None:
    left, right = q.Select(TABLE, (I, L)), q.Select(TABLE, (L, S))
    with pytest.raises(Refusal) as refused:
        resolve(q.Union(left, right, by_name=True), CATALOGUE)
    assert refused.value.code == "UNKNOWN_COLUMN"
    both = resolve(q.Union(left, right, by_name=True, allow_missing=True), CATALOGUE).node
    assert [c.name for c in both.columns] == ["i", "l", "s"]


def test_order_by_position_and_limits_are_checked() -> None:
    resolve(q.Sort(TABLE, (SortKey(lit(6)),)), CATALOGUE)
    for query in (q.Sort(TABLE, (SortKey(lit(7)),)), q.Limit(TABLE, -1), q.Limit(TABLE, 1, -1)):
        with pytest.raises(Refusal) as refused:
            resolve(query, CATALOGUE)
        assert refused.value.code == "UNSUPPORTED"
