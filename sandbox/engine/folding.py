"""Expressions between plan and SQL: carried along, written where used, cut where they grow.

A projection costs nothing by itself: its expressions are kept in the `Environment` of a `Part` and
inlined above, unless that would make the text long or deep; then they become columns.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count

from privacy.dp.plan import Apply, Const, Expr, Ref, references
from privacy.dp.types import DataType
from sandbox.engine.functions import REPEATING
from sandbox.engine.physical import (
    Call,
    Col,
    Compute,
    Lit,
    Relation,
    Scalar,
    Unscaled,
    column_names,
)

MAX_INLINED = 80
"""Operators in one expression before the parts it is built from become columns of their own."""

PIECE = 24
"""Depth at which an expression is cut into columns: SQL parsers recurse over nesting."""

LENGTH = 400
"""Operators in the text of one expression, repetitions by templates included."""

FEW = 4
"""Arguments up to which a long call has its arguments named, rather than itself."""

Environment = dict[int, Scalar]
"""For each visible column id, the expression over physical columns that gives its value."""


@dataclass(frozen=True, slots=True)
class Part:
    """A compiled subplan."""

    relation: Relation
    columns: Environment
    unit: str | None = None
    """The hidden unit; None for public rows."""
    order: tuple[str, ...] = ()
    """Columns that order a unit's rows: stored ranks first."""
    total_order: bool = True
    """Whether `order` tells all rows of a unit apart."""
    units: frozenset[str] = frozenset()
    """Visible columns that hold the raw unit id."""


class Folder:
    """Names computed columns, and decides which expressions become one."""

    def __init__(self) -> None:
        """Start numbering."""
        self._names = count(1)

    def named(
        self, part: Part, scalars: list[Scalar], carried: Iterable[Scalar] = ()
    ) -> tuple[Part, list[Scalar]]:
        """Return the scalars as bare columns, with the part that computes those that were not."""
        items: dict[str, tuple[str, Scalar]] = {}
        result: list[Scalar] = []
        for scalar in scalars:
            if isinstance(scalar, Col | Unscaled):
                result.append(scalar)
                continue
            text = repr(scalar)
            if text not in items:
                items[text] = (self.name("e"), scalar)
            result.append(Col(items[text][0], scalar.type))
        if not items:
            return part, result
        names = {n for s in (*scalars, *carried) if not isinstance(s, Lit) for n in column_names(s)}
        return self.computed(part, tuple(items.values()), extra=names), result

    def computed(
        self, part: Part, items: tuple[tuple[str, Scalar], ...], extra: Iterable[str] = ()
    ) -> Part:
        """Return `part` with these columns computed below whatever comes next."""
        names = {n for v in part.columns.values() for n in column_names(v)} | set(extra)
        hidden = (part.unit,) if part.unit is not None else ()
        carried = distinct_names((*hidden, *part.order, *sorted(names)))
        return replace(part, relation=Compute(part.relation, carried, items))

    def fold(self, part: Part, exprs: Iterable[Expr]) -> Part:
        """Turn carried expressions into columns where writing them out again would be long."""
        sizes: dict[int, int] = {}
        for expr in exprs:
            used = references(expr)
            if not isinstance(expr, Ref) and any(
                i in part.columns and not _is_bare(part.columns[i]) for i in used
            ):
                for i in used:
                    sizes.setdefault(i, _size(part.columns[i]))
                if _weight(expr, sizes) > MAX_INLINED:
                    return self.materialised(part, part.columns)
        return part

    def materialised(self, part: Part, ids: Iterable[int]) -> Part:
        """Make columns of the carried expressions behind `ids`."""
        columns = dict(part.columns)
        items: dict[str, tuple[str, Scalar]] = {}
        for i in ids:
            value = columns[i]
            if _is_bare(value):
                continue
            text = repr(value)
            if text not in items:
                items[text] = (self.name("e"), value)
            columns[i] = Col(items[text][0], value.type)
        if not items:
            return part
        made = {name for name, _ in items.values()}
        below = {n for v in columns.values() for n in column_names(v)} - made
        hidden = (part.unit,) if part.unit is not None else ()
        carried = distinct_names((*hidden, *part.order, *sorted(below)))
        relation = Compute(part.relation, carried, tuple(items.values()))
        return replace(part, relation=relation, columns=columns)

    def cut(self, part: Part, scalars: Iterable[Scalar]) -> tuple[Part, list[Scalar]]:
        """Cut deep or long expressions into columns, innermost first."""
        result = list(scalars)
        while True:
            items: list[tuple[str, Scalar]] = []
            result = [s if _fits(s) else self._trimmed(s, items)[0] for s in result]
            if not items:
                return part, result
            made = {n for n, _ in items}
            left = {n for s in result for n in column_names(s)} - made
            part = self.computed(part, tuple(items), extra=left)

    def _trimmed(
        self, scalar: Scalar, items: list[tuple[str, Scalar]]
    ) -> tuple[Scalar, tuple[int, int]]:
        """Name parts of the innermost subexpressions that reach the limits."""
        if not isinstance(scalar, Call):
            return scalar, _measured(scalar)
        trimmed = [self._trimmed(a, items) for a in scalar.args]
        new = replace(scalar, args=tuple(a for a, _ in trimmed))
        extent = _extent(scalar.function, [e for _, e in trimmed])
        reached = extent[0] >= PIECE or extent[1] >= LENGTH
        if not reached or column_names(new) & {n for n, _ in items}:
            return new, extent
        if len(new.args) > FEW:
            return self._item(new, items), (0, 1)
        # The arguments are still short; the call itself may repeat each of them many times.
        parts = [self._item(a, items) if isinstance(a, Call) else a for a in new.args]
        return replace(new, args=tuple(parts)), (1, 1 + len(parts))

    def _item(self, scalar: Scalar, items: list[tuple[str, Scalar]]) -> Col:
        name = self.name("e")
        items.append((name, scalar))
        return Col(name, scalar.type)

    def name(self, letter: str) -> str:
        """Return a name that no other column of this plan has."""
        return f"{letter}n{next(self._names)}"


def lower(expr: Expr, columns: Mapping[int, Scalar]) -> Scalar:
    """Return `expr` over physical columns; long `and`/`or` chains become one flat call."""
    match expr:
        case Ref():
            return columns[expr.id]
        case Const():
            return Lit(expr.value, expr.type)
        case Apply(function="and" | "or"):
            parts = tuple(lower(e, columns) for e in _flat(expr))
            return Call(expr.function, parts, DataType.BOOLEAN)
        case Apply():
            return Call(expr.function, tuple(lower(a, columns) for a in expr.args), expr.type)


def conjuncts(expr: Expr | None) -> list[Expr]:
    """Return the parts of a top-level AND, left to right."""
    if expr is None:
        return []
    return _flat(expr) if isinstance(expr, Apply) and expr.function == "and" else [expr]


def _flat(expr: Apply) -> list[Expr]:
    found: list[Expr] = []
    stack: list[Expr] = [expr]
    while stack:
        part = stack.pop()
        if isinstance(part, Apply) and part.function == expr.function:
            stack.extend(reversed(part.args))
        else:
            found.append(part)
    return found


def _is_bare(value: Scalar) -> bool:
    return isinstance(value, Col | Unscaled)


def distinct_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names once each, in order."""
    return tuple(dict.fromkeys(names))


def _size(scalar: Scalar) -> int:
    total, stack = 0, [scalar]
    while stack:
        part = stack.pop()
        total += 1
        if isinstance(part, Call):
            stack.extend(part.args)
    return total


def _weight(expr: Expr, sizes: Mapping[int, int]) -> int:
    total, stack = 0, [expr]
    while stack:
        part = stack.pop()
        total += sizes.get(part.id, 1) if isinstance(part, Ref) else 1
        if isinstance(part, Apply):
            stack.extend(part.args)
    return total


def _fits(scalar: Scalar) -> bool:
    depth, length = _measured(scalar)
    return depth <= PIECE and length <= LENGTH


def _measured(scalar: Scalar) -> tuple[int, int]:
    if not isinstance(scalar, Call):
        return 0, int(not isinstance(scalar, Lit))
    return _extent(scalar.function, [_measured(a) for a in scalar.args])


def _extent(function: str, args: list[tuple[int, int]]) -> tuple[int, int]:
    """Return nesting and text length (in operators) of a call, from those of its arguments."""
    factor = REPEATING.get(function, 1)
    return (
        1 + max((d for d, _ in args), default=0),
        1 + factor * sum(length for _, length in args),
    )
