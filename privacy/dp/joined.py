"""What a join makes of private rows: with public rows, or with private rows of the same unit.

Source: soundness A.1-A.5.
"""

from dataclasses import replace

from privacy.dp.facts import MAX_CELLS, PublicData
from privacy.dp.interval import Interval
from privacy.dp.plan import JoinOn, Node, references
from privacy.dp.predicate import conjuncts, equated, equates, is_lookup, told_apart
from privacy.dp.query import JoinKind
from privacy.dp.relation import Private, check_pairs, tightened
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal

MAX_MULTIPLICITY = 1000
"""A public join that multiplies a private row by more is refused: noise would drown the answer."""


def public_join(
    node: JoinOn, private: Private, public: Node, data: PublicData
) -> tuple[Private, int]:
    """Return the kind of private rows joined with settled public rows, and the fan-out.

    `node` is an inner or a left join; the side that is not `public` is of kind `private`.
    """
    keeps_unmatched = node.kind is JoinKind.LEFT
    public_ids = frozenset(c.id for c in public.columns)
    matched = tuple(sorted(equated(node.condition, public_ids)))
    fan_out = max(data.multiplicity(public, matched), 1)
    if fan_out > MAX_MULTIPLICITY:
        raise Refusal(
            "JOIN_FORM",
            f"One private row can meet {fan_out} rows of the public side; at most "
            f"{MAX_MULTIPLICITY} "
            "are allowed. Join on a column that is unique in the public table, by equality.",
            f"一行私有数据最多会匹配公开表的 {fan_out} 行，上限为 {MAX_MULTIPLICITY}。"
            "请按公开表中唯一的列做等值连接。",
        )
    condition_ids = references(node.condition) if node.condition is not None else frozenset()
    follows_unit = fan_out == 1 and (condition_ids - public_ids) <= private.constant
    public_intervals = _intervals(public, data)
    public_values = _values(public, data, keeps_unmatched=keeps_unmatched)
    lengths = {**private.lengths, **_lengths(public, public_ids, data)}
    rows = None if private.rows is None else private.rows * fan_out
    if node.condition is not None:
        replace(private, lengths=lengths, rows=rows).check(node.condition)
    joined = replace(
        private,
        lengths=lengths,
        rows=rows,
        keys=private.keys if fan_out == 1 else frozenset(),
        values={**private.values, **public_values},
        intervals={**private.intervals, **public_intervals},
        constant=private.constant | (public_ids if follows_unit else frozenset()),
        origin={**private.origin, **{i: (public, i) for i in public_ids}},
        scales={**private.scales, **{c.id: 0 for c in public.columns if c.type.is_integral}},
    )
    return joined, fan_out


def _intervals(public: Node, data: PublicData) -> dict[int, Interval]:
    numeric = (column.id for column in public.columns if column.type.is_numeric)
    found = {column: data.extremes(public, column) for column in numeric}
    return {column: Interval(*ends) for column, ends in found.items() if ends is not None}


def _lengths(public: Node, wanted: frozenset[int], data: PublicData) -> dict[int, int]:
    return {
        column.id: data.longest(public, column.id)
        for column in public.columns
        if column.type is DataType.STRING and column.id in wanted
    }


def _values(
    public: Node, data: PublicData, *, keeps_unmatched: bool
) -> dict[int, tuple[Value, ...]]:
    """Return all values of the columns that have few enough to be listed in an answer."""
    result: dict[int, tuple[Value, ...]] = {}
    for column in public.columns:
        listed = data.distinct(public, (column.id,), MAX_CELLS)
        if listed is None:
            continue
        found = tuple(value for (value,) in listed)
        if keeps_unmatched and None not in found:
            found = (None, *found)
        result[column.id] = found
    return result


def private_join(node: JoinOn, left: Private, right: Private) -> Private:
    """Return the kind of two private tables joined on their common unit."""
    if left.domain != right.domain:
        raise Refusal(
            "JOIN_FORM",
            f"These private tables protect different units ({left.domain} and "
            f"{right.domain}); a row "
            "of the result would belong to both. Aggregate each and join the released answers.",
            f"两张私有表保护的主体不同（{left.domain} 与 {right.domain}），连接结果的一行会同"
            "时属于两者。"
            "请分别聚合，再连接已发布的结果。",
        )
    if node.kind not in (JoinKind.INNER, JoinKind.LEFT, JoinKind.SEMI, JoinKind.ANTI):
        raise Refusal(
            "JOIN_FORM",
            "Two private tables can be joined by inner, left, semi or anti, not "
            f"{node.kind.value}.",
            f"两张私有表只能做 inner、left、semi 或 anti 连接，不能做 {node.kind.value} 连接。",
        )
    if not any(equates(c, left.units, right.units) for c in conjuncts(node.condition)):
        raise Refusal(
            "JOIN_FORM",
            "Two private tables join only on the protected unit's own id, by equality at the "
            "top of "
            "the condition and with both columns unchanged, for example on='uscc'.",
            "两张私有表只能按受保护主体的原始标识做等值连接（条件最外层，且两列均未经改动），"
            "例如 on='uscc'。",
        )
    merged = {**left.intervals, **right.intervals}
    lengths = {**left.lengths, **right.lengths}
    pairs = None if left.rows is None or right.rows is None else left.rows * right.rows
    if node.condition is not None:
        replace(left, intervals=merged, lengths=lengths, rows=pairs).check(node.condition)
    if node.kind in (JoinKind.SEMI, JoinKind.ANTI):
        columns = frozenset(c.id for c in node.right.columns)
        apart = told_apart(node.condition, right.keys, columns)
        by_equality = apart or is_lookup(node.condition, columns)
        check_pairs(left.rows, right.rows, by_equality=by_equality)
        return left
    outer = node.kind is JoinKind.LEFT
    rows, keys = _rows_and_keys(node, left, right)
    right_values = {
        i: (None, *v) if outer and None not in v else v for i, v in right.values.items()
    }
    # A left join with a further condition may match some rows of a unit and null-extend others.
    extra = references(node.condition) if node.condition is not None else frozenset()
    follows_unit = not outer or extra <= left.constant | right.constant
    joined = Private(
        domain=left.domain,
        units=left.units if outer else left.units | right.units,
        of_unit=left.of_unit | right.of_unit,
        rows=rows,
        keys=keys,
        sizes=dict(left.sizes) if outer else {**left.sizes, **right.sizes},
        values={**left.values, **right_values},
        intervals=merged,
        lengths=lengths,
        scales={**left.scales, **right.scales},
        steps={**left.steps, **right.steps},
        constant=left.constant | (right.constant if follows_unit else frozenset()),
        max_units=max(left.max_units, right.max_units),
        origin={**left.origin, **right.origin},
        searches=left.searches,
    )
    return tightened(joined)


def _rows_and_keys(
    node: JoinOn, left: Private, right: Private
) -> tuple[int | None, frozenset[frozenset[int]]]:
    """Return B and the live keys of two private tables joined on their common unit.

    A side whose rows meet at most one row of the other keeps its row bound and its keys.
    """
    outer = node.kind is JoinKind.LEFT
    keys = frozenset(a | b for a in left.keys for b in right.keys)
    known = (left.rows, right.rows)
    rows = (
        None
        if left.rows is None or right.rows is None
        else left.rows * (max(1, right.rows) if outer else right.rows)
    )
    columns = (
        frozenset(c.id for c in node.left.columns),
        frozenset(c.id for c in node.right.columns),
    )
    if told_apart(node.condition, right.keys, columns[1]):
        rows, keys = _less(rows, known[0]), keys | left.keys
    if not outer and told_apart(node.condition, left.keys, columns[0]):
        rows, keys = _less(rows, known[1]), keys | right.keys
    return rows, keys


def _less(a: int | None, b: int | None) -> int | None:
    known = [n for n in (a, b) if n is not None]
    return min(known) if known else None


def check_filtering(node: JoinOn, private: Private, public: Node, data: PublicData) -> None:
    """Raise `Refusal` unless a semi or anti join with settled public rows computes safely."""
    columns = frozenset(c.id for c in public.columns)
    by_equality = is_lookup(node.condition, columns)
    met = 1
    if not by_equality:
        met = max(data.multiplicity(public, tuple(sorted(equated(node.condition, columns)))), 1)
        check_pairs(private.rows, met, by_equality=False)
    if node.condition is not None:
        lengths = {**private.lengths, **_lengths(public, references(node.condition), data)}
        rows = None if private.rows is None else private.rows * met
        replace(private, lengths=lengths, rows=rows).check(node.condition)
