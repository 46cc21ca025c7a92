"""From a typed plan to priced releases: what is drawn, with which sensitivity, for which cells.

`analyse` reads the question and `PublicFacts`, nothing else. Each aggregate over a private relation
becomes one `ReleasePlan`; the plan above them, with every such aggregate replaced by a `Local` named
by the release's digest, is public and free. Equal aggregates in one question are one release.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from privacy.dp.bounding import Contribution
from privacy.dp.budget import Budget
from privacy.dp.canonical import digest
from privacy.dp.exact import ExactQuery, Measure, MeasureKind
from privacy.dp.facts import PublicFacts
from privacy.dp.interval import Interval, bounds, check_overflow
from privacy.dp.plan import (
    AggregateCall,
    AggregateKind,
    Apply,
    Column,
    Const,
    DistinctOn,
    Expr,
    Group,
    JoinOn,
    Local,
    Node,
    Project,
    Ref,
    Scan,
    Slice,
    SortBy,
    UnionAll,
    Where,
    children,
    references,
)
from privacy.dp.prune import prune
from privacy.dp.relation import (
    Classifier,
    Private,
    digits,
    groups_per_unit,
    is_per_unit,
    possible_values,
    rows_per_group,
    rows_refused,
)
from privacy.dp.types import DataType, Value
from privacy.errors import Refusal

MAX_CELLS = 200_000
"""Cells of one answer: groups times aggregates (design §4.5)."""
MAX_ROWS_PER_UNIT = 4096
"""A larger proven row bound is cut to this by a window per unit right before the aggregate."""
HEADROOM = 2**62
"""|bound| · rows of all units stays below this, so that no 64-bit sum can overflow (soundness A.7)."""
GRID = 2_000
"""Quantile candidates where the contract gives no step."""
MAX_GRID = 20_000
SELECTION_DELTA_1E12 = 10
"""delta of one open-key selection, in 1e-12."""
EXTREME_THOUSANDTHS = 5
"""min and max over private rows are the 0.5 % and 99.5 % quantiles, and say so."""
MECHANISMS = "digital-lab/mechanisms/1"


@dataclass(frozen=True, slots=True)
class Draw:
    """One use of a mechanism over all cells of a release."""

    measure: str
    mechanism: str
    """`gaussian` or `noisy_max`."""
    squared_l2: int
    """Gaussian: square of the L2 sensitivity. Noisy max: square of the score's sensitivity."""
    cells_per_unit: int = 1
    """Noisy max: cells that one unit can touch, each of which is charged."""
    thousandths: int = 500
    """Noisy max: the wished quantile."""
    side: int = 0
    """Noisy max: −1 and +1 are the draws that bound the answer from below and above."""


@dataclass(frozen=True, slots=True)
class Output:
    """How one answer column is made of draws."""

    column: Column
    form: str
    """`integer`, `fixed`, `ratio`, `variance`, `deviation` or `quantile`."""
    draws: tuple[int, ...]
    scale: int = 0
    middle: int = 0
    """Ratio and variance: the fixed-point value subtracted from each row's value."""
    low: int = 0
    high: int = 0
    step: int = 0
    sample: bool = False
    """Variance: divide by n − 1 instead of n."""


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """One aggregate over private rows, ready to be priced, run, noised and recorded."""

    digest: str
    domain: str
    tables: tuple[str, ...]
    cohorts: tuple[int, ...]
    exact: ExactQuery
    contribution: Contribution
    keys: tuple[Column, ...]
    cells: tuple[tuple[Value, ...], ...] | None
    """All key tuples that are answered; None when keys are open and pass a threshold."""
    outputs: tuple[Output, ...]
    draws: tuple[Draw, ...]
    support: int | None
    """Open keys: the draw that counts distinct units and is compared with the threshold."""
    notes: tuple[str, ...] = ()

    @property
    def delta_1e12(self) -> int:
        """Return the delta of the key selection, zero for declared keys."""
        return SELECTION_DELTA_1E12 if self.cells is None else 0


@dataclass(frozen=True, slots=True)
class Program:
    """A whole question: its releases, and the public plan above them."""

    releases: tuple[ReleasePlan, ...]
    plan: Node
    """Only public inputs: scans of public tables, frames, and `Local(release digest)`."""

    @property
    def draws(self) -> int:
        """Return the number of mechanism uses that share the price."""
        return sum(len(r.draws) for r in self.releases)


def costs(program: Program, micro_rho: int) -> tuple[Budget, ...]:
    """Split the price of the whole answer over its releases, each draw an equal share.

    Raise `Refusal(BAD_EPSILON)` when a share would fall below one micro-rho.
    """
    if not program.releases:
        return ()
    share = micro_rho // program.draws
    if share < 1:
        raise Refusal(
            "BAD_EPSILON",
            f"This epsilon buys {micro_rho} micro-rho, but the answer needs {program.draws} draws of at "
            "least 1 each. Raise epsilon or ask for fewer aggregates.",
            f"该 epsilon 对应 {micro_rho} micro-rho，而此回答需要 {program.draws} 次抽样，每次至少 1。"
            "请提高 epsilon 或减少聚合项。",
        )
    return tuple(Budget(share * len(r.draws), r.delta_1e12) for r in program.releases)


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
                    return Group(child, node.keys, node.aggregates)
                kind = self.classifier.kind(node.child)
                if not isinstance(kind, Private):
                    raise AssertionError("a private plan has a private kind")
                return None if is_per_unit(node, kind) else self._release(node, kind)
            case JoinOn() | UnionAll():
                return self._combine(node)
            case _:
                child = self.lower(node.child)
                if child is None:
                    self.classifier.kind(node)
                    return None
                return _with_child(node, child)

    def _combine(self, node: JoinOn | UnionAll) -> Node | None:
        lowered = [self.lower(c) for c in children(node)]
        if all(c is not None for c in lowered):
            inputs = tuple(c for c in lowered if c is not None)
            if isinstance(node, UnionAll):
                return UnionAll(inputs, node.columns)
            return JoinOn(inputs[0], inputs[1], node.kind, node.condition, node.columns)
        if self._uses_release(lowered):
            raise Refusal(
                "JOIN_FORM",
                "A released answer cannot be combined with private rows in one question. Ask for the "
                "release first, turn it into rows (createDataFrame of its pandas frame), then join those.",
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
            for n in _walk(root)
        )

    def _release(self, node: Group, kind: Private) -> Node:
        for column, expr in node.keys:
            check_overflow(expr, kind.intervals)
            if column.type is DataType.DOUBLE:
                raise Refusal(
                    "TYPE_MISMATCH",
                    f"`{column.name}` is a double and cannot be a group key of private rows. Group by a whole "
                    "number made from it, such as floor(x / 1000).",
                    f"`{column.name}` 是 double 类型，不能作为私有行的分组键。请用由它得到的整数分组，"
                    "例如 floor(x / 1000)。",
                )
        rows, unit_limit = _row_bound(kind)
        contribution = Contribution.of(
            rows=rows,
            groups=groups_per_unit(node, kind),
            rows_in_group=rows_per_group(node, kind),
        )
        cells = self._cells(node, kind)
        builder = _Builder(kind, contribution)
        outputs = tuple(builder.output(column, call) for column, call in node.aggregates)
        support = builder.units() if cells is None else None
        if not outputs and support is None:
            # groupBy(keys).agg() without aggregates: nothing is drawn for declared keys.
            builder.rows()
        self._check_size(node, cells, outputs)
        identity = digest(node, self.facts, extra={"mechanisms": MECHANISMS})
        release = ReleasePlan(
            digest=identity,
            domain=kind.domain,
            tables=tuple(sorted({n.table for n in _walk(node) if isinstance(n, Scan)})),
            cohorts=self._cohorts(node),
            exact=ExactQuery(
                child=node.child,
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
        )
        self.releases.setdefault(identity, release)
        sources = tuple(f"k{i}" for i in range(len(node.keys))) + tuple(
            f"v{i}" for i in range(len(outputs))
        )
        return Local(identity, node.columns, sources)

    def _check_size(
        self, node: Group, cells: tuple[tuple[Value, ...], ...] | None, outputs: tuple[Output, ...]
    ) -> None:
        size = (1 if cells is None else len(cells)) * max(len(outputs), 1)
        if size > MAX_CELLS:
            raise _too_many(size)

    def _cohorts(self, node: Group) -> tuple[int, ...]:
        present: set[int] = set()
        for scan in _walk(node):
            if isinstance(scan, Scan):
                present.update(self.facts.tables[scan.table].cohorts)
        if self.facts.cohorts is not None:
            present &= set(self.facts.cohorts)
        return tuple(sorted(present))

    def _scan_limits(self, node: Group) -> tuple[tuple[int, int], ...]:
        limits: list[tuple[int, int]] = []
        for scan in _walk(node):
            if isinstance(scan, Scan) and self.facts.tables[scan.table].is_private:
                kind = self.classifier.kind(scan)
                if isinstance(kind, Private) and kind.rows is not None:
                    limits.append((scan.columns[0].id, kind.rows))
        return tuple(limits)

    def _inner(self, node: Node) -> tuple[tuple[int, Measure], ...]:
        """Return the clamped measures of aggregates inside per-unit groups."""
        found: list[tuple[int, Measure]] = []
        for group in _walk(node):
            if not isinstance(group, Group):
                continue
            kind = self.classifier.kind(group.child)
            if not isinstance(kind, Private):
                continue
            for column, call in group.aggregates:
                if call.kind in (AggregateKind.SUM, AggregateKind.AVG):
                    rows = max(rows_per_group(group, kind) or 0, 1)
                    scale, interval = _fixed_bounds(call.args[0], kind, rows)
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

    def _cells(self, node: Group, kind: Private) -> tuple[tuple[Value, ...], ...] | None:
        """Return all key tuples, or None when some key is open; refuse keys made from the unit."""
        axes: list[tuple[tuple[Value, ...], ...]] = []
        placed: dict[int, int] = {}
        positions: list[tuple[int, int]] = []
        for column, expr in node.keys:
            if references(expr) & kind.units:
                raise Refusal(
                    "UNIT_KEY",
                    "Groups made from the protected unit's id would be one unit each. Group by other "
                    "columns, or by the plain id alone for per-unit features and aggregate those again.",
                    "按受保护主体标识派生的分组，每组只含一个主体。请按其他列分组；"
                    "或仅按原始标识分组得到主体特征，再做一次聚合。",
                )
            joint = _joint_origin(expr, kind)
            if joint is not None:
                public, _ = joint
                if id(public) not in placed:
                    ids = tuple(
                        o[1]
                        for _, e in node.keys
                        if (o := _joint_origin(e, kind)) is not None and o[0] is public
                    )
                    tuples = self.facts.data.distinct(public, ids)
                    absent = (None,) * len(ids)
                    if self._unmatched(expr, kind) and absent not in tuples:
                        tuples = (absent, *tuples)
                    placed[id(public)] = len(axes)
                    axes.append(tuples)
                    positions.append((placed[id(public)], 0))
                else:
                    seen = sum(1 for axis, _ in positions if axis == placed[id(public)])
                    positions.append((placed[id(public)], seen))
                continue
            possible = possible_values(expr, kind)
            if possible is None:
                possible = self._image(expr, kind)
            if possible is None:
                return None
            positions.append((len(axes), 0))
            axes.append(tuple((v,) for v in possible))
        size = math.prod(len(a) for a in axes)
        if size > MAX_CELLS:
            raise _too_many(size)
        cells = [
            tuple(combination[axis][offset] for axis, offset in positions)
            for combination in product(*axes)
        ]
        return tuple(sorted(cells, key=lambda cell: [(v is not None, v) for v in cell]))

    def _unmatched(self, expr: Expr, kind: Private) -> bool:
        return isinstance(expr, Ref) and None in kind.values.get(expr.id, ())

    def _image(self, expr: Expr, kind: Private) -> tuple[Value, ...] | None:
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
            found.add(self.facts.data.evaluate(_constant(bound))[0])
        return tuple(v for (v,) in sorted(found, key=lambda t: (t[0] is not None, t[0])))


MAX_IMAGE = 500
"""Domain combinations tried to find the values of a computed key."""


class _Builder:
    """Collects measures and draws of one release; equal measures are drawn once."""

    def __init__(self, kind: Private, contribution: Contribution) -> None:
        self.kind = kind
        self.contribution = contribution
        self.measures: list[Measure] = []
        self.draws: list[Draw] = []
        self.notes: list[str] = []

    def rows(self, condition: Expr | None = None) -> int:
        name = self._measure(Measure("", MeasureKind.ROWS, condition=condition))
        return self._draw(Draw(name, "gaussian", self.contribution.squared_l2(1)))

    def units(self) -> int:
        name = self._measure(Measure("", MeasureKind.UNITS))
        return self._draw(Draw(name, "gaussian", self.contribution.units_squared_l2))

    def output(self, column: Column, call: AggregateCall) -> Output:
        for arg in call.args:
            check_overflow(arg, self.kind.intervals)
        match call.kind:
            case AggregateKind.COUNT_ROWS:
                return Output(column, "integer", (self.rows(),))
            case AggregateKind.COUNT:
                return Output(column, "integer", (self.rows(_present(call.args)),))
            case AggregateKind.COUNT_IF:
                return Output(column, "integer", (self.rows(call.args[0]),))
            case AggregateKind.COUNT_DISTINCT:
                return self._distinct_units(column, call)
            case AggregateKind.SUM:
                return self._sum(column, call.args[0])
            case AggregateKind.AVG:
                return self._average(column, call.args[0])
            case AggregateKind.QUANTILE:
                return self._quantile(column, call.args[0], call.parameters[0])
            case AggregateKind.MIN:
                return self._extreme(column, call.args[0], EXTREME_THOUSANDTHS)
            case AggregateKind.MAX:
                return self._extreme(column, call.args[0], 1000 - EXTREME_THOUSANDTHS)
            case _:
                return self._variance(column, call)

    def _distinct_units(self, column: Column, call: AggregateCall) -> Output:
        if not any(isinstance(a, Ref) and a.id in self.kind.units for a in call.args):
            raise Refusal(
                "UNSUPPORTED",
                "Distinct values can be counted only for the protected unit's id over private rows, for "
                "example countDistinct('uscc'). For another column, group by it and count the answer's rows.",
                "在私有行上只能对受保护主体的标识做去重计数，例如 countDistinct('uscc')。"
                "其他列请先按该列分组，再数结果的行数。",
            )
        if len(call.args) > 1:
            raise Refusal(
                "UNSUPPORTED",
                "Count distinct takes the protected unit's id alone over private rows.",
                "在私有行上，去重计数只接受受保护主体的标识这一列。",
            )
        return Output(column, "integer", (self.units(),))

    def _sum(self, column: Column, value: Expr) -> Output:
        scale, interval = _fixed_bounds(value, self.kind, self.contribution.rows)
        draw = self._sum_draw(value, scale, interval, middle=0, square=False)
        form = "integer" if value.type.is_integral else "fixed"
        return Output(column, form, (draw,), scale=scale)

    def _sum_draw(
        self, value: Expr, scale: int, interval: Interval, *, middle: int, square: bool
    ) -> int:
        low, high = int(interval.low), int(interval.high)
        magnitude = max(abs(low - middle), abs(high - middle), 1)
        magnitude = magnitude**2 if square else magnitude
        name = self._measure(
            Measure(
                "",
                MeasureKind.SUM,
                value=value,
                scale=scale,
                low=low,
                high=high,
                offset=middle,
                square=square,
            )
        )
        return self._draw(Draw(name, "gaussian", self.contribution.squared_l2(magnitude)))

    def _average(self, column: Column, value: Expr) -> Output:
        scale, interval = _fixed_bounds(value, self.kind, self.contribution.rows)
        low, high = int(interval.low), int(interval.high)
        middle = (low + high) // 2
        total = self._sum_draw(value, scale, interval, middle=middle, square=False)
        count = self.rows(_number(value))
        return Output(column, "ratio", (total, count), scale, middle, low, high)

    def _variance(self, column: Column, call: AggregateCall) -> Output:
        value = call.args[0]
        scale, interval = _fixed_bounds(value, self.kind, self.contribution.rows, squared=True)
        low, high = int(interval.low), int(interval.high)
        middle = (low + high) // 2
        squares = self._sum_draw(value, scale, interval, middle=middle, square=True)
        total = self._sum_draw(value, scale, interval, middle=middle, square=False)
        count = self.rows(_number(value))
        deviation = call.kind in (AggregateKind.STDDEV_POP, AggregateKind.STDDEV_SAMP)
        sample = call.kind in (AggregateKind.VAR_SAMP, AggregateKind.STDDEV_SAMP)
        form = "deviation" if deviation else "variance"
        return Output(
            column, form, (squares, total, count), scale, middle, low, high, sample=sample
        )

    def _extreme(self, column: Column, value: Expr, thousandths: int) -> Output:
        self.notes.append(
            f"{column.name}: the {thousandths / 10:g} % quantile stands for the extreme, which no private "
            "answer can give; it carries no interval"
        )
        return self._quantile(column, value, thousandths, bracketed=False)

    def _quantile(
        self, column: Column, value: Expr, thousandths: int, *, bracketed: bool = True
    ) -> Output:
        scale, interval = _fixed_bounds(value, self.kind, self.contribution.rows)
        low, high = int(interval.low), int(interval.high)
        step = self._step(value, low, high, scale)
        buckets = (high - low) // step + 1
        name = self._measure(
            Measure(
                "",
                MeasureKind.HISTOGRAM,
                value=value,
                scale=scale,
                low=low,
                high=high,
                step=step,
                buckets=buckets,
            )
        )
        # score = −|(1000 − p)·below − p·above|: one row moves it by at most max(p, 1000 − p).
        weight = max(thousandths, 1000 - thousandths) * self.contribution.rows_in_group
        draws = tuple(
            self._draw(
                Draw(name, "noisy_max", weight**2, self.contribution.groups, thousandths, side)
            )
            for side in ((0, -1, 1) if bracketed else (0,))
        )
        return Output(column, "quantile", draws, scale, 0, low, high, step)

    def _step(self, value: Expr, low: int, high: int, scale: int) -> int:
        declared = self.kind.steps.get(value.id) if isinstance(value, Ref) else None
        step = round(declared * 10**scale) if declared else -(-(high - low) // GRID)
        return max(step, -(-(high - low) // MAX_GRID), 1)

    def _measure(self, measure: Measure) -> str:
        for known in self.measures:
            if _renamed(known, "") == measure:
                return known.name
        named = _renamed(measure, f"m{len(self.measures)}")
        self.measures.append(named)
        return named.name

    def _draw(self, draw: Draw) -> int:
        if draw in self.draws:
            return self.draws.index(draw)
        self.draws.append(draw)
        return len(self.draws) - 1


def _renamed(measure: Measure, name: str) -> Measure:
    return Measure(
        name,
        measure.kind,
        measure.condition,
        measure.value,
        measure.scale,
        measure.low,
        measure.high,
        measure.offset,
        measure.square,
        measure.step,
        measure.buckets,
    )


def _row_bound(kind: Private) -> tuple[int, int | None]:
    """Return B and, where the proven one is missing or too large, the query-time limit behind it."""
    if kind.rows is not None and kind.rows <= MAX_ROWS_PER_UNIT:
        return max(kind.rows, 1), None
    return MAX_ROWS_PER_UNIT, MAX_ROWS_PER_UNIT


def _fixed_bounds(
    value: Expr, kind: Private, rows: int, *, squared: bool = False
) -> tuple[int, Interval]:
    """Return decimal digits and integer bounds of a summed expression; refuse what has no bounds."""
    if not value.type.is_numeric:
        raise Refusal(
            "TYPE_MISMATCH",
            f"A {value.type.value} cannot be summed. Cast it to a number first.",
            f"{value.type.value} 类型不能求和，请先转换为数值。",
        )
    interval = bounds(value, kind.intervals)
    if not interval.is_finite:
        raise Refusal(
            "UNBOUNDED",
            "The summed expression has no finite bounds: a division by a value that can be near zero, or a "
            "column without bounds in its contract. Bound it with least() and greatest().",
            "被聚合的表达式没有有限的上下界：可能除以接近零的值，或所用列在契约中没有界。"
            "请用 least() 与 greatest() 限定。",
        )
    scale = digits(value, kind.scales)
    cap = max(kind.max_units, 1) * max(rows, 1)
    while True:
        low, high = _fixed(interval.low, scale, up=False), _fixed(interval.high, scale, up=True)
        width = max(abs(low), abs(high), high - low)
        if max(width**2 if squared else width, 1) * cap < HEADROOM and width < FIXED_LIMIT:
            return scale, Interval(low, high)
        if scale == 0:
            raise Refusal(
                "OVERFLOW_POSSIBLE",
                f"A sum of values up to {interval.magnitude:g} over {cap} possible rows may not fit 64 bits. "
                "Narrow the expression with least()/greatest(), or divide it by a constant first.",
                f"绝对值可达 {interval.magnitude:g} 的值在最多 {cap} 行上求和可能超出 64 位。"
                "请用 least()/greatest() 收窄，或先除以常数。",
            )
        scale -= 1


FIXED_LIMIT = 9 * 10**15
"""Fixed-point values stay where doubles are exact integers."""


def _fixed(bound: float, scale: int, *, up: bool) -> int:
    """Return a bound in fixed point: the nearest integer if the bound is that decimal, else outward."""
    exact = bound * 10**scale
    nearest = int(round(exact))
    if math.isclose(exact, nearest, rel_tol=1e-12, abs_tol=1e-9):
        return nearest
    return int(math.ceil(exact) if up else math.floor(exact))


def _present(args: tuple[Expr, ...]) -> Expr | None:
    tests = [
        Apply("isnotnull", (a,), DataType.BOOLEAN, nullable=False)
        for a in args
        if not (isinstance(a, Const) and a.value is not None)
    ]
    if not tests:
        return None
    result: Expr = tests[0]
    for test in tests[1:]:
        result = Apply("and", (result, test), DataType.BOOLEAN, nullable=False)
    return result


def _number(value: Expr) -> Expr:
    """Return the condition that a row counts in an average: neither null nor NaN."""
    present: Expr = Apply("isnotnull", (value,), DataType.BOOLEAN, nullable=False)
    if value.type is not DataType.DOUBLE:
        return present
    nan = Apply("isnan", (value,), DataType.BOOLEAN, nullable=False)
    real = Apply("not", (nan,), DataType.BOOLEAN, nullable=False)
    return Apply("and", (present, real), DataType.BOOLEAN, nullable=False)


def _joint_origin(expr: Expr, kind: Private) -> tuple[Node, int] | None:
    return kind.origin.get(expr.id) if isinstance(expr, Ref) else None


def _too_many(size: int) -> Refusal:
    return Refusal(
        "TOO_MANY_CELLS",
        f"The answer would have {size} cells; at most {MAX_CELLS} are given. Group by fewer columns, or "
        "filter the keys to the ones you need.",
        f"回答将有 {size} 个单元格，上限为 {MAX_CELLS}。请减少分组列，或先筛选所需的分组值。",
    )


def _walk(node: Node) -> list[Node]:
    found: list[Node] = []
    stack = [node]
    while stack:
        current = stack.pop()
        found.append(current)
        stack.extend(children(current))
    return found


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


EMPTY_ROW = "0" * 64
"""Digest of the built-in public frame with one row and one column, on which constants are evaluated."""


def _constant(expr: Expr) -> Node:
    anchor = Column(-1, "one", DataType.INTEGER, nullable=False)
    return Project(
        Local(EMPTY_ROW, (anchor,), ("one",)), ((Column(-2, "value", expr.type), expr),)
    )


def _with_child(node: Node, child: Node) -> Node:
    match node:
        case Project():
            return Project(child, node.items)
        case Where():
            return Where(child, node.predicate)
        case DistinctOn():
            return DistinctOn(child, node.on)
        case SortBy():
            return SortBy(child, node.keys)
        case Slice():
            return Slice(child, node.count, node.offset)
        case _:
            raise AssertionError("only single-input nodes are rebuilt here")
