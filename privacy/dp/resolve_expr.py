"""Expressions with names looked up and types known; aggregate calls are handed to the caller.

Deep expressions are resolved without recursion on Python's stack (`iterate`).
"""

from collections.abc import Callable

from privacy.dp import functions
from privacy.dp.coercion import cast
from privacy.dp.expr import Alias, Call, Cast, Expression, Literal, Name, Star
from privacy.dp.iterate import Steps, drive
from privacy.dp.plan import Apply, Const, Expr, Ref
from privacy.dp.scope import Field, Relation, as_ref, expand, find
from privacy.dp.types import DataType
from privacy.errors import Refusal

MAX_EXPRESSION_SIZE = 20_000
"""Literals, columns and calls in one expression."""

AGGREGATES = frozenset(
    {
        "count",
        "count_if",
        "sum",
        "avg",
        "mean",
        "median",
        "percentile",
        "percentile_approx",
        "approx_percentile",
        "min",
        "max",
        "var_samp",
        "variance",
        "var_pop",
        "stddev",
        "std",
        "stddev_samp",
        "stddev_pop",
    }
)
"""Aggregate functions of the allow-list, as clients name them."""

REFUSED_AGGREGATES = frozenset(
    {
        "any_value",
        "approx_count_distinct",
        "array_agg",
        "bool_and",
        "bool_or",
        "collect_list",
        "collect_set",
        "corr",
        "covar_pop",
        "covar_samp",
        "every",
        "first",
        "first_value",
        "kurtosis",
        "last",
        "last_value",
        "listagg",
        "max_by",
        "min_by",
        "mode",
        "percentile_cont",
        "percentile_disc",
        "product",
        "skewness",
        "some",
        "string_agg",
    }
)
"""Aggregate functions that Spark has and that are refused: named so that the refusal can say so."""

Aggregator = Callable[[Call, tuple[Expr, ...]], Expr]
"""Takes an aggregate call and its resolved arguments; returns the column that will hold it."""


class ExpressionResolver:
    """Resolves expressions over one input and remembers which of its columns were used."""

    def __init__(
        self, relation: Relation, *, below: bool = False, aggregate: Aggregator | None = None
    ) -> None:
        """Look names up in `relation`, with `below` also under its last select."""
        self._relation = relation
        self._below = below
        self._aggregate = aggregate
        self.used: set[int] = set()
        """Ids of the columns that names were resolved to."""

    def resolve(self, expression: Expression) -> Expr:
        """Return the typed form of `expression`."""
        result = drive(self._resolve(expression, inside=False))
        if size(result) > MAX_EXPRESSION_SIZE:
            raise Refusal(
                "TOO_LARGE",
                f"One expression has {size(result)} parts; at most {MAX_EXPRESSION_SIZE} are allowed. "
                "Compute it in steps with withColumn, or join with a table of values.",
                f"一个表达式有 {size(result)} 个组成部分，上限为 {MAX_EXPRESSION_SIZE}。"
                "请用 withColumn 分步计算，或与取值表连接。",
            )
        return result

    def condition(self, expression: Expression) -> Expr:
        """Return a resolved predicate; refuse one that is not a boolean."""
        result = self.resolve(expression)
        if result.type not in (DataType.BOOLEAN, DataType.NULL):
            raise Refusal(
                "TYPE_MISMATCH",
                f"A condition has to be a boolean; this one is a {result.type.value}. Compare it.",
                f"条件必须是 boolean，而这里是 {result.type.value}。请写成比较式。",
            )
        return cast(result, DataType.BOOLEAN)

    def _resolve(self, expression: Expression, *, inside: bool) -> Steps[Expr]:
        match expression:
            case Name():
                return self._read(find(self._relation, expression, below=self._below))
            case Literal():
                return Const(expression.value, expression.type)
            case Alias():
                result: Expr = yield self._resolve(expression.operand, inside=inside)
                return result
            case Cast():
                operand: Expr = yield self._resolve(expression.operand, inside=inside)
                return cast(operand, expression.type)
            case Star():
                raise Refusal(
                    "UNSUPPORTED",
                    "`*` can stand in a select list and in count(*) only.",
                    "`*` 只能用于选择列表和 count(*)。",
                )
            case Call():
                return (yield self._call(expression, inside=inside))

    def _call(self, call: Call, *, inside: bool) -> Steps[Expr]:
        function = call.function.lower()
        is_aggregate = function in AGGREGATES
        if function in REFUSED_AGGREGATES:
            raise Refusal(
                "UNSUPPORTED",
                f"The aggregate `{function}` is not available here. Available: "
                f"{', '.join(sorted(AGGREGATES))}.",
                f"此处不支持聚合函数 `{function}`。可用：{'、'.join(sorted(AGGREGATES))}。",
            )
        if is_aggregate and (inside or self._aggregate is None):
            raise _misplaced(function, nested=inside)
        if call.distinct and function != "count":
            raise Refusal(
                "UNSUPPORTED",
                f"`{function}(DISTINCT …)` is not available; only count(DISTINCT …) of units is.",
                f"不支持 `{function}(DISTINCT …)`，仅支持对主体的 count(DISTINCT …)。",
            )
        args: list[Expr] = []
        for arg in self._expanded(call) if is_aggregate else call.args:
            resolved: Expr = yield self._resolve(arg, inside=inside or is_aggregate)
            args.append(resolved)
        if is_aggregate and self._aggregate is not None:
            return self._aggregate(call, tuple(args))
        return functions.call(function, tuple(args))

    def _expanded(self, call: Call) -> tuple[Expression, ...]:
        """Return the arguments of an aggregate: `count(*)` counts rows, other stars are columns."""
        if call.function.lower() != "count":
            return call.args
        args: list[Expression] = []
        for arg in call.args:
            if isinstance(arg, Star) and not call.distinct:
                args.append(Literal(1, DataType.INTEGER))
            elif isinstance(arg, Star):
                args += [Placed(f) for f in expand(self._relation, arg)]  # type: ignore[misc]
            else:
                args.append(arg)
        return tuple(args)

    def _read(self, found: Field) -> Ref:
        self.used.add(found.column.id)
        return as_ref(found.column)


def size(expr: Expr) -> int:
    """Return the number of parts of `expr` written out as a tree, without walking shared parts twice."""
    sizes: dict[int, int] = {}
    stack = [expr]
    while stack:
        top = stack[-1]
        args = top.args if isinstance(top, Apply) else ()
        waiting = [a for a in args if id(a) not in sizes]
        if waiting:
            stack += waiting
        else:
            sizes[id(top)] = 1 + sum(sizes[id(a)] for a in args)
            stack.pop()
    return sizes[id(expr)]


def has_aggregate(expression: Expression) -> bool:
    """Return whether an aggregate function is called anywhere in `expression`."""
    stack: list[Expression] = [expression]
    while stack:
        match stack.pop():
            case Call(function=function, args=args):
                if function.lower() in AGGREGATES | REFUSED_AGGREGATES:
                    return True
                stack += args
            case Cast(operand=operand) | Alias(operand=operand):
                stack.append(operand)
            case _:
                pass
    return False


def _misplaced(function: str, *, nested: bool) -> Refusal:
    if nested:
        return Refusal(
            "UNSUPPORTED",
            f"`{function}` stands inside another aggregate. Aggregate per unit first, then again.",
            f"`{function}` 位于另一个聚合函数之内。请先按主体聚合，再聚合一次。",
        )
    return Refusal(
        "UNSUPPORTED",
        f"The aggregate `{function}` cannot stand here. Use groupBy(…).agg(…) or select(…), then "
        "filter on its name.",
        f"聚合函数 `{function}` 不能用在这里。请使用 groupBy(…).agg(…) 或 select(…)，再按列名筛选。",
    )
