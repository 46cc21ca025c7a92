"""The stability certificate: a second, independent proof that a compiled plan is as bounded as claimed.

It reads the physical plan that is about to run, not the analysis that made it, and recomputes from
contract facts alone: which unit each row belongs to, how many rows and groups one unit can reach
(B, L0, L∞), and in which integers its values lie. A bound above the claim, a missing clamp, a
missing cohort filter or an unknown node is refused. Nothing of the compiler is imported.

Source: soundness A.1-A.5, A.7-A.10 and H.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from privacy.dp.facts import TableFacts
from privacy.dp.query import JoinKind
from privacy.dp.types import LONG_MAX, DataType, Value
from sandbox.engine.physical import (
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
    UnitCount,
    UnitDistinct,
    UnitExtreme,
    UnitRows,
    UnitSum,
    Unscaled,
    Whole,
    column_names,
)

LARGEST_SUM = 2**62
"""No exact total may reach this: 64-bit sums must not wrap (soundness A.7)."""


UNKNOWN_UNITS = 10**9
"""Units of a domain whose contract states no cap: more than any city has."""


class CertificateError(Exception):
    """The compiled plan does not keep what the analysis claimed. It must not run."""

    def __init__(self, what: str, *, computed: object = None, claimed: object = None) -> None:
        """Say which bound fails, with both numbers; all of them are public facts."""
        self.what, self.computed, self.claimed = what, computed, claimed
        numbers = "" if claimed is None else f": computed {computed}, claimed {claimed}"
        super().__init__(f"The compiled plan fails its certificate: {what}{numbers}.")


@dataclass(frozen=True, slots=True)
class Claim:
    """What the analysis derived its noise from. Larger numbers than needed are safe."""

    rows_per_unit: int
    """B at the final aggregate."""
    groups_per_unit: int
    """L0."""
    rows_per_group: int
    """L∞."""
    measures: Mapping[str, tuple[int, int]]
    """For each sum: the smallest and largest integer that one row adds. For a histogram: the first
    and last bucket. For counts: (0, 1)."""
    squared_l2: Mapping[str, int] = field(default_factory=dict)
    """For counts and sums: the square of the L2 sensitivity that the noise was made for."""
    public_multiplicities: Mapping[int, int] = field(default_factory=dict)
    """For the public side of each join (by the id of its first column): F, from the frozen tables."""
    cells: int | None = None
    """Number of groups that are released whatever the data holds; None for open keys."""
    key_sizes: tuple[int | None, ...] = ()
    """With `cells`: for each key, how many values the released cells hold; None where unknown."""
    cohorts: tuple[int, ...] | None = None
    """Cohorts that are charged; None means all."""


@dataclass(frozen=True, slots=True)
class _Bounded:
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
    max_units: int | None = None


@dataclass(frozen=True, slots=True)
class _Reach:
    """B, L0 and L∞ at the final aggregate."""

    rows: int
    groups: int
    together: int

    def squared_l2(self, magnitude: int) -> int:
        """Return magnitude²·(q·L∞² + r²), where q·L∞ + r = min(B, L0·L∞)."""
        full, rest = divmod(min(self.rows, self.groups * self.together), self.together)
        return magnitude**2 * (full * self.together**2 + rest**2)


def certify(plan: Cells, claim: Claim, tables: Mapping[str, TableFacts]) -> None:
    """Raise `CertificateError` unless everything that `claim` says holds of `plan`."""
    _Checker(claim, tables).check(plan)


class _Checker:
    def __init__(self, claim: Claim, tables: Mapping[str, TableFacts]) -> None:
        self._claim, self._tables = claim, tables

    def check(self, plan: Cells) -> None:
        bounded = self._bounds(plan.child)
        if bounded.unit is None or plan.unit != bounded.unit:
            raise CertificateError("the aggregate counts another unit than its rows carry")
        keys = [expr for _, expr in plan.keys]
        for expr in keys:
            self._visible(expr, bounded)
            if column_names(expr) & bounded.raw_units:
                raise CertificateError("a group key is made from the unit's id")
        rows = bounded.rows
        if rows is None or rows > self._claim.rows_per_unit:
            raise _above("rows of one unit", rows, self._claim.rows_per_unit)
        groups = self._groups(keys, bounded)
        if groups > self._claim.groups_per_unit:
            raise _above("groups of one unit", groups, self._claim.groups_per_unit)
        together = _rows_per_group(frozenset(_bare(keys)), bounded)
        if together is None or together > self._claim.rows_per_group:
            raise _above("rows of one unit in one group", together, self._claim.rows_per_group)
        self._measures(plan, bounded, _Reach(rows, groups, together))

    def _groups(self, keys: list[Scalar], bounded: _Bounded) -> int:
        product = 1
        sizes = self._claim.key_sizes or (None,) * len(keys)
        if len(sizes) != len(keys):
            raise CertificateError("the claim speaks of another number of keys")
        if self._claim.cells is None:
            sizes = (None,) * len(keys)  # Open keys: nothing but the plan itself restricts them.
        for expr, released in zip(keys, sizes, strict=True):
            if column_names(expr) <= bounded.constant:
                continue
            known = [s for s in (self._values(expr, bounded), released) if s is not None]
            product = product * min(known) if known else LONG_MAX
            if product >= LONG_MAX:
                product = LONG_MAX
        candidates = [n for n in (product, bounded.rows, self._claim.cells) if n is not None]
        return min(candidates)

    def _values(self, expr: Scalar, bounded: _Bounded) -> int | None:
        """Return how many values a key can take among one unit's rows, if that is known."""
        match expr:
            case Lit():
                return 1
            case Col(name=name) | Unscaled(stored=Col(name=name)) if name in bounded.sizes:
                return bounded.sizes[name] + (name in bounded.optional)
            case Call(function="when", args=args):
                chosen = list(args[1::2])
                # Without a default, null is one more answer; with one, it stands last.
                chosen.append(args[-1] if len(args) % 2 else Lit(None, expr.type))
                return self._together(chosen, bounded)
            case Call(function="coalesce", args=args):
                return self._together(list(args), bounded)
            case _:
                return 3 if expr.type is DataType.BOOLEAN else None

    def _together(self, exprs: list[Scalar], bounded: _Bounded) -> int | None:
        literals = {(type(e.value).__name__, e.value) for e in exprs if isinstance(e, Lit)}
        total = len(literals)
        for expr in exprs:
            if not isinstance(expr, Lit):
                known = self._values(expr, bounded)
                if known is None:
                    return None
                total += known
        return total

    def _measures(self, plan: Cells, bounded: _Bounded, reach: "_Reach") -> None:
        computed: dict[str, tuple[int, int]] = {}
        moved: dict[str, int] = {}
        for name, total in plan.totals:
            if total.condition is not None:
                self._visible(total.condition, bounded)
            match total:
                case CountRows() | CountUnits():
                    computed[name] = (0, 1)
                    units = isinstance(total, CountUnits)
                    moved[name] = min(reach.rows, reach.groups) if units else reach.squared_l2(1)
                case SumWhole():
                    low, high = computed[name] = self._whole(total.value, bounded)
                    moved[name] = reach.squared_l2(max(abs(low), abs(high)))
                case _:
                    raise CertificateError("an unknown total")
        for name, buckets in plan.histograms:
            computed[name] = self._buckets(buckets, bounded)
        if computed.keys() != self._claim.measures.keys():
            raise CertificateError("the plan measures other things than the claim")
        for name, (low, high) in computed.items():
            claimed = self._claim.measures[name]
            if low < claimed[0] or high > claimed[1]:
                raise _above(f"the integers of {name}", (low, high), claimed)
            self._no_wrap(max(abs(low), abs(high)), reach.rows, bounded)
        for name, claimed_square in self._claim.squared_l2.items():
            if moved.get(name, 0) > claimed_square:
                raise _above(f"the squared L2 sensitivity of {name}", moved[name], claimed_square)

    def _buckets(self, buckets: Buckets, bounded: _Bounded) -> tuple[int, int]:
        if buckets.condition is not None:
            self._visible(buckets.condition, bounded)
        low, high = self._whole(buckets.value, bounded)
        if buckets.step < 1 or low < buckets.low:
            raise CertificateError("a histogram with a bad step or origin")
        last = (high - buckets.low) // buckets.step
        if last >= buckets.count:
            raise _above("the last bucket", last, buckets.count - 1)
        return 0, last

    def _no_wrap(self, magnitude: int, rows: int, bounded: _Bounded) -> None:
        units = bounded.max_units or UNKNOWN_UNITS
        if magnitude * rows * units >= LARGEST_SUM:
            raise _above("the largest possible total", magnitude * rows * units, LARGEST_SUM)

    def _whole(self, whole: Whole, bounded: _Bounded) -> tuple[int, int]:
        """Return the bounds of an integer; every chain starts at a number and is clamped at once."""
        match whole:
            case Clamped(child=Fixed() as fixed):
                self._visible(fixed.value, bounded)
                if whole.low > whole.high or fixed.scale < 0:
                    raise CertificateError("an empty clamp or a negative scale")
                return whole.low, whole.high
            case Shifted(child=Clamped()):
                low, high = self._whole(whole.child, bounded)
                return low - whole.offset, high - whole.offset
            case Squared(child=Clamped() | Shifted()):
                low, high = self._whole(whole.child, bounded)
                smallest = 0 if low <= 0 <= high else min(low * low, high * high)
                return smallest, max(low * low, high * high)
            case _:
                raise CertificateError("a summed value that is not clamped")

    def _visible(self, expr: Scalar, bounded: _Bounded) -> None:
        if column_names(expr) & bounded.hidden:
            raise CertificateError("an expression reads a surrogate, rank or cohort")

    def _bounds(self, relation: Relation) -> _Bounded:
        match relation:
            case Read():
                return self._read(relation)
            case Rows():
                return _Bounded(None, None, None, frozenset())
            case RankAtMost():
                return self._ranked(relation)
            case CohortIn():
                return self._cohorts(relation)
            case Keep():
                bounded = self._bounds(relation.child)
                self._visible(relation.predicate, bounded)
                return _pinned(relation.predicate, bounded)
            case Compute():
                return self._compute(relation)
            case Meet():
                return self._meet(relation)
            case Stack():
                return self._stack(relation)
            case First() | UnitRows():
                return self._chosen(relation)
            case PerUnit():
                return self._per_unit(relation)
            case _:
                raise CertificateError("an unknown node")

    def _read(self, read: Read) -> _Bounded:
        facts = self._tables[read.table]
        if not facts.is_private:
            if read.hidden is not None:
                raise CertificateError("a public table with a unit")
            return _Bounded(None, None, None, frozenset())
        if read.hidden is None:
            raise CertificateError("a private table without its unit")
        if self._claim.cohorts is not None:
            raise CertificateError("a private table that is read without its cohort filter")
        return self._private(read, facts)

    def _private(self, read: Read, facts: TableFacts) -> _Bounded:
        hidden = read.hidden
        if hidden is None:
            raise CertificateError("a private table without its unit")
        names = {o.source: o.name for o in read.outputs}
        sizes: dict[str, int] = {}
        domains: dict[str, frozenset[Value]] = {}
        optional: set[str] = set()
        for column in facts.columns:
            if column.domain is not None:
                name = names.get(column.name, f"{hidden.unit}.{column.name}")
                sizes[name] = len(column.domain)
                domains[name] = frozenset(column.domain)
                if column.nullable:
                    optional.add(name)
        keys = frozenset(
            # A key column that is not read still tells rows apart; its name cannot be a real one.
            frozenset(names.get(c, f"{hidden.unit}.{c}") for c in key if c != facts.unit_column)
            for key in facts.unique_keys
            if facts.unit_column in key
        )
        raw = frozenset(o.name for o in read.outputs if o.source == facts.unit_column)
        single = frozenset() in keys
        return _tightened(
            _Bounded(
                unit=hidden.unit,
                domain=facts.unit_domain,
                rows=None,
                hidden=frozenset((hidden.unit, hidden.rank, hidden.cohort)),
                keys=keys,
                sizes=sizes,
                optional=frozenset(optional),
                domains=domains,
                constant=raw | (frozenset(names.values()) if single else frozenset()),
                raw_units=raw,
                max_units=facts.max_units,
            )
        )

    def _ranked(self, node: RankAtMost) -> _Bounded:
        bounded = self._bounds(node.child)
        inner = node.child
        while isinstance(inner, RankAtMost | CohortIn):
            inner = inner.child
        if not isinstance(inner, Read) or inner.hidden is None or node.rank != inner.hidden.rank:
            raise CertificateError("a rank filter away from the stored ranks")
        return replace(bounded, rows=_least(bounded.rows, node.limit))

    def _cohorts(self, node: CohortIn) -> _Bounded:
        inner = node.child
        if (
            not isinstance(inner, Read)
            or inner.hidden is None
            or node.cohort != inner.hidden.cohort
        ):
            raise CertificateError("a cohort filter away from the stored cohorts")
        charged = self._claim.cohorts
        if charged is not None and not set(node.cohorts) <= set(charged):
            raise _above("the cohorts read", node.cohorts, charged)
        return self._private(inner, self._tables[inner.table])

    def _compute(self, node: Compute) -> _Bounded:
        bounded = self._bounds(node.child)
        for _, expr in node.items:
            self._visible(expr, bounded)
        if bounded.unit is not None and bounded.unit not in node.carried:
            raise CertificateError("a projection that loses the unit")
        made = {n for n, e in node.items if column_names(e) <= bounded.constant}
        copies = {n: e.name for n, e in node.items if isinstance(e, Col)}
        counted = {n: self._values(e, bounded) for n, e in node.items}
        return replace(
            bounded,
            sizes={**bounded.sizes, **{n: k for n, k in counted.items() if k is not None}},
            constant=bounded.constant | made,
            raw_units=bounded.raw_units | {n for n, o in copies.items() if o in bounded.raw_units},
        )

    def _meet(self, node: Meet) -> _Bounded:
        left, right = self._bounds(node.left), self._bounds(node.right)
        both = _merged(left, right)
        if node.condition is not None:
            self._visible(node.condition, both)
        if left.unit is None:
            raise CertificateError("a join whose left side has no unit")
        if node.kind in (JoinKind.SEMI, JoinKind.ANTI):
            if right.unit is not None:
                self._same_unit(node, left, right)
            return left
        if node.kind not in (JoinKind.INNER, JoinKind.LEFT):
            raise CertificateError("a join that makes rows without a unit")
        if right.unit is None:
            return self._public_meet(node, left, both)
        self._same_unit(node, left, right)
        outer = node.kind is JoinKind.LEFT
        follows = not outer or (
            node.condition is None or column_names(node.condition) <= left.constant | right.constant
        )
        result = replace(
            both,
            rows=_times(left.rows, _most_one(right.rows) if outer else right.rows),
            keys=frozenset(a | b for a in left.keys for b in right.keys),
            optional=both.optional | (frozenset(right.sizes) if outer else frozenset()),
            constant=left.constant | (right.constant if follows else frozenset()),
            raw_units=left.raw_units if outer else left.raw_units | right.raw_units,
        )
        return _tightened(result)

    def _public_meet(self, node: Meet, left: _Bounded, both: _Bounded) -> _Bounded:
        times = self._claim.public_multiplicities.get(-1 if node.public is None else node.public)
        if times is None or times < 0:
            raise CertificateError("a public join without a known multiplicity")
        fan = max(1, times)
        condition = column_names(node.condition) if node.condition is not None else frozenset()
        public = _outputs(node.right)
        # Matched rows follow the unit only if what they are matched by does.
        follows = fan == 1 and (condition - public) <= left.constant
        return replace(
            both,
            rows=_times(left.rows, fan),
            keys=left.keys if fan == 1 else frozenset(),
            constant=left.constant | (public if follows else frozenset()),
        )

    def _same_unit(self, node: Meet, left: _Bounded, right: _Bounded) -> None:
        if node.units != (left.unit, right.unit) or left.domain != right.domain:
            raise CertificateError("a private join that is not on the unit of both sides")

    def _stack(self, node: Stack) -> _Bounded:
        parts = [self._bounds(child) for child in node.children]
        position = node.names.index(node.unit)
        hidden: set[str] = {node.unit}
        raw = set(node.names)
        for part, takes in zip(parts, node.takes, strict=True):
            if part.unit is None or takes[position] != part.unit:
                raise CertificateError("a union branch without its unit")
            for name, taken in zip(node.names, takes, strict=True):
                if isinstance(taken, str):
                    hidden.add(name)
                else:
                    self._visible(taken, part)
                if not (isinstance(taken, Col) and taken.name in part.raw_units):
                    raw.discard(name)
        if len({p.domain for p in parts}) != 1 or not raw:
            raise CertificateError("a union of different units")
        total: int | None = 0
        for part in parts:
            total = None if total is None or part.rows is None else total + part.rows
        sizes, domains = self._stacked(node, parts)
        units = [p.max_units for p in parts]
        return _Bounded(
            unit=node.unit,
            domain=parts[0].domain,
            rows=total,
            hidden=frozenset(hidden),
            sizes=sizes,
            domains=domains,
            constant=frozenset(raw),
            raw_units=frozenset(raw),
            max_units=None if None in units else max(u for u in units if u is not None),
        )

    def _stacked(
        self, node: Stack, parts: list[_Bounded]
    ) -> tuple[dict[str, int], dict[str, frozenset[Value]]]:
        """Return what a union's columns can hold: one branch's values or another's."""
        sizes: dict[str, int] = {}
        domains: dict[str, frozenset[Value]] = {}
        for position, name in enumerate(node.names):
            taken = [(t[position], p) for t, p in zip(node.takes, parts, strict=True)]
            exprs = [(e, p) for e, p in taken if not isinstance(e, str)]
            known = [self._values(e, p) for e, p in exprs]
            if len(exprs) == len(taken) and None not in known:
                sizes[name] = sum(k for k in known if k is not None)
            lists = [
                p.domains[e.name]
                for e, p in exprs
                if isinstance(e, Col) and e.name in p.domains and e.name not in p.optional
            ]
            if len(lists) == len(taken):
                domains[name] = frozenset().union(*lists)
                sizes[name] = max(len(domains[name]), 1)
        return sizes, domains

    def _chosen(self, node: First | UnitRows) -> _Bounded:
        bounded = self._bounds(node.child)
        if bounded.unit is None or node.unit != bounded.unit or node.unit in node.order:
            raise CertificateError("a choice among rows that is not within one unit")
        if isinstance(node, UnitRows):
            return _tightened(replace(bounded, rows=_least(bounded.rows, node.limit)))
        by = frozenset(node.by)
        if by & bounded.hidden:
            raise CertificateError("an expression reads a surrogate, rank or cohort")
        return _tightened(replace(bounded, keys=bounded.keys | {by - bounded.raw_units}))

    def _per_unit(self, node: PerUnit) -> _Bounded:
        bounded = self._bounds(node.child)
        if bounded.unit is None or node.unit != bounded.unit:
            raise CertificateError("a per-unit group that is not by the unit")
        for _, expr in node.keys:
            self._visible(expr, bounded)
        together = _rows_per_group(frozenset(_bare(e for _, e in node.keys)), bounded)
        for _, aggregate in node.aggregates:
            match aggregate:
                case UnitSum():
                    low, high = self._whole(aggregate.value, bounded)
                    if aggregate.condition is not None:
                        self._visible(aggregate.condition, bounded)
                    if together is None:
                        raise CertificateError("an inner sum over rows without a bound")
                    self._no_wrap(max(abs(low), abs(high)), together, replace(bounded, max_units=1))
                case UnitCount():
                    if aggregate.condition is not None:
                        self._visible(aggregate.condition, bounded)
                case UnitDistinct():
                    for value in aggregate.values:
                        self._visible(value, bounded)
                case UnitExtreme():
                    self._visible(aggregate.value, bounded)
                case _:
                    raise CertificateError("an unknown inner aggregate")
        return self._grouped(node, bounded)

    def _grouped(self, node: PerUnit, bounded: _Bounded) -> _Bounded:
        renamed: dict[str, str] = {}
        raw, constant = set[str](), set[str]()
        sizes: dict[str, int] = {}
        domains: dict[str, frozenset[Value]] = {}
        for name, expr in node.keys:
            follows = column_names(expr) <= bounded.constant
            known = 1 if follows else self._values(expr, bounded)
            if follows:
                constant.add(name)
            if known is not None:
                sizes[name] = known  # Null is counted already.
            for stored in _bare((expr,)):
                renamed[stored] = name
                if stored in bounded.raw_units:
                    raw.add(name)
                if stored in bounded.domains and stored not in bounded.optional:
                    domains[name] = bounded.domains[stored]
        names = frozenset(n for n, _ in node.keys)
        # Groups tell rows apart by all their keys, and by any older key among them.
        keys = {names - raw - constant}
        keys |= {frozenset(renamed[c] for c in k) for k in bounded.keys if k <= renamed.keys()}
        single = names <= constant
        result = _Bounded(
            unit=node.unit,
            domain=bounded.domain,
            rows=1 if single else bounded.rows,
            hidden=frozenset((node.unit,)),
            keys=frozenset(keys),
            sizes=sizes,
            domains=domains,
            constant=names | {n for n, _ in node.aggregates} if single else frozenset(constant),
            raw_units=frozenset(raw),
            max_units=bounded.max_units,
        )
        return _tightened(result)


def _pinned(predicate: Scalar, bounded: _Bounded) -> _Bounded:
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
    narrowed = replace(bounded, sizes=sizes, optional=frozenset(optional), domains=domains)
    return _tightened(narrowed)


_REJECTS_NULL = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "like", "isnotnull"})
"""Predicates that are not true where a compared column is null."""


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


def _tightened(bounded: _Bounded) -> _Bounded:
    """Lower B to what a live key proves; with one row for each unit every column is constant."""
    best = bounded.rows
    for key in bounded.keys:
        product = _product(key, bounded)
        if product is not None:
            best = _least(best, product)
    return replace(bounded, rows=best)


def _product(columns: Iterable[str], bounded: _Bounded) -> int | None:
    result = 1
    for name in columns:
        if name not in bounded.sizes:
            return None
        result *= bounded.sizes[name] + (name in bounded.optional)
    return result


def _rows_per_group(keys: frozenset[str], bounded: _Bounded) -> int | None:
    best = bounded.rows
    for key in bounded.keys:
        product = _product(key - keys, bounded)
        if product is not None:
            best = _least(best, product)
    return best


def _bare(keys: Iterable[Scalar]) -> Iterator[str]:
    """Return the columns that are keys unchanged; a stored fixed-point column is its double."""
    for expr in keys:
        if isinstance(expr, Col):
            yield expr.name
        elif isinstance(expr, Unscaled):
            yield expr.stored.name


def _outputs(relation: Relation) -> frozenset[str]:
    match relation:
        case Read() | Rows():
            return frozenset(relation.names)
        case Keep():
            return _outputs(relation.child)
        case Compute():
            return frozenset(relation.carried) | frozenset(n for n, _ in relation.items)
        case _:
            raise CertificateError("a public side of an unknown form")


def _merged(left: _Bounded, right: _Bounded) -> _Bounded:
    units = [m for m in (left.max_units, right.max_units) if m is not None]
    return replace(
        left,
        hidden=left.hidden | right.hidden,
        sizes={**left.sizes, **right.sizes},
        optional=left.optional | right.optional,
        domains={**left.domains, **right.domains},
        max_units=max(units) if units else None,
    )


def _least(known: int | None, other: int) -> int:
    return other if known is None else min(known, other)


def _most_one(rows: int | None) -> int | None:
    return None if rows is None else max(1, rows)


def _times(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a * b


def _above(what: str, computed: object, claimed: object) -> CertificateError:
    infinite = math.inf if computed is None else computed
    return CertificateError(what, computed=infinite, claimed=claimed)
