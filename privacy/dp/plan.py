"""The typed plan: every column has an identity, every expression a type, all names are resolved.

A column id is unique in the whole plan, and a table read twice gets two sets of ids, so that a
self-join is unambiguous and provenance can be followed by id instead of by name.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from privacy.dp.query import JoinKind
from privacy.dp.types import DataType, Value


@dataclass(frozen=True, slots=True)
class Column:
    """One output attribute of a node."""

    id: int
    name: str
    type: DataType
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Ref:
    """The value of a column of the input."""

    id: int
    type: DataType
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Const:
    """A literal."""

    value: Value
    type: DataType


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of the allow-list. `cast` converts to `type`; `when` and `in` as in `expr`."""

    function: str
    args: tuple["Expr", ...]
    type: DataType
    nullable: bool = True


Expr = Ref | Const | Apply


class AggregateKind(StrEnum):
    """What is computed over a group."""

    COUNT_ROWS = "count_rows"
    COUNT = "count"
    """Rows whose argument is not null."""
    COUNT_IF = "count_if"
    COUNT_DISTINCT = "count_distinct"
    """Distinct non-null values of the arguments; over private rows only of the unit id."""
    SUM = "sum"
    AVG = "avg"
    QUANTILE = "quantile"
    """One value, at `parameters[0]` thousandths of the ordered group."""
    MIN = "min"
    MAX = "max"
    VAR_SAMP = "var_samp"
    VAR_POP = "var_pop"
    STDDEV_SAMP = "stddev_samp"
    STDDEV_POP = "stddev_pop"


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """One aggregate over the rows of a group."""

    kind: AggregateKind
    args: tuple[Expr, ...] = ()
    parameters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """All rows of a catalogue table, as far as its listed columns."""

    table: str
    columns: tuple[Column, ...]
    sources: tuple[str, ...]
    """The table's own column name behind each of `columns`."""


@dataclass(frozen=True, slots=True)
class Local:
    """Public rows sent by the client, kept under their digest."""

    digest: str
    columns: tuple[Column, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Project:
    """Computed columns. An item that is a bare `Ref` keeps the referenced column's id."""

    child: "Node"
    items: tuple[tuple[Column, Expr], ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The output attributes."""
        return tuple(column for column, _ in self.items)


@dataclass(frozen=True, slots=True)
class Where:
    """Rows whose predicate is true."""

    child: "Node"
    predicate: Expr

    @property
    def columns(self) -> tuple[Column, ...]:
        """The output attributes."""
        return self.child.columns


@dataclass(frozen=True, slots=True)
class JoinOn:
    """Rows of two inputs that satisfy the condition; semi and anti give the left's columns only."""

    left: "Node"
    right: "Node"
    kind: JoinKind
    condition: Expr | None
    columns: tuple[Column, ...]
    """Left's then right's columns (ids kept), nullability as the kind demands."""


@dataclass(frozen=True, slots=True)
class UnionAll:
    """All rows of all inputs; column i comes from column i of each."""

    children: tuple["Node", ...]
    columns: tuple[Column, ...]
    """Fresh ids."""


@dataclass(frozen=True, slots=True)
class DistinctOn:
    """One row for each combination of the `on` columns; all columns stay."""

    child: "Node"
    on: tuple[int, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The output attributes."""
        return self.child.columns


@dataclass(frozen=True, slots=True)
class Group:
    """One row for each combination of keys (one row in all when there are none)."""

    child: "Node"
    keys: tuple[tuple[Column, Expr], ...]
    """A key that is a bare `Ref` keeps the referenced column's id."""
    aggregates: tuple[tuple[Column, AggregateCall], ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Keys, then aggregates."""
        return tuple(c for c, _ in self.keys) + tuple(c for c, _ in self.aggregates)


@dataclass(frozen=True, slots=True)
class SortBy:
    """Ordered rows."""

    child: "Node"
    keys: tuple[tuple[Expr, bool, bool], ...]
    """Expression, ascending, nulls first."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The output attributes."""
        return self.child.columns


@dataclass(frozen=True, slots=True)
class Slice:
    """The first `count` rows after skipping `offset`."""

    child: "Node"
    count: int | None
    offset: int = 0

    @property
    def columns(self) -> tuple[Column, ...]:
        """The output attributes."""
        return self.child.columns


Node = Scan | Local | Project | Where | JoinOn | UnionAll | DistinctOn | Group | SortBy | Slice


def children(node: Node) -> tuple[Node, ...]:
    """Return the inputs of `node`, left to right."""
    match node:
        case Scan() | Local():
            return ()
        case JoinOn():
            return (node.left, node.right)
        case UnionAll():
            return node.children
        case _:
            return (node.child,)


def with_children(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return `node` over other inputs, left to right: itself, if they are its own."""
    if all(new is old for new, old in zip(inputs, children(node), strict=True)):
        return node
    match node:
        case Scan() | Local():
            return node
        case JoinOn():
            return replace(node, left=inputs[0], right=inputs[1])
        case UnionAll():
            return replace(node, children=inputs)
        case _:
            return replace(node, child=inputs[0])


def references(expr: Expr) -> frozenset[int]:
    """Return the ids of all columns that `expr` reads."""
    match expr:
        case Ref():
            return frozenset((expr.id,))
        case Const():
            return frozenset()
        case Apply():
            return (
                frozenset().union(*(references(a) for a in expr.args)) if expr.args else frozenset()
            )


def walk(node: Node) -> list[Node]:
    """Return `node` and all nodes below it, without recursion: chains may be long."""
    found: list[Node] = []
    stack = [node]
    while stack:
        current = stack.pop()
        found.append(current)
        stack.extend(children(current))
    return found
