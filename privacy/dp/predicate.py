"""What a condition says of single columns: pins, narrowed intervals, equalities.

Only the parts of a top-level AND count, and only in their plainest forms (soundness A.5, A.9).
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from privacy.dp.interval import ALL, Interval
from privacy.dp.plan import Apply, Const, Expr, Ref, references
from privacy.dp.types import DataType, Value

_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}


def conjuncts(predicate: Expr | None) -> list[Expr]:
    """Return the parts of a top-level AND."""
    if predicate is None:
        return []
    found: list[Expr] = []
    stack = [predicate]
    while stack:
        part = stack.pop()
        if isinstance(part, Apply) and part.function == "and":
            stack.extend(part.args)
        else:
            found.append(part)
    return found


def pin(conjunct: Expr) -> tuple[int, tuple[Value, ...]] | None:
    """Return a raw column and the literals a conjunct pins it to (soundness A.5), if it does."""
    if not isinstance(conjunct, Apply):
        return None
    args = conjunct.args
    if conjunct.function in ("==", "<=>") and isinstance(args[0], Const):
        args = (args[1], args[0])
    if conjunct.function not in ("==", "<=>", "in") or not isinstance(args[0], Ref):
        return None
    column = args[0]
    literals = [a for a in args[1:] if isinstance(a, Const)]
    if len(literals) != len(args) - 1 or column.type is DataType.DOUBLE:
        return None
    if any(c.value is None or c.type is not column.type for c in literals):
        return None
    return column.id, merged_values([tuple(c.value for c in literals)])


def not_null(conjunct: Expr) -> int | None:
    """Return the column that cannot be null where the conjunct is true, for the plain forms."""
    if not isinstance(conjunct, Apply):
        return None
    if conjunct.function == "isnotnull" and isinstance(conjunct.args[0], Ref):
        return conjunct.args[0].id
    if conjunct.function in ("==", "!=", "<", "<=", ">", ">=", "in", "like"):
        # `5 in (column, 5)` holds where the column is null: only the tested side must be there.
        tested = conjunct.args[:1] if conjunct.function == "in" else conjunct.args[:2]
        for arg in tested:
            if isinstance(arg, Ref):
                return arg.id
    return None


def narrowed(conjunct: Expr, known: Mapping[int, Interval]) -> tuple[int, Interval] | None:
    """Return the column and interval that `column < literal` and its kin leave."""
    if not isinstance(conjunct, Apply) or len(conjunct.args) != 2:  # noqa: PLR2004 - binary operators
        return None
    function, (a, b) = conjunct.function, conjunct.args
    if isinstance(a, Const):
        function, a, b = _MIRROR.get(function, ""), b, a
    if not (isinstance(a, Ref) and a.type.is_numeric and isinstance(b, Const)):
        return None
    if isinstance(b.value, bool) or not isinstance(b.value, int | float) or math.isnan(b.value):
        return None
    before = known.get(a.id, ALL)
    match function:
        case "<" | "<=":
            after = Interval(-math.inf, b.value)
        case ">" | ">=":
            # NaN is larger than any number in Spark; it contributes nothing to sums, so it may
            # stay.
            after = Interval(b.value, math.inf)
        case "==":
            after = Interval(b.value, b.value)
        case _:
            return None
    met = after.meet(before)
    return (a.id, met) if met.is_finite else None


def allowed(
    conjunct: Expr, known: Mapping[int, tuple[Value, ...]]
) -> tuple[int, tuple[Value, ...]] | None:
    """Return a column and those of its known values for which `column < literal` or its kin holds.

    Only fewer cells follow from this, never a smaller row bound: that needs a pin.
    """
    if not isinstance(conjunct, Apply) or len(conjunct.args) != 2:  # noqa: PLR2004 - binary operators
        return None
    function, (a, b) = conjunct.function, conjunct.args
    if isinstance(a, Const):
        function, a, b = _MIRROR.get(function, ""), b, a
    holds = _HOLDS.get(function)
    if holds is None or not (isinstance(a, Ref) and isinstance(b, Const) and a.id in known):
        return None
    if b.value is None or b.type is not a.type or a.type is DataType.DOUBLE:
        return None
    return a.id, tuple(v for v in known[a.id] if v is not None and holds(v, b.value))


_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "!=": operator.ne,
}


_EITHER = frozenset({"==", "<=>"})


def equated(condition: Expr | None, columns: frozenset[int]) -> frozenset[int]:
    """Return which columns of one side the condition makes equal to something of the other."""
    return frozenset[int]().union(*(_given(part, columns) for part in conjuncts(condition)))


def is_lookup(condition: Expr | None, columns: frozenset[int]) -> bool:
    """Whether every part of a condition is an equality of one side's column with the other side."""
    return all(_given(part, columns) for part in conjuncts(condition))


def told_apart(
    condition: Expr | None, keys: Iterable[frozenset[int]], columns: frozenset[int]
) -> bool:
    """Whether at most one of a unit's rows on the side of `columns` meets a row of the other.

    It is so if every column of one of that side's unique keys equals something of the other side:
    by `==`, which no null satisfies, and not for doubles, of which two stored ones may be equal.
    """
    exact = (
        _given(part, columns, frozenset({"=="}), doubles=False) for part in conjuncts(condition)
    )
    given = frozenset[int]().union(*exact)
    return any(key <= given for key in keys)


def _given(
    part: Expr,
    columns: frozenset[int],
    functions: frozenset[str] = _EITHER,
    *,
    doubles: bool = True,
) -> frozenset[int]:
    """Return the columns of one side that this conjunct equates with what the other side says."""
    if not (isinstance(part, Apply) and part.function in functions):
        return frozenset()
    return frozenset(
        own.id
        for own, other in (part.args, part.args[::-1])
        if isinstance(own, Ref)
        and own.id in columns
        and (doubles or own.type is not DataType.DOUBLE)
        and not references(other) & columns
    )


def equates(part: Expr, left: frozenset[int], right: frozenset[int]) -> bool:
    """Whether a conjunct is a plain equality between a column of each set."""
    if not (isinstance(part, Apply) and part.function in ("==", "<=>")):
        return False
    a, b = part.args
    if not (isinstance(a, Ref) and isinstance(b, Ref)):
        return False
    return (a.id in left and b.id in right) or (b.id in left and a.id in right)


def merged_values(groups: Iterable[tuple[Value, ...]]) -> tuple[Value, ...]:
    """Return all values once, sorted, null first."""
    seen: dict[tuple[str, Value], Value] = {}
    for group in groups:
        for value in group:
            # 1, 1.0 and True are equal in Python but different keys here.
            seen.setdefault((type(value).__name__, value), value)
    return tuple(sorted(seen.values(), key=lambda v: (v is not None, v)))
