"""A question as a client wrote it: relational operators over named tables, as frozen data.

Both decoders (Spark Connect messages and SQL text) produce this and nothing else; what is not
sayable here cannot be asked. `plan_id` is the client's label of a DataFrame, used only to resolve
`df.column` references, and never part of equality.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from privacy.dp.expr import Expression, Literal, SortKey
from privacy.dp.types import DataType, Value


class JoinKind(StrEnum):
    """How rows of two inputs meet."""

    INNER = "inner"
    LEFT = "left"
    RIGHT = "right"
    FULL = "full"
    SEMI = "semi"
    ANTI = "anti"
    CROSS = "cross"


class Grouping(StrEnum):
    """What an aggregate's keys mean: plain groups, or one aggregate for each grouping set."""

    GROUP = "group"
    ROLLUP = "rollup"
    CUBE = "cube"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The client's label for a DataFrame, carried for name resolution only."""

    plan_id: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Table(Labelled):
    """A catalogue table or a temporary view, by its name parts."""

    name: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frame(Labelled):
    """Rows that the client sent (`createDataFrame`): public, kept by the gateway under `digest`."""

    digest: str
    """SHA-256 (hex) of the canonical Arrow bytes."""
    fields: tuple[tuple[str, DataType], ...]


@dataclass(frozen=True, slots=True)
class Select(Labelled):
    """`select`: the listed expressions, in order."""

    child: "Query"
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class WithColumns(Labelled):
    """`withColumns`: add or replace columns by name; all items see the child's columns."""

    child: "Query"
    items: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Filter(Labelled):
    """`filter`/`where`/`having`: rows whose condition is true."""

    child: "Query"
    condition: Expression


@dataclass(frozen=True, slots=True)
class Drop(Labelled):
    """`drop`: all columns but these; unknown names are ignored, as Spark does."""

    child: "Query"
    columns: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Rename(Labelled):
    """`withColumnsRenamed`: old name to new name; unknown names are ignored, as Spark does."""

    child: "Query"
    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ToNames(Labelled):
    """`toDF(*names)`: the same columns under new names."""

    child: "Query"
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubqueryAlias(Labelled):
    """`alias("t")` or SQL `… AS t`."""

    child: "Query"
    name: str


@dataclass(frozen=True, slots=True)
class Join(Labelled):
    """A join by condition, or by `using` names (which appear once in the output)."""

    left: "Query"
    right: "Query"
    kind: JoinKind
    condition: Expression | None = None
    using: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Union(Labelled):
    """`union`/`unionByName`: all rows of both."""

    left: "Query"
    right: "Query"
    by_name: bool = False
    allow_missing: bool = False


@dataclass(frozen=True, slots=True)
class Distinct(Labelled):
    """`distinct` (no columns given) or `dropDuplicates(columns)`."""

    child: "Query"
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Aggregate(Labelled):
    """Groups and their aggregates. The output is `keys` then `items` for DataFrame calls.

    SQL puts both in one select list: then `keys_in_output` is false and `items` holds all of it.
    """

    child: "Query"
    keys: tuple[Expression, ...]
    items: tuple[Expression, ...]
    grouping: Grouping = Grouping.GROUP
    keys_in_output: bool = True
    pivot_column: Expression | None = None
    pivot_values: tuple[Literal, ...] = ()
    """Values of `pivot`, always given: they are never read from the data."""


@dataclass(frozen=True, slots=True)
class Sort(Labelled):
    """`orderBy`."""

    child: "Query"
    keys: tuple[SortKey, ...]


@dataclass(frozen=True, slots=True)
class Limit(Labelled):
    """`limit` and `offset`."""

    child: "Query"
    count: int | None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Hint(Labelled):
    """`hint("epsilon", 0.5)`; the name is one the lab knows, others were refused by the decoder."""

    child: "Query"
    name: str
    parameters: tuple[Value, ...]


Query = (
    Table
    | Frame
    | Select
    | WithColumns
    | Filter
    | Drop
    | Rename
    | ToNames
    | SubqueryAlias
    | Join
    | Union
    | Distinct
    | Aggregate
    | Sort
    | Limit
    | Hint
)
