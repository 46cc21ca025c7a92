"""What the certificate has proven of one relation, and the rules that need no more than that.

Source: soundness A.1-A.5.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from privacy.dp.types import LONG_MAX, DataType, Value
from sandbox.engine.physical import Call, Col, Lit, Scalar, Unscaled, column_names

_REJECTS_NULL = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "like", "isnotnull"})
"""Predicates that are not true where a compared column is null."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What is proven of one relation."""

    unit: str | None
    """Its hidden unit column; None for public rows."""
    domain: str | None
    rows: int | None
    """B; None means infinite."""
    hidden: frozenset[str]
    """Columns that no expression may read."""
    keys: frozenset[frozenset[str]] = frozenset()
    """Live unique keys, without the unit."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """How many values a raw column can take among one unit's rows."""
    optional: frozenset[str] = frozenset()
    """Columns of `sizes` that can also be null."""
    domains: Mapping[str, frozenset[Value]] = field(default_factory=dict)
    """Which values they are, for columns with a declared domain."""
    constant: frozenset[str] = frozenset()
    """Columns with one value for each unit."""
    raw_units: frozenset[str] = frozenset()
    """Visible columns that hold the raw unit id."""
    of_unit: frozenset[str] = frozenset()
    """Visible columns made from it, `raw_units` among them."""
    max_units: int | None = None


def values(expr: Scalar, bounded: Proven) -> int | None:
    """Return how many values a key can take among one unit's rows, null included."""
    listed = listed_values(expr, bounded)
    if listed is not None:
        return max(len(listed), 1)
    match expr:
        case Col(name=name) | Unscaled(stored=Col(name=name)) if name in bounded.sizes:
            return bounded.sizes[name] + (name in bounded.optional)
        case Call(function="when" | "coalesce"):
            known = [values(e, bounded) for e in _answers(expr)]
            return None if None in known else sum(k for k in known if k is not None)
        case _:
            return None


def listed_values(expr: Scalar, bounded: Proven) -> frozenset[Value] | None:
    """Return all values that an expression can take, null included, if its form tells them."""
    match expr:
        case Lit():
            return frozenset((expr.value,))
        case Col(name=name) if name in bounded.domains:
            null = frozenset((None,)) if name in bounded.optional else frozenset[Value]()
            return bounded.domains[name] | null
        case Call(function="cast", args=(inner,), type=DataType.INTEGER) if inner.type.is_integral:
            # As a key has its own type: what does not fit is null, all else is itself.
            listed = listed_values(inner, bounded)
            return None if listed is None else frozenset(map(_fitting, listed))
        case Call(function="when" | "coalesce"):
            found = [listed_values(e, bounded) for e in _answers(expr)]
            if None not in found:
                return frozenset[Value]().union(*(f for f in found if f is not None))
            return None
        case _:
            return frozenset((None, False, True)) if expr.type is DataType.BOOLEAN else None


def _fitting(value: Value) -> Value:
    return value if isinstance(value, int) and -(2**31) <= value < 2**31 else None


def described(
    items: Iterable[tuple[str, Scalar]], bounded: Proven
) -> tuple[dict[str, int], dict[str, frozenset[Value]], frozenset[str]]:
    """Return sizes, value lists and nullability of computed columns, as far as they are known."""
    sizes: dict[str, int] = {}
    domains: dict[str, frozenset[Value]] = {}
    optional: set[str] = set()
    for name, expr in items:
        listed = listed_values(expr, bounded)
        if listed is not None:
            domains[name] = listed - {None}
            sizes[name] = max(len(domains[name]), 1)
            if None in listed and domains[name]:
                optional.add(name)
            continue
        known = values(expr, bounded)
        if known is not None:
            sizes[name] = known
            # Counted apart, so that a later filter can take null away.
            if any(c in bounded.optional for c in bare_columns((expr,))):
                sizes[name] -= 1
                optional.add(name)
    return sizes, domains, frozenset(optional)


def _answers(call: Call) -> list[Scalar]:
    """Return the expressions that a conditional may answer with."""
    if call.function == "coalesce":
        return list(call.args)
    chosen = list(call.args[1::2])
    # Without a default, null is one more answer; with one, it stands last.
    chosen.append(call.args[-1] if len(call.args) % 2 else Lit(None, call.type))
    return chosen


def pinned(predicate: Scalar, bounded: Proven) -> Proven:
    """Use top-level conjuncts that hold a raw column to listed literals (soundness A.5)."""
    if bounded.unit is None:
        return bounded
    sizes, optional = dict(bounded.sizes), set(bounded.optional)
    domains = dict(bounded.domains)
    parts = [predicate]
    while parts:
        part = parts.pop()
        if not isinstance(part, Call):
            continue
        if part.function == "and":
            parts.extend(part.args)
            continue
        if part.function in _REJECTS_NULL:
            compared = part.args[:1] if part.function == "in" else part.args
            optional -= {a.name for a in compared if isinstance(a, Col)}
        pin = _pin(part)
        if pin is not None:
            name, values = pin
            # Values outside the declared domain were not let in.
            values &= domains.get(name, values)
            domains[name] = values
            sizes[name] = min(max(len(values), 1), sizes.get(name, LONG_MAX))
            optional.discard(name)
        left = _left_by_comparison(part, domains)
        if left is not None:
            name, domains[name] = left
            sizes[name] = max(len(domains[name]), 1)
    narrowed = replace(bounded, sizes=sizes, optional=frozenset(optional), domains=domains)
    return tightened(narrowed)


def _left_by_comparison(
    part: Call, domains: Mapping[str, frozenset[Value]]
) -> tuple[str, frozenset[Value]] | None:
    """Return a column and those of its listed values for which a comparison can hold."""
    holds = _HOLDS.get(part.function)
    if holds is None:
        return None
    first, second = part.args
    turned = isinstance(first, Lit)
    column, literal = (second, first) if turned else (first, second)
    if not (isinstance(column, Col) and isinstance(literal, Lit) and column.name in domains):
        return None
    limit = literal.value
    if limit is None or literal.type is not column.type or column.type is DataType.DOUBLE:
        return None
    kept = (v for v in domains[column.name] if (holds(limit, v) if turned else holds(v, limit)))
    return column.name, frozenset(kept)


_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "!=": operator.ne,
}


def _pin(part: Call) -> tuple[str, frozenset[Value]] | None:
    """Return a raw column and the literals that a conjunct holds it to, without any conversion."""
    if part.function not in ("==", "<=>", "in"):
        return None
    first, rest = part.args[0], part.args[1:]
    if isinstance(first, Lit) and part.function != "in":
        first, rest = part.args[1], part.args[:1]
    if not isinstance(first, Col) or first.type is DataType.DOUBLE:
        return None
    values: set[Value] = set()
    for literal in rest:
        if not isinstance(literal, Lit) or literal.value is None or literal.type is not first.type:
            return None
        values.add(literal.value)
    return first.name, frozenset(values)


def tightened(bounded: Proven) -> Proven:
    """Lower B to what a live key proves; with one row for each unit every column is constant."""
    best = bounded.rows
    for key in bounded.keys:
        product = _product(key, bounded)
        if product is not None:
            best = least(best, product)
    return replace(bounded, rows=best)


def _product(columns: Iterable[str], bounded: Proven) -> int | None:
    result = 1
    for name in columns:
        if name not in bounded.sizes:
            return None
        result *= bounded.sizes[name] + (name in bounded.optional)
    return result


def rows_per_group(keys: frozenset[str], bounded: Proven) -> int | None:
    """Return L∞ for these bare keys: what a live key leaves open, else B."""
    best = bounded.rows
    for key in bounded.keys:
        product = _product(key - keys, bounded)
        if product is not None:
            best = least(best, product)
    return best


def bare_columns(keys: Iterable[Scalar]) -> Iterator[str]:
    """Return the columns that are keys unchanged; a stored fixed-point column is its double."""
    for expr in keys:
        if isinstance(expr, Col):
            yield expr.name
        elif isinstance(expr, Unscaled):
            yield expr.stored.name


def merged(left: Proven, right: Proven) -> Proven:
    """Return the left side with what the right side's columns are known to hold."""
    units = [m for m in (left.max_units, right.max_units) if m is not None]
    return replace(
        left,
        hidden=left.hidden | right.hidden,
        sizes={**left.sizes, **right.sizes},
        optional=left.optional | right.optional,
        domains={**left.domains, **right.domains},
        of_unit=left.of_unit | right.of_unit,
        max_units=max(units) if units else None,
    )


def joined_rows(
    condition: Scalar | None,
    left: tuple[Proven, frozenset[str]],
    right: tuple[Proven, frozenset[str]],
    *,
    outer: bool,
) -> tuple[int | None, frozenset[frozenset[str]]]:
    """Return B and the live keys of one unit's rows of two sides, each with its columns' names.

    A side keeps both if the condition gives every column of a unique key of the other side.
    """
    known = (left[0].rows, right[0].rows)
    rows = times(known[0], at_least_one(known[1]) if outer else known[1])
    keys = frozenset(a | b for a in left[0].keys for b in right[0].keys)
    for (kept, _), (met, names) in ((left, right),) if outer else ((left, right), (right, left)):
        if any(key <= _given(condition, names) for key in met.keys):
            rows = rows if kept.rows is None else least(rows, kept.rows)
            keys |= kept.keys
    return rows, keys


def _given(condition: Scalar | None, names: frozenset[str]) -> frozenset[str]:
    """Return which of these columns a top-level `==` gives from other columns; no doubles."""
    found: set[str] = set()
    parts = [condition]
    while parts:
        part = parts.pop()
        if not isinstance(part, Call):
            continue
        if part.function == "and":
            parts.extend(part.args)
        if part.function == "==":
            for own, other in (part.args, part.args[::-1]):
                if not isinstance(own, Col) or own.type is DataType.DOUBLE:
                    continue
                if own.name in names and not column_names(other) & names:
                    found.add(own.name)
    return frozenset(found)


def least(known: int | None, other: int) -> int:
    """Return the smaller bound; None is infinite."""
    return other if known is None else min(known, other)


def at_least_one(rows: int | None) -> int | None:
    """Return a bound that also covers a row without a match."""
    return None if rows is None else max(1, rows)


def times(a: int | None, b: int | None) -> int | None:
    """Return the product of two bounds; None is infinite."""
    return None if a is None or b is None else a * b
