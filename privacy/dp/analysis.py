"""From a typed plan to priced releases: what is drawn, with which sensitivity, for which cells.

`analyse` reads the question and `PublicFacts`, nothing else. Each aggregate over a private relation
becomes one `ReleasePlan`; the plan above them, with every such aggregate replaced by a `Local`
named
by the release's digest, is public and free. Equal aggregates in one question are one release.
"""

from privacy.dp.bounding import Contribution
from privacy.dp.canonical import digest
from privacy.dp.cells import key_cells, too_many_cells
from privacy.dp.classify import Classifier
from privacy.dp.draw import Output, Program, ReleasePlan
from privacy.dp.exact import ExactQuery, Measure, MeasureKind
from privacy.dp.facts import MAX_CELLS, MAX_ROWS_PER_UNIT, PublicFacts
from privacy.dp.fixedpoint import fixed_bounds
from privacy.dp.measure import Builder
from privacy.dp.plan import (
    AggregateKind,
    Group,
    JoinOn,
    Local,
    Node,
    Scan,
    UnionAll,
    children,
    walk,
    with_children,
)
from privacy.dp.prune import prune
from privacy.dp.relation import (
    Private,
    groups_per_unit,
    is_per_unit,
    rows_per_group,
    rows_refused,
)
from privacy.dp.textlength import check_key_texts
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal

MECHANISMS = "digital-lab/mechanisms/1"


def analyse(node: Node, facts: PublicFacts) -> Program:
    """Return the releases that answer `node`; raise `Refusal` if it may not be answered."""
    analysis = _Analysis(facts)
    public = analysis.lower(prune(node))
    if public is None:
        raise rows_refused("select")
    return Program(tuple(analysis.releases.values()), public)


class _Analysis:
    def __init__(self, facts: PublicFacts) -> None:
        self.facts = facts
        self.classifier = Classifier(facts)
        self.releases: dict[str, ReleasePlan] = {}

    def lower(self, node: Node) -> Node | None:
        """Return the public plan of `node`, or None where `node` itself is private rows."""
        match node:
            case Scan():
                return None if self.facts.tables[node.table].is_private else node
            case Local():
                return node
            case Group():
                child = self.lower(node.child)
                if child is not None:
                    return with_children(node, (child,))
                kind = self.classifier.kind(node.child)
                if not isinstance(kind, Private):
                    raise AssertionError("a private plan has a private kind")  # noqa: TRY004  # not the caller's
                return None if is_per_unit(node, kind) else self._release(node, kind)
            case JoinOn() | UnionAll():
                return self._combine(node)
            case _:
                child = self.lower(node.child)
                if child is None:
                    self.classifier.kind(node)
                    return None
                return with_children(node, (child,))

    def _combine(self, node: JoinOn | UnionAll) -> Node | None:
        lowered = [self.lower(c) for c in children(node)]
        if all(c is not None for c in lowered):
            return with_children(node, tuple(c for c in lowered if c is not None))
        if self._uses_release(lowered):
            raise Refusal(
                "JOIN_FORM",
                "A released answer cannot be combined with private rows in one question. Ask for "
                "the "
                "release first, turn it into rows (createDataFrame of its pandas frame), then "
                "join those.",
                "已发布的结果不能与私有行在同一个问题中组合。请先取得该结果，"
                "再用其 pandas 表 createDataFrame 后连接。",
            )
        self.classifier.kind(node)
        return None

    def _uses_release(self, lowered: list[Node | None]) -> bool:
        return any(
            isinstance(n, Local) and n.digest in self.releases
            for root in lowered
            if root is not None
            for n in walk(root)
        )

    def _release(self, node: Group, kind: Private) -> Node:
        kind.check(*(expr for _, expr in node.keys))
        for column, _ in node.keys:
            if column.type is DataType.DOUBLE:
                raise Refusal(
                    "TYPE_MISMATCH",
                    f"`{column.name}` is a double and cannot be a group key of private rows. "
                    "Group by a whole "
                    "number made from it, such as floor(x / 1000).",
                    f"`{column.name}` 是 double 类型，不能作为私有行的分组键。请用由它得到的整数"
                    "分组，"
                    "例如 floor(x / 1000)。",
                )
        rows, unit_limit = _row_bound(kind)
        contribution = Contribution.of(
            rows=rows,
            groups=groups_per_unit(node, kind),
            rows_in_group=rows_per_group(node, kind),
        )
        cells = key_cells(node, kind, self.facts)
        if cells is None:
            check_key_texts((expr for _, expr in node.keys), kind.lengths)
        builder = Builder(kind, contribution)
        outputs = tuple(builder.output(column, call) for column, call in node.aggregates)
        support = builder.units() if cells is None else None
        if not outputs and support is None:
            # groupBy(keys).agg() without aggregates: nothing is drawn for declared keys.
            builder.rows()
        self._check_size(cells, outputs)
        settled = self.classifier.settled(node)
        if not isinstance(settled, Group):
            raise AssertionError("settling keeps the form of a plan")  # noqa: TRY004  # our bug
        identity = digest(settled, self.facts, extra={"mechanisms": MECHANISMS})
        release = ReleasePlan(
            digest=identity,
            domain=kind.domain,
            tables=tuple(sorted({n.table for n in walk(node) if isinstance(n, Scan)})),
            cohorts=self._cohorts(node),
            exact=ExactQuery(
                child=settled.child,
                keys=node.keys,
                measures=tuple(builder.measures),
                scan_limits=self._scan_limits(node),
                inner=self._inner(node.child),
                unit_limit=unit_limit,
                cohorts=self.facts.cohorts,
                unit_columns=tuple(sorted(kind.units)),
            ),
            contribution=contribution,
            keys=tuple(c for c, _ in node.keys),
            cells=cells,
            outputs=outputs,
            draws=tuple(builder.draws),
            support=support,
            notes=tuple(builder.notes),
            multiplicities=tuple(sorted(self.classifier.multiplicities.items())),
            most_rows=self._most_rows(node),
        )
        self.releases.setdefault(identity, release)
        sources = tuple(f"k{i}" for i in range(len(node.keys))) + tuple(
            f"v{i}" for i in range(len(outputs))
        )
        return Local(identity, node.columns, sources)

    def _most_rows(self, node: Group) -> int:
        kinds = (self.classifier.kind(n) for n in walk(node.child))
        return max((k.rows or 1 for k in kinds if isinstance(k, Private)), default=1)

    def _check_size(
        self, cells: tuple[tuple[Value, ...], ...] | None, outputs: tuple[Output, ...]
    ) -> None:
        size = (1 if cells is None else len(cells)) * max(len(outputs), 1)
        if size > MAX_CELLS:
            raise too_many_cells(size)

    def _cohorts(self, node: Group) -> tuple[int, ...]:
        present: set[int] = set()
        for scan in walk(node):
            if isinstance(scan, Scan):
                present.update(self.facts.tables[scan.table].cohorts)
        if self.facts.cohorts is not None:
            present &= set(self.facts.cohorts)
            if not present:
                wished = ", ".join(map(str, self.facts.cohorts))
                raise Refusal(
                    "UNSUPPORTED",
                    f"lab.cohorts is {wished}, and the tables of this question have none of them. "
                    "Unset it, or name one that df.explain() shows.",
                    f"lab.cohorts 为 {wished}，而此问题的表没有这些批次。"
                    "请取消该设置，或使用 df.explain() 显示的批次。",
                )
        return tuple(sorted(present))

    def _scan_limits(self, node: Group) -> tuple[tuple[int, int], ...]:
        limits: list[tuple[int, int]] = []
        for scan in walk(node):
            if isinstance(scan, Scan) and self.facts.tables[scan.table].is_private:
                kind = self.classifier.kind(scan)
                if isinstance(kind, Private) and kind.rows is not None:
                    limits.append((scan.columns[0].id, kind.rows))
        return tuple(limits)

    def _inner(self, node: Node) -> tuple[tuple[int, Measure], ...]:
        """Return the clamped measures of aggregates inside per-unit groups."""
        found: list[tuple[int, Measure]] = []
        for group in walk(node):
            if not isinstance(group, Group):
                continue
            kind = self.classifier.kind(group.child)
            if not isinstance(kind, Private):
                continue
            for column, call in group.aggregates:
                if call.kind in (AggregateKind.SUM, AggregateKind.AVG):
                    rows = max(rows_per_group(group, kind) or 0, 1)
                    scale, interval = fixed_bounds(call.args[0], kind, rows)
                    found.append(
                        (
                            column.id,
                            Measure(
                                name=f"i{column.id}",
                                kind=MeasureKind.SUM,
                                value=call.args[0],
                                scale=scale,
                                low=int(interval.low),
                                high=int(interval.high),
                            ),
                        )
                    )
        return tuple(found)


def _row_bound(kind: Private) -> tuple[int, int | None]:
    """Return B and, where a contract's own cap is larger, the query-time limit."""
    if kind.rows is not None and kind.rows <= MAX_ROWS_PER_UNIT:
        return max(kind.rows, 1), None
    return MAX_ROWS_PER_UNIT, MAX_ROWS_PER_UNIT
