"""What is private in a plan, and how much of it one protected unit can be.

Every node is `Public` or `Private`. A private node's rows each derive from exactly one protected
unit, followed by column identity from the scans upwards, never by name. For a private node the
record holds the proven bound of rows per unit (`rows`, B in soundness A.1), the live unique keys,
and for single columns their interval and their possible values. Everything here is a function of
the question and of `PublicFacts`.

`classify` computes the records; this module says what they mean. Anything that would let one
unit change another unit's rows is refused with the nearest allowed form.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from privacy.dp.facts import MAX_ROWS_PER_UNIT
from privacy.dp.interval import Interval, check_overflow
from privacy.dp.plan import Apply, Const, Expr, Group, Node, Ref, references
from privacy.dp.predicate import merged_values
from privacy.dp.searches import Searches
from privacy.dp.textlength import check_texts
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal


@dataclass(frozen=True, slots=True)
class Public:
    """Rows that anyone may read: public tables, the client's own frames, frozen releases."""


@dataclass(frozen=True, slots=True)
class Private:
    """Rows of protected units."""

    domain: str
    """The unit domain, such as `enterprise`."""
    units: frozenset[int]
    """Columns that hold the raw unit id of their row."""
    of_unit: frozenset[int]
    """Columns made from the unit id, those in `units` among them: no released group is theirs."""
    rows: int | None
    """B: at most this many rows of one unit; None means no bound is proven."""
    searches: Searches = field(compare=False)
    """One for all kinds of a question."""
    keys: frozenset[frozenset[int]] = frozenset()
    """Live unique keys without the unit: at most one row of a unit for each of their values."""
    sizes: Mapping[int, int] = field(default_factory=dict)
    """For raw, never-null columns: how many values can occur (declared domain or pin)."""
    values: Mapping[int, tuple[Value, ...]] = field(default_factory=dict)
    """All values that a column can hold, null included where it can be null."""
    intervals: Mapping[int, Interval] = field(default_factory=dict)
    scales: Mapping[int, int] = field(default_factory=dict)
    """Decimal digits of a numeric column, from its contract."""
    steps: Mapping[int, float] = field(default_factory=dict)
    """Quantile grid of a column, from its contract."""
    constant: frozenset[int] = frozenset()
    """Columns with one value per unit (a unit has a single row there before any fan-out)."""
    lengths: Mapping[int, int] = field(default_factory=dict)
    """Characters of the longest text of each text column."""
    max_units: int = 0
    """Public cap on the units of the domain."""
    origin: Mapping[int, tuple[Node, int]] = field(default_factory=dict)
    """For a column joined in from a public relation: that relation and its column."""

    def check(self, *exprs: Expr) -> None:
        """Raise `Refusal` if a row could make a number, a text or a search in them too large."""
        for expr in exprs:
            check_overflow(expr, self.intervals)
        check_texts(exprs, self.lengths)
        self.searches.add(exprs, self.lengths, self.rows)

    def product(self, columns: Iterable[int]) -> int | None:
        """Return how many value combinations the columns can take, or None if that is open."""
        result = 1
        for column in columns:
            if column not in self.sizes:
                return None
            result *= self.sizes[column]
        return result


Kind = Public | Private


def is_per_unit(node: Group, kind: Private) -> bool:
    """Whether the group's keys include the raw unit id, so that every group is one unit's own."""
    return any(isinstance(e, Ref) and e.id in kind.units for _, e in node.keys)


def rows_per_group(node: Group, kind: Private) -> int | None:
    """L∞: at most this many rows of one unit fall into one group (soundness A.2, A.4)."""
    grouped = {e.id for _, e in node.keys if isinstance(e, Ref)}
    best = kind.rows
    for key in kind.keys:
        open_part = kind.product(key - grouped)
        if open_part is not None:
            best = open_part if best is None else min(best, open_part)
    return best


def groups_per_unit(node: Group, kind: Private) -> int | None:
    """L0: at most this many groups hold rows of one unit."""
    product: int | None = 1
    for _, expr in node.keys:
        if references(expr) <= kind.constant:
            continue
        possible = possible_values(expr, kind)
        size = None if possible is None else max(len(possible), 1)
        product = None if product is None or size is None else product * size
    candidates = [n for n in (product, kind.rows) if n is not None]
    return min(candidates) if candidates else None


def possible_values(expr: Expr, kind: Private) -> tuple[Value, ...] | None:
    """Return all values that `expr` can take, if its form alone tells them; else None."""
    match expr:
        case Ref():
            if expr.id in kind.values:
                return kind.values[expr.id]
            return (None, False, True) if expr.type is DataType.BOOLEAN else None
        case Const():
            return (expr.value,)
        case Apply():
            if expr.type is DataType.BOOLEAN:
                return (None, False, True) if expr.nullable else (False, True)
            answers = branches(expr)
            if answers is None:
                return None
            found = [possible_values(b, kind) for b in answers]
            if any(f is None for f in found):
                return None
            return merged_values(f for f in found if f is not None)


def branches(expr: Apply) -> list[Expr] | None:
    """Return the expressions that a conditional may answer with, or None for other functions."""
    if expr.function == "when":
        args = list(expr.args)
        default = args[-1] if len(args) % 2 else Const(None, expr.type)
        return [*args[1 : len(args) - len(args) % 2 : 2], default]
    if expr.function == "if":
        return list(expr.args[1:])
    if expr.function in ("coalesce", "ifnull", "nvl"):
        return list(expr.args)
    return None


def tightened(kind: Private) -> Private:
    """Lower B to the smallest bound that a live key proves."""
    best = kind.rows
    for key in kind.keys:
        proven = kind.product(key)
        if proven is not None:
            best = proven if best is None else min(best, proven)
    return kind if best == kind.rows else replace(kind, rows=best)


def check_growth(kind: Private, inputs: Iterable[Kind]) -> None:
    """Raise `Refusal` if a step makes too many rows of one unit: more than it was given, and many.

    It is the bound before any cut that counts, since an engine makes the rows before it cuts them.
    """
    given = [k.rows for k in inputs if isinstance(k, Private)]
    if not given or kind.rows in given:
        return
    most = None if None in given else max(r for r in given if r is not None)
    if kind.rows is None or (kind.rows > MAX_ROWS_PER_UNIT and (most is None or kind.rows > most)):
        found = "any number of" if kind.rows is None else str(kind.rows)
        number = "任意多" if kind.rows is None else str(kind.rows)
        raise Refusal(
            "TOO_LARGE",
            f"This step could make {found} rows of one protected unit; at most "
            f"{MAX_ROWS_PER_UNIT} are allowed. Aggregate each side to one row per unit first "
            "(group by its id), or join on a column that is unique in the public table.",
            f"此步骤可能使一个受保护主体产生{number}行，上限为 {MAX_ROWS_PER_UNIT}。"
            "请先按主体标识聚合为每主体一行，或按公开表中唯一的列连接。",
        )


def check_pairs(left: int | None, right: int | None, *, by_equality: bool) -> None:
    """Raise `Refusal` if a semi or an anti join could compare many pairs of one unit's rows.

    Equalities alone are looked up; anything else is computed for pair after pair.
    """
    if by_equality:
        return
    pairs = None if left is None or right is None else left * right
    if pairs is None or pairs > MAX_ROWS_PER_UNIT:
        found = "any number of" if pairs is None else str(pairs)
        number = "任意多" if pairs is None else str(pairs)
        raise Refusal(
            "TOO_LARGE",
            f"This join could compare {found} pairs of rows for one protected unit; at most "
            f"{MAX_ROWS_PER_UNIT} are allowed. Join by equality, or filter and aggregate each side "
            "first.",
            f"此连接可能为一个受保护主体比较{number}对行，上限为 {MAX_ROWS_PER_UNIT}。"
            "请使用等值连接，或先分别筛选、聚合。",
        )


def rows_refused(what: str) -> Refusal:
    """Return the refusal of an operation that needs rows of a private table."""
    return Refusal(
        "PRIVATE_ROWS",
        f"Rows of a private table cannot be shown, and `{what}` works on rows. Ask for "
        "aggregates, for "
        "example df.groupBy('district_code').agg(F.count('*')); order and limit the answer of "
        "that.",
        f"不能显示私有表的原始行，而 `{what}` 针对行。请改为聚合，例如 "
        "df.groupBy('district_code').agg(F.count('*'))，再对聚合结果排序或截取。",
    )
