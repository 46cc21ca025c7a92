"""Resolved questions have the column names, types and nullability of a real Spark."""

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everyone writes it

from privacy.dp import query as q
from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, SortKey, Star
from privacy.dp.facts import ColumnFacts, TableFacts
from privacy.dp.resolve import NamedRelations, resolve
from privacy.dp.types import DataType
from privacy.errors import Refusal
from sandbox.java import find_java_home

T = DataType

TABLES: dict[str, list[tuple[str, DataType, bool]]] = {
    "t": [
        ("i", T.INTEGER, True),
        ("l", T.LONG, True),
        ("d", T.DOUBLE, True),
        ("s", T.STRING, True),
        ("b", T.BOOLEAN, True),
        ("dt", T.DATE, True),
        ("NameX", T.STRING, True),
        ("n", T.INTEGER, False),
        ("m", T.STRING, False),
        ("day0", T.DATE, False),
        ("x0", T.DOUBLE, False),
    ],
    "u": [
        ("i", T.INTEGER, False),
        ("s", T.STRING, True),
        ("x", T.DOUBLE, True),
        ("Y", T.INTEGER, True),
    ],
}

CATALOGUE = NamedRelations(
    tables={
        name: TableFacts(name, "v1", tuple(ColumnFacts(c, kind, null) for c, kind, null in columns))
        for name, columns in TABLES.items()
    }
)

t, u = q.Table(("t",), plan_id=1), q.Table(("u",), plan_id=2)


def c(name: str, plan_id: int | None = None) -> Name:
    return Name(tuple(name.split(".")), plan_id)


def lit(value: Any) -> Literal:
    kinds: list[tuple[type, DataType]] = [
        (bool, T.BOOLEAN),
        (int, T.INTEGER),
        (float, T.DOUBLE),
        (str, T.STRING),
        (dt.date, T.DATE),
    ]
    kind = next((k for python, k in kinds if isinstance(value, python)), T.NULL)
    return Literal(value, T.LONG if kind is T.INTEGER and abs(value) >= 2**31 else kind)


def f(function: str, *args: Any, distinct: bool = False) -> Call:
    return Call(function, tuple(e(a) for a in args), distinct)


def e(value: Any) -> Expression:
    if isinstance(value, str):
        return c(value)
    if isinstance(value, Name | Star | Literal | Call | Cast | Alias):
        return value
    return lit(value)


def select(*items: Any, of: q.Query = t) -> q.Query:
    return q.Select(of, tuple(e(i) for i in items))


def group(keys: list[Any], *items: Any, of: q.Query = t, **more: Any) -> q.Query:
    return q.Aggregate(of, tuple(map(e, keys)), tuple(map(e, items)), **more)


def desc(operand: Any) -> SortKey:
    return SortKey(e(operand), ascending=False, nulls_first=False)


I, L, D, S, B, DT = c("i"), c("l"), c("d"), c("s"), c("b"), c("dt")  # noqa: E741 - the columns
COUNT = Call("count", (Literal(1, T.INTEGER),))
JAN = dt.date(2020, 1, 31)

# Spark's half is a piece of PySpark with t, u, F, c = F.col, lit = F.lit and JAN in scope.
EXPRESSIONS: list[tuple[Any, str]] = [
    (f("+", I, 1), "c('i') + 1"),
    (f("-", I, 1.5), "c('i') - 1.5"),
    (f("-", lit(1), I), "1 - c('i')"),
    (f("*", I, L), "c('i') * c('l')"),
    (f("/", I, 2), "c('i') / 2"),
    (f("%", I, 2), "c('i') % 2"),
    (f("/", "n", 2), "c('n') / 2"),
    (f("+", "n", 2), "c('n') + 2"),
    (f("%", "n", 2), "c('n') % 2"),
    (f("pmod", "n", L), "F.pmod('n', 'l')"),
    (f("div", "n", 2), "F.expr('n div 2')"),
    (f("negative", I), "-c('i')"),
    (f("abs", "n"), "F.abs('n')"),
    (f("==", I, 1), "c('i') == 1"),
    (f("!=", I, L), "c('i') != c('l')"),
    (f("<", "n", 2.5), "c('n') < 2.5"),
    (f(">=", D, I), "c('d') >= c('i')"),
    (f("<=>", I, L), "c('i').eqNullSafe(c('l'))"),
    (f("==", DT, lit("2020-01-31")), "c('dt') == '2020-01-31'"),
    (f("==", DT, S), "c('dt') == c('s')"),
    (f("<", DT, JAN), "c('dt') < JAN"),
    (f("==", I, None), "c('i') == lit(None)"),
    (f("and", B, f(">", I, 1)), "c('b') & (c('i') > 1)"),
    (f("or", B, f("not", B)), "c('b') | ~c('b')"),
    (f("isnull", I), "c('i').isNull()"),
    (f("isnotnull", I), "c('i').isNotNull()"),
    (f("isnan", I), "F.isnan('i')"),
    (f("in", I, 1, 2), "c('i').isin(1, 2)"),
    (f("in", "n", 1, 3000000000), "c('n').isin(1, 3000000000)"),
    (f("not", f("in", S, lit("x"))), "~c('s').isin('x')"),
    (f("in", DT, lit("2020-01-31")), "c('dt').isin('2020-01-31')"),
    (f("and", f(">=", I, 1), f("<=", I, 2)), "c('i').between(1, 2)"),
    (f("between", I, 1, 2), "F.expr('i between 1 and 2')"),
    (f("coalesce", I, L), "F.coalesce('i', 'l')"),
    (f("coalesce", I, 0), "F.coalesce('i', lit(0))"),
    (f("coalesce", I, D, 0), "F.coalesce('i', 'd', lit(0))"),
    (f("coalesce", I, S), "F.coalesce('i', 's')"),
    (f("coalesce", None, I), "F.coalesce(lit(None), 'i')"),
    (f("nullif", "n", 1), "F.nullif('n', lit(1))"),
    (f("ifnull", I, L), "F.ifnull('i', 'l')"),
    (f("nvl", I, "n"), "F.nvl('i', 'n')"),
    (f("nvl2", I, L, D), "F.nvl2('i', 'l', 'd')"),
    (f("if", B, I, L), "F.expr('if(b, i, l)')"),
    (f("when", B, 1, 2), "F.when(c('b'), 1).otherwise(2)"),
    (f("when", B, 1), "F.when(c('b'), 1)"),
    (f("when", B, 1, f(">", I, 1), 2.5), "F.when(c('b'), 1).when(c('i') > 1, 2.5)"),
    (f("when", B, "m", "s"), "F.when(c('b'), c('m')).otherwise(c('s'))"),
    (f("when", B, lit("a"), None), "F.when(c('b'), 'a').otherwise(None)"),
    (Cast(I, T.DOUBLE), "c('i').cast('double')"),
    (Cast(f("+", I, 1), T.DOUBLE), "(c('i') + 1).cast('double')"),
    (f("+", Cast(I, T.DOUBLE), 1), "c('i').cast('double') + 1"),
    (Cast(Cast(I, T.DOUBLE), T.LONG), "c('i').cast('double').cast('long')"),
    (Cast(c("m"), T.INTEGER), "c('m').cast('int')"),
    (Cast(c("m"), T.DATE), "c('m').cast('date')"),
    (Cast(c("n"), T.STRING), "c('n').cast('string')"),
    (Cast(c("n"), T.BOOLEAN), "c('n').cast('boolean')"),
    (Cast(B, T.INTEGER), "c('b').cast('int')"),
    (Cast(lit(1), T.STRING), "lit(1).cast('string')"),
    (Cast(lit("5"), T.INTEGER), "lit('5').cast('int')"),
    (f("int", S), "F.expr('int(s)')"),
    (f("round", D), "F.round('d')"),
    (f("round", I, -1), "F.round('i', -1)"),
    (f("round", "n"), "F.round('n')"),
    (f("bround", D, 1), "F.bround('d', 1)"),
    (f("floor", D), "F.floor('d')"),
    (f("floor", "n"), "F.floor('n')"),
    (f("ceil", D), "F.ceil('d')"),
    (f("ceiling", D), "F.ceiling('d')"),
    (f("sqrt", "n"), "F.sqrt('n')"),
    (f("exp", "x0"), "F.exp('x0')"),
    (f("ln", "x0"), "F.ln('x0')"),
    (f("log10", "x0"), "F.log10('x0')"),
    (f("power", "n", 2), "F.pow('n', 2)"),
    (f("pow", "n", 2), "F.expr('pow(n, 2)')"),
    (f("sign", "n"), "F.sign('n')"),
    (f("signum", D), "F.signum('d')"),
    (f("greatest", I, L), "F.greatest('i', 'l')"),
    (f("least", I, D, 1), "F.least('i', 'd', lit(1))"),
    (f("year", DT), "F.year('dt')"),
    (f("month", "day0"), "F.month('day0')"),
    (f("day", "day0"), "F.day('day0')"),
    (f("dayofmonth", DT), "F.dayofmonth('dt')"),
    (f("quarter", DT), "F.quarter('dt')"),
    (f("dayofweek", DT), "F.dayofweek('dt')"),
    (f("weekofyear", DT), "F.weekofyear('dt')"),
    (f("dayofyear", DT), "F.dayofyear('dt')"),
    (f("year", S), "F.year('s')"),
    (f("date_add", DT, 1), "F.date_add('dt', 1)"),
    (f("date_sub", DT, "n"), "F.date_sub('dt', 'n')"),
    (f("datediff", "day0", JAN), "F.datediff('day0', lit(JAN))"),
    (f("datediff", DT, lit("2020-01-31")), "F.datediff('dt', lit('2020-01-31'))"),
    (f("add_months", DT, 2), "F.add_months('dt', 2)"),
    (f("trunc", "day0", lit("MM")), "F.trunc('day0', 'MM')"),
    (f("last_day", "day0"), "F.last_day('day0')"),
    (f("to_date", "m"), "F.to_date('m')"),
    (f("to_date", "m", lit("yyyy-MM-dd")), "F.to_date('m', 'yyyy-MM-dd')"),
    (f("make_date", "n", "n", "n"), "F.make_date('n', 'n', 'n')"),
    (f("upper", "NAMEX"), "F.upper('NAMEX')"),
    (f("lower", f("trim", "m")), "F.lower(F.trim('m'))"),
    (f("upper", "n"), "F.upper('n')"),
    (f("length", "m"), "F.length('m')"),
    (f("char_length", S), "F.char_length('s')"),
    (f("ltrim", S), "F.ltrim('s')"),
    (f("rtrim", S), "F.rtrim('s')"),
    (f("substring", "m", 1, 2), "F.substring('m', 1, 2)"),
    (f("substr", S, 1, 2), "c('s').substr(1, 2)"),
    (f("left", "m", 2), "F.left('m', lit(2))"),
    (f("right", S, 2), "F.right('s', lit(2))"),
    (f("concat", "m", "n"), "F.concat('m', 'n')"),
    (f("concat_ws", lit("-"), S, "m"), "F.concat_ws('-', 's', 'm')"),
    (f("startswith", "m", lit("x")), "c('m').startswith('x')"),
    (f("endswith", S, lit("x")), "c('s').endswith('x')"),
    (f("contains", S, lit("x")), "c('s').contains('x')"),
    (f("like", "m", lit("a%")), "c('m').like('a%')"),
    (f("rlike", S, lit("a.*")), "c('s').rlike('a.*')"),
    (f("regexp_like", S, lit("a")), "F.regexp_like('s', lit('a'))"),
    (f("replace", S, lit("a"), lit("b")), "F.replace('s', lit('a'), lit('b'))"),
    (f("replace", "m", lit("a")), "F.replace('m', lit('a'))"),
    (f("lpad", "m", 5, lit("0")), "F.lpad('m', 5, '0')"),
    (f("instr", S, lit("a")), "F.instr('s', 'a')"),
    (f("reverse", S), "F.reverse('s')"),
    (f("repeat", "m", 3), "F.repeat('m', 3)"),
    *((lit(v), f"lit({v!r})") for v in (1, -1, 1.5, 1e10, 1e-5, 100.0, 12345678.0, 0.001, True)),
    (lit("x"), "lit('x')"),
    (lit(None), "lit(None)"),
    (lit(JAN), "lit(JAN)"),
    (lit(3000000000), "lit(3000000000)"),
    (c("NAMEX"), "c('NAMEX')"),
    (c("t.I"), "c('t.I')"),
    (Alias(I, "q"), "c('i').alias('q')"),
    (Alias(Cast(I, T.DOUBLE), "i"), "c('i').cast('double').alias('i')"),
]

AGGREGATES: list[tuple[Any, str]] = [
    (f("count", Star()), "F.count('*')"),
    (COUNT, "F.count(lit(1))"),
    (f("count", I), "F.count('i')"),
    (f("count", I, S), "F.expr('count(i, s)')"),
    (f("count", I, distinct=True), "F.countDistinct('i')"),
    (f("count", I, S, distinct=True), "F.countDistinct('i', 's')"),
    (f("count_if", B), "F.count_if('b')"),
    (f("sum", I), "F.sum('i')"),
    (f("sum", D), "F.sum('d')"),
    (f("sum", f("+", I, 1)), "F.sum(c('i') + 1)"),
    (f("sum", f("when", B, D)), "F.sum(F.when(c('b'), c('d')))"),
    (f("avg", I), "F.avg('i')"),
    (f("mean", I), "F.expr('mean(i)')"),
    (f("median", I), "F.median('i')"),
    (f("percentile", D, 0.5), "F.percentile('d', 0.5)"),
    (f("percentile_approx", D, 0.5), "F.percentile_approx('d', 0.5)"),
    (f("percentile_approx", I, 0.25), "F.percentile_approx('i', 0.25)"),
    (f("approx_percentile", L, 0.5, 100), "F.approx_percentile('l', 0.5, 100)"),
    (f("min", I), "F.min('i')"),
    (f("max", S), "F.max('s')"),
    (f("variance", I), "F.variance('i')"),
    (f("var_samp", D), "F.var_samp('d')"),
    (f("var_pop", I), "F.var_pop('i')"),
    (f("stddev", I), "F.stddev('i')"),
    (f("std", I), "F.std('i')"),
    (f("stddev_pop", I), "F.stddev_pop('i')"),
    (f("/", f("sum", I), f("count", Star())), "F.sum('i') / F.count('*')"),
    (f("round", f("avg", D), 2), "F.round(F.avg('d'), 2)"),
    (Cast(f("avg", I), T.INTEGER), "F.avg('i').cast('int')"),
    (Alias(f("+", f("sum", I), 1), "z"), "(F.sum('i') + 1).alias('z')"),
    (f("*", f("+", c("n"), 1), 2), "(c('n') + 1) * 2"),
    (c("N"), "c('N')"),
]

ab = q.Join(
    q.SubqueryAlias(q.Table(("t",)), "a"),
    q.SubqueryAlias(q.Table(("u",)), "z"),
    q.JoinKind.INNER,
    f("==", c("a.i"), c("z.i")),
)
AB = "t.alias('a').join(u.alias('z'), c('a.i') == c('z.i'))"


def using(kind: str, *names: str) -> q.Join:
    return q.Join(t, u, q.JoinKind(kind), using=names)


KINDS = ("inner", "left", "right", "full", "semi", "anti")
by_s = group(["s"], Alias(f("sum", I), "k"))
BY_S = "t.groupBy('s').agg(F.sum('i').alias('k'))"
pivot = {"pivot_column": c("NameX"), "pivot_values": (lit("x"), lit("y"))}

RELATIONS: list[tuple[q.Query, str]] = [
    (select(Star(), Alias(I, "I2")), "t.select('*', c('i').alias('I2'))"),
    (select("i", "I", "i"), "t.select('i', 'I', 'i')"),
    (select("i", of=select("i", "i")), "t.select('i', 'i').select('i')"),
    (select(Star(("a",)), of=q.SubqueryAlias(t, "a")), "t.alias('a').select('a.*')"),
    (q.Filter(select("i"), f(">", L, 1)), "t.select('i').filter('l > 1')"),
    (q.Filter(select("s"), f(">", c("i", 1), 1)), "t.select('s').filter(t.i > 1)"),
    (q.Sort(select("i"), (desc("l"),)), "t.select('i').sort(F.desc('l'))"),
    (
        q.Filter(select(Alias(f("+", I, 1), "i")), f("and", f(">", L, 1), f(">", I, 2))),
        "t.select((c('i') + 1).alias('i')).filter('l > 1 and i > 2')",
    ),
    (q.Drop(t, (c("I"), c("zzz"))), "t.drop('I', 'zzz')"),
    (q.Drop(t, (c("i", 1),)), "t.drop(t.i)"),
    (q.Filter(q.Drop(t, (I,)), f(">", c("i", 1), 1)), "t.drop('i').filter(t.i > 1)"),
    (q.WithColumns(t, (("I", f("+", I, 1)),)), "t.withColumn('I', c('i') + 1)"),
    (q.WithColumns(t, (("i", L), ("L", I))), "t.withColumns({'i': c('l'), 'L': c('i')})"),
    (q.WithColumns(t, (("new", f("upper", S)),)), "t.withColumn('new', F.upper('s'))"),
    (q.Rename(t, (("I", "zz"), ("no", "w"))), "t.withColumnsRenamed({'I': 'zz', 'no': 'w'})"),
    (q.Rename(t, (("i", "l"), ("l", "q"))), "t.withColumnsRenamed({'i': 'l', 'l': 'q'})"),
    (q.ToNames(select("i", "s"), ("a", "b")), "t.select('i', 's').toDF('a', 'b')"),
    (q.Distinct(select("I", "s")), "t.select('I', 's').distinct()"),
    (q.Distinct(t, ("I", "s")), "t.dropDuplicates(['I', 's'])"),
    (q.Limit(t, 3, 1), "t.limit(3)"),
    (q.Join(t, u, q.JoinKind.INNER, f("==", c("i", 1), c("i", 2))), "t.join(u, t.i == u.i)"),
    (q.Join(t, u, q.JoinKind.LEFT, f("==", c("i", 1), c("i", 2))), "t.join(u, t.i == u.i, 'left')"),
    (q.Join(t, u, q.JoinKind.FULL, f("==", c("i", 1), c("i", 2))), "t.join(u, t.i == u.i, 'full')"),
    (q.Join(t, u, q.JoinKind.ANTI, f(">", c("l"), c("x"))), "t.join(u, c('l') > c('x'), 'anti')"),
    (q.Join(t, u, q.JoinKind.CROSS), "t.crossJoin(u)"),
    *((using(k, "i"), f"t.join(u, 'i', '{k}')") for k in KINDS),
    (using("inner", "S", "I"), "t.join(u, ['S', 'I'])"),
    (using("right", "i", "s"), "t.join(u, ['i', 's'], 'right')"),
    (
        select(c("i", 1), c("i", 2), "i", of=using("full", "i")),
        "t.join(u, 'i', 'full').select(t.i, u.i, 'i')",
    ),
    (select(c("i", 2), "x", of=using("left", "i")), "t.join(u, 'i', 'left').select(u.i, 'x')"),
    (q.Filter(using("full", "i"), f(">", c("i", 2), 1)), "t.join(u, 'i', 'full').filter(u.i > 1)"),
    (
        select(Star(("z",)), of=q.Join(ab.left, ab.right, q.JoinKind.FULL, using=("i",))),
        "t.alias('a').join(u.alias('z'), 'i', 'full').select('z.*')",
    ),
    (select("a.i", "z.x", "a.s", of=ab), AB + ".select('a.i', 'z.x', 'a.s')"),
    (
        q.Union(select("i", "s"), select("x", "s", of=u)),
        "t.select('i', 's').union(u.select('x', 's'))",
    ),
    (q.Union(select("n"), select("l")), "t.select('n').union(t.select('l'))"),
    (q.Union(select("i"), select(lit(None))), "t.select('i').union(t.select(lit(None)))"),
    (q.Union(select("dt"), select("s")), "t.select('dt').union(t.select('s'))"),
    (
        q.Union(select("i", "s"), select("s", Alias(c("x"), "I"), of=u), by_name=True),
        "t.select('i', 's').unionByName(u.select('s', c('x').alias('I')))",
    ),
    (
        q.Union(select("i", "s"), select("s", "x", of=u), by_name=True, allow_missing=True),
        "t.select('i', 's').unionByName(u.select('s', 'x'), allowMissingColumns=True)",
    ),
    (group(["s"], Alias(COUNT, "count")), "t.groupBy('s').count()"),
    (group([f("year", DT)], f("sum", D)), "t.groupBy(F.year('dt')).agg(F.sum('d'))"),
    (group([Alias(I, "k"), S], COUNT), "t.groupBy(c('i').alias('k'), 's').agg(F.count('*'))"),
    (group([f("+", I, 1)], f("*", f("+", I, 1), 2)), "t.groupBy(c('i') + 1).agg((c('i') + 1) * 2)"),
    (group([], f("sum", I), f("avg", D)), "t.agg(F.sum('i'), F.avg('d'))"),
    (group([lit(1)], Alias(COUNT, "count")), "t.groupBy(lit(1)).count()"),
    (select(f("sum", I), lit(1)), "t.select(F.sum('i'), lit(1))"),
    (
        q.Filter(group(["s"], Alias(COUNT, "count")), f(">", c("count"), 3)),
        "t.groupBy('s').count().filter('count > 3')",
    ),
    (q.Filter(by_s, f("==", c("s", 1), lit("x"))), BY_S + ".filter(t.s == 'x')"),
    (q.Sort(q.Drop(by_s, (S,)), (desc(c("s", 1)),)), BY_S + ".drop('s').sort(t.s)"),
    (q.Filter(by_s, f(">", f("sum", I), 1)), BY_S + ".filter(F.sum('i') > 1)"),
    (q.Sort(by_s, (desc("k"), desc(f("sum", L)))), BY_S + ".sort(F.desc('k'), F.sum('l'))"),
    (
        q.Sort(group([f("year", DT)], COUNT), (desc(f("year", DT)),)),
        "t.groupBy(F.year('dt')).agg(F.count('*')).sort(F.year('dt'))",
    ),
    (
        q.Aggregate(t, (c("y"),), (Alias(f("year", DT), "y"), COUNT), keys_in_output=False),
        "spark.sql('select year(dt) as y, count(*) from t group by y')",
    ),
    (
        q.Aggregate(t, (lit(1),), (S, f("sum", I)), keys_in_output=False),
        "spark.sql('select s, sum(i) from t group by 1')",
    ),
    (
        q.Sort(q.Aggregate(t, (S,), (f("sum", I),), keys_in_output=False), (desc("s"),)),
        "spark.sql('select sum(i) from t group by s order by s')",
    ),
    (group(["m", "n"], f("sum", I), grouping=q.Grouping.ROLLUP), "t.rollup('m', 'n').sum('i')"),
    (
        group(["m", "n"], Alias(COUNT, "count"), grouping=q.Grouping.CUBE),
        "t.cube('m', 'n').count()",
    ),
    (group(["s"], f("sum", I), **pivot), "t.groupBy('s').pivot('NameX', ['x', 'y']).sum('i')"),
    (
        group(["s"], f("sum", I), Alias(f("avg", D), "w"), **pivot),
        "t.groupBy('s').pivot('NameX', ['x', 'y']).agg(F.sum('i'), F.avg('d').alias('w'))",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def scope(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A local Spark whose `t` and `u` are empty tables of the same schema."""
    folder: Path = tmp_path_factory.mktemp("spark")
    os.environ.setdefault("JAVA_HOME", str(find_java_home(folder)))
    settings = {
        "spark.sql.ansi.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.warehouse.dir": str(folder),
    }
    builder = SparkSession.builder.master("local[1]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    frames = {}
    for name, columns in TABLES.items():
        text = ", ".join(f"{c} {k.value}{'' if null else ' not null'}" for c, k, null in columns)
        frames[name] = spark.createDataFrame([], text)
        frames[name].createOrReplaceTempView(name)
        frames[name] = spark.table(name)
    yield {"F": F, "c": F.col, "lit": F.lit, "spark": spark, "JAN": JAN, **frames}
    spark.stop()


Schema = list[tuple[str, str, bool]]


def ours(query: q.Query) -> Schema:
    return [(x.name, x.type.value, x.nullable) for x in resolve(query, CATALOGUE).node.columns]


def sparks(code: str, scope: dict[str, Any]) -> Schema:
    frame = eval(code, scope)  # noqa: S307 - the table of cases above
    return [(x.name, x.dataType.simpleString(), x.nullable) for x in frame.schema]


def check(cases: list[tuple[q.Query, str]], scope: dict[str, Any]) -> None:
    found = []
    for query, code in cases:
        try:
            mine: Schema | str = ours(query)
        except Refusal as refusal:
            mine = f"refused: {refusal}"
        theirs = sparks(code, scope)
        if mine != theirs:
            found.append(f"{code}\n  ours  {mine}\n  spark {theirs}")
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_expressions_have_sparks_names_types_and_nullability(scope: dict[str, Any]) -> None:
    check([(select(x), f"t.select({code})") for x, code in EXPRESSIONS], scope)


def test_aggregates_have_sparks_names_types_and_nullability(scope: dict[str, Any]) -> None:
    check([(group(["n"], x), f"t.groupBy('n').agg({code})") for x, code in AGGREGATES], scope)


def test_operators_have_sparks_columns(scope: dict[str, Any]) -> None:
    check(RELATIONS, scope)
