"""Recomputes what bounds a compiled plan keeps, node by node, from contract facts alone.

Source: soundness A.1-A.5, A.7-A.10. Nothing of the compiler or the analysis is imported.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from privacy.dp.facts import MAX_ROWS_PER_UNIT, TableFacts
from privacy.dp.query import JoinKind
from privacy.dp.types import Value
from sandbox.engine.claim import CertificateError, Claim, above
from sandbox.engine.physical import (
    Clamped,
    CohortIn,
    Col,
    Compute,
    First,
    Fixed,
    Keep,
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
    UnitCount,
    UnitDistinct,
    UnitExtreme,
    UnitRows,
    UnitSum,
    Whole,
    column_names,
    scalar_of,
)
from sandbox.engine.proven import (
    Proven,
    bare_columns,
    described,
    joined_rows,
    least,
    listed_values,
    merged,
    pinned,
    rows_per_group,
    tightened,
    times,
    values,
)

LARGEST_SUM = 2**62
"""No exact total may reach this: 64-bit sums must not wrap (soundness A.7)."""

UNKNOWN_UNITS = 10**9
"""Units of a domain whose contract states no cap: more than any city has."""


@dataclass(frozen=True, slots=True)
class Prover:
    """One proof."""

    claim: Claim
    tables: Mapping[str, TableFacts]
    public_values: Callable[[int], Collection[Value] | None]
    counted: frozenset[str]
    """Columns whose number of values can matter."""

    def bounds(self, relation: Relation) -> Proven:
        """Return what is proven of a relation; raise where its form is unsound."""
        match relation:
            case Read():
                return self._read(relation)
            case Rows():
                return self._public(relation)
            case RankAtMost():
                return self._ranked(relation)
            case CohortIn():
                return self._cohorts(relation)
            case Keep():
                bounded = self.bounds(relation.child)
                self.visible(relation.predicate, bounded)
                return pinned(relation.predicate, bounded)
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

    def _read(self, read: Read) -> Proven:
        facts = self.tables[read.table]
        if not facts.is_private:
            if read.hidden is not None:
                raise CertificateError("a public table with a unit")
            return self._public(read)
        if read.hidden is None:
            raise CertificateError("a private table without its unit")
        if self.claim.cohorts is not None:
            raise CertificateError("a private table that is read without its cohort filter")
        return self._private(read, facts)

    def _public(self, relation: Read | Rows) -> Proven:
        named = [o for o in relation.outputs if o.name in self.counted]
        found = {o.name: self.public_values(o.id) for o in named}
        listed = {name: frozenset(known) for name, known in found.items() if known is not None}
        domains = {name: values - {None} for name, values in listed.items()}
        return Proven(
            unit=None,
            domain=None,
            rows=None,
            hidden=frozenset(),
            sizes={name: max(len(values), 1) for name, values in domains.items()},
            optional=frozenset(name for name, values in listed.items() if None in values),
            domains=domains,
        )

    def _private(self, read: Read, facts: TableFacts) -> Proven:
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
        return tightened(
            Proven(
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
                of_unit=raw,
                max_units=facts.max_units,
            )
        )

    def _ranked(self, node: RankAtMost) -> Proven:
        bounded = self.bounds(node.child)
        inner = node.child
        while isinstance(inner, RankAtMost | CohortIn):
            inner = inner.child
        if not isinstance(inner, Read) or inner.hidden is None or node.rank != inner.hidden.rank:
            raise CertificateError("a rank filter away from the stored ranks")
        return replace(bounded, rows=least(bounded.rows, node.limit))

    def _cohorts(self, node: CohortIn) -> Proven:
        inner = node.child
        if (
            not isinstance(inner, Read)
            or inner.hidden is None
            or node.cohort != inner.hidden.cohort
        ):
            raise CertificateError("a cohort filter away from the stored cohorts")
        charged = self.claim.cohorts
        if charged is not None and not set(node.cohorts) <= set(charged):
            raise above("the cohorts read", node.cohorts, charged)
        return self._private(inner, self.tables[inner.table])

    def _compute(self, node: Compute) -> Proven:
        bounded = self.bounds(node.child)
        for _, expr in node.items:
            self.visible(expr, bounded)
        if bounded.unit is not None and bounded.unit not in node.carried:
            raise CertificateError("a projection that loses the unit")
        made = {n for n, e in node.items if column_names(e) <= bounded.constant}
        of_unit = {n for n, e in node.items if column_names(e) & bounded.of_unit}
        copies = {n: e.name for n, e in node.items if isinstance(e, Col)}
        sizes, domains, optional = described(node.items, bounded)
        return replace(
            bounded,
            sizes={**bounded.sizes, **sizes},
            domains={**bounded.domains, **domains},
            optional=bounded.optional | optional,
            constant=bounded.constant | made,
            raw_units=bounded.raw_units | {n for n, o in copies.items() if o in bounded.raw_units},
            of_unit=bounded.of_unit | of_unit,
        )

    def _meet(self, node: Meet) -> Proven:
        left, right = self.bounds(node.left), self.bounds(node.right)
        both = merged(left, right)
        if node.condition is not None:
            self.visible(node.condition, both)
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
        sides = (left, _outputs(node.left)), (right, _outputs(node.right))
        rows, keys = joined_rows(node.condition, *sides, outer=outer)
        result = replace(
            both,
            rows=rows,
            keys=keys,
            optional=both.optional | (frozenset(right.sizes) if outer else frozenset()),
            constant=left.constant | (right.constant if follows else frozenset()),
            raw_units=left.raw_units if outer else left.raw_units | right.raw_units,
        )
        proven = tightened(result)
        _check_growth(proven.rows, left.rows, right.rows)
        return proven

    def _public_meet(self, node: Meet, left: Proven, both: Proven) -> Proven:
        known = self.claim.public_multiplicities.get(-1 if node.public is None else node.public)
        if known is None or known < 0:
            raise CertificateError("a public join without a known multiplicity")
        fan = max(1, known)
        condition = column_names(node.condition) if node.condition is not None else frozenset()
        public = _outputs(node.right)
        # Matched rows follow the unit only if what they are matched by does.
        follows = fan == 1 and (condition - public) <= left.constant
        made = times(left.rows, fan)
        _check_growth(made, left.rows)
        return replace(
            both,
            rows=made,
            keys=left.keys if fan == 1 else frozenset(),
            optional=both.optional | (public if node.kind is JoinKind.LEFT else frozenset()),
            constant=left.constant | (public if follows else frozenset()),
        )

    def _same_unit(self, node: Meet, left: Proven, right: Proven) -> None:
        if node.units != (left.unit, right.unit) or left.domain != right.domain:
            raise CertificateError("a private join that is not on the unit of both sides")

    def _stack(self, node: Stack) -> Proven:
        parts = [self.bounds(child) for child in node.children]
        position = node.names.index(node.unit)
        hidden: set[str] = {node.unit}
        raw, of_unit = set(node.names), set[str]()
        for part, takes in zip(parts, node.takes, strict=True):
            if part.unit is None or takes[position] != part.unit:
                raise CertificateError("a union branch without its unit")
            for name, taken in zip(node.names, takes, strict=True):
                if isinstance(taken, str):
                    hidden.add(name)
                else:
                    self.visible(taken, part)
                    if column_names(taken) & part.of_unit:
                        of_unit.add(name)
                if not (isinstance(taken, Col) and taken.name in part.raw_units):
                    raw.discard(name)
        if len({p.domain for p in parts}) != 1 or not raw:
            raise CertificateError("a union of different units")
        total: int | None = 0
        for part in parts:
            total = None if total is None or part.rows is None else total + part.rows
        _check_growth(total, *(part.rows for part in parts))
        sizes, domains = self._stacked(node, parts)
        units = [p.max_units for p in parts]
        return Proven(
            unit=node.unit,
            domain=parts[0].domain,
            rows=total,
            hidden=frozenset(hidden),
            sizes=sizes,
            domains=domains,
            constant=frozenset(raw),
            raw_units=frozenset(raw),
            of_unit=frozenset(of_unit),
            max_units=None if None in units else max(u for u in units if u is not None),
        )

    def _stacked(
        self, node: Stack, parts: list[Proven]
    ) -> tuple[dict[str, int], dict[str, frozenset[Value]]]:
        """Return what a union's columns can hold: one branch's values or another's."""
        sizes: dict[str, int] = {}
        domains: dict[str, frozenset[Value]] = {}
        for position, name in enumerate(node.names):
            taken = [(t[position], p) for t, p in zip(node.takes, parts, strict=True)]
            exprs = [(e, p) for e, p in taken if not isinstance(e, str)]
            known = [values(e, p) for e, p in exprs]
            if len(exprs) == len(taken) and None not in known:
                sizes[name] = sum(k for k in known if k is not None)
            lists = [listed_values(e, p) for e, p in exprs]
            if len(lists) == len(taken) and None not in lists:
                domains[name] = frozenset[Value]().union(*(x for x in lists if x is not None))
                sizes[name] = max(len(domains[name]), 1)
        return sizes, domains

    def _chosen(self, node: First | UnitRows) -> Proven:
        bounded = self.bounds(node.child)
        if bounded.unit is None or node.unit != bounded.unit or node.unit in node.order:
            raise CertificateError("a choice among rows that is not within one unit")
        if isinstance(node, UnitRows):
            return tightened(replace(bounded, rows=least(bounded.rows, node.limit)))
        by = frozenset(node.by)
        if by & bounded.hidden:
            raise CertificateError("an expression reads a surrogate, rank or cohort")
        return tightened(replace(bounded, keys=bounded.keys | {by - bounded.raw_units}))

    def _per_unit(self, node: PerUnit) -> Proven:
        bounded = self.bounds(node.child)
        if bounded.unit is None or node.unit != bounded.unit:
            raise CertificateError("a per-unit group that is not by the unit")
        for _, expr in node.keys:
            self.visible(expr, bounded)
        together = rows_per_group(frozenset(bare_columns(e for _, e in node.keys)), bounded)
        for _, aggregate in node.aggregates:
            match aggregate:
                case UnitSum():
                    low, high = self.whole(aggregate.value, bounded)
                    if aggregate.condition is not None:
                        self.visible(aggregate.condition, bounded)
                    if together is None:
                        raise CertificateError("an inner sum over rows without a bound")
                    self.no_wrap(max(abs(low), abs(high)), together, replace(bounded, max_units=1))
                case UnitCount():
                    if aggregate.condition is not None:
                        self.visible(aggregate.condition, bounded)
                case UnitDistinct():
                    for value in aggregate.values:
                        self.visible(value, bounded)
                case UnitExtreme():
                    self.visible(aggregate.value, bounded)
                case _:
                    raise CertificateError("an unknown inner aggregate")
        return self._grouped(node, bounded)

    def _grouped(self, node: PerUnit, bounded: Proven) -> Proven:
        renamed: dict[str, str] = {}
        raw, constant = set[str](), set[str]()
        sizes, domains, nullable = described(node.keys, bounded)
        optional = set(nullable)
        names = frozenset(n for n, _ in node.keys)
        for name, expr in node.keys:
            if column_names(expr) <= bounded.constant:
                constant.add(name)
                sizes[name] = 1
                domains.pop(name, None)
                optional.discard(name)
            for stored in bare_columns((expr,)):
                renamed[stored] = name
                if stored in bounded.raw_units:
                    raw.add(name)
        # Groups tell rows apart by all their keys, and by any older key: each group stands for one
        # of its rows, whose unread columns keep their old names, which nothing can refer to.
        keys = {names - raw - constant}
        keys |= {frozenset(renamed.get(c, c) for c in k) for k in bounded.keys}
        unread = {c for k in bounded.keys for c in k} - renamed.keys()
        sizes |= {c: bounded.sizes[c] for c in unread if c in bounded.sizes}
        optional |= unread & bounded.optional
        single = names <= constant
        made = [(n, column_names(e)) for n, e in node.keys]
        made += [
            (name, column_names(scalar_of(a.value) if isinstance(a, UnitSum) else a.value))
            for name, a in node.aggregates
            if isinstance(a, UnitSum | UnitExtreme)
        ]
        result = Proven(
            unit=node.unit,
            domain=bounded.domain,
            rows=1 if single else bounded.rows,
            hidden=frozenset((node.unit,)),
            keys=frozenset(keys),
            sizes=sizes,
            optional=frozenset(optional),
            domains=domains,
            constant=names | {n for n, _ in node.aggregates} if single else frozenset(constant),
            raw_units=frozenset(raw),
            of_unit=frozenset(n for n, read in made if read & bounded.of_unit),
            max_units=bounded.max_units,
        )
        return tightened(result)

    def whole(self, whole: Whole, bounded: Proven) -> tuple[int, int]:
        """Return an integer's bounds; a chain starts at a number and is clamped at once."""
        match whole:
            case Clamped(child=Fixed() as fixed):
                self.visible(fixed.value, bounded)
                if whole.low > whole.high or fixed.scale < 0:
                    raise CertificateError("an empty clamp or a negative scale")
                return whole.low, whole.high
            case Shifted(child=Clamped()):
                low, high = self.whole(whole.child, bounded)
                return low - whole.offset, high - whole.offset
            case Squared(child=Clamped() | Shifted()):
                low, high = self.whole(whole.child, bounded)
                smallest = 0 if low <= 0 <= high else min(low * low, high * high)
                return smallest, max(low * low, high * high)
            case _:
                raise CertificateError("a summed value that is not clamped")

    def visible(self, expr: Scalar, bounded: Proven) -> None:
        """Raise if an expression reads what only ingest may have written."""
        if column_names(expr) & bounded.hidden:
            raise CertificateError("an expression reads a surrogate, rank or cohort")

    def no_wrap(self, magnitude: int, rows: int, bounded: Proven) -> None:
        """Raise if a total of such integers over all units could leave 64 bits."""
        units = bounded.max_units or UNKNOWN_UNITS
        if magnitude * rows * units >= LARGEST_SUM:
            raise above("the largest possible total", magnitude * rows * units, LARGEST_SUM)


def _check_growth(made: int | None, *given: int | None) -> None:
    """Raise if a step makes more rows of one unit than it was given, and many."""
    if made in given:
        return
    if made is None or made > MAX_ROWS_PER_UNIT:
        raise above("the rows that a step makes of one unit", made, MAX_ROWS_PER_UNIT)


def _outputs(relation: Relation) -> frozenset[str]:
    """Return the names of a relation's columns."""
    match relation:
        case Read() | Rows() | Stack():
            return frozenset(relation.names)
        case Keep() | RankAtMost() | CohortIn() | First() | UnitRows():
            return _outputs(relation.child)
        case Compute():
            return frozenset(relation.carried) | frozenset(n for n, _ in relation.items)
        case Meet(kind=JoinKind.SEMI | JoinKind.ANTI):
            return _outputs(relation.left)
        case Meet():
            return _outputs(relation.left) | _outputs(relation.right)
        case PerUnit():
            made = (n for n, _ in (*relation.keys, *relation.aggregates))
            return frozenset((relation.unit, *made))
        case _:
            raise CertificateError("a relation of an unknown form")
