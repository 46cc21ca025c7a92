"""The stability certificate: an independent proof that a compiled plan is as bounded as claimed.

It reads the physical plan that is about to run, not the analysis that made it, and recomputes from
contract facts alone: which unit each row belongs to, how many rows and groups one unit can reach
(B, L0, L∞), and in which integers its values lie. A bound above the claim, a missing clamp, a
missing cohort filter or an unknown node is refused. Nothing of the compiler is imported.

Source: soundness A.1-A.5, A.7-A.10 and H.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from privacy.dp.facts import TableFacts
from privacy.dp.types import LONG_MAX, Value
from sandbox.engine.claim import CertificateError, Claim, above
from sandbox.engine.physical import (
    Buckets,
    Cells,
    Compute,
    CountRows,
    CountUnits,
    First,
    PerUnit,
    Scalar,
    Stack,
    SumWhole,
    column_names,
    walk,
)
from sandbox.engine.proven import (
    Proven,
    bare_columns,
    rows_per_group,
    values,
)
from sandbox.engine.stability import Prover

__all__ = ["CertificateError", "Claim", "certify"]


def certify(
    plan: Cells,
    claim: Claim,
    tables: Mapping[str, TableFacts],
    public_values: Callable[[int], Collection[Value] | None],
) -> None:
    """Raise `CertificateError` unless everything that `claim` says holds of `plan`.

    `public_values` gives all values of a public column, null included, in the frozen tables; None
    where they are too many to be listed.
    """
    _Final(Prover(claim, tables, public_values, _read_by_keys(plan))).check(plan)


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


@dataclass(frozen=True, slots=True)
class _Final:
    """The checks of the final aggregate."""

    prover: Prover

    def check(self, plan: Cells) -> None:
        bounded = self.prover.bounds(plan.child)
        if bounded.unit is None or plan.unit != bounded.unit:
            raise CertificateError("the aggregate counts another unit than its rows carry")
        keys = [expr for _, expr in plan.keys]
        for expr in keys:
            self.prover.visible(expr, bounded)
            if column_names(expr) & bounded.of_unit:
                raise CertificateError("a group key is made from the unit's id")
        rows = bounded.rows
        if rows is None or rows > self.prover.claim.rows_per_unit:
            raise above("rows of one unit", rows, self.prover.claim.rows_per_unit)
        groups = self._groups(keys, bounded)
        if groups > self.prover.claim.groups_per_unit:
            raise above("groups of one unit", groups, self.prover.claim.groups_per_unit)
        together = rows_per_group(frozenset(bare_columns(keys)), bounded)
        if together is None or together > self.prover.claim.rows_per_group:
            raise above("rows of one unit in one group", together, self.prover.claim.rows_per_group)
        self._measures(plan, bounded, _Reach(rows, groups, together))

    def _groups(self, keys: list[Scalar], bounded: Proven) -> int:
        product = 1
        sizes = self.prover.claim.key_sizes or (None,) * len(keys)
        if len(sizes) != len(keys):
            raise CertificateError("the claim speaks of another number of keys")
        if self.prover.claim.cells is None:
            sizes = (None,) * len(keys)  # Open keys: nothing but the plan itself restricts them.
        for expr, released in zip(keys, sizes, strict=True):
            if column_names(expr) <= bounded.constant:
                continue
            known = [s for s in (values(expr, bounded), released) if s is not None]
            product = product * min(known) if known else LONG_MAX
            product = min(LONG_MAX, product)
        candidates = [n for n in (product, bounded.rows, self.prover.claim.cells) if n is not None]
        return min(candidates)

    def _measures(self, plan: Cells, bounded: Proven, reach: "_Reach") -> None:
        computed: dict[str, tuple[int, int]] = {}
        moved: dict[str, int] = {}
        for name, total in plan.totals:
            if total.condition is not None:
                self.prover.visible(total.condition, bounded)
            match total:
                case CountRows() | CountUnits():
                    computed[name] = (0, 1)
                    units = isinstance(total, CountUnits)
                    moved[name] = min(reach.rows, reach.groups) if units else reach.squared_l2(1)
                case SumWhole():
                    low, high = computed[name] = self.prover.whole(total.value, bounded)
                    moved[name] = reach.squared_l2(max(abs(low), abs(high)))
                case _:
                    raise CertificateError("an unknown total")
        for name, buckets in plan.histograms:
            computed[name] = self._buckets(buckets, bounded)
        if computed.keys() != self.prover.claim.measures.keys():
            raise CertificateError("the plan measures other things than the claim")
        for name, (low, high) in computed.items():
            claimed = self.prover.claim.measures[name]
            if low < claimed[0] or high > claimed[1]:
                raise above(f"the integers of {name}", (low, high), claimed)
            self.prover.no_wrap(max(abs(low), abs(high)), reach.rows, bounded)
        for name, claimed_square in self.prover.claim.squared_l2.items():
            if moved.get(name, 0) > claimed_square:
                raise above(f"the squared L2 sensitivity of {name}", moved[name], claimed_square)

    def _buckets(self, buckets: Buckets, bounded: Proven) -> tuple[int, int]:
        if buckets.condition is not None:
            self.prover.visible(buckets.condition, bounded)
        low, high = self.prover.whole(buckets.value, bounded)
        if buckets.step < 1 or low < buckets.low:
            raise CertificateError("a histogram with a bad step or origin")
        last = (high - buckets.low) // buckets.step
        if last >= buckets.count:
            raise above("the last bucket", last, buckets.count - 1)
        return 0, last


def _read_by_keys(plan: Cells) -> frozenset[str]:
    found: set[str] = set()
    exprs = [e for _, e in plan.keys]
    for node in walk(plan.child):
        match node:
            case PerUnit():
                exprs += [e for _, e in node.keys]
            case Compute():
                exprs += [e for _, e in node.items]
            case Stack():
                exprs += [e for takes in node.takes for e in takes if not isinstance(e, str)]
            case First():
                found.update(node.by)
            case _:
                pass
    return frozenset(found.union(*(column_names(e) for e in exprs)))
