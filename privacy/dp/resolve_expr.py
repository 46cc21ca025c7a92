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
    """Resolves expressions over one input."""

    def __init__(
        self,
        relation: Relation,
        *,
        below: bool = False,
        aggregate: Aggregator | None = None,
        inner: Relation | None = None,
    ) -> None:
        """Look names up in `relation`, with `below` also under its last select.

        `inner` is the input of an aggregate whose output `relation` is: arguments of aggregate
        calls are looked up there, other names only if `relation` has no such column.
        """
        self._relation = relation
        self._below = below
        self._aggregate = aggregate
        self._inner = inner

    def resolve(self, expression: Expression) -> Expr:
        """Return the typed form of `expression`."""
        result = drive(self._resolve(expression, inside=False))
        written = size(result)
        if written > MAX_EXPRESSION_SIZE:
            raise Refusal(
                "TOO_LARGE",
                f"One expression has {written} parts; at most {MAX_EXPRESSION_SIZE} are allowed. "
                "Compute it in steps with withColumn, or join with a table of values.",
                f"一个表达式有 {written} 个组成部分，上限为 {MAX_EXPRESSION_SIZE}。"
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
                return as_ref(self._find(expression, inside=inside).column)
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
                called: Expr = yield self._call(expression, inside=inside)
                return called

    def _call(self, call: Call, *, inside: bool) -> Steps[Expr]:
        function = call.function.lower()
        aggregate = self._aggregate if function in AGGREGATES else None
        if function in REFUSED_AGGREGATES:
            raise Refusal(
                "UNSUPPORTED",
                f"The aggregate `{function}` is not available here. Available: "
                f"{', '.join(sorted(AGGREGATES))}.",
                f"此处不支持聚合函数 `{function}`。可用：{'、'.join(sorted(AGGREGATES))}。",
            )
        if function in AGGREGATES and (inside or aggregate is None):
            raise _misplaced(function, nested=inside)
        if call.distinct and function != "count":
            raise Refusal(
                "UNSUPPORTED",
                f"`{function}(DISTINCT …)` is not available; only count(DISTINCT …) of units is.",
                f"不支持 `{function}(DISTINCT …)`，仅支持对主体的 count(DISTINCT …)。",
            )
        args: list[Expr] = []
        for arg in call.args:
            if isinstance(arg, Star) and function == "count":
                args += self._counted(arg, distinct=call.distinct)
            else:
                resolved: Expr = yield self._resolve(arg, inside=inside or aggregate is not None)
                args.append(resolved)
        if aggregate is not None:
            return aggregate(call, tuple(args))
        return functions.call(function, tuple(args))

    def _counted(self, star: Star, *, distinct: bool) -> list[Expr]:
        """Return what `count(*)` counts: rows, or for DISTINCT the tuples of all columns."""
        if distinct:
            return [as_ref(f.column) for f in expand(self._inner or self._relation, star)]
        return [Const(1, DataType.INTEGER)]

    def _find(self, name: Name, *, inside: bool) -> Field:
        if self._inner is None:
            return find(self._relation, name, below=self._below)
        if inside:
            return find(self._inner, name, below=False)
        try:
            return find(self._relation, name, below=self._below)
        except Refusal as refusal:
            if refusal.code != "UNKNOWN_COLUMN":
                raise
            try:
                return find(self._inner, name, below=False)
            except Refusal:
                raise refusal from None


def parts(expr: Expr) -> list[Expr]:
    """Return the distinct objects that make up `expr`, arguments before their function."""
    done: set[int] = set()
    ordered: list[Expr] = []
    stack = [expr]
    while stack:
        top = stack[-1]
        waiting = [a for a in top.args if id(a) not in done] if isinstance(top, Apply) else []
        if waiting:
            stack += waiting
            continue
        stack.pop()
        if id(top) not in done:
            done.add(id(top))
            ordered.append(top)
    return ordered


def size(expr: Expr) -> int:
    """Return the number of parts of `expr` when written out as a tree."""
    sizes: dict[int, int] = {}
    for part in parts(expr):
        args = part.args if isinstance(part, Apply) else ()
        sizes[id(part)] = 1 + sum(sizes[id(a)] for a in args)
    return sizes[id(expr)]


def columns_of(expr: Expr) -> frozenset[int]:
    """Return the ids of all columns that `expr` reads, however deep it is."""
    return frozenset(p.id for p in parts(expr) if isinstance(p, Ref))


def rewrite(expr: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """Return `expr` with the parts replaced for which `change` gives something, outermost first."""
    return drive(_rewrite(expr, change))


def _rewrite(expr: Expr, change: Callable[[Expr], Expr | None]) -> Steps[Expr]:
    changed = change(expr)
    if changed is not None:
        return changed
    if not isinstance(expr, Apply):
        return expr
    args: list[Expr] = []
    for arg in expr.args:
        rewritten: Expr = yield _rewrite(arg, change)
        args.append(rewritten)
    return Apply(expr.function, tuple(args), expr.type, expr.nullable)


class Interner:
    """Numbers expressions so that equal ones share a number, without comparing deep trees."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._numbers: dict[tuple[object, ...], int] = {}

    def number(self, expr: Expr) -> int:
        """Return the same number for structurally equal expressions and for no others."""
        known: dict[int, int] = {}
        for part in parts(expr):
            match part:
                case Ref():
                    shape: tuple[object, ...] = ("ref", part.id)
                case Const():
                    shape = ("const", part.type, repr(part.value))
                case Apply():
                    shape = (part.function, part.type, *(known[id(a)] for a in part.args))
            known[id(part)] = self._numbers.setdefault(shape, len(self._numbers))
        return known[id(expr)]


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
        f"聚合函数 `{function}` 不能用在这里。"
        "请使用 groupBy(…).agg(…) 或 select(…)，再按列名筛选。",
    )
