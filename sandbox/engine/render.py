"""The physical plan as SQL text, in DuckDB's and in Spark's dialect.

No client text is ever parsed as SQL: identifiers are ours or a contract's, checked against one
narrow pattern; strings are written as hexadecimal bytes, numbers and dates by their type.
"""

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

from privacy.dp.patterns import like_for_java
from privacy.dp.query import JoinKind
from privacy.dp.types import LONG_MIN, DataType, Value
from privacy.errors import Refusal
from sandbox.engine.conversions import SQL_TYPES
from sandbox.engine.functions import like_pattern, render_call, rlike_pattern
from sandbox.engine.physical import (
    COHORT_SOURCE,
    RANK_SOURCE,
    UNIT_SOURCE,
    Buckets,
    Call,
    Cells,
    Clamped,
    CohortIn,
    Col,
    Compute,
    CountRows,
    CountUnits,
    First,
    Fixed,
    Keep,
    Lit,
    Meet,
    PerUnit,
    RankAtMost,
    Read,
    Relation,
    Rows,
    Scalar,
    Shifted,
    Squared,
    Stack,
    SumWhole,
    Total,
    UnitAggregate,
    UnitCount,
    UnitDistinct,
    UnitExtreme,
    UnitRows,
    UnitSum,
    Unscaled,
    Whole,
)

DUCKDB, SPARK = "duckdb", "spark"

_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)

_DOUBLE_LIMIT = 9_000_000_000_000_000
"""Doubles are clamped to ± this before they become integers: all smaller whole ones are exact."""

_LONG_LIMIT = 9 * 10**18

_JOINS: Mapping[str, Mapping[JoinKind, str]] = {
    DUCKDB: {
        JoinKind.INNER: "INNER JOIN",
        JoinKind.LEFT: "LEFT JOIN",
        JoinKind.SEMI: "SEMI JOIN",
        JoinKind.ANTI: "ANTI JOIN",
    },
    SPARK: {
        JoinKind.INNER: "INNER JOIN",
        JoinKind.LEFT: "LEFT JOIN",
        JoinKind.SEMI: "LEFT SEMI JOIN",
        JoinKind.ANTI: "LEFT ANTI JOIN",
    },
}


@dataclass(frozen=True, slots=True)
class Statements:
    """The SQL of one question."""

    cells: str | None
    """Keys and totals; None when there are only histograms: their rows name the groups."""
    histograms: tuple[tuple[str, str], ...]
    """Measure and SQL: keys, `bucket` (null: a row without a value), `n`."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All statements."""
        cells = () if self.cells is None else (self.cells,)
        return (*(text for _, text in self.histograms), *cells)


class Renderer:
    """Writes one engine's dialect."""

    def __init__(self, engine: str, view: Callable[[str], str], *, public: bool = False) -> None:
        """Keep the dialect; `view` names the engine's view of a table or of rows by digest.

        With `public`, functions are allowed that only one engine has to compute.
        """
        self._public = public
        self._engine = engine
        self._view = view
        self._numbers = count(1)

    def statements(self, cells: Cells) -> Statements:
        """Return the SQL of a whole question."""
        body = self.relation(cells.child)
        groups = [self._cell_key(e) for _, e in cells.keys]
        keys = [f"{text} AS {n}" for (n, _), text in zip(cells.keys, groups, strict=True)]
        histograms = tuple(
            (name, self._histogram(body, keys, groups, buckets))
            for name, buckets in cells.histograms
        )
        if not cells.totals and histograms:
            return Statements(None, histograms)
        totals = [f"{self._total(t, cells.unit)} AS {n}" for n, t in cells.totals]
        listed = ", ".join(keys + totals) or "COUNT(*) AS n"
        return Statements(f"SELECT {listed} FROM ({body}) AS t{_group_by(groups)}", histograms)

    def _cell_key(self, key: Scalar) -> str:
        """Return a key of an answer, null where a row's value did not fit its type.

        The analysis proves that none does not; if it erred, no row may make the answer fail.
        """
        text = self.scalar(key)
        return f"TRY_CAST({text} AS INTEGER)" if key.type is DataType.INTEGER else text

    def _histogram(self, body: str, keys: list[str], groups: list[str], buckets: Buckets) -> str:
        # The clamp makes every bucket valid; the outer bounds guard against a wrong `count`.
        chain = f"({self._chain(buckets.value)} - {self.whole_number(buckets.low)})"
        divided = "//" if self._engine == DUCKDB else "div"
        bucket = (
            f"LEAST(GREATEST({chain} {divided} {self.whole_number(buckets.step)}, "
            f"{self.whole_number(0)}), {self.whole_number(buckets.count - 1)})"
        )
        present = self._present(buckets.value, buckets.condition)
        named = ", ".join([*keys, f"CASE WHEN {present} THEN {bucket} END AS bucket"])
        names = [k.rpartition(" AS ")[2] for k in keys]
        listed = ", ".join([*names, "bucket", "COUNT(*) AS n"])
        del groups
        inner = f"SELECT {named} FROM ({body}) AS t"
        return f"SELECT {listed} FROM ({inner}) AS b{_group_by([*names, 'bucket'])}"

    def _total(self, total: Total, unit: str) -> str:
        match total:
            case CountRows():
                return self._count(total.condition)
            case CountUnits(condition=None):
                return f"COUNT(DISTINCT {unit})"
            case CountUnits():
                return (
                    f"COUNT(DISTINCT CASE WHEN {self._condition(total.condition)} THEN {unit} END)"
                )
            case SumWhole():
                value = self.whole(total.value, total.condition)
                return f"COALESCE(CAST(SUM({value}) AS BIGINT), {self.whole_number(0)})"

    def _count(self, condition: Scalar | None) -> str:
        if condition is None:
            return "COUNT(*)"
        return f"COUNT(CASE WHEN {self.scalar(condition)} THEN 1 END)"

    def _condition(self, condition: Scalar | None) -> str:
        return "TRUE" if condition is None else self.scalar(condition)

    def whole(self, whole: Whole, condition: Scalar | None = None) -> str:
        """Return a clamped integer, null where the value is or the condition is not true."""
        return f"CASE WHEN {self._present(whole, condition)} THEN {self._chain(whole)} END"

    def _present(self, whole: Whole, condition: Scalar | None) -> str:
        base = whole
        while not isinstance(base, Fixed):
            base = base.child
        value = base.value
        if isinstance(value, Unscaled):
            tests = [f"{value.stored.name} IS NOT NULL"]
        else:
            text = self.scalar(value)
            tests = [f"{text} IS NOT NULL"]
            if value.type is DataType.DOUBLE:
                tests.append(f"NOT isnan({text})")
        if condition is not None:
            tests.insert(0, self.scalar(condition))
        return " AND ".join(tests)

    def _chain(self, whole: Whole) -> str:
        match whole:
            case Fixed():
                return self._fixed(whole)
            case Clamped():
                inner, low, high = self._chain(whole.child), whole.low, whole.high
                return (
                    f"LEAST(GREATEST({inner}, {self.whole_number(low)}), {self.whole_number(high)})"
                )
            case Shifted():
                return f"({self._chain(whole.child)} - {self.whole_number(whole.offset)})"
            case Squared():
                inner = self._chain(whole.child)
                return f"({inner} * {inner})"

    def _fixed(self, fixed: Fixed) -> str:
        value, factor = fixed.value, 10**fixed.scale
        if isinstance(value, Unscaled) and value.scale == fixed.scale:
            return value.stored.name
        text = self.scalar(value)
        if value.type is DataType.DOUBLE:
            limit = self.literal(float(_DOUBLE_LIMIT), DataType.DOUBLE)
            scaled = f"{text} * {self.literal(float(factor), DataType.DOUBLE)}"
            clamped = f"LEAST(GREATEST({scaled}, -{limit}), {limit})"
            return f"CAST(FLOOR({clamped} + {self.literal(0.5, DataType.DOUBLE)}) AS BIGINT)"
        wide = f"CAST({text} AS BIGINT)"
        if factor == 1:
            return wide
        bound = _LONG_LIMIT // factor
        low, high = self.whole_number(-bound), self.whole_number(bound)
        return f"(LEAST(GREATEST({wide}, {low}), {high}) * {self.whole_number(factor)})"

    def relation(self, relation: Relation) -> str:
        """Return a SELECT statement for the relation."""
        match relation:
            case Read():
                view = self._view(relation.table)
                listed = [f"{self.quoted(o.source)} AS {o.name}" for o in relation.outputs]
                if relation.hidden is not None:
                    h = relation.hidden
                    hidden = (
                        (UNIT_SOURCE, h.unit),
                        (RANK_SOURCE, h.rank),
                        (COHORT_SOURCE, h.cohort),
                    )
                    listed = [f"{self.quoted(s)} AS {n}" for s, n in hidden] + listed
                return f"SELECT {', '.join(listed)} FROM {view}"
            case Rows():
                view = self._view(relation.digest)
                listed = [f"{self.quoted(o.source)} AS {o.name}" for o in relation.outputs]
                return f"SELECT {', '.join(listed)} FROM {view}"
            case Keep() | RankAtMost() | CohortIn():
                return self._filtered(relation)
            case Compute():
                listed = [
                    *relation.carried,
                    *(f"{self.scalar(e)} AS {n}" for n, e in relation.items),
                ]
                return f"SELECT {', '.join(listed)} FROM {self._below(relation.child)}"
            case Meet():
                return self._meet(relation)
            case Stack():
                return self._stack(relation)
            case First():
                return self._ranked(relation, (relation.unit, *relation.by), relation.order, 1)
            case UnitRows():
                return self._ranked(relation, (relation.unit,), relation.order, relation.limit)
            case PerUnit():
                keys = [(n, self._group_key(e)) for n, e in relation.keys]
                listed = [relation.unit, *(f"{text} AS {n}" for n, text in keys)]
                listed += [f"{self._inner(a)} AS {n}" for n, a in relation.aggregates]
                groups = [relation.unit, *(text for _, text in keys)]
                below = self._below(relation.child)
                return f"SELECT {', '.join(listed)} FROM {below}{_group_by(groups)}"

    def _below(self, relation: Relation) -> str:
        return f"({self.relation(relation)}) AS t"

    def _filtered(self, relation: Relation) -> str:
        tests: list[str] = []
        node = relation
        while isinstance(node, Keep | RankAtMost | CohortIn):
            match node:
                case Keep():
                    tests.append(self.scalar(node.predicate))
                case RankAtMost():
                    tests.append(f"{node.rank} <= {int(node.limit)}")
                case CohortIn():
                    # No cohort at all is a legal restriction: no row then.
                    listed = ", ".join(str(int(c)) for c in node.cohorts)
                    tests.append(f"{node.cohort} IN ({listed})" if listed else "FALSE")
            node = node.child
        return f"SELECT * FROM {self._below(node)} WHERE {' AND '.join(reversed(tests))}"

    def _meet(self, meet: Meet) -> str:
        tests = [f"{meet.units[0]} = {meet.units[1]}"] if meet.units is not None else []
        if meet.condition is not None:
            tests.append(self.scalar(meet.condition))
        join = _JOINS[self._engine][meet.kind]
        left, right = self.relation(meet.left), self.relation(meet.right)
        return (
            f"SELECT * FROM ({left}) AS l {join} ({right}) AS r ON {' AND '.join(tests) or 'TRUE'}"
        )

    def _stack(self, stack: Stack) -> str:
        branches = []
        for child, takes in zip(stack.children, stack.takes, strict=True):
            listed = [
                f"{t if isinstance(t, str) else self.scalar(t)} AS {n}"
                for t, n in zip(takes, stack.names, strict=True)
            ]
            branches.append(f"SELECT {', '.join(listed)} FROM {self._below(child)}")
        return " UNION ALL ".join(branches)

    def _ranked(
        self,
        relation: First | UnitRows,
        within: tuple[str, ...],
        order: tuple[str, ...],
        limit: int,
    ) -> str:
        place = f"w{next(self._numbers)}"
        # Without an order all rows of a partition agree in what is still read: any will do.
        ordered = ", ".join(f"{n} ASC NULLS FIRST" for n in order) or within[0]
        window = f"ROW_NUMBER() OVER (PARTITION BY {', '.join(within)} ORDER BY {ordered})"
        inner = f"SELECT *, {window} AS {place} FROM {self._below(relation.child)}"
        return f"SELECT * FROM ({inner}) AS t WHERE {place} <= {int(limit)}"

    def _inner(self, aggregate: UnitAggregate) -> str:
        match aggregate:
            case UnitCount():
                return self._count(aggregate.condition)
            case UnitDistinct():
                return self._distinct(aggregate.values)
            case UnitSum():
                value = self.whole(aggregate.value, aggregate.condition)
                total = f"CAST(SUM({value}) AS BIGINT)"
                factor = self.literal(float(10**aggregate.scale), DataType.DOUBLE)
                if aggregate.mean:
                    return f"(CAST({total} AS DOUBLE) / CAST(COUNT({value}) AS DOUBLE) / {factor})"
                if aggregate.type.is_integral:
                    return total
                return f"(CAST({total} AS DOUBLE) / {factor})"
            case UnitExtreme():
                return f"{'MAX' if aggregate.largest else 'MIN'}({self.scalar(aggregate.value)})"

    def _distinct(self, values: tuple[Scalar, ...]) -> str:
        texts = [self._group_key(v) for v in values]
        if len(texts) == 1 or self._engine == SPARK:
            return f"COUNT(DISTINCT {', '.join(texts)})"
        present = " AND ".join(f"{t} IS NOT NULL" for t in texts)
        return f"COUNT(DISTINCT CASE WHEN {present} THEN ROW({', '.join(texts)}) END)"

    def _group_key(self, expr: Scalar) -> str:
        text = self.scalar(expr)
        if expr.type is DataType.DOUBLE and not isinstance(expr, Unscaled):
            return f"({text} + CAST(0 AS DOUBLE))"  # -0.0 and 0.0 are one group.
        return text

    def scalar(self, expr: Scalar) -> str:
        """Return the text of an expression."""
        match expr:
            case Col():
                return expr.name
            case Unscaled():
                plain = f"CAST({expr.stored.name} AS DOUBLE)"
                if expr.scale == 0:
                    return plain
                return f"({plain} / {self.literal(float(10**expr.scale), DataType.DOUBLE)})"
            case Lit():
                return self.literal(expr.value, expr.type)
            case Call(function="like" | "rlike"):
                pattern = self.literal(self._pattern(expr), DataType.STRING)
                return render_call(expr, (self.scalar(expr.args[0]), pattern), self._engine)
            case Call():
                args = tuple(self.scalar(a) for a in expr.args)
                return render_call(expr, args, self._engine, public=self._public)

    def _pattern(self, call: Call) -> str:
        if call.function == "rlike":
            return rlike_pattern(call)
        pattern = like_pattern(call)
        return like_for_java(pattern) if self._engine == SPARK else pattern

    def literal(self, value: Value, kind: DataType) -> str:
        """Return a typed constant; text is never quoted but decoded from its bytes."""
        match value:
            case None:
                return f"CAST(NULL AS {SQL_TYPES[kind]})"
            case bool():
                return "TRUE" if value else "FALSE"
            case int() if kind is DataType.DOUBLE:
                return self.literal(float(value), kind)
            case int() if kind is DataType.INTEGER:
                return f"CAST({value} AS INTEGER)" if value < 0 else str(value)
            case int():
                return self.whole_number(value)
            case float():
                if math.isnan(value):
                    return "CAST('NaN' AS DOUBLE)"
                text = repr(value) if math.isfinite(value) else ("-" * (value < 0) + "Infinity")
                return f"CAST('{text}' AS DOUBLE)"
            case dt.date():
                return f"DATE '{value.isoformat()}'"
            case str():
                digits = _bytes(value).hex()
                if self._engine == DUCKDB:
                    return f"decode(from_hex('{digits}'))"
                return f"CAST(X'{digits}' AS STRING)"

    def whole_number(self, value: int) -> str:
        """Return a 64-bit constant."""
        if value == LONG_MIN or self._engine == DUCKDB:
            return f"CAST('{value}' AS BIGINT)"
        return f"({value}L)" if value < 0 else f"{value}L"

    def quoted(self, name: str) -> str:
        """Return a stored column's name as an identifier."""
        if _NAME.fullmatch(name) is None:
            raise ValueError(
                "a stored column is named by lower-case letters, digits and underscores"
            )
        return f"`{name}`" if self._engine == SPARK else f'"{name}"'


def _group_by(groups: list[str]) -> str:
    return f" GROUP BY {', '.join(groups)}" if groups else ""


def _bytes(value: str) -> bytes:
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        raise Refusal(
            "UNSUPPORTED",
            "A text literal holds half of a surrogate pair, which is no character.",
            "文本字面量含有不成对的代理码位，不是合法字符。",
        ) from None
