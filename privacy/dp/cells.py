"""Which groups an answer has: from contracts, public tables and the question, never from the data.

Source: soundness B.16. Keys that came from one public relation are taken together, as the tuples
that occur there; keys computed from declared columns take the values of that computation.
"""

import math
from collections.abc import Mapping
from itertools import product

from privacy.dp.facts import MAX_CELLS, PublicFacts
from privacy.dp.plan import Apply, Column, Const, Expr, Group, Local, Node, Project, Ref, references
from privacy.dp.relation import Private, possible_values
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal

MAX_IMAGE = 500
"""Domain combinations tried to find the values of a computed key."""
EMPTY_ROW = "0" * 64
"""Digest of the built-in public frame of one row, on which constants are evaluated."""


def key_cells(
    node: Group, kind: Private, facts: PublicFacts
) -> tuple[tuple[Value, ...], ...] | None:
    """Return all key tuples, or None when some key is open; refuse keys made from the unit."""
    for _, expr in node.keys:
        _check_not_of_unit(expr, kind)
    axes: list[tuple[tuple[Value, ...], ...]] = []
    placed: dict[int, int] = {}
    positions: list[tuple[int, int]] = []
    for _, expr in node.keys:
        joint = _joint_origin(expr, kind)
        if joint is not None:
            public, _ = joint
            if id(public) not in placed:
                axes_of = [
                    (o[1], kind.values.get(e.id))
                    for _, e in node.keys
                    if isinstance(e, Ref)
                    and (o := _joint_origin(e, kind)) is not None
                    and o[0] is public
                ]
                tuples = facts.data.distinct(public, tuple(i for i, _ in axes_of), MAX_CELLS)
                if tuples is None:
                    return None
                absent = (None,) * len(axes_of)
                if _unmatched(expr, kind) and absent not in tuples:
                    tuples = (absent, *tuples)
                # A filter above the join may have pinned a key: other tuples would be noise alone.
                tuples = tuple(
                    t
                    for t in tuples
                    if all(v is None or x in v for x, (_, v) in zip(t, axes_of, strict=True))
                )
                placed[id(public)] = len(axes)
                axes.append(tuples)
                positions.append((placed[id(public)], 0))
            else:
                seen = sum(1 for axis, _ in positions if axis == placed[id(public)])
                positions.append((placed[id(public)], seen))
            continue
        possible = possible_values(expr, kind)
        if possible is None:
            possible = _image(expr, kind, facts)
        if possible is None:
            return None
        positions.append((len(axes), 0))
        axes.append(tuple((v,) for v in possible))
    size = math.prod(len(a) for a in axes)
    if size > MAX_CELLS:
        raise too_many_cells(size)
    cells = [
        tuple(combination[axis][offset] for axis, offset in positions)
        for combination in product(*axes)
    ]
    if len(set(cells)) != len(cells):
        # A cell listed twice would be drawn twice for one charge.
        raise AssertionError("the cells of a release are distinct")
    return tuple(sorted(cells, key=lambda cell: [(v is not None, v) for v in cell]))


def _check_not_of_unit(expr: Expr, kind: Private) -> None:
    if references(expr) & kind.of_unit:
        raise Refusal(
            "UNIT_KEY",
            "Groups made from the protected unit's id would be one unit each. Group by other "
            "columns, or by the plain id alone for per-unit features and aggregate those "
            "again.",
            "按受保护主体标识派生的分组，每组只含一个主体。请按其他列分组；"
            "或仅按原始标识分组得到主体特征，再做一次聚合。",
        )


def _unmatched(expr: Expr, kind: Private) -> bool:
    return isinstance(expr, Ref) and None in kind.values.get(expr.id, ())


def _image(expr: Expr, kind: Private, facts: PublicFacts) -> tuple[Value, ...] | None:
    """Return all values of a function of declared columns, by evaluating it on their domains."""
    ids = sorted(references(expr))
    if not ids or any(i not in kind.values for i in ids):
        return None
    size = math.prod(len(kind.values[i]) for i in ids)
    if size > MAX_IMAGE:
        return None
    types = {r.id: r.type for r in _refs(expr)}
    found: set[tuple[Value, ...]] = set()
    for row in product(*(kind.values[i] for i in ids)):
        bound = _substituted(expr, {i: Const(v, types[i]) for i, v in zip(ids, row, strict=True)})
        found.add(facts.data.evaluate(_constant(bound))[0])
    return tuple(v for (v,) in sorted(found, key=lambda t: (t[0] is not None, t[0])))


def _joint_origin(expr: Expr, kind: Private) -> tuple[Node, int] | None:
    return kind.origin.get(expr.id) if isinstance(expr, Ref) else None


def _refs(expr: Expr) -> list[Ref]:
    if isinstance(expr, Ref):
        return [expr]
    if isinstance(expr, Apply):
        return [r for a in expr.args for r in _refs(a)]
    return []


def _substituted(expr: Expr, values: Mapping[int, Const]) -> Expr:
    match expr:
        case Ref():
            return values[expr.id]
        case Const():
            return expr
        case Apply():
            args = tuple(_substituted(a, values) for a in expr.args)
            return Apply(expr.function, args, expr.type, expr.nullable)


def _constant(expr: Expr) -> Node:
    anchor = Column(-1, "one", DataType.INTEGER, nullable=False)
    return Project(Local(EMPTY_ROW, (anchor,), ("one",)), ((Column(-2, "value", expr.type), expr),))


def too_many_cells(size: int) -> Refusal:
    """Return the refusal of an answer with this many cells."""
    return Refusal(
        "TOO_MANY_CELLS",
        f"The answer would have {size} cells; at most {MAX_CELLS} are given. Group by fewer "
        "columns, or "
        "filter the keys to the ones you need.",
        f"回答将有 {size} 个单元格，上限为 {MAX_CELLS}。请减少分组列，或先筛选所需的分组值。",
    )
