"""The compiled plan: a small relational algebra that both engines render and the certificate reads.

Every column name is unique in a plan, so no qualifier is ever needed: `c12` is the column with id
12, `e3` a computed one, `u1`/`r1`/`h1` the hidden unit, rank and cohort of scan 1. Expressions see
only visible columns; hidden ones appear only in the fields made for them. All clamps are nodes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from privacy.dp.query import JoinKind
from privacy.dp.types import DataType, Value

UNIT_SOURCE, RANK_SOURCE, COHORT_SOURCE = "__unit", "__rank", "__cohort"
"""Columns that ingest adds to every private table."""


@dataclass(frozen=True, slots=True)
class Col:
    """The value of a column of the input. Whole numbers are 64-bit inside expressions."""

    name: str
    type: DataType


@dataclass(frozen=True, slots=True)
class Unscaled:
    """The double behind a fixed-point column of the lake: `stored / 10**scale`."""

    stored: Col
    scale: int
    type: DataType = DataType.DOUBLE


@dataclass(frozen=True, slots=True)
class Lit:
    """A literal."""

    value: Value
    type: DataType


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the table in `functions`; `cast` converts to `type`."""

    function: str
    args: tuple["Scalar", ...]
    type: DataType


Scalar = Col | Unscaled | Lit | Call


@dataclass(frozen=True, slots=True)
class Fixed:
    """A number as a 64-bit integer at a decimal scale; null and NaN stay null."""

    value: Scalar
    scale: int


@dataclass(frozen=True, slots=True)
class Clamped:
    """An integer brought into [low, high]."""

    child: "Whole"
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Shifted:
    """An integer minus a constant."""

    child: "Whole"
    offset: int


@dataclass(frozen=True, slots=True)
class Squared:
    """An integer times itself."""

    child: "Whole"


Whole = Fixed | Clamped | Shifted | Squared


@dataclass(frozen=True, slots=True)
class CountRows:
    """Rows for which the condition is true (all when None)."""

    condition: Scalar | None


@dataclass(frozen=True, slots=True)
class CountUnits:
    """Distinct units with a row for which the condition is true."""

    condition: Scalar | None


@dataclass(frozen=True, slots=True)
class SumWhole:
    """Sum of integers over rows for which the condition is true; 0 when there are none."""

    condition: Scalar | None
    value: Whole


Total = CountRows | CountUnits | SumWhole


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram: `(value − low) div step`, in 0 … count − 1, over rows where it is true."""

    condition: Scalar | None
    value: Whole
    low: int
    step: int
    count: int


@dataclass(frozen=True, slots=True)
class UnitCount:
    """Inside a per-unit group: rows with the condition true."""

    condition: Scalar | None


@dataclass(frozen=True, slots=True)
class UnitDistinct:
    """Inside a per-unit group: distinct combinations of non-null values."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class UnitSum:
    """Inside a per-unit group: a clamped sum, or its mean; null when nothing contributes."""

    condition: Scalar | None
    value: Whole
    scale: int
    mean: bool
    type: DataType


@dataclass(frozen=True, slots=True)
class UnitExtreme:
    """Inside a per-unit group: the smallest or largest value."""

    value: Scalar
    largest: bool


UnitAggregate = UnitCount | UnitDistinct | UnitSum | UnitExtreme


@dataclass(frozen=True, slots=True)
class Output:
    """A column that a scan reads: our name, the stored name and type, its id in the plan."""

    name: str
    source: str
    type: DataType
    id: int


@dataclass(frozen=True, slots=True)
class Hidden:
    """The columns of a private table that ingest added, under this scan's names."""

    unit: str
    rank: str
    cohort: str


@dataclass(frozen=True, slots=True)
class Read:
    """All rows of a stored table; `hidden` is None for a public one."""

    table: str
    outputs: tuple[Output, ...]
    hidden: Hidden | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The output columns."""
        own = tuple(o.name for o in self.outputs)
        if self.hidden is None:
            return own
        return (self.hidden.unit, self.hidden.rank, self.hidden.cohort, *own)


@dataclass(frozen=True, slots=True)
class Rows:
    """Public rows at hand, by the digest under which the engine was given them."""

    digest: str
    outputs: tuple[Output, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The output columns."""
        return tuple(o.name for o in self.outputs)


@dataclass(frozen=True, slots=True)
class RankAtMost:
    """Rows whose stored rank within their unit is at most `limit`."""

    child: "Relation"
    rank: str
    limit: int


@dataclass(frozen=True, slots=True)
class CohortIn:
    """Rows of units of these cohorts."""

    child: "Relation"
    cohort: str
    cohorts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """Rows for which the predicate is true."""

    child: "Relation"
    predicate: Scalar


@dataclass(frozen=True, slots=True)
class Compute:
    """Carried columns, then computed ones."""

    child: "Relation"
    carried: tuple[str, ...]
    items: tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True, slots=True)
class Meet:
    """A join. `units` are the two sides' hidden units, required equal, if both are private."""

    left: "Relation"
    right: "Relation"
    kind: JoinKind
    units: tuple[str, str] | None
    condition: Scalar | None
    public: int | None = None
    """If one side is public: the id of its first column in the plan, its name in the claim."""


@dataclass(frozen=True, slots=True)
class Stack:
    """All rows of all inputs; output i takes the i-th of each input's listed columns."""

    children: tuple["Relation", ...]
    takes: tuple[tuple[Scalar | str, ...], ...]
    """For each child: a hidden column's name, or an expression over visible ones."""
    names: tuple[str, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class First:
    """One row for each unit and combination of `by`: the first in `order`."""

    child: "Relation"
    unit: str
    by: tuple[str, ...]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnitRows:
    """At most `limit` rows of each unit: the first in `order`."""

    child: "Relation"
    unit: str
    order: tuple[str, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class PerUnit:
    """One row for each unit and combination of keys."""

    child: "Relation"
    unit: str
    keys: tuple[tuple[str, Scalar], ...]
    aggregates: tuple[tuple[str, UnitAggregate], ...]


Relation = (
    Read | Rows | RankAtMost | CohortIn | Keep | Compute | Meet | Stack | First | UnitRows | PerUnit
)


@dataclass(frozen=True, slots=True)
class Cells:
    """The final aggregate: for each combination of keys, one integer for each total."""

    child: Relation
    unit: str
    keys: tuple[tuple[str, Scalar], ...]
    totals: tuple[tuple[str, Total], ...]
    histograms: tuple[tuple[str, Buckets], ...]


def inputs(relation: Relation) -> tuple[Relation, ...]:
    """Return the relations that `relation` reads, left to right."""
    match relation:
        case Read() | Rows():
            return ()
        case Meet():
            return (relation.left, relation.right)
        case Stack():
            return relation.children
        case _:
            return (relation.child,)


def walk(relation: Relation) -> Iterator[Relation]:
    """Yield `relation` and all below it, without recursion: chains may be long."""
    stack: list[Relation] = [relation]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(inputs(node))


def column_names(expr: Scalar) -> frozenset[str]:
    """Return the names of all columns that `expr` reads."""
    found: set[str] = set()
    stack: list[Scalar] = [expr]
    while stack:
        part = stack.pop()
        match part:
            case Col():
                found.add(part.name)
            case Unscaled():
                found.add(part.stored.name)
            case Call():
                stack.extend(part.args)
            case Lit():
                pass
    return frozenset(found)


def scalar_of(whole: Whole) -> Scalar:
    """Return the expression under a chain of clamps and shifts."""
    while not isinstance(whole, Fixed):
        whole = whole.child
    return whole.value
